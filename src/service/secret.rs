//! Secrets that are given out once and kept as a digest.

use argon2::password_hash::rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};

use crate::domain::hex::hex;

/// 256 random bits, as 64 hexadecimal digits.
pub fn fresh() -> String {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    hex(&bytes)
}

/// What is kept of it. A plain SHA-256 is enough: nobody guesses 256 bits, and it costs nothing per request.
pub fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}
