//! The ordered rules of 13.2: what a receipt pays.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::reference::{DIGITS, TAIL_DIGITS, joined, reference_key, reference_runs, spans};
use super::{Alternative, Candidate, Decision, Difference, Offer, Payer, Receipt, Rule, Share};
use crate::domain::ids::{ClientId, ItemId};
use crate::domain::money::Minor;
use crate::domain::proposal::{self, CreditKind, OpenCredit, OpenDebit};

/// Items of a payer among which sums are searched, and items of such a sum.
const SUBSET_OF: usize = 30;
const SUBSET: usize = 6;
/// Alternatives that are kept.
const ALTERNATIVES: usize = 5;

/// A document with what is open of it.
#[derive(Clone, Debug)]
struct Document<'a> {
    id: Uuid,
    items: Vec<&'a Candidate>,
}

impl Document<'_> {
    fn client(&self) -> ClientId {
        self.items[0].client
    }

    fn reference(&self) -> &str {
        &self.items[0].reference
    }

    /// What is owed on it; negative for a credit note.
    fn net(&self) -> Minor {
        self.items
            .iter()
            .map(|item| if item.is_debit { item.open } else { -item.open })
            .sum()
    }
}

/// Decides about a receipt. `named` are the open items that its lookups found, of any client; `own` those of
/// the payer's accounts. Both in the receipt's currency.
pub fn decide(
    receipt: &Receipt<'_>,
    payer: &Payer,
    named: &[Candidate],
    own: &[Candidate],
    tolerance: Minor,
) -> Decision {
    let structured = by_reference(receipt, payer, named);
    if let Some(decision) = exact(receipt, payer, &structured, Rule::StructuredReference, 100) {
        return decision;
    }
    let mut mentioned = structured;
    for found in in_text(receipt, payer, named, false) {
        if !mentioned.iter().any(|before| same(before, &found)) {
            mentioned.push(found);
        }
    }
    if let Some(decision) = exact(receipt, payer, &mentioned, Rule::NumbersInText, 95) {
        return decision;
    }
    if payer.by_account {
        let tails = in_text(receipt, payer, own, true);
        if let Some(decision) = exact(receipt, payer, &tails, Rule::NumbersInText, 90) {
            return decision;
        }
    }
    if let Some(decision) = nearly(receipt, payer, &mentioned, tolerance) {
        return decision;
    }
    let mut alternatives: Vec<Alternative> = mentioned
        .iter()
        .filter(|mention| mention.len() > 1)
        .flatten()
        .map(|document| Alternative {
            evidence: format!("the payer may have meant {}", document.reference()),
            shares: lay(std::slice::from_ref(document), receipt.amount).unwrap_or_default(),
        })
        .take(ALTERNATIVES)
        .collect();
    if payer.by_account
        && let Some(decision) = by_amount(receipt, own, &mut alternatives)
    {
        return decision;
    }
    left_over(receipt, payer, &mentioned, own, alternatives)
}

/// One thing that the payer named: the documents that it may be.
type Mention<'a> = Vec<Document<'a>>;

fn same(a: &Mention<'_>, b: &Mention<'_>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.id == b.id)
}

/// The documents of these candidates; those of the payer when that decides between several.
fn documents<'a>(found: Vec<&'a Candidate>, payer: &Payer) -> Mention<'a> {
    let mut by_id: BTreeMap<Uuid, Vec<&Candidate>> = BTreeMap::new();
    for candidate in found {
        by_id.entry(candidate.document).or_default().push(candidate);
    }
    let mut documents: Mention<'a> = by_id
        .into_iter()
        .map(|(id, mut items)| {
            items.sort_by_key(|item| (item.due_on, item.item));
            Document { id, items }
        })
        .collect();
    let mine: Vec<bool> = documents
        .iter()
        .map(|document| payer.clients.contains(&document.client()))
        .collect();
    if documents.len() > 1 && mine.contains(&true) {
        let mut mine = mine.into_iter();
        documents.retain(|_| mine.next().unwrap_or_default());
    }
    documents
}

fn by_reference<'a>(
    receipt: &Receipt<'_>,
    payer: &Payer,
    named: &'a [Candidate],
) -> Vec<Mention<'a>> {
    let mut mentions: Vec<Mention<'a>> = Vec::new();
    for (key, runs) in receipt.references() {
        let found: Vec<&Candidate> = named
            .iter()
            .filter(|candidate| {
                reference_key(&candidate.reference) == key
                    || reference_runs(&candidate.reference) == runs
            })
            .collect();
        let mention = documents(found, payer);
        if !mention.is_empty() && !mentions.iter().any(|before| same(before, &mention)) {
            mentions.push(mention);
        }
    }
    mentions
}

/// What the text names, from its beginning; with `tails`, the ends of numbers count too.
fn in_text<'a>(
    receipt: &Receipt<'_>,
    payer: &Payer,
    candidates: &'a [Candidate],
    tails: bool,
) -> Vec<Mention<'a>> {
    let words = receipt.words();
    let known: Vec<(&Candidate, String, String)> = candidates
        .iter()
        .map(|candidate| {
            let reference = &candidate.reference;
            (
                candidate,
                reference_key(reference),
                reference_runs(reference),
            )
        })
        .collect();
    let find = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<&'a Candidate> {
        known
            .iter()
            .filter(|(_, key, runs)| wanted(key, runs))
            .map(|(candidate, _, _)| *candidate)
            .collect()
    };
    let mut mentions: Vec<Mention<'a>> = Vec::new();
    let mut add = |found: Vec<&'a Candidate>| {
        let mention = documents(found, payer);
        if !mention.is_empty() && !mentions.iter().any(|before| same(before, &mention)) {
            mentions.push(mention);
        }
    };
    let mut at = 0;
    while at < words.len() {
        let hit = spans(&words, at).find_map(|span| {
            let (key, runs) = (span.key(), joined(span.words));
            let end = format!("/{runs}");
            let found = find(&|of_key, of_runs| {
                let whole = span.is_telling(DIGITS) && (of_key == key || of_runs == runs);
                whole || tails && span.is_telling(TAIL_DIGITS) && of_runs.ends_with(&end)
            });
            (!found.is_empty()).then_some((span, found))
        });
        let Some((span, found)) = hit else {
            at += 1;
            continue;
        };
        add(found);
        at += span.words.len();
        let range = span.range();
        // A range counts when its end exists: FA-2026-12 is no range from 2026.
        let end = range.last().map(|end| find(&|_, runs| runs == end));
        if end.is_some_and(|end| !end.is_empty()) {
            for number in &range {
                add(find(&|_, runs| runs == number));
            }
        }
    }
    mentions
}

/// Rules 1 and 2: what is named is open for exactly the amount.
fn exact(
    receipt: &Receipt<'_>,
    payer: &Payer,
    mentions: &[Mention<'_>],
    rule: Rule,
    score: i16,
) -> Option<Decision> {
    let (shares, meant) = match mentions {
        [] => return None,
        // One number that several documents bear: the one that fits, when only one does.
        [mention] => {
            let mut fitting = mention.iter().filter_map(|document| {
                let alone = std::slice::from_ref(document);
                Some((fitting(alone, receipt.amount)?, alone.to_vec()))
            });
            let found = fitting.next()?;
            if fitting.next().is_some() {
                return None;
            }
            found
        }
        several => {
            let meant = unambiguous(several)?;
            (fitting(&meant, receipt.amount)?, meant)
        }
    };
    let clients: BTreeSet<ClientId> = meant.iter().map(Document::client).collect();
    // R13.4: several accounts are paid at once only by somebody who is known to pay for them.
    let sure = clients.len() == 1 || clients.iter().all(|client| payer.clients.contains(client));
    Some(Decision {
        rule,
        score: if sure { score } else { 60 },
        automatic: sure,
        client: meant.first().map(Document::client).filter(|_| sure),
        evidence: format!("{} for exactly this amount", list(&meant)),
        shares,
        difference: Difference::None,
        alternatives: Vec::new(),
    })
}

/// Every mention as the one document it means; none when one of them may mean several.
fn unambiguous<'a>(mentions: &[Mention<'a>]) -> Option<Vec<Document<'a>>> {
    mentions
        .iter()
        .map(|mention| match mention.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        })
        .collect()
}

fn list(documents: &[Document<'_>]) -> String {
    let names: Vec<&str> = documents.iter().map(Document::reference).collect();
    names.join(", ")
}

/// Shares when the documents are open for exactly the amount, or the first instalments of one are.
fn fitting(documents: &[Document<'_>], amount: Minor) -> Option<Vec<Share>> {
    let net: Minor = documents.iter().map(Document::net).sum();
    if net == amount {
        return lay(documents, amount);
    }
    let [only] = documents else {
        return None;
    };
    let mut sum = 0;
    for (count, item) in only.items.iter().enumerate() {
        sum += item.open;
        if item.is_debit && sum == amount {
            let first = Document {
                id: only.id,
                items: only.items[..=count].to_vec(),
            };
            return lay(&[first], amount);
        }
    }
    None
}

/// Lays credits that were taken off, then the receipt, over the debits, oldest due first, client by client.
/// None when the credits of a client exceed its debits.
fn lay(documents: &[Document<'_>], amount: Minor) -> Option<Vec<Share>> {
    let mut by_client: BTreeMap<ClientId, Vec<&Candidate>> = BTreeMap::new();
    let mut order = Vec::new();
    for document in documents {
        let items = by_client.entry(document.client()).or_default();
        if items.is_empty() {
            order.push(document.client());
        }
        items.extend(&document.items);
    }
    let (mut shares, mut left) = (Vec::new(), amount);
    for client in order {
        let items = by_client.remove(&client).unwrap_or_default();
        let mut debits: Vec<(&Candidate, Minor)> = items
            .iter()
            .filter(|item| item.is_debit)
            .map(|item| (*item, item.open))
            .collect();
        debits.sort_by_key(|(item, _)| (item.due_on, item.invoiced_on, item.item));
        for credit in items.iter().filter(|item| !item.is_debit) {
            let mut of_credit = credit.open;
            for (debit, open) in &mut debits {
                let part = of_credit.min(*open);
                if part > 0 && debit.family == credit.family {
                    shares.push(Share {
                        client,
                        debit: debit.item,
                        credit: Some(credit.item),
                        amount: part,
                    });
                    of_credit -= part;
                    *open -= part;
                }
            }
            if of_credit > 0 {
                return None;
            }
        }
        for (debit, open) in debits {
            let part = left.min(open);
            if part > 0 {
                shares.push(Share {
                    client,
                    debit: debit.item,
                    credit: None,
                    amount: part,
                });
                left -= part;
            }
        }
    }
    Some(shares)
}

/// Rule 3: what is named, but for a discount or a small difference; else a proposal.
fn nearly(
    receipt: &Receipt<'_>,
    payer: &Payer,
    mentions: &[Mention<'_>],
    tolerance: Minor,
) -> Option<Decision> {
    let meant = unambiguous(mentions).filter(|meant| !meant.is_empty())?;
    let client = meant[0].client();
    if meant.iter().any(|document| document.client() != client) {
        return None;
    }
    // Somebody known who names another client's number, and not for its amount: nothing is sure.
    let sure = payer.clients.is_empty() || payer.clients.contains(&client);
    let net: Minor = meant.iter().map(Document::net).sum();
    let difference = net - receipt.amount;
    let decision = |score, automatic, evidence, shares, difference| {
        Some(Decision {
            rule: Rule::NumbersWithDifference,
            score: if sure { score } else { 60 },
            automatic: automatic && sure,
            client: Some(client).filter(|_| sure),
            evidence,
            shares,
            difference,
            alternatives: Vec::new(),
        })
    };
    if let Some(corrects_vat) = discount(&meant, difference) {
        let documents = meant
            .iter()
            .filter(|document| document.items.iter().any(|item| item.offer.is_some()))
            .map(|document| document.id)
            .collect();
        return decision(
            90,
            true,
            format!("{} less the discount for early payment", list(&meant)),
            lay_discounted(&meant, corrects_vat)?,
            Difference::Discount {
                documents,
                corrects_vat,
            },
        );
    }
    let shares = lay(&meant, receipt.amount)?;
    if difference.abs() <= tolerance && net > 0 {
        return decision(
            90,
            true,
            format!("{} but for a small difference", list(&meant)),
            shares,
            Difference::Small(difference),
        );
    }
    let disputed: Minor = meant
        .iter()
        .flat_map(|document| &document.items)
        .map(|item| item.disputed)
        .sum();
    let why = if difference > 0 && difference == disputed {
        "the rest is what is in dispute"
    } else if difference > 0 {
        "a part: what is missing may be an instalment, or a deduction to record"
    } else {
        "more than is open: the rest stays on account"
    };
    decision(
        if payer.clients.is_empty() { 65 } else { 75 },
        false,
        format!("{} named, {why}", list(&meant)),
        shares,
        Difference::None,
    )
}

/// Whether the difference is the sum of the discounts that the documents offer: with VAT corrected, or net of tax.
fn discount(documents: &[Document<'_>], difference: Minor) -> Option<bool> {
    let offers: Vec<Offer> = documents
        .iter()
        .filter_map(|document| document.items.iter().find_map(|item| item.offer))
        .collect();
    let gross: Minor = offers.iter().map(|offer| offer.gross).sum();
    let net: Minor = offers.iter().map(|offer| offer.net).sum();
    if gross > 0 && difference == gross {
        Some(true)
    } else if net > 0 && difference == net {
        Some(false)
    } else {
        None
    }
}

/// Every document for what is left behind its discount: the discount settles the rest.
fn lay_discounted(documents: &[Document<'_>], corrects_vat: bool) -> Option<Vec<Share>> {
    let mut shares = Vec::new();
    for document in documents {
        let offer = document.items.iter().find_map(|item| item.offer);
        let less = offer.map_or(
            0,
            |offer| if corrects_vat { offer.gross } else { offer.net },
        );
        if document.items.iter().any(|item| !item.is_debit) {
            // A credit note among them: which document keeps the discount is not clear.
            return None;
        }
        shares.extend(lay(std::slice::from_ref(document), document.net() - less)?);
    }
    Some(shares)
}

/// Rule 4: the payer's account is known; one item, or one sum of a few, is open for the amount.
fn by_amount(
    receipt: &Receipt<'_>,
    own: &[Candidate],
    alternatives: &mut Vec<Alternative>,
) -> Option<Decision> {
    let debits: Vec<&Candidate> = own.iter().filter(|item| item.is_debit).collect();
    let share = |item: &Candidate| Share {
        client: item.client,
        debit: item.item,
        credit: None,
        amount: item.open,
    };
    let alone: Vec<&&Candidate> = debits
        .iter()
        .filter(|item| item.open == receipt.amount)
        .collect();
    let mut sums = Vec::new();
    if alone.is_empty() {
        sums = subsets(&debits, receipt.amount);
    }
    match (alone.as_slice(), sums.as_slice()) {
        ([item], _) => Some(Decision {
            rule: Rule::KnownAccount,
            score: 85,
            // Nobody pays for what is not invoiced yet.
            automatic: item.invoiced_on <= receipt.booked_on,
            client: Some(item.client),
            evidence: if item.invoiced_on <= receipt.booked_on {
                format!(
                    "the payer's account is known, only {} is open for this amount",
                    item.reference
                )
            } else {
                format!(
                    "only {} is open for this amount, and it was invoiced after the payment",
                    item.reference
                )
            },
            shares: vec![share(item)],
            difference: Difference::None,
            alternatives: Vec::new(),
        }),
        ([], [sum]) => Some(Decision {
            rule: Rule::KnownAccount,
            score: 60,
            automatic: false,
            client: Some(sum[0].client),
            evidence: format!(
                "the payer's account is known, only {} add up to this amount",
                sum.iter()
                    .map(|item| item.reference.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            shares: sum.iter().map(|item| share(item)).collect(),
            difference: Difference::None,
            alternatives: Vec::new(),
        }),
        _ => {
            let several = alone.iter().map(|item| vec![**item]).chain(sums);
            let found = several.take(ALTERNATIVES).map(|items| Alternative {
                evidence: format!(
                    "{} for this amount, but not alone",
                    items
                        .iter()
                        .map(|item| item.reference.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                shares: items.iter().map(|item| share(item)).collect(),
            });
            alternatives.extend(found);
            None
        }
    }
}

/// Sums of two to six items of one client that give the amount; at most one more than are kept.
fn subsets<'a>(items: &[&'a Candidate], amount: Minor) -> Vec<Vec<&'a Candidate>> {
    let mut by_client: BTreeMap<ClientId, Vec<&Candidate>> = BTreeMap::new();
    for item in items {
        by_client.entry(item.client).or_default().push(item);
    }
    let mut found = Vec::new();
    for items in by_client
        .values_mut()
        .filter(|items| items.len() <= SUBSET_OF)
    {
        items.sort_by_key(|item| std::cmp::Reverse((item.open, item.item)));
        search(items, amount, &mut Vec::new(), &mut found);
    }
    found
}

fn search<'a>(
    items: &[&'a Candidate],
    left: Minor,
    taken: &mut Vec<&'a Candidate>,
    found: &mut Vec<Vec<&'a Candidate>>,
) {
    if left == 0 && taken.len() > 1 {
        found.push(taken.clone());
        return;
    }
    let room = SUBSET - taken.len();
    if room == 0 || left <= 0 {
        return;
    }
    for (at, item) in items.iter().enumerate() {
        if found.len() > ALTERNATIVES {
            return;
        }
        // Largest first: when even the largest that are left cannot fill it, nothing behind can.
        if item.open.saturating_mul(room as Minor) < left {
            return;
        }
        if item.open <= left {
            taken.push(item);
            search(&items[at + 1..], left - item.open, taken, found);
            taken.pop();
        }
    }
}

/// Rules 5 and 6: on account of the client who is known, else nobody's.
fn left_over(
    receipt: &Receipt<'_>,
    payer: &Payer,
    mentions: &[Mention<'_>],
    own: &[Candidate],
    mut alternatives: Vec<Alternative>,
) -> Decision {
    let named: BTreeSet<ClientId> = mentions.iter().flatten().map(Document::client).collect();
    let client = match (payer.clients.as_slice(), named.len()) {
        ([only], _) => Some(*only),
        // The payer named documents of one client only.
        ([], 1) => named.first().copied(),
        _ => None,
    };
    if alternatives.is_empty()
        && let Some(client) = client
    {
        alternatives.extend(in_order_of_law(receipt, client, own));
    }
    match client {
        Some(_) => Decision {
            rule: Rule::KnownClient,
            score: 50,
            automatic: false,
            client,
            evidence: if payer.by_account {
                "the payer's account is known, nothing fits the amount".to_owned()
            } else if payer.clients.is_empty() {
                "the payer named documents of this client, nothing fits the amount".to_owned()
            } else {
                "the payer has this client's name, nothing fits for sure".to_owned()
            },
            shares: Vec::new(),
            difference: Difference::None,
            alternatives,
        },
        None => Decision {
            rule: Rule::UnknownPayer,
            score: 0,
            automatic: false,
            client: None,
            evidence: match payer.clients.len() {
                0 => "neither account, name nor text tells who paid".to_owned(),
                several => {
                    format!("the payer stands for {several} clients, nothing fits the amount")
                }
            },
            shares: Vec::new(),
            difference: Difference::None,
            alternatives,
        },
    }
}

/// What R3.8 would pay with it.
fn in_order_of_law(
    receipt: &Receipt<'_>,
    client: ClientId,
    own: &[Candidate],
) -> Option<Alternative> {
    let debits: Vec<OpenDebit<ItemId>> = own
        .iter()
        .filter(|item| item.is_debit && item.client == client)
        .map(|item| OpenDebit {
            key: item.item,
            reference: item.reference.clone(),
            invoice_reference: None,
            due_on: item.due_on,
            invoiced_on: item.invoiced_on,
            open: item.open,
        })
        .collect();
    let credit = OpenCredit {
        key: ItemId(Uuid::nil()),
        kind: CreditKind::Receipt {
            indication: receipt.text.to_owned(),
        },
        posted_on: receipt.booked_on,
        open: receipt.amount,
        reference: String::new(),
    };
    let shares: Vec<Share> = proposal::propose(&debits, &[credit], receipt.booked_on)
        .into_iter()
        .map(|found| Share {
            client,
            debit: found.debit,
            credit: None,
            amount: found.amount,
        })
        .collect();
    (!shares.is_empty()).then(|| Alternative {
        evidence: "in the order of R3.8".to_owned(),
        shares,
    })
}
