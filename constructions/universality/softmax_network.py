"""The softmax network of class T^{2,1,4} (with query biases), layer by layer, at finite temperature.

The stages of the hardmax network with hardmax replaced by softmax at inverse temperature t, and every jump by a ramp of
width η made of ReLUs: three for a quantiser, four for the trapezoid of a value layer, two for a clamp. Source: THEORY
section 6, "Network in T^{2,1,4}".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import flint
from flint import fmpq

from constructions.numbers.balls import BallMatrix
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.universality.for_all import Budget
from constructions.universality.grid import Digits
from constructions.universality.hardmax_network import MAX_LAYERS, HardmaxNetwork


@dataclass(frozen=True)
class SoftmaxNetwork:
    """The network of a budget."""

    budget: Budget

    @property
    def ideal(self) -> HardmaxNetwork:
        """The hardmax network that this one follows."""
        return HardmaxNetwork.of(self.budget.grid, self.budget.G)

    def prompt(self, table: Sequence[Digits]) -> RationalMatrix:
        """The table, its grid values moved by δ/4 so that none is on a ramp."""
        return self.budget.grid.prompt(table, self.budget.grid.delta / 4)

    def quantise(self) -> Iterator[Layer]:
        """``t ↦ t − R(t−g) + (δ/η) R(t−g−δ+η) − ((δ−η)/η) R(t−g−δ)``: g on [g, g + δ − η], t outside of (g, g + δ)."""
        grid, eta = self.budget.grid, self.budget.eta
        delta = grid.delta
        slopes = [fmpq(-1), delta / eta, -(delta - eta) / eta]
        for r in range(grid.d):
            for step in range(grid.tokens * grid.k):
                g = step * delta
                yield self._relu_layer(_unit(grid.d, r), _unit(grid.d, r), [g, g + delta - eta, g + delta], slopes)

    def attention_stages(self) -> Iterator[Layer]:
        """The sweep and the global shift of the hardmax network, W_q and b_q times t."""
        yield from (self._soft(layer) for layer in self.ideal.sweep())
        yield from self.shift_layers()

    def shift_layers(self) -> Iterator[Layer]:
        """The global shift, if there is one."""
        yield from (self._soft(layer) for layer in self.ideal.shift())

    def sweep_layer(self, j: int, a: int) -> Layer:
        """The sweep's layer for the id jU + aδ."""
        return self._soft(self.ideal.sweep_layer(j, a))

    def _soft(self, layer: Layer) -> Layer:
        """A hardmax layer at inverse temperature t."""
        t = self.budget.t
        heads = tuple(
            Head(head.W_q.scaled(t), head.W_k, head.W_v, head.W_o, head.b_q.scaled(t)) for head in layer.attention.heads
        )
        return Layer(Attention(heads), layer.mlp)

    def values(self) -> Iterator[Layer]:
        """Trapezoids around the ids, in increasing order: 1 within δ/4, 0 beyond δ/2."""
        delta = self.budget.grid.delta
        slope = 4 / delta
        for final, before, target in self.ideal.entries():
            change = [y - x for x, y in zip(before, target, strict=True)]
            knots = [final - delta / 2, final - delta / 4, final + delta / 4, final + delta / 2]
            yield self._relu_layer(self.budget.grid.u, change, knots, [slope, -slope, -slope, slope])

    def clamp(self) -> Iterator[Layer]:
        """``z + R(−z) − R(z − 1)``, two rows at a time."""
        d = self.budget.grid.d
        for first in range(0, d, 2):
            rows = range(first, min(first + 2, d))
            W_1 = [[fmpq(sign) * x for x in _unit(d, r)] for r in rows for sign in (-1, 1)]
            b_1 = [fmpq(x) for _ in rows for x in (0, -1)]
            W_2 = RationalMatrix.of_columns([[sign * x for x in _unit(d, r)] for r in rows for sign in (1, -1)])
            mlp = FeedForward(RationalMatrix.of(W_1), column_vector(b_1), W_2, RationalMatrix.zeros(d, 1))
            yield Layer(Attention((_silent(d),)), mlp)

    def transformer(self) -> Transformer:
        """The whole network with its embedding. Raises ValueError beyond 20,000 layers."""
        count = self.ideal.layer_count
        if count > MAX_LAYERS:
            raise ValueError(f"softmax network: expected at most {MAX_LAYERS} layers to write out, found {count}")
        stages = (self.quantise(), self.attention_stages(), self.values(), self.clamp())
        return Transformer(tuple(layer for stage in stages for layer in stage), self.budget.grid.embedding())

    @property
    def working_precision(self) -> int:
        """Bits with which the layer-by-layer enclosure stays narrow. Far from its support a value layer adds four terms
        that cancel exactly, but not in balls: each costs the bits of its slopes and of the largest id."""
        grid = self.budget.grid
        largest = self.ideal.map.final([grid.c - 1] * grid.tokens)[-1]
        per_layer: int = int((16 * grid.k * (largest + 1)).ceil()).bit_length()
        layers: int = grid.m * grid.c**grid.tokens + 4 * grid.tokens
        return 256 + per_layer * layers

    def enclosure(self, P: RationalMatrix, X: RationalMatrix, bits: int | None = None) -> BallMatrix:
        """The output on [P, X] by all layers, in balls, at ``bits`` of precision (by default enough)."""
        model = self.transformer()
        assert model.E is not None
        with flint.ctx.workprec(self.working_precision if bits is None else bits):
            Z: Matrix = BallMatrix.embed(RationalMatrix(P.hstack(X).mat + model.E.mat))
            for layer in model.layers:
                Z = layer(Z)
            assert isinstance(Z, BallMatrix)
            return Z.columns(P.shape[1], P.shape[1] + X.shape[1])

    def on_ramp(self, X: RationalMatrix) -> bool:
        """Whether an entry of X is on a ramp of the quantiser, where the certificate only knows that the error is at
        most 1."""
        grid = self.budget.grid
        for row in X.rows():
            for x in row:
                inside = x - fmpq((x * grid.k).floor()) * grid.delta
                if inside > grid.delta - self.budget.eta:
                    return True
        return False

    def _relu_layer(
        self, read: Sequence[fmpq], write: Sequence[fmpq], knots: Sequence[fmpq], slopes: Sequence[fmpq]
    ) -> Layer:
        """``z + write Σ_i slopes_i R(read·z − knots_i)``."""
        d = self.budget.grid.d
        W_1 = RationalMatrix.of([list(read) for _ in knots])
        W_2 = RationalMatrix.of([[x * slope for slope in slopes] for x in write])
        mlp = FeedForward(W_1, column_vector([-x for x in knots]), W_2, RationalMatrix.zeros(d, 1))
        return Layer(Attention((_silent(d),)), mlp)


def _unit(d: int, r: int) -> list[fmpq]:
    return [fmpq(int(i == r)) for i in range(d)]


def _silent(d: int) -> Head:
    zeros = RationalMatrix.zeros(1, d)
    return Head(zeros, zeros, zeros, zeros.T)
