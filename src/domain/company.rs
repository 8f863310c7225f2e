//! A company's settings: every house rule that it may change, with its default.

use serde::{Deserialize, Serialize};

use super::access::codes;
use super::approval::Rules;

codes! {
    /// When the VAT of a sale falls due (exigibilité, R2.4).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    VatDue {
        /// With the invoice (option pour les débits): goods, and services by option.
        Debits = "DEBITS",
        /// As it is paid (encaissements): services.
        Receipts = "RECEIPTS",
    }
}

/// Settings of a company. Missing ones take their default; unknown ones are refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Largest difference, in minor units of its currency, that is not worth a dispute (R2.12).
    pub tolerance: i64,
    /// Penalty wording on invoices (R6.14); empty means it is missing.
    pub penalty_mention: String,
    /// Wording of the flat recovery indemnity (R6.14).
    pub indemnity_mention: String,
    /// Wording of the early-payment discount, "néant" when there is none (R6.14).
    pub discount_mention: String,
    /// Days to answer a dispute (R8.4).
    pub dispute_days: u16,
    /// When VAT of invoices falls due that do not say: `DEBITS` or `RECEIPTS` (R2.4).
    pub vat_due: VatDue,
    /// Bills handed to the bank pass through 5113 or 5114 (R1.1); off, 413 is credited by the bank directly.
    pub bills_through_bank: bool,
    /// VAT rate of bank fees, in percent.
    pub bank_fee_vat_rate: rust_decimal::Decimal,
    /// Whether lower-case (partial) letters stand in the FEC (R10.7: they are left out).
    pub fec_partial_letters: bool,
    /// Whether the company carries goods: its claims are prescribed after a year (C. com. L133-6, R7.11).
    pub goods_carriage: bool,
    /// Whether the server proposes and sends the reminders of automatic levels by itself.
    pub automatic_dunning: bool,
    /// Whether runs are sent on days without work too (R7.5).
    pub dunning_any_day: bool,
    /// Whether the server erases personal data that has outlived its retention (`retentionRules`).
    pub retention_purge: bool,
    /// Days ahead that a promise to pay may be for.
    pub promise_days: u16,
    /// What needs a second person while duties are segregated (section 12).
    pub approvals: Rules,
    /// What letters say of the company beside its name, address and SIREN.
    pub letterhead: Letterhead,
    /// The accounts that events are posted to.
    pub accounts: Accounts,
    /// The prefixes of the company's own number series.
    pub series: Series,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tolerance: 100,
            penalty_mention: "Pénalités de retard : taux de refinancement de la BCE majoré de 10 points (C. com. L441-10 II)".into(),
            indemnity_mention: "Indemnité forfaitaire pour frais de recouvrement : 40 € (C. com. D441-5)".into(),
            discount_mention: "Escompte pour paiement anticipé : néant".into(),
            dispute_days: 15,
            vat_due: VatDue::Debits,
            bills_through_bank: true,
            bank_fee_vat_rate: rust_decimal::Decimal::from(20),
            fec_partial_letters: false,
            goods_carriage: false,
            automatic_dunning: false,
            dunning_any_day: false,
            retention_purge: false,
            promise_days: 90,
            approvals: Rules::default(),
            letterhead: Letterhead::default(),
            accounts: Accounts::default(),
            series: Series::default(),
        }
    }
}

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident = $default:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: String),+ }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default.into()),+ }
            }
        }
    };
}

texts! {
    /// What letters and mails say of the company (7.3).
    Letterhead {
        /// Legal form and capital: "SAS au capital de 100 000 €".
        legal_form = "",
        /// Registration: "RCS Lyon 123 456 782".
        registration = "",
        /// The place that letters are dated from.
        city = "",
        /// Telephone number for clients.
        phone = "",
        /// Address that mails come from, and are answered to.
        email = "",
        /// Who signs.
        signatory = "",
        /// In which capacity.
        signatory_title = "",
    }
}

texts! {
    /// The account map: numbers of the French chart (PCG), as section 1.2 of the domain rules has them.
    Accounts {
        /// Clients.
        receivable = "411000",
        /// Clients, effets à recevoir.
        bills = "413000",
        /// Clients douteux ou litigieux.
        doubtful = "416000",
        /// Clients, produits à recevoir: invoices to be issued at a closing.
        accrued_income = "418100",
        /// Avances et acomptes reçus sur commandes.
        deposits = "419100",
        /// Avoirs à établir: credit notes to be issued at a closing.
        accrued_credit_notes = "419800",
        /// Revenue of invoice lines that name no account.
        revenue = "706000",
        /// Rebates granted after the invoice (R2.9).
        rebate = "709700",
        /// TVA collectée.
        vat = "445710",
        /// TVA en attente: due when the invoice is paid (R2.4).
        pending_vat = "445800",
        /// TVA sur factures à établir.
        accrued_vat = "445870",
        /// Banques.
        bank = "512000",
        /// Caisse.
        cash = "530000",
        /// Chèques à encaisser.
        cheques = "511200",
        /// Effets à l'encaissement.
        bills_for_collection = "511300",
        /// Effets à l'escompte.
        bills_for_discount = "511400",
        /// Créances escomptées non échues, off the balance sheet.
        discounted_bills = "802400",
        /// Effets circulant sous l'endos de l'entité, its counterpart.
        endorsed_bills = "801400",
        /// Comptes d'attente: receipts whose payer is unknown.
        suspense = "471000",
        /// The factor (affactureur).
        factor = "467100",
        /// The factor's guarantee fund (retenue de garantie).
        factor_retention = "467200",
        /// Services bancaires: fees of returned payments and bills.
        bank_fees = "627000",
        /// TVA déductible on bank fees.
        deductible_vat = "445660",
        /// Rémunérations d'affacturage.
        factoring_fees = "622500",
        /// Intérêts bancaires: discounted bills, factor's financing.
        discount_interest = "661600",
        /// Escomptes accordés.
        granted_discount = "665000",
        /// Pertes de change sur créances.
        exchange_loss = "656000",
        /// Gains de change sur créances.
        exchange_gain = "756000",
        /// Small differences at our expense.
        small_loss = "658000",
        /// Small differences in our favour.
        small_gain = "758000",
        /// Late-payment interest (R2.18).
        penalties = "763100",
        /// Flat recovery indemnity (R2.18).
        indemnities = "758100",
        /// Pertes sur créances irrécouvrables of the year's claims.
        loss_current = "654100",
        /// Pertes sur créances irrécouvrables of earlier years' claims.
        loss_prior = "654400",
        /// Rentrées sur créances amorties.
        recovery = "758300",
        /// Dépréciations des comptes de clients.
        provision = "491000",
        /// Dotations pour dépréciations des créances.
        provision_charge = "681740",
        /// Reprises sur dépréciations des créances.
        provision_release = "781740",
        /// Profit of a closed year, carried forward.
        profit = "120000",
        /// Loss of a closed year, carried forward.
        loss = "129000",
        /// Bilan d'ouverture: the counterpart of what was there before.
        opening = "890000",
    }
}

texts! {
    /// Prefixes of number series: `FA` numbers invoices FA-2026-000001, FA-2026-000002, …
    Series {
        /// Invoices.
        invoices = "FA",
        /// Credit notes.
        credit_notes = "AV",
        /// Receipts.
        payments = "RG",
        /// Deductions.
        deductions = "DED",
        /// Disputes.
        disputes = "LIT",
        /// Operations of the miscellaneous journal: discounts, differences, transfers, losses.
        operations = "OD",
        /// Late-payment claims (R2.19).
        penalties = "PEN",
        /// Remittance slips.
        remittances = "BR",
        /// Files of doubtful debts and losses.
        doubtful_files = "DOU",
        /// Rectified invoices that recover the VAT of a loss.
        rectified_invoices = "FR",
        /// Provision runs.
        provision_runs = "DEP",
        /// Litigation cases.
        cases = "CTX",
    }
}

/// The journals every company starts with: code and label.
pub const JOURNALS: &[(&str, &str)] = &[
    ("VE", "Ventes"),
    ("BQ", "Banque"),
    ("OD", "Opérations diverses"),
    ("AN", "À-nouveaux"),
];
