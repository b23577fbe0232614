"""Numbers that decide: rationals, the exponential field Frac(Q[e^q]), and balls.

The three matrix types share one small interface (:class:`~constructions.numbers.matrix.Matrix`), so that the
transformer is written once. Floats appear only in searches, never here.
"""

from constructions.numbers.balls import BallMatrix, until_decided
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import FieldError, Matrix, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector, dot, rational, vector

__all__ = [
    "BallMatrix",
    "ExpFraction",
    "ExpMatrix",
    "ExpSum",
    "FieldError",
    "Matrix",
    "PiecewiseLinear",
    "RationalMatrix",
    "column_vector",
    "dot",
    "rational",
    "until_decided",
    "vector",
]
