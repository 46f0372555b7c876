from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.accounts import BANK, ESCROW, FEE, RESERVE, SUSPENSE, check_account, payable, receivable


@pytest.mark.parametrize("name", [BANK, ESCROW, FEE, RESERVE, SUSPENSE, payable("a"), receivable("b-1_c")])
def test_an_account_of_the_scheme_is_accepted(name):
    assert check_account(name) == name


@pytest.mark.parametrize(
    "name", ["", "cash", "escrow:a", "payable", "payable:", "payable:A", "payable:a:b", "payable:a\n", "Escrow", ":a"]
)
def test_a_name_outside_the_scheme_is_refused_and_the_scheme_named(name):
    with pytest.raises(PoolError, match="payable:<party id>"):
        check_account(name)


@pytest.mark.parametrize("make", [payable, receivable])
def test_an_account_of_a_malformed_party_is_refused(make):
    with pytest.raises(PoolError, match="no account"):
        make("Not A Party")


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True))
def test_every_party_can_have_an_account(party):
    PublicIdentity(id=party, name="", signing_key="0" * 64, sealing_key="0" * 64)
    assert payable(party) == f"payable:{party}"
