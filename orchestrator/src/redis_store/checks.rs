//! What the server must be like for what acknowledgements promise.

use super::error::OpenError;
use super::link::Link;
use super::value;
use gristmill_actors::ports::StoreError;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is fsynced on the server (`appendfsync always`).
    Always,
    /// A crash of the server's machine may lose the last second (`appendfsync everysec`).
    Everysec,
    /// As `Always`, and this many replicas have it in memory (`WAIT`). A failover may still lose it
    /// if none of them is chosen.
    Replicated(u8),
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let replicas = text.strip_prefix("replicated(").and_then(|rest| rest.strip_suffix(')'));
        match (text, replicas.map(str::parse)) {
            ("always", _) => Ok(Self::Always),
            ("everysec", _) => Ok(Self::Everysec),
            (_, Some(Ok(replicas @ 1..))) => Ok(Self::Replicated(replicas)),
            _ => Err(format!("{text} is none of always, everysec, replicated(N)")),
        }
    }
}

/// The settings that count, of one server.
type Settings = BTreeMap<String, String>;

/// Checks every master; with `accept_weaker` what is too weak is only warned of.
pub(super) async fn check(
    link: &Link,
    durability: Durability,
    accept_weaker: bool,
) -> Result<(), OpenError> {
    let mut info = redis::cmd("INFO");
    info.arg(&["server", "replication"]);
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg(&["append*", "maxmemory-policy"]);
    let infos = link.everywhere(&info).await?;
    let configs = link.everywhere(&config).await;
    let mut complaints = Vec::new();
    for answer in infos {
        complaints.extend(of_info(&value::text(answer, "INFO")?, durability));
    }
    match configs {
        Ok(configs) => {
            for answer in configs {
                complaints.extend(of_settings(&settings(answer)?, durability));
            }
        }
        Err(StoreError::Unavailable { detail }) => complaints.push(format!(
            "the server does not show its settings (CONFIG GET: {detail}), so they cannot be checked"
        )),
        Err(error) => return Err(error.into()),
    }
    complaints.sort();
    complaints.dedup();
    if complaints.is_empty() {
        return Ok(());
    }
    if !accept_weaker {
        return Err(OpenError::Weaker(complaints));
    }
    for complaint in complaints {
        tracing::warn!("WEAKER THAN CONFIGURED, accepted by --accept-weaker: {complaint}");
    }
    Ok(())
}

fn settings(answer: redis::Value) -> Result<Settings, StoreError> {
    let text = |it| value::text(it, "CONFIG GET");
    let pairs = value::pairs(answer, "CONFIG GET")?.into_iter();
    pairs.map(|(name, it)| Ok((text(name)?, text(it)?))).collect()
}

fn of_info(info: &str, durability: Durability) -> Vec<String> {
    let field = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| *known == name).map(|(_, it)| it.trim()).next()
    };
    let mut complaints = Vec::new();
    // Valkey shows the version of Redis that it is compatible with under the same name.
    let version = field("redis_version").unwrap_or("unknown");
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major| major < 7) {
        complaints.push(format!("the server's version is {version}: it must be 7.0 or later"));
    }
    if let Durability::Replicated(wanted) = durability {
        let lines = info.lines().filter(|line| line.starts_with("slave"));
        let online = lines.filter(|line| line.contains("state=online")).count();
        if online < usize::from(wanted) {
            complaints.push(format!("{online} replicas are online, {wanted} are configured"));
        }
    }
    complaints
}

fn of_settings(settings: &Settings, durability: Durability) -> Vec<String> {
    let fsync = match durability {
        Durability::Always | Durability::Replicated(_) => "always",
        Durability::Everysec => "everysec",
    };
    let wanted =
        [("appendonly", "yes"), ("appendfsync", fsync), ("maxmemory-policy", "noeviction")];
    let mut complaints = Vec::new();
    for (name, wanted) in wanted {
        let found = settings.get(name).map_or("unknown", String::as_str);
        let stronger = name == "appendfsync" && found == "always";
        if found != wanted && !stronger {
            complaints.push(format!("{name} is {found}: CONFIG SET {name} {wanted}"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fsync: &str, policy: &str) -> Settings {
        let pairs = [("appendonly", "yes"), ("appendfsync", fsync), ("maxmemory-policy", policy)];
        pairs.map(|(name, it)| (name.to_owned(), it.to_owned())).into()
    }

    #[test]
    fn a_server_as_configured_has_no_complaints() {
        assert_eq!(of_settings(&with("always", "noeviction"), Durability::Always), [""; 0]);
        assert_eq!(of_settings(&with("always", "noeviction"), Durability::Everysec), [""; 0]);
        assert_eq!(of_settings(&with("everysec", "noeviction"), Durability::Everysec), [""; 0]);
        assert_eq!(of_info("redis_version:7.0.15\r\n", Durability::Always), [""; 0]);
    }

    #[test]
    fn a_weaker_server_is_told_with_the_setting_to_change() {
        let complaints = of_settings(&with("everysec", "allkeys-lru"), Durability::Always);
        assert_eq!(complaints.len(), 2);
        assert!(complaints[0].ends_with("CONFIG SET appendfsync always"));
        assert!(complaints[1].ends_with("CONFIG SET maxmemory-policy noeviction"));
        assert_eq!(of_info("redis_version:6.2.1\r\n", Durability::Always).len(), 1);
        let info = "redis_version:7.2.4\r\nslave0:ip=a,state=online,lag=0\r\n";
        assert_eq!(of_info(info, Durability::Replicated(1)), [""; 0]);
        assert_eq!(of_info(info, Durability::Replicated(2)).len(), 1);
    }

    #[test]
    fn durability_is_read_as_it_is_written() {
        assert_eq!("always".parse(), Ok(Durability::Always));
        assert_eq!("everysec".parse(), Ok(Durability::Everysec));
        assert_eq!("replicated(2)".parse(), Ok(Durability::Replicated(2)));
        assert!("replicated(0)".parse::<Durability>().is_err());
        assert!("never".parse::<Durability>().is_err());
    }
}
