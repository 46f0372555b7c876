"""Model code that a person approved: its exact bytes, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import AgreementError, InvalidValue
from fedjoint.models import code
from fedjoint.models.code import CodeNotApproved, approve, approve_folder, make_approved, read_code
from fedjoint.models.modules import make_module
from fedjoint.models.vector import num_parameters, parameters_to_vector

GOOD = b"""
import torch

class Residual(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.inner, self.last = torch.nn.Linear(inputs, inputs), torch.nn.Linear(inputs, outputs)

    def forward(self, records):
        return self.last(records + torch.tanh(self.inner(records)))

make_module = Residual
"""


@pytest.fixture(autouse=True)
def nothing_approved(monkeypatch):
    monkeypatch.setattr(code, "_approved", {})


def test_approved_code_makes_the_agreed_module():
    terms = ModelTerms(kind="code", code_sha256=approve(GOOD), code_parameters=3 * 4 + 2 * 4)
    module = make_module(terms, 3, outputs=2, seed=1)
    assert num_parameters(module) == 20
    assert module(torch.zeros(5, 3)).shape == (5, 2)


def test_the_same_seed_gives_the_same_bytes_and_the_global_generator_is_not_touched():
    sha256, before = approve(GOOD), torch.random.get_rng_state()
    first, second, other = (
        parameters_to_vector(make_approved(sha256, 3, outputs=1, seed=seed)).tobytes() for seed in (1, 1, 2)
    )
    assert first == second != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_threads_that_make_it_at_once_make_the_same():
    source = b"""
import time
import torch

def make_module(inputs, outputs):
    first = torch.nn.Linear(inputs, 8)
    time.sleep(0.002)
    return torch.nn.Sequential(first, torch.nn.Linear(8, outputs))
"""
    sha256 = approve(source)
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(
            lambda _: parameters_to_vector(make_approved(sha256, 3, outputs=1, seed=1)).tobytes(), range(20)
        )
    assert len(set(made)) == 1


def test_code_that_nobody_approved_here_is_refused_and_not_run():
    terms = ModelTerms(kind="code", code_sha256=sha256_hex(GOOD), code_parameters=20)
    with pytest.raises(CodeNotApproved, match="was not approved here") as problem:
        make_module(terms, 3, outputs=2, seed=1)
    assert problem.value.code == "agreement.code_not_approved"


def test_another_number_of_parameters_than_agreed_is_refused():
    with pytest.raises(InvalidValue, match="makes 20 parameters; expected 21"):
        make_module(ModelTerms(kind="code", code_sha256=approve(GOOD), code_parameters=21), 3, outputs=2, seed=1)


WRONG = {
    "no function": (b"x = 1", "AttributeError"),
    "no Python": (b"def (", "SyntaxError"),
    "raises": (b"def make_module(i, o): raise ValueError('row 17')", "ValueError"),
    "another shape": (b"import torch\ndef make_module(i, o): return torch.nn.Linear(i, o + 1)", "numbers of shape"),
    "another type": (b"import torch\ndef make_module(i, o): return torch.nn.Linear(i, o).double()", "does not run"),
    "buffers": (
        b"import torch\ndef make_module(i, o): return torch.nn.Sequential(torch.nn.Linear(i, o), "
        b"torch.nn.BatchNorm1d(o))",
        "buffers",
    ),
}


@pytest.mark.parametrize(("source", "words"), WRONG.values(), ids=WRONG)
def test_code_that_makes_no_such_module_is_refused(source, words):
    with pytest.raises(AgreementError, match=words):
        make_approved(approve(source), 3, outputs=2, seed=0)


def test_a_folder_approves_each_file_by_its_name_alone(tmp_path):
    (tmp_path / f"{sha256_hex(GOOD)}.py").write_bytes(GOOD)
    assert approve_folder(tmp_path) == (sha256_hex(GOOD),)
    (tmp_path / f"{sha256_hex(GOOD)}.py").write_bytes(GOOD + b"# one more line")
    with pytest.raises(AgreementError, match="was changed after it was approved"):
        approve_folder(tmp_path)
    assert approve_folder(tmp_path / "none") == ()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"#" * ((256 << 10) + 1)], ids=["empty", "binary", "too long"])
def test_a_file_that_is_no_code_is_refused(tmp_path, content):
    (tmp_path / "model.py").write_bytes(content)
    with pytest.raises(InvalidValue, match="model code"):
        read_code(tmp_path / "model.py")


@pytest.mark.parametrize(
    "terms",
    [
        {"kind": "code"},
        {"kind": "code", "code_sha256": "ab" * 32},
        {"kind": "code", "code_sha256": "AB" * 32, "code_parameters": 3},
        {"kind": "code", "code_sha256": "ab" * 32, "code_parameters": 0},
        {"kind": "code", "code_sha256": "ab" * 32, "code_parameters": 3, "hidden": (4,)},
        {"kind": "linear", "code_sha256": "ab" * 32, "code_parameters": 3},
    ],
)
def test_terms_name_code_by_hash_and_size_or_not_at_all(terms):
    with pytest.raises(InvalidValue, match="model"):
        ModelTerms(**terms)
