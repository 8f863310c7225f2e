//! Dunning (relances): what each claim of a client deserves on a day, and why or why not (section 7).
//!
//! Amounts are minor units of the claims' currency. The levels, days and thresholds are house rules of the
//! company; the order of the questions is not.

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::access::codes;
use super::calendar::working_day_from;
use super::money::Minor;
use super::vat;

codes! {
    /// How a reminder reaches the client.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Channel {
        /// An e-mail.
        Email = "EMAIL",
        /// A call.
        Phone = "PHONE",
        /// A letter.
        Letter = "LETTER",
        /// A registered letter with acknowledgment (LRAR).
        RegisteredLetter = "REGISTERED_LETTER",
        /// An electronic registered letter (LRE).
        ElectronicRegisteredLetter = "ELECTRONIC_REGISTERED_LETTER",
        /// The file goes to the next stage.
        FileTransfer = "FILE_TRANSFER",
    }
}

codes! {
    /// How a reminder speaks.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Tone {
        /// Before anything is late.
        Courtesy = "COURTESY",
        /// An oversight is assumed.
        Friendly = "FRIENDLY",
        /// Finds the reason, and gets a promise.
        Enquiring = "ENQUIRING",
        /// States penalties and the flat indemnity.
        Firm = "FIRM",
        /// The last amicable letter.
        LastAmicable = "LAST_AMICABLE",
        /// Mise en demeure.
        FormalNotice = "FORMAL_NOTICE",
        /// Pre-litigation.
        PreLitigation = "PRE_LITIGATION",
    }
}

codes! {
    /// Who takes a step.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Actor {
        /// The server, when runs are automatic; else the accountant.
        Automatic = "AUTOMATIC",
        /// Comptable clients.
        #[default]
        Accountant = "ACCOUNTANT",
        /// The credit manager.
        CreditManager = "CREDIT_MANAGER",
    }
}

/// A level of a scenario.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// 1 is the first reminder.
    pub level: u8,
    /// Days after the due date (J).
    pub day: u16,
    pub channel: Channel,
    pub tone: Tone,
    /// Whether an acknowledgment or deposit slip must be kept.
    pub proof: bool,
    /// Who takes it.
    #[serde(default)]
    pub actor: Actor,
    /// A claim below this does not rise to it, in minor units.
    #[serde(default)]
    pub min_amount: Minor,
    /// Above this the director approves it, in minor units.
    #[serde(default)]
    pub approval_above: Option<Minor>,
    /// Whether it states penalties and the flat indemnity (R6.12).
    #[serde(default)]
    pub interest: bool,
}

impl Level {
    /// Whether its tone is none for what it sends. The file that is handed over speaks for itself.
    fn speaks_out_of_turn(&self) -> bool {
        let is_written = !matches!(self.channel, Channel::Phone | Channel::FileTransfer);
        self.tone == Tone::Courtesy || self.tone == Tone::PreLitigation && is_written
    }
}

/// The notice before the due date (level 0).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Courtesy {
    /// Days before the due date.
    pub days_before: u16,
    /// What falls due together is not worth a notice below this, in minor units.
    pub min_amount: Minor,
}

/// A scenario: who is reminded how, and when (7.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Whether these clients are reminded at all.
    pub chased: bool,
    /// Days that pass between two actions to one client at least (R7.3).
    pub min_gap_days: u16,
    /// What is not worth a reminder is below this, in minor units (R7.2).
    pub min_residual: Minor,
    /// Whether reminders may state the flat indemnity and interest between professionals (R6.12).
    pub between_professionals: bool,
    /// By level, one after the other.
    pub levels: Vec<Level>,
    /// The courtesy notice; none when nothing is sent before the due date.
    #[serde(default)]
    pub courtesy: Option<Courtesy>,
    /// No run uses it any more, and no client is given it.
    #[serde(default)]
    pub closed: bool,
}

/// From this level on the claim must be certain, liquid and due (R7.7).
pub const FORMAL_NOTICE: u8 = 5;

impl Scenario {
    /// The scenario of 7.1.
    pub fn usual() -> Scenario {
        let level = |level, day, channel, tone, proof| Level {
            level,
            day,
            channel,
            tone,
            proof,
            actor: match level {
                1 => Actor::Automatic,
                2 | 3 => Actor::Accountant,
                _ => Actor::CreditManager,
            },
            min_amount: 0,
            approval_above: (level == FORMAL_NOTICE).then_some(1_000_000),
            interest: level >= 3,
        };
        Scenario {
            chased: true,
            min_gap_days: 7,
            min_residual: 500,
            between_professionals: true,
            courtesy: Some(Courtesy {
                days_before: 5,
                min_amount: 100_000,
            }),
            closed: false,
            levels: vec![
                level(1, 3, Channel::Email, Tone::Friendly, false),
                level(2, 10, Channel::Phone, Tone::Enquiring, false),
                level(3, 20, Channel::Email, Tone::Firm, false),
                level(4, 35, Channel::RegisteredLetter, Tone::LastAmicable, true),
                level(5, 50, Channel::RegisteredLetter, Tone::FormalNotice, true),
                level(6, 65, Channel::FileTransfer, Tone::PreLitigation, true),
            ],
        }
    }

    /// The scenario of a segment (R7.8).
    pub fn of_segment(segment: &str) -> Scenario {
        let mut scenario = Scenario::usual();
        match segment {
            "LARGE_GROUP" => {
                for level in scenario.levels.iter_mut().filter(|level| level.level <= 5) {
                    level.day += 10;
                }
            }
            "NEW_OR_RISKY" => {
                for level in &mut scenario.levels {
                    level.day = if level.level == 4 {
                        15
                    } else {
                        level.day.div_ceil(2)
                    };
                }
            }
            // No registered letter before the formal notice.
            "PUBLIC" => scenario
                .levels
                .iter_mut()
                .filter(|level| {
                    level.level < FORMAL_NOTICE && level.channel == Channel::RegisteredLetter
                })
                .for_each(|level| {
                    level.channel = Channel::Letter;
                    level.proof = false;
                }),
            "CONSUMER" => scenario.between_professionals = false,
            "GROUP_COMPANY" => scenario.chased = false,
            _ => {}
        }
        scenario
    }

    /// The field in which the scenario contradicts itself, and why, if it does.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let rising = self
            .levels
            .windows(2)
            .all(|pair| pair[0].level + 1 == pair[1].level && pair[0].day < pair[1].day);
        if self.chased && self.levels.is_empty() {
            Some(("levels", "a scenario that chases has a level"))
        } else if self.levels.first().is_some_and(|first| first.level != 1) || !rising {
            Some((
                "levels",
                "levels count from 1 without a gap, each later than the one before",
            ))
        } else if self.levels.len() > 10 || self.levels.iter().any(|level| level.day > 730) {
            Some((
                "levels",
                "at most 10 levels, within 730 days of the due date",
            ))
        } else if self.min_residual < 0 {
            Some(("minResidual", "the least amount is not negative"))
        } else if self.min_gap_days > 90 {
            Some(("minGapDays", "0 to 90 days lie between two actions"))
        } else if self.levels.iter().any(Level::speaks_out_of_turn) {
            Some((
                "levels",
                "COURTESY is the tone before the due date, and PRE_LITIGATION that of a file handed over or of a call: no letter has it",
            ))
        } else if self.levels.iter().any(|level| {
            level.tone == Tone::FormalNotice
                && (level.level < FORMAL_NOTICE
                    || !matches!(
                        level.channel,
                        Channel::RegisteredLetter | Channel::ElectronicRegisteredLetter
                    ))
        }) {
            Some((
                "levels",
                "a formal notice is level 5 or later, and registered (R7.7)",
            ))
        } else if self
            .courtesy
            .as_ref()
            .is_some_and(|notice| !(1..=60).contains(&notice.days_before))
        {
            Some((
                "courtesy.daysBefore",
                "a courtesy notice goes out 1 to 60 days before the due date",
            ))
        } else {
            None
        }
    }

    /// The level that a claim deserves by its age (R7.5: the day moves to a working day); 0 for none.
    pub fn deserved(&self, due_on: NaiveDate, on: NaiveDate) -> u8 {
        self.levels
            .iter()
            .filter(|level| {
                due_on
                    .checked_add_days(Days::new(u64::from(level.day)))
                    .is_some_and(|day| working_day_from(day) <= on)
            })
            .map(|level| level.level)
            .max()
            .unwrap_or_default()
    }

    /// What a level is; 0 is the courtesy notice.
    pub fn level(&self, level: u8) -> Option<Level> {
        if level == 0 {
            return self.courtesy.as_ref().map(|_| Scenario::courtesy_level());
        }
        self.levels
            .iter()
            .find(|found| found.level == level)
            .cloned()
    }

    /// The courtesy notice as a level.
    pub fn courtesy_level() -> Level {
        Level {
            level: 0,
            day: 0,
            channel: Channel::Email,
            tone: Tone::Courtesy,
            proof: false,
            actor: Actor::Automatic,
            min_amount: 0,
            approval_above: None,
            interest: false,
        }
    }
}

codes! {
    /// Why a claim is not chased (R7.2).
    Exclusion {
        /// The client is not chased at all: a company of the group, or by its scenario.
        NotChased = "NOT_CHASED",
        /// Insolvency proceedings: dunning is over.
        Insolvent = "INSOLVENT",
        /// Not late yet.
        NotLate = "NOT_LATE",
        /// All of it is in a dispute that stops dunning (R7.4).
        Disputed = "DISPUTED",
        /// A promise to pay is running.
        Promised = "PROMISED",
        /// A payment plan in good standing covers it.
        Planned = "PLANNED",
        /// It is in the hands of a court, a lawyer or an agency.
        Litigation = "LITIGATION",
        /// Too little is left.
        BelowMinimum = "BELOW_MINIMUM",
        /// Credits that are not matched cover everything the client owes.
        CreditBalance = "CREDIT_BALANCE",
        /// The next level is not reached yet.
        NotYet = "NOT_YET",
        /// The last action to this client was too recent (R7.3).
        TooSoon = "TOO_SOON",
    }
}

/// An open debt of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub due_on: NaiveDate,
    /// What is open, positive.
    pub residual: Minor,
    /// What the whole was booked at in the company's currency, and what it was: the amounts of a scenario are in the
    /// former.
    pub booked: (Minor, Minor),
    /// Of which in disputes that stop dunning.
    pub disputed: Minor,
    /// The last level sent for it; 0 for none.
    pub last_level: u8,
    /// Whether a promise to pay it runs on the day.
    pub promised: bool,
    /// Whether a payment plan in good standing covers it.
    pub planned: bool,
    /// Whether a litigation case holds it.
    pub in_litigation: bool,
    /// Whether something was sent for it, the courtesy notice included.
    pub reminded: bool,
    /// Whether its delivery, or the debtor's acknowledgment, is proven (R7.7).
    pub proven: bool,
}

/// A client in one currency on a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whether insolvency proceedings are open.
    pub insolvent: bool,
    /// Credits that are not matched, positive.
    pub credits: Minor,
    /// The day of the last action to the client.
    pub last_action_on: Option<NaiveDate>,
}

/// What becomes of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What the age deserves; 0 for none.
    pub deserved: u8,
    /// What it gets: at most one more than it had (R7.3), and no formal notice on what is disputed (R7.7).
    pub level: u8,
    /// What the reminder claims of it: not the disputed part (R7.4). Zero when it is left out.
    pub claimed: Minor,
    /// Why it is left out of the reminder.
    pub exclusion: Option<Exclusion>,
    /// Whether it stands in the courtesy notice.
    pub courtesy: bool,
}

impl Verdict {
    /// Whether a reminder of this level lists it.
    pub fn listed_at(&self, level: u8) -> bool {
        if level == 0 {
            self.courtesy
        } else {
            self.claimed > 0 && self.level > 0
        }
    }
}

codes! {
    /// What a formal notice lacks (R7.7).
    FormalFault {
        /// A part of it is contested: the claim is not certain.
        Contested = "CONTESTED",
        /// Nothing proves that it was delivered.
        Unproven = "UNPROVEN",
        /// Its term has not expired.
        NotDue = "NOT_DUE",
    }
}

impl Claim {
    /// What a part of it is in the company's currency.
    pub fn worth(&self, part: Minor) -> Minor {
        let (base, amount) = self.booked;
        vat::proportion(part, base.into(), amount.into()).unwrap_or(part)
    }

    /// What keeps it from a formal notice: it has to be certain, liquid and due (R7.7).
    pub fn formal_faults(&self, on: NaiveDate) -> Vec<FormalFault> {
        let mut faults = Vec::new();
        if self.disputed > 0 {
            faults.push(FormalFault::Contested);
        }
        if !self.proven {
            faults.push(FormalFault::Unproven);
        }
        if self.due_on >= on {
            faults.push(FormalFault::NotDue);
        }
        faults
    }
}

/// A reminder that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reminder {
    /// The highest level among its claims (R7.1); none when nothing is sent.
    pub level: Option<u8>,
    /// Why nothing is sent, when claims would be chased.
    pub exclusion: Option<Exclusion>,
    /// For each claim, in the order given.
    pub verdicts: Vec<Verdict>,
}

/// Decides about a client's claims on a day.
pub fn judge(
    scenario: &Scenario,
    standing: &Standing,
    claims: &[Claim],
    on: NaiveDate,
) -> Reminder {
    let owed: Minor = claims.iter().map(|claim| claim.residual).sum();
    let whole = if !scenario.chased {
        Some(Exclusion::NotChased)
    } else if standing.insolvent {
        Some(Exclusion::Insolvent)
    } else if owed <= standing.credits {
        Some(Exclusion::CreditBalance)
    } else {
        None
    };
    let verdicts: Vec<Verdict> = claims
        .iter()
        .map(|claim| verdict(scenario, claim, whole, on))
        .collect();
    let mut reminder = Reminder {
        level: None,
        exclusion: whole,
        verdicts,
    };
    if whole.is_some() {
        return reminder;
    }
    let advances = claims
        .iter()
        .zip(&reminder.verdicts)
        .any(|(claim, verdict)| verdict.exclusion.is_none() && verdict.level > claim.last_level);
    let courteous = !advances && notice(scenario, claims, &mut reminder.verdicts, on);
    if !advances && !courteous {
        reminder.exclusion = common(claims, &reminder.verdicts, on);
        return reminder;
    }
    // What would be claimed is covered by credits: nobody writes for nothing (R7.2).
    let claimed: Minor = reminder.verdicts.iter().map(|it| it.claimed).sum();
    if claimed <= standing.credits {
        reminder.exclusion = Some(Exclusion::CreditBalance);
        return reminder;
    }
    let gap = Days::new(u64::from(scenario.min_gap_days));
    if standing
        .last_action_on
        .is_some_and(|last| last.checked_add_days(gap).is_none_or(|next| next > on))
    {
        reminder.exclusion = Some(Exclusion::TooSoon);
        return reminder;
    }
    if courteous {
        reminder.level = Some(0);
        return reminder;
    }
    reminder.level = reminder
        .verdicts
        .iter()
        .filter(|verdict| verdict.exclusion.is_none())
        .map(|verdict| verdict.level)
        .max();
    reminder
}

/// Why nothing is due to a client with something late: the reason of all its late claims, when they share one.
fn common(claims: &[Claim], verdicts: &[Verdict], on: NaiveDate) -> Option<Exclusion> {
    let mut late = claims
        .iter()
        .zip(verdicts)
        .filter(|(claim, _)| claim.due_on < on)
        .map(|(_, verdict)| verdict.exclusion);
    let first = late.next()?;
    match first {
        Some(why) if late.all(|other| other == first) => Some(why),
        _ => Some(Exclusion::NotYet),
    }
}

/// Marks what a courtesy notice lists; false when there is not enough of it.
fn notice(scenario: &Scenario, claims: &[Claim], verdicts: &mut [Verdict], on: NaiveDate) -> bool {
    let Some(notice) = &scenario.courtesy else {
        return false;
    };
    // Whom one has written to firmly is not thanked for the trust.
    if claims.iter().any(|claim| claim.last_level > 2) {
        return false;
    }
    let days = Days::new(u64::from(notice.days_before));
    let soon = |claim: &Claim| {
        let first = claim.due_on.checked_sub_days(days).map(working_day_from);
        claim.due_on > on && first.is_some_and(|first| first <= on) && !claim.reminded
    };
    let mut total = 0;
    let mut marked = Vec::new();
    for (position, claim) in claims.iter().enumerate() {
        let left = claim.residual - claim.disputed.min(claim.residual);
        if soon(claim) && left > 0 && !claim.promised && !claim.planned && !claim.in_litigation {
            total += claim.worth(left);
            marked.push((position, left));
        }
    }
    if marked.is_empty() || total < notice.min_amount {
        return false;
    }
    // Nothing that is late is claimed by a courtesy notice.
    for verdict in verdicts.iter_mut() {
        verdict.claimed = 0;
        verdict.exclusion = verdict.exclusion.or(Some(Exclusion::NotYet));
    }
    for (position, left) in marked {
        verdicts[position] = Verdict {
            claimed: left,
            exclusion: None,
            courtesy: true,
            ..verdicts[position]
        };
    }
    true
}

fn verdict(scenario: &Scenario, claim: &Claim, whole: Option<Exclusion>, on: NaiveDate) -> Verdict {
    let deserved = scenario.deserved(claim.due_on, on);
    let left = claim.residual - claim.disputed.min(claim.residual);
    let exclusion = whole.or(if claim.due_on >= on {
        Some(Exclusion::NotLate)
    } else if left <= 0 {
        Some(Exclusion::Disputed)
    } else if claim.promised {
        Some(Exclusion::Promised)
    } else if claim.planned {
        Some(Exclusion::Planned)
    } else if claim.in_litigation {
        Some(Exclusion::Litigation)
    } else if claim.worth(left) < scenario.min_residual {
        Some(Exclusion::BelowMinimum)
    } else if deserved == 0 && claim.last_level == 0 {
        Some(Exclusion::NotYet)
    } else {
        None
    });
    let mut level = deserved
        .min(claim.last_level.saturating_add(1))
        .max(claim.last_level);
    let too_small = |level: u8| {
        scenario
            .level(level)
            .is_some_and(|found| claim.worth(left) < found.min_amount)
    };
    while level > claim.last_level && too_small(level) {
        level -= 1;
    }
    if level >= FORMAL_NOTICE && !claim.formal_faults(on).is_empty() {
        level = claim.last_level.max(FORMAL_NOTICE - 1);
    }
    // Too small for any level, and nothing was sent for it: nothing is claimed by a reminder about others.
    let exclusion = exclusion.or((level == 0).then_some(Exclusion::NotYet));
    Verdict {
        deserved,
        level,
        claimed: if exclusion.is_none() { left } else { 0 },
        exclusion,
        courtesy: false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn claim(due_on: &str, residual: Minor) -> Claim {
        Claim {
            due_on: date(due_on),
            residual,
            booked: (residual, residual),
            disputed: 0,
            last_level: 0,
            promised: false,
            planned: false,
            in_litigation: false,
            reminded: false,
            proven: true,
        }
    }

    const STANDING: Standing = Standing {
        insolvent: false,
        credits: 0,
        last_action_on: None,
    };

    #[test]
    fn the_days_of_the_example_of_7_1() {
        let scenario = Scenario::usual();
        let due = date("2026-03-16");
        for (day, level) in [
            ("2026-03-18", 0),
            ("2026-03-19", 1),
            ("2026-03-25", 1),
            ("2026-03-26", 2),
            // J+20 is Easter Sunday, then Easter Monday: 7 April.
            ("2026-04-06", 2),
            ("2026-04-07", 3),
            ("2026-04-20", 4),
            ("2026-05-05", 5),
            ("2026-05-20", 6),
        ] {
            assert_eq!(scenario.deserved(due, date(day)), level, "{day}");
        }
    }

    #[test]
    fn reminders_are_graduated_r7_3() {
        let scenario = Scenario::usual();
        let on = date("2026-06-30");
        // Imported 60 days late: it starts at 1, not 5.
        let late = claim("2026-05-01", 100_000);
        let reminder = judge(&scenario, &STANDING, &[late], on);
        assert_eq!(
            (reminder.level, reminder.verdicts[0].deserved),
            (Some(1), 5)
        );
        let again = Claim {
            last_level: 1,
            ..late
        };
        assert_eq!(judge(&scenario, &STANDING, &[again], on).level, Some(2));
        let recent = Standing {
            last_action_on: Some(date("2026-06-24")),
            ..STANDING
        };
        let reminder = judge(&scenario, &recent, &[again], on);
        assert_eq!(
            (reminder.level, reminder.exclusion),
            (None, Some(Exclusion::TooSoon))
        );
        let week_ago = Standing {
            last_action_on: Some(date("2026-06-23")),
            ..STANDING
        };
        assert_eq!(judge(&scenario, &week_ago, &[again], on).level, Some(2));
    }

    #[test]
    fn only_the_undisputed_part_is_chased_r7_4() {
        let scenario = Scenario::usual();
        let on = date("2026-04-30");
        let part = Claim {
            disputed: 150_000,
            ..claim("2026-03-16", 600_000)
        };
        assert_eq!(
            judge(&scenario, &STANDING, &[part], on).verdicts[0].claimed,
            450_000
        );
        let whole = Claim {
            disputed: 600_000,
            ..part
        };
        let reminder = judge(&scenario, &STANDING, &[whole], on);
        assert_eq!(reminder.verdicts[0].exclusion, Some(Exclusion::Disputed));
        assert_eq!(reminder.level, None);
    }

    #[test]
    fn no_formal_notice_on_a_disputed_amount_r7_7() {
        let scenario = Scenario::usual();
        let on = date("2026-12-31");
        let undisputed = Claim {
            last_level: 4,
            ..claim("2026-03-16", 600_000)
        };
        assert_eq!(
            judge(&scenario, &STANDING, &[undisputed], on).level,
            Some(5)
        );
        let disputed = Claim {
            disputed: 100,
            ..undisputed
        };
        assert_eq!(judge(&scenario, &STANDING, &[disputed], on).level, None);
    }

    #[test]
    fn a_courtesy_notice_goes_out_before_the_due_date() {
        let scenario = Scenario::usual();
        let soon = claim("2026-06-30", 60_000);
        let other = claim("2026-06-29", 60_000);
        let level =
            |claims: &[Claim], on: &str| judge(&scenario, &STANDING, claims, date(on)).level;
        // Together they are above 1,000.00; five days before, and once.
        assert_eq!(level(&[soon, other], "2026-06-24"), None);
        assert_eq!(level(&[soon, other], "2026-06-25"), Some(0));
        assert_eq!(level(&[soon], "2026-06-25"), None);
        let told = Claim {
            reminded: true,
            ..soon
        };
        assert_eq!(level(&[told, other], "2026-06-26"), None);
        // What is late comes first, and a notice claims nothing of it.
        let late = claim("2026-06-20", 60_000);
        assert_eq!(level(&[soon, other, late], "2026-06-26"), Some(1));
        let reminded = Claim {
            last_level: 1,
            reminded: true,
            ..late
        };
        let found = judge(
            &scenario,
            &STANDING,
            &[soon, other, reminded],
            date("2026-06-26"),
        );
        assert_eq!(found.level, Some(0));
        let claimed: Vec<Minor> = found.verdicts.iter().map(|it| it.claimed).collect();
        assert_eq!(claimed, [60_000, 60_000, 0]);
    }

    #[test]
    fn a_plan_a_case_and_a_threshold_hold_back() {
        let mut scenario = Scenario::usual();
        let late = claim("2026-05-01", 100_000);
        let on = date("2026-06-30");
        let planned = Claim {
            planned: true,
            ..late
        };
        let held = Claim {
            in_litigation: true,
            ..late
        };
        let why = |claim| judge(&scenario, &STANDING, &[claim], on).verdicts[0].exclusion;
        assert_eq!(why(planned), Some(Exclusion::Planned));
        assert_eq!(why(held), Some(Exclusion::Litigation));
        // A formal notice without a proof of delivery stays at level 4 (R7.7).
        let unproven = Claim {
            last_level: 4,
            proven: false,
            ..late
        };
        assert_eq!(judge(&scenario, &STANDING, &[unproven], on).level, None);
        assert_eq!(unproven.formal_faults(on), [FormalFault::Unproven]);
        scenario.levels[1].min_amount = 100_001;
        let first = Claim {
            last_level: 1,
            ..late
        };
        assert_eq!(judge(&scenario, &STANDING, &[first], on).level, None);
    }

    #[test]
    fn who_is_not_chased_r7_2() {
        let on = date("2026-06-30");
        let late = claim("2026-05-01", 100_000);
        let scenario = Scenario::usual();
        let insolvent = Standing {
            insolvent: true,
            ..STANDING
        };
        let covered = Standing {
            credits: 100_000,
            ..STANDING
        };
        let small = claim("2026-05-01", 499);
        let promised = Claim {
            promised: true,
            ..late
        };
        for (standing, claim, why) in [
            (insolvent, late, Exclusion::Insolvent),
            (covered, late, Exclusion::CreditBalance),
            (STANDING, small, Exclusion::BelowMinimum),
            (STANDING, promised, Exclusion::Promised),
            (STANDING, claim_of("2026-06-30"), Exclusion::NotLate),
            (STANDING, claim_of("2026-06-29"), Exclusion::NotYet),
        ] {
            let reminder = judge(&scenario, &standing, &[claim], on);
            assert_eq!(reminder.verdicts[0].exclusion, Some(why));
            assert_eq!(reminder.level, None, "{why:?}");
        }
        let group = Scenario::of_segment("GROUP_COMPANY");
        assert_eq!(
            judge(&group, &STANDING, &[late], on).exclusion,
            Some(Exclusion::NotChased)
        );
    }

    fn claim_of(due_on: &str) -> Claim {
        claim(due_on, 100_000)
    }

    #[test]
    fn one_message_for_the_client_at_its_highest_level_r7_1() {
        let scenario = Scenario::usual();
        let on = date("2026-06-30");
        let old = Claim {
            last_level: 3,
            ..claim("2026-05-10", 50_000)
        };
        let fresh = claim("2026-06-25", 20_000);
        let reminder = judge(&scenario, &STANDING, &[old, fresh], on);
        assert_eq!(reminder.level, Some(4));
        assert_eq!(
            reminder.verdicts.iter().map(|it| it.claimed).sum::<Minor>(),
            70_000
        );
    }

    #[test]
    fn segments_have_their_own_days_r7_8() {
        let days = |segment| -> Vec<u16> {
            Scenario::of_segment(segment)
                .levels
                .iter()
                .map(|level| level.day)
                .collect()
        };
        assert_eq!(days("SME"), [3, 10, 20, 35, 50, 65]);
        assert_eq!(days("LARGE_GROUP"), [13, 20, 30, 45, 60, 65]);
        assert_eq!(days("NEW_OR_RISKY"), [2, 5, 10, 15, 25, 33]);
        let public = Scenario::of_segment("PUBLIC");
        assert_eq!(
            public.level(4).map(|level| level.channel),
            Some(Channel::Letter)
        );
        assert_eq!(
            public.level(5).map(|level| level.channel),
            Some(Channel::RegisteredLetter)
        );
        for segment in [
            "SME",
            "LARGE_GROUP",
            "NEW_OR_RISKY",
            "PUBLIC",
            "CONSUMER",
            "GROUP_COMPANY",
        ] {
            assert_eq!(Scenario::of_segment(segment).fault(), None, "{segment}");
        }
    }

    proptest! {
        /// R7.3: a level is never skipped, and nothing beyond what is undisputed is claimed.
        #[test]
        fn no_level_is_skipped_r7_3(
            days in proptest::collection::vec((-20_i64..200, 0_i64..100_000, 0_i64..120_000, 0_u8..7, any::<bool>()), 1..8),
            credits in 0_i64..50_000,
        ) {
            let on = date("2026-06-30");
            let claims: Vec<Claim> = days.iter().map(|(late, residual, disputed, last_level, promised)| Claim {
                due_on: on - chrono::Duration::days(*late),
                residual: *residual,
                booked: (*residual, *residual),
                disputed: *disputed,
                last_level: *last_level,
                promised: *promised,
                planned: false,
                in_litigation: false,
                reminded: *last_level > 0,
                proven: !*promised,
            }).collect();
            let reminder = judge(&Scenario::usual(), &Standing { credits, ..STANDING }, &claims, on);
            for (claim, verdict) in claims.iter().zip(&reminder.verdicts) {
                prop_assert!(verdict.level <= claim.last_level + 1);
                prop_assert!(verdict.claimed >= 0 && verdict.claimed <= (claim.residual - claim.disputed).max(0));
                prop_assert!(verdict.exclusion.is_some() == (verdict.claimed == 0));
                prop_assert!(!verdict.courtesy || claim.due_on >= on);
            }
            if let Some(level) = reminder.level {
                prop_assert!(claims.iter().any(|claim| level <= claim.last_level + 1));
            }
        }
    }
}
