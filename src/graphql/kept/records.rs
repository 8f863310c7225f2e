//! Which documents show nothing but records, so that their answers change with these alone, and with which.

use std::borrow::Cow;
use std::collections::BTreeSet;

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Value, Variables};

use crate::domain::change::Topic;
use crate::graphql::below::{self, OfKind};
use crate::graphql::client::Client;
use crate::graphql::dispute::{Deduction, Dispute};
use crate::graphql::document::{CreditNote, Invoice};
use crate::graphql::payment::Payment;
use crate::graphql::text::{self, Row};
use crate::store::Shown;
use crate::store::change::Rests;
use crate::store::nested::Below;

/// A type of records whose changes stand on the feed.
#[derive(Clone, Copy)]
struct Kind {
    name: fn() -> Cow<'static, str>,
    /// Whether a record tells a field by itself: what is told stands in its row.
    tells: fn(&str) -> bool,
}

fn kind<V: Row>() -> Kind {
    Kind {
        name: V::type_name,
        tells: V::is_told,
    }
}

/// Finds out what a list below a record shows.
struct ShowsWhat;

impl OfKind for ShowsWhat {
    type Done = Kind;
    fn does<R: Below + Clone, V: Row>(self, _: fn(R) -> V) -> Kind {
        kind::<V>()
    }
}

/// What an answer that shows nothing but records rests on, besides the clients whose records they are.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Roots {
    /// Fields of the root, each of which says whose records it shows.
    pub fields: usize,
    /// Topics of which any change counts: a list has other rows when a record comes or goes, whosever it is.
    pub everywhere: BTreeSet<Topic>,
    /// Topics of all the records that are shown.
    pub topics: BTreeSet<Topic>,
}

impl Roots {
    /// With those whose records were shown. Where that is not sure, or they are very many, anybody's count.
    pub fn with(self, shown: Shown) -> Rests {
        let is_sure = shown.fields == self.fields && !shown.others;
        let topics: Vec<Topic> = self.topics.into_iter().collect();
        let everywhere = match is_sure && shown.clients.len() <= CLIENTS {
            true => self.everywhere.into_iter().collect(),
            false => topics.clone(),
        };
        let clients = shown.clients.iter().take(CLIENTS).map(|id| id.0).collect();
        Rests {
            everywhere,
            topics,
            clients,
        }
    }
}

/// Clients that are told apart at most.
const CLIENTS: usize = 500;

/// Where a selection stands.
#[derive(Clone, Copy)]
enum At {
    Root,
    Row(Kind),
    Page(Kind),
    Edge(Kind),
    /// Of plain fields alone, which all rest on the list that it is of.
    Info,
}

/// What the answer rests on when it shows nothing but records, so that it changes with them alone.
pub fn rests_on_records(
    doc: &ExecutableDocument,
    name: Option<&str>,
    variables: &Variables,
) -> Option<Roots> {
    let operation = text::operation(doc, name)?;
    let mut reading = Reading {
        doc,
        operation,
        variables,
        roots: Roots::default(),
    };
    // Who sees a record is a matter of its client.
    reading.roots.topics.insert(Topic::Clients);
    let rests = operation.ty == OperationType::Query
        && reading.rests(&operation.selection_set.node, At::Root);
    rests.then_some(reading.roots)
}

struct Reading<'a> {
    doc: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    roots: Roots,
}

impl Reading<'_> {
    fn rests(&mut self, set: &SelectionSet, at: At) -> bool {
        set.items.iter().all(|selection| match &selection.node {
            Selection::Field(field) => self.field_rests(&field.node, at),
            Selection::FragmentSpread(spread) => {
                let fragment = self.doc.fragments.get(&spread.node.fragment_name.node);
                fragment.is_some_and(|fragment| {
                    let fragment = &fragment.node;
                    at.is_on(&fragment.type_condition.node.on.node)
                        && self.rests(&fragment.selection_set.node, at)
                })
            }
            Selection::InlineFragment(fragment) => {
                let condition = fragment.node.type_condition.as_ref();
                condition.is_none_or(|condition| at.is_on(&condition.node.on.node))
                    && self.rests(&fragment.node.selection_set.node, at)
            }
        })
    }

    fn field_rests(&mut self, field: &Field, at: At) -> bool {
        let name = field.name.node.as_str();
        if name == "__typename" {
            // That of the root alone takes no look at the books, with or without an answer that was kept.
            return !matches!(at, At::Root);
        }
        let below = match at {
            At::Root => {
                let found = root(name).filter(|_| self.is_narrowed_by_records(field));
                found.map(|(at, topics)| {
                    self.roots.fields += 1;
                    self.roots.everywhere.extend(topics);
                    at
                })
            }
            At::Row(kind) if (kind.tells)(name) => return true,
            At::Row(kind) => kind.below(name),
            At::Page(kind) => match name {
                "nodes" => Some(At::Row(kind)),
                "edges" => Some(At::Edge(kind)),
                "pageInfo" => Some(At::Info),
                _ => return name == "totalCount",
            },
            At::Edge(kind) => match name {
                "node" => Some(At::Row(kind)),
                _ => return name == "cursor",
            },
            At::Info => return true,
        };
        if let Some(At::Row(kind) | At::Page(kind)) = below {
            let Some(topic) = kind.topic() else {
                return false;
            };
            self.roots.topics.insert(topic);
        }
        below.is_some_and(|at| self.rests(&field.selection_set.node, at))
    }

    /// What a variable stands for: what was given, or else the default that the document has for it.
    fn value(&self, name: &Name) -> Value {
        let mut declared = self.operation.variable_definitions.iter();
        let default = || {
            let declared = declared.find(|it| it.node.name.node == *name)?;
            declared.node.default_value().cloned()
        };
        let given = self.variables.get(name).cloned();
        given.or_else(default).unwrap_or_default()
    }

    /// Whether a filter asks for nothing but what stands in the rows of records.
    fn is_narrowed_by_records(&self, field: &Field) -> bool {
        let fits = |filter: &Value| match filter {
            Value::Null => true,
            Value::Object(conditions) => conditions
                .keys()
                .all(|condition| NARROWING.contains(&condition.as_str())),
            _ => false,
        };
        match field.get_argument("filter") {
            None => true,
            Some(filter) => {
                let value = |name| Ok::<_, ()>(self.value(&name));
                filter
                    .node
                    .clone()
                    .into_const_with(value)
                    .is_ok_and(|filter| fits(&filter))
            }
        }
    }
}

/// What a list of clients, invoices or credit notes may be narrowed by. The others look at what is open, at today, or at
/// who asks.
const NARROWING: &[&str] = &[
    "search",
    "kinds",
    "segments",
    "insolvent",
    "closed",
    "client",
    "issuedFrom",
    "issuedTo",
    "dueFrom",
    "dueTo",
    "currency",
    "minTotal",
    "maxTotal",
];

/// What a field of the root leads to, when it shows records, and the topics that its rows rest on: which invoices are
/// found, and seen, is a matter of their clients too. Payments, disputes and deductions have filters of their own, and are
/// found below their clients and invoices as well.
fn root(field: &str) -> Option<(At, &'static [Topic])> {
    const OF_CLIENTS: &[Topic] = &[Topic::Clients];
    const OF_DOCUMENTS: &[Topic] = &[Topic::Clients, Topic::Documents];
    // A record that was found is found until it is changed itself.
    let row = |kind| (At::Row(kind), &[][..]);
    Some(match field {
        "clients" => (At::Page(kind::<Client>()), OF_CLIENTS),
        "client" => row(kind::<Client>()),
        "invoices" => (At::Page(kind::<Invoice>()), OF_DOCUMENTS),
        "invoice" => row(kind::<Invoice>()),
        "creditNotes" => (At::Page(kind::<CreditNote>()), OF_DOCUMENTS),
        "creditNote" => row(kind::<CreditNote>()),
        "payment" => row(kind::<Payment>()),
        "dispute" => row(kind::<Dispute>()),
        "deduction" => row(kind::<Deduction>()),
        _ => return None,
    })
}

impl At {
    /// Whether a fragment on this type is for what stands here.
    fn is_on(self, type_name: &str) -> bool {
        match self {
            At::Root => type_name == "Query",
            At::Row(kind) => type_name == (kind.name)(),
            At::Page(kind) => type_name.strip_suffix("Connection") == Some(&(kind.name)()),
            At::Edge(kind) => type_name.strip_suffix("Edge") == Some(&(kind.name)()),
            At::Info => type_name == "PageInfo",
        }
    }
}

impl Kind {
    /// Where changes of such records stand on the feed.
    fn topic(self) -> Option<Topic> {
        Some(match &*(self.name)() {
            "Client" => Topic::Clients,
            "Invoice" | "CreditNote" | "Deduction" => Topic::Documents,
            "Payment" => Topic::Payments,
            "Allocation" => Topic::Matchings,
            "Dispute" => Topic::Disputes,
            _ => return None,
        })
    }

    /// The records that a field of its row leads to.
    fn below(self, field: &str) -> Option<At> {
        let name = (self.name)();
        let mut lists = below::lists(&name).iter();
        if let Some((_, list)) = lists.find(|(name, _)| *name == field) {
            return Some(At::Page(below::of_kind(*list, ShowsWhat)));
        }
        match (&*name, field) {
            ("Invoice" | "CreditNote" | "Payment" | "Dispute" | "Deduction", "client") => {
                Some(At::Row(kind::<Client>()))
            }
            ("CreditNote" | "Dispute" | "Deduction", "invoice") => Some(At::Row(kind::<Invoice>())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_rests_on_records_alone_may_be_kept() {
        let variables = Variables::from_json(
            json!({ "plain": { "search": "a" }, "open": { "open": true }, "id": "x" }),
        );
        for (document, may) in [
            ("{ clients { nodes { number name } } }", true),
            (
                "{ client(ref: { number: \"C1\" }) { name invoices { nodes { total allocations { nodes { amount } } } } } }",
                true,
            ),
            (
                "{ invoices { totalCount pageInfo { endCursor } edges { cursor node { client { name } } } } }",
                true,
            ),
            (
                "{ creditNotes { nodes { invoice { number } __typename } } }",
                true,
            ),
            (
                "{ ...A } fragment A on Query { clients { ... on ClientConnection { nodes { ...B } } } } fragment B on Client { name }",
                true,
            ),
            (
                "query A { clients { nodes { name } } } query B { viewer { name } }",
                true,
            ),
            (
                "query($plain: F) { invoices(filter: $plain) { nodes { number } } }",
                true,
            ),
            (
                "query($none: F) { invoices(filter: $none) { nodes { number } } }",
                true,
            ),
            ("{ clients(filter: null) { nodes { number } } }", true),
            (
                "query($f: F = { search: \"a\" }) { invoices(filter: $f) { nodes { number } } }",
                true,
            ),
            (
                "query($f: F = { overdue: true }) { invoices(filter: $f) { nodes { number } } }",
                false,
            ),
            (
                "query($f: F = { collector: \"me\" }) { clients(filter: $f) { nodes { number } } }",
                false,
            ),
            (
                "query($plain: F = { overdue: true }) { invoices(filter: $plain) { nodes { number } } }",
                true,
            ),
            ("{ __typename }", false),
            (
                "{ clients(filter: { kinds: [COMPANY], search: \"a\" }) { nodes { number } } }",
                true,
            ),
            // What is open, today, who asks.
            (
                "query($open: F) { invoices(filter: $open) { nodes { number } } }",
                false,
            ),
            (
                "{ invoices(filter: { overdue: true }) { nodes { number } } }",
                false,
            ),
            (
                "{ clients(filter: { search: \"a\", salesOwner: \"me\" }) { nodes { number } } }",
                false,
            ),
            (
                "query($id: ID) { clients(filter: { salesOwner: $id }) { nodes { number } } }",
                false,
            ),
            ("{ invoices { nodes { number open } } }", false),
            ("{ invoices { nodes { overdue } } }", false),
            (
                "{ clients { nodes { openItems { nodes { open } } } } }",
                false,
            ),
            // Other records, and what a guard stands before.
            ("{ clients { nodes { contacts { name } } } }", false),
            ("{ clients { nodes { salesOwner { name } } } }", false),
            ("{ invoices { nodes { lines { net } } } }", false),
            ("{ agedBalance { totals { total } } }", false),
            ("{ viewer { name } clients { nodes { number } } }", false),
            ("{ __schema { types { name } } }", false),
            ("{ ...A } fragment A on Query { viewer { name } }", false),
            ("{ node(id: \"x\") { ... on Client { name } } }", false),
            ("{ clients { nodes { ... on Invoice { number } } } }", false),
            ("mutation { createClient { client { name } } }", false),
            ("subscription { clients { nodes { name } } }", false),
        ] {
            let doc = parse_query(document).expect("a document");
            let name = document.starts_with("query A").then_some("A");
            let rests = rests_on_records(&doc, name, &variables);
            assert_eq!(rests.is_some(), may, "{document}");
        }
    }

    #[test]
    fn a_list_rests_on_what_may_come_into_it_and_a_record_on_itself() {
        use Topic::{Clients, Disputes, Documents, Matchings, Payments};
        for (document, fields, everywhere, topics) in [
            (
                "{ client(ref: {}) { invoices { nodes { total } } } }",
                1,
                &[][..],
                &[Clients, Documents][..],
            ),
            (
                "{ a: clients { totalCount } b: invoice(ref: {}) { allocations { totalCount } } }",
                2,
                &[Clients],
                &[Clients, Documents, Matchings],
            ),
            (
                "{ ...A } fragment A on Query { invoices { nodes { client { payments { totalCount } } } } }",
                1,
                &[Clients, Documents],
                &[Clients, Documents, Payments],
            ),
            (
                "{ dispute(ref: {}) { status } }",
                1,
                &[],
                &[Clients, Disputes],
            ),
        ] {
            let doc = parse_query(document).expect("a document");
            let roots = rests_on_records(&doc, None, &Variables::default());
            let of = |topics: &[Topic]| topics.iter().copied().collect();
            let expected = Roots {
                fields,
                everywhere: of(everywhere),
                topics: of(topics),
            };
            assert_eq!(roots, Some(expected), "{document}");
        }
    }
}
