"""What a head sees of a context: its mass and its output, exactly.

For a query token x with logit vector ``q = W_k^T (W_q x + b_q)`` and a context Z (columns), a head gives token z the
score q·z. Then the context mass is ``S = Σ_z e^{q·z}`` and the head's output is ``A = B / S`` with ``B = Σ_z e^{q·z}
V z``. Source: THEORY sections 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import flint
from flint import arb, fmpq

from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import Head


@dataclass(frozen=True)
class HeadView:
    """A head looking at a context from one query token: ``scores`` (one for each of m columns) and ``values`` (V z,
    d×m).

    >>> one = RationalMatrix.of([[1]])
    >>> view = HeadView.of(Head(one, one, one), [fmpq(1)], RationalMatrix.of([[0, 1]]))
    >>> view.mass, view.sum_along([fmpq(1)])
    (1*e^(0) + 1*e^(1), 1*e^(1))
    """

    logit_vector: tuple[fmpq, ...]
    scores: tuple[fmpq, ...]
    values: RationalMatrix

    @classmethod
    def of(cls, head: Head, token: Sequence[fmpq], context: RationalMatrix) -> HeadView:
        q = head.logit_vectors(column_vector(token))
        scores = q.T.times(context).rows()[0]
        values = head.W_o.times(head.W_v.times(context))
        return cls(tuple(q.column(0)), tuple(scores), values)

    @cached_property
    def mass(self) -> ExpSum:
        """The context mass S."""
        return ExpSum.weighted([fmpq(1)] * len(self.scores), self.scores)

    def sum_along(self, w: Sequence[fmpq]) -> ExpSum:
        """``w·B`` for a vector w of d."""
        coefficients = RationalMatrix.of([list(w)]).times(self.values).rows()[0]
        return ExpSum.weighted(coefficients, self.scores)

    @cached_property
    def sums(self) -> list[ExpSum]:
        """B, a vector of d."""
        return [ExpSum.weighted(row, self.scores) for row in self.values.rows()]

    @property
    def output(self) -> ExpMatrix:
        """The head's output A on this context, d×1."""
        return ExpMatrix([[ExpFraction(b, self.mass)] for b in self.sums], 1)

    def approximate(self, reference: fmpq | None = None, bits: int = 192) -> tuple[list[fmpq], fmpq]:
        """(B, S), both divided by ``e^reference`` (the largest exponential by default), as rationals good to about
        ``bits`` bits: for searches. Exact when all scores equal the reference.
        """
        top = max(self.scores) if reference is None else reference
        with flint.ctx.workprec(bits):
            weights = [midpoint(arb(score - top).exp()) for score in self.scores]
        return self.values.apply(weights), sum(weights, fmpq(0))
