//! API keys: random, shown once, stored as a hash. A key is `gm_<public part>_<secret>`; the public
//! part names it in lists and in the list of changes.

use crate::service::problem::{Code, Problem};
use crate::service::role::{Caller, Role};
use gristmill_actors::ports::StoreError;
use gristmill_actors::register::Register;
use gristmill_workflows::codec::{Record, decode, encode};
use gristmill_workflows::id::{hex, unhex};
use gristmill_workflows::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::limits::KEYS_MAX;

const PREFIX: &str = "key/";
const PUBLIC_BYTES: usize = 8;

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What it allows.
    pub role: Role,
    /// Whose it is, for the role `contributor`.
    pub contributor: Option<String>,
    /// SHA-256 of the secret, which has 256 random bits.
    pub hash: [u8; 32],
    /// When it was made.
    pub made: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Record for Key {
    const SCHEMA: u8 = 53;
    const VERSION: u8 = 1;
}

/// A key as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Its public part.
    pub key: String,
    role: Role,
    contributor: Option<String>,
    made_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl Shown {
    /// A key without what is secret about it.
    #[must_use]
    pub fn new(public: &str, key: &Key) -> Self {
        Self {
            key: public.to_owned(),
            role: key.role,
            contributor: key.contributor.clone(),
            made_at: key.made.rfc3339(),
            expires_at: key.expires.map(Timestamp::rfc3339),
            revoked_at: key.revoked.map(Timestamp::rfc3339),
        }
    }

    /// For people.
    #[must_use]
    pub fn line(&self) -> String {
        let whose = self.contributor.as_deref().unwrap_or("-");
        let state = match (&self.revoked_at, &self.expires_at) {
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(at)) => format!("until {at}"),
            (None, None) => "valid".to_owned(),
        };
        format!(
            "{}  {:<11}  {whose:<24}  made {}  {state}",
            self.key,
            self.role.as_str(),
            self.made_at
        )
    }
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it allows.
    pub role: Role,
    /// Whose it is.
    pub contributor: Option<String>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The register.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not encode.
    #[error(transparent)]
    Codec(#[from] gristmill_workflows::codec::Error),
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// Too many stand.
    #[error("there are {KEYS_MAX} keys already")]
    TooMany,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Codec(error) => error.into(),
            Error::TooMany => Self::new(Code::InvalidField, "there are too many keys already"),
            Error::Random(error) => {
                tracing::error!(%error, "no random bytes");
                Self::new(Code::Internal, "the node's log says more")
            }
        }
    }
}

type Known = BTreeMap<String, Key>;

/// The keys of a node, in step with the register.
pub struct ApiKeys {
    register: Arc<dyn Register>,
    known: RwLock<Arc<Known>>,
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeys")
    }
}

impl ApiKeys {
    /// The keys that stand in a register.
    ///
    /// # Errors
    /// [`StoreError`], also when a row does not decode.
    pub async fn open(register: Arc<dyn Register>) -> Result<Self, StoreError> {
        let keys = Self { register, known: RwLock::default() };
        keys.refresh().await?;
        Ok(keys)
    }

    /// Reads them anew: another node may have made or revoked some.
    ///
    /// # Errors
    /// As [`ApiKeys::open`].
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let rows = self.register.scan(PREFIX.to_owned(), None, KEYS_MAX).await?;
        let mut known = Known::new();
        for (name, row) in rows {
            let key =
                decode(&row).map_err(|error| StoreError::Damaged { detail: error.to_string() })?;
            known.insert(name[PREFIX.len()..].to_owned(), key);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether no key was ever made: then the node is open to whoever reaches it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Every key, without secrets.
    #[must_use]
    pub fn list(&self) -> Vec<Shown> {
        self.known().iter().map(|(public, key)| Shown::new(public, key)).collect()
    }

    /// Makes a key; its whole text is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn make(&self, wanted: Wanted, now: Timestamp) -> Result<(String, Shown), Error> {
        if self.known().len() >= KEYS_MAX {
            return Err(Error::TooMany);
        }
        let mut random = [0; PUBLIC_BYTES + 32];
        getrandom::fill(&mut random).map_err(Error::Random)?;
        let (public, secret) = random.split_at(PUBLIC_BYTES);
        let (public, secret) = (hex(public), hex(secret));
        let Wanted { role, contributor, expires } = wanted;
        let hash = Sha256::digest(secret.as_bytes()).into();
        let key = Key { role, contributor, hash, made: now, expires, revoked: None };
        let name = format!("{PREFIX}{public}");
        self.register.swap(name, None, Some(encode(&key)?)).await?;
        self.refresh().await?;
        Ok((format!("gm_{public}_{secret}"), Shown::new(&public, &key)))
    }

    /// Revokes a key; none if there is no such key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&self, public: &str, now: Timestamp) -> Result<Option<Shown>, Error> {
        let name = format!("{PREFIX}{public}");
        loop {
            let Some(row) = self.register.get(name.clone()).await? else { return Ok(None) };
            let mut key: Key = decode(&row)?;
            key.revoked.get_or_insert(now);
            let new = encode(&key)?;
            if self.register.swap(name.clone(), Some(row), Some(new)).await? {
                self.refresh().await?;
                return Ok(Some(Shown::new(public, &key)));
            }
        }
    }

    /// Whether a key has this public part.
    #[must_use]
    pub fn has(&self, public: &str) -> bool {
        self.known().contains_key(public)
    }

    /// Who calls with a key.
    ///
    /// # Errors
    /// A [`Problem`] that does not say what is wrong with the key.
    pub fn caller(&self, given: Option<&str>, now: Timestamp) -> Result<Caller, Problem> {
        let known = self.known();
        if known.is_empty() {
            return Ok(Caller::open());
        }
        let refused = || Problem::new(Code::Unauthenticated, "a valid key is needed");
        let given = given.ok_or_else(refused)?;
        let parts = given.strip_prefix("gm_").and_then(|rest| rest.split_once('_'));
        let (public, secret) = parts.ok_or_else(refused)?;
        let plain = unhex::<32>(secret).is_some();
        let key = known.get(public).filter(|_| plain).ok_or_else(refused)?;
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let differs = hash.iter().zip(&key.hash).fold(0, |all, (a, b)| all | (a ^ b));
        let ended = key.revoked.is_some() || key.expires.is_some_and(|end| end <= now);
        if differs != 0 || ended {
            return Err(refused());
        }
        let (key, role) = (public.to_owned(), Some(key.role));
        let contributor = known.get(public).and_then(|key| key.contributor.clone());
        Ok(Caller { key, role, contributor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded_store::{EmbeddedStore, Options};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    async fn keys() -> (tempfile::TempDir, ApiKeys) {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("s"), Options::default()).unwrap();
        let keys = ApiKeys::open(Arc::new(store)).await.unwrap();
        (folder, keys)
    }

    fn wanted(expires: Option<Timestamp>) -> Wanted {
        Wanted { role: Role::Contributor, contributor: Some("ana".to_owned()), expires }
    }

    #[tokio::test]
    async fn a_key_is_known_by_its_whole_text_until_it_expires_or_is_revoked() {
        let (_folder, keys) = keys().await;
        assert_eq!(keys.caller(None, NOW).unwrap(), Caller::open());
        let (text, shown) = keys.make(wanted(Some(Timestamp(NOW.0 + 9))), NOW).await.unwrap();
        let caller = keys.caller(Some(&text), NOW).unwrap();
        assert_eq!(
            (caller.role, caller.contributor.as_deref()),
            (Some(Role::Contributor), Some("ana"))
        );
        assert_eq!(caller.key, shown.key);
        assert!(!format!("{:?}", keys.list()).contains(&text[20..]));
        let flipped =
            format!("{}{}", &text[..text.len() - 1], if text.ends_with('0') { '1' } else { '0' });
        for wrong in
            ["", "gm_", "gm__", &flipped, &text[..text.len() - 2], "Bearer", &text.to_uppercase()]
        {
            assert_eq!(keys.caller(Some(wrong), NOW).unwrap_err().code, Code::Unauthenticated);
        }
        assert_eq!(keys.caller(None, NOW).unwrap_err().code, Code::Unauthenticated);
        assert!(keys.caller(Some(&text), Timestamp(NOW.0 + 9)).is_err());
        assert!(keys.revoke("nobody", NOW).await.unwrap().is_none());
        keys.revoke(&shown.key, NOW).await.unwrap().unwrap();
        assert!(keys.caller(Some(&text), NOW).is_err());
        // A node whose only key was revoked is not open again.
        assert!(keys.caller(None, NOW).is_err());
    }
}
