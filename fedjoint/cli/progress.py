"""Progress of a simulation on a console: a line for each stage, a bar for the rounds."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division
from fedjoint.encryption.precision import Precision
from fedjoint.runs.sentences import account_sentence
from fedjoint.training.coordinator import RoundSummary
from fedjoint.training.preview import CostPreview

__all__ = ["LONG_UPDATE", "ConsoleProgress", "in_words"]

#: Updates of fewer values are encrypted, added and decrypted without a bar.
LONG_UPDATE = 2_000_000


def in_words(costs: CostPreview) -> list[str]:
    """A cost preview as sentences."""
    scaled = f", scaled from {costs.measured_parameters:,} parameters" * (
        costs.measured_parameters < costs.num_parameters
    )
    lines = [
        f"Each round and holder: {decimal(costs.bytes_up)} up, {decimal(costs.bytes_down)} down "
        f"({costs.num_parameters:,} parameters, {costs.rounds} rounds)",
        _precision(costs.precision),
        f"On this machine: encrypt {seconds(costs.encrypt_s)}, decrypt {seconds(costs.decrypt_s)} for a holder, "
        f"add {seconds(costs.add_s)} for the coordinator, each round{scaled}",
    ]
    if costs.epsilon is None or costs.epsilon_limit is None or costs.delta is None:
        return [*lines, "No differential privacy: nothing limits what the updates tell"]
    lines.append(
        f"Privacy: epsilon {costs.epsilon:.3g} of {costs.epsilon_limit:g} for each holder at the end "
        f"(delta {costs.delta:g}, add-or-remove adjacency, per {costs.unit})"
    )
    if costs.epsilon_if_opened is not None:
        lines.append(
            f"  ... against whoever sees sums, model and contributions, {costs.colluders} colluding among the holders; "
            f"epsilon {costs.epsilon_if_opened:.3g} if a holder's own ciphertexts were opened (all share the key)"
        )
    if by_purpose := account_sentence(costs.account).strip():
        lines.append(f"  {by_purpose}")
    if costs.rounds_within_budget < costs.rounds:
        lines.append(f"The budget ends after round {costs.rounds_within_budget} of {costs.rounds}")
    return lines


def _precision(precision: Precision) -> str:
    """How values are packed, and what rounding them does."""
    per_word = f"{precision.values_per_word} values a word" if precision.values_per_word > 1 else "one value a word"
    text = f"Fixed point: {per_word} of {precision.bits:.1f} bits, steps of {precision.step:.2g}"
    if precision.rounding_of_noise is None:
        return text
    return f"{text}; rounding adds {100 * precision.rounding_of_noise:.2g} % to the variance of the privacy noise"


def seconds(value: float) -> str:
    """Seconds for people.

    Example:
        >>> seconds(0.00123), seconds(12.3)
        ('1.2 ms', '12 s')
    """
    return f"{value * 1000:.2g} ms" if value < 1 else f"{value:.2g} s"


class ConsoleProgress:
    """A :class:`fedjoint.simulation.simulate.Progress` for people; leave its context before printing anything else.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._rounds: TaskID | None = None
        self._works: dict[str, TaskID] = {}

    def data(self, dataset: Dataset, division: Division) -> None:
        """Say which data, who takes part and who is left out; the notes on the data stand in the report."""
        records = sum(len(holder.examples) for holder in division.holders)
        self._say(
            f"Data: {dataset.title or dataset.name}: {len(division.holders)} holders, {records} records to train on, "
            f"{len(division.reference)} set aside as the exchange's reference set"
        )
        for one in division.left_out:
            self._say(f"  left out: {one.name}: {one.reason}")

    def agreed(self, agreement: SignedAgreement, costs: CostPreview) -> None:
        """Say that everybody has signed, and what the run will cost."""
        parties = len(agreement.signatures)
        self._say(f"Agreement {agreement.sha256[:16]}… signed by all {parties} parties")
        for line in in_words(costs):
            self._say(f"  {line}")

    def round(self, summary: RoundSummary, of: int) -> None:
        """Move the bar; where there is no terminal, write a line now and then."""
        measured = ", ".join(f"{name} {value:.3f}" for name, value in summary.metrics.items() if value is not None)
        for holder, refusal in summary.refusals.items():
            self._say(f"  round {summary.round}: '{holder}' did not take part: {refusal.message}")
        if not self._console.is_terminal:
            if summary.round == of or summary.round % max(of // 10, 1) == 0:
                self._say(f"Round {summary.round} of {of}: {measured}")
            return
        if self._rounds is None:
            self._rounds = self._bars.add_task(measured, total=of, what="Rounds")
        self._bars.update(self._rounds, completed=summary.round, description=measured)

    def work(self, what: str, done: int, of: int) -> None:
        """Show how far one long update is encrypted, added or decrypted; short ones are done before anybody looks."""
        if of < LONG_UPDATE or not self._console.is_terminal:
            return
        if what not in self._works:
            self._works[what] = self._bars.add_task("", total=of, what=what)
        self._bars.update(self._works[what], completed=done)
        if done >= of:
            self._bars.remove_task(self._works.pop(what))

    @property
    def _bars(self) -> Progress:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.fields[what]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bar.start()
        return self._bar

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _say(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True, highlight=False)
