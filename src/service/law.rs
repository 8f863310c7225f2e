//! The legal tables as the rules read them (R0.5): dated rows, never a constant.

use std::collections::HashMap;

use diesel::pg::PgConnection;

use crate::domain::penalty::{Dated, NotCovered};
use crate::domain::refusal::Refusal;
use crate::domain::terms::TermsLaw;
use crate::error::{Error, Result};
use crate::store;

/// Every legal value by its kind.
pub struct Tables(HashMap<String, Vec<Dated>>);

impl Tables {
    /// Loads them; they are the same for all companies.
    pub fn load(conn: &mut PgConnection) -> Result<Tables> {
        let mut rows: HashMap<String, Vec<Dated>> = HashMap::new();
        for row in store::member::legal_rates(conn, None)? {
            rows.entry(row.kind).or_default().push(Dated {
                from: row.valid_from,
                to: row.valid_to,
                value: row.value,
            });
        }
        Ok(Tables(rows))
    }

    /// The rows of a kind; none when the tables lack it.
    pub fn take(&mut self, kind: &str) -> Vec<Dated> {
        self.0.remove(kind).unwrap_or_default()
    }
}

/// The legal payment terms and their ceilings (table 6.1).
pub fn terms(conn: &mut PgConnection) -> Result<TermsLaw> {
    let mut tables = Tables::load(conn)?;
    Ok(TermsLaw {
        net: tables.take("TERMS_NET_MAX"),
        end_of_month: tables.take("TERMS_END_OF_MONTH_MAX"),
        periodic: tables.take("TERMS_PERIODIC_MAX"),
        default: tables.take("TERMS_DEFAULT"),
        decade: tables.take("TERMS_DECADE_MAX"),
        public: tables.take("TERMS_PUBLIC_MAX"),
    })
}

/// The refusal of a day that the tables do not cover; `field` is the day's.
pub fn not_covered(field: &str, error: &NotCovered) -> Error {
    Refusal::invalid(field, error.to_string())
        .detail("day", error.on.to_string())
        .into()
}
