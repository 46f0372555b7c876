"""``fedjoint holder duplicates``: which of your records another holder brings too, found without showing the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.cli.holder_home import home_option
from fedjoint.cli.lazy import PlainGroup

if TYPE_CHECKING:
    from fedjoint.node.duplicates import Search

__all__ = ["command"]


@click.group("duplicates", cls=PlainGroup)
def command() -> None:
    """Find records that another holder brings too, so that nothing is paid twice. Needs the extra: fedjoint[psi].

    Three files: your question, the other's answer, what came out. Send them however you like. The other learns how many
    records you asked about; you learn which of your own it has; it must have consented in its policy.

    \b
    Example:
      fedjoint holder duplicates ask 3f0c9a41 --of cork --out question.json --home bern
      fedjoint holder duplicates answer 3f0c9a41 question.json --out answer.json --home cork
      fedjoint holder duplicates compare 3f0c9a41 answer.json --home bern
    """


@command.command("ask")
@click.argument("agreement")
@click.option("--of", "asked", required=True, metavar="HOLDER", help="The id of the holder that is asked.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where the question goes.")
@home_option
def ask_command(agreement: str, asked: str, out: Path, folder: Path) -> None:
    """Make a question for another holder of an agreement that you signed; each can be asked once."""
    from fedjoint.cli.holder_home import say
    from fedjoint.files import replace_file
    from fedjoint.node.duplicates import ask

    search = _search(folder, agreement)
    replace_file(out, ask(search, asked))
    say(f"Question about {len(search.examples):,} records: {out}. Send it to '{asked}'.")


@command.command("answer")
@click.argument("agreement")
@click.argument("question", type=click.Path(path_type=Path), metavar="QUESTION")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where the answer goes.")
@home_option
def answer_command(agreement: str, question: Path, out: Path, folder: Path) -> None:
    """Answer another holder's question, once, if your policy allows it (allow_duplicate_search)."""
    from fedjoint.cli.holder_home import say
    from fedjoint.files import replace_file
    from fedjoint.node.duplicates import answer

    replace_file(out, answer(_search(folder, agreement), _content(question)))
    say(f"Answer: {out}. Send it back; only who asked can read it.")


@command.command("compare")
@click.argument("agreement")
@click.argument("reply", type=click.Path(path_type=Path), metavar="ANSWER")
@click.option(
    "--rows", type=click.Path(path_type=Path), metavar="FILE", help="Write the numbers of these records there."
)
@home_option
def compare_command(agreement: str, reply: Path, rows: Path | None, folder: Path) -> None:
    """Say which of your records the other holder has too."""
    from fedjoint.cli.holder_home import say
    from fedjoint.files import replace_file
    from fedjoint.node.duplicates import compare

    search = _search(folder, agreement)
    asked, places = compare(search, _content(reply))
    say(f"{len(places):,} of your {len(search.examples):,} records are also those of '{asked}'.")
    if places:
        say("Who registered them later should leave them out: what is brought twice is not paid twice.")
    if rows is not None:
        replace_file(rows, "".join(f"{place + 1}\n" for place in places).encode(), mode=0o600)
        say(f"Their numbers, counted from 1 in your data set: {rows}")


def _content(path: Path) -> bytes:
    from fedjoint.errors import DataError

    try:
        return path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None


def _search(folder: Path, start: str) -> Search:
    from fedjoint.cli.holder_home import opened
    from fedjoint.node.agreements import fetch, find, signed_examples, signed_for
    from fedjoint.node.credentials import connect
    from fedjoint.node.duplicates import Search

    home, settings = opened(folder)
    identity, membership = home.load_identity(), home.load_membership()
    with connect(home, settings) as client:
        agreement = fetch(client, find(client, start), identity, membership.exchange.signing_key)
    _, examples = signed_examples(home, signed_for(home, agreement.sha256))
    return Search(home=home, identity=identity, agreement=agreement, examples=examples)
