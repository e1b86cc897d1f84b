//! The schemas (JSON Schema 2020-12) of what goes in and out.

use crate::service::limits::{CHOSEN_MAX, PAGE_ITEMS_MAX, REASON_BYTES_MAX};
use crate::service::problem;
use crate::service::role::Role;
use gristmill_workflows::limits;
use serde_json::{Map, Value, json};

/// Every schema by name.
pub(super) fn all() -> Map<String, Value> {
    let mut schemas = Map::new();
    for part in [words(), consents(), contributions(), shown(), operators(), keys()] {
        if let Value::Object(part) = part {
            schemas.extend(part);
        }
    }
    schemas
}

fn to(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn or_null(mut schema: Value) -> Value {
    if schema.get("$ref").is_some() {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

fn text() -> Value {
    json!({"type": "string"})
}

fn moment() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// An object: what must be there, and what may be.
fn object(needed: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let all = needed.iter().chain(optional);
    let properties: Map<String, Value> =
        all.map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = needed.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn list_of(items: &Value) -> Value {
    let items = json!({"type": "array", "items": items});
    object(&[("items", items), ("next_page_token", or_null(text()))], &[])
}

/// Visible characters: no control characters.
fn visible(bytes: usize) -> Value {
    let pattern = r"^[^\u0000-\u001F\u007F-\u009F]+$";
    json!({"type": "string", "minLength": 1, "maxLength": bytes, "pattern": pattern})
}

fn words() -> Value {
    let codes: Vec<&str> = problem::TABLE.iter().map(|row| row.word).collect();
    let causes =
        ["exhausted", "permanent", "panic", "killed_node", "rail_window_expired", "operator"];
    let states = ["queued", "moving", "parked", "paused", "settled", "rejected", "withdrawn"];
    let modalities = ["voice", "image", "video", "none"];
    json!({
        "Text": {"type": "string"},
        "Bytes": {"type": "string", "format": "binary"},
        "Lines": {"type": "string", "description": "One JSON object a line."},
        "Object": {"type": "object"},
        "Token": {"type": "string"},
        "Name": {
            "type": "string", "minLength": 1, "maxLength": limits::NAME_BYTES_MAX,
            "pattern": "^[a-z0-9_-]+$",
        },
        "LogPath": {"type": "string", "pattern": r"^[a-z0-9./]+$"},
        "PageSize": {"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX},
        "Contributor": visible(limits::CONTRIBUTOR_BYTES_MAX),
        "ContributionId": {"type": "string", "pattern": "^c[0-9a-f]{36}$"},
        "Sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "JourneyState": {"type": "string", "enum": states},
        "Modality": {"type": "string", "enum": modalities},
        "Cause": {"type": "string", "enum": causes},
        "Role": {"type": "string", "enum": Role::ALL},
        "ReceiptEntry": {"type": "string", "enum": ["contribution", "payout"]},
        "Problem": {
            "type": "object",
            "description": "RFC 9457.",
            "properties": {
                "type": {"type": "string", "format": "uri-reference"},
                "title": text(),
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": text(),
                "code": {"type": "string", "enum": codes},
                "retryable": {"type": "boolean"},
                "field": text(),
            },
            "required": ["type", "title", "status", "detail", "code", "retryable"],
        },
    })
}

fn consents() -> Value {
    let terms = object(
        &[
            ("version", json!({"type": "string", "maxLength": limits::NAME_BYTES_MAX})),
            ("sha256", to("Sha256")),
            ("uri", json!({"type": "string", "maxLength": limits::URI_BYTES_MAX})),
        ],
        &[],
    );
    let list = |items: Value| {
        let most = limits::GRANT_LIST_MAX;
        json!({"type": "array", "items": items, "minItems": 1, "maxItems": most})
    };
    let grant = visible(limits::GRANT_BYTES_MAX);
    let purposes = list(visible(limits::NAME_BYTES_MAX));
    let given = [
        ("contributor", to("Contributor")),
        ("program", to("Name")),
        ("purposes", purposes),
        ("modalities", list(to("Modality"))),
        ("terms", to("Terms")),
    ];
    let taken_back = [("contributor", to("Contributor"))];
    let (by_grant, by_program) = (("grant", grant.clone()), ("program", to("Name")));
    // Each side whole: makers of clients read no field that stands beside `anyOf`.
    let withdrawal = |who: &[(&'static str, Value)]| {
        let (no_grant, no_program) = (or_null(by_grant.1.clone()), or_null(by_program.1.clone()));
        let one =
            object(&[who, std::slice::from_ref(&by_grant)].concat(), &[("program", no_program)]);
        let all =
            object(&[who, std::slice::from_ref(&by_program)].concat(), &[("grant", no_grant)]);
        json!({"anyOf": [one, all]})
    };
    let mut on_behalf = taken_back.to_vec();
    on_behalf.push(("reason", visible(REASON_BYTES_MAX)));
    let listed = object(
        &[
            ("grant", text()),
            ("program", text()),
            ("purposes", json!({"type": "array", "items": text()})),
            ("modalities", json!({"type": "array", "items": to("Modality")})),
            ("terms", to("Terms")),
            ("given_at", moment()),
            ("expires_at", or_null(moment())),
            ("withdrawn_at", or_null(moment())),
            ("state", json!({"type": "string", "enum": ["pending", "given", "withdrawn"]})),
        ],
        &[],
    );
    json!({
        "Terms": terms,
        "Consent": object(
            &given,
            &[("expires_at", or_null(moment())), ("grant", or_null(grant))],
        ),
        "ConsentGiven": object(&[("contributor", text()), ("grant", text())], &[]),
        "ConsentList": list_of(&listed),
        "Withdrawal": withdrawal(&taken_back),
        "WithdrawalOnBehalf": withdrawal(&on_behalf),
        "Withdrawn": object(
            &[
                ("contributor", text()),
                ("grant", or_null(text())),
                ("program", or_null(text())),
                ("withdrawn_at", moment()),
            ],
            &[],
        ),
    })
}

fn contributions() -> Value {
    let media = object(
        &[("sha256", to("Sha256"))],
        &[("uri", json!({"type": "null", "description": "Only a file's manifest names one."}))],
    );
    let key = visible(limits::IDEMPOTENCY_KEY_BYTES_MAX);
    let transcript = json!({"type": "string", "maxLength": limits::TRANSCRIPT_BYTES_MAX});
    json!({
        "Upload": object(&[("sha256", to("Sha256")), ("bytes", count()), ("mime", text())], &[]),
        "Contribution": object(
            &[
                ("contributor", to("Contributor")),
                ("idempotency_key", key),
                ("program", to("Name")),
                ("task", to("Name")),
                ("modality", to("Modality")),
            ],
            &[
                ("language", or_null(json!({"type": "string", "maxLength": 35}))),
                ("media", or_null(media)),
                ("transcript", or_null(transcript)),
                ("captured_at", or_null(moment())),
            ],
        ),
        "Submitted": object(
            &[
                ("id", to("ContributionId")),
                ("state", to("JourneyState")),
                ("status_url", text()),
            ],
            &[],
        ),
        "Told": object(&[("id", to("ContributionId")), ("signal", to("Name"))], &[]),
        "ContributionList": list_of(&to("Listed")),
        "Statement": statement(),
    })
}

fn statement() -> Value {
    let total = object(
        &[
            ("currency", text()),
            ("counted", count()),
            ("valued_micro", count()),
            ("carry_micro", count()),
            ("in_flight_minor", count()),
            ("paid_minor", count()),
        ],
        &[],
    );
    let item = object(
        &[
            ("id", to("ContributionId")),
            ("program", text()),
            ("state", to("JourneyState")),
            ("amount", or_null(to("Amount"))),
            ("trace_index", or_null(count())),
            ("payouts", json!({"type": "array", "items": to("Payout")})),
            ("withdrawn_at", or_null(moment())),
        ],
        &[],
    );
    object(
        &[
            ("contributor", text()),
            ("totals", json!({"type": "array", "items": total})),
            ("complete", json!({"type": "boolean"})),
            ("items", json!({"type": "array", "items": item})),
            ("next_page_token", or_null(text())),
        ],
        &[],
    )
}

fn row() -> Vec<(&'static str, Value)> {
    vec![
        ("id", to("ContributionId")),
        ("contributor", text()),
        ("idempotency_key", text()),
        ("program", text()),
        ("workflow", or_null(text())),
        ("state", to("JourneyState")),
        ("reason", or_null(text())),
        ("cause", or_null(text())),
        ("stage", or_null(text())),
        ("attempts", or_null(count())),
        ("score", or_null(count())),
        ("amount", or_null(to("Amount"))),
        ("trace_index", or_null(count())),
        ("payouts", json!({"type": "array", "items": to("Payout")})),
        ("withdrawn_at", or_null(moment())),
        ("receipts", json!({"type": "array", "items": text()})),
        ("why", text()),
    ]
}

fn shown() -> Value {
    let states = ["fixed", "in_flight", "paid", "failed", "suspense"];
    let mut shown = row();
    let happened = object(&[("at", moment()), ("stage", or_null(text())), ("what", text())], &[]);
    let objects = json!({"type": "array", "items": {"type": "object"}});
    shown.extend([
        ("submitted_at", moment()),
        ("task", text()),
        ("modality", to("Modality")),
        ("workflow_version", or_null(json!({"type": "object"}))),
        ("grant", or_null(json!({"type": "object"}))),
        ("score_factors", objects.clone()),
        ("price", or_null(json!({"type": "object"}))),
        ("outputs", objects.clone()),
        ("postings", objects),
        ("timeline", json!({"type": "array", "items": happened})),
    ]);
    json!({
        "Amount": object(&[("currency", text()), ("micro", count())], &[]),
        "Payout": object(
            &[
                ("id", text()),
                ("minor", count()),
                ("state", json!({"type": "string", "enum": states})),
                ("trace_index", or_null(count())),
            ],
            &[],
        ),
        "Listed": object(&row(), &[]),
        "Shown": object(&shown, &[]),
    })
}

fn operators() -> Value {
    let reason = ("reason", visible(REASON_BYTES_MAX));
    let state = [
        ("stage", text()),
        ("paused", json!({"type": "boolean"})),
        ("since", or_null(moment())),
        ("reason", or_null(text())),
    ];
    let ids = json!({"type": "array", "items": to("ContributionId"), "minItems": 1,
        "maxItems": CHOSEN_MAX});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": CHOSEN_MAX});
    let quarantine = ["exhausted", "permanent", "panic", "killed_node", "rail_window_expired"];
    let failed = object(&[("id", text()), ("problem", to("Problem"))], &[]);
    let change = object(
        &[
            ("at", moment()),
            ("key", text()),
            ("verb", text()),
            ("target", text()),
            ("reason", text()),
        ],
        &[],
    );
    json!({
        "Reasoned": object(std::slice::from_ref(&reason), &[]),
        "StageState": object(&state, &[]),
        "StageList": list_of(&to("StageState")),
        "Chosen": object(
            &[reason],
            &[
                ("ids", or_null(ids)),
                ("all", or_null(json!({"type": "boolean"}))),
                ("cause", json!({"type": "string", "enum": quarantine})),
                ("program", or_null(to("Name"))),
                ("stage", or_null(to("Name"))),
                ("dry_run", or_null(json!({"type": "boolean"}))),
                ("limit", or_null(limit)),
                ("page_token", or_null(text())),
            ],
        ),
        "ToldMany": object(
            &[
                ("dry_run", json!({"type": "boolean"})),
                ("count", count()),
                ("told", json!({"type": "array", "items": to("ContributionId")})),
                ("failed", json!({"type": "array", "items": failed})),
                ("next_page_token", or_null(text())),
            ],
            &[],
        ),
        "AuditList": list_of(&change),
    })
}

fn keys() -> Value {
    let state = [
        ("key", text()),
        ("role", to("Role")),
        ("contributor", or_null(text())),
        ("made_at", moment()),
        ("expires_at", or_null(moment())),
        ("revoked_at", or_null(moment())),
    ];
    let mut made = state.to_vec();
    made.push(("secret", text()));
    json!({
        "KeyState": object(&state, &[]),
        "KeyList": list_of(&to("KeyState")),
        "MadeKey": object(&made, &[]),
        "NewKey": object(
            &[("role", to("Role")), ("reason", visible(REASON_BYTES_MAX))],
            &[
                ("contributor", or_null(to("Contributor"))),
                ("expires_at", or_null(moment())),
            ],
        ),
    })
}
