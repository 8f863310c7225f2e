//! Variables that a request declares and does not give.
//!
//! The specification has a field of an input object whose variable is not given be as if it was not written, so that the
//! default of the schema holds; the library would read a null there. In a list such a variable is null, and for an
//! argument the library does as the specification has it.

use std::collections::HashSet;

use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::Value;

use crate::http::guard::Walk;

/// Leaves fields out of input objects whose variables the chosen operation is not given, and then the declarations that
/// nothing needs any more.
pub fn leave_out(doc: &mut ExecutableDocument, walk: &Walk, given: &Variables) {
    let chosen = doc
        .operations
        .iter()
        .find(|(name, _)| {
            walk.operation_name.is_none()
                || name.map(|name| name.as_str()) == walk.operation_name.as_deref()
        })
        .map(|(_, operation)| operation);
    let declared = chosen.map(|operation| &operation.node.variable_definitions);
    let absent: HashSet<Name> = declared
        .into_iter()
        .flatten()
        .map(|definition| &definition.node)
        .filter(|it| {
            it.default_value.is_none()
                && it.var_type.node.nullable
                && !given.contains_key(&it.name.node)
        })
        .map(|it| it.name.node.clone())
        .collect();
    if absent.is_empty() {
        return;
    }
    let mut pass = Pass {
        absent: &absent,
        left_out: HashSet::new(),
        needed: HashSet::new(),
    };
    let operations: Vec<_> = match &mut doc.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for fragment in doc.fragments.values_mut() {
        pass.directives(&mut fragment.node.directives);
        pass.selections(&mut fragment.node.selection_set.node);
    }
    let mut definitions = Vec::new();
    for operation in operations {
        pass.directives(&mut operation.node.directives);
        pass.selections(&mut operation.node.selection_set.node);
        definitions.push(&mut operation.node.variable_definitions);
    }
    // One that nothing used before is a mistake, which the library tells.
    for definitions in definitions {
        definitions.retain(|definition| {
            let name = &definition.node.name.node;
            pass.needed.contains(name) || !pass.left_out.contains(name)
        });
    }
}

struct Pass<'a> {
    absent: &'a HashSet<Name>,
    /// Those whose fields were left out of an object.
    left_out: HashSet<Name>,
    /// Those that stand elsewhere.
    needed: HashSet<Name>,
}

impl Pass<'_> {
    fn selections(&mut self, set: &mut SelectionSet) {
        for item in &mut set.items {
            match &mut item.node {
                Selection::Field(field) => {
                    for (_, value) in &mut field.node.arguments {
                        self.value(&mut value.node);
                    }
                    self.directives(&mut field.node.directives);
                    self.selections(&mut field.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => self.directives(&mut spread.node.directives),
                Selection::InlineFragment(inline) => {
                    self.directives(&mut inline.node.directives);
                    self.selections(&mut inline.node.selection_set.node);
                }
            }
        }
    }

    fn directives(&mut self, directives: &mut [Positioned<Directive>]) {
        for directive in directives {
            for (_, value) in &mut directive.node.arguments {
                self.value(&mut value.node);
            }
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::Variable(name) => {
                self.needed.insert(name.clone());
            }
            Value::List(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => {
                fields.retain(|_, value| match value {
                    Value::Variable(name) if self.absent.contains(name) => {
                        self.left_out.insert(name.clone());
                        false
                    }
                    _ => true,
                });
                fields.values_mut().for_each(|value| self.value(value));
            }
            _ => {}
        }
    }
}
