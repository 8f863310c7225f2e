//! Keys of service accounts: as a bearer, or as the password of a tool that knows nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::nobody;
use crate::domain::access::Caller;
use crate::domain::audit::Origin;
use crate::domain::credential::{Credential, KEY};
use crate::domain::ids::ServiceAccountId;
use crate::error::{Error, Result};
use crate::service;
use crate::store::Db;

/// Longest `Basic` header that is looked at.
const BASIC_BYTES: usize = 1024;

/// Whether a bearer's text is meant as a key.
pub fn is_key(text: &str) -> bool {
    text.starts_with(KEY)
}

/// The key in a header `Basic base64(user:key)`, whatever the user is called.
pub fn basic(header: &str) -> Option<String> {
    let (scheme, text) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || text.len() > BASIC_BYTES {
        return None;
    }
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (_, password) = text.split_once(':')?;
    is_key(password).then(|| password.to_owned())
}

/// The service account behind a key, looked up inside the wall of the company that the key names.
pub async fn caller(text: &str, db: &Db) -> Result<Caller> {
    let key = Credential::<ServiceAccountId>::read(KEY, text).ok_or(Error::Unauthenticated)?;
    let caller = nobody(key.company);
    let session = db.session(caller.clone());
    let found = session
        .write(move |conn, caller| service::access::use_key(conn, caller, &key))
        .await;
    session.finish().await;
    let (name, scopes) = found?.ok_or(Error::Unauthenticated)?;
    Ok(Caller {
        author: format!("service account {name}"),
        scopes: Some(scopes),
        ..caller
    })
}

/// Writes down that a key opened nothing, when it names an account; nobody waits for it.
pub fn note_refused(text: &str, origin: Origin, db: &Db) {
    let Some(key) = Credential::<ServiceAccountId>::read(KEY, text) else {
        return;
    };
    let session = db.session_from(nobody(key.company), origin);
    actix_web::rt::spawn(async move {
        let told = session
            .write(move |conn, caller| service::audit::key_refused(conn, caller, key.id))
            .await;
        session.finish().await;
        if let Err(error) = told {
            tracing::warn!(%error, "a refused key was not written down");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_password_of_any_user() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(basic(&header("excel:enc_1")).as_deref(), Some("enc_1"));
        assert_eq!(basic(&header(":enc_1")).as_deref(), Some("enc_1"));
        for bad in [
            header("enc_1"),
            header("excel:secret"),
            "Bearer enc_1".into(),
            "Basic !".into(),
            "Basic".into(),
            header(&format!("a:enc_{}", "1".repeat(BASIC_BYTES))),
        ] {
            assert_eq!(basic(&bad), None, "{bad}");
        }
    }
}
