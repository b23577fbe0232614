"""Softmax of a score matrix, which may lead from the rationals into the exponential field."""

from __future__ import annotations

from collections.abc import Callable

from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix


def softmax(scores: Matrix, visible: Callable[[int], int] | None = None) -> Matrix:
    """Column by column e^{score}/Σ. Rational scores give exponential fractions; balls give balls.

    ``visible(j)`` is the number of leading rows (tokens) that column j sees, all when None. Raises FieldError for
    exponential scores that are not rational: softmax of softmax leaves Frac(Q[e^q]).

    >>> softmax(RationalMatrix.of([[0], [0]]))[0, 0].as_rational()
    1/2
    """
    if isinstance(scores, RationalMatrix):
        return ExpMatrix.softmax_of(scores, visible)
    assert isinstance(scores, (ExpMatrix, BallMatrix))
    return scores.softmax(visible)
