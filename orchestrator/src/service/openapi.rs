//! The API's description (OpenAPI 3.1), made from the table of endpoints and the table of problems.

mod schemas;

use crate::service::endpoints::{Endpoint, Place, TABLE};
use crate::service::problem::{self, Code};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The description.
#[must_use]
pub fn description() -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for row in TABLE {
        // A rest of the path is one parameter in OpenAPI.
        let path = row.path.replace("{*", "{");
        paths.entry(path).or_default().insert(row.method.to_lowercase(), operation(row));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gristmill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Takes contributions to AI training data from consent to payout.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key. On loopback, a node without any key needs none.",
                },
            },
            "schemas": schemas::all(),
        },
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation(row: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": row.id,
        "summary": row.about.split(". ").next().unwrap_or(row.about).trim_end_matches('.'),
        "description": about(row),
        "tags": [tag(row.path)],
        "responses": responses(row),
    });
    let security = if row.roles.is_empty() { json!([]) } else { json!([{"key": []}, {}]) };
    operation["security"] = security;
    if !row.parameters.is_empty() {
        let parameters = row.parameters.iter().map(|one| {
            json!({
                "name": one.name,
                "in": if one.place == Place::Path { "path" } else { "query" },
                "required": one.place != Place::Query,
                "description": one.about,
                "schema": reference(one.schema),
            })
        });
        operation["parameters"] = parameters.collect();
    }
    if let Some((content, schema)) = row.body {
        operation["requestBody"] =
            json!({"required": true, "content": {content: {"schema": reference(schema)}}});
    }
    operation
}

fn about(row: &Endpoint) -> String {
    if row.roles.is_empty() {
        return format!("{} Needs no key.", row.about);
    }
    let roles: Vec<&str> = row.roles.iter().map(|role| role.as_str()).collect();
    format!("{} Roles: {}.", row.about, roles.join(", "))
}

fn tag(path: &str) -> &'static str {
    match path.split('/').nth(2) {
        Some("admin") => "operators",
        Some("consents" | "consents:withdraw") => "consents",
        Some("media") => "media",
        Some("contributors") => "contributors",
        Some("contributions" | "contributions:batch") => "contributions",
        _ => "node",
    }
}

fn responses(row: &Endpoint) -> Value {
    let mut responses = Map::new();
    let contents = row
        .answer
        .iter()
        .map(|(content, schema)| ((*content).to_owned(), json!({"schema": reference(schema)})));
    let contents: Map<String, Value> = contents.collect();
    responses.insert(row.status.to_string(), json!({"description": "Done.", "content": contents}));
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in row.codes() {
        by_status.entry(code.row().status).or_default().push(code);
    }
    for (status, codes) in by_status {
        let words: Vec<String> = codes.iter().map(|code| format!("`{}`", code.word())).collect();
        let mut response = json!({
            "description": words.join(", "),
            "content": {problem::CONTENT: {"schema": reference("Problem")}},
        });
        if matches!(status, 429 | 503) {
            let about = "Seconds to wait before the next try.";
            response["headers"] =
                json!({"Retry-After": {"description": about, "schema": {"type": "integer"}}});
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_points_at_a_schema_and_every_schema_is_pointed_at() {
        let description = description();
        let mut found = Vec::new();
        references(&description, &mut found);
        let schemas = description["components"]["schemas"].as_object().unwrap();
        for name in &found {
            let name = name.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        for name in schemas.keys() {
            let pointer = format!("#/components/schemas/{name}");
            assert!(found.contains(&pointer), "{name} is used by nothing");
        }
    }

    #[test]
    fn every_problem_of_the_table_is_described_somewhere_or_is_about_no_operation() {
        let description = description().to_string();
        // A wrong method is of no operation; problems of lines and of single journeys stand within
        // the answers of a batch and of an operator's call.
        let apart = [
            Code::MethodNotAllowed,
            Code::LineTooLong,
            Code::BatchTooLong,
            Code::MediaSha256,
            Code::NotPaused,
            Code::AlreadyAccepted,
        ];
        for row in problem::TABLE.iter().filter(|row| !apart.contains(&row.code)) {
            assert!(description.contains(&format!("`{}`", row.word)), "{}", row.word);
        }
    }
}
