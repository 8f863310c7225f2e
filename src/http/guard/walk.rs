//! One walk over a parsed document. Each fragment is measured once, however often it is spread.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet, VariableDefinition,
};
use async_graphql::{Name, Pos, Positioned, Value as Constant, Variables};

use super::measure::Measure;
use super::{Limits, Rejection, within};

/// Selection sets inside selection sets, fragments inlined: the library refuses more, without a code.
const LEVELS: usize = 32;
/// Lists inside lists of the schema about itself: each multiplies the answer by tens. GraphiQL needs two.
const INTROSPECTION_LISTS: usize = 2;
/// Values in all arguments, variables put in: the library copies a variable wherever it is used.
const ARGUMENT_VALUES: usize = 200_000;

/// What the walk found out about the operation that will run.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Query, mutation or subscription.
    pub operation_type: OperationType,
    /// Its name, if it has one.
    pub operation_name: Option<String>,
    /// Records that may be answered, pages counted in full, and a tenth of their values.
    pub cost: usize,
    /// Fields inside fields.
    pub depth: usize,
    /// Whether the schema is asked about itself.
    pub introspection: bool,
    /// The fields asked of the root, without aliases, in the order of the document.
    pub root_fields: Vec<String>,
    /// Where arguments stand that take a variable: a wrong value there is the caller's data, not the document.
    pub variable_arguments: HashSet<Pos>,
}

/// Measures the document and chooses the operation to run, or says why it will not run.
pub fn walk(
    doc: &ExecutableDocument,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
) -> Result<Walk, Rejection> {
    within("operations", doc.operations.iter().len(), limits.operations)?;
    let (name, operation) = choose(doc, operation_name)?;
    let mut walker = Walker {
        doc,
        operation,
        variables,
        limits,
        fragments: HashMap::new(),
        aliases: 0,
        directives: 0,
        sizes: variables
            .iter()
            .map(|(name, value)| (name.as_str(), size(value)))
            .collect(),
        values: 0,
        variable_arguments: HashSet::new(),
    };
    let measure = walker.document()?;
    let root_fields = walker.root_fields(&operation.selection_set.node);
    within("root fields", root_fields.len(), limits.root_fields)?;
    if operation.ty == OperationType::Mutation {
        within(
            "root fields of a mutation",
            root_fields.len(),
            limits.root_mutations,
        )?;
    }
    within("cost", measure.cost(), limits.cost)?;
    walker.check_variables()?;
    Ok(Walk {
        operation_type: operation.ty,
        operation_name: name.map(ToString::to_string),
        cost: measure.cost(),
        depth: measure.depth,
        introspection: root_fields.iter().any(|field| is_introspection(field)),
        root_fields,
        variable_arguments: walker.variable_arguments,
    })
}

fn choose<'a>(
    doc: &'a ExecutableDocument,
    wanted: Option<&str>,
) -> Result<(Option<&'a Name>, &'a OperationDefinition), Rejection> {
    let mut found = doc.operations.iter().filter(|(name, _)| match wanted {
        Some(wanted) => name.is_some_and(|name| name == wanted),
        None => true,
    });
    match (found.next(), found.next()) {
        (Some((name, operation)), None) => Ok((name, &operation.node)),
        (Some(_), Some(_)) => Err(Rejection::unresolved(
            "the document holds several operations: operationName must say which",
        )),
        (None, _) => Err(Rejection::unresolved(
            "the document holds no operation of that name",
        )),
    }
}

struct Walker<'a> {
    doc: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    limits: &'a Limits,
    // None while the fragment is being measured: to meet it then is a cycle.
    fragments: HashMap<&'a str, Option<Measure>>,
    aliases: usize,
    directives: usize,
    // Size of each variable that was sent, and of all uses so far.
    sizes: HashMap<&'a str, usize>,
    values: usize,
    variable_arguments: HashSet<Pos>,
}

impl<'a> Walker<'a> {
    /// Measures everything in the document, run or not: the rules of the library visit all of it.
    fn document(&mut self) -> Result<Measure, Rejection> {
        let (mut nodes, mut chosen) = (0_usize, Measure::default());
        for (_, operation) in self.doc.operations.iter() {
            let operation = &operation.node;
            within(
                "variables",
                operation.variable_definitions.len(),
                self.limits.variables,
            )?;
            for definition in &operation.variable_definitions {
                self.directives(&definition.node.directives)?;
                self.constant(
                    definition
                        .node
                        .default_value
                        .as_ref()
                        .map_or(&Constant::Null, |value| &value.node),
                    0,
                )?;
            }
            self.directives(&operation.directives)?;
            let measure = self.selections(&operation.selection_set.node, 0)?;
            within("depth", measure.depth, self.limits.depth)?;
            nodes = nodes.saturating_add(measure.nodes);
            within("expanded nodes", nodes, self.limits.expanded_nodes)?;
            if std::ptr::eq(operation, self.operation) {
                chosen = measure;
            }
        }
        for name in self.doc.fragments.keys() {
            within(
                "expanded nodes",
                self.fragment(name, 0)?.nodes,
                self.limits.expanded_nodes,
            )?;
        }
        within("aliases", self.aliases, self.limits.aliases)?;
        within("directives", self.directives, self.limits.directives)?;
        Ok(chosen)
    }

    fn selections(&mut self, set: &'a SelectionSet, level: usize) -> Result<Measure, Rejection> {
        within("levels of selection", level, LEVELS)?;
        let mut sum = Measure::default();
        for item in &set.items {
            self.directives(item.node.directives())?;
            let measure = match &item.node {
                Selection::Field(field) => self.field(&field.node, level)?,
                Selection::InlineFragment(inline) => self
                    .selections(&inline.node.selection_set.node, level + 1)?
                    .inside_fragment(),
                Selection::FragmentSpread(spread) => self
                    .fragment(&spread.node.fragment_name.node, level + 1)?
                    .inside_fragment(),
            };
            sum = sum.beside(measure);
        }
        Ok(sum)
    }

    fn field(&mut self, field: &'a Field, level: usize) -> Result<Measure, Rejection> {
        self.aliases += usize::from(field.alias.is_some());
        for (name, value) in &field.arguments {
            self.argument(name.pos, |used| value.node.clone().into_const_with(used))?;
        }
        let inner = self.selections(&field.selection_set.node, level + 1)?;
        let measure = inner.inside_field(&field.name.node, self.page_size(field), self.limits);
        if is_introspection(&field.name.node) {
            within(
                "introspection lists",
                measure.introspection_lists,
                INTROSPECTION_LISTS,
            )?;
        }
        Ok(measure)
    }

    fn fragment(&mut self, name: &'a str, level: usize) -> Result<Measure, Rejection> {
        // An unknown fragment is left to the rules of the library, which say it better.
        let Some(fragment) = self.doc.fragments.get(name) else {
            return Ok(Measure::default());
        };
        match self.fragments.get(name) {
            Some(Some(known)) => {
                within("levels of selection", level + known.levels, LEVELS)?;
                return Ok(*known);
            }
            Some(None) => {
                return Err(
                    Rejection::invalid(format!("fragment \"{name}\" spreads itself"))
                        .at([fragment.pos]),
                );
            }
            None => {}
        }
        self.fragments.insert(name, None);
        self.directives(&fragment.node.directives)?;
        let measure = self.selections(&fragment.node.selection_set.node, level)?;
        self.fragments.insert(name, Some(measure));
        Ok(measure)
    }

    fn directives(&mut self, directives: &'a [Positioned<Directive>]) -> Result<(), Rejection> {
        self.directives += directives.len();
        let mut arguments = directives
            .iter()
            .flat_map(|directive| &directive.node.arguments);
        arguments.try_for_each(|(name, value)| {
            self.argument(name.pos, |used| value.node.clone().into_const_with(used))
        })
    }

    /// Checks one argument. `read` gives its value and hands over the variables in it.
    fn argument(
        &mut self,
        pos: Pos,
        read: impl FnOnce(
            &mut dyn FnMut(Name) -> Result<Constant, Infallible>,
        ) -> Result<Constant, Infallible>,
    ) -> Result<(), Rejection> {
        let mut used = Vec::new();
        let Ok(literal) = read(&mut |name| {
            used.push(name);
            Ok(Constant::Null)
        });
        if !used.is_empty() {
            self.variable_arguments.insert(pos);
        }
        self.constant(&literal, 0)?;
        refuse_nul("", &literal).map_err(|refused| refused.at([pos]))?;
        let sizes = used
            .iter()
            .map(|name| self.sizes.get(name.as_str()).copied().unwrap_or(1));
        self.values = sizes.fold(self.values, usize::saturating_add);
        within("values of all arguments", self.values, ARGUMENT_VALUES)
    }

    fn constant(&self, value: &Constant, level: usize) -> Result<(), Rejection> {
        within("nesting", level, self.limits.nesting)?;
        match value {
            Constant::List(values) => {
                within("values in one list", values.len(), self.limits.list_values)?;
                values
                    .iter()
                    .try_for_each(|value| self.constant(value, level + 1))
            }
            Constant::Object(fields) => fields
                .values()
                .try_for_each(|value| self.constant(value, level + 1)),
            Constant::Null
            | Constant::Number(_)
            | Constant::String(_)
            | Constant::Boolean(_)
            | Constant::Binary(_)
            | Constant::Enum(_) => Ok(()),
        }
    }

    /// How many rows a field may answer, if it says so: `first`, `last`, or as many as it names `ids` or `inputs`.
    fn page_size(&self, field: &Field) -> Option<usize> {
        let argument = |name: &str| {
            let value = field.get_argument(name)?.node.clone();
            // Of a variable only its number is taken here, not a copy: it may be large.
            let Ok(value) = value.into_const_with(|name| {
                let number = self.variable(&name).and_then(number_or_length);
                Ok::<_, Infallible>(number.map_or(Constant::Null, Constant::from))
            });
            Some(number_or_length(&value).unwrap_or(self.limits.page_default))
        };
        // The field refuses a page that is too large, with a better message than a cost.
        let page = argument("first")
            .max(argument("last"))
            .map(|size| size.clamp(1, self.limits.page_max));
        page.max(argument("ids")).max(argument("inputs"))
    }

    fn variable(&self, name: &Name) -> Option<&Constant> {
        self.variables
            .get(name)
            .or_else(|| self.definition(name)?.default_value())
    }

    fn definition(&self, name: &Name) -> Option<&VariableDefinition> {
        self.operation
            .variable_definitions
            .iter()
            .map(|definition| &definition.node)
            .find(|it| it.name.node == *name)
    }

    /// Refuses missing variables here: the library would find out in the middle of a mutation.
    fn check_variables(&self) -> Result<(), Rejection> {
        within("variables", self.variables.len(), self.limits.variables)?;
        for (name, value) in self.variables.iter() {
            refuse_nul(name, value)?;
        }
        self.variables
            .values()
            .try_for_each(|value| self.constant(value, 1))?;
        for definition in &self.operation.variable_definitions {
            let (name, kind) = (&definition.node.name.node, &definition.node.var_type.node);
            let value = self
                .variables
                .get(name)
                .or_else(|| definition.node.default_value());
            if matches!(value, None | Some(Constant::Null)) && !kind.nullable {
                let message = format!("variable \"${name}\" of type \"{kind}\" needs a value");
                return Err(Rejection::bad_input(message).at([definition.pos]));
            }
        }
        Ok(())
    }

    fn root_fields(&self, set: &'a SelectionSet) -> Vec<String> {
        let (mut fields, mut seen, mut left) = (Vec::new(), HashSet::new(), vec![set.items.iter()]);
        while let Some(items) = left.last_mut() {
            match items.next().map(|item| &item.node) {
                None => drop(left.pop()),
                Some(Selection::Field(field)) => fields.push(field.node.name.node.to_string()),
                Some(Selection::InlineFragment(inline)) => {
                    left.push(inline.node.selection_set.node.items.iter())
                }
                Some(Selection::FragmentSpread(spread)) => {
                    let name = &spread.node.fragment_name.node;
                    // A second spread of the same fragment merges with the first.
                    if let (true, Some(fragment)) =
                        (seen.insert(name), self.doc.fragments.get(name))
                    {
                        left.push(fragment.node.selection_set.node.items.iter());
                    }
                }
            }
        }
        fields
    }
}

fn number_or_length(value: &Constant) -> Option<usize> {
    match value {
        Constant::Number(number) => number
            .as_u64()
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX)),
        Constant::List(values) => Some(values.len()),
        _ => None,
    }
}

/// Values in a value, itself included; a long string counts for more.
fn size(value: &Constant) -> usize {
    1 + match value {
        Constant::String(text) => text.len() / 64,
        Constant::List(values) => values.iter().map(size).sum(),
        Constant::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

fn is_introspection(field: &str) -> bool {
    matches!(field, "__schema" | "__type")
}

#[cfg(test)]
mod tests;

/// The database cannot hold the sign U+0000 in a text: it is refused once, for all of them.
fn refuse_nul(name: &str, value: &Constant) -> Result<(), Rejection> {
    let Some(path) = nul_in(value) else {
        return Ok(());
    };
    let path: Vec<String> = std::iter::once(name.to_owned())
        .filter(|name| !name.is_empty())
        .chain(path.into_iter().rev())
        .collect();
    let mut rejection = Rejection::bad_input("a text must not contain the character U+0000");
    rejection
        .details
        .insert("field".into(), path.join(".").into());
    Err(rejection)
}

/// The path to a text with U+0000, innermost first. The nesting was bounded before.
fn nul_in(value: &Constant) -> Option<Vec<String>> {
    let below = |key: String, value: &Constant| {
        let mut path = nul_in(value)?;
        path.push(key);
        Some(path)
    };
    match value {
        Constant::String(text) if text.contains('\0') => Some(Vec::new()),
        Constant::List(values) => values
            .iter()
            .enumerate()
            .find_map(|(position, value)| below(position.to_string(), value)),
        Constant::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| below(key.to_string(), value)),
        _ => None,
    }
}
