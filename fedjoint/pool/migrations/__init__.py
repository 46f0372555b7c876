"""The ledger database's versions, applied by Alembic when a store is opened."""
