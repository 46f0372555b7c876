from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import sqlalchemy as sa

_SPEC = importlib.util.spec_from_file_location(
    "benchmark_postgres", Path(__file__).parents[2] / "benchmarks" / "postgres.py"
)
_POSTGRES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_POSTGRES)


@pytest.fixture(scope="session")
def postgres():
    """A server of this session; what it wrote need not outlive the machine."""
    with _POSTGRES.running_postgres({"fsync": "off", "synchronous_commit": "off", "max_connections": "60"}) as url:
        yield url


@pytest.fixture
def postgres_url(postgres):
    """An empty database: always the same one, as to make and remove one takes some hundred files."""
    url = sa.make_url(postgres).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'"
        connection.exec_driver_sql(f"{others} AND pid <> pg_backend_pid()")
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    return request.getfixturevalue("postgres_url")
