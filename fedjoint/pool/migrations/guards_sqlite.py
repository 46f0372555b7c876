"""The guards of version ``ledger_0001`` on SQLite, which belong to that version and change no more than it does.

OR REPLACE deletes rows without firing delete triggers: hence the look at every key, and tables without a rowid.
OR IGNORE skips a row that a CHECK refuses, in a trigger's statements too: hence limits by RAISE.
"""

from __future__ import annotations

_ONLY_ADDED = tuple(
    f"""
    CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table}
    BEGIN SELECT RAISE(ABORT, 'a posted row never changes: post a correcting entry'); END
    """
    for table, verb in (
        ("entries", "UPDATE"),
        ("entries", "DELETE"),
        ("postings", "UPDATE"),
        ("postings", "DELETE"),
        ("balances", "DELETE"),
    )
)

GUARDS = (
    """
    CREATE TRIGGER postings_of_a_sealed_entry BEFORE INSERT ON postings
    WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry_id)
    BEGIN SELECT RAISE(ABORT, 'the entry is sealed and takes no more postings'); END
    """,
    """
    CREATE TRIGGER entry_once BEFORE INSERT ON entries
    WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.id) OR EXISTS (SELECT 1 FROM entries WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'the entry is there already'); END
    """,
    """
    CREATE TRIGGER entry_complete BEFORE INSERT ON entries
    WHEN (SELECT COUNT(*) FROM postings WHERE entry_id = NEW.id) <> NEW.num_postings
        OR (NEW.num_postings < 2 AND NEW.phase <> 'voided')
    BEGIN SELECT RAISE(ABORT, 'the entry lacks postings, or has more than it says'); END
    """,
    """
    CREATE TRIGGER entry_balanced BEFORE INSERT ON entries
    WHEN (SELECT COALESCE(SUM(amount_minor), 0) FROM postings WHERE entry_id = NEW.id) <> 0
    BEGIN SELECT RAISE(ABORT, 'the entry is unbalanced'); END
    """,
    """
    CREATE TRIGGER entry_resolves_once BEFORE INSERT ON entries
    WHEN EXISTS (SELECT 1 FROM entries WHERE resolves = NEW.resolves)
    BEGIN SELECT RAISE(ABORT, 'the pending entry was resolved already'); END
    """,
    """
    CREATE TRIGGER entry_resolves_what_is_pending BEFORE INSERT ON entries
    WHEN NEW.resolves IS NOT NULL AND (
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
    )
    BEGIN SELECT RAISE(ABORT, 'the entry resolves nothing that is pending, or more than that'); END
    """,
    """
    CREATE TRIGGER entry_moves_balances AFTER INSERT ON entries
    BEGIN
        INSERT INTO balances (currency, account, posted_minor, pending_in_minor, pending_out_minor, version, last_seq)
        SELECT NEW.currency, account, 0, 0, 0, 0, 0 FROM postings
        WHERE entry_id = NEW.id AND NOT EXISTS (
            SELECT 1 FROM balances WHERE currency = NEW.currency AND balances.account = postings.account
        );
        UPDATE balances SET
            posted_minor = posted_minor + change.posted,
            pending_in_minor = pending_in_minor + change.incoming,
            pending_out_minor = pending_out_minor + change.outgoing,
            version = version + 1,
            last_seq = NEW.seq
        FROM (
            SELECT
                account,
                SUM(CASE WHEN entry_id = NEW.id AND NEW.phase = 'posted' THEN amount_minor ELSE 0 END) AS posted,
                SUM(CASE WHEN entry_id = NEW.resolves THEN -MAX(amount_minor, 0)
                         WHEN NEW.phase = 'pending' THEN MAX(amount_minor, 0) ELSE 0 END) AS incoming,
                SUM(CASE WHEN entry_id = NEW.resolves THEN -MIN(amount_minor, 0)
                         WHEN NEW.phase = 'pending' THEN MIN(amount_minor, 0) ELSE 0 END) AS outgoing
            FROM postings WHERE entry_id IN (NEW.id, NEW.resolves) GROUP BY account
        ) AS change
        WHERE balances.currency = NEW.currency AND balances.account = change.account;
    END
    """,
    """
    CREATE TRIGGER balance_starts_at_zero BEFORE INSERT ON balances
    WHEN NEW.posted_minor OR NEW.pending_in_minor OR NEW.pending_out_minor OR NEW.version OR NEW.last_seq
        OR EXISTS (SELECT 1 FROM balances WHERE currency = NEW.currency AND account = NEW.account)
    BEGIN SELECT RAISE(ABORT, 'a balance is there already, or does not start at zero'); END
    """,
    """
    CREATE TRIGGER balance_moves_by_entries BEFORE UPDATE ON balances
    WHEN NEW.currency <> OLD.currency OR NEW.account <> OLD.account
        OR NEW.last_seq <= OLD.last_seq OR NEW.version <> OLD.version + 1
        OR NOT EXISTS (
            SELECT 1 FROM entries JOIN postings ON postings.entry_id IN (entries.id, entries.resolves)
            WHERE entries.seq = NEW.last_seq AND entries.currency = NEW.currency AND postings.account = NEW.account
        )
    BEGIN SELECT RAISE(ABORT, 'a balance moves by entries only'); END
    """,
    """
    CREATE TRIGGER balance_not_below_zero AFTER UPDATE ON balances
    WHEN NEW.posted_minor + NEW.pending_out_minor < 0 AND (
        substr(NEW.account, 1, instr(NEW.account || ':', ':') - 1)
            NOT IN ('bank', 'conversion', 'insurer', 'payable', 'receivable', 'rounding')
        OR (NEW.account LIKE 'payable:%' AND (SELECT kind FROM entries WHERE seq = NEW.last_seq) = 'payout')
    )
    BEGIN SELECT RAISE(ABORT, 'the account would stand below zero'); END
    """,
    """
    CREATE TRIGGER balance_within_bounds AFTER UPDATE ON balances
    WHEN NEW.posted_minor + NEW.pending_out_minor < -1000000000000000
        OR NEW.posted_minor + NEW.pending_in_minor > 1000000000000000
    BEGIN SELECT RAISE(ABORT, 'the account would stand beyond 10^15'); END
    """,
    *_ONLY_ADDED,
)
