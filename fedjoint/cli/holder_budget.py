"""``fedjoint holder budget``: what all runs together may cost a holder's records, and what they did."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fedjoint.cli.holder_home import home_option, opened, say
from fedjoint.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from fedjoint.privacy.lifetime_account import LifetimeAccount, Limit, Reservation

__all__ = ["command", "create_budget"]

_BAR_CELLS = 50


@click.command("budget")
@click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON.")
@click.option("--create", is_flag=True, help="Make a new ledger, once for these people's records.")
@click.option("--epsilon", type=float, metavar="E", help="With --create: the most that all runs together may cost.")
@click.option(
    "--epsilon-if-opened",
    type=float,
    metavar="E",
    help="With --create: the same if your own ciphertexts were opened (default: three times --epsilon).",
)
@click.option("--delta", type=float, metavar="D", help="With --create: below 1 / number of records.")
@click.option("--cohort", metavar="NAME", help="With --create: your name for these people's records.")
@click.option(
    "--unit", type=click.Choice(["record", "patient"]), default="record", help="With --create: what is hidden."
)
@click.option(
    "--filter",
    "filter_name",
    type=click.Choice(["either", "gdp", "rdp"]),
    default="either",
    help="With --create: gdp fits the most full-batch runs, rdp sampled ones, either does for both (default).",
)
@click.option("--give-back", "reservation", metavar="ID", help="End a reservation that an ended run left open.")
@home_option
def command(
    file: Path | None, as_json: bool, create: bool, reservation: str | None, folder: Path, **settings: Any
) -> None:
    """Show a lifetime privacy budget: spent, reserved, left, by agreement; or make one, or end a reservation.

    Without FILE it shows those of all data sets in the holder's folder.

    \b
    Examples:
      fedjoint holder budget --home bern
      fedjoint holder budget patients.ledger --create --epsilon 8 --delta 1e-5 --cohort "heart clinic"
      fedjoint holder budget patients.ledger
      fedjoint holder budget patients.ledger --give-back 3f0c9a417be2d851
    """
    given = [name for name in ("epsilon", "delta", "cohort", "epsilon_if_opened") if settings[name] is not None]
    if create and (not {"epsilon", "delta", "cohort"} <= set(given) or reservation):
        raise ConfigError("--create without a limit or a name", expected="--epsilon, --delta and --cohort with it")
    if given and not create:
        raise ConfigError(
            f"--{given[0].replace('_', '-')} of a ledger that is there", remedy="A limit is fixed for good by --create."
        )
    from fedjoint.privacy.ledger_file import LifetimeLedger

    if file is None:
        if create or reservation:
            raise ConfigError("a ledger that is not named", expected="FILE with --create or --give-back")
        _show_all(folder, as_json=as_json)
        return
    if create:
        create_budget(file, **settings)
    ledger = LifetimeLedger(file, now=_now)
    if reservation:
        ledger.give_back(reservation)
    account, head = ledger.account_and_head()
    if as_json:
        click.echo(json.dumps(_figures(account, head), indent=2))
        return
    from rich.console import Console

    _show(account, head, Console())


def _show_all(folder: Path, *, as_json: bool) -> None:
    """The budget of each data set in a holder's folder, or that it has none."""
    from rich.console import Console

    from fedjoint.node.datasets import datasets, ledger_path, lifetime_of

    home, _ = opened(folder)
    notes = datasets(home)
    ledgers = {note.name: lifetime_of(home, note, now=_now) for note in notes}
    books = {name: None if one is None else one.account_and_head() for name, one in ledgers.items()}
    if as_json:
        figures = [{"data": name, "budget": None if one is None else _figures(*one)} for name, one in books.items()]
        click.echo(json.dumps(figures, indent=2))
        return
    for name, one in books.items():
        say(f"Data set '{name}'", "bold")
        if one is not None:
            _show(*one, Console())
            continue
        path = ledger_path(home, name)
        say("  No lifetime budget: each run may spend what its own agreement says. To make one:")
        say(f"  fedjoint holder budget {path} --create --epsilon E --delta D --cohort NAME")
    if not books:
        say("There is no data set: fedjoint holder data add FILE --schema FILE")


def create_budget(
    file: Path,
    *,
    epsilon: float,
    delta: float,
    cohort: str,
    unit: Literal["record", "patient"],
    epsilon_if_opened: float | None = None,
    filter_name: Literal["either", "gdp", "rdp"] = "either",
) -> None:
    """Make a ledger.

    Args:
        file: Where there is nothing yet.
        epsilon: The most that all runs together may cost.
        delta: Below 1 / number of records.
        cohort: The holder's name for these people's records.
        unit: What is hidden.
        epsilon_if_opened: The same if its own ciphertexts were opened; None: three times ``epsilon``.
        filter_name: How the limit is kept.
    """
    from fedjoint.privacy.ledger_file import create_ledger
    from fedjoint.privacy.lifetime import lifetime_budget

    opened = 3 * epsilon if epsilon_if_opened is None else epsilon_if_opened
    create_ledger(
        file,
        lifetime_budget(epsilon, delta, filter_name=filter_name),
        if_opened=lifetime_budget(opened, delta, filter_name=filter_name),
        now=_now,
        cohort=cohort,
        unit=unit,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _figures(account: LifetimeAccount, head: str) -> dict[str, Any]:
    """The account as plain JSON: fractions are of the limit of the filter that decides, and add up."""
    opened, if_opened = (_limit_figures(limit) for limit in account.limits())
    agreements: dict[str, list[Reservation]] = {}
    for one in account.reservations:
        agreements.setdefault(one.reserved.agreement_sha256, []).append(one)
    return {
        "cohort": account.created.cohort,
        "unit": account.created.unit,
        "adjacency": "add-or-remove",
        **opened,
        "if_opened": if_opened,
        "agreements": [{"agreement_sha256": name} | _group(account, held) for name, held in agreements.items()],
        "open_reservations": [
            {"id": one.id, "run": one.reserved.lineage, "agreement_sha256": one.reserved.agreement_sha256}
            | _group(account, [one])
            for one in account.reservations
            if one.is_open
        ],
        "head": head,
    }


def _limit_figures(limit: Limit) -> dict[str, Any]:
    from fedjoint.privacy.accounting import epsilon_of
    from fedjoint.privacy.events import num_steps
    from fedjoint.privacy.lifetime import binding_measure, epsilon_left, statement

    budget = limit.budget
    measure = binding_measure(budget, limit.charged)
    spent, charged = measure.fraction(limit.spent), measure.fraction(limit.charged)
    return {
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        "filter": {"chosen": budget.filter, "decides": measure.name, "order": budget.order, "why": statement(budget)},
        "spent": {
            "fraction": spent,
            "epsilon": epsilon_of(limit.spent, budget.delta),
            "releases": num_steps(limit.spent),
        },
        "reserved": {"fraction": max(0.0, charged - spent)},
        "left": {"fraction": max(0.0, 1 - charged), "epsilon": epsilon_left(budget, limit.charged)},
    }


def _group(account: LifetimeAccount, reservations: list[Reservation]) -> dict[str, Any]:
    """What some reservations come to, by the limit of what is opened."""
    from fedjoint.privacy.accounting import epsilon_of
    from fedjoint.privacy.events import PURPOSES, costs, num_steps
    from fedjoint.privacy.lifetime import binding_measure
    from fedjoint.privacy.lifetime_account import merged

    budget = account.created.budget
    measure = binding_measure(budget, costs(account.charged))
    released = merged(release for one in reservations for release in one.released)
    used = measure.fraction(costs(released))
    held = measure.fraction(costs(release for one in reservations for release in one.charged))
    by_purpose = {name: [one for one in released if one.purpose == name] for name in PURPOSES}
    return {
        "spent": used,
        "reserved": max(0.0, held - used),
        "releases": num_steps(costs(released)),
        "epsilon": epsilon_of(costs(released), budget.delta),
        "purposes": {name: epsilon_of(costs(parts), budget.delta) for name, parts in by_purpose.items() if parts},
    }


def _show(account: LifetimeAccount, head: str, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from fedjoint.runs.notation import epsilon_text, percent_text, plain_text

    def say(words: str, style: str = "") -> None:
        console.print(Text(plain_text(words), style=style))

    def table(head_of_first: str, rows: list[list[str]]) -> None:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for place, heading in enumerate([head_of_first, "spent", "reserved", "releases", "epsilon by itself"]):
            shown.add_column(heading, justify="right" if place else "left", overflow="fold")
        for row in rows:
            shown.add_row(*(Text(plain_text(cell)) for cell in row))
        console.print(shown)

    def row(name: str, figures: dict[str, Any]) -> list[str]:
        fractions = [percent_text(figures[key], decimals=2) for key in ("spent", "reserved")]
        return [name, *fractions, f"{figures['releases']:,}", epsilon_text(figures["epsilon"])]

    def bar(figures: dict[str, Any]) -> None:
        spent, reserved, left = (figures[name]["fraction"] for name in ("spent", "reserved", "left"))
        console.print(_bar(spent, reserved, plain=not console.encoding.startswith("utf")))
        say(f"spent {percent_text(spent)} · reserved {percent_text(reserved)} · left {percent_text(left)}")
        say(
            f"Spent by itself: epsilon {epsilon_text(figures['spent']['epsilon'])}. Room for one more full-batch run "
            f"of epsilon {figures['left']['epsilon']:.2f} by itself. Epsilons do not add up; the percentages do."
        )

    figures = _figures(account, head)
    say(
        f"Lifetime budget of '{figures['cohort']}': epsilon {figures['epsilon']:g}, delta {figures['delta']:g} "
        f"(add-or-remove of one {figures['unit']})",
        "bold",
    )
    bar(figures)
    say(f"Filter: {figures['filter']['why']}.")
    opened = figures["if_opened"]
    say(
        f"If your own ciphertexts were opened: epsilon {opened['epsilon']:g}, delta {opened['delta']:g} (add-or-remove "
        "too)",
        "bold",
    )
    bar(opened)
    if figures["agreements"]:
        console.print()
        table("agreement", [row(f"{one['agreement_sha256'][:16]}", one) for one in figures["agreements"]])
    if figures["open_reservations"]:
        console.print()
        table("reserved by run", [row(f"{one['id']} {one['run']}", one) for one in figures["open_reservations"]])
        say("A run that ended leaves its reservation open if it was killed: --give-back ID ends it.")
    say(f"Last line: {head[:32]}. Noted elsewhere, it tells a ledger that was put back from a backup.", "dim")


def _bar(spent: float, reserved: float, *, plain: bool) -> Any:
    from rich.text import Text

    full, half, empty = "#=." if plain else "█▒░"
    used = min(_BAR_CELLS, round(spent * _BAR_CELLS))
    held = min(_BAR_CELLS - used, round(reserved * _BAR_CELLS))
    return Text.assemble((full * used, "red"), (half * held, "yellow"), (empty * (_BAR_CELLS - used - held), "green"))
