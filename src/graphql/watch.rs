//! What the fields of the roots take: counted, and traced when there is a collector.

use std::borrow::Cow;
use std::time::Instant;

use async_graphql::async_trait::async_trait;
use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::{ContainerType, resolve_container};
use async_graphql::{
    Context, ContextSelectionSet, ObjectType, OutputType, Positioned, ServerResult, Value,
};

use crate::telemetry::figures::Figures;
use crate::telemetry::{self, Kind};

/// A root whose fields are watched. An extension of the schema could do it too, but one that looks at fields costs
/// every field and every row of every answer, a third of the time of a large one.
#[derive(Default)]
pub struct Watched<T>(T);

#[async_trait]
impl<T: ObjectType> OutputType for Watched<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _: &Positioned<Field>,
    ) -> ServerResult<Value> {
        resolve_container(ctx, self).await
    }
}

#[async_trait]
impl<T: ObjectType> ContainerType for Watched<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        // Names of the schema, never aliases: those are the caller's words.
        let field = format!("{}.{}", T::type_name(), ctx.field().name());
        let since = Instant::now();
        let mut span =
            telemetry::current().map(|request| request.child(field.clone(), Kind::Internal));
        let value = match &span {
            Some(_) => telemetry::within(span.as_ref(), self.0.resolve_field(ctx)).await,
            None => self.0.resolve_field(ctx).await,
        };
        if let (Some(span), Err(_)) = (&mut span, &value) {
            span.fail();
        }
        if let Some(figures) = ctx.data_opt::<Figures>() {
            figures.resolved(&field, value.is_ok(), since.elapsed());
        }
        value
    }
}

impl<T: ObjectType> ObjectType for Watched<T> {}
