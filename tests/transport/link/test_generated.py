"""The generated code in the repository is what its .proto file makes."""

import subprocess
import sys
from pathlib import Path

import pytest

import fedjoint.transport.link

FOLDER = Path(fedjoint.transport.link.__file__).parent
ROOT = FOLDER.parents[2]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Made by a process of its own: the compiler's library does not go together with others."""
    folder = tmp_path_factory.mktemp("generated")
    made = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *made, (FOLDER / "link.proto").relative_to(ROOT)],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    return folder / FOLDER.relative_to(ROOT)


@pytest.mark.parametrize("name", ["link_pb2.py", "link_pb2.pyi", "link_pb2_grpc.py"])
def test_generated_code_is_up_to_date(generated, name):
    assert (generated / name).read_text() == (FOLDER / name).read_text(), "run `make protocol`"
