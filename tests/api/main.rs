//! The API as clients see it: a real server, real tokens, a company of its own for each test.

mod access;
mod accounting;
mod bank;
mod collection;
mod contract;
mod corrections;
mod desk;
mod dunning;
mod fec;
mod harness;
mod idp;
mod import;
mod layering;
mod ledger;
mod limits;
mod live;
mod mail;
mod operations;
mod paging;
mod quarter;
mod reconciliation;
mod refusals;
mod roles;
mod schema;
mod sequences;
mod slips;
