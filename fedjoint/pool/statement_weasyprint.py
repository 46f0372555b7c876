"""A statement's page as PDF, by WeasyPrint (extra ``fedjoint[pdf]``), which needs Pango on the system."""

from __future__ import annotations

import logging
import warnings
from types import ModuleType
from typing import Any, NoReturn

from fedjoint.errors import PoolError

__all__ = ["render_pdf", "require_pdf"]


def require_pdf() -> ModuleType:
    """WeasyPrint, if it can be used here.

    Raises:
        PoolError: it, or the system's Pango, is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what later versions of it will need of the system
            import weasyprint
    except ImportError:
        raise PoolError(
            "PDF needs WeasyPrint, which is not installed",
            remedy="Install it: pip install 'fedjoint[pdf]'; or take --format html.",
        ) from None
    except OSError as problem:
        raise PoolError(
            f"WeasyPrint does not find a library of the system: {str(problem).partition(chr(10))[0]}",
            remedy="Install Pango (Debian, Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0); or take "
            "--format html, which every browser prints.",
        ) from None
    module: ModuleType = weasyprint
    return module


def render_pdf(page: bytes) -> bytes:
    """A page as PDF.

    Args:
        page: HTML that carries all it needs; whatever it refers to is not fetched.

    Raises:
        PoolError: as :func:`require_pdf`.
    """
    weasyprint = require_pdf()
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table of every font
    pdf: bytes = weasyprint.HTML(string=page.decode(), url_fetcher=_refuse).write_pdf()
    return pdf


def _refuse(url: str, *_: Any, **__: Any) -> NoReturn:
    raise ValueError(f"a statement fetches nothing: {url}")
