"""What the commands of a holder's node share: its folder, its settings, and how they speak."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from fedjoint.agreement.signing import SignedAgreement
    from fedjoint.node.home import Home
    from fedjoint.node.page import Page
    from fedjoint.node.settings import NodeSettings
    from fedjoint.transport.services.client import ExchangeClient

__all__ = ["home_option", "json_option", "now", "opened", "proposal", "say", "show_differences", "yes_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def home_option(command: _Command) -> _Command:
    """The option that names the holder's folder."""
    return click.option(
        "--home",
        "folder",
        type=click.Path(path_type=Path),
        envvar="FEDJOINT_HOLDER_HOME",
        default=Path(),
        metavar="FOLDER",
        help="The holder's folder; FEDJOINT_HOLDER_HOME, or else the current one.",
    )(command)


def json_option(command: _Command) -> _Command:
    """The option to print for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print as JSON.")(command)


def yes_option(command: _Command) -> _Command:
    """The option that answers every question with yes."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def opened(folder: Path) -> tuple[Home, NodeSettings]:
    """A holder's folder and its settings.

    Raises:
        ConfigError: it is none, or its settings are malformed.
    """
    from fedjoint.node.home import open_home
    from fedjoint.node.settings import load_settings

    home = open_home(folder)
    return home, load_settings(home.settings, os.environ)


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def say(words: str, style: str = "") -> None:
    """Print a line that may hold foreign text, never read for markup; two blanks and more stay, to align and indent."""
    import re

    from rich.console import Console
    from rich.text import Text

    from fedjoint.runs.notation import plain_text

    parts = re.split(r"( {2,})", words)
    line = "".join(part if part.isspace() else plain_text(part) for part in parts)
    Console().print(Text(line, style=style), soft_wrap=True)


def proposal(home: Home, client: ExchangeClient, start: str) -> tuple[SignedAgreement, Page]:
    """An agreement by the start of its hash, checked, and the page about it.

    Raises:
        AgreementError: none or several begin so, or it is not as it should be.
    """
    from fedjoint.node.agreements import fetch, find
    from fedjoint.node.approval import policy_of
    from fedjoint.node.page import write_page

    identity = home.load_identity()
    agreement = fetch(client, find(client, start), identity, home.load_membership().exchange.signing_key)
    policy = policy_of(home)
    return agreement, write_page(agreement.terms, agreement.sha256, holder_id=identity.id, policy=policy)


def show_differences(page: Page) -> None:
    """Say in red where an agreement goes beyond the holder's own policy."""
    for difference in page.differences:
        say(f"✗ {difference}", "bold red")
    if not page.differences:
        say("✓ Within your policy.", "green")
