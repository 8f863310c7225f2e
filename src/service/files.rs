//! What imports of files share: the name of a content, and the refusal that says where a file is wrong.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Error;

/// The running hash of a file's content, read piece by piece.
pub fn digest(path: &Path) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(hash);
        }
        hash.update(&chunk[..count]);
    }
}

/// `FILE_INVALID` at a line, and at a field of it when one is to blame.
pub fn invalid(line: u64, field: Option<&str>, message: String) -> Error {
    let refusal = Refusal::new(RefusalCode::FileInvalid, "file", message).detail("line", line);
    match field {
        Some(field) => refusal.detail("field", field).into(),
        None => refusal.into(),
    }
}
