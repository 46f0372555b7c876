import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.reserve import excess_return

AMOUNTS = st.integers(0, 10**9)


@given(AMOUNTS, AMOUNTS, st.dictionaries(st.sampled_from("abcd"), AMOUNTS))
def test_the_excess_goes_back_pro_rata_and_nobody_gets_more_than_it_paid_in(available, target, paid_in):
    back = excess_return(available, target, paid_in)
    assert sum(back.values()) == min(max(available - target, 0), sum(paid_in.values()))
    assert all(0 <= back[holder] <= paid_in[holder] for holder in paid_in)


def test_a_negative_premium_is_refused():
    with pytest.raises(PoolError, match="minor units; expected 0 to"):
        excess_return(1, 0, {"a": -1})
