//! The rules: values in, values out. No clock, no database, no network.

pub mod access;
pub mod aging;
pub mod bank;
pub mod bill;
pub mod calendar;
pub mod chart;
pub mod company;
pub mod credential;
pub mod dispute;
pub mod dunning;
pub mod hex;
pub mod identity;
pub mod ids;
pub mod lettering;
pub mod lockout;
pub mod money;
pub mod numbering;
pub mod password;
pub mod penalty;
pub mod proposal;
pub mod provision;
pub mod refusal;
pub mod terms;
pub mod vat;
pub mod wording;
