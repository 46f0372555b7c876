import builtins
import copy
import re
import sys

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.statement_document import issue, state_of_dataset, state_of_holder
from fedjoint.pool.statement_page import render_statement
from fedjoint.pool.statement_weasyprint import render_pdf, require_pdf
from tests.pool.consortium import PEOPLE
from tests.pool.small_pool import at
from tests.pool.year import live

YEAR = {"first_day": "2026-01-01", "last_day": "2027-12-31"}


@pytest.fixture(scope="module")
def documents():
    pool = live()
    statements = [state_of_holder(pool.store, "a", **YEAR), state_of_dataset(pool.store, "scans-a", **YEAR)]
    return issue(pool.store, statements, PEOPLE["exchange"], at=at(12, 31))


def test_the_page_says_what_the_statement_says(documents):
    holder, dataset = (render_statement(document).decode() for document in documents)
    for words in ("Statement of a", "exchange fee", "10,000.00 CNY", "&plusmn; 0.25", "alike with", "withdrawn"):
        assert words in holder, words
    for words in ("Data asset scans-a", "Net income", "2026-04", "DIP-scans-a", "fedjoint verify"):
        assert words in dataset, words
    assert re.search(r"Contribution 3\n&plusmn; 0\.25 \(95 % interval\);\nmeasured by", holder)
    assert documents[0]["checkpoint"]["checkpoint"]["root"] in holder
    assert render_statement(documents[0]).decode() == holder


def test_the_page_fetches_nothing_and_runs_nothing_whatever_parties_write(documents):
    document = copy.deepcopy(documents[1])
    document["statement"]["title"] = "<script>alert(1)</script>\u202e"
    page = render_statement(document).decode()
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    with pytest.raises(PoolError):
        render_statement({**document, "statement": {"format": "x"}})


def test_a_statement_prints_as_pdf_or_says_what_the_system_lacks(documents):
    try:
        require_pdf()
    except PoolError as lacking:
        assert "--format html" in str(lacking)
        return
    pdf = render_pdf(render_statement(documents[0]))
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 5_000


def test_a_share_is_written_to_the_nearest_of_four_decimals(documents):
    document = copy.deepcopy(documents[0])
    document["statement"]["settlements"][0]["share"] = "499999999999/1000000000000"
    assert "50.0000 % of what is shared" in render_statement(document).decode()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ImportError("weasyprint"), r"WeasyPrint, which is not installed.*fedjoint\[pdf\]"),
        (OSError("cannot load library 'pango'\nmore"), "cannot load library 'pango'.*Install Pango.*--format html"),
    ],
)
def test_what_pdf_lacks_is_said_in_words(monkeypatch, problem, words):
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "weasyprint":
            raise problem
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PoolError, match=words):
        require_pdf()
