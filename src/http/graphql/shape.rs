//! Puts failed fields back where the specification wants them.
//!
//! The library leaves a failed field out of the answer and does not carry the failure of a non-null field
//! upwards: a typed client would then trip over a missing key or a null that cannot be.

use std::collections::HashMap;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, OperationType, Selection, SelectionSet, Type, TypeKind,
    TypeSystemDefinition,
};
use async_graphql::{Name, PathSegment, ServerError, Value};

/// Which fields of the schema may be null.
pub struct Shape {
    fields: HashMap<Name, HashMap<Name, Type>>,
    query: Name,
    mutation: Name,
    subscription: Name,
}

impl Shape {
    /// Reads the schema's own SDL.
    ///
    /// # Panics
    /// When `sdl` is not one: it is ours, so this shows at start.
    pub fn of(sdl: &str) -> Shape {
        let document = parse_schema(sdl).expect("the schema prints valid SDL");
        let mut shape = Shape {
            fields: HashMap::new(),
            query: Name::new("Query"),
            mutation: Name::new("Mutation"),
            subscription: Name::new("Subscription"),
        };
        for definition in document.definitions {
            match definition {
                TypeSystemDefinition::Schema(schema) => {
                    shape.query = schema.node.query.map_or(shape.query, |name| name.node);
                    shape.mutation = schema
                        .node
                        .mutation
                        .map_or(shape.mutation, |name| name.node);
                    shape.subscription = schema
                        .node
                        .subscription
                        .map_or(shape.subscription, |name| name.node);
                }
                TypeSystemDefinition::Type(named) => {
                    let fields = match named.node.kind {
                        TypeKind::Object(object) => object.fields,
                        TypeKind::Interface(interface) => interface.fields,
                        _ => continue,
                    };
                    let types = fields
                        .into_iter()
                        .map(|field| (field.node.name.node, field.node.ty.node));
                    shape.fields.insert(named.node.name.node, types.collect());
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        shape
    }

    /// Puts the fields in the order of the request, and makes `null` of every failed one, or of the nearest
    /// place above it that may be null.
    pub fn complete(
        &self,
        data: &mut Value,
        errors: &[ServerError],
        doc: &ExecutableDocument,
        name: Option<&str>,
    ) {
        let operation = doc
            .operations
            .iter()
            .find(|(found, _)| found.map(Name::as_str) == name);
        let Some((_, operation)) = operation else {
            return;
        };
        let root = match operation.node.ty {
            OperationType::Query => &self.query,
            OperationType::Mutation => &self.mutation,
            OperationType::Subscription => &self.subscription,
        };
        let failed = || {
            errors
                .iter()
                .map(|error| error.path.as_slice())
                .filter(|path| !path.is_empty())
        };
        for path in failed() {
            restore(data, path);
        }
        in_order(doc, &[&operation.node.selection_set.node], &mut [data]);
        // The rows of a list fail at the same fields.
        let mut known: HashMap<Vec<Option<&str>>, Vec<bool>> = HashMap::new();
        for path in failed() {
            let steps = path.iter().map(|step| match step {
                PathSegment::Field(key) => Some(key.as_str()),
                PathSegment::Index(_) => None,
            });
            let nullable = known.entry(steps.collect()).or_insert_with(|| {
                self.nullable(doc, root, &operation.node.selection_set.node, path)
            });
            let reached = reached(data, path);
            // Above the first step stands the whole of the data, which may always be null.
            match (1..=reached)
                .rev()
                .find(|length| nullable.get(length - 1).copied().unwrap_or(true))
            {
                Some(length) => nullify(data, &path[..length]),
                None => *data = Value::Null,
            }
        }
    }

    /// For each step of the path, whether what stands there may be null.
    fn nullable(
        &self,
        doc: &ExecutableDocument,
        root: &Name,
        set: &SelectionSet,
        path: &[PathSegment],
    ) -> Vec<bool> {
        let (mut sets, mut list, mut answer) = (vec![(root, set)], None, Vec::new());
        for step in path {
            let kind: Option<&Type> = match step {
                PathSegment::Index(_) => list.take(),
                PathSegment::Field(key) => {
                    let mut found = Vec::new();
                    for (parent, set) in sets {
                        self.fields_of(doc, parent, set, key, &mut found);
                    }
                    sets = found
                        .iter()
                        .filter_map(|(kind, set)| Some((base(kind.as_ref()?), *set)))
                        .collect();
                    found.into_iter().find_map(|(kind, _)| kind)
                }
            };
            // Introspection fields are not in the SDL; they do not fail.
            let Some(kind) = kind else { return answer };
            answer.push(kind.nullable);
            list = match &kind.base {
                BaseType::List(item) => Some(item),
                BaseType::Named(_) => None,
            };
        }
        answer
    }

    fn fields_of<'a>(
        &'a self,
        doc: &'a ExecutableDocument,
        parent: &'a Name,
        set: &'a SelectionSet,
        key: &str,
        found: &mut Vec<(Option<&'a Type>, &'a SelectionSet)>,
    ) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) if field.node.response_key().node == key => {
                    let kind = self
                        .fields
                        .get(parent)
                        .and_then(|fields| fields.get(&field.node.name.node));
                    found.push((kind, &field.node.selection_set.node));
                }
                Selection::Field(_) => {}
                Selection::InlineFragment(inline) => {
                    let on = inline
                        .node
                        .type_condition
                        .as_ref()
                        .map_or(parent, |condition| &condition.node.on.node);
                    self.fields_of(doc, on, &inline.node.selection_set.node, key, found);
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = doc.fragments.get(&spread.node.fragment_name.node) {
                        let on = &fragment.node.type_condition.node.on.node;
                        self.fields_of(doc, on, &fragment.node.selection_set.node, key, found);
                    }
                }
            }
        }
    }
}

/// Puts the fields of objects into the order of the request, which the specification asks for and the library
/// does not keep: it answers fields as they are done. `values` were all selected by `sets`.
fn in_order(doc: &ExecutableDocument, sets: &[&SelectionSet], values: &mut [&mut Value]) {
    let mut fields: IndexMap<&Name, Vec<&SelectionSet>> = IndexMap::new();
    for set in sets {
        selected(doc, set, &mut fields);
    }
    if fields.is_empty() {
        return;
    }
    let mut below: HashMap<&Name, Vec<&mut Value>> = HashMap::new();
    for object in values.iter_mut().flat_map(|value| objects(value)) {
        let place = |key: &Name| fields.get_index_of(key).unwrap_or(usize::MAX);
        if !object.keys().is_sorted_by_key(place) {
            object.sort_by_cached_key(|key, _| place(key));
        }
        for (key, value) in object {
            if let Some((name, _)) = fields.get_key_value(key)
                && matches!(value, Value::Object(_) | Value::List(_))
            {
                below.entry(name).or_default().push(value);
            }
        }
    }
    for (name, mut values) in below {
        if let Some(sets) = fields.get(name) {
            in_order(doc, sets, &mut values);
        }
    }
}

/// The fields of a selection by their keys in the answer, in order, with what is selected below each.
fn selected<'a>(
    doc: &'a ExecutableDocument,
    set: &'a SelectionSet,
    fields: &mut IndexMap<&'a Name, Vec<&'a SelectionSet>>,
) {
    for item in &set.items {
        match &item.node {
            Selection::Field(field) => fields
                .entry(&field.node.response_key().node)
                .or_default()
                .push(&field.node.selection_set.node),
            Selection::InlineFragment(inline) => {
                selected(doc, &inline.node.selection_set.node, fields);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = doc.fragments.get(&spread.node.fragment_name.node) {
                    selected(doc, &fragment.node.selection_set.node, fields);
                }
            }
        }
    }
}

/// The objects that a value is, through lists of lists.
fn objects(value: &mut Value) -> Vec<&mut IndexMap<Name, Value>> {
    match value {
        Value::Object(fields) => vec![fields],
        Value::List(items) => items.iter_mut().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

fn base(kind: &Type) -> &Name {
    match &kind.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => base(item),
    }
}

/// Puts the failed field back as null. An object of which every field failed came back as null.
fn restore(mut data: &mut Value, path: &[PathSegment]) {
    for step in path {
        if let (Value::Null, PathSegment::Field(_)) = (&data, step) {
            *data = Value::Object(Default::default());
        }
        data = match (data, step) {
            (Value::Object(fields), PathSegment::Field(key)) => {
                fields.entry(Name::new(key)).or_insert(Value::Null)
            }
            (Value::List(items), PathSegment::Index(index)) if *index < items.len() => {
                &mut items[*index]
            }
            _ => return,
        };
    }
}

/// How many steps of the path exist, the last of them perhaps as null.
fn reached(mut data: &Value, path: &[PathSegment]) -> usize {
    for (length, step) in path.iter().enumerate() {
        let next = match (data, step) {
            (Value::Object(fields), PathSegment::Field(key)) => fields.get(key.as_str()),
            (Value::List(items), PathSegment::Index(index)) => items.get(*index),
            _ => None,
        };
        match next {
            Some(next) => data = next,
            None => return length,
        }
    }
    path.len()
}

fn nullify(mut data: &mut Value, path: &[PathSegment]) {
    for step in path {
        data = match (data, step) {
            (Value::Object(fields), PathSegment::Field(key)) => {
                match fields.get_mut(key.as_str()) {
                    Some(value) => value,
                    None => return,
                }
            }
            (Value::List(items), PathSegment::Index(index)) if *index < items.len() => {
                &mut items[*index]
            }
            _ => return,
        };
    }
    *data = Value::Null;
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    const SDL: &str = "
        type Query { must: Int! may: Int clients: Clients! client: Client node: Node }
        type Clients { nodes: [Client!]! edges: [Client]! }
        interface Node { id: ID! }
        type Client implements Node { id: ID! name: String! email: String }";

    fn path(steps: &serde_json::Value) -> Vec<PathSegment> {
        let steps = steps.as_array().unwrap().iter();
        let read = |step: &serde_json::Value| match step.as_u64() {
            Some(index) => PathSegment::Index(index as usize),
            None => PathSegment::Field(step.as_str().unwrap().to_owned()),
        };
        steps.map(read).collect()
    }

    #[test]
    fn failures_rise_to_the_nearest_field_that_may_be_null() {
        // Document, data as the library leaves it, paths of the errors, data as it must be.
        let cases = [
            (
                "{may must}",
                json!({"must": 1}),
                json!([["may"]]),
                json!({"may": null, "must": 1}),
            ),
            (
                "{may must}",
                json!({"may": 1}),
                json!([["must"]]),
                json!(null),
            ),
            ("{may}", json!(null), json!([["may"]]), json!({"may": null})),
            (
                "{client{name}}",
                json!({"client": null}),
                json!([["client", "name"]]),
                json!({"client": null}),
            ),
            (
                "{client{email}}",
                json!({"client": null}),
                json!([["client", "email"]]),
                json!({"client": {"email": null}}),
            ),
            (
                "{client{name email}}",
                json!({"client": null}),
                json!([["client", "name"], ["client", "email"]]),
                json!({"client": null}),
            ),
            (
                "{client{name email}}",
                json!({"client": null}),
                json!([["client", "email"], ["client", "name"]]),
                json!({"client": null}),
            ),
            (
                "{c:clients{edges{id n:name}}}",
                json!({"c": {"edges": [{"id": "1"}, {"id": "2", "n": "b"}]}}),
                json!([["c", "edges", 0, "n"]]),
                json!({"c": {"edges": [null, {"id": "2", "n": "b"}]}}),
            ),
            (
                "{clients{nodes{id name}} may}",
                json!({"clients": {"nodes": [{"id": "1"}]}, "may": 1}),
                json!([["clients", "nodes", 0, "name"]]),
                json!(null),
            ),
            (
                "{clients{nodes{id}} may}",
                json!({"clients": null, "may": 1}),
                json!([["clients", "nodes", 0]]),
                json!(null),
            ),
            (
                "{node{...on Client{...f}}} fragment f on Client{id name}",
                json!({"node": {"id": "1"}}),
                json!([["node", "name"]]),
                json!({"node": null}),
            ),
            (
                "{node{id ...on Client{email}}}",
                json!({"node": {"id": "1"}}),
                json!([["node", "email"]]),
                json!({"node": {"id": "1", "email": null}}),
            ),
        ];
        for (document, before, paths, after) in cases {
            let errors: Vec<_> = paths
                .as_array()
                .unwrap()
                .iter()
                .map(|steps| ServerError::new("", None).with_path(path(steps)))
                .collect();
            let mut data = Value::from_json(before).unwrap();
            Shape::of(SDL).complete(&mut data, &errors, &parse_query(document).unwrap(), None);
            assert_eq!(data.into_json().unwrap(), after, "{document} {paths}");
        }
    }
}
