//! What a person may be asked to look at.

use super::access::codes;

codes! {
    /// What a task is about.
    TaskKind {
        /// A receipt on 471: who paid?
        UnknownReceipt = "UNKNOWN_RECEIPT",
        /// A match that is proposed.
        BankProposal = "BANK_PROPOSAL",
        /// Money that went back: which receipt?
        UnmatchedReturn = "UNMATCHED_RETURN",
        /// A client to call (a level of dunning that is a call).
        Call = "CALL",
        /// A file to hand over: the next level is pre-litigation.
        FileTransfer = "FILE_TRANSFER",
        /// A letter that could not be made, such as for a legal rate that is not known yet.
        LetterNotMade = "LETTER_NOT_MADE",
        /// A letter to print and post.
        PostLetter = "POST_LETTER",
        /// A registered letter to deposit; the slip is recorded (R7.9).
        RegisteredLetter = "REGISTERED_LETTER",
        /// No acknowledgment came back 15 days after the deposit (R7.9).
        AcknowledgmentMissing = "ACKNOWLEDGMENT_MISSING",
        /// A client without an address for mail.
        MissingAddress = "MISSING_ADDRESS",
        /// A mail that came back, or that the server would not take.
        BouncedMail = "BOUNCED_MAIL",
        /// A promise to pay that was not kept.
        BrokenPromise = "BROKEN_PROMISE",
        /// A payment plan that was not kept: the whole is due.
        BrokenPlan = "BROKEN_PLAN",
        /// A dispute that waits for its answer (R8.4).
        DisputeReminder = "DISPUTE_REMINDER",
        /// A dispute whose deadline has passed (R8.4).
        DisputeOverdue = "DISPUTE_OVERDUE",
        /// A run of reminders that a person has to validate.
        RunToValidate = "RUN_TO_VALIDATE",
        /// A claim to declare in insolvency proceedings (R7.10).
        ProofOfClaim = "PROOF_OF_CLAIM",
        /// A claim that will soon be prescribed (R7.11).
        Prescription = "PRESCRIPTION",
        /// A payment order to serve before it is void.
        ServeOrder = "SERVE_ORDER",
    }
}
