import json

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.facts import MAX_RECEIVED
from fedjoint.pool.imports import read_revenues, sum_of

INVOICE = {"id": "i", "buyer": "b", "amount_minor": 7}
QUERIES = {"meter": "api", "buyer": "b", "price_per_1000_minor": 1_500, "first": 1, "count": 3}


def written(tmp_path, *values):
    path = tmp_path / "revenues.jsonl"
    path.write_text("\n".join(value if isinstance(value, str) else json.dumps(value) for value in values))
    return path


def test_invoices_and_queries_are_read_in_parts_and_added_up(tmp_path):
    path = written(tmp_path, *[{**INVOICE, "id": f"i{n}"} for n in range(MAX_RECEIVED)], "", QUERIES)
    parts = list(read_revenues(path, currency="CNY"))
    assert [(len(part.invoices), len(part.queries)) for part in parts] == [(MAX_RECEIVED, 0), (0, 1)]
    assert sum_of(parts) == (MAX_RECEIVED + 1, 7 * MAX_RECEIVED + 5)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is no JSON"),
        ("[" * 9_000, "line 2 is no JSON"),
        (" " * 10_001 + "1", "line 2 is too long"),
        ({**INVOICE, "amount": 3}, r"unknown key 'revenues.jsonl line 2\.amount'"),
        ({**INVOICE, "amount_minor": 0}, "invoice"),
        ({**QUERIES, "count": "3"}, "line 2"),
        ("7", "line 2"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, words):
    with pytest.raises(PoolError, match=words):
        list(read_revenues(written(tmp_path, INVOICE, line), currency="CNY"))
