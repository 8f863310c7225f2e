//! Files of other systems: bytes in, values out, and the way back. No database, no rules of ours.

pub mod fec;
