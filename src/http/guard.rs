//! What a document may ask for, decided before the GraphQL library sees it.
//!
//! The library's parser recurses without a bound and its rules walk fragments without memory; both are
//! reachable with a few hundred bytes. The scan bounds the parser, the walk bounds everything after it.

mod measure;
mod scan;
mod walk;

use async_graphql::Pos;
use serde_json::{Map, Value};

pub use scan::lexical_scan;
pub use walk::{Walk, walk};

/// The most that one request may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the document.
    pub document_bytes: usize,
    /// Tokens of the document.
    pub tokens: usize,
    /// Open brackets of all kinds at once, in the document and in variables.
    pub nesting: usize,
    /// Fields inside fields, fragments inlined.
    pub depth: usize,
    /// Aliases in the document.
    pub aliases: usize,
    /// Directives in the document.
    pub directives: usize,
    /// Selections of all operations, fragments inlined.
    pub expanded_nodes: usize,
    /// Root fields of the operation.
    pub root_fields: usize,
    /// Root fields of a mutation.
    pub root_mutations: usize,
    /// Operations in the document.
    pub operations: usize,
    /// Variables declared by one operation, and variables sent.
    pub variables: usize,
    /// Values in one list, literal or sent as a variable.
    pub list_values: usize,
    /// Cost of the operation: one for each record that may be answered, a tenth for each value in it.
    pub cost: usize,
    /// Largest page; a larger one is refused by the field itself and costs as much as this one.
    pub page_max: usize,
    /// Page of a connection that is asked without `first` and `last`.
    pub page_default: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            document_bytes: 15_000,
            tokens: 2_000,
            nesting: 48,
            depth: 15,
            aliases: 30,
            directives: 50,
            expanded_nodes: 3_000,
            root_fields: 20,
            root_mutations: 5,
            operations: 5,
            variables: 100,
            list_values: 100,
            cost: 10_000,
            page_max: 100,
            page_default: 20,
        }
    }
}

/// Why a request is not executed.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejection {
    /// For `extensions.code`.
    pub code: &'static str,
    /// What is wrong, for the author of the request.
    pub message: String,
    /// HTTP status for a client that understands `application/graphql-response+json`.
    pub status: u16,
    /// Further `extensions`: what was measured, its limit and the actual value.
    pub details: Box<Map<String, Value>>,
    /// Where in the document.
    pub locations: Vec<Pos>,
}

impl Rejection {
    /// A refusal without details.
    pub fn new(code: &'static str, status: u16, message: impl Into<String>) -> Rejection {
        Rejection {
            code,
            message: message.into(),
            status,
            details: Box::default(),
            locations: Vec::new(),
        }
    }

    /// The document is not GraphQL.
    pub fn syntax(message: impl Into<String>) -> Rejection {
        Rejection::new("GRAPHQL_PARSE_FAILED", 400, message)
    }

    /// The document breaks a rule of GraphQL or of the schema.
    pub fn invalid(message: impl Into<String>) -> Rejection {
        Rejection::new("GRAPHQL_VALIDATION_FAILED", 422, message)
    }

    /// The variables do not fit the operation.
    pub fn bad_input(message: impl Into<String>) -> Rejection {
        Rejection::new("BAD_USER_INPUT", 422, message)
    }

    /// No operation, or not a single one, is meant.
    pub fn unresolved(message: impl Into<String>) -> Rejection {
        Rejection::new("OPERATION_RESOLUTION_FAILURE", 422, message)
    }

    /// The same refusal, with its place in the document.
    pub fn at(self, locations: impl IntoIterator<Item = Pos>) -> Rejection {
        Rejection {
            locations: locations.into_iter().collect(),
            ..self
        }
    }
}

/// Refuses more than `limit` of something, saying how much there was.
fn within(what: &'static str, actual: usize, limit: usize) -> Result<(), Rejection> {
    if actual <= limit {
        return Ok(());
    }
    let status = if what == "document bytes" { 413 } else { 400 };
    let message = format!("the operation is too complex: {what} {actual}, at most {limit}");
    let mut rejection = Rejection::new("OPERATION_TOO_COMPLEX", status, message);
    rejection.details.insert("measure".into(), what.into());
    rejection.details.insert("limit".into(), limit.into());
    rejection.details.insert("actual".into(), actual.into());
    Err(rejection)
}
