"""The generated code in the repository is what its .proto files make."""

import subprocess
import sys
from pathlib import Path

import pytest

import fedjoint.transport

FOLDER = Path(fedjoint.transport.__file__).parent
ROOT = FOLDER.parents[1]
PROTOCOLS = sorted(FOLDER.rglob("*.proto"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Made by a process of its own: the compiler's library does not go together with others."""
    folder = tmp_path_factory.mktemp("generated")
    made = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *made, *(one.relative_to(ROOT) for one in PROTOCOLS)],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    return folder


@pytest.mark.parametrize("ending", ["_pb2.py", "_pb2.pyi", "_pb2_grpc.py"])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.stem)
def test_generated_code_is_up_to_date(generated, protocol, ending):
    made = protocol.with_name(protocol.stem + ending)
    assert (generated / made.relative_to(ROOT)).read_text() == made.read_text(), "run `make protocol`"


def test_both_protocols_are_looked_at():
    assert [one.stem for one in PROTOCOLS] == ["link", "exchange"]
