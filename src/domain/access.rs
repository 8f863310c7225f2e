//! Who may do what: one table of roles and actions, one table of API fields and their action.
//!
//! The matrix of section 12 of the domain rules. The schema, the documentation and the tests are
//! checked against these tables; a field that stands in none is refused to everybody.

use chrono::NaiveDate;

use super::approval::Granted;
use super::ids::{CompanyId, UserId};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The stable code, as the API shows it.
            pub fn code(self) -> &'static str {
                match self { $($name::$variant => $code),+ }
            }

            /// Reads a stable code.
            pub fn read(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// What a person is in a company.
    Role {
        /// Everything, set-up included.
        Admin = "ADMIN",
        /// Dirigeant: reads everything, approves.
        Director = "DIRECTOR",
        /// Credit manager: limits, terms, dunning, policies.
        CreditManager = "CREDIT_MANAGER",
        /// Comptable clients: documents, receipts, matching.
        ArAccountant = "AR_ACCOUNTANT",
        /// Commercial: the clients of the own portfolio, their disputes.
        Sales = "SALES",
        /// Expert-comptable or auditor: reads everything, changes nothing (R12.4).
        Auditor = "AUDITOR",
        /// BI tool: documents and aggregates without personal data (R12.4).
        BiReader = "BI_READER",
    }
}

codes! {
    /// Something a role may be allowed to do.
    Action {
        /// Read the company, oneself, code tables and legal rates.
        ReadCompany = "READ_COMPANY",
        /// Read clients, without their contacts.
        ReadClients = "READ_CLIENTS",
        /// Read the personal data of contacts.
        ReadContacts = "READ_CONTACTS",
        /// Read invoices, credit notes, payments, deductions, disputes and their allocations.
        ReadDocuments = "READ_DOCUMENTS",
        /// Read aged balances, statements and open items.
        ReadReports = "READ_REPORTS",
        /// Read provisions and their policies.
        ReadProvision = "READ_PROVISION",
        /// Read journal entries and the integrity check.
        ReadJournal = "READ_JOURNAL",
        /// Read the members of the company.
        ReadMembers = "READ_MEMBERS",
        /// Open and change clients and contacts.
        WriteClients = "WRITE_CLIENTS",
        /// Set payment terms, credit limits, insurance cover and insolvency.
        WriteCreditTerms = "WRITE_CREDIT_TERMS",
        /// Draft and issue invoices.
        IssueInvoices = "ISSUE_INVOICES",
        /// Issue credit notes.
        IssueCreditNotes = "ISSUE_CREDIT_NOTES",
        /// Record receipts, name their payer, record their return.
        RecordPayments = "RECORD_PAYMENTS",
        /// Match and un-match items.
        Match = "MATCH",
        /// Record customer deductions.
        RecordDeductions = "RECORD_DEDUCTIONS",
        /// Open disputes and write notes on them.
        OpenDisputes = "OPEN_DISPUTES",
        /// Settle disputes and deductions: the decision, the closing, or both.
        ResolveDisputes = "RESOLVE_DISPUTES",
        /// Decide whether the customer is right (R8.2).
        DecideDisputes = "DECIDE_DISPUTES",
        /// Close a decided dispute, with its credit note (R8.2).
        CloseDisputes = "CLOSE_DISPUTES",
        /// Set provision policies and individual estimates.
        WriteProvision = "WRITE_PROVISION",
        /// Record accounting operations: discounts, deposits, bills, remittances, factoring, accruals.
        RecordOperations = "RECORD_OPERATIONS",
        /// Claim late-payment penalties, or give them up.
        DecidePenalties = "DECIDE_PENALTIES",
        /// Propose doubtful transfers and losses.
        ProposeLosses = "PROPOSE_LOSSES",
        /// Approve or reject doubtful transfers and losses.
        DecideLosses = "DECIDE_LOSSES",
        /// Propose provision runs, and post approved ones.
        ProposeProvision = "PROPOSE_PROVISION",
        /// Approve, reject or cancel provision runs.
        DecideProvision = "DECIDE_PROVISION",
        /// Record reminders of the first levels, and promises to pay.
        Dun = "DUN",
        /// Record reminders from the registered letter on (R7.7).
        DunFirmly = "DUN_FIRMLY",
        /// Set dunning scenarios, and which clients have which.
        WriteDunning = "WRITE_DUNNING",
        /// Validate runs of reminders.
        ValidateDunning = "VALIDATE_DUNNING",
        /// Approve formal notices above the threshold of their level.
        ApproveFormalNotice = "APPROVE_FORMAL_NOTICE",
        /// Approve or reject what waits for a second person, as far as the rights below go.
        Approve = "APPROVE",
        /// Take one's own requests for approval back.
        WithdrawRequests = "WITHDRAW_REQUESTS",
        /// Approve credit notes, up to the director's threshold.
        ApproveCreditNotes = "APPROVE_CREDIT_NOTES",
        /// Approve credit notes above the director's threshold.
        ApproveLargeCreditNotes = "APPROVE_LARGE_CREDIT_NOTES",
        /// Approve credit limits above their threshold.
        ApproveCreditLimits = "APPROVE_CREDIT_LIMITS",
        /// Approve the accounts that clients pay from, as the second person.
        ApproveBankDetails = "APPROVE_BANK_DETAILS",
        /// Approve matchings as of a day long past.
        ApproveMatching = "APPROVE_MATCHING",
        /// Approve penalties given up above their threshold.
        ApproveWaivers = "APPROVE_WAIVERS",
        /// Attach files to clients, documents and disputes.
        AttachFiles = "ATTACH_FILES",
        /// Write calls, visits and notes about clients.
        WriteNotes = "WRITE_NOTES",
        /// Open litigation cases and lead them.
        Litigate = "LITIGATE",
        /// Take evidence files and the outbox.
        ReadEvidence = "READ_EVIDENCE",
        /// Close accounting periods, and take over provisions.
        ClosePeriods = "CLOSE_PERIODS",
        /// Import receivables, accounting files and bank statements.
        Import = "IMPORT",
        /// Export the FEC.
        ExportAccounting = "EXPORT_ACCOUNTING",
        /// Change the company's settings and code tables.
        ManageCompany = "MANAGE_COMPANY",
        /// Add members and change their roles.
        ManageMembers = "MANAGE_MEMBERS",
        /// Set up webhooks, and see what became of their messages.
        ManageIntegrations = "MANAGE_INTEGRATIONS",
        /// Read the audit trail and prove its chain.
        ReadAudit = "READ_AUDIT",
        /// Answer people about their personal data: the report of what is held, and erasing it.
        AnswerDataSubjects = "ANSWER_DATA_SUBJECTS",
    }
}

impl Role {
    /// Whether the role may do this: the matrix of section 12.
    pub fn may(self, action: Action) -> bool {
        use Role::{Admin, ArAccountant, Auditor, BiReader, CreditManager, Director, Sales};
        let allowed: &[Role] = match action {
            Action::ReadCompany
            | Action::ReadClients
            | Action::ReadDocuments
            | Action::ReadReports => Role::ALL,
            Action::ReadContacts => &[Admin, Director, CreditManager, ArAccountant, Sales, Auditor],
            Action::ReadProvision => &[
                Admin,
                Director,
                CreditManager,
                ArAccountant,
                Auditor,
                BiReader,
            ],
            Action::ReadJournal => &[Admin, Director, CreditManager, ArAccountant, Auditor],
            Action::ReadMembers => &[Admin, Director, CreditManager, ArAccountant, Auditor],
            Action::WriteClients => &[Admin, ArAccountant],
            Action::Dun => &[Admin, CreditManager, ArAccountant],
            Action::DunFirmly | Action::WriteDunning | Action::Litigate => &[Admin, CreditManager],
            Action::ValidateDunning => &[Admin, Director, CreditManager],
            Action::ApproveFormalNotice
            | Action::ApproveLargeCreditNotes
            | Action::ApproveCreditLimits
            | Action::ApproveWaivers => &[Admin, Director],
            Action::ApproveCreditNotes | Action::ApproveMatching => {
                &[Admin, Director, CreditManager]
            }
            // Accounting writes them and a second accountant may approve: management sees them masked.
            Action::ApproveBankDetails => &[Admin, ArAccountant],
            Action::Approve => &[Admin, Director, CreditManager, ArAccountant],
            Action::WithdrawRequests => &[Admin, CreditManager, ArAccountant],
            Action::AttachFiles | Action::WriteNotes => {
                &[Admin, CreditManager, ArAccountant, Sales]
            }
            Action::ReadEvidence => &[Admin, Director, CreditManager, ArAccountant, Auditor],
            Action::ReadAudit => &[Admin, Director, CreditManager, Auditor],
            Action::AnswerDataSubjects => &[Admin],
            Action::WriteCreditTerms => &[Admin, CreditManager],
            Action::IssueInvoices
            | Action::IssueCreditNotes
            | Action::RecordPayments
            | Action::Match
            | Action::RecordDeductions
            | Action::CloseDisputes
            | Action::ClosePeriods
            | Action::Import => &[Admin, ArAccountant],
            Action::OpenDisputes | Action::ResolveDisputes => &[Admin, ArAccountant, Sales],
            Action::DecideDisputes => &[Admin, Sales],
            Action::ExportAccounting => &[Admin, ArAccountant, Auditor],
            Action::WriteProvision => &[Admin, Director, CreditManager],
            Action::RecordOperations => &[Admin, ArAccountant],
            Action::DecidePenalties => &[Admin, CreditManager],
            Action::ProposeLosses | Action::ProposeProvision => {
                &[Admin, CreditManager, ArAccountant]
            }
            Action::DecideLosses | Action::DecideProvision => &[Admin, Director],
            Action::ManageCompany | Action::ManageMembers | Action::ManageIntegrations => &[Admin],
        };
        allowed.contains(&self)
    }

    /// What a service account may read when it is given what this role reads.
    pub fn read_scopes(self) -> Vec<Action> {
        Action::ALL
            .iter()
            .copied()
            .filter(|action| action.is_read() && action.may_be_scope() && self.may(*action))
            .collect()
    }
}

impl Action {
    /// Whether it only reads.
    pub fn is_read(self) -> bool {
        self.code().starts_with("READ_")
    }

    /// Whether a service account may have it as a scope (R12.5, last column of the matrix of section 12):
    /// it reads, takes in and records what happened elsewhere. What a person answers for it never does:
    /// approvals, decisions, credit, terms, closings and rights.
    pub fn may_be_scope(self) -> bool {
        match self {
            Action::ReadCompany
            | Action::ReadClients
            | Action::ReadContacts
            | Action::ReadDocuments
            | Action::ReadReports
            | Action::ReadProvision
            | Action::ReadJournal
            | Action::ReadMembers
            | Action::WriteClients
            | Action::IssueInvoices
            | Action::RecordPayments
            | Action::RecordDeductions
            | Action::OpenDisputes
            | Action::Import
            | Action::AttachFiles
            | Action::WriteNotes
            | Action::ReadEvidence
            | Action::ExportAccounting => true,
            Action::WriteCreditTerms
            | Action::IssueCreditNotes
            | Action::Match
            | Action::ResolveDisputes
            | Action::DecideDisputes
            | Action::CloseDisputes
            | Action::WriteProvision
            | Action::RecordOperations
            | Action::DecidePenalties
            | Action::ProposeLosses
            | Action::DecideLosses
            | Action::ProposeProvision
            | Action::DecideProvision
            | Action::Dun
            | Action::DunFirmly
            | Action::WriteDunning
            | Action::ValidateDunning
            | Action::ApproveFormalNotice
            | Action::Approve
            | Action::WithdrawRequests
            | Action::ApproveCreditNotes
            | Action::ApproveLargeCreditNotes
            | Action::ApproveCreditLimits
            | Action::ApproveBankDetails
            | Action::ApproveMatching
            | Action::ApproveWaivers
            | Action::Litigate
            | Action::ManageIntegrations
            | Action::ReadAudit
            | Action::AnswerDataSubjects
            | Action::ClosePeriods
            | Action::ManageCompany
            | Action::ManageMembers => false,
        }
    }
}

/// The action that each guarded field of the API asks for: `Type.field`.
pub const FIELDS: &[(&str, Action)] = &[
    ("Query.viewer", Action::ReadCompany),
    ("Query.company", Action::ReadCompany),
    ("Query.disputeReasons", Action::ReadCompany),
    ("Query.legalRates", Action::ReadCompany),
    ("Query.members", Action::ReadMembers),
    ("Query.serviceAccounts", Action::ReadMembers),
    ("Query.node", Action::ReadDocuments),
    ("Query.nodes", Action::ReadDocuments),
    ("Query.client", Action::ReadClients),
    ("Query.clients", Action::ReadClients),
    ("Client.contacts", Action::ReadContacts),
    ("Query.invoice", Action::ReadDocuments),
    ("Query.invoices", Action::ReadDocuments),
    ("Query.invoiceDrafts", Action::ReadDocuments),
    ("Query.creditNote", Action::ReadDocuments),
    ("Query.creditNotes", Action::ReadDocuments),
    ("Query.payment", Action::ReadDocuments),
    ("Query.payments", Action::ReadDocuments),
    ("Query.deduction", Action::ReadDocuments),
    ("Query.deductions", Action::ReadDocuments),
    ("Query.dispute", Action::ReadDocuments),
    ("Query.disputes", Action::ReadDocuments),
    ("Query.openItems", Action::ReadReports),
    ("Query.matchingProposals", Action::ReadDocuments),
    ("Query.agedBalance", Action::ReadReports),
    ("Query.dunningPreview", Action::ReadReports),
    ("Query.dunningActions", Action::ReadReports),
    ("Query.dunningScenarios", Action::ReadReports),
    ("Query.promises", Action::ReadReports),
    ("Query.dunningRuns", Action::ReadReports),
    ("Query.dunningRun", Action::ReadReports),
    ("Query.letterTemplates", Action::ReadReports),
    ("Query.letterPreview", Action::ReadEvidence),
    ("Query.outbox", Action::ReadEvidence),
    ("Query.worklist", Action::ReadReports),
    ("Query.collectionNotes", Action::ReadContacts),
    ("Query.paymentPlans", Action::ReadReports),
    ("Query.litigationCases", Action::ReadReports),
    ("Query.deadlines", Action::ReadReports),
    ("Query.disputeStatistics", Action::ReadReports),
    ("Client.reliability", Action::ReadReports),
    ("Client.files", Action::ReadContacts),
    ("Query.changes", Action::ReadReports),
    ("Subscription.changes", Action::ReadReports),
    ("Query.webhooks", Action::ManageIntegrations),
    ("Query.webhookDeliveries", Action::ManageIntegrations),
    ("Query.doubtfulDebtProvision", Action::ReadProvision),
    ("Query.provisionPolicies", Action::ReadProvision),
    ("Query.provisionAssessments", Action::ReadProvision),
    ("Query.journalEntries", Action::ReadJournal),
    ("Query.integrityCheck", Action::ReadJournal),
    ("Query.chartOfAccounts", Action::ReadJournal),
    ("Query.journals", Action::ReadJournal),
    ("Query.trialBalance", Action::ReadJournal),
    ("Query.generalLedger", Action::ReadJournal),
    ("Query.financialYears", Action::ReadJournal),
    ("Query.operation", Action::ReadJournal),
    ("Query.operations", Action::ReadJournal),
    ("Query.remittance", Action::ReadJournal),
    ("Query.remittances", Action::ReadJournal),
    ("Query.bankAccounts", Action::ReadJournal),
    ("Query.bankStatements", Action::ReadJournal),
    ("Query.bankLine", Action::ReadJournal),
    ("Query.bankLines", Action::ReadJournal),
    ("Query.tasks", Action::ReadJournal),
    ("Client.payerAccounts", Action::RecordPayments),
    ("Query.doubtfulFile", Action::ReadJournal),
    ("Query.doubtfulFiles", Action::ReadJournal),
    ("Query.rectifiedInvoices", Action::ReadJournal),
    ("Query.vatOnBadDebts", Action::ReadJournal),
    ("Query.latePenalties", Action::ReadReports),
    ("Query.provisionRun", Action::ReadJournal),
    ("Query.provisionRuns", Action::ReadJournal),
    ("Query.provisionMovements", Action::ReadJournal),
    ("Query.approval", Action::ReadJournal),
    ("Query.approvals", Action::ReadJournal),
    ("Query.approvalRules", Action::ReadJournal),
    ("Invoice.entries", Action::ReadJournal),
    ("CreditNote.entries", Action::ReadJournal),
    ("Payment.entries", Action::ReadJournal),
    ("Deduction.entries", Action::ReadJournal),
    ("Query.auditTrail", Action::ReadAudit),
    ("Query.verifyAuditTrail", Action::ReadAudit),
    ("Query.retentionRules", Action::ReadCompany),
    ("Query.personalData", Action::AnswerDataSubjects),
    ("Query.erasures", Action::ReadAudit),
    ("Mutation.createClient", Action::WriteClients),
    ("Mutation.createClients", Action::WriteClients),
    ("Mutation.updateClient", Action::WriteClients),
    ("Mutation.setCreditTerms", Action::WriteCreditTerms),
    ("Mutation.closeClient", Action::WriteClients),
    ("Mutation.eraseContact", Action::AnswerDataSubjects),
    ("Mutation.eraseClient", Action::AnswerDataSubjects),
    ("Mutation.eraseMember", Action::AnswerDataSubjects),
    ("Mutation.addContact", Action::WriteClients),
    ("Mutation.removeContact", Action::WriteClients),
    ("Mutation.saveInvoiceDraft", Action::IssueInvoices),
    ("Mutation.deleteInvoiceDraft", Action::IssueInvoices),
    ("Mutation.issueInvoice", Action::IssueInvoices),
    ("Mutation.issueInvoices", Action::IssueInvoices),
    ("Mutation.issueCreditNote", Action::IssueCreditNotes),
    ("Mutation.issueCreditNotes", Action::IssueCreditNotes),
    ("Mutation.recordPayment", Action::RecordPayments),
    ("Mutation.recordPayments", Action::RecordPayments),
    ("Mutation.identifyPayment", Action::RecordPayments),
    ("Mutation.returnPayment", Action::RecordPayments),
    ("Mutation.reversePayment", Action::RecordPayments),
    ("Mutation.allocate", Action::Match),
    ("Mutation.unallocate", Action::Match),
    ("Mutation.autoAllocate", Action::Match),
    ("Mutation.openDispute", Action::OpenDisputes),
    ("Mutation.updateDispute", Action::OpenDisputes),
    ("Mutation.addDisputeNote", Action::OpenDisputes),
    ("Mutation.resolveDispute", Action::ResolveDisputes),
    ("Mutation.recordDeduction", Action::RecordDeductions),
    ("Mutation.resolveDeduction", Action::ResolveDisputes),
    ("Mutation.saveProvisionPolicy", Action::WriteProvision),
    ("Mutation.assessClaim", Action::WriteProvision),
    ("Mutation.recordOpeningProvision", Action::ClosePeriods),
    ("Mutation.grantDiscount", Action::RecordOperations),
    ("Mutation.settleDifference", Action::RecordOperations),
    ("Mutation.useDeposit", Action::RecordOperations),
    ("Mutation.transferCredit", Action::RecordOperations),
    ("Mutation.accrue", Action::RecordOperations),
    ("Mutation.assignInvoice", Action::RecordOperations),
    ("Mutation.settleAssignment", Action::RecordOperations),
    ("Mutation.releaseRetention", Action::RecordOperations),
    ("Mutation.recordDivertedPayment", Action::RecordOperations),
    ("Mutation.recordRecourse", Action::RecordOperations),
    ("Mutation.recordRecovery", Action::RecordOperations),
    ("Mutation.recordBillMaturities", Action::RecordOperations),
    ("Mutation.reverseOperation", Action::RecordOperations),
    ("Mutation.handIn", Action::RecordOperations),
    ("Mutation.creditRemittance", Action::RecordOperations),
    ("Mutation.saveBankAccount", Action::ManageCompany),
    ("Mutation.acceptBankProposal", Action::RecordPayments),
    ("Mutation.rejectBankProposal", Action::RecordPayments),
    ("Mutation.assignBankLine", Action::RecordPayments),
    ("Mutation.assignBankReturn", Action::RecordPayments),
    ("Mutation.reconcileBankLine", Action::RecordPayments),
    ("Mutation.undoBankMatch", Action::RecordPayments),
    ("Mutation.saveDunningScenario", Action::WriteDunning),
    ("Mutation.setDunningScenario", Action::WriteDunning),
    ("Mutation.recordDunningAction", Action::Dun),
    ("Mutation.recordPromise", Action::Dun),
    ("Mutation.cancelPromise", Action::Dun),
    ("Mutation.proposeDunningRun", Action::Dun),
    ("Mutation.reviewDunningRun", Action::Dun),
    ("Mutation.validateDunningRun", Action::ValidateDunning),
    ("Mutation.sendDunningRun", Action::Dun),
    ("Mutation.cancelDunningRun", Action::Dun),
    ("Mutation.recordLetterProof", Action::Dun),
    ("Mutation.saveLetterTemplate", Action::WriteDunning),
    ("Mutation.retryMail", Action::Dun),
    ("Mutation.cancelMail", Action::Dun),
    ("Mutation.recordBounce", Action::Dun),
    ("Mutation.recordCollectionNote", Action::WriteNotes),
    ("Mutation.recordPaymentPlan", Action::Dun),
    ("Mutation.cancelPaymentPlan", Action::Dun),
    ("Mutation.openLitigationCase", Action::Litigate),
    ("Mutation.advanceLitigationCase", Action::Litigate),
    ("Mutation.recordDebtAcknowledgment", Action::Litigate),
    ("Mutation.reopenDispute", Action::OpenDisputes),
    ("Mutation.linkPayerAccount", Action::RecordPayments),
    ("Mutation.unlinkPayerAccount", Action::RecordPayments),
    ("Mutation.completeTask", Action::Dun),
    ("Mutation.claimPenalties", Action::DecidePenalties),
    ("Mutation.waivePenalties", Action::DecidePenalties),
    ("Mutation.proposeDoubtful", Action::ProposeLosses),
    ("Mutation.proposeWriteOff", Action::ProposeLosses),
    ("Mutation.decideDoubtfulFile", Action::DecideLosses),
    ("Mutation.proposeProvisionRun", Action::ProposeProvision),
    ("Mutation.postProvisionRun", Action::ProposeProvision),
    ("Mutation.decideProvisionRun", Action::DecideProvision),
    ("Mutation.cancelProvisionRun", Action::DecideProvision),
    ("Mutation.approveRequest", Action::Approve),
    ("Mutation.rejectRequest", Action::Approve),
    ("Mutation.withdrawRequest", Action::WithdrawRequests),
    ("Mutation.saveAccount", Action::ManageCompany),
    ("Mutation.saveJournal", Action::ManageCompany),
    ("Mutation.closeYear", Action::ClosePeriods),
    ("Mutation.closePeriod", Action::ClosePeriods),
    ("Mutation.reopenPeriod", Action::ManageCompany),
    ("Mutation.saveDisputeReason", Action::ManageCompany),
    ("Mutation.updateCompany", Action::ManageCompany),
    ("Mutation.saveMember", Action::ManageMembers),
    ("Mutation.removeMember", Action::ManageMembers),
    ("Mutation.createWebhook", Action::ManageIntegrations),
    ("Mutation.updateWebhook", Action::ManageIntegrations),
    ("Mutation.deleteWebhook", Action::ManageIntegrations),
    ("Mutation.replayWebhook", Action::ManageIntegrations),
    ("Mutation.testWebhook", Action::ManageIntegrations),
    ("Mutation.inviteMember", Action::ManageMembers),
    ("Mutation.revokeInvitation", Action::ManageMembers),
    ("Mutation.createServiceAccount", Action::ManageMembers),
    ("Mutation.rotateServiceAccount", Action::ManageMembers),
    ("Mutation.revokeServiceAccount", Action::ManageMembers),
];

/// The action that a field asks for; `None` when the table does not know the field.
pub fn action_of(field: &str) -> Option<Action> {
    FIELDS
        .iter()
        .find(|(name, _)| *name == field)
        .map(|(_, action)| *action)
}

/// The author of a token without a person.
pub const SCRIPT: &str = "script";

/// Who asks, for which company, as what, on which day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The company: never an argument of the API, always the token's.
    pub company: CompanyId,
    /// The person; none for a token made for a script.
    pub user: Option<UserId>,
    /// Who stands in the books as the author.
    pub author: String,
    /// What the caller is in the company. Without meaning beside scopes.
    pub role: Role,
    /// What a service account may do, instead of a role; none for everybody else.
    pub scopes: Option<Vec<Action>>,
    /// Today in the company's time zone (R0.4).
    pub today: NaiveDate,
    /// What a second person approved, while it is being done; none for every request that comes in.
    pub approval: Option<Granted>,
}

impl Caller {
    /// Whether the caller may do this: by the scopes of a service account, else by the role.
    pub fn may(&self, action: Action) -> bool {
        match &self.scopes {
            Some(scopes) => scopes.contains(&action),
            None => self.role.may(action),
        }
    }

    /// What the caller may do, in the table's order: what a front-end shows or hides.
    pub fn permissions(&self) -> Vec<Action> {
        Action::ALL
            .iter()
            .copied()
            .filter(|action| self.may(*action))
            .collect()
    }

    /// Whether it is a person: neither a service account nor a token made for a script (R12.5).
    pub fn is_person(&self) -> bool {
        !self.is_service() && self.author != SCRIPT
    }

    /// Whether a service account asks (R12.5).
    pub fn is_service(&self) -> bool {
        self.scopes.is_some()
    }

    /// The portfolio that bounds what the caller sees (R12.3): `Some` for sales people.
    ///
    /// A sales token without a person has an empty portfolio: it sees no client at all.
    pub fn portfolio(&self) -> Option<UserId> {
        match self.role {
            Role::Sales => Some(self.user.unwrap_or(UserId(uuid::Uuid::nil()))),
            Role::Admin
            | Role::Director
            | Role::CreditManager
            | Role::ArAccountant
            | Role::Auditor
            | Role::BiReader => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auditors_and_bi_readers_change_nothing_r12_4() {
        for (field, action) in FIELDS
            .iter()
            .filter(|(field, _)| field.starts_with("Mutation."))
        {
            assert!(!Role::Auditor.may(*action), "{field}");
            assert!(!Role::BiReader.may(*action), "{field}");
            assert!(Role::Admin.may(*action), "{field}");
        }
        assert!(!Role::BiReader.may(Action::ReadContacts));
    }

    #[test]
    fn sales_never_credits_nor_sets_terms_r12_3() {
        for action in [
            Action::IssueCreditNotes,
            Action::WriteCreditTerms,
            Action::RecordPayments,
            Action::ReadProvision,
        ] {
            assert!(!Role::Sales.may(action), "{action:?}");
        }
        assert!(Role::Sales.may(Action::DecideDisputes));
    }

    #[test]
    fn a_service_account_has_its_scopes_and_never_approves_r12_5() {
        let mut caller = Caller {
            company: CompanyId(uuid::Uuid::nil()),
            user: None,
            author: "shop".into(),
            role: Role::Admin,
            scopes: Some(vec![Action::RecordPayments]),
            today: NaiveDate::default(),
            approval: None,
        };
        assert!(caller.is_service() && caller.may(Action::RecordPayments));
        assert!(!caller.may(Action::ReadCompany));
        assert_eq!(caller.permissions(), [Action::RecordPayments]);
        caller.scopes = None;
        assert!(caller.may(Action::ReadCompany));
        for (name, action) in FIELDS {
            let approves = [
                "approve",
                "withdraw",
                "decide",
                "cancel",
                "close",
                "resolve",
                "waive",
                "saveMember",
            ]
            .iter()
            .any(|verb| name.starts_with(&format!("Mutation.{verb}")));
            // A client without open items is closed, a promise taken back: nobody approves those.
            let harmless = ["Mutation.closeClient", "Mutation.cancelPromise"].contains(name);
            assert!(!approves || harmless || !action.may_be_scope(), "{name}");
        }
        assert_eq!(
            Role::BiReader.read_scopes(),
            [
                Action::ReadCompany,
                Action::ReadClients,
                Action::ReadDocuments,
                Action::ReadReports,
                Action::ReadProvision,
            ]
        );
    }

    #[test]
    fn a_field_stands_once_in_the_table() {
        for (position, (field, _)) in FIELDS.iter().enumerate() {
            assert!(
                FIELDS[position + 1..]
                    .iter()
                    .all(|(other, _)| other != field),
                "{field}"
            );
        }
    }
}
