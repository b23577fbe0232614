import pytest
from hypothesis import given
from strangers_attention import copying_layer
from strangers_attention.claims import contraction

from constructions.numbers.rational import RationalMatrix
from verify.strategies import inputs


def mean(X):
    d, m = X.shape
    return RationalMatrix.of([[sum(X.rows()[i]) / m] * m for i in range(d)])


@pytest.mark.claim("copying-averages")
@given(X=inputs(2))
def test_the_output_is_the_mean(X):
    residual = X + mean(X)  # the layer adds its input
    assert copying_layer(2)(X).as_rational() == residual


@pytest.mark.claim("copying-copies")
@given(X=inputs(2))
def test_what_the_stranger_believed(X):
    assert copying_layer(2)(X).as_rational() == X + X


@pytest.mark.claim("copying-contracts")
def test_the_constant_is_certified(certify):
    assert certify(contraction()).sentence.startswith("attention-lipschitz: ")
