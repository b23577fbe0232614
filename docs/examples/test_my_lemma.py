"""The lemma as tests: pytest with the plugin of promptcert."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from my_lemma import demand_lipschitz, prove_box, tokens


@pytest.mark.claim("attention-averages")
@given(Z=tokens(st.integers(-3, 3)), moved=tokens(st.integers(-3, 3)))
def test_averages_do_not_stretch(Z, moved):
    demand_lipschitz(Z, moved, 1)


@pytest.mark.claim("attention-averages-corrected")
def test_the_constant_near_0_and_1(certify):
    assert certify(prove_box()).sentence.startswith("attention-lipschitz: on the box")
