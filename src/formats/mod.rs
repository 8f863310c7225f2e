//! Files of other systems: bytes in, values out, and the way back. No database, no rules of ours.

pub mod camt;
pub mod cfonb;
pub mod fec;
pub mod pdf;
pub mod statement;
