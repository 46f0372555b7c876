"""Post two-sided entries with python-accounting, one by one, as its documentation does; tell seconds and memory.

    python ledger_python_accounting.py URL ENTRIES

Runs in an environment with python-accounting. Every entry is a JournalEntry of two sides, committed by its ``post``.
One entry, which is not timed, goes before them, as for ours.
"""

import json
import resource
import sys
import time
from datetime import datetime

from python_accounting.database.session import get_session
from python_accounting.models import Account, Base, Currency, Entity, LineItem
from python_accounting.transactions import JournalEntry
from sqlalchemy import create_engine


def main(url: str, entries: int) -> None:
    engine = create_engine(url).execution_options(include_deleted=False, ignore_isolation=False)
    Base.metadata.create_all(engine)
    with get_session(engine) as session:
        entity = Entity(name="Exchange")
        session.add(entity)
        session.commit()
        currency = Currency(name="Yuan", code="CNY", entity_id=entity.id)
        session.add(currency)
        session.commit()
        kinds = (Account.AccountType.BANK, Account.AccountType.OPERATING_REVENUE)
        bank, revenue = (
            Account(name=kind.name, account_type=kind, currency_id=currency.id, entity_id=entity.id) for kind in kinds
        )
        session.add_all([bank, revenue])
        session.commit()
        ids, owner, now = (bank.id, revenue.id), entity.id, datetime.now()

        def post(number: int) -> None:
            entry = JournalEntry(narration=f"e{number}", transaction_date=now, account_id=ids[0], entity_id=owner)
            session.add(entry)
            session.flush()
            line = LineItem(narration=f"e{number}", account_id=ids[1], amount=5, entity_id=owner)
            session.add(line)
            session.flush()
            entry.line_items.add(line)
            session.add(entry)
            entry.post(session)

        post(-1)
        cpu, wall = time.process_time(), time.monotonic()
        for number in range(entries):
            post(number)
        times = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}
        balance = str(session.get(Account, ids[1]).closing_balance(session))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({**times, "peak_rss_mb": peak, "balance": balance}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
