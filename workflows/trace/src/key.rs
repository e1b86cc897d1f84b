//! Keys of signed notes: names, key ids, verifier keys and private keys as text (C2SP signed-note,
//! Ed25519 type 0x01; the private form is that of Go's `sumdb/note`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::limits::MAX_NAME_BYTES;

/// The signature type of a plain Ed25519 note signature.
const ED25519: u8 = 0x01;

/// Bytes of an Ed25519 signature (RFC 8032).
pub const SIGNATURE_BYTES: usize = 64;

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name is empty, too long, or has spaces, control characters or a plus sign.
    #[error("key name is not valid")]
    Name,
    /// The text does not have the parts of a key, joined by plus signs.
    #[error("key does not have the form of its kind")]
    Form,
    /// The key id is not 8 lower-case hexadecimal digits.
    #[error("key id is not 8 hexadecimal digits")]
    Id,
    /// The key material is not canonical standard base64.
    #[error("key material is not base64")]
    Base64,
    /// The signature type is not Ed25519.
    #[error("key is not of the Ed25519 type")]
    Algorithm,
    /// The key material is not a usable Ed25519 key of 32 bytes.
    #[error("key material is not an Ed25519 key")]
    Material,
    /// The key id is not the one of this name and key.
    #[error("key id does not fit the name and the key")]
    Mismatch,
}

/// The first four bytes of SHA-256 over name, newline, signature type and public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// The key id with these bytes, big-endian as in a signature.
    #[must_use]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn of(name: &str, public: &VerifyingKey) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name.as_bytes());
        hasher.update([b'\n', ED25519]);
        hasher.update(public.as_bytes());
        let [a, b, c, d, ..]: [u8; 32] = hasher.finalize().into();
        Self([a, b, c, d])
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let number = u32::from_str_radix(text, 16).map_err(|_| Error::Id)?;
        let id = Self(number.to_be_bytes());
        // One spelling only: no sign, no capitals, all eight digits.
        if id.to_string() == text { Ok(id) } else { Err(Error::Id) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

/// Checks a key name: 1 to 255 bytes without whitespace, control characters or plus signs.
///
/// # Errors
/// [`Error::Name`].
pub fn check_name(name: &str) -> Result<(), Error> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(forbidden) {
        return Err(Error::Name);
    }
    Ok(())
}

/// `material` is base64 of the type byte and 32 bytes.
fn parse_material(material: &str) -> Result<[u8; 32], Error> {
    let bytes = STANDARD.decode(material).map_err(|_| Error::Base64)?;
    match bytes.split_first() {
        Some((&ED25519, key)) => key.try_into().map_err(|_| Error::Material),
        Some(_) => Err(Error::Algorithm),
        None => Err(Error::Material),
    }
}

fn format_material(key: &[u8; 32]) -> String {
    STANDARD.encode([&[ED25519], key.as_slice()].concat())
}

/// A named public key that checks note signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

impl Verifier {
    /// Reads `<name>+<key id>+<base64>`; one final newline, as a file has, is ignored.
    ///
    /// # Errors
    /// [`Error`] says which part is wrong.
    pub fn parse(vkey: &str) -> Result<Self, Error> {
        let vkey = vkey.strip_suffix('\n').unwrap_or(vkey);
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::Form);
        };
        check_name(name)?;
        let id = KeyId::parse(id)?;
        let key = parse_material(material)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| Error::Material)?;
        if id != KeyId::of(name, &key) {
            return Err(Error::Mismatch);
        }
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = <[u8; SIGNATURE_BYTES]>::try_from(signature) else {
            return false;
        };
        self.key.verify_strict(message, &Signature::from_bytes(&signature)).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}+{}+{}", self.name, self.id, format_material(self.key.as_bytes()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Verifier({self})")
    }
}

/// A named private key that signs notes. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    verifier: Verifier,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key of a 32-byte Ed25519 seed (RFC 8032), which must come from a secure random source.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        check_name(name)?;
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let verifier =
            Verifier { name: name.to_owned(), id: KeyId::of(name, &public), key: public };
        Ok(Self { verifier, key })
    }

    /// Reads `PRIVATE+KEY+<name>+<key id>+<base64>`; one final newline is ignored.
    ///
    /// # Errors
    /// [`Error`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_prefix("PRIVATE+KEY+").ok_or(Error::Form)?;
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::Form);
        };
        let id = KeyId::parse(id)?;
        let key = Self::from_seed(name, &parse_material(material)?)?;
        if key.verifier.id == id { Ok(key) } else { Err(Error::Mismatch) }
    }

    /// The secret text form that [`SigningKey::parse`] reads, without a newline.
    #[must_use]
    pub fn to_private_text(&self) -> String {
        let Verifier { name, id, .. } = &self.verifier;
        format!("PRIVATE+KEY+{name}+{id}+{}", format_material(self.key.as_bytes()))
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.verifier.name
    }

    /// The Ed25519 signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}+{})", self.verifier.name, self.verifier.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn the_verifier_key_of_the_specification_is_read_and_written() {
        let verifier = Verifier::parse(VKEY).unwrap();
        assert_eq!(verifier.name(), "example.com/foo");
        assert_eq!(verifier.id().to_string(), "530d903a");
        assert_eq!(verifier.to_string(), VKEY);
        assert_eq!(Verifier::parse(&format!("{VKEY}\n")), Ok(verifier));
    }

    #[test]
    fn malformed_verifier_keys_are_refused() {
        let cases = [
            (String::new(), Error::Form),
            ("example.com/foo+530d903a".to_owned(), Error::Form),
            (VKEY.replace("example", "exam ple"), Error::Name),
            (VKEY.replace("example.com/foo", ""), Error::Name),
            (VKEY.replace("example", "exam\u{7f}ple"), Error::Name),
            (VKEY.replace("example", "exam\u{3000}ple"), Error::Name),
            (VKEY.replace("example", &"e".repeat(256)), Error::Name),
            (VKEY.replace("530d903a", "530D903A"), Error::Id),
            (VKEY.replace("530d903a", "30d903a"), Error::Id),
            (VKEY.replace("530d903a", "0530d903a"), Error::Id),
            (VKEY.replace("530d903a", "530d903b"), Error::Mismatch),
            (VKEY.replace("example", "elsewhere"), Error::Mismatch),
            (format!("{VKEY}\n\n"), Error::Base64),
            (VKEY.replace("U2k", "U2"), Error::Base64),
            (VKEY.replace("+Aek", "+Bek"), Error::Algorithm),
            (VKEY[..VKEY.len() - 4].to_owned(), Error::Material),
            ("n+00000000+".to_owned(), Error::Material),
        ];
        for (text, error) in cases {
            assert_eq!(Verifier::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_private_key_comes_back_from_its_text_and_hides_in_debug_output() {
        let key = SigningKey::from_seed("example.com/log", &[7; 32]).unwrap();
        let text = key.to_private_text();
        assert!(text.starts_with("PRIVATE+KEY+example.com/log+"));
        let parsed = SigningKey::parse(&format!("{text}\n")).unwrap();
        assert_eq!(parsed.verifier(), key.verifier());
        assert_eq!(parsed.sign(b"m"), key.sign(b"m"));
        let secret = text.rsplit('+').next().unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn malformed_private_keys_are_refused() {
        let text = SigningKey::from_seed("n", &[7; 32]).unwrap().to_private_text();
        let error = |text: &str| SigningKey::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(error(""), Error::Form);
        assert_eq!(error(VKEY), Error::Form);
        assert_eq!(error("PRIVATE+KEY+n"), Error::Form);
        assert_eq!(error(&text.replace("+n+", "+m+")), Error::Mismatch);
        assert_eq!(error(&text.replace("+n+", "++")), Error::Name);
        assert_eq!(error(&text[..text.len() - 4]), Error::Material);
    }

    #[test]
    fn a_signature_holds_for_its_message_only() {
        let key = SigningKey::from_seed("n", &[7; 32]).unwrap();
        let signature = key.sign(b"message");
        assert!(key.verifier().verify(b"message", &signature));
        assert!(!key.verifier().verify(b"another", &signature));
        assert!(!key.verifier().verify(b"message", &signature[1..]));
        assert!(!key.verifier().verify(b"message", &[0; 64]));
    }
}
