//! The tables as the migrations leave them. `receivable_ledger.xid` is left out: only Postgres reads it.

diesel::table! {
    allocations (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        debit_item_id -> Uuid,
        credit_item_id -> Uuid,
        amount -> BigInt,
        currency -> Bpchar,
        allocated_on -> Date,
        effective_on -> Date,
        rule -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        ended_on -> Nullable<Date>,
        ended_at -> Nullable<Timestamptz>,
        ended_by -> Nullable<Text>,
    }
}

diesel::table! {
    client_contacts (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        role -> Text,
        name -> Text,
        email -> Nullable<Text>,
        phone -> Nullable<Text>,
        removed_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    clients (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        external_ref -> Nullable<Text>,
        name -> Text,
        kind -> Text,
        segment -> Text,
        siren -> Nullable<Text>,
        siret -> Nullable<Text>,
        vat_number -> Nullable<Text>,
        address -> Nullable<Text>,
        currency -> Bpchar,
        terms_rule -> Text,
        terms_days -> SmallInt,
        terms_then_day -> Nullable<SmallInt>,
        sales_owner_id -> Nullable<Uuid>,
        collector_id -> Nullable<Uuid>,
        insolvency -> Text,
        insolvency_on -> Nullable<Date>,
        insured_percent -> Numeric,
        insured_limit -> Nullable<BigInt>,
        credit_limit -> Nullable<BigInt>,
        created_at -> Timestamptz,
        created_by -> Text,
        closed_on -> Nullable<Date>,
        version -> Integer,
    }
}

diesel::table! {
    companies (company_id) {
        company_id -> Uuid,
        name -> Text,
        siren -> Nullable<Text>,
        vat_number -> Nullable<Text>,
        address -> Nullable<Text>,
        currency -> Bpchar,
        fiscal_year_start_month -> SmallInt,
        segregation -> Bool,
        settings -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    counters (company_id, series, fiscal_year) {
        company_id -> Uuid,
        series -> Text,
        fiscal_year -> Integer,
        last_number -> BigInt,
        last_on -> Nullable<Date>,
    }
}

diesel::table! {
    currencies (code) {
        code -> Bpchar,
        exponent -> SmallInt,
        name -> Text,
    }
}

diesel::table! {
    deductions (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        client_id -> Uuid,
        invoice_id -> Uuid,
        amount -> BigInt,
        currency -> Bpchar,
        reason -> Text,
        description -> Text,
        recorded_on -> Date,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        status -> Text,
    }
}

diesel::table! {
    dispute_events (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        dispute_id -> Uuid,
        kind -> Text,
        status -> Nullable<Text>,
        note -> Text,
        happened_on -> Date,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    dispute_items (company_id, dispute_id, item_id) {
        company_id -> Uuid,
        dispute_id -> Uuid,
        item_id -> Uuid,
        amount -> BigInt,
    }
}

diesel::table! {
    dispute_reasons (company_id, code) {
        company_id -> Uuid,
        code -> Text,
        label -> Text,
        label_en -> Text,
        kind -> Text,
        blocks_dunning -> Bool,
        department -> Text,
        active -> Bool,
    }
}

diesel::table! {
    disputes (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        client_id -> Uuid,
        invoice_id -> Uuid,
        deduction_id -> Nullable<Uuid>,
        kind -> Text,
        reason -> Text,
        amount -> BigInt,
        currency -> Bpchar,
        description -> Text,
        blocks_dunning -> Bool,
        owner_id -> Nullable<Uuid>,
        department -> Text,
        opened_on -> Date,
        respond_by -> Date,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        status -> Text,
        outcome -> Nullable<Text>,
        decided_by -> Nullable<Text>,
        accepted_amount -> Nullable<BigInt>,
        credit_note_id -> Nullable<Uuid>,
        closed_on -> Nullable<Date>,
        closed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    document_lines (company_id, document_id, line) {
        company_id -> Uuid,
        document_id -> Uuid,
        line -> SmallInt,
        description -> Text,
        quantity -> Numeric,
        unit_price -> Numeric,
        discount_percent -> Numeric,
        vat_rate -> Numeric,
        net -> BigInt,
        account -> Text,
    }
}

diesel::table! {
    document_taxes (company_id, document_id, vat_rate) {
        company_id -> Uuid,
        document_id -> Uuid,
        vat_rate -> Numeric,
        net -> BigInt,
        vat -> BigInt,
    }
}

diesel::table! {
    documents (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        number -> Text,
        external_ref -> Nullable<Text>,
        external_series -> Bool,
        client_id -> Uuid,
        issued_on -> Date,
        due_on -> Nullable<Date>,
        currency -> Bpchar,
        net -> BigInt,
        vat -> BigInt,
        total -> BigInt,
        exchange_rate -> Numeric,
        invoice_id -> Nullable<Uuid>,
        period_from -> Nullable<Date>,
        period_to -> Nullable<Date>,
        purchase_order -> Nullable<Text>,
        snapshot -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    idempotency (company_id, key) {
        company_id -> Uuid,
        key -> Text,
        operation -> Text,
        request_hash -> Text,
        outcome -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_answers (company_id, key, selection_hash) {
        company_id -> Uuid,
        key -> Text,
        selection_hash -> Text,
        answer -> Text,
    }
}

diesel::table! {
    imports (company_id, file_hash, kind) {
        company_id -> Uuid,
        file_hash -> Text,
        kind -> Text,
        rows_done -> BigInt,
        rows_refused -> BigInt,
        started_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        started_by -> Text,
    }
}

diesel::table! {
    invoice_drafts (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        content -> Jsonb,
        updated_at -> Timestamptz,
        updated_by -> Text,
    }
}

diesel::table! {
    items (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        family -> Bpchar,
        kind -> Text,
        is_debit -> Bool,
        reference -> Text,
        source_id -> Uuid,
        invoice_id -> Nullable<Uuid>,
        entry_id -> Uuid,
        entry_line -> SmallInt,
        posted_on -> Date,
        invoiced_on -> Date,
        due_on -> Nullable<Date>,
        amount -> BigInt,
        currency -> Bpchar,
        document_net -> BigInt,
        document_total -> BigInt,
        recorded_at -> Timestamptz,
        open_amount -> BigInt,
        settled_on -> Nullable<Date>,
        changed_at -> Timestamptz,
        matching_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    journal_entries (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        journal -> Text,
        fiscal_year -> Integer,
        number -> BigInt,
        posted_on -> Date,
        occurred_on -> Date,
        reference -> Text,
        label -> Text,
        source_kind -> Text,
        source_id -> Uuid,
        reversal_of -> Nullable<Uuid>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    journal_lines (company_id, entry_id, line) {
        company_id -> Uuid,
        entry_id -> Uuid,
        line -> SmallInt,
        account -> Text,
        client_id -> Nullable<Uuid>,
        debit -> BigInt,
        credit -> BigInt,
        currency -> Bpchar,
        base_debit -> BigInt,
        base_credit -> BigInt,
        posted_on -> Date,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    journals (company_id, code) {
        company_id -> Uuid,
        code -> Text,
        label -> Text,
    }
}

diesel::table! {
    legal_rates (kind, valid_from) {
        kind -> Text,
        valid_from -> Date,
        valid_to -> Nullable<Date>,
        value -> Numeric,
        unit -> Text,
        source -> Text,
    }
}

diesel::table! {
    letter_counters (company_id, client_id, family) {
        company_id -> Uuid,
        client_id -> Uuid,
        family -> Bpchar,
        last_code -> Integer,
    }
}

diesel::table! {
    matchings (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        family -> Bpchar,
        currency -> Bpchar,
        code -> Text,
        residual -> BigInt,
        complete -> Bool,
        created_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    memberships (company_id, user_id) {
        user_id -> Uuid,
        company_id -> Uuid,
        role -> Text,
        created_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    payment_events (company_id, payment_id, kind) {
        company_id -> Uuid,
        payment_id -> Uuid,
        kind -> Text,
        happened_on -> Date,
        client_id -> Nullable<Uuid>,
        reason -> Nullable<Text>,
        fee -> BigInt,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    payments (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        external_ref -> Nullable<Text>,
        external_series -> Bool,
        received_on -> Date,
        method -> Text,
        amount -> BigInt,
        currency -> Bpchar,
        exchange_rate -> Numeric,
        client_id -> Nullable<Uuid>,
        payer -> Nullable<Text>,
        remittance -> Nullable<Text>,
        matures_on -> Nullable<Date>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    period_closings (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        closed_through -> Nullable<Date>,
        reason -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    provision_assessments (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        invoice_id -> Nullable<Uuid>,
        rate_percent -> Numeric,
        reason -> Text,
        evidence -> Jsonb,
        deductible -> Bool,
        valid_from -> Date,
        valid_to -> Nullable<Date>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    provision_policies (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        name -> Text,
        version -> Integer,
        framework -> Text,
        content -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    receivable_ledger (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        item_id -> Uuid,
        allocation_id -> Nullable<Uuid>,
        client_id -> Uuid,
        currency -> Bpchar,
        is_debit -> Bool,
        due_on -> Nullable<Date>,
        effective_on -> Date,
        delta -> BigInt,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        email -> Text,
        name -> Text,
        password_hash -> Nullable<Text>,
        created_at -> Timestamptz,
        disabled_at -> Nullable<Timestamptz>,
    }
}

diesel::joinable!(memberships -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    allocations,
    client_contacts,
    clients,
    companies,
    counters,
    currencies,
    deductions,
    dispute_events,
    dispute_items,
    dispute_reasons,
    disputes,
    document_lines,
    document_taxes,
    documents,
    idempotency,
    idempotency_answers,
    imports,
    invoice_drafts,
    items,
    journal_entries,
    journal_lines,
    journals,
    legal_rates,
    letter_counters,
    matchings,
    memberships,
    payment_events,
    payments,
    period_closings,
    provision_assessments,
    provision_policies,
    receivable_ledger,
    users,
);
