//! `gristmill keys`: made, listed and revoked, on a running node or in the data directory of none.

use super::{answer, note};
use crate::app::{Failure, configure};
use crate::cli::{Keys, Node, Output};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::opened::Opened;
use crate::run::store_options;
use crate::service::api_keys::{ApiKeys, Shown};
use crate::service::changes::Changes;
use crate::service::handlers::admin::wanted;
use crate::service::problem::Problem;
use gristmill_actors::ports::Clock;
use gristmill_actors::register::Register;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The register of a data directory that no node runs on.
struct Standing {
    _opened: Opened,
    keys: ApiKeys,
    changes: Changes,
    clock: Arc<dyn Clock>,
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(4, error)
}

fn refused(problem: &Problem) -> Failure {
    let field = problem.field.as_deref().map_or_else(String::new, |field| format!("{field}: "));
    Failure { text: format!("{field}{}", problem.detail), code: 2 }
}

impl Standing {
    async fn open(node: &Node) -> Result<Self, Failure> {
        let place = node.place();
        let config = configure(place.config.as_deref(), place.programs.as_deref())?;
        let opened = Opened::make(&place.data_dir, &config.trace.origin, store_options(&config));
        let opened = opened.map_err(|error| Failure::new(error.exit_code(), &error))?;
        let register: Arc<dyn Register> = opened.register.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let keys = ApiKeys::open(register.clone()).await.map_err(|error| failed(&error))?;
        let changes = Changes::new(register, clock.clone());
        Ok(Self { _opened: opened, keys, changes, clock })
    }

    async fn note(&self, verb: &str, target: &str, reason: &str) -> Result<(), Failure> {
        note(&self.changes, verb, target, reason).await
    }
}

/// A listing of keys, as a node answers it.
#[derive(Deserialize)]
struct Items {
    items: Vec<Value>,
}

fn no_secret() -> Failure {
    Failure { text: "the answer holds no secret: not the answer of a node".to_owned(), code: 4 }
}

pub(super) async fn command(verb: Keys) -> Result<u8, Failure> {
    match verb {
        Keys::New { role, contributor, expires, reason, node, output } => {
            let whose = (contributor, expires);
            new(&node, &role, whose, &reason, output).await?;
        }
        Keys::List { node, output } => list(&node, output).await?,
        Keys::Revoke { key, reason, node, output } => revoke(&node, &key, &reason, output).await?,
    }
    Ok(0)
}

async fn new(
    node: &Node,
    role: &str,
    (contributor, expires): (Option<String>, Option<String>),
    reason: &str,
    output: Output,
) -> Result<(), Failure> {
    if let Some(client) = Client::of(node)? {
        let body = json!({"role": role, "contributor": contributor, "expires_at": expires,
            "reason": reason});
        let made: Value = client.post("/v1/admin/keys", &body).await?;
        let secret = made["secret"].as_str().map(str::to_owned);
        let secret = secret.ok_or_else(no_secret)?;
        return answer(output, &made, &[secret]);
    }
    let wanted = wanted(role, contributor, expires.as_deref());
    let wanted = wanted.map_err(|problem| refused(&problem))?;
    let standing = Standing::open(node).await?;
    standing.note("keys new", role, reason).await?;
    let made = standing.keys.make(wanted, standing.clock.now()).await;
    let (secret, shown) = made.map_err(|error| failed(&error))?;
    let mut made = json!(shown);
    made["secret"] = json!(secret);
    answer(output, &made, &[secret])
}

async fn list(node: &Node, output: Output) -> Result<(), Failure> {
    if let Some(client) = Client::of(node)? {
        let Items { items } = client.get("/v1/admin/keys").await?;
        let word = |one: &Value, field: &str| one[field].as_str().unwrap_or("-").to_owned();
        let line = |one: &Value| {
            let fields = ["key", "role", "contributor", "made_at", "expires_at", "revoked_at"];
            fields.map(|field| word(one, field)).join("  ")
        };
        return answer(output, &items, &items.iter().map(line).collect::<Vec<_>>());
    }
    let keys = Standing::open(node).await?.keys.list();
    answer(output, &keys, &keys.iter().map(Shown::line).collect::<Vec<_>>())
}

async fn revoke(node: &Node, key: &str, reason: &str, output: Output) -> Result<(), Failure> {
    if let Some(client) = Client::of(node)? {
        let path = format!("/v1/admin/keys/{}/revoke", Client::escaped(key));
        let revoked: Value = client.post(&path, &json!({ "reason": reason })).await?;
        return answer(output, &revoked, &[format!("{key} is revoked")]);
    }
    let standing = Standing::open(node).await?;
    let none = || Failure { text: format!("{key}: no such key"), code: 2 };
    if !standing.keys.has(key) {
        return Err(none());
    }
    standing.note("keys revoke", key, reason).await?;
    let revoked = standing.keys.revoke(key, standing.clock.now()).await;
    let shown = revoked.map_err(|error| failed(&error))?.ok_or_else(none)?;
    answer(output, &shown, &[shown.line()])
}
