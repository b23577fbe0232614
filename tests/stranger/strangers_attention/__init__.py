"""A head that copies: what somebody who has never seen the other repository builds on it."""

from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer


def copying_layer(d):
    """Equal scores and the identity as value: every output is the mean of all tokens."""
    zero, one = RationalMatrix.zeros(d, d), RationalMatrix.identity(d)
    return Layer(Attention((Head(zero, zero, one),)), FeedForward.none(d))
