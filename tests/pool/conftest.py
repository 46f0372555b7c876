from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import pytest
import sqlalchemy as sa

_SPEC = importlib.util.spec_from_file_location(
    "benchmark_postgres", Path(__file__).parents[2] / "benchmarks" / "postgres.py"
)
_POSTGRES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_POSTGRES)
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    """A server of this session; what it wrote need not outlive the machine."""
    with _POSTGRES.running_postgres({"fsync": "off", "synchronous_commit": "off", "max_connections": "60"}) as url:
        yield url


@pytest.fixture
def postgres_url(postgres):
    """An empty database."""
    name = f"test_{next(_NUMBERS)}"
    engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    yield postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    return request.getfixturevalue("postgres_url")
