//! Passwords: hashed and verified a few at a time, away from the workers.

use std::sync::LazyLock;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordVerifier};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, Result};
use crate::service;

/// Longest wait for a turn to verify a password.
const WAIT: Duration = Duration::from_secs(5);

/// A verification takes 19 MiB: this many at once, the others wait.
static TURNS: Semaphore = Semaphore::const_new(4);

/// Verified when there is nothing to verify, so that an unknown user takes as long as a known one.
static NOBODY: LazyLock<Option<String>> =
    LazyLock::new(|| service::member::hash_password("nobody").ok());

/// Whether the password is right. Takes as long when there is no hash.
pub async fn is_right(password: String, hash: Option<String>) -> Result<bool> {
    let _turn = turn().await?;
    tokio::task::spawn_blocking(move || verify(&password, hash.as_deref()))
        .await
        .map_err(|error| Error::Internal(format!("a password verification ended: {error}")))
}

/// The hash to keep of a new password.
pub async fn hash(password: String) -> Result<String> {
    let _turn = turn().await?;
    tokio::task::spawn_blocking(move || service::member::hash_password(&password))
        .await
        .map_err(|error| Error::Internal(format!("a password hash ended: {error}")))?
}

async fn turn() -> Result<SemaphorePermit<'static>> {
    match tokio::time::timeout(WAIT, TURNS.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(Error::Unavailable("too many log-ins at once".into())),
    }
}

fn verify(password: &str, hash: Option<&str>) -> bool {
    let known = hash.is_some();
    let Some(hash) = hash.or(NOBODY.as_deref()) else {
        return false;
    };
    let right = PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    });
    right && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_verified_and_nobody_has_none() {
        let hash = service::member::hash_password("correct horse").expect("hashed");
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify("correct horse", Some(&hash)));
        assert!(!verify("wrong horse", Some(&hash)));
        assert!(!verify("nobody", None));
    }
}
