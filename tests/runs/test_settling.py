"""Who is paid alike in a run's settlement, by the errors that the agreement counts."""

from dataclasses import replace

import pytest

from fedjoint.agreement.signing import SignedAgreement, terms_sha256
from fedjoint.runs.settling import Revenue, settle_run
from fedjoint.valuation.uncertainty import ErrorBars
from tests.fakes import make_consortium

#: Ahus and Bern differ by 0.01, which the choice of reference records explains and the noise does not.
CONTRIBUTIONS = {"ahus": 0.50, "bern": 0.49, "cork": 0.10}
ERRORS = ErrorBars(noise=dict.fromkeys(CONTRIBUTIONS, 1e-4), sampling=((1e-2, 0, 0), (0, 1e-2, 0), (0, 0, 1e-4)))


@pytest.mark.parametrize(("counted", "alike"), [("all", (("ahus", "bern"),)), ("noise", ())])
def test_errors_that_only_a_simulation_knows_join_nobody_where_noise_alone_is_agreed(counted, alike):
    terms = make_consortium().terms
    terms = replace(terms, money=replace(terms.money, materiality_errors=counted))
    settled = settle_run(
        SignedAgreement(terms=terms, sha256=terms_sha256(terms), signatures={}),
        "0" * 32,
        revenue=Revenue(gross_minor=100_000, buyer="buyer", at="2026-01-01T00:00:00Z"),
        contributions=CONTRIBUTIONS,
        utility_gain=1.09,
        errors=ERRORS,
    )
    assert settled.paid_alike == alike
