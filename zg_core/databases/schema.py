"""The schema, version by version."""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

# Each entry brings the schema one version further and is never changed once released. Amounts are decimal text (they
# have up to 78 digits), times are unix seconds.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE nonces (
        chain VARCHAR(80) NOT NULL,
        address VARCHAR(42) NOT NULL,
        floor BIGINT NOT NULL,
        PRIMARY KEY (chain, address)
    );
    CREATE TABLE nonce_leases (
        chain VARCHAR(80) NOT NULL,
        address VARCHAR(42) NOT NULL,
        nonce BIGINT NOT NULL,
        holder VARCHAR(32) NOT NULL,
        tx_hash VARCHAR(66),
        touched DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (chain, address, nonce)
    );
    CREATE TABLE leases (
        name VARCHAR(200) NOT NULL PRIMARY KEY,
        holder VARCHAR(32) NOT NULL,
        expires DOUBLE PRECISION NOT NULL
    );
    CREATE TABLE account_changes (
        chain VARCHAR(80) NOT NULL,
        address VARCHAR(42) NOT NULL,
        provider VARCHAR(42) NOT NULL,
        changed DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (chain, address, provider)
    );
    CREATE TABLE api_keys (
        id VARCHAR(32) NOT NULL PRIMARY KEY,
        scope VARCHAR(80) NOT NULL,
        owner VARCHAR(42) NOT NULL,
        provider VARCHAR(42) NOT NULL,
        generation BIGINT NOT NULL,
        token_id INTEGER NOT NULL,
        name VARCHAR(200) NOT NULL,
        fingerprint VARCHAR(64) NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        expires DOUBLE PRECISION,
        revoked DOUBLE PRECISION
    );
    CREATE INDEX api_keys_by_owner ON api_keys (scope, owner, provider)
    """,
    """
    CREATE TABLE receipts (
        id VARCHAR(64) NOT NULL PRIMARY KEY,
        chain BIGINT NOT NULL,
        payer VARCHAR(42) NOT NULL,
        provider VARCHAR(42) NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        started DOUBLE PRECISION NOT NULL,
        written DOUBLE PRECISION NOT NULL,
        data TEXT NOT NULL
    );
    CREATE INDEX receipts_by_time ON receipts (started);
    CREATE TABLE receipt_verdicts (
        receipt VARCHAR(64) NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        status VARCHAR(20) NOT NULL,
        data TEXT NOT NULL
    );
    CREATE INDEX receipt_verdicts_by_receipt ON receipt_verdicts (receipt, at)
    """,
    """
    CREATE TABLE budget_totals (
        scope VARCHAR(200) NOT NULL PRIMARY KEY,
        units VARCHAR(80) NOT NULL
    );
    CREATE TABLE budget_holds (
        id VARCHAR(64) NOT NULL PRIMARY KEY,
        chain BIGINT NOT NULL,
        payer VARCHAR(42) NOT NULL,
        provider VARCHAR(42) NOT NULL,
        state VARCHAR(16) NOT NULL,
        units VARCHAR(80) NOT NULL,
        scopes TEXT NOT NULL,
        holder VARCHAR(80) NOT NULL,
        at DOUBLE PRECISION NOT NULL
    )
    """,
    """
    CREATE TABLE paces (
        chain BIGINT NOT NULL,
        payer VARCHAR(42) NOT NULL,
        provider VARCHAR(42) NOT NULL,
        used DOUBLE PRECISION NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        drained DOUBLE PRECISION NOT NULL,
        per_minute INTEGER NOT NULL,
        burst INTEGER NOT NULL,
        paused DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (chain, payer, provider)
    )
    """,
    """
    CREATE TABLE reply_marks (
        mark VARCHAR(22) NOT NULL PRIMARY KEY,
        holder VARCHAR(12) NOT NULL,
        at DOUBLE PRECISION NOT NULL
    )
    """,
    """
    ALTER TABLE nonce_leases ADD COLUMN process VARCHAR(200);
    CREATE TABLE lease_processes (
        name VARCHAR(200) NOT NULL PRIMARY KEY,
        holder VARCHAR(32) NOT NULL,
        process VARCHAR(200) NOT NULL
    );
    CREATE TABLE intentions (
        id VARCHAR(32) NOT NULL PRIMARY KEY,
        chain VARCHAR(80) NOT NULL,
        address VARCHAR(42) NOT NULL,
        digest VARCHAR(64) NOT NULL,
        what VARCHAR(200) NOT NULL,
        target VARCHAR(42) NOT NULL,
        value VARCHAR(80) NOT NULL,
        data TEXT NOT NULL,
        state VARCHAR(16) NOT NULL,
        late INTEGER NOT NULL,
        process VARCHAR(200) NOT NULL,
        asked DOUBLE PRECISION NOT NULL,
        touched DOUBLE PRECISION NOT NULL
    );
    CREATE INDEX intentions_by_digest ON intentions (chain, address, digest);
    CREATE TABLE signed_forms (
        tx_hash VARCHAR(66) NOT NULL PRIMARY KEY,
        chain VARCHAR(80) NOT NULL,
        address VARCHAR(42) NOT NULL,
        nonce BIGINT NOT NULL,
        intention VARCHAR(32) NOT NULL,
        gas BIGINT NOT NULL,
        cap VARCHAR(80) NOT NULL,
        tip VARCHAR(80),
        at DOUBLE PRECISION NOT NULL
    );
    CREATE INDEX signed_forms_by_nonce ON signed_forms (chain, address, nonce);
    CREATE INDEX signed_forms_by_intention ON signed_forms (intention)
    """,
    """
    CREATE TABLE referee (
        chain BIGINT NOT NULL,
        payer VARCHAR(42) NOT NULL,
        provider VARCHAR(42) NOT NULL,
        since DOUBLE PRECISION NOT NULL,
        told INTEGER NOT NULL,
        owed VARCHAR(80) NOT NULL,
        block BIGINT NOT NULL,
        settled VARCHAR(80) NOT NULL,
        rolled DOUBLE PRECISION NOT NULL,
        covered VARCHAR(80) NOT NULL,
        excess VARCHAR(80) NOT NULL,
        counted VARCHAR(80) NOT NULL,
        looked DOUBLE PRECISION NOT NULL,
        run VARCHAR(64) NOT NULL,
        calls BIGINT NOT NULL,
        alone DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (chain, payer, provider)
    )
    """,
    """
    CREATE TABLE serve_keys (
        id VARCHAR(16) NOT NULL PRIMARY KEY,
        hash VARCHAR(64) NOT NULL,
        name VARCHAR(80) NOT NULL,
        allowance VARCHAR(100) NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        revoked DOUBLE PRECISION
    )
    """,
    """
    CREATE TABLE receipt_contexts (
        name VARCHAR(22) NOT NULL PRIMARY KEY,
        data TEXT NOT NULL
    );
    CREATE TABLE receipts_2 (
        id VARCHAR(64) NOT NULL PRIMARY KEY,
        context VARCHAR(22) NOT NULL,
        chain BIGINT NOT NULL,
        realm VARCHAR(128) NOT NULL,
        payer VARCHAR(128) NOT NULL,
        provider VARCHAR(128) NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        started DOUBLE PRECISION NOT NULL,
        run VARCHAR(128) NOT NULL,
        status VARCHAR(20) NOT NULL,
        judged DOUBLE PRECISION,
        currency VARCHAR(8) NOT NULL,
        fee VARCHAR(80) NOT NULL,
        exact SMALLINT NOT NULL,
        most VARCHAR(80),
        odd SMALLINT NOT NULL,
        verdict TEXT NOT NULL,
        data TEXT NOT NULL
    );
    INSERT INTO receipts_2
        SELECT r.id, '', r.chain, 'eip155:' || r.chain, r.payer, r.provider, r.outcome, r.started, '',
            COALESCE(v.status, ''), v.at, '', '', 0, NULL, 0, COALESCE(v.data, ''), r.data
        FROM receipts r LEFT JOIN receipt_verdicts v
            ON v.receipt = r.id AND v.at = (SELECT MAX(at) FROM receipt_verdicts WHERE receipt = r.id)
        WHERE TRUE
        ON CONFLICT (id) DO NOTHING;
    DELETE FROM receipt_verdicts
        WHERE at = (SELECT judged FROM receipts_2 WHERE receipts_2.id = receipt_verdicts.receipt);
    DROP TABLE receipts;
    ALTER TABLE receipts_2 RENAME TO receipts;
    CREATE INDEX receipts_by_start ON receipts (started);
    CREATE INDEX receipts_by_provider ON receipts (provider, started)
    """,
    """
    CREATE TABLE budget_holds_2 (
        id VARCHAR(64) NOT NULL PRIMARY KEY,
        realm VARCHAR(128) NOT NULL,
        payer VARCHAR(128) NOT NULL,
        provider VARCHAR(128) NOT NULL,
        state VARCHAR(16) NOT NULL,
        units VARCHAR(80) NOT NULL,
        currency VARCHAR(8) NOT NULL,
        scopes TEXT NOT NULL,
        holder VARCHAR(80) NOT NULL,
        at DOUBLE PRECISION NOT NULL
    );
    INSERT INTO budget_holds_2
        SELECT id, 'eip155:' || chain, payer, provider, state, units, '0G', scopes, holder, at FROM budget_holds;
    DROP TABLE budget_holds;
    ALTER TABLE budget_holds_2 RENAME TO budget_holds;
    CREATE TABLE budget_totals_2 (
        scope VARCHAR(500) NOT NULL PRIMARY KEY,
        units VARCHAR(80) NOT NULL
    );
    INSERT INTO budget_totals_2 SELECT scope, units FROM budget_totals;
    DROP TABLE budget_totals;
    ALTER TABLE budget_totals_2 RENAME TO budget_totals;
    CREATE TABLE paces_2 (
        realm VARCHAR(128) NOT NULL,
        payer VARCHAR(128) NOT NULL,
        provider VARCHAR(128) NOT NULL,
        used DOUBLE PRECISION NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        drained DOUBLE PRECISION NOT NULL,
        per_minute INTEGER NOT NULL,
        burst INTEGER NOT NULL,
        paused DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (realm, payer, provider)
    );
    INSERT INTO paces_2
        SELECT 'eip155:' || chain, payer, provider, used, at, drained, per_minute, burst, paused FROM paces;
    DROP TABLE paces;
    ALTER TABLE paces_2 RENAME TO paces
    """,
    """
    CREATE TABLE budget_limits (
        scope VARCHAR(500) NOT NULL PRIMARY KEY,
        units VARCHAR(80) NOT NULL,
        currency VARCHAR(8) NOT NULL
    )
    """,
)
