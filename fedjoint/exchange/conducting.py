"""One run of the queue from its first task to its statements, over the links of connected holders."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import DataTerms
from fedjoint.conduct.conducting import Commission, conduct_run
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reference_file import read_reference
from fedjoint.conduct.training import Conditions, RunSuspended
from fedjoint.errors import FedjointError
from fedjoint.exchange.certification import Now, timestamp
from fedjoint.exchange.gate import gate_of
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.metrics import ExchangeMetrics
from fedjoint.exchange.proposing import reference_path
from fedjoint.exchange.runs_store_sql import RunEntry
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.exchange.witnessing import WitnessDesk
from fedjoint.models.code import approve_folder
from fedjoint.record.checkpoint import SignedCheckpoint
from fedjoint.record.log import AskWitnesses
from fedjoint.record.witness import Prove
from fedjoint.runs.folder import MODEL, REPORT, STATEMENTS, file_hashes
from fedjoint.runs.report import DataReport, Report, read_report
from fedjoint.training.checkpoint import FolderStore
from fedjoint.training.coordinator import RoundSummary
from fedjoint.training.session import Session
from fedjoint.transport.grpc_grid import Carrier, GrpcGrid
from fedjoint.transport.link.gathering import Gathered

__all__ = ["Conductor", "Switchboard"]

_log = logging.getLogger(__name__)


class Switchboard:
    """Hands replies of holders to the run that is on now; one that comes when there is none is dropped."""

    def __init__(self) -> None:
        self._grid: GrpcGrid | None = None
        self._interruption: FedjointError | None = None

    def on_reply(self, holder: str, key: str, data: Gathered) -> None:
        """Called by the server's thread."""
        grid = self._grid
        if grid is not None:
            grid.on_reply(holder, key, data)

    def connect(self, server: Carrier, holders: tuple[str, ...]) -> GrpcGrid:
        """A grid to these holders, through which replies come from now on."""
        grid = GrpcGrid(holders)
        grid.serve_through(server)
        self._grid = grid
        if self._interruption is not None:  # while it was made
            grid.interrupt(self._interruption)
        return grid

    def suspend(self) -> None:
        """Have the run that is on wait for nobody any more: it goes on from what it has kept, when it is taken up."""
        self._interruption = RunSuspended("the exchange was told to stop")
        if self._grid is not None:
            self._grid.interrupt(self._interruption)

    def disconnect(self) -> None:
        """Nobody waits for replies any more."""
        self._grid = None


@dataclass(frozen=True, kw_only=True)
class Conductor:
    """Conducts runs, one after the other.

    Args:
        home: The exchange's folder.
        store: Its database.
        settings: How long holders have.
        desk: Where checkpoints wait for holders.
        board: Where replies come in.
        metrics: Counts rounds.
        now: The present.
    """

    home: ExchangeHome
    store: ExchangeStore
    settings: ExchangeSettings
    desk: WitnessDesk
    board: Switchboard
    metrics: ExchangeMetrics
    now: Now

    def conduct(self, run: RunEntry, server: Carrier) -> None:
        """Conduct a run to its end, and note that; nothing that happens to a run ends the exchange.

        Args:
            run: Of the queue.
            server: The links, or the door to a Flower federation.
        """
        facts = {"run": run.run_id, "agreement": run.agreement}
        try:
            if not (self.home.runs / run.name).exists():
                self._conduct(run, server)
            self._finish(run)
            _log.info("run finished", extra={"facts": facts})
        except RunSuspended:
            _log.info("run suspended; it goes on when the exchange serves again", extra={"facts": facts})
        except FedjointError as problem:
            self._fail(run, str(problem))
            _log.warning("run failed", extra={"facts": {**facts, "code": problem.code, "why": str(problem)}})
        except Exception as failure:
            self._fail(run, f"an internal error of the exchange ({type(failure).__name__}); see its log")
            _log.exception("run failed", extra={"facts": facts})
        finally:
            self.board.disconnect()

    def _conduct(self, run: RunEntry, server: Carrier) -> None:
        agreement = self.store.agreements.get(run.agreement).agreement
        agreement.require_all_signatures()
        self.store.runs.begin(run.run_id, at=self._timestamp())
        stragglers: dict[str, dict[str, object]] = {}

        def on_round(summary: RoundSummary) -> None:
            _add_stragglers(stragglers, summary)
            self.store.runs.progress(run.run_id, round_number=summary.round, stragglers=stragglers)
            self.metrics.round_done(summary)
            _log.info("round done", extra={"facts": _facts(run, summary)})

        of = {"party": "coordinator", "agreement": run.agreement, "run": run.run_id}
        with closing(FolderStore(self._work(run) / "state", of=of)) as store:
            conduct_run(
                self._commission(run, agreement),
                self.board.connect(server, agreement.terms.holder_ids),
                conditions=Conditions(on_round=on_round, timeout_s=self.settings.task_timeout_s, store=store),
            )

    def _work(self, run: RunEntry) -> Path:
        """What the run must not forget while it is on."""
        return self.home.work / run.run_id

    def _fail(self, run: RunEntry, words: str) -> None:
        self.store.runs.fail(run.run_id, words=words, at=self._timestamp())
        shutil.rmtree(self._work(run), ignore_errors=True)

    def _commission(self, run: RunEntry, agreement: SignedAgreement) -> Commission:
        terms, coordinator = agreement.terms, self.home.load_identity()
        if terms.model.code_sha256 is not None:
            approve_folder(self.home.references)  # whoever proposed it kept its file there
        examples = read_reference(reference_path(self.home, agreement.sha256), terms)
        return Commission(
            session=Session(agreement=agreement, run_id=run.run_id),
            coordinator=coordinator,
            reference=ReferenceSet.of(examples, terms),
            data=_describe(terms.data, len(examples)),
            folder=self.home.runs,
            name=run.name,
            gross_minor=run.gross_minor,
            buyer=run.buyer,
            now=self._timestamp,
            witnesses=self._witnesses(agreement),
            work=self._work(run) / "folder",
            gate=gate_of(self.home, self.settings),
        )

    def _witnesses(self, agreement: SignedAgreement) -> AskWitnesses:
        holders = [holder.identity for holder in agreement.terms.holders]

        def ask(signed: SignedCheckpoint, prove: Prove) -> Mapping[str, str]:
            return self.desk.ask(signed, prove, coordinator=agreement.terms.coordinator, witnesses=holders)

        return ask

    def _finish(self, run: RunEntry) -> None:
        """Note what stands in the run's folder, also if the process was killed right after it had appeared."""
        folder = self.home.runs / run.name
        report: Report = read_report(folder / REPORT)
        self.store.runs.finish(
            run.run_id,
            words=report.end,
            model_sha256=file_hashes(folder)[MODEL],
            statements=_statements(folder),
            at=self._timestamp(),
        )
        shutil.rmtree(self._work(run), ignore_errors=True)

    def _timestamp(self) -> str:
        return timestamp(self.now())


def _statements(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((folder / STATEMENTS).glob("*.json"))}


def _add_stragglers(stragglers: dict[str, dict[str, object]], summary: RoundSummary) -> None:
    """Count the rounds that a holder missed, and keep the last reason."""
    for holder, refusal in summary.refusals.items():
        missed: Any = stragglers.get(holder, {}).get("missed", 0)
        stragglers[holder] = {"missed": missed + 1, "last_round": summary.round, "code": refusal.code}


def _facts(run: RunEntry, summary: RoundSummary) -> dict[str, object]:
    return {
        "run": run.run_id,
        "round": summary.round,
        "of": run.rounds,
        "contributors": list(summary.contributors),
        "refusals": {holder: refusal.code for holder, refusal in sorted(summary.refusals.items())},
    }


def _describe(data: DataTerms, num_reference: int) -> DataReport:
    """What a report says of data that nobody has seen together."""
    return DataReport(
        title=data.name,
        task=data.schema.target.task,
        target=data.schema.target.name,
        num_features=data.schema.width,
        num_reference=num_reference,
        licence=data.licence,
        citation=data.citation,
        notes=data.schema.notes,
        left_out=(),
    )
