"""The guards of version ``ledger_0001`` on PostgreSQL, which belong to that version and change no more than it does.

The same rules as on SQLite, and one more: at commit every posting must belong to a sealed and balanced entry. Another
transaction could otherwise add a posting to an entry that it does not see yet. Balances move once for all entries of a
statement: to change one row for each of a thousand entries would take the time of a million.
"""

from __future__ import annotations

_FUNCTIONS = {
    "ledger_refuse": """
    BEGIN
        RAISE EXCEPTION 'a posted row never changes: post a correcting entry'
            USING ERRCODE = 'integrity_constraint_violation';
    END
    """,
    "ledger_posting": """
    BEGIN
        IF EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry_id) THEN
            RAISE EXCEPTION 'the entry is sealed and takes no more postings'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END
    """,
    "ledger_seal": """
    DECLARE
        found bigint;
        total numeric;
    BEGIN
        SELECT COUNT(*), COALESCE(SUM(amount_minor), 0) INTO found, total FROM postings WHERE entry_id = NEW.id;
        IF found <> NEW.num_postings THEN
            RAISE EXCEPTION 'the entry lacks postings, or has more than it says'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF total <> 0 THEN
            RAISE EXCEPTION 'the entry is unbalanced' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NEW.resolves IS NOT NULL AND (
            NOT EXISTS (
                SELECT 1 FROM entries WHERE id = NEW.resolves AND phase = 'pending' AND currency = NEW.currency
            )
            OR EXISTS (
                SELECT 1 FROM postings AS posting
                LEFT JOIN postings AS waiting ON waiting.entry_id = NEW.resolves AND waiting.account = posting.account
                WHERE posting.entry_id = NEW.id AND (
                    waiting.amount_minor IS NULL
                    OR (posting.amount_minor > 0) <> (waiting.amount_minor > 0)
                    OR ABS(posting.amount_minor) > ABS(waiting.amount_minor)
                )
            )
        ) THEN
            RAISE EXCEPTION 'the entry resolves nothing that is pending, or more than that'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END
    """,
    "ledger_move_balances": """
    BEGIN
        INSERT INTO balances (currency, account, posted_minor, pending_in_minor, pending_out_minor, version, last_seq)
        SELECT DISTINCT sealed.currency, postings.account, 0, 0, 0, 0, 0
        FROM sealed JOIN postings ON postings.entry_id = sealed.id
        WHERE NOT EXISTS (
            SELECT 1 FROM balances
            WHERE balances.currency = sealed.currency AND balances.account = postings.account
        )
        ORDER BY 1, 2 ON CONFLICT DO NOTHING;
        UPDATE balances SET
            posted_minor = posted_minor + change.posted,
            pending_in_minor = pending_in_minor + change.incoming,
            pending_out_minor = pending_out_minor + change.outgoing,
            version = version + change.touched,
            last_seq = change.last
        FROM (
            SELECT currency, account, SUM(posted) AS posted, SUM(incoming) AS incoming, SUM(outgoing) AS outgoing,
                COUNT(DISTINCT seq) AS touched, MAX(seq) AS last
            FROM (
                SELECT sealed.currency, sealed.seq, postings.account,
                    CASE WHEN sealed.phase = 'posted' THEN amount_minor ELSE 0 END AS posted,
                    CASE WHEN sealed.phase = 'pending' THEN GREATEST(amount_minor, 0) ELSE 0 END AS incoming,
                    CASE WHEN sealed.phase = 'pending' THEN LEAST(amount_minor, 0) ELSE 0 END AS outgoing
                FROM sealed JOIN postings ON postings.entry_id = sealed.id
                UNION ALL
                SELECT sealed.currency, sealed.seq, postings.account,
                    0, -GREATEST(amount_minor, 0), -LEAST(amount_minor, 0)
                FROM sealed JOIN postings ON postings.entry_id = sealed.resolves
            ) AS moved
            GROUP BY currency, account
        ) AS change
        WHERE balances.currency = change.currency AND balances.account = change.account;
        IF EXISTS (
            SELECT 1 FROM sealed JOIN postings ON postings.entry_id = sealed.id
            JOIN balances ON balances.currency = sealed.currency AND balances.account = postings.account
            WHERE sealed.kind = 'payout' AND split_part(balances.account, ':', 1) = 'payable'
                AND posted_minor + pending_out_minor < 0
        ) THEN
            RAISE EXCEPTION 'the account would stand below zero' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END
    """,
    "ledger_new_balance": """
    BEGIN
        IF (NEW.posted_minor, NEW.pending_in_minor, NEW.pending_out_minor, NEW.version, NEW.last_seq)
                <> (0, 0, 0, 0, 0) THEN
            RAISE EXCEPTION 'a balance does not start at zero' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END
    """,
    "ledger_balance": """
    BEGIN
        IF pg_trigger_depth() < 2 OR NEW.version <= OLD.version
                OR (NEW.currency, NEW.account) <> (OLD.currency, OLD.account) THEN
            RAISE EXCEPTION 'a balance moves by entries only' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NEW.posted_minor + NEW.pending_out_minor < 0 AND split_part(NEW.account, ':', 1)
                NOT IN ('bank', 'conversion', 'insurer', 'payable', 'receivable', 'rounding') THEN
            RAISE EXCEPTION 'the account would stand below zero' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NEW.posted_minor + NEW.pending_out_minor < -1000000000000000
                OR NEW.posted_minor + NEW.pending_in_minor > 1000000000000000 THEN
            RAISE EXCEPTION 'the account would stand beyond 10^15' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END
    """,
    "ledger_at_commit": """
    BEGIN
        IF NOT EXISTS (
            SELECT 1 FROM entries WHERE id = NEW.entry_id
                AND num_postings = (SELECT COUNT(*) FROM postings WHERE entry_id = NEW.entry_id)
                AND 0 = (SELECT SUM(amount_minor) FROM postings WHERE entry_id = NEW.entry_id)
        ) THEN
            RAISE EXCEPTION 'a posting has no entry, or its entry is unbalanced'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END
    """,
}

_TRIGGERS = (
    "CREATE TRIGGER postings_of_a_sealed_entry BEFORE INSERT ON postings"
    " FOR EACH ROW EXECUTE FUNCTION ledger_posting()",
    "CREATE TRIGGER entry_sealed BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION ledger_seal()",
    "CREATE TRIGGER entry_moves_balances AFTER INSERT ON entries REFERENCING NEW TABLE AS sealed"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_move_balances()",
    "CREATE TRIGGER balance_starts BEFORE INSERT ON balances FOR EACH ROW EXECUTE FUNCTION ledger_new_balance()",
    "CREATE TRIGGER balance_moves BEFORE UPDATE ON balances FOR EACH ROW EXECUTE FUNCTION ledger_balance()",
    "CREATE CONSTRAINT TRIGGER entry_balanced AFTER INSERT ON postings DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION ledger_at_commit()",
    *(
        f"CREATE TRIGGER {table}_refuse_change BEFORE {verbs} ON {table} FOR EACH ROW EXECUTE FUNCTION ledger_refuse()"
        for table, verbs in (("entries", "UPDATE OR DELETE"), ("postings", "UPDATE OR DELETE"), ("balances", "DELETE"))
    ),
    *(
        f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION ledger_refuse()"
        for table in ("entries", "postings", "balances")
    ),
)

GUARDS = (
    *(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $guard${body}$guard$"
        for name, body in _FUNCTIONS.items()
    ),
    *_TRIGGERS,
)
