"""The loss at one query as a function of the prompt's mass alone.

n queries with one logit vector q at the only head: the prompt enters through its mass s and output u. With shifted
preimages a_k, context masses S_k and ``C_k = B_k − S_k a_k``, the residual of query k is ``(C_k + s (u − a_k)) / (S_k
+ s)``. For fixed s the best u is a weighted mean, moved into the slab ``log s − log N ≤ g·u ≤ log s`` (V^T g = q)
that the prompt law leaves. What remains is a function of ``σ = log s − ρ`` (ρ a rational reference). Two charts keep
both ends of the axis finite: (α, β) = (1, e^σ) and (e^{−σ}, 1). Source: THEORY section 3.1 (ours); the formulas are
those of docs/certificate-format.md, claim `prompt-law`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

import flint
import numpy as np
from flint import arb, arb_mat, fmpq
from numpy.typing import NDArray

from constructions.data import Dataset, Example, Query
from constructions.numbers.exponential import ExpSum, enclosures, midpoint
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.context import HeadView
from constructions.single_layer.loss_chart import Chart, State, between
from constructions.single_layer.preimage import Preimage
from constructions.transformer import Attention, FeedForward, Layer, Transformer

Row = list[fmpq]
Floats = NDArray[np.float64]
MAX_COMBINATIONS = 4096


class NoLossProblemError(ValueError):
    """The loss is not a one-query problem; the message says why (several heads, several logit vectors, infinite
    preimages)."""


@dataclass(frozen=True)
class LossProblem:
    """Queries of one logit vector q at the only head of a layer, with finitely many shifted preimages each.

    ``points[k]`` are the preimages z of query k (d numbers each), ``g`` the vector of the slab (None where nothing
    couples mass and output: q = 0, or q outside the row space of V).
    """

    layer: Layer
    queries: tuple[Query, ...]
    preimages: tuple[Preimage, ...]
    q: tuple[fmpq, ...]
    g: tuple[fmpq, ...] | None

    @classmethod
    def of(cls, layer: Layer, queries: Sequence[Query], preimages: Sequence[Preimage]) -> LossProblem:
        """Raises NoLossProblemError, naming the reason."""
        if len(layer.attention.heads) != 1:
            raise NoLossProblemError(f"the layer has {len(layer.attention.heads)} heads; the prompt law is about one")
        head = layer.attention.heads[0]
        vectors = head.logit_vectors(RationalMatrix.of_columns([query.token for query in queries]))
        q = vectors.column(0)
        if any(vectors.column(k) != q for k in range(1, len(queries))):
            raise NoLossProblemError("the queries have different logit vectors")
        for query, found in zip(queries, preimages, strict=True):
            if found.points is None:
                raise NoLossProblemError(f"{query}: the target has infinitely many preimages")
            if not found.points:
                raise NoLossProblemError(f"{query}: the target is out of the range of the MLP")
        if prod(len(found.points or ()) for found in preimages) > MAX_COMBINATIONS:
            raise NoLossProblemError(f"more than {MAX_COMBINATIONS} combinations of preimages")
        g = None
        if any(x != 0 for x in q):
            V = head.V
            if V.is_invertible:
                solution = V.T.solve(q)
                g = None if solution is None else tuple(solution)
            else:
                source = V.T.times(V).solve(q)  # g = V source lies in range V
                g = None if source is None else tuple(V.apply(source))
        return cls(layer, tuple(queries), tuple(preimages), tuple(q), g)

    @property
    def V(self) -> RationalMatrix:
        return self.layer.attention.heads[0].V

    @property
    def integer_masses(self) -> bool:
        """q = 0: the mass of a prompt is its number of tokens."""
        return all(x == 0 for x in self.q)

    @cached_property
    def views(self) -> list[HeadView]:
        head = self.layer.attention.heads[0]
        return [HeadView.of(head, query.token, query.context) for query in self.queries]

    @cached_property
    def shifted(self) -> list[list[Row]]:
        """For each query its shifted preimages a = z − x, in the order of the pieces of the preimage."""
        result = []
        for query, found in zip(self.queries, self.preimages, strict=True):
            points = [piece.point for piece in found.pieces]
            result.append([[z - x for z, x in zip(p, query.token, strict=True)] for p in points if p is not None])
        return result

    @cached_property
    def orthogonal(self) -> list[list[Row]]:
        """For each shifted preimage the part r that no output reaches: V^T r = 0, a − r in range V."""
        V = self.V
        gram = V.T.times(V)

        def part(a: Row) -> Row:
            source = gram.solve(V.T.apply(a))
            assert source is not None  # the normal equations always have a solution
            return [x - y for x, y in zip(a, V.apply(source), strict=True)]

        invertible = V.is_invertible
        return [[[fmpq(0)] * len(a) if invertible else part(a) for a in points] for points in self.shifted]

    @cached_property
    def reference(self) -> fmpq:
        """ρ: a rational near the mean of the log S_k, so that the interesting masses lie around σ = 0."""
        with flint.ctx.workprec(64):
            logs = [midpoint(view.mass.enclosure().log()) for view in self.views]
        return fmpq((sum(logs, fmpq(0)) / len(logs) * 16).floor(), 16)

    def combinations(self) -> Iterator[tuple[int, ...]]:
        """One preimage for each query, the last query's choice running fastest."""
        return product(*[range(len(points)) for points in self.shifted])

    def attention_only(self, choice: Sequence[int] | None = None) -> tuple[Transformer, Dataset]:
        """The same problem as a layer without MLP whose targets are the chosen preimages (the first ones by default):
        its output loss is the loss of this problem. For searches in floats."""
        examples = []
        for k, (query, found) in enumerate(zip(self.queries, self.preimages, strict=True)):
            point = found.pieces[0 if choice is None else choice[k]].point
            assert point is not None
            columns = [query.context.column(j) for j in range(query.context.shape[1]) if j != query.column]
            X = RationalMatrix.of_columns([*columns, query.token])  # the order of a context does not matter
            examples.append(Example(X, column_vector(point)))
        attention = Attention(self.layer.attention.heads)
        return Transformer((Layer(attention, FeedForward.none(len(self.q))),)), Dataset(tuple(examples))

    def loss_at(self, tokens: RationalMatrix, counts: Sequence[int]) -> arb:
        """The loss of a prompt (columns of ``tokens``, d×c, column j taken counts[j] times) as a ball."""
        scores = self.q_scores(tokens)
        top = max(scores)
        weights = [arb(n) * arb(score - top).exp() for n, score in zip(counts, scores, strict=True)]
        mass = sum(weights, arb(0))
        values = arb_mat(self.V.times(tokens).mat) * arb_mat(len(weights), 1, weights)
        return self.loss_for(mass * arb(top).exp(), [x / mass for x in values.entries()])

    def loss_for(self, mass: arb, output: Sequence[fmpq | arb]) -> arb:
        """The loss of a prompt with this mass and output u (d numbers) as a ball."""
        u = [arb(x) for x in output]
        total = arb(0)
        for view, points in zip(self.views, self.shifted, strict=True):
            top = max(view.scores)
            shares = [arb(score - top).exp() for score in view.scores]
            weight = mass * arb(-top).exp()
            everything = weight + sum(shares, arb(0))
            sums = arb_mat(view.values.mat) * arb_mat(len(shares), 1, shares)
            outputs = [(x + weight * y) / everything for x, y in zip(sums.entries(), u, strict=True)]
            losses = [square_distance(outputs, a) for a in points]
            nearest = losses[0]
            for other in losses[1:]:
                nearest = nearest.min(other)
            total += nearest
        return total

    def q_scores(self, tokens: RationalMatrix) -> Row:
        return tokens.T.apply(list(self.q))


@dataclass(frozen=True)
class Guess:
    """In floats, for an array of σ: the loss, the entropy H that a prompt with it has (0 without a slab), and how far
    the best output is above the slab and below it (in a scale of its own; −∞ without that side)."""

    loss: Floats
    entropy: Floats
    above: Floats
    below: Floats


class OneCombination:
    """The loss for one choice of preimages: scaled masses and sums as balls and floats, and the enclosures on parts
    of the axis."""

    def __init__(self, problem: LossProblem, choice: Sequence[int], precision: int) -> None:
        self.problem, self.choice = problem, tuple(choice)
        self.precision = precision
        a = [points[i] for points, i in zip(problem.shifted, choice, strict=True)]
        r = [parts[i] for parts, i in zip(problem.orthogonal, choice, strict=True)]
        self.constant = sum((dot(part, part) for part in r), fmpq(0))
        inner = [[x - y for x, y in zip(p, part, strict=True)] for p, part in zip(a, r, strict=True)]
        shift = ExpSum.exp(-problem.reference)
        self.n, self.d = len(a), len(problem.q)
        with flint.ctx.workprec(precision):
            self.S = enclosures([view.mass * shift for view in problem.views])
            sums = [enclosures([b * shift for b in view.sums]) for view in problem.views]
            self.a = arb_mat(self.d, self.n, [arb(inner[k][i]) for i in range(self.d) for k in range(self.n)])
            C = [[b - S * arb(x) for b, x in zip(sums[k], inner[k], strict=True)] for k, S in enumerate(self.S)]
            self.C = arb_mat(self.d, self.n, [C[k][i] for i in range(self.d) for k in range(self.n)])
            self.g = None if problem.g is None else arb_mat(1, self.d, [arb(x) for x in problem.g])
            self.g_square = arb(1) if problem.g is None else arb(dot(problem.g, problem.g))
        self.rho = problem.reference
        self._parts: dict[tuple[fmpq, fmpq], _Part] = {}
        self._to_floats()

    def sharpened(self, precision: int) -> OneCombination:
        """The same with more bits: at a mass e^{ρ+σ} outputs are of size e^{|σ|}."""
        much = precision > 2 * self.precision
        return OneCombination(self.problem, self.choice, precision) if much else self

    # -- floats: where to look ------------------------------------------------------------------------------------

    def _to_floats(self) -> None:
        """Logarithms of the masses, and A_k − a_k: numbers of a moderate size, whatever the masses."""
        self.log_S = np.array([float(x.log()) for x in self.S])
        self.gap = np.array([[float(self.C[i, k] / self.S[k]) for i in range(self.d)] for k in range(self.n)])
        self.a_float = np.array([[float(self.a[i, k]) for i in range(self.d)] for k in range(self.n)])
        self.g_float = None if self.problem.g is None else np.array([float(x) for x in self.problem.g])

    def guess(self, sigma: Floats, log_length: float | None) -> Guess:
        """For an array of σ, in floats (a guess).

        With λ = S/(S+s), μ = s/(S+s), M the largest μ and w = M u the residuals are ``λ_k (A_k − a_k) + (μ_k/M)(w − M
        a_k)``: nothing here overflows, or vanishes altogether.
        """
        ratio = sigma[:, None] - self.log_S  # log s/S_k
        context = np.exp(-np.logaddexp(0.0, ratio))
        log_shares = -np.logaddexp(0.0, -ratio)
        top = log_shares.max(axis=1)
        shares, scale = np.exp(log_shares - top[:, None]), np.exp(top)
        total = (shares**2).sum(axis=1)
        value = np.zeros_like(sigma)
        at_g = np.zeros_like(sigma)
        for i in range(self.d):  # coordinate by coordinate keeps memory small
            rest = context * self.gap[:, i] - shares * scale[:, None] * self.a_float[:, i]
            w = -(shares * rest).sum(axis=1) / total
            value += ((rest + shares * w[:, None]) ** 2).sum(axis=1)
            if self.g_float is not None:
                at_g += self.g_float[i] * w
        entropy = np.zeros_like(sigma)
        above = below = np.full_like(sigma, -np.inf)
        if self.g_float is not None:
            high = scale * (float(self.rho) + sigma)
            above = at_g - high
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                entropy = np.where(above < 0, -above / scale, 0.0)
            outside = np.maximum(0.0, above)
            if log_length is not None:
                below = high - scale * log_length - at_g
                outside += np.maximum(0.0, below)
            value += total * outside**2 / float(self.g_float @ self.g_float)
        return Guess(value + float(self.constant), entropy, above, below)

    # -- balls: bounds on parts of the axis -----------------------------------------------------------------------

    def inner_part(self, left: fmpq, right: fmpq, log_length: arb | None) -> tuple[arb, arb]:
        """Lower bounds (as exact balls) of the loss for σ in [left, right], the better of plain and mean value form,
        and in the middle alone."""
        part = self._part(left, right)
        plain, slope = self._with_slab(part.whole, log_length)
        centre = self._with_slab(part.centre, log_length)[0]
        radius = arb((right - left) / 2)
        mean_value = centre.lower() - slope.abs_upper() * radius
        return _larger(_floor(plain), mean_value.lower()), _floor(centre)

    def left_end(self, sigma: fmpq, log_length: arb | None) -> arb | None:
        """A lower bound for all σ ≤ sigma; None where the bound does not apply (with a slab it needs ρ + σ ≤ −1)."""
        top = arb(sigma).exp().upper()
        state = self._first.centre(top / 2).state(arb(0), top, arb(0))
        if self.g is None:
            return _floor(state.value + arb(self.constant))
        if not self.rho + sigma <= -1:
            return None
        edge = top * arb(self.rho + sigma)
        low = None if log_length is None else between(edge - top * log_length, arb(0))
        return _floor(self._outside(state, low, between(edge, arb(0))))

    def right_end(self, sigma: fmpq, log_length: arb | None) -> arb:
        """A lower bound for all σ ≥ sigma."""
        top = arb(-sigma).exp().upper()
        state = self._second.centre(top / 2).state(arb(0), top, arb(0))
        if self.g is None or log_length is None:
            return _floor(state.value + arb(self.constant))
        return _floor(self._outside(state, arb(self.rho + sigma) - log_length, None))

    def at_mass(self, mass: int) -> arb:
        """A lower bound of the least loss at an integer mass, without a slab (q = 0)."""
        t = arb(mass) * arb(-self.rho).exp()
        return _floor(self._first.centre(t.mid()).state(t, t, arb(0)).value + arb(self.constant))

    @cached_property
    def _first(self) -> Chart:
        return Chart(True, self.S, self.a, self.C, self.g)

    @cached_property
    def _second(self) -> Chart:
        return Chart(False, self.S, self.a, self.C, self.g)

    def _part(self, left: fmpq, right: fmpq) -> _Part:
        key = (left, right)
        if key not in self._parts:
            middle = (left + right) / 2
            chart, sign = (self._first, 1) if middle <= 0 else (self._second, -1)
            low, inside, high = (arb(sign * x).exp() for x in (left, middle, right))
            centre = chart.centre(inside.mid())
            sigma = between(arb(left), arb(right))
            self._parts[key] = _Part(
                centre.state(low, high, sigma) if sign > 0 else centre.state(high, low, sigma),
                centre.state(inside, inside, arb(middle)),
            )
        return self._parts[key]

    def _with_slab(self, state: State, log_length: arb | None) -> tuple[arb, arb]:
        """A lower bound of the loss, the slab included, and its slope."""
        constant = arb(self.constant)
        if self.g is None:
            return state.value + constant, state.slope
        place = arb(self.rho) + state.sigma
        high = state.beta * place
        high_slope = state.beta_slope * place + state.beta
        above = (state.at_g - high).nonnegative_part()
        value_part, slope_part = above, above * (state.at_g_slope - high_slope)
        if log_length is not None:
            low = state.beta * (place - log_length)
            low_slope = state.beta_slope * (place - log_length) + state.beta
            below = (low - state.at_g).nonnegative_part()
            value_part = value_part - below
            slope_part = slope_part - below * (state.at_g_slope - low_slope)
            square = above * above + below * below  # one of the two is zero at every point
        else:
            square = above * above
        value = state.value + constant + state.weight * square / self.g_square
        slope = state.slope + (state.weight_slope * square + 2 * state.weight * slope_part) / self.g_square
        return value, slope

    def _outside(self, state: State, low: arb | None, high: arb | None) -> arb:
        """The value plus the cost of the distance from [low, high] (either may be absent)."""
        square = arb(0)
        if high is not None:
            above = (state.at_g - high).nonnegative_part()
            square += above * above
        if low is not None:
            below = (low - state.at_g).nonnegative_part()
            square += below * below
        return state.value + arb(self.constant) + state.weight * square / self.g_square

    def best_output(self, sigma: fmpq, log_length: arb | None) -> list[arb]:
        """The best output u at mass e^{ρ+σ}, moved into the slab (d balls)."""
        alpha, beta = (arb(1), arb(sigma).exp()) if sigma <= 0 else (arb(-sigma).exp(), arb(1))
        weights = [1 / (alpha * S + beta) ** 2 for S in self.S]
        total = sum(weights, arb(0))
        mean = (self.a * beta - self.C * alpha) * arb_mat(self.n, 1, [w / total for w in weights])
        v = mean.entries()
        if self.g is not None:
            at = (self.g * mean)[0, 0]
            high = beta * arb(self.rho + sigma)
            move = (at - high).nonnegative_part()
            if log_length is not None:
                move -= (high - beta * log_length - at).nonnegative_part()
            v = [x - move * y / self.g_square for x, y in zip(v, self.g.entries(), strict=True)]
        return [x / beta for x in v]


@dataclass(frozen=True)
class _Part:
    whole: State
    centre: State


def square_distance(x: Sequence[arb], y: Sequence[fmpq]) -> arb:
    """``|x − y|²``; by products, since flint's power of a ball around zero is not a number."""
    differences = [u - arb(v) for u, v in zip(x, y, strict=True)]
    return sum((u * u for u in differences), arb(0))


def _floor(ball: arb) -> arb:
    """The lower end of a sum of squares, which is at least 0."""
    return _larger(arb(0), ball.lower())


def _larger(x: arb, y: arb) -> arb:
    """The larger one; x when y is not a number."""
    return y if y > x else x
