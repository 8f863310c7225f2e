//! Each rule with its examples, and what holds for every decision.

use proptest::prelude::*;

use super::*;

fn client(n: u128) -> ClientId {
    ClientId(Uuid::from_u128(n))
}

fn day(n: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 1, 1).expect("a day") + chrono::Duration::days(i64::from(n))
}

/// An item of client `of`, with its own document.
fn item(n: u128, of: u128, reference: &str, open: Minor) -> Candidate {
    Candidate {
        item: ItemId(Uuid::from_u128(n)),
        client: client(of),
        family: "411".into(),
        document: Uuid::from_u128(1000 + n),
        reference: reference.into(),
        is_debit: true,
        open,
        due_on: day(n as u32),
        invoiced_on: day(0),
        offer: None,
        disputed: 0,
    }
}

fn credit(n: u128, of: u128, reference: &str, open: Minor) -> Candidate {
    Candidate {
        is_debit: false,
        ..item(n, of, reference, open)
    }
}

fn text(amount: Minor, text: &str) -> Receipt<'_> {
    Receipt {
        amount,
        text,
        booked_on: day(40),
        ..Receipt::default()
    }
}

fn nobody() -> Payer {
    Payer::default()
}

fn account_of(clients: &[u128]) -> Payer {
    Payer {
        clients: clients.iter().map(|n| client(*n)).collect(),
        by_account: true,
    }
}

/// Item number and amount of the shares of the receipt itself.
fn paid(decision: &Decision) -> Vec<(u128, Minor)> {
    let own = decision
        .shares
        .iter()
        .filter(|share| share.credit.is_none());
    own.map(|share| (share.debit.0.as_u128(), share.amount))
        .collect()
}

fn outcome(decision: &Decision) -> (Rule, bool) {
    (decision.rule, decision.automatic)
}

#[test]
fn rule_1_a_reference_for_its_amount() {
    let named = [
        item(1, 1, "FA2025-00066", 355_111),
        item(2, 1, "FA2025-00067", 100),
    ];
    // With the check of ISO 11649, without one, and as the end-to-end id.
    for structured in ["RF75FA202500066", "FA2025-00066", "fa2025 00066"] {
        let receipt = Receipt {
            structured: vec![structured],
            ..text(355_111, "")
        };
        let decision = decide(&receipt, &nobody(), &named, &[], 100);
        assert_eq!(
            outcome(&decision),
            (Rule::StructuredReference, true),
            "{structured}"
        );
        assert_eq!(paid(&decision), [(1, 355_111)]);
        assert_eq!((decision.score, decision.client), (100, Some(client(1))));
    }
    // A wrong check makes it another reference.
    let wrong = Receipt {
        structured: vec!["RF76FA202500066"],
        ..text(355_111, "")
    };
    assert_eq!(
        decide(&wrong, &nobody(), &named, &[], 100).rule,
        Rule::UnknownPayer
    );
}

#[test]
fn rule_2_numbers_in_the_text_add_up() {
    let named = [
        item(1, 1, "FA-2026-000012", 10_000),
        item(2, 1, "FA-2026-000013", 20_000),
        item(3, 1, "FA-2026-000014", 30_000),
        item(4, 1, "FA-2026-000015", 40_000),
        credit(5, 1, "AV-2026-000001", 5_000),
    ];
    type Case<'a> = (&'a str, Minor, &'a [(u128, Minor)]);
    let cases: &[Case<'_>] = &[
        ("REGLT FA-2026-000012", 10_000, &[(1, 10_000)]),
        ("fact FA 2026 12 du 3/1", 10_000, &[(1, 10_000)]),
        ("FA2026000012", 10_000, &[(1, 10_000)]),
        (
            "FA-2026-12 + FA-2026-13",
            30_000,
            &[(1, 10_000), (2, 20_000)],
        ),
        (
            "FA-2026-12-15",
            100_000,
            &[(1, 10_000), (2, 20_000), (3, 30_000), (4, 40_000)],
        ),
        (
            "FA-2026-12 à 14",
            60_000,
            &[(1, 10_000), (2, 20_000), (3, 30_000)],
        ),
        (
            "FA 2026 12 AU 14",
            60_000,
            &[(1, 10_000), (2, 20_000), (3, 30_000)],
        ),
        // Less a credit note that the payer names.
        ("FA-2026-000012 moins AV-2026-000001", 5_000, &[(1, 5_000)]),
    ];
    for (written, amount, expected) in cases {
        let decision = decide(&text(*amount, written), &nobody(), &named, &[], 0);
        assert_eq!(outcome(&decision), (Rule::NumbersInText, true), "{written}");
        assert_eq!(paid(&decision), *expected, "{written}");
    }
    // The payer is known: the end of a number is enough, when the amount is right.
    let decision = decide(
        &text(10_000, "votre facture 12"),
        &account_of(&[1]),
        &[],
        &named,
        0,
    );
    assert_eq!(outcome(&decision), (Rule::NumbersInText, true));
    let decision = decide(&text(10_000, "votre facture 12"), &nobody(), &named, &[], 0);
    assert_eq!(decision.rule, Rule::UnknownPayer);
}

#[test]
fn rule_2_first_instalments_of_what_is_named() {
    let mut named = [
        item(1, 1, "FA-2026-9", 100),
        item(2, 1, "FA-2026-9", 100),
        item(3, 1, "FA-2026-9", 100),
    ];
    for instalment in &mut named {
        instalment.document = Uuid::from_u128(9);
    }
    let decision = decide(&text(200, "FA-2026-9"), &nobody(), &named, &[], 0);
    assert_eq!(outcome(&decision), (Rule::NumbersInText, true));
    assert_eq!(paid(&decision), [(1, 100), (2, 100)]);
}

#[test]
fn rule_3_a_discount_a_small_difference_or_a_proposal() {
    let mut offered = item(1, 1, "FA-2026-1", 120_000);
    offered.offer = Some(Offer {
        gross: 2_400,
        net: 2_000,
    });
    let named = [offered];
    for (amount, corrects_vat) in [(117_600, true), (118_000, false)] {
        let decision = decide(
            &text(amount, "FA-2026-1 escompte"),
            &nobody(),
            &named,
            &[],
            100,
        );
        assert_eq!(outcome(&decision), (Rule::NumbersWithDifference, true));
        assert_eq!(paid(&decision), [(1, amount)]);
        let documents = vec![Uuid::from_u128(1001)];
        assert_eq!(
            decision.difference,
            Difference::Discount {
                documents,
                corrects_vat
            }
        );
    }
    for (amount, left) in [(119_999, 1), (120_100, -100)] {
        let decision = decide(&text(amount, "FA-2026-1"), &nobody(), &named, &[], 100);
        assert_eq!(
            outcome(&decision),
            (Rule::NumbersWithDifference, true),
            "{amount}"
        );
        assert_eq!(decision.difference, Difference::Small(left));
    }
    for amount in [100_000, 120_101] {
        let decision = decide(&text(amount, "FA-2026-1"), &nobody(), &named, &[], 100);
        assert_eq!(
            outcome(&decision),
            (Rule::NumbersWithDifference, false),
            "{amount}"
        );
        assert_eq!(paid(&decision), [(1, amount.min(120_000))]);
        assert_eq!(decision.difference, Difference::None);
    }
    let disputed = [Candidate {
        disputed: 20_000,
        ..item(1, 1, "FA-2026-1", 120_000)
    }];
    let decision = decide(&text(100_000, "FA-2026-1"), &nobody(), &disputed, &[], 100);
    assert!(
        decision.evidence.contains("dispute"),
        "{}",
        decision.evidence
    );
    // A payer who is known as somebody else: nothing is done by itself.
    let decision = decide(
        &text(119_999, "FA-2026-1"),
        &account_of(&[2]),
        &named,
        &[],
        100,
    );
    assert_eq!((decision.automatic, decision.client), (false, None));
}

#[test]
fn rule_4_a_known_account_one_item_or_one_sum() {
    let own = [
        item(1, 1, "A-1", 100),
        item(2, 1, "A-2", 250),
        item(3, 1, "A-3", 400),
        item(4, 1, "A-4", 400),
    ];
    let decision = decide(&text(250, "merci"), &account_of(&[1]), &[], &own, 0);
    assert_eq!(
        (outcome(&decision), paid(&decision)),
        ((Rule::KnownAccount, true), vec![(2, 250)])
    );
    let decision = decide(&text(350, "merci"), &account_of(&[1]), &[], &own, 0);
    assert_eq!(
        (outcome(&decision), paid(&decision)),
        ((Rule::KnownAccount, false), vec![(2, 250), (1, 100)])
    );
    // R13.1: two equal candidates are no match, but they are shown.
    let decision = decide(&text(400, "merci"), &account_of(&[1]), &[], &own, 0);
    assert_eq!(
        (outcome(&decision), decision.alternatives.len()),
        ((Rule::KnownClient, false), 2)
    );
    assert_eq!(decision.client, Some(client(1)));
    // Never on the amount alone, whoever has the only item of it.
    let decision = decide(&text(250, "merci"), &nobody(), &own, &[], 0);
    assert_eq!((decision.rule, decision.client), (Rule::UnknownPayer, None));
}

#[test]
fn rule_5_on_account_with_the_order_of_the_law() {
    let own = [item(1, 1, "A-1", 100), item(2, 1, "A-2", 250)];
    for payer in [
        account_of(&[1]),
        Payer {
            clients: vec![client(1)],
            by_account: false,
        },
    ] {
        let decision = decide(&text(120, "acompte"), &payer, &[], &own, 0);
        assert_eq!(
            (outcome(&decision), decision.client),
            ((Rule::KnownClient, false), Some(client(1)))
        );
        assert!(decision.shares.is_empty(), "never spread silently");
        let order: Vec<Minor> = decision.alternatives[0]
            .shares
            .iter()
            .map(|share| share.amount)
            .collect();
        assert_eq!(order, [100, 20]);
    }
    // A name alone matches nothing, whatever the amount.
    let by_name = Payer {
        clients: vec![client(1)],
        by_account: false,
    };
    assert_eq!(
        decide(&text(100, ""), &by_name, &[], &own, 0).rule,
        Rule::KnownClient
    );
}

#[test]
fn rule_6_nobody_is_known() {
    let decision = decide(&text(120, "virement"), &nobody(), &[], &[], 0);
    assert_eq!(
        (outcome(&decision), decision.client, decision.score),
        ((Rule::UnknownPayer, false), None, 0)
    );
}

#[test]
fn one_payer_for_several_clients_r13_4() {
    let named = [item(1, 1, "FA-2026-1", 100), item(2, 2, "FA-2026-2", 50)];
    let receipt = text(150, "FA-2026-1 FA-2026-2");
    let decision = decide(&receipt, &account_of(&[1, 2]), &named, &named, 0);
    assert_eq!(
        (outcome(&decision), decision.client),
        ((Rule::NumbersInText, true), Some(client(1)))
    );
    // Not known to pay for both: a person decides, and the money waits.
    let decision = decide(&receipt, &account_of(&[1]), &named, &named[..1], 0);
    assert_eq!((decision.automatic, decision.client), (false, None));
    assert_eq!(decision.shares.len(), 2);
}

#[test]
fn the_same_number_of_two_clients_is_no_answer_r13_1() {
    let named = [item(1, 1, "2026-0001", 100), item(2, 2, "2026-0001", 100)];
    let decision = decide(&text(100, "2026-0001"), &nobody(), &named, &[], 0);
    assert_eq!(
        (decision.rule, decision.alternatives.len()),
        (Rule::UnknownPayer, 2)
    );
    // The payer's account decides between them.
    let decision = decide(
        &text(100, "2026-0001"),
        &account_of(&[2]),
        &named,
        &named[1..],
        0,
    );
    assert_eq!(
        (outcome(&decision), paid(&decision)),
        ((Rule::NumbersInText, true), vec![(2, 100)])
    );
}

#[test]
fn lookups_find_numbers_and_leave_amounts() {
    let lookups = text(1, "Fact. 4512, 1200,50 EUR; FA12-14").lookups();
    assert!(lookups.runs.contains("4512") && lookups.runs.contains("FA/14"));
    assert!(!lookups.runs.contains("1200"), "an amount");
    assert!(lookups.keys.contains("FA12"));
    assert_eq!(reference_runs("FA-2026-000012/a"), "FA/2026/12/A");
    assert_eq!(reference_key("fa-2026 000012"), "FA2026000012");
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (1..4_u128, 1..60_u32, 1..500_i64, any::<bool>(), 1..30_u128);
    prop::collection::vec(one, 0..12).prop_map(|rows| {
        let made = rows.into_iter().enumerate();
        made.map(|(n, (of, number, open, is_debit, document))| Candidate {
            is_debit,
            document: Uuid::from_u128(document * 10 + of),
            ..item(n as u128 + 1, of, &format!("FA-2026-{number:04}"), open)
        })
        .collect()
    })
}

proptest! {
    /// Whatever is asked: no item and no receipt gets more than it has, credits are used up whole, and
    /// what is done at once accounts for every cent and stays with clients who are sure.
    #[test]
    fn decisions_keep_their_bounds(
        all in candidates(), amount in 1..2000_i64, written in "(FA-2026-[0-9]{1,4}[ +-]{0,2}){0,4}[a-zà 0-9]{0,10}",
        known in prop::collection::vec(1..4_u128, 0..3), by_account in any::<bool>(), tolerance in 0..5_i64,
    ) {
        let payer = Payer { by_account, ..account_of(&known) };
        let own: Vec<Candidate> = all.iter().filter(|item| payer.clients.contains(&item.client)).cloned().collect();
        let decision = decide(&text(amount, &written), &payer, &all, &own, tolerance);
        let sum = |shares: &[Share], wanted: &dyn Fn(&Share) -> bool| -> Minor {
            shares.iter().filter(|share| wanted(share)).map(|share| share.amount).sum()
        };
        let mut answers: Vec<&[Share]> = vec![&decision.shares];
        answers.extend(decision.alternatives.iter().map(|other| other.shares.as_slice()));
        for shares in answers {
            for item in &all {
                let taken = if item.is_debit {
                    sum(shares, &|share| share.debit == item.item)
                } else {
                    sum(shares, &|share| share.credit == Some(item.item))
                };
                prop_assert!(taken <= item.open);
            }
            prop_assert!(sum(shares, &|share| share.credit.is_none()) <= amount);
            prop_assert!(shares.iter().all(|share| share.amount > 0));
        }
        if decision.automatic {
            prop_assert!(decision.client.is_some());
            let paid = sum(&decision.shares, &|share| share.credit.is_none());
            let more = match decision.difference {
                Difference::Small(left) => (-left).max(0),
                _ => 0,
            };
            prop_assert_eq!(paid + more, amount);
        }
    }
}
