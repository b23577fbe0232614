"""A transformer's layers over plain Python numbers, for comparison: loops, no library.

``fractions.Fraction`` for hardmax networks (exact), ``mpmath.iv`` for softmax networks. mpmath.iv's exp is not rigorous
(its intervals can miss the true value), so nothing is decided by it; it is here for its speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from flint import arb, fmpq
from mpmath import iv

from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward, Head, Layer

Rows = list[list[Any]]


class PlainLayer:
    """One layer with its weights converted by ``number``."""

    def __init__(self, layer: Layer, number: Callable[[fmpq], Any]) -> None:
        self.soft = layer.attention.kind == "softmax"
        self.heads = [self._head(head, number) for head in layer.attention.heads]
        self.number = number
        self.mlp = layer.mlp
        mlp: FeedForward = layer.mlp
        self.weights = [converted(part, number) for part in (mlp.W_1, mlp.b_1, mlp.W_2, mlp.b_2)]
        self.units = [
            [
                (None if piece.start is None else number(piece.start), number(piece.slope), number(piece.intercept))
                for piece in unit.pieces
            ]
            for unit in mlp.units or ()
        ]

    @staticmethod
    def _head(head: Head, number: Callable[[fmpq], Any]) -> list[Rows]:
        return [converted(part, number) for part in (head.W_q, head.W_k, head.W_v, head.W_o, head.b_q)]

    def __call__(self, Z: Rows) -> Rows:
        n = len(Z[0])
        total = Z
        for W_q, W_k, W_v, W_o, b_q in self.heads:
            queries = plus(product(W_q, Z), b_q, n)
            scores = product(transposed(product(W_k, Z)), queries)
            weights = transposed([soft(column) if self.soft else hard(column) for column in transposed(scores)])
            total = added(total, product(W_o, product(product(W_v, Z), weights)))
        W_1, b_1, W_2, b_2 = self.weights
        shifted = plus(total, b_2, n)
        if not W_1:
            return shifted
        hidden = plus(product(W_1, total), b_1, n)
        if self.units:
            hidden = [[piecewise(unit, t) for t in row] for unit, row in zip(self.units, hidden, strict=True)]
        else:
            hidden = [[relu(t) for t in row] for row in hidden]
        return added(product(W_2, hidden), shifted)


def converted(matrix: RationalMatrix, number: Callable[[fmpq], Any]) -> Rows:
    return [[number(x) for x in row] for row in matrix.rows()]


def fraction(x: fmpq) -> Fraction:
    return Fraction(int(x.p), int(x.q))


def interval(x: fmpq) -> Any:
    """At mpmath.iv's current precision."""
    return iv.mpf(int(x.p)) / int(x.q)


def overlap(x: Any, ball: arb) -> bool:
    """Whether an interval and a ball have a number in common, as far as 60 digits tell."""
    middle, radius = (iv.mpf(part.str(60, radius=False)) for part in (ball.mid(), ball.rad()))
    slack = radius + iv.mpf(2) ** -150
    return bool((x - middle).a <= slack.b and (middle - x).a <= slack.b)


def product(A: Rows, B: Rows) -> Rows:
    columns = transposed(B)
    return [
        [sum((x * y for x, y in zip(row[1:], column[1:], strict=True)), row[0] * column[0]) for column in columns]
        for row in A
    ]


def transposed(A: Rows) -> Rows:
    return [list(column) for column in zip(*A, strict=True)]


def added(A: Rows, B: Rows) -> Rows:
    return [[x + y for x, y in zip(left, right, strict=True)] for left, right in zip(A, B, strict=True)]


def plus(A: Rows, column: Rows, n: int) -> Rows:
    return [[x + b[0] for x in row[:n]] for row, b in zip(A, column, strict=True)]


def hard(column: Sequence[Any]) -> list[Any]:
    top = max(column)
    share = Fraction(1, column.count(top))
    return [share if x == top else Fraction(0) for x in column]


def soft(column: Sequence[Any]) -> list[Any]:
    top = max((x.mid for x in column), key=lambda x: x.a)
    powers = [iv.exp(x - top) for x in column]
    total = sum(powers[1:], powers[0])
    return [power / total for power in powers]


def relu(x: Any) -> Any:
    return iv.mpf([max(x.a, 0), max(x.b, 0)])


def piecewise(pieces: Sequence[tuple[Any, Any, Any]], t: Any) -> Any:
    _, slope, intercept = pieces[0]
    for start, a, b in pieces[1:]:
        if t >= start:
            slope, intercept = a, b
    return slope * t + intercept
