"""A statement as one page for people: a file that opens anywhere, asks no network for anything and runs no script."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fedjoint.errors import PoolError
from fedjoint.pool.dataset_statement import DatasetStatement
from fedjoint.pool.money import format_minor
from fedjoint.pool.year_statement import HolderStatement
from fedjoint.strict import build

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_statement"]


def render_statement(document: Mapping[str, Any]) -> bytes:
    """The page of a statement's document (:func:`fedjoint.pool.statement_document.issue`).

    Args:
        document: With ``statement`` and ``checkpoint``; its signatures are for ``fedjoint verify`` to check, and the
            page says where.

    Returns:
        UTF-8 HTML with its style inside, fit for printing on A4.

    Raises:
        PoolError: it is no statement.

    Guarantees:
        The same document gives the same bytes. The page has no script and no address to fetch, and its own policy
        forbids both. Everything that a party wrote is escaped.
    """
    facts, checkpoint = document["statement"], document["checkpoint"]["checkpoint"]
    about_dataset = isinstance(facts, Mapping) and str(facts.get("format", "")).startswith("fedjoint-dataset")
    kind: type[HolderStatement] | type[DatasetStatement] = DatasetStatement if about_dataset else HolderStatement
    statement = build(kind, facts, error=PoolError, where="statement")
    page = _environment().get_template("dataset.html" if about_dataset else "holder.html")
    return page.render(
        statement=statement,
        checkpoint=checkpoint,
        amount=lambda minor: format_minor(minor, statement.currency).replace("-", "\u2212"),
    ).encode()


def _percent(share: str) -> str:
    """An exact share to the nearest of four decimals of a percent."""
    numerator, _, denominator = share.partition("/")
    parts = round(Fraction(int(numerator), int(denominator)) * 1_000_000)
    return f"{parts // 10_000}.{parts % 10_000:04d} %"


def _printable(value: object) -> object:
    """Control characters, and those that turn the direction of writing, have no place on a page."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in value)


@functools.cache
def _environment() -> Environment:
    """Templates that escape everything and refuse an unknown name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("fedjoint.pool", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    found.filters["percent"] = _percent
    found.filters["figure"] = lambda value: f"{value:.6g}".replace("-", "\u2212")
    return found
