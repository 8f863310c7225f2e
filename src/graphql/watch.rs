//! What the fields of the roots take: counted, and traced when there is a collector.

use std::time::Instant;

use async_graphql::extensions::{ExtensionContext, NextResolve, ResolveInfo};
use async_graphql::{ServerResult, Value};

use crate::telemetry::figures::Figures;
use crate::telemetry::{self, Kind};

/// Resolves a field of a root, and everything below it.
pub async fn resolved(
    ctx: &ExtensionContext<'_>,
    info: ResolveInfo<'_>,
    next: NextResolve<'_>,
) -> ServerResult<Option<Value>> {
    // Names of the schema, never aliases: those are the caller's words.
    let field = format!("{}.{}", info.parent_type, info.name);
    let since = Instant::now();
    let mut span = telemetry::current().map(|request| request.child(field.clone(), Kind::Internal));
    let value = match &span {
        Some(_) => telemetry::within(span.as_ref(), next.run(ctx, info)).await,
        None => next.run(ctx, info).await,
    };
    if let (Some(span), Err(_)) = (&mut span, &value) {
        span.fail();
    }
    if let Some(figures) = ctx.data_opt::<Figures>() {
        figures.resolved(&field, value.is_ok(), since.elapsed());
    }
    value
}
