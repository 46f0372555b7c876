"""Shared by the benchmarks: another project's own environment, and workers that are asked over pipes, one line each.

A peer is installed from its own package into ``.venv-NAME`` beside the repository's ``.venv``, so that its pinned
versions and ours do not meet; it is measured by a script that runs there. Workers are processes of their own: each has
its own memory, and their turns can be interleaved.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent


def peer_python(name: str, *, requirements: list[str], install: bool) -> Path | None:
    """Python of a peer's environment, which is made if it is not there.

    Args:
        name: Of the peer; the environment is ``.venv-NAME``.
        requirements: What is installed into it, pinned.
        install: Whether to make it; if not, and it is not there, there is none.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    folder = ROOT / f".venv-{name}"
    python, done = folder / "bin" / "python", folder / ".installed"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text() == wanted:
        return python
    if not install:
        return None
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    done.write_text(wanted)
    return python


class Worker:
    """A script in a process of its own that answers one JSON line for each it is sent.

    Args:
        script: Its path; it calls ``serve`` of ``workers/serving.py``.
        arguments: On its command line.
        python: Whose interpreter runs it; ours if None.
    """

    def __init__(self, script: Path, *arguments: str, python: Path | None = None) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        if python is None:
            environment["PYTHONPATH"] = str(ROOT)
        self._process = subprocess.Popen(
            [python or sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where libraries warn; what fails comes back as an answer
            text=True,
            env=environment,
        )

    def ask(self, step: str, **arguments: Any) -> dict[str, Any]:
        """Have it do one step.

        Raises:
            RuntimeError: it ended or failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"step": step, **arguments}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print too
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer
        raise RuntimeError(f"the worker ended with {self._process.wait()}")

    def __enter__(self) -> Self:
        """Use it in a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()
