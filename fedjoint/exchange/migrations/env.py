"""What Alembic runs: the migrations, on the connection and inside the transaction that the store hands over.

The version stands in a table of its own, so that a ledger may be kept in the same database.
"""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="exchange_version")
with context.begin_transaction():
    context.run_migrations()
