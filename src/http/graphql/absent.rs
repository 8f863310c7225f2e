//! Variables that a request declares and does not give.
//!
//! The specification has a field of an input object whose variable is not given be as if it was not written, so that the
//! default of the schema holds; the library would read a null there. In a list such a variable is null, and for an
//! argument the library does as the specification has it.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::Value;

use crate::http::guard::Walk;

/// Leaves fields out of input objects whose variables the operation that will run is not given, and then the declarations
/// that nothing needs any more. Other operations of the document go with that: what is left out of a fragment would be
/// missing there.
pub fn leave_out(doc: &mut ExecutableDocument, walk: &Walk, given: &Variables) {
    let is_chosen = |name: Option<&Name>| {
        let name = name.map(Name::as_str);
        walk.operation_name.is_none() || name == walk.operation_name.as_deref()
    };
    let mut operations = doc.operations.iter();
    let Some((_, operation)) = operations.find(|(name, _)| is_chosen(*name)) else {
        return;
    };
    let declared = operation.node.variable_definitions.iter();
    let absent: HashSet<Name> = declared
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
        spread: Vec::new(),
    };
    let mut operation = operation.clone();
    pass.directives(&mut operation.node.directives);
    pass.selections(&mut operation.node.selection_set.node);
    let mut fragments = HashMap::new();
    while let Some(name) = pass.spread.pop() {
        if let Some(mut fragment) = doc.fragments.remove(&name) {
            pass.directives(&mut fragment.node.directives);
            pass.selections(&mut fragment.node.selection_set.node);
            fragments.insert(name, fragment);
        }
    }
    if pass.left_out.is_empty() {
        doc.fragments.extend(fragments);
        return;
    }
    // One that nothing used before is a mistake, which the library tells.
    operation.node.variable_definitions.retain(|definition| {
        let name = &definition.node.name.node;
        pass.needed.contains(name) || !pass.left_out.contains(name)
    });
    match &mut doc.operations {
        // A fragment that nothing spreads is another mistake.
        DocumentOperations::Single(only) => {
            *only = operation;
            doc.fragments.extend(fragments);
        }
        DocumentOperations::Multiple(operations) => {
            if operations.len() == 1 {
                doc.fragments.extend(fragments);
            } else {
                doc.fragments = fragments;
            }
            operations.retain(|name, _| is_chosen(Some(name)));
            operations
                .values_mut()
                .for_each(|only| *only = operation.clone());
        }
    }
}

struct Pass<'a> {
    absent: &'a HashSet<Name>,
    /// Those whose fields were left out of an object.
    left_out: HashSet<Name>,
    /// Those that stand elsewhere.
    needed: HashSet<Name>,
    /// Fragments that are spread.
    spread: Vec<Name>,
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
                Selection::FragmentSpread(spread) => {
                    self.spread.push(spread.node.fragment_name.node.clone());
                    self.directives(&mut spread.node.directives);
                }
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
