"""The hardmax network that interpolates every table, layer by layer, in exact rationals.

Class T̄^{2,1,1} with a query bias: at most two heads of size 1, one piecewise-linear unit. Five stages: quantise,
contextual map, global shift, values, clamp. Source: THEORY section 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flint import fmpq

from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Digits, Grid

MAX_LAYERS = 20_000
ZERO, ONE = fmpq(0), fmpq(1)


@dataclass(frozen=True)
class HardmaxNetwork:
    """The network of one grid; ``G`` is the factor of the global shift (by default one that is sufficient).

    >>> network = HardmaxNetwork.of(Grid(1, 1, 2))
    >>> [len(list(stage)) for stage in (network.quantise(), network.sweep(), network.shift(), network.values())]
    [6, 6, 0, 8]
    """

    grid: Grid
    map: ContextualMap

    @classmethod
    def of(cls, grid: Grid, G: int | None = None) -> HardmaxNetwork:
        factor = ContextualMap(grid).sufficient_shift() if G is None else G
        return cls(grid, ContextualMap(grid, factor))

    # -- stages as layers ---------------------------------------------------------------------------------------------

    def quantise(self) -> Iterator[Layer]:
        """dnk layers: entry t of row r in [g, g + δ) becomes g, one grid value g = 0, δ, …, n − δ at a time."""
        for r in range(self.grid.d):
            for step in range(self.grid.tokens * self.grid.k):
                yield self.quantise_layer(r, step)

    def quantise_layer(self, r: int, step: int) -> Layer:
        """The one for row r and g = step·δ."""
        d, g = self.grid.d, step * self.grid.delta
        unit = PiecewiseLinear((Piece(None, ZERO, ZERO), Piece(g, fmpq(-1), g), Piece(g + self.grid.delta, ZERO, ZERO)))
        return self._feed_forward(_row(d, r), _row(d, r), unit)

    def sweep(self) -> Iterator[Layer]:
        """K layers: the column with id v is lifted by c (max − min), one possible id v at a time, in increasing order;
        a head with threshold b gives the largest id to columns above b and the smallest to those below."""
        for j in range(self.grid.tokens):
            for a in range(self.grid.c):
                yield self.sweep_layer(j, a)

    def sweep_layer(self, j: int, a: int) -> Layer:
        """The one for v = jU + aδ."""
        grid = self.grid
        v = j * grid.unit + a * grid.delta
        heads = (self._head(v - grid.delta / 2, fmpq(grid.c)), self._head(v + grid.delta / 2, -fmpq(grid.c)))
        return self._attention(heads)

    def shift(self) -> Iterator[Layer]:
        """One layer, if G > 0: every column gets G times the largest id."""
        if self.map.G:
            u = RationalMatrix.of([self.grid.u])
            head = Head(RationalMatrix.zeros(1, self.grid.d), u, u, self._first(fmpq(self.map.G)), _one(ONE))
            yield self._attention((head,))

    def values(self) -> Iterator[Layer]:
        """One layer for each context and read column, in increasing order of id: the column with that id becomes its
        target, the middle of the grid interval that the table has at the cell of the input."""
        for entry in self.entries():
            yield self._value_layer(*entry)

    def value_layer(self, codes: Sequence[int], column: int) -> Layer:
        """The one for a context (its n codes) and one of its read columns."""
        return self._value_layer(*self.entry(codes, column))

    def _value_layer(self, final: fmpq, before: Sequence[fmpq], target: Sequence[fmpq]) -> Layer:
        half = self.grid.delta / 2
        unit = PiecewiseLinear(
            (Piece(None, ZERO, ZERO), Piece(final - half, ZERO, ONE), Piece(final + half, ZERO, ZERO))
        )
        change = [y - x for x, y in zip(before, target, strict=True)]
        return self._feed_forward(self.grid.u, change, unit)

    def clamp(self) -> Iterator[Layer]:
        """d layers: every row clamped to [0, 1]."""
        for r in range(self.grid.d):
            yield self.clamp_layer(r)

    def clamp_layer(self, r: int) -> Layer:
        """The one for row r."""
        unit = PiecewiseLinear((Piece(None, fmpq(-1), ZERO), Piece(ZERO, ZERO, ZERO), Piece(ONE, fmpq(-1), ONE)))
        return self._feed_forward(_row(self.grid.d, r), _row(self.grid.d, r), unit)

    @property
    def layer_count(self) -> int:
        """All layers: dnk + K + (1 if G) + m c^n + d."""
        grid = self.grid
        return int(
            grid.d * grid.tokens * grid.k
            + grid.sweep
            + (1 if self.map.G else 0)
            + grid.m * grid.c**grid.tokens
            + grid.d
        )

    def transformer(self) -> Transformer:
        """The whole network with its embedding. Raises ValueError beyond 20,000 layers."""
        if self.layer_count > MAX_LAYERS:
            raise ValueError(
                f"hardmax network: expected at most {MAX_LAYERS} layers to write out, found {self.layer_count}"
            )
        stages = (self.quantise(), self.sweep(), self.shift(), self.values(), self.clamp())
        return Transformer(tuple(layer for stage in stages for layer in stage), self.grid.embedding())

    # -- without the layers -------------------------------------------------------------------------------------------

    def evaluate(self, P: RationalMatrix, X: RationalMatrix) -> RationalMatrix:
        """The output on [P, X] by the proved action of each stage: which layers act on a given state, and on what."""
        grid = self.grid
        table = self._table(P)
        cell = grid.cell_of(X)
        context: Digits = tuple(tuple(a for block in table for a in block[i]) + tuple(cell[i]) for i in range(grid.d))
        codes = self.map.codes(context)
        last = self.map.swept(codes)[-1]
        if self.map.decode(last) != codes:
            raise ArithmeticError("hardmax network: the id of the last column does not name the context")
        return grid.target(table, cell)

    def _table(self, P: RationalMatrix) -> list[Digits]:
        grid = self.grid
        if P.shape != (grid.d, grid.prompt_length):
            raise ValueError(f"prompt: expected {grid.d}×{grid.prompt_length}, found {P.shape[0]}×{P.shape[1]}")
        blocks = []
        for start in range(0, grid.prompt_length, grid.m):
            blocks.append(grid.cell_of(P.columns(start, start + grid.m)))
        return blocks

    def state_before_values(self, codes: Sequence[int]) -> RationalMatrix:
        """The d×n state after the global shift, by the closed form."""
        grid = self.grid
        ids, final = self.map.ids(codes), self.map.final(codes)
        columns = []
        for j, a in enumerate(codes):
            column = [j + (a // grid.k**i % grid.k) * grid.delta for i in range(grid.d)]
            column[0] += final[j] - ids[j]
            columns.append(column)
        return RationalMatrix.of_columns(columns)

    def entries(self) -> list[tuple[fmpq, list[fmpq], list[fmpq]]]:
        """(final id, column before, target) for every context and read column, in increasing order of id."""
        grid = self.grid
        found = [
            self.entry(codes, column)
            for codes in self.map.contexts()
            for column in range(grid.prompt_length, grid.tokens)
        ]
        return sorted(found, key=lambda entry: entry[0])

    def entry(self, codes: Sequence[int], column: int) -> tuple[fmpq, list[fmpq], list[fmpq]]:
        """(final id, column before, target) of one read column of a context."""
        grid = self.grid
        digits = [[a // grid.k**i % grid.k for a in codes] for i in range(grid.d)]
        cell = tuple(tuple(row[grid.prompt_length :]) for row in digits)
        place = grid.cell_number(cell) * grid.m + column - grid.prompt_length
        target = [(digits[i][place] + fmpq(1, 2)) * grid.delta for i in range(grid.d)]
        return self.map.final(codes)[column], self.state_before_values(codes).column(column), target

    # -- parts --------------------------------------------------------------------------------------------------------

    def _feed_forward(self, read: Sequence[fmpq], write: Sequence[fmpq], unit: PiecewiseLinear) -> Layer:
        d = self.grid.d
        zeros = RationalMatrix.zeros(1, d)
        nothing = Head(zeros, zeros, zeros, zeros.T)
        mlp = FeedForward(
            RationalMatrix.of([list(read)]),
            RationalMatrix.zeros(1, 1),
            column_vector(list(write)),
            RationalMatrix.zeros(d, 1),
            (unit,),
        )
        return Layer(Attention((nothing,), kind="hardmax"), mlp)

    def _attention(self, heads: tuple[Head, ...]) -> Layer:
        return Layer(Attention(heads, kind="hardmax"), FeedForward.none(self.grid.d))

    def _head(self, b: fmpq, factor: fmpq) -> Head:
        """``factor e_1 u^T Z hardmax((u^T Z)^T (u^T z_j − b))``."""
        u = RationalMatrix.of([self.grid.u])
        return Head(u, u, u, self._first(factor), _one(-b))

    def _first(self, factor: fmpq) -> RationalMatrix:
        return RationalMatrix.of([[factor if i == 0 else 0] for i in range(self.grid.d)])


def _row(d: int, r: int) -> list[fmpq]:
    return [fmpq(int(i == r)) for i in range(d)]


def _one(x: fmpq) -> RationalMatrix:
    return RationalMatrix.of([[x]])
