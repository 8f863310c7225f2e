//! A company's settings: every house rule that it may change, with its default.

use serde::{Deserialize, Serialize};

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
    /// The account map: numbers of the French chart (PCG), as section 1.2 of the domain rules has them.
    Accounts {
        /// Clients.
        receivable = "411000",
        /// Clients, effets à recevoir.
        bills = "413000",
        /// Revenue of invoice lines that name no account.
        revenue = "706000",
        /// Rebates granted after the invoice (R2.9).
        rebate = "709700",
        /// TVA collectée.
        vat = "445710",
        /// Banques.
        bank = "512000",
        /// Caisse.
        cash = "530000",
        /// Chèques à encaisser.
        cheques = "511200",
        /// Comptes d'attente: receipts whose payer is unknown.
        suspense = "471000",
        /// Services bancaires: fees of returned payments.
        bank_fees = "627000",
        /// TVA déductible on bank fees.
        deductible_vat = "445660",
        /// Dépréciations des comptes de clients.
        provision = "491000",
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
    }
}

/// The journals every company starts with: code and label.
pub const JOURNALS: &[(&str, &str)] = &[
    ("VE", "Ventes"),
    ("BQ", "Banque"),
    ("OD", "Opérations diverses"),
    ("AN", "À-nouveaux"),
];
