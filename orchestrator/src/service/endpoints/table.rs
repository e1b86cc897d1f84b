//! The rows.

use super::{Content, Endpoint, Parameter, Place};
use crate::service::problem::Code;
use crate::service::role::Role;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";
const ANY: &str = "application/octet-stream";

const EVERY: &[Role] = &Role::ALL;
const SUBMITTER: &[Role] = &[Role::Submitter];
const OF_PERSON: &[Role] = &[Role::Submitter, Role::Contributor];
const SIGNALS: &[Role] = &[Role::Submitter, Role::Operator];
const OPERATOR: &[Role] = &[Role::Operator];
const WATCHERS: &[Role] = &[Role::Operator, Role::Auditor];

const fn parameter(
    name: &'static str,
    place: Place,
    schema: &'static str,
    about: &'static str,
) -> Parameter {
    Parameter { name, place, schema, about }
}

const ID: Parameter = parameter("id", Place::Path, "ContributionId", "The contribution.");
const PAGE_SIZE: Parameter =
    parameter("page_size", Place::Query, "PageSize", "Items on the page, 1 to 1000.");
const PAGE_TOKEN: Parameter =
    parameter("page_token", Place::Query, "Token", "The `next_page_token` of the page before.");
const WHOSE: Parameter = parameter("contributor", Place::Needed, "Contributor", "The person.");
const OF: Parameter = parameter("contributor", Place::Query, "Contributor", "Only this person's.");
const STATE: Parameter =
    parameter("state", Place::Query, "JourneyState", "Only journeys in this state.");
const CAUSE: Parameter =
    parameter("cause", Place::Query, "Cause", "Only journeys paused for this cause.");
const PROGRAM: Parameter =
    parameter("program", Place::Query, "Name", "Only journeys of this program.");
const STAGE: Parameter = parameter("stage", Place::Query, "Name", "Only journeys at this stage.");
const STAGE_NAME: Parameter = parameter("stage", Place::Path, "Name", "The stage.");

const LISTING: &[Parameter] = &[OF, STATE, CAUSE, PROGRAM, STAGE, PAGE_SIZE, PAGE_TOKEN];
const SHELVED: &[Parameter] = &[CAUSE, PROGRAM, STAGE, PAGE_SIZE, PAGE_TOKEN];
const PAGES: &[Parameter] = &[PAGE_SIZE, PAGE_TOKEN];

const STORE: Code = Code::StoreUnavailable;

const fn get(
    path: &'static str,
    id: &'static str,
    roles: &'static [Role],
    parameters: &'static [Parameter],
    answer: &'static [Content],
    about: &'static str,
) -> Endpoint {
    let problems = &[STORE];
    let (method, body, status) = ("GET", None, 200);
    Endpoint { method, path, id, about, roles, parameters, body, status, answer, problems }
}

const fn post(
    path: &'static str,
    id: &'static str,
    roles: &'static [Role],
    body: Content,
    answer: &'static [Content],
    about: &'static str,
) -> Endpoint {
    let problems = &[STORE, Code::Draining];
    let (method, body, status, parameters) = ("POST", Some(body), 202, &[]);
    Endpoint { method, path, id, about, roles, parameters, body, status, answer, problems }
}

/// Every endpoint.
pub const TABLE: &[Endpoint] = &[
    // The node itself.
    get("/livez", "livez", &[], &[], &[(TEXT, "Text")], "Whether the process is alive."),
    Endpoint {
        problems: &[Code::Draining, STORE],
        ..get("/readyz", "readyz", &[], &[], &[(TEXT, "Text")], "Whether the node can serve.")
    },
    get("/metrics", "metrics", WATCHERS, &[], &[(TEXT, "Text")], "Metrics for Prometheus."),
    get(
        "/openapi.json",
        "openapi",
        &[],
        &[],
        &[(JSON, "Object")],
        "This description (OpenAPI 3.1).",
    ),
    get(
        "/problems/{code}",
        "problem",
        &[],
        &[parameter("code", Place::Path, "Name", "The problem's code.")],
        &[(TEXT, "Text")],
        "What a problem's code means, and what to do.",
    ),
    get(
        "/trace/{*path}",
        "trace",
        &[],
        &[parameter("path", Place::Path, "LogPath", "The object's path (C2SP tlog-tiles).")],
        &[(ANY, "Bytes"), (TEXT, "Text")],
        "An object of the public log: checkpoint, vkey or a tile.",
    ),
    // Consents.
    Endpoint {
        problems: &[STORE, Code::Draining, Code::UnknownProgram],
        ..post(
            "/v1/consents",
            "give_consent",
            OF_PERSON,
            (JSON, "Consent"),
            &[(JSON, "ConsentGiven")],
            "Gives consent. Durable when answered; the same object again is the same grant.",
        )
    },
    get(
        "/v1/consents",
        "list_consents",
        EVERY,
        &[WHOSE],
        &[(JSON, "ConsentList")],
        "The grants of one contributor, those taken back included.",
    ),
    Endpoint {
        problems: &[STORE, Code::UnknownProgram, Code::UnknownGrant],
        ..post(
            "/v1/consents:withdraw",
            "withdraw_consent",
            OF_PERSON,
            (JSON, "Withdrawal"),
            &[(JSON, "Withdrawn")],
            "Takes consent back: one grant, or all of a program. Durable when answered, and never \
             refused for load.",
        )
    },
    // Media.
    Endpoint {
        parameters: &[WHOSE],
        status: 201,
        problems: &[STORE, Code::Draining, Code::MediaTooLarge],
        ..post(
            "/v1/media",
            "upload_media",
            SUBMITTER,
            (ANY, "Bytes"),
            &[(JSON, "Upload")],
            "Uploads media of one contributor, which a contribution then names by its hash.",
        )
    },
    // Contributions.
    Endpoint {
        problems: &[
            STORE,
            Code::Draining,
            Code::UnknownProgram,
            Code::UnknownTask,
            Code::MediaMissing,
            Code::MediaPath,
            Code::IdempotencyKeyReused,
            Code::InboxFull,
        ],
        ..post(
            "/v1/contributions",
            "submit_contribution",
            SUBMITTER,
            (JSON, "Contribution"),
            &[(JSON, "Submitted")],
            "Hands a contribution in. Durable when answered; the same object again is a repeat.",
        )
    },
    Endpoint {
        status: 200,
        ..post(
            "/v1/contributions:batch",
            "submit_batch",
            SUBMITTER,
            (NDJSON, "Lines"),
            &[(NDJSON, "Lines")],
            "Hands lines of a manifest in, at most 20,000; an answer a line, written when the \
             line is durable.",
        )
    },
    get(
        "/v1/contributions",
        "list_contributions",
        EVERY,
        LISTING,
        &[(JSON, "ContributionList"), (TEXT, "Text")],
        "Contributions by filter. A contributor's key lists its own. A page may be short; the \
         listing ends when there is no `next_page_token`.",
    ),
    get(
        "/v1/contributions/{id}",
        "get_contribution",
        EVERY,
        &[ID],
        &[(JSON, "Shown"), (TEXT, "Text")],
        "One contribution: history, price, payouts, and why it stands where it stands.",
    ),
    Endpoint {
        problems: &[STORE, Code::NotAccepted, Code::NotPublished, Code::Erased],
        ..get(
            "/v1/contributions/{id}/receipt",
            "get_receipt",
            EVERY,
            &[ID, parameter("entry", Place::Query, "ReceiptEntry", "Which entry's receipt.")],
            &[(TEXT, "Text")],
            "A receipt (C2SP tlog-proof) of the contribution's entry, or of its payout's.",
        )
    },
    Endpoint {
        parameters: &[ID, parameter("name", Place::Path, "Name", "The signal.")],
        body: None,
        problems: &[STORE, Code::Draining, Code::InvalidField],
        ..post(
            "/v1/contributions/{id}/signals/{name}",
            "send_signal",
            SIGNALS,
            (JSON, "Object"),
            &[(JSON, "Told")],
            "Sends a signal to a journey that waits for it, or will.",
        )
    },
    get(
        "/v1/contributors/{contributor}/statement",
        "get_statement",
        EVERY,
        &[
            parameter("contributor", Place::Path, "Contributor", "The person."),
            PAGE_SIZE,
            PAGE_TOKEN,
        ],
        &[(JSON, "Statement")],
        "What was counted, valued, carried and paid, with the places in the public log.",
    ),
    // Operators.
    get(
        "/v1/admin/stages",
        "list_stages",
        WATCHERS,
        &[],
        &[(JSON, "StageList"), (TEXT, "Text")],
        "Every stage, and whether it is paused.",
    ),
    Endpoint {
        parameters: &[STAGE_NAME],
        status: 200,
        problems: &[STORE, Code::UnknownStage],
        ..post(
            "/v1/admin/stages/{stage}/pause",
            "pause_stage",
            OPERATOR,
            (JSON, "Reasoned"),
            &[(JSON, "StageState")],
            "Pauses a stage: nothing new starts there, what comes to it is parked.",
        )
    },
    Endpoint {
        parameters: &[STAGE_NAME],
        status: 200,
        problems: &[STORE, Code::UnknownStage],
        ..post(
            "/v1/admin/stages/{stage}/resume",
            "resume_stage",
            OPERATOR,
            (JSON, "Reasoned"),
            &[(JSON, "StageState")],
            "Lets a paused stage go on, and what waits at it.",
        )
    },
    get(
        "/v1/admin/quarantine",
        "list_quarantine",
        WATCHERS,
        SHELVED,
        &[(JSON, "ContributionList"), (TEXT, "Text")],
        "Journeys that wait for an operator, with their causes.",
    ),
    Endpoint {
        status: 200,
        ..post(
            "/v1/admin/quarantine:retry",
            "retry_quarantined",
            OPERATOR,
            (JSON, "Chosen"),
            &[(JSON, "ToldMany")],
            "Lets quarantined journeys go on, with attempts counted anew.",
        )
    },
    Endpoint {
        status: 200,
        ..post(
            "/v1/admin/quarantine:reject",
            "reject_quarantined",
            OPERATOR,
            (JSON, "Chosen"),
            &[(JSON, "ToldMany")],
            "Rejects quarantined journeys that were not accepted yet.",
        )
    },
    Endpoint {
        problems: &[STORE, Code::UnknownProgram, Code::UnknownGrant],
        ..post(
            "/v1/admin/withdrawals",
            "withdraw_on_behalf",
            OPERATOR,
            (JSON, "WithdrawalOnBehalf"),
            &[(JSON, "Withdrawn")],
            "Takes consent back on a contributor's behalf.",
        )
    },
    get(
        "/v1/admin/audit",
        "list_audit",
        WATCHERS,
        PAGES,
        &[(JSON, "AuditList")],
        "Every change an operator made, oldest first. Nothing is ever taken out of it.",
    ),
    get(
        "/v1/admin/keys",
        "list_keys",
        WATCHERS,
        &[],
        &[(JSON, "KeyList")],
        "The API keys, without their secrets.",
    ),
    Endpoint {
        status: 201,
        ..post(
            "/v1/admin/keys",
            "make_key",
            OPERATOR,
            (JSON, "NewKey"),
            &[(JSON, "MadeKey")],
            "Makes an API key. Its secret is in this answer and nowhere else.",
        )
    },
    Endpoint {
        parameters: &[parameter("key", Place::Path, "Name", "The key's public part.")],
        status: 200,
        ..post(
            "/v1/admin/keys/{key}/revoke",
            "revoke_key",
            OPERATOR,
            (JSON, "Reasoned"),
            &[(JSON, "KeyState")],
            "Revokes an API key.",
        )
    },
];
