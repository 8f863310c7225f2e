//! The tables as the migrations leave them. `receivable_ledger.xid` is left out: only Postgres reads it.

diesel::table! {
    accounts (company_id, number) {
        company_id -> Uuid,
        number -> Text,
        label -> Text,
        closed_on -> Nullable<Date>,
    }
}

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
        debit_base -> Nullable<BigInt>,
        credit_base -> Nullable<BigInt>,
        ended_reason -> Nullable<Text>,
    }
}

diesel::table! {
    approval_events (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        request_id -> Uuid,
        kind -> Text,
        reason -> Nullable<Text>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    approval_requests (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        ground -> Text,
        approver -> Text,
        client_id -> Nullable<Uuid>,
        document_id -> Nullable<Uuid>,
        amount -> Nullable<BigInt>,
        currency -> Nullable<Bpchar>,
        operation -> Nullable<Text>,
        input -> Nullable<Jsonb>,
        input_hash -> Nullable<Text>,
        reason -> Nullable<Text>,
        before -> Jsonb,
        after -> Jsonb,
        proposed_at -> Timestamptz,
        proposed_by -> Text,
        proposed_user -> Nullable<Uuid>,
        role -> Text,
        scopes -> Nullable<Array<Text>>,
        expires_at -> Nullable<Timestamptz>,
        status -> Text,
        decided_at -> Nullable<Timestamptz>,
        decided_by -> Nullable<Text>,
        decision -> Nullable<Text>,
        segregated -> Nullable<Bool>,
        result_id -> Nullable<Text>,
        outcome -> Nullable<Jsonb>,
    }
}

diesel::table! {
    approval_rules (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        segregation -> Bool,
        thresholds -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    bank_accounts (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        label -> Text,
        iban -> Text,
        bic -> Nullable<Text>,
        account -> Text,
        journal -> Text,
        currency -> Bpchar,
    }
}

diesel::table! {
    bank_lines (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        statement_id -> Uuid,
        bank_account_id -> Uuid,
        position -> Integer,
        fingerprint -> Text,
        booked_on -> Date,
        value_on -> Nullable<Date>,
        amount -> BigInt,
        currency -> Bpchar,
        counterparty -> Nullable<Text>,
        counterparty_iban -> Nullable<Text>,
        end_to_end_id -> Nullable<Text>,
        servicer_ref -> Nullable<Text>,
        structured -> Array<Text>,
        remittance -> Text,
        return_reason -> Nullable<Text>,
        family -> Nullable<Text>,
        recorded_at -> Timestamptz,
        status -> Text,
        payment_id -> Nullable<Uuid>,
        entry_ref -> Nullable<Text>,
        entry_id -> Nullable<Uuid>,
        entry_line -> Nullable<SmallInt>,
    }
}

diesel::table! {
    bank_matches (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        line_id -> Uuid,
        rule -> SmallInt,
        score -> SmallInt,
        outcome -> Text,
        client_id -> Nullable<Uuid>,
        evidence -> Text,
        allocations -> Jsonb,
        alternatives -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        operations -> Jsonb,
    }
}

diesel::table! {
    bank_statements (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        bank_account_id -> Uuid,
        format -> Text,
        reference -> Text,
        sequence -> Nullable<BigInt>,
        from_on -> Nullable<Date>,
        to_on -> Nullable<Date>,
        opening -> Nullable<BigInt>,
        closing -> Nullable<BigInt>,
        currency -> Bpchar,
        file_name -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
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
        penalty_rate -> Nullable<Numeric>,
        language -> Bpchar,
        insolvency_published_on -> Nullable<Date>,
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
        reopens_id -> Nullable<Uuid>,
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
        vat_due -> Text,
        discount_percent -> Nullable<Numeric>,
        discount_days -> Nullable<SmallInt>,
        deducted_discount -> BigInt,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    doubtful_files (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        kind -> Text,
        client_id -> Uuid,
        invoice_id -> Nullable<Uuid>,
        amount -> Nullable<BigInt>,
        currency -> Bpchar,
        vat_recovery -> Text,
        reason -> Text,
        evidence -> Jsonb,
        happened_on -> Date,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        status -> Text,
        decided_at -> Nullable<Timestamptz>,
        decided_by -> Nullable<Text>,
        decision -> Nullable<Text>,
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
    import_lanes (company_id, file_hash, kind, lane) {
        company_id -> Uuid,
        file_hash -> Text,
        kind -> Text,
        lane -> SmallInt,
        done_through -> BigInt,
    }
}

diesel::table! {
    import_refusals (company_id, file_hash, kind, place) {
        company_id -> Uuid,
        file_hash -> Text,
        kind -> Text,
        place -> BigInt,
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
        carried -> Bool,
    }
}

diesel::table! {
    journal_seals (company_id, fiscal_year, number) {
        company_id -> Uuid,
        fiscal_year -> Integer,
        number -> BigInt,
        entry_id -> Uuid,
        seal -> Bytea,
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
    operations (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        kind -> Text,
        client_id -> Nullable<Uuid>,
        invoice_id -> Nullable<Uuid>,
        payment_id -> Nullable<Uuid>,
        follows_id -> Nullable<Uuid>,
        happened_on -> Date,
        amount -> BigInt,
        net -> BigInt,
        vat -> BigInt,
        currency -> Bpchar,
        reason -> Nullable<Text>,
        evidence -> Jsonb,
        details -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        file_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    payer_accounts (company_id, iban, client_id) {
        company_id -> Uuid,
        iban -> Text,
        client_id -> Uuid,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        removed_at -> Nullable<Timestamptz>,
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
        purpose -> Text,
        deposit_vat_rate -> Nullable<Numeric>,
        bank_account -> Nullable<Text>,
    }
}

diesel::table! {
    penalty_claims (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        operation_id -> Uuid,
        client_id -> Uuid,
        invoice_id -> Uuid,
        computed_through -> Date,
        interest -> BigInt,
        indemnity -> BigInt,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    penalty_waivers (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        invoice_id -> Uuid,
        scope -> Text,
        reason -> Text,
        waived_on -> Date,
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
        locked -> Bool,
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
    provision_movements (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        amount -> BigInt,
        kind -> Text,
        source_id -> Uuid,
        item_id -> Nullable<Uuid>,
        posted_on -> Date,
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
    provision_run_clients (company_id, run_id, client_id) {
        company_id -> Uuid,
        run_id -> Uuid,
        client_id -> Uuid,
        required -> BigInt,
        previous -> BigInt,
        charge -> BigInt,
        release -> BigInt,
    }
}

diesel::table! {
    provision_run_lines (company_id, run_id, item_id) {
        company_id -> Uuid,
        run_id -> Uuid,
        item_id -> Uuid,
        client_id -> Uuid,
        reference -> Text,
        due_on -> Date,
        open -> BigInt,
        exposure -> BigInt,
        base -> BigInt,
        insured -> BigInt,
        disputed_base -> BigInt,
        rate -> Numeric,
        disputed_rate -> Numeric,
        provision -> BigInt,
        method -> Text,
        deductible -> Bool,
        currency -> Bpchar,
    }
}

diesel::table! {
    provision_runs (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        as_of -> Date,
        policy_name -> Nullable<Text>,
        policy_version -> Nullable<Integer>,
        content -> Jsonb,
        currency -> Bpchar,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        status -> Text,
        approved_at -> Nullable<Timestamptz>,
        approved_by -> Nullable<Text>,
        decision -> Nullable<Text>,
        posted_at -> Nullable<Timestamptz>,
        posted_by -> Nullable<Text>,
        posted_on -> Nullable<Date>,
        cancelled_at -> Nullable<Timestamptz>,
        cancelled_by -> Nullable<Text>,
        cancelled_on -> Nullable<Date>,
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
    rectified_invoices (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        operation_id -> Uuid,
        client_id -> Uuid,
        issued_on -> Date,
        content -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    remittance_lines (company_id, remittance_id, payment_id) {
        company_id -> Uuid,
        remittance_id -> Uuid,
        payment_id -> Uuid,
        amount -> BigInt,
    }
}

diesel::table! {
    remittances (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        kind -> Text,
        bank_account -> Text,
        remitted_on -> Date,
        amount -> BigInt,
        currency -> Bpchar,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        credited_on -> Nullable<Date>,
        received -> Nullable<BigInt>,
        fee_net -> Nullable<BigInt>,
        fee_vat -> Nullable<BigInt>,
        interest -> Nullable<BigInt>,
        credited_at -> Nullable<Timestamptz>,
        credited_by -> Nullable<Text>,
    }
}

diesel::table! {
    tasks (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        subject -> Text,
        source_id -> Uuid,
        due_on -> Date,
        recorded_at -> Timestamptz,
        done_at -> Nullable<Timestamptz>,
        done_by -> Nullable<Text>,
        client_id -> Nullable<Uuid>,
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

diesel::table! {
    vat_moves (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        invoice_id -> Uuid,
        kind -> Text,
        amount -> BigInt,
        posted_on -> Date,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    year_closings (company_id, fiscal_year) {
        company_id -> Uuid,
        fiscal_year -> Integer,
        result -> BigInt,
        entry_id -> Nullable<Uuid>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::joinable!(memberships -> users (user_id));

diesel::table! {
    sessions (id) {
        id -> Uuid,
        origin_id -> Uuid,
        user_id -> Uuid,
        company_id -> Uuid,
        started_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoked_for -> Nullable<Text>,
    }
}

diesel::table! {
    refresh_tokens (hash) {
        hash -> Binary,
        session_id -> Uuid,
        issued_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        used_by -> Nullable<Binary>,
    }
}

diesel::table! {
    login_attempts (subject) {
        subject -> Binary,
        failures -> Integer,
        last_at -> Timestamptz,
        blocked_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    service_accounts (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        name -> Text,
        scopes -> Array<Text>,
        key_hash -> Binary,
        expires_on -> Date,
        created_at -> Timestamptz,
        created_by -> Text,
        rotated_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        revoked_by -> Nullable<Text>,
    }
}

diesel::table! {
    invitations (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        email -> Text,
        role -> Text,
        token_hash -> Binary,
        expires_at -> Timestamptz,
        invited_at -> Timestamptz,
        invited_by -> Text,
        accepted_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    dunning_action_items (company_id, action_id, item_id) {
        company_id -> Uuid,
        action_id -> Uuid,
        item_id -> Uuid,
        level -> SmallInt,
        residual -> BigInt,
        disputed -> BigInt,
        claimed -> BigInt,
    }
}

diesel::table! {
    dunning_actions (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        currency -> Bpchar,
        level -> SmallInt,
        channel -> Text,
        tone -> Text,
        done_on -> Date,
        claimed -> BigInt,
        credits -> BigInt,
        scenario -> Text,
        scenario_version -> Integer,
        recipient -> Nullable<Text>,
        proof -> Nullable<Text>,
        note -> Nullable<Text>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    dunning_scenarios (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        name -> Text,
        version -> Integer,
        content -> Jsonb,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    promise_items (company_id, promise_id, item_id) {
        company_id -> Uuid,
        promise_id -> Uuid,
        item_id -> Uuid,
    }
}

diesel::table! {
    promises (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        promised_on -> Date,
        due_on -> Date,
        amount -> BigInt,
        currency -> Bpchar,
        note -> Nullable<Text>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        cancelled_on -> Nullable<Date>,
        cancelled_by -> Nullable<Text>,
        cancelled_reason -> Nullable<Text>,
    }
}

diesel::table! {
    files (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Nullable<Uuid>,
        subject_type -> Text,
        subject_id -> Uuid,
        kind -> Text,
        name -> Text,
        media_type -> Text,
        bytes -> BigInt,
        sha256 -> Bpchar,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    evidence_seals (company_id, manifest_sha256) {
        company_id -> Uuid,
        manifest_sha256 -> Bpchar,
        client_id -> Uuid,
        subject -> Text,
        files -> Integer,
        sealed_at -> Timestamptz,
        sealed_by -> Text,
    }
}

diesel::table! {
    letter_templates (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        language -> Bpchar,
        version -> Integer,
        subject -> Text,
        body -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    outbox (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        action_id -> Nullable<Uuid>,
        recipient -> Text,
        subject -> Text,
        body -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        status -> Text,
        attempts -> Integer,
        next_at -> Timestamptz,
        last_error -> Nullable<Text>,
        sent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    outbox_files (company_id, mail_id, file_id) {
        company_id -> Uuid,
        mail_id -> Uuid,
        file_id -> Uuid,
    }
}

diesel::table! {
    dunning_runs (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        as_of -> Date,
        automatic -> Bool,
        status -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        validated_at -> Nullable<Timestamptz>,
        validated_by -> Nullable<Text>,
        ended_at -> Nullable<Timestamptz>,
        ended_by -> Nullable<Text>,
        approved -> Bool,
    }
}

diesel::table! {
    dunning_run_lines (company_id, run_id, id) {
        company_id -> Uuid,
        run_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        currency -> Bpchar,
        level -> SmallInt,
        channel -> Text,
        claimed -> BigInt,
        items -> Integer,
        status -> Text,
        reason -> Nullable<Text>,
        action_id -> Nullable<Uuid>,
        decided_by -> Nullable<Text>,
    }
}

diesel::table! {
    dunning_proofs (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        action_id -> Uuid,
        client_id -> Uuid,
        kind -> Text,
        happened_on -> Date,
        reference -> Text,
        file_id -> Nullable<Uuid>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    collection_notes (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        kind -> Text,
        outcome -> Text,
        spoke_to -> Nullable<Text>,
        note -> Text,
        done_on -> Date,
        follow_up_on -> Nullable<Date>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    instalment_plans (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        client_id -> Uuid,
        agreed_on -> Date,
        amount -> BigInt,
        currency -> Bpchar,
        interest -> Text,
        grace_days -> SmallInt,
        note -> Nullable<Text>,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        cancelled_on -> Nullable<Date>,
        cancelled_by -> Nullable<Text>,
        cancelled_reason -> Nullable<Text>,
    }
}

diesel::table! {
    instalments (company_id, plan_id, number) {
        company_id -> Uuid,
        plan_id -> Uuid,
        number -> SmallInt,
        due_on -> Date,
        amount -> BigInt,
    }
}

diesel::table! {
    plan_items (company_id, plan_id, item_id) {
        company_id -> Uuid,
        plan_id -> Uuid,
        item_id -> Uuid,
    }
}

diesel::table! {
    litigation_cases (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        number -> Text,
        client_id -> Uuid,
        currency -> Bpchar,
        claimed -> BigInt,
        opened_on -> Date,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        stage -> Text,
        handler -> Nullable<Text>,
        closed_on -> Nullable<Date>,
        outcome -> Nullable<Text>,
    }
}

diesel::table! {
    litigation_items (company_id, case_id, item_id) {
        company_id -> Uuid,
        case_id -> Uuid,
        item_id -> Uuid,
        claimed -> BigInt,
    }
}

diesel::table! {
    litigation_events (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        case_id -> Uuid,
        client_id -> Uuid,
        kind -> Text,
        stage -> Text,
        happened_on -> Date,
        reference -> Nullable<Text>,
        note -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::table! {
    prescription_interruptions (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        item_id -> Uuid,
        client_id -> Uuid,
        cause -> Text,
        happened_on -> Date,
        note -> Text,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    accounts,
    files,
    evidence_seals,
    letter_templates,
    outbox,
    outbox_files,
    dunning_runs,
    dunning_run_lines,
    dunning_proofs,
    collection_notes,
    instalment_plans,
    instalments,
    plan_items,
    litigation_cases,
    litigation_items,
    litigation_events,
    prescription_interruptions,
    invitations,
    login_attempts,
    refresh_tokens,
    service_accounts,
    sessions,
    dunning_action_items,
    dunning_actions,
    dunning_scenarios,
    promise_items,
    promises,
    allocations,
    approval_events,
    approval_requests,
    approval_rules,
    bank_accounts,
    bank_lines,
    bank_matches,
    bank_statements,
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
    doubtful_files,
    idempotency,
    idempotency_answers,
    import_lanes,
    import_refusals,
    imports,
    invoice_drafts,
    items,
    journal_entries,
    journal_lines,
    journal_seals,
    journals,
    legal_rates,
    letter_counters,
    matchings,
    memberships,
    operations,
    payer_accounts,
    payment_events,
    payments,
    penalty_claims,
    penalty_waivers,
    period_closings,
    provision_assessments,
    provision_movements,
    provision_policies,
    provision_run_clients,
    provision_run_lines,
    provision_runs,
    receivable_ledger,
    rectified_invoices,
    remittance_lines,
    remittances,
    tasks,
    users,
    vat_moves,
    year_closings,
);
