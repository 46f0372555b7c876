from collections.abc import Callable
from typing import Any

import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.agreement.terms import (
    DataTerms,
    EncryptionTerms,
    HolderTerms,
    ModelTerms,
    MoneyTerms,
    PrivacyTerms,
    Terms,
    TrainingTerms,
    ValuationTerms,
)
from fedjoint.identity.keys import Identity

Compose = Callable[..., Terms]


@pytest.fixture(scope="session")
def parties() -> tuple[Identity, ...]:
    """Two holders and the coordinator."""
    return tuple(Identity.create(name, name.title()) for name in ("basel", "zurich", "exchange"))


@pytest.fixture(scope="session")
def compose(parties: tuple[Identity, ...]) -> Compose:
    """Small terms with everything given that a test does not care about."""

    def make(**changes: Any) -> Terms:
        usual = {
            "title": "t",
            "purpose": "p",
            "coordinator": parties[-1].public,
            "holders": tuple(HolderTerms(identity=party.public, num_examples=30) for party in parties[:-1]),
            "data": DataTerms(
                name="d",
                schema=Schema(columns=(Column(name="a", kind="number"),), target=Target(name="y", task="number")),
            ),
            "model": ModelTerms(),
            "training": TrainingTerms(),
            "privacy": PrivacyTerms(mode="local", epsilon=3.0, delta=1e-4, clip_norm=1.0, noise_multiplier=5.5),
            "encryption": EncryptionTerms(),
            "valuation": ValuationTerms(reference_sha256="ab" * 32, reference_num_examples=7),
            "money": MoneyTerms(),
        }
        chosen = usual | changes
        with_noise = chosen["privacy"].mode != "none"
        chosen.setdefault("releases", ReleaseTerms(sizes_noise_multiplier=14.0 if with_noise else None))
        return Terms(**chosen)

    return make


@pytest.fixture(scope="session")
def signed(compose: Compose, parties: tuple[Identity, ...]) -> SignedAgreement:
    """The usual terms, signed by everybody."""
    terms = compose()
    signatures = {party.id: sign_terms(terms, party) for party in parties}
    return SignedAgreement(terms=terms, sha256=terms_sha256(terms), signatures=signatures)
