//! Pages to print: the list of a remittance slip, and a rectified invoice. Plain HTML in French, nothing loaded
//! from elsewhere.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;

use super::graphql::GraphqlEndpoint;
use super::{fault, files};
use crate::domain::access::{Action, Caller};
use crate::domain::ids::{Id, RectifiedInvoiceId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::service::books;
use crate::service::reference::Ref;
use crate::service::remittance;
use crate::store::{self, Conn};

const STYLE: &str = "body{font:11pt sans-serif;max-width:18cm;margin:1cm auto;color:#111}h1{font-size:15pt}\
  table{border-collapse:collapse;width:100%;margin:1em 0}th,td{border:1px solid #999;padding:4px 6px;text-align:left}\
  td.n,th.n{text-align:right;white-space:nowrap}p{margin:.4em 0}pre{white-space:pre-wrap;font:inherit}@page{margin:1.5cm}";

/// `GET /print/remittance/{id}`: the list that goes to the bank with cheques or bills.
pub async fn remittance_slip(
    request: HttpRequest,
    id: web::Path<String>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    page(&request, &endpoint, id.into_inner(), slip).await
}

/// `GET /print/rectified-invoice/{id}`: the duplicate that recovers the VAT of a loss (CGI 272).
pub async fn rectified_invoice(
    request: HttpRequest,
    id: web::Path<String>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    page(&request, &endpoint, id.into_inner(), rectified).await
}

async fn page(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    id: String,
    write: fn(&mut Conn, &Caller, &str) -> Result<String>,
) -> HttpResponse {
    let caller = match files::permitted(request, endpoint, Action::ReadJournal).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let session = endpoint.store.session(caller);
    let written = session
        .read(move |conn, caller| write(conn, caller, &id))
        .await;
    session.finish().await;
    match written {
        Ok(html) => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header(("Cache-Control", "no-store"))
            .insert_header((
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ))
            .body(html),
        // The page of a record that does not exist for the caller does not exist.
        Err(Error::Refused(reasons))
            if reasons.iter().all(|why| why.code == RefusalCode::NotFound) =>
        {
            HttpResponse::NotFound().json(fault("NOT_FOUND", "no such record in this company"))
        }
        Err(error) => files::refused(error),
    }
}

/// Text as HTML shows it: names and addresses are data, never markup.
fn text(plain: &str) -> String {
    plain
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn document(title: &str, body: &str) -> String {
    let title = text(title);
    format!(
        "<!doctype html><html lang=\"fr\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>"
    )
}

fn day(on: NaiveDate) -> String {
    on.format("%d/%m/%Y").to_string()
}

/// `1 234,56 EUR`.
fn amount(minor: Minor, code: &str) -> Result<String> {
    let plain = books::currency(code)?.decimal(minor).to_string();
    let (whole, cents) = plain.split_once('.').unwrap_or((&plain, ""));
    let digits: Vec<char> = whole.chars().collect();
    let mut grouped = String::new();
    for (place, digit) in digits.iter().enumerate() {
        if place > 0
            && (digits.len() - place).is_multiple_of(3)
            && digits[place - 1].is_ascii_digit()
        {
            grouped.push('\u{202f}');
        }
        grouped.push(*digit);
    }
    let comma = if cents.is_empty() { "" } else { "," };
    Ok(format!("{grouped}{comma}{cents} {code}"))
}

/// Who the company is: name, address, SIREN.
fn sender(conn: &mut Conn, caller: &Caller) -> Result<String> {
    let company = books::open(conn, caller)?.company;
    let mut lines = vec![format!("<strong>{}</strong>", text(&company.name))];
    lines.extend(company.address.as_deref().map(text));
    lines.extend(company.siren.map(|siren| format!("SIREN {}", text(&siren))));
    Ok(format!("<p>{}</p>", lines.join("<br>")))
}

fn slip(conn: &mut Conn, caller: &Caller, id: &str) -> Result<String> {
    let found = remittance::find(conn, caller, "id", &Ref::Id(id.to_owned()))?;
    let lines = store::remittance::lines(conn, caller.company, &[found.id])?;
    let ids: Vec<_> = lines.iter().map(|line| line.payment_id).collect();
    let payments = store::payment::by_ids(conn, caller.company, &ids)?;
    let events = store::payment::events(conn, caller.company, &ids)?;
    let mut rows = String::new();
    for (place, line) in lines.iter().enumerate() {
        let payment = payments
            .iter()
            .find(|payment| payment.id == line.payment_id)
            .ok_or_else(|| Error::Internal("a slip names a receipt that is missing".into()))?;
        let payer = match crate::service::payment::client_of(payment, &events) {
            Some(client) => {
                store::client::by_id(conn, caller.company, client)?.map(|client| client.name)
            }
            None => payment.payer.clone(),
        };
        rows.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            place + 1,
            text(&payment.number),
            text(payer.as_deref().unwrap_or_default()),
            day(payment.received_on),
            payment.matures_on.map(day).unwrap_or_default(),
            amount(line.amount, &found.currency)?
        ));
    }
    let title = match found.kind.as_str() {
        remittance::CHEQUES => "Remise de chèques",
        remittance::DISCOUNT => "Remise d'effets à l'escompte",
        _ => "Remise d'effets à l'encaissement",
    };
    let body = format!(
        "{}<p>Compte de banque {}, remis le {}</p><table><thead><tr><th>N°</th><th>Règlement</th><th>Tireur ou tiré</th><th>Reçu le</th>\
         <th>Échéance</th><th class=\"n\">Montant</th></tr></thead><tbody>{rows}</tbody><tfoot><tr><th colspan=\"5\">{} pièce(s), total</th>\
         <th class=\"n\">{}</th></tr></tfoot></table><p>Date et signature :</p>",
        sender(conn, caller)?,
        text(&found.bank_account),
        day(found.remitted_on),
        lines.len(),
        amount(found.amount, &found.currency)?
    );
    Ok(document(&format!("{title} {}", found.number), &body))
}

fn rectified(conn: &mut Conn, caller: &Caller, id: &str) -> Result<String> {
    let found = match RectifiedInvoiceId::read(id) {
        Some(id) => store::doubtful::rectified_by_ids(conn, caller.company, &[id])?.pop(),
        None => None,
    };
    let found = found.ok_or_else(|| Refusal::not_found("id", "rectified invoice"))?;
    let client = store::client::by_id(conn, caller.company, found.client_id)?
        .ok_or_else(|| Error::Internal("a rectified invoice without a client".into()))?;
    let part = |of: &str, name: &str| text(found.content[of][name].as_str().unwrap_or_default());
    let mut rows = String::new();
    for (of, what) in [("invoice", "Facture"), ("unpaid", "Impayé")] {
        rows.push_str(&format!(
            "<tr><td>{what} {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            part(of, "number"),
            part(of, "net").replace('.', ","),
            part(of, "vat").replace('.', ","),
            part(of, "total").replace('.', ",")
        ));
    }
    let wording = found.content["wording"].as_str().unwrap_or_default();
    let body = format!(
        "{}<p>À : <strong>{}</strong></p><p>Le {}</p><table><thead><tr><th>{}</th><th class=\"n\">HT</th>\
         <th class=\"n\">TVA</th><th class=\"n\">TTC</th></tr></thead><tbody>{rows}</tbody></table><pre>{}</pre>",
        sender(conn, caller)?,
        text(&client.name),
        day(found.issued_on),
        part("unpaid", "currency"),
        text(wording)
    );
    Ok(document(
        &format!("Duplicata de facture impayée {}", found.number),
        &body,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_the_french_write_them() {
        assert_eq!(
            amount(123_456_789, "EUR").ok().as_deref(),
            Some("1\u{202f}234\u{202f}567,89 EUR")
        );
        assert_eq!(amount(5, "EUR").ok().as_deref(), Some("0,05 EUR"));
        assert_eq!(
            amount(1_200, "JPY").ok().as_deref(),
            Some("1\u{202f}200 JPY")
        );
    }

    #[test]
    fn data_is_never_markup() {
        assert_eq!(text("<b>\"A & B\""), "&lt;b&gt;&quot;A &amp; B&quot;");
    }
}
