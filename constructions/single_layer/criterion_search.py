"""Searching the criterion of several queries: a point where all inequalities are strict, or a tree of boxes that are
all refuted.

Branch and prune on boxes for σ, ends of the axis included. A box is refuted by a non-negative combination of the
inequalities that is negative on all of it; the multipliers come from an exact linear program over sample points, and
the combination is then bounded group by group (it is a sum of functions ``A σ + b + Γ e^{−σ}``): convex ones at their
ends, concave ones by a tangent. Source: THEORY section 3.2 (ours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log
from typing import TypeAlias

import flint
import numpy as np
from flint import arb, fmpq, fmpq_mat
from numpy.typing import NDArray
from scipy.optimize import minimize

from constructions.numbers import linear
from constructions.numbers.exponential import ExpSum, midpoint
from constructions.single_layer.several_queries import Inequality, System
from constructions.verdict import Undecided

Row = list[fmpq]
Floats = NDArray[np.float64]
MAX_NODES = 4000
PRECISION = 192


@dataclass(frozen=True)
class Interval:
    """[low, high] with None for an infinite end."""

    low: fmpq | None
    high: fmpq | None

    def cut(self, at: fmpq) -> tuple[Interval, Interval]:
        """Both closed halves; a cut outside leaves one half as it is and the other of one point or empty (kept as
        given)."""
        below = Interval(self.low, at if self.high is None or at < self.high else self.high)
        above = Interval(at if self.low is None or at > self.low else self.low, self.high)
        return below, above


Box: TypeAlias = "tuple[Interval, ...]"


@dataclass(frozen=True)
class Refutation:
    """Multipliers of all inequalities (in the order of the system) and the tangent points of the concave groups."""

    multipliers: tuple[fmpq, ...]
    tangents: tuple[fmpq | None, ...]


@dataclass(frozen=True)
class Cut:
    """A node: the box is cut at σ_group = at."""

    group: int
    at: fmpq
    below: CriterionTree
    above: CriterionTree


CriterionTree: TypeAlias = "Refutation | Cut"


@dataclass(frozen=True)
class FeasiblePoint:
    """A box (a point for free groups) on which every inequality is strict."""

    box: tuple[tuple[fmpq, fmpq], ...]


class CriterionSearch:
    """One search; ``guesses`` of feasible points can be asked for beforehand by :meth:`find_point`."""

    def __init__(self, system: System, max_nodes: int = MAX_NODES) -> None:
        self.system = system
        self.n = len(system.groups)
        self.inequalities = system.inequalities
        self.budget = max_nodes
        with flint.ctx.workprec(PRECISION):
            self.reference = [self._reference(g) for g in range(self.n)]
            self.log_length = None if system.length is None else midpoint(arb(system.length).log())
        self._to_floats()

    def _reference(self, g: int) -> fmpq:
        """A rational near the logarithm of the context mass of a group: the scale of its axis."""
        view = self.system.groups[g].combination.problem.views[0]
        return fmpq((midpoint(view.mass.enclosure().log()) * 16).floor(), 16)

    def _to_floats(self) -> None:
        """Everything in τ = σ − reference, in floats (guesses)."""
        rows = len(self.inequalities)
        self.slopes = np.array([i.slopes for i in self.inequalities], dtype=float).reshape(rows, self.n)
        self.constants = np.zeros(rows)
        self.decays = np.zeros(rows)
        self.owner = np.array([i.group for i in self.inequalities])
        self.exact_decays: list[fmpq] = []
        self.exact_constants: list[fmpq] = []
        for row, inequality in enumerate(self.inequalities):
            shift = sum((s * r for s, r in zip(inequality.slopes, self.reference, strict=True)), fmpq(0))
            constant = inequality.constant + shift + (self.log_length or fmpq(0)) * inequality.log_length
            decay = inequality.decay.approximate(self.reference[inequality.group], 64)
            self.exact_constants.append(constant)
            self.exact_decays.append(decay)
            self.constants[row], self.decays[row] = float(constant), float(decay)
        self.reach = 200.0 + 8 * float(np.abs(self.constants).max())

    # -- a feasible point ---------------------------------------------------------------------------------------------

    def values(self, tau: Floats) -> Floats:
        result: Floats = self.slopes @ tau + self.constants
        result += self.decays * np.exp(-np.clip(tau[self.owner], -600, 600))
        return result

    def find_point(self, seed: int = 0, starts: int = 24) -> FeasiblePoint | None:
        """A strictly feasible point, if some start of a local search ends in one (checked in balls)."""
        rng = np.random.default_rng(seed)
        fixed = [
            None if b is None else float((b[0] + b[1]) / 2 - r)
            for b, r in zip(self.system.brackets, self.reference, strict=True)
        ]
        free = [g for g in range(self.n) if fixed[g] is None]
        base = np.array([0.0 if x is None else x for x in fixed])
        for k in range(starts):
            tau = base.copy()
            if k % 3 == 0:  # masses as large as the constants ask for
                tau[free] = rng.uniform(0, self.reach / 4, size=len(free))
            else:
                tau[free] = rng.normal(size=len(free)) * (1 + k)
            if free:
                tau = self._climb(tau, free)
            if not np.isfinite(tau).all() or self.values(tau).min() <= 0:
                if not free:
                    break
                continue
            point = self._certified(tau)
            if point is not None:
                return point
        return None

    def short_points(self, point: FeasiblePoint) -> Iterator[Floats]:
        """σ in floats where the entropies, and with them the prompt, are small and the divergences not too small:
        guesses for explicit prompts, from well separated clusters of tokens to barely separated ones."""
        start = np.array(
            [float((low + high) / 2 - r) for (low, high), r in zip(point.box, self.reference, strict=True)]
        )
        free = [g for g in range(self.n) if self.system.brackets[g] is None]
        entropies = [row for row, x in enumerate(self.inequalities) if x.kind == "entropy"]
        others = [row for row, x in enumerate(self.inequalities) if x.kind == "divergence"]

        def full(x: Floats) -> Floats:
            tau = start.copy()
            tau[free] = x
            return tau

        def size(x: Floats) -> float:
            return float(np.logaddexp.reduce(self.values(full(x))[entropies]))

        for divergence in (4.0, 2.0, 1.0, 0.3, 0.1):
            if free:

                def room(x: Floats, least: float = divergence) -> Floats:
                    values = self.values(full(x))
                    result: Floats = np.concatenate([values[entropies] - 0.02, values[others] - least])
                    return result

                run = minimize(
                    size,
                    start[free],
                    constraints=[{"type": "ineq", "fun": room}],  # type: ignore[call-overload]
                    method="SLSQP",
                    options={"maxiter": 200},
                )
                tau = full(run.x) if np.isfinite(run.x).all() and room(run.x).min() > -1e-6 else None
            else:
                tau = start
            if tau is not None:
                yield tau + np.array([float(r) for r in self.reference])

    def _climb(self, tau: Floats, free: list[int]) -> Floats:
        """Raise the least inequality by sequential quadratic programming in (τ_free, t)."""

        def full(x: Floats) -> Floats:
            result = tau.copy()
            result[free] = x[:-1]
            return result

        def gap(x: Floats) -> Floats:
            result: Floats = self.values(full(x)) - x[-1]
            return result

        def gap_slope(x: Floats) -> Floats:
            now = full(x)
            jacobian = self.slopes.copy()
            decay = -self.decays * np.exp(-np.clip(now[self.owner], -600, 600))
            jacobian[np.arange(len(decay)), self.owner] += decay
            return np.hstack([jacobian[:, free], -np.ones((len(decay), 1))])

        start = np.append(tau[free], self.values(tau).min())
        unit = np.append(np.zeros(len(free)), -1.0)
        try:
            run = minimize(
                lambda x: float(unit @ x),
                start,
                jac=lambda x: unit,
                constraints=[{"type": "ineq", "fun": gap, "jac": gap_slope}],  # type: ignore[call-overload]
                bounds=[*[(-self.reach, self.reach)] * len(free), (-np.inf, 1.0)],
                method="SLSQP",
                options={"maxiter": 100},
            )
        except (ValueError, FloatingPointError):
            return tau
        return full(run.x)

    def _certified(self, tau: Floats) -> FeasiblePoint | None:
        for bits in (8, 20, 40):
            box = []
            for g in range(self.n):
                bracket = self.system.brackets[g]
                if bracket is not None:
                    box.append(bracket)
                else:
                    sigma = self.reference[g] + fmpq(round(float(tau[g]) * 2**bits)) / fmpq(2) ** bits
                    box.append((sigma, sigma))
            try:
                if self.system.holds_strictly(box):
                    return FeasiblePoint(tuple(box))
            except Undecided:
                continue
        return None

    # -- refutation ---------------------------------------------------------------------------------------------------

    def refute(self) -> CriterionTree | FeasiblePoint:
        """A tree that refutes the closed system everywhere, or a strictly feasible point met on the way. Raises
        Undecided past the node limit."""
        with flint.ctx.workprec(PRECISION):
            box = tuple(Interval(None, None) if b is None else Interval(*b) for b in self.system.brackets)
            return self._explore(box, 0)

    def _explore(self, box: Box, depth: int) -> CriterionTree | FeasiblePoint:
        self.budget -= 1
        if self.budget < 0 or depth > 400:
            raise Undecided(
                "the criterion of several queries: more boxes than the limit, neither a point nor a refutation"
            )
        if any(i.low is not None and i.high is not None and i.low > i.high for i in box):
            raise AssertionError("empty box")
        refutation = self._refutation(box)
        if refutation is not None:
            return refutation
        if depth % 4 == 2:
            centre = np.array([self._sample(box[g], g, 3)[1] for g in range(self.n)])
            if self.values(centre).min() > 0:
                point = self._certified(centre)
                if point is not None:
                    return point
        group, at = self._where_to_cut(box)
        halves = box[group].cut(at)
        parts = []
        for half in halves:
            part = self._explore((*box[:group], half, *box[group + 1 :]), depth + 1)
            if isinstance(part, FeasiblePoint):
                return part
            parts.append(part)
        return Cut(group, at, parts[0], parts[1])

    def _sample(self, interval: Interval, g: int, count: int) -> list[float]:
        """Points τ of an interval, ends included; an infinite end is replaced by far points."""
        low = -inf if interval.low is None else float(interval.low - self.reference[g])
        high = inf if interval.high is None else float(interval.high - self.reference[g])
        if isfinite(low) and isfinite(high):
            return [low + (high - low) * i / (count - 1) for i in range(count)]
        if isfinite(low):
            return [low, *[low + 0.25 * 4.0**i for i in range(count - 1)]]
        if isfinite(high):
            return [*[high - 0.25 * 4.0 ** (i * 4 / count) for i in range(count - 1, 0, -1)], high]
        return [
            *[-(0.5 * 2.0**i) for i in range(count // 2, 0, -1)],
            *[0.5 * 4.0**i for i in range(count - count // 2)],
        ]

    def _refutation(self, box: Box) -> Refutation | None:
        """Multipliers from a linear program at sample points, then the bound in balls."""
        rows = len(self.inequalities)
        width = rows + self.n  # multipliers, then one bound for each group
        G: list[Row] = []
        right: Row = []
        for g in range(self.n):
            for tau in self._sample(box[g], g, 9):
                place = fmpq(round(tau * 2**20)) / fmpq(2) ** 20
                decay = midpoint(arb(-place).exp())
                decay = fmpq((decay * 2**60).floor(), 2**60)
                row = [
                    inequality.slopes[g] * place + (self.exact_decays[i] * decay if inequality.group == g else fmpq(0))
                    for i, inequality in enumerate(self.inequalities)
                ]
                G.append([*row, *[fmpq(-int(j == g)) for j in range(self.n)]])
                right.append(fmpq(0))
            if box[g].high is None:  # no growth at +∞
                G.append([*[fmpq(i.slopes[g]) for i in self.inequalities], *[fmpq(0)] * self.n])
                right.append(fmpq(0))
            if box[g].low is None:  # no growth of e^{−σ} at −∞
                row = [self.exact_decays[i] if x.group == g else fmpq(0) for i, x in enumerate(self.inequalities)]
                G.append([*row, *[fmpq(0)] * self.n])
                right.append(fmpq(0))
        for i in range(rows):
            G.append([fmpq(-int(i == j)) for j in range(width)])
            right.append(fmpq(0))
        objective = [*[-c for c in self.exact_constants], *[fmpq(-1)] * self.n]
        E = fmpq_mat(1, width, [*[fmpq(1)] * rows, *[fmpq(0)] * self.n])
        matrix = fmpq_mat(len(G), width, [x for row in G for x in row])
        answer = linear.maximize(objective, matrix, right, E, [fmpq(1)])
        if not isinstance(answer, linear.Optimal) or answer.value <= 0:
            return None
        for multipliers in _shortened(answer.point[:rows]):
            tangents = self._bounded_below_zero(multipliers, box)
            if tangents is not None:
                return Refutation(tuple(multipliers), tuple(tangents))
        return None

    def _bounded_below_zero(self, multipliers: Sequence[fmpq], box: Box) -> list[fmpq | None] | None:
        """The tangent points with which the combination is proved negative on the box; None when it is not."""
        total = arb(0)
        for m, inequality in zip(multipliers, self.inequalities, strict=True):
            total += arb(m * inequality.constant)
            if inequality.log_length and self.system.length is not None:
                total += arb(m) * arb(self.system.length).log()
        tangents: list[fmpq | None] = []
        for g in range(self.n):
            slope = sum((m * i.slopes[g] for m, i in zip(multipliers, self.inequalities, strict=True)), fmpq(0))
            decay = ExpSum({})
            for m, i in zip(multipliers, self.inequalities, strict=True):
                if m != 0 and i.group == g:
                    decay = decay + i.decay * m
            bound = self._group_bound(g, slope, decay, box[g])
            if bound is None:
                return None
            total += bound[0]
            tangents.append(bound[1])
        return tangents if total < 0 else None

    def _group_bound(self, g: int, slope: fmpq, decay: ExpSum, interval: Interval) -> tuple[arb, fmpq | None] | None:
        """An upper bound of ``slope σ + decay e^{−σ}`` on the interval, with the tangent point of a concave
        function."""

        def value(sigma: fmpq) -> arb:
            return arb(slope * sigma) + (decay * ExpSum.exp(-sigma)).enclosure()

        sign = decay.sign()
        low, high = interval.low, interval.high
        if sign >= 0:
            if (low is None and (sign > 0 or slope < 0)) or (high is None and slope > 0):
                return None
            ends = [value(x) for x in (low, high) if x is not None]
            if not ends:  # decay 0, slope 0 on the whole axis
                return arb(0), None
            return (ends[0] if len(ends) == 1 else ends[0].max(ends[1])), None
        tangent = self._tangent_point(g, slope, decay, interval)
        if (
            tangent is None
        ):  # the two parts one by one: slope σ at an end, and decay e^{−σ} ≤ its value at the right end
            if (high is None and slope > 0) or (low is None and slope < 0):
                return None
            ends = [arb(slope * x) for x in (low, high) if x is not None] if slope != 0 else [arb(0)]
            last = arb(0) if high is None else (decay * ExpSum.exp(-high)).enclosure()
            return (ends[0] if len(ends) == 1 else ends[0].max(ends[1])) + last, None
        at = value(tangent)
        tilt = arb(slope) - (decay * ExpSum.exp(-tangent)).enclosure()
        if (high is None and not tilt <= 0) or (low is None and not tilt >= 0):
            return None
        ends = [at + tilt * arb(x - tangent) for x in (low, high) if x is not None]
        if not ends:
            return None
        return (ends[0] if len(ends) == 1 else ends[0].max(ends[1])), tangent

    def _tangent_point(self, g: int, slope: fmpq, decay: ExpSum, interval: Interval) -> fmpq | None:
        """Where the concave function is largest on the interval, slightly moved towards a finite end."""
        scaled = float(decay.approximate(self.reference[g], 64))
        low, high = interval.low, interval.high
        if slope < 0 and scaled < 0:
            top = self.reference[g] + fmpq(round(log(scaled / float(slope)) * 2**24)) / fmpq(2) ** 24
            if high is None:
                top += fmpq(1, 2**20)
            elif low is None:
                top -= fmpq(1, 2**20)
            if low is not None and top < low:
                return low
            if high is not None and top > high:
                return high
            return top
        return high if high is not None else None  # increasing: the largest value is at the right end

    def _where_to_cut(self, box: Box) -> tuple[int, fmpq]:
        """The widest free interval and a point inside it; infinite ones first, at growing distance from the
        reference."""
        best: tuple[float, int] | None = None
        for g, interval in enumerate(box):
            if self.system.brackets[g] is not None:
                continue
            low, high, r = interval.low, interval.high, self.reference[g]
            width = inf if low is None or high is None else float(high - low)
            if width == inf:  # prefer the one cut the least so far
                width = 1e9 / (1 + abs(float((low if low is not None else high if high is not None else r) - r)))
                width += 1e12 if low is None and high is None else 0
            if best is None or width > best[0]:
                best = (width, g)
        if best is None:
            raise Undecided("all masses are fixed, and the inequalities are too close to equality")
        g = best[1]
        low, high, r = box[g].low, box[g].high, self.reference[g]
        if low is None and high is None:
            return g, r
        if high is None:
            assert low is not None
            return g, low + max(fmpq(2), 2 * abs(low - r))
        if low is None:
            return g, high - max(fmpq(2), abs(high - r))
        if high - low < fmpq(1, 2**40):
            raise Undecided("the inequalities of the criterion are too close to equality")
        return g, fmpq(((low + high) / 2 * 2**44).floor(), 2**44)


def _shortened(values: Sequence[fmpq]) -> Iterator[Row]:
    """The multipliers rounded (zero stays zero), then as they are: short certificates where rounding does no harm."""
    for bits in (6, 16):
        power = fmpq(2) ** bits
        yield [fmpq((x * power + fmpq(1, 2)).floor()) / power for x in values]
    yield list(values)


__all__ = ["CriterionSearch", "CriterionTree", "Cut", "FeasiblePoint", "Inequality", "Interval", "Refutation"]
