"""The generated code in the repository is what its .proto file makes."""

import importlib.resources
from pathlib import Path

import pytest
from grpc_tools import protoc

import fedjoint.transport.link

FOLDER = Path(fedjoint.transport.link.__file__).parent


@pytest.mark.parametrize("name", ["link_pb2.py", "link_pb2.pyi", "link_pb2_grpc.py"])
def test_generated_code_is_up_to_date(tmp_path, name):
    root, source = FOLDER.parents[2], FOLDER / "link.proto"
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [f"-I{root}", f"-I{well_known}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["", *arguments, f"--grpc_python_out={tmp_path}", str(source)]) == 0
    assert (tmp_path / FOLDER.relative_to(root) / name).read_text() == (FOLDER / name).read_text()
