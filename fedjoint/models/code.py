"""Model code of a site's own: a file that somebody there has read and approved, named by its SHA-256.

An agreement has the hash and the number of parameters; the file comes by no message, only from this machine's disk. A
process that was not told to approve exactly these bytes has no such model. Approved code runs with all the rights of
the process: approval is a person's word that it does nothing but make a module.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from types import ModuleType

import torch

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.errors import AgreementError, InvalidValue

__all__ = ["CodeNotApproved", "approve", "approve_folder", "make_approved", "read_code"]

#: What the file defines: ``make_module(inputs: int, outputs: int) -> torch.nn.Module``.
_MAKES = "make_module"
_MAX_BYTES = 256 << 10
_approved: dict[str, bytes] = {}
#: Foreign code draws its start values from torch's global generator, which all threads share.
_making = Lock()


class CodeNotApproved(AgreementError):
    """A model whose code this process has not been told to run."""

    code = "agreement.code_not_approved"


def read_code(path: Path) -> bytes:
    """A file of model code.

    Raises:
        InvalidValue: it cannot be read, is no text, or has more than 256 KiB.
    """
    try:
        with path.open("rb") as file:
            source = file.read(_MAX_BYTES + 1)
        source.decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidValue(f"model code '{path}' cannot be read ({type(problem).__name__})") from None
    if not 0 < len(source) <= _MAX_BYTES:
        raise InvalidValue(f"model code '{path}' of {len(source)} bytes or more", expected=f"1 to {_MAX_BYTES}")
    return source


def approve(source: bytes) -> str:
    """Let this process make modules by these bytes; their SHA-256. Nothing of them is run yet."""
    digest = sha256_hex(source)
    _approved[digest] = source
    return digest


def approve_folder(folder: Path) -> tuple[str, ...]:
    """Approve each file ``SHA256.py`` of a folder in which a person put what was approved; their hashes.

    Raises:
        AgreementError: a file is another than it was approved as.
    """
    found = []
    for path in sorted(folder.glob("*.py")):
        source = read_code(path)
        if sha256_hex(source) != path.stem:
            raise AgreementError(
                f"the model code '{path.name}' was changed after it was approved",
                remedy="Read it, and approve it anew.",
            )
        found.append(approve(source))
    return tuple(found)


def make_approved(sha256: str, inputs: int, *, outputs: int, seed: int) -> torch.nn.Module:
    """The module that approved code makes.

    Args:
        sha256: Of the code.
        inputs: Width of a record.
        outputs: One logit, one per class, or one number.
        seed: Of torch's global generator while the module is made; it is put back afterwards.

    Raises:
        CodeNotApproved: these bytes were not approved in this process.
        AgreementError: the code does not run, or makes something else than a float32 module without buffers.
    """
    source = _approved.get(sha256)
    if source is None:
        raise CodeNotApproved(
            f"the model is code of SHA-256 {sha256[:16]}…, which was not approved here",
            remedy="Have somebody read the file, then: fedjoint holder approve FILE",
        )
    name = f"model {sha256[:16]}"
    namespace = ModuleType(name)
    with _making, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            exec(compile(source, name, "exec"), namespace.__dict__)  # noqa: S102 - what this module is for
            module = getattr(namespace, _MAKES)(inputs, outputs)
            with torch.no_grad():
                shape = tuple(module(torch.zeros(2, inputs)).shape)
        except Exception as failure:  # whatever foreign code does wrong is an agreement that cannot be kept
            raise AgreementError(
                f"the {name}… does not run ({type(failure).__name__}: {failure})",
                expected=f"a function {_MAKES}(inputs, outputs) that gives a torch module",
            ) from None
    if shape != (2, outputs) or any(one.dtype != torch.float32 for one in module.parameters()) or _has_state(module):
        raise AgreementError(
            f"the {name}… gives numbers of shape {list(shape)}, or has buffers or parameters of another type",
            expected=f"a float32 module from [n, {inputs}] to [n, {outputs}] whose parameters are all of its state",
        )
    assert isinstance(module, torch.nn.Module)
    return module


def _has_state(module: torch.nn.Module) -> bool:
    return next(module.buffers(), None) is not None
