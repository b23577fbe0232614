"""The hardmax network without query biases: class T̄^{1,1,1}, one head in each layer.

The sweep's layer for the id v has two thresholds, v − δ/2 and v + δ/2; a layer without query bias has none but 0. When
the turn of v comes, however, no column is below v. So the upper threshold is enough; it is put at 0 by moving all
columns, which b_2 of a feed-forward part does, and two layers with one head each lift the column that is below it.
Source: ours; proof in docs/theory/universality.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flint import fmpq, fmpz

from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import Attention, FeedForward, Head, Layer
from constructions.universality.hardmax_network import ONE, ZERO, HardmaxNetwork


@dataclass(frozen=True)
class BiasFreeNetwork(HardmaxNetwork):
    """The network of one grid with 2K + 1 layers for the sweep; all other stages are those of the hardmax network.

    >>> from constructions.universality.grid import Grid
    >>> BiasFreeNetwork.of(Grid(1, 1, 2)).transformer().class_membership(1, 1, 1, modified=True).holds
    True
    """

    @property
    def depth(self) -> fmpq:
        """H: further than any id, c times, is from another: c^{n+1} ((n−1) U + c δ)."""
        grid = self.grid
        return fmpz(grid.c) ** (grid.tokens + 1) * ((grid.tokens - 1) * grid.unit + fmpq(grid.c, grid.k))

    def sweep(self) -> Iterator[Layer]:
        """All columns are moved by −b, b = v + δ/2; two layers for v; and on to the next v, in the end back by +b."""
        grid = self.grid
        thresholds = [
            j * grid.unit + a * grid.delta + grid.delta / 2 for j in range(grid.tokens) for a in range(grid.c)
        ]
        yield Layer(Attention((self._silent(),), kind="hardmax"), self._moved(-thresholds[0]))
        for b, following in zip(thresholds, [*thresholds[1:], ZERO], strict=True):
            yield from self._lift(b - following)

    def _lift(self, move: fmpq) -> Iterator[Layer]:
        """Ids are relative to the threshold: the column of v, if there is one, has −δ/2 and the others w_i ≥ δ/2, their
        largest is M. The first layer leads to w_i − cM < 0 and (c−1)δ/2 > 0, this one is moved down by H; the second
        adds cM to all, and moves the column of v, again the only one of its sign, up by H."""
        c = self.grid.c
        u = RationalMatrix.of([self.grid.u])
        above = PiecewiseLinear((Piece(None, ZERO, ZERO), Piece(ZERO, ZERO, ONE)))
        below = PiecewiseLinear((Piece(None, ZERO, ONE), Piece(ZERO, ZERO, ZERO)))
        first = Head(u, u, u, self._first(fmpq(-c)))
        second = Head(u.scaled(fmpq(-1)), u, u, self._first(fmpq(-c, c - 1)))
        yield Layer(Attention((first,), kind="hardmax"), self._step(above, -self.depth, ZERO))
        yield Layer(Attention((second,), kind="hardmax"), self._step(below, self.depth, move))

    def shift(self) -> Iterator[Layer]:
        """One layer, if G > 0: all ids are positive, so u^T z_j as query looks at the largest."""
        if self.map.G:
            u = RationalMatrix.of([self.grid.u])
            yield self._attention((Head(u, u, u, self._first(fmpq(self.map.G))),))

    @property
    def layer_count(self) -> int:
        """K + 1 layers more than with query biases."""
        return super().layer_count + self.grid.sweep + 1

    def _step(self, unit: PiecewiseLinear, by: fmpq, move: fmpq) -> FeedForward:
        """Adds ``by`` e_1 to the columns whose id the unit marks, and ``move`` e_1 to all."""
        u, zero = RationalMatrix.of([self.grid.u]), RationalMatrix.zeros(1, 1)
        return FeedForward(u, zero, self._first(by), self._first(move), (unit,))

    def _moved(self, move: fmpq) -> FeedForward:
        d = self.grid.d
        nothing = FeedForward.none(d)
        return FeedForward(nothing.W_1, nothing.b_1, nothing.W_2, column_vector([move, *[ZERO] * (d - 1)]))

    def _silent(self) -> Head:
        zeros = RationalMatrix.zeros(1, self.grid.d)
        return Head(zeros, zeros, zeros, zeros.T)
