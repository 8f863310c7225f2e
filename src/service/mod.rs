//! The use cases: one function per thing a user can do. Load, decide, save.
//!
//! A service receives a connection that is already in a transaction and inside the company's wall.

pub mod access;
pub mod accrual;
pub mod bank;
pub mod books;
pub mod chart;
pub mod client;
pub mod company;
pub mod credit_note;
pub mod demo;
pub mod discount;
pub mod dispute;
pub mod doubtful;
pub mod dunning;
pub mod exchange;
pub mod factoring;
pub mod fec;
mod files;
pub mod idempotency;
pub mod import;
pub mod integrity;
pub mod invoice;
pub mod law;
pub mod matching;
pub mod member;
pub mod operation;
pub mod payment;
pub mod penalty;
pub mod provision;
pub mod provision_run;
pub mod reference;
pub mod remittance;
pub mod secret;
pub mod session;
pub mod vat_receipts;
pub mod year;
