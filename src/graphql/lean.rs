//! Rows of lists, without a queue for each: as text for most queries (see `text`), as values for the rest.
//!
//! The library puts every field of an object into a box, and the boxes into a queue that the object has to itself: of
//! the time of a nested screen that is more than the values take. Here the fields of a row stand side by side in one
//! piece of memory, and are all asked until all have answered. They still wait together: what the fields of many
//! rows ask the database for is one statement. Extensions of the schema that look at fields would not see these: there
//! are none, see `watch`.

use std::borrow::Cow;
use std::ops::Deref;

use async_graphql::async_trait::async_trait;
use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection, SelectionSet, TypeCondition};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::{ContainerType, resolve_container};
use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerResult, Value};
use futures_util::future::join_all;

use super::text::{self, Row, Standing};

/// Leads to an object that is resolved this way.
pub struct Lean<P>(pub P);

#[async_trait]
impl<P> OutputType for Lean<P>
where
    P: Deref<Target: Row + Sized> + Send + Sync,
{
    fn type_name() -> Cow<'static, str> {
        P::Target::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        P::Target::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _: &Positioned<Field>,
    ) -> ServerResult<Value> {
        resolve(ctx, &*self.0).await
    }
}

/// The fields that are asked of an object, in the order of the document. What is rare goes the library's way: a
/// directive, a condition on another type, one name for two objects below.
pub async fn resolve<T: Row>(ctx: &ContextSelectionSet<'_>, object: &T) -> ServerResult<Value> {
    let Some(fields) = fields(ctx, object) else {
        return resolve_container(ctx, object).await;
    };
    if ctx.data_opt::<text::Wanted>().is_some() {
        let steps = text::steps::<T>(fields, |_| None);
        let ctx = ctx.clone();
        let (id, row) = (None, object);
        let written = text::written(&[Standing { ctx, id, row }], &steps).await;
        return Ok(written.into_iter().next().unwrap_or_default());
    }
    let answers = fields.iter().map(|field| async {
        if field.node.name.node == "__typename" {
            let name = object.introspection_type_name().into_owned();
            return Ok(Some(Value::String(name)));
        }
        object.resolve_field(&ctx.with_field(field)).await
    });
    let answers = join_all(answers).await;
    let mut values = IndexMap::with_capacity(fields.len());
    for (field, answer) in fields.iter().zip(answers) {
        match answer {
            Ok(value) => {
                let key = field.node.response_key().node.clone();
                values.insert(key, value.unwrap_or_default());
            }
            Err(error) => ctx.add_error(error),
        }
    }
    Ok(match values.is_empty() {
        true => Value::Null,
        false => Value::Object(values),
    })
}

/// The fields that are asked of an object; none when they have something rare.
pub fn fields<'a, T: ContainerType>(
    ctx: &ContextSelectionSet<'a>,
    object: &T,
) -> Option<Vec<&'a Positioned<Field>>> {
    let is_own = |name: &str| name == T::type_name() && name == object.introspection_type_name();
    flat(ctx, &ctx.item.node, &is_own)
}

/// The fields of a selection and of its fragments, which are on a type that `is_own`; none when it has something rare.
pub fn flat<'a>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    is_own: &impl Fn(&str) -> bool,
) -> Option<Vec<&'a Positioned<Field>>> {
    let mut fields = Vec::with_capacity(set.items.len());
    gather(ctx, set, is_own, &mut fields).then_some(fields)
}

fn gather<'a>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    is_own: &impl Fn(&str) -> bool,
    fields: &mut Vec<&'a Positioned<Field>>,
) -> bool {
    let is_on = |condition: Option<&Positioned<TypeCondition>>| {
        condition.is_none_or(|condition| is_own(condition.node.on.node.as_str()))
    };
    set.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) => {
            let key = &field.node.response_key().node;
            let mut others = fields.iter();
            match others.find(|other| other.node.response_key().node == *key) {
                // A valid document asks the same under the same name.
                Some(_) => field.node.selection_set.node.items.is_empty(),
                None => {
                    fields.push(field);
                    field.node.directives.is_empty()
                }
            }
        }
        Selection::FragmentSpread(spread) => {
            let fragment = ctx.query_env.fragments.get(&spread.node.fragment_name.node);
            fragment.is_some_and(|fragment| {
                is_on(Some(&fragment.node.type_condition))
                    && gather(ctx, &fragment.node.selection_set.node, is_own, fields)
            })
        }
        Selection::InlineFragment(fragment) => {
            is_on(fragment.node.type_condition.as_ref())
                && gather(ctx, &fragment.node.selection_set.node, is_own, fields)
        }
    })
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};

    use super::text::Wanted;
    use super::*;

    struct Invoice(i32);

    #[Object]
    impl Invoice {
        async fn number(&self) -> i32 {
            self.0
        }
        async fn client(&self) -> Client {
            Client
        }
        async fn paid(&self) -> async_graphql::Result<Option<bool>> {
            match self.0 {
                2 => Err("nobody knows".into()),
                _ => Ok(Some(true)),
            }
        }
    }

    text::told!(Invoice { number });

    struct Client;

    #[Object]
    impl Client {
        async fn name(&self) -> &str {
            "Dupont"
        }
        async fn code(&self) -> &str {
            "C1"
        }
    }

    struct Query;

    #[Object]
    impl Query {
        async fn lean(&self) -> Vec<Lean<Box<Invoice>>> {
            (1..4).map(Invoice).map(Box::new).map(Lean).collect()
        }
        async fn usual(&self) -> Vec<Invoice> {
            (1..4).map(Invoice).collect()
        }
    }

    #[tokio::test]
    async fn rows_are_resolved_as_the_library_does() {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).finish();
        for (rows, fragments) in [
            ("{ number }", ""),
            ("{ client { name } no: number __typename number }", ""),
            ("{ number number client { name } }", ""),
            ("{ client { name } client { code } number }", ""),
            (
                "{ number ...A ... on Invoice { number paid } ... { one: number } }",
                "fragment A on Invoice { client { ...B } number } fragment B on Client { code }",
            ),
            ("{ paid }", ""),
            ("{ number paid client { name } }", ""),
            (
                "{ number @skip(if: true) paid @include(if: false) client { name } }",
                "",
            ),
        ] {
            let answer = async |list: &str, is_text: bool| {
                let asked = format!("{{ rows: {list} {rows} }} {fragments}");
                let mut request = Request::new(&asked);
                let doc = parse_query(&asked).expect("a document");
                if let (true, Some(wanted)) = (is_text, Wanted::of(&doc, None)) {
                    request = request.data(wanted);
                }
                let mut answer = schema.execute(request).await;
                text::unfold(&mut answer.data);
                let errors = answer.errors.iter();
                let mut errors: Vec<_> = errors
                    .map(|error| format!("{} {:?}", error.message, error.path))
                    .collect();
                errors.sort();
                (answer.data, errors)
            };
            let (lean, usual) = (answer("lean", false).await, answer("usual", false).await);
            assert_eq!(lean, usual, "{rows}");
            assert_ne!(lean.0, Value::Null, "{rows}");
            let text = answer("lean", true).await;
            assert_eq!(text, usual, "{rows}");
        }
    }
}
