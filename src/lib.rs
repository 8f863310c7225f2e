//! encours: a GraphQL API server for accounts receivable (suivi des créances clients).
//!
//! The layers, in reading order; a layer may use those above it in this list, never those below.

pub mod domain;
pub mod embedded;
pub mod error;
pub mod formats;
pub mod graphql;
pub mod http;
pub mod mailer;
pub mod objects;
pub mod service;
pub mod store;
pub mod telemetry;
