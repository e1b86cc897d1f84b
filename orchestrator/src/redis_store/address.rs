//! Where the server is: one server, Sentinels that know it, or a cluster; and who we are there.

use super::error::OpenError;
use redis::{ConnectionAddr, RedisConnectionInfo};
use std::path::Path;

/// What kind of server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One server.
    Single,
    /// Sentinels that know who the master of this name is.
    Sentinel(String),
    /// A cluster, by some of its nodes.
    Cluster,
}

/// Where the store is.
///
/// `redis://HOST[:PORT][/DB]`, `rediss://…` over TLS, `redis+sentinel://HOST:PORT,…/MASTER[/DB]`,
/// `redis+cluster://HOST:PORT,…`; `rediss+sentinel`, `rediss+cluster`. A user name may stand before
/// the host; passwords come from a file or the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) kind: Kind,
    pub(super) tls: bool,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) db: i64,
    user: Option<String>,
    password: Option<String>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("kind", &self.kind).field("hosts", &self.hosts).finish()
    }
}

fn wrong(detail: impl Into<String>) -> OpenError {
    OpenError::Address { detail: detail.into() }
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// [`OpenError::Address`] says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            wrong("begins with redis://, rediss://, redis+sentinel:// or redis+cluster://")
        })?;
        let (secure, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match secure {
            "redis" => false,
            "rediss" => true,
            other => return Err(wrong(format!("{other}:// is not known"))),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) =
            place.rsplit_once('@').map_or((None, place), |(it, at)| (Some(it), at));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            Some((user, password)) => (filled(user), filled(password)),
            None => (None, None),
        };
        let standard = if kind == "sentinel" { 26379 } else { 6379 };
        let hosts: Result<Vec<_>, _> = hosts.split(',').map(|host| at(host, standard)).collect();
        let (kind, db) = match kind {
            "" => (Kind::Single, path),
            "cluster" => (Kind::Cluster, path),
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                let master = filled(master);
                let named = master.ok_or_else(|| wrong("names the master: …/MASTER[/DB]"))?;
                (Kind::Sentinel(named), db)
            }
            other => return Err(wrong(format!("redis+{other}:// is not known"))),
        };
        let db = if db.is_empty() { Ok(0) } else { db.parse() };
        let db: i64 = db.map_err(|_| wrong("the database is a number"))?;
        let hosts = hosts?;
        match kind {
            Kind::Cluster if db != 0 => Err(wrong("a cluster has no other database than 0")),
            Kind::Single if hosts.len() > 1 => Err(wrong("names one server; for more, +cluster")),
            kind => Ok(Self { kind, tls, hosts, db, user, password }),
        }
    }

    /// Takes user and password from a file (`user:password`, or the password alone, one line).
    ///
    /// # Errors
    /// [`OpenError::Credentials`] when it cannot be read.
    pub fn with_credentials(self, file: &Path) -> Result<Self, OpenError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| OpenError::Credentials { path: file.to_owned(), source })?;
        let line = text.trim_end_matches(['\r', '\n']);
        Ok(match line.split_once(':') {
            Some((user, password)) => Self { user: filled(user), ..self.with_password(password) },
            None => self.with_password(line),
        })
    }

    /// Takes a password.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self { password: filled(password), ..self }
    }

    pub(super) fn login(&self) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default().set_db(self.db).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        login
    }

    pub(super) fn addresses(&self) -> Vec<ConnectionAddr> {
        let address = |(host, port): &(String, u16)| {
            let (host, port) = (host.clone(), *port);
            match self.tls {
                true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
                false => ConnectionAddr::Tcp(host, port),
            }
        };
        self.hosts.iter().map(address).collect()
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn at(host: &str, standard: u16) -> Result<(String, u16), OpenError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (name, port) = match bare {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Ok(standard), str::parse);
    match (name, port) {
        ("", _) => Err(wrong("names no host")),
        (_, Err(_)) => Err(wrong(format!("{host}: the port is a number below 65536"))),
        (name, Ok(port)) => Ok((name.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn every_kind_of_address_is_understood() {
        let one = parsed("redis://127.0.0.1:7000/3");
        assert_eq!((one.kind, one.tls, one.db), (Kind::Single, false, 3));
        assert_eq!(one.hosts, [("127.0.0.1".to_owned(), 7000)]);
        assert!(parsed("rediss://[::1]").tls);
        assert_eq!(parsed("rediss://[::1]").hosts, [("::1".to_owned(), 6379)]);
        let watched = parsed("redis+sentinel://a:1,b/main/2");
        assert_eq!((watched.kind, watched.db), (Kind::Sentinel("main".to_owned()), 2));
        assert_eq!(watched.hosts, [("a".to_owned(), 1), ("b".to_owned(), 26379)]);
        let many = parsed("redis+cluster://u:p@a:1,b:2,c:3");
        assert_eq!((many.kind, many.hosts.len()), (Kind::Cluster, 3));
        assert_eq!((many.user.as_deref(), many.password.as_deref()), (Some("u"), Some("p")));
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for (url, reason) in [
            ("localhost", "begins with"),
            ("http://a", "http:// is not known"),
            ("redis+x://a", "redis+x:// is not known"),
            ("redis://a:b", "the port is a number"),
            ("redis://:1", "names no host"),
            ("redis://a,b", "names one server"),
            ("redis://a/x", "the database is a number"),
            ("redis+cluster://a/1", "no other database"),
            ("redis+sentinel://a", "names the master"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn credentials_come_from_a_file_and_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("login");
        std::fs::write(&file, "gristmill:se:cret\n").unwrap();
        let address = parsed("redis://a").with_credentials(&file).unwrap();
        let login = address.login();
        assert_eq!((login.username(), login.password()), (Some("gristmill"), Some("se:cret")));
        assert!(!format!("{address:?}").contains("cret"));
        assert!(parsed("redis://a").with_credentials(&dir.path().join("none")).is_err());
    }
}
