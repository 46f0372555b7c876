"""A holder takes part in no private run whose noise or clipping is not what is charged."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.schema import Schema, Target
from fedjoint.agreement.terms import DataTerms
from fedjoint.errors import PrivacyError
from fedjoint.privacy import joint_share
from fedjoint.privacy.clipped_sum import GradientSummer
from fedjoint.privacy.noise import NoiseSource
from fedjoint.training.plan import Parcel
from fedjoint.training.self_check import require_mechanism
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, LOCAL_PRIVACY, NO_PRIVACY, make_consortium, schema

MODES = {
    "local": {"privacy": LOCAL_PRIVACY},
    "joint": {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION},
    "joint with error numbers": {
        "privacy": JOINT_PRIVACY,
        "encryption": JOINT_ENCRYPTION,
        "valuation": {"error_numbers": 2},
    },
}


@pytest.fixture(scope="module", params=MODES)
def parties(request):
    return make_consortium(**MODES[request.param])


def check(terms):
    require_mechanism(terms, "ahus", NoiseSource.secure())


def test_a_mechanism_that_works_is_let_through_again_and_again(parties):
    for _ in range(20):
        check(parties.terms)


@pytest.mark.parametrize("kind", ["hidden layers", "patients", "several steps and few records", "classes"])
def test_it_works_for_every_kind_of_agreement(kind):
    agreed = {"hidden": (5,)} if kind == "hidden layers" else {}
    if kind == "several steps and few records":
        agreed = {"local_steps": 4, "sampling_rate": 0.05}
    unit = "patient" if kind == "patients" else "record"
    terms = make_consortium(**agreed).terms
    terms = replace(terms, privacy=replace(LOCAL_PRIVACY, unit=unit))
    if kind == "classes":
        target = Target(name="kind", task="multiclass", classes=("a", "b", "c"))
        terms = replace(terms, data=DataTerms(name="d", schema=Schema(columns=schema().columns, target=target)))
    check(terms)


class Faulty(NoiseSource):
    """Says that it is secure."""

    def __init__(self, how):
        super().__init__(bytes(32))
        self._secure, self._how = True, how

    def gaussian(self, shape, *, sd):
        return {"off": np.zeros(shape), "a tenth": super().gaussian(shape, sd=sd / 10), "constant": np.full(shape, sd)}[
            self._how
        ]


@pytest.mark.parametrize("how", ["off", "a tenth", "constant"])
def test_noise_that_is_off_too_small_or_always_the_same_is_refused_in_mode_local(how):
    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    with pytest.raises(PrivacyError, match=r"noise of made-up updates is .* times what was agreed"):
        require_mechanism(terms, "ahus", Faulty(how))


@pytest.mark.parametrize("how", ["off", "a tenth", "constant"])
def test_noise_that_is_off_too_small_or_always_the_same_is_refused_in_mode_joint(how, monkeypatch):
    real = joint_share.discrete_gaussian
    faults = {
        "off": lambda count, *, sd, noise: np.zeros(count, dtype=np.int64),
        "a tenth": lambda count, *, sd, noise: real(count, sd=max(1, sd // 10), noise=noise),
        "constant": lambda count, *, sd, noise: np.full(count, sd, dtype=np.int64),
    }
    terms = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION).terms
    monkeypatch.setattr(joint_share, "discrete_gaussian", faults[how])
    with pytest.raises(PrivacyError, match=r"noise of made-up updates is .* times what was agreed"):
        check(terms)


def test_gradients_that_are_not_clipped_are_refused(parties, monkeypatch):
    real = GradientSummer.sum
    monkeypatch.setattr(
        GradientSummer,
        "sum",
        lambda self, inputs, targets, *, clip_norm, groups=None: real(
            self, inputs, targets, clip_norm=1e9, groups=groups
        ),
    )
    with pytest.raises(PrivacyError, match="clipping does not work here"):
        check(parties.terms)


def test_without_privacy_or_with_reproducible_noise_there_is_nothing_to_check(monkeypatch):
    terms = make_consortium(privacy=NO_PRIVACY).terms
    require_mechanism(terms, "ahus", Faulty("off"))
    terms = make_consortium(privacy=replace(LOCAL_PRIVACY, insecure_seed=1)).terms
    require_mechanism(terms, "ahus", NoiseSource.insecure(1, "ahus"))


def test_a_holder_whose_mechanism_is_broken_does_not_join(monkeypatch):
    parties = make_consortium(privacy=LOCAL_PRIVACY)
    monkeypatch.setattr(NoiseSource, "gaussian", lambda self, shape, *, sd: np.zeros(shape))
    task = Parcel(body=parties.task(), blobs={"agreement": parties.agreement.to_bytes()})
    with pytest.raises(PrivacyError, match="take part in nothing"):
        parties.holders["ahus"].answer("join", task)
