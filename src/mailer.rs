//! The way to a mail server (SMTP). What it says decides what becomes of a mail.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Message, SmtpTransport, Transport};

/// Longest wait for the server.
const WAIT: Duration = Duration::from_secs(30);

/// A mail server. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
}

/// A mail to hand over.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Makes a second try of the same mail recognisable.
    pub message_id: String,
    /// The company's name and its own address, when it has one: answers go there.
    pub sender: String,
    pub reply_to: Option<String>,
    pub to: String,
    pub subject: String,
    pub text: String,
    /// Name, media type, bytes.
    pub attachments: Vec<(String, String, Vec<u8>)>,
}

/// Why a mail was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Undelivered {
    /// It never will be: the address or the content is refused.
    Refused(String),
    /// The server is away or busy: try again.
    Later(String),
}

/// Whether a text is one address that a mail can go to.
pub fn is_address(text: &str) -> bool {
    text.is_ascii() && text.len() <= 254 && text.parse::<lettre::Address>().is_ok()
}

/// Whether mails can come from a text: an address, with or without a name.
pub fn is_sender(text: &str) -> bool {
    text.parse::<lettre::message::Mailbox>().is_ok()
}

impl Mailer {
    /// A server by its address, `smtp://user:password@host:587?tls=required`, and the address that mails come from.
    pub fn new(url: &str, from: &str) -> Result<Mailer, String> {
        let transport = SmtpTransport::from_url(url)
            .map_err(|error| format!("the mail server's address: {error}"))?
            .timeout(Some(WAIT))
            .build();
        let from = from
            .parse()
            .map_err(|error| format!("the sender's address {from}: {error}"))?;
        Ok(Mailer { transport, from })
    }

    /// Hands a mail over; done when the server has taken it.
    pub fn send(&self, mail: &Outgoing) -> Result<(), Undelivered> {
        let message = self.message(mail).map_err(Undelivered::Refused)?;
        match self.transport.send(&message) {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(Undelivered::Refused(error.to_string())),
            Err(error) => Err(Undelivered::Later(error.to_string())),
        }
    }

    fn message(&self, mail: &Outgoing) -> Result<Message, String> {
        let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let to = mail
            .to
            .parse()
            .map_err(|error| said("the recipient's address", &error))?;
        let from = Mailbox::new(Some(mail.sender.clone()), self.from.email.clone());
        let mut builder = Message::builder()
            .message_id(Some(format!(
                "<{}@{}>",
                mail.message_id,
                self.from.email.domain()
            )))
            .from(from)
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".into(),
            ));
        // An address of one's own that is none keeps no mail from leaving: it is answered to the sender.
        if let Some(reply) = mail.reply_to.as_deref().and_then(|it| it.parse().ok()) {
            builder = builder.reply_to(Mailbox::new(Some(mail.sender.clone()), reply));
        }
        let mut parts = MultiPart::mixed().singlepart(SinglePart::plain(mail.text.clone()));
        for (name, media, bytes) in &mail.attachments {
            let media = ContentType::parse(media).map_err(|error| said("an attachment", &error))?;
            parts = parts.singlepart(Attachment::new(name.clone()).body(bytes.clone(), media));
        }
        builder
            .multipart(parts)
            .map_err(|error| said("the message", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Outgoing {
        Outgoing {
            message_id: "eml_1".into(),
            sender: "Société Émile".into(),
            reply_to: Some("compta@emile.example".into()),
            to: "client@example.com".into(),
            subject: "Rappel : 3 factures échues".into(),
            text: "Bonjour,".into(),
            attachments: vec![(
                "rappel.pdf".into(),
                "application/pdf".into(),
                b"%PDF-".to_vec(),
            )],
        }
    }

    #[test]
    fn a_mail_has_one_identity_and_no_header_from_outside() {
        let mailer =
            Mailer::new("smtp://127.0.0.1:1", "no-reply@encours.example").expect("a server");
        let message = mailer.message(&mail()).expect("a message");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        assert!(
            text.contains("Message-ID: <eml_1@encours.example>"),
            "{text}"
        );
        let forged = Outgoing {
            subject: "x\r\nBcc: victim@example.com".into(),
            ..mail()
        };
        let text = String::from_utf8(mailer.message(&forged).expect("encoded").formatted())
            .expect("ASCII");
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
        for to in ["", "nobody", "a@b\r\nBcc: c@d.example", "a@b, c@d.example"] {
            let wrong = Outgoing {
                to: to.into(),
                ..mail()
            };
            assert!(
                matches!(mailer.send(&wrong), Err(Undelivered::Refused(_))),
                "{to:?}"
            );
        }
    }

    #[test]
    fn a_server_that_is_down_is_tried_again() {
        let mailer =
            Mailer::new("smtp://127.0.0.1:1", "no-reply@encours.example").expect("a server");
        assert!(matches!(mailer.send(&mail()), Err(Undelivered::Later(_))));
        assert!(Mailer::new("http://127.0.0.1", "a@b.example").is_err());
        assert!(Mailer::new("smtp://127.0.0.1", "nobody").is_err());
    }
}
