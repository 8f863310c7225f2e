//! What keys and invitations look like: `enc_` or `encinv_`, the company and the record, a secret.
//!
//! The company stands in the text, so that the record is looked up inside that company's wall.

use uuid::Uuid;

use super::ids::{CompanyId, Id};

/// Mark of the key of a service account.
pub const KEY: &str = "enc_";
/// Mark of an invitation.
pub const INVITATION: &str = "encinv_";
/// Hexadecimal digits of an id.
const ID: usize = 32;
/// Hexadecimal digits of a secret: 256 bits.
const SECRET: usize = 64;

/// A secret with the record that it opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential<I> {
    /// The company of the record.
    pub company: CompanyId,
    /// The record.
    pub id: I,
    /// 64 hexadecimal digits.
    pub secret: String,
}

impl<I: Id> Credential<I> {
    /// The text that is given out, once.
    pub fn show(&self, mark: &str) -> String {
        let (company, id) = (self.company.uuid().simple(), self.id.uuid().simple());
        format!("{mark}{company}{id}_{}", self.secret)
    }

    /// Reads what [`Credential::show`] wrote; `None` for anything else.
    pub fn read(mark: &str, text: &str) -> Option<Credential<I>> {
        let (ids, secret) = text.strip_prefix(mark)?.split_once('_')?;
        let is_hex = |text: &str| {
            text.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if ids.len() != 2 * ID || secret.len() != SECRET || !is_hex(ids) || !is_hex(secret) {
            return None;
        }
        let (company, id) = ids.split_at(ID);
        Some(Credential {
            company: CompanyId(Uuid::try_parse(company).ok()?),
            id: I::from_uuid(Uuid::try_parse(id).ok()?),
            secret: secret.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ServiceAccountId;

    #[test]
    fn a_credential_is_read_back_whole_or_not_at_all() {
        let made = Credential {
            company: CompanyId::new(),
            id: ServiceAccountId::new(),
            secret: "0123456789abcdef".repeat(4),
        };
        let text = made.show(KEY);
        assert_eq!(Credential::read(KEY, &text), Some(made));
        let read = |text: &str| Credential::<ServiceAccountId>::read(KEY, text);
        for bad in [
            "",
            "enc_",
            "enc__",
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text.to_uppercase(),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&text.replace("enc_", "encinv_")), None);
        assert_eq!(
            read(&format!("enc_{}é_{}", "a".repeat(62), "b".repeat(64))),
            None
        );
    }
}
