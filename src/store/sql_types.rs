//! How each domain value is written in a column: identifiers as `uuid`.

use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{Nullable, Uuid as SqlUuid};
use uuid::Uuid;

use crate::domain::ids::*;

macro_rules! uuid_columns {
    ($($name:ident),+ $(,)?) => {$(
        impl FromSql<SqlUuid, Pg> for $name {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                <Uuid as FromSql<SqlUuid, Pg>>::from_sql(bytes).map($name)
            }
        }
        impl Queryable<SqlUuid, Pg> for $name {
            type Row = $name;
            fn build(row: $name) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
        impl ToSql<SqlUuid, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<SqlUuid, Pg>::to_sql(&self.0, out)
            }
        }
        impl ToSql<Nullable<SqlUuid>, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<SqlUuid, Pg>::to_sql(&self.0, out)
            }
        }
        uuid_columns!(@expression $name, SqlUuid);
        uuid_columns!(@expression $name, Nullable<SqlUuid>);
    )+};
    (@expression $name:ident, $sql:ty) => {
        impl AsExpression<$sql> for $name {
            type Expression = Bound<$sql, $name>;
            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }
        impl<'a> AsExpression<$sql> for &'a $name {
            type Expression = Bound<$sql, &'a $name>;
            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }
    };
}

uuid_columns!(
    CompanyId,
    UserId,
    ClientId,
    ContactId,
    DocumentId,
    DraftId,
    PaymentId,
    ItemId,
    AllocationId,
    MatchingId,
    DisputeId,
    DeductionId,
    EntryId,
    PolicyId,
    AssessmentId,
    OperationId,
    RemittanceId,
    BankAccountId,
    BankLineId,
    BankMatchId,
    BankStatementId,
    DoubtfulFileId,
    RectifiedInvoiceId,
    ProvisionRunId,
    TaskId,
    DunningScenarioId,
    DunningActionId,
    PromiseId,
    FileId,
    LetterTemplateId,
    MailId,
    DunningRunId,
    DunningRunLineId,
    NoteId,
    PlanId,
    CaseId,
    WebhookId,
    WebhookDeliveryId,
    SessionId,
    ServiceAccountId,
    InvitationId,
    ApprovalId,
    ErasureId,
);
