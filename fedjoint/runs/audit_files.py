"""Where an audit reads its run's agreement, and where it leaves its findings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fedjoint.agreement.signing import SignedAgreement, read_agreement
from fedjoint.errors import RecordError
from fedjoint.privacy.audit_report import AuditReport
from fedjoint.runs.folder import AGREEMENT

__all__ = ["AUDIT", "AUDIT_PAGE", "read_run_agreement", "write_audit"]

AUDIT, AUDIT_PAGE = "audit.json", "audit.html"


def read_run_agreement(run: Path) -> SignedAgreement:
    """The agreement in a run's folder.

    Raises:
        RecordError: there is none to be read.
        AgreementError: it is malformed, or a signature is false.
    """
    try:
        data = (run / AGREEMENT).read_bytes()
    except OSError as problem:
        raise RecordError(
            f"{run / AGREEMENT} cannot be read: {problem.strerror}", remedy="Name the folder of a run."
        ) from None
    return read_agreement(data)


def write_audit(folder: Path, report: AuditReport, page: bytes) -> None:
    """Write both files, each whole or not at all; those of an earlier audit are replaced.

    Raises:
        RecordError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in ((AUDIT, report.to_bytes()), (AUDIT_PAGE, page)):
            handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(folder / name)
    except OSError as problem:
        raise RecordError(f"{folder} cannot be written: {problem.strerror}", remedy="Give --folder.") from None
