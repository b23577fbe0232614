"""Refuting a system in the masses of a prompt: a tree of boxes for σ, each with a combination that is negative on it.

Every form is ``constant + Σ_g slope_g σ_g + decay e^{−σ_group} + log_length log N`` and is ≥ 0 (an inequality, with a
multiplier ≥ 0) or = 0 (free, any multiplier) for all prompts in question, once its multiplier is coupled to others: the
combination of all ``coupling`` vectors must vanish. A box, ends of the axis included, is refuted by multipliers whose
combination is negative on all of it. They come from an exact linear program over sample points; then the combination,
a sum of functions ``A σ + b + Γ e^{−σ}``, is bounded group by group: convex ones at their ends, concave ones by a
tangent. Source: THEORY section 3.2 (ours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log
from typing import TypeAlias

import flint
from flint import arb, fmpq, fmpq_mat

from constructions.numbers import linear
from constructions.numbers.exponential import ExpSum, midpoint
from constructions.numbers.rational import dot
from constructions.verdict import Undecided

Row = list[fmpq]
MAX_NODES = 4000
PRECISION = 192
SMALLEST = 1 << 9
"""How far below its reference a mass is cut: e^{−σ} is written in full."""


@dataclass(frozen=True)
class Form:
    """``constant + Σ_g slope_g σ_g + decay e^{−σ_group} + log_length · log N``, ≥ 0 or (free) = 0.

    ``kind`` is entropy, divergence (of ``group`` from ``other``), length, or value (``other`` numbers it)."""

    kind: str
    group: int
    other: int | None
    constant: fmpq
    slopes: tuple[int, ...]
    decay: ExpSum
    log_length: int = 0
    free: bool = False
    coupling: tuple[fmpq, ...] = ()


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
    """Multipliers of all forms (in their order) and the tangent points of the concave groups."""

    multipliers: tuple[fmpq, ...]
    tangents: tuple[fmpq | None, ...]


@dataclass(frozen=True)
class Cut:
    """A node: the box is cut at σ_group = at."""

    group: int
    at: fmpq
    below: BoxTree
    above: BoxTree


BoxTree: TypeAlias = "Refutation | Cut"


class BoxSearch:
    """One search for a tree. ``reference`` is the scale of each axis, ``brackets`` the known bounds of σ (None: none),
    ``probe`` may end the search: it is asked about some boxes, and anything but None is the answer."""

    def __init__(
        self,
        forms: Sequence[Form],
        reference: Sequence[fmpq],
        brackets: Sequence[tuple[fmpq, fmpq] | None],
        length: int | None,
        probe: Callable[[Box], object | None] = lambda box: None,
        max_nodes: int = MAX_NODES,
    ) -> None:
        self.forms, self.reference, self.brackets, self.length = list(forms), list(reference), list(brackets), length
        self.n = len(self.reference)
        self.probe = probe
        self.budget = max_nodes
        self.found: object | None = None
        with flint.ctx.workprec(PRECISION):
            self.log_length = None if length is None else midpoint(arb(length).log())
        self.constants: list[fmpq] = []
        self.decays: list[fmpq] = []
        for form in self.forms:
            shift = sum((s * r for s, r in zip(form.slopes, self.reference, strict=True)), fmpq(0))
            self.constants.append(form.constant + shift + (self.log_length or fmpq(0)) * form.log_length)
            self.decays.append(form.decay.approximate(self.reference[form.group], 64))

    def run(self) -> BoxTree | object:
        """A tree that refutes the closed system everywhere, or what ``probe`` has found on the way. Raises Undecided
        past the node limit."""
        with flint.ctx.workprec(PRECISION):
            box = tuple(Interval(None, None) if b is None else Interval(*b) for b in self.brackets)
            tree = self.everywhere() or self._explore(box, 0)
        return self.found if tree is None else tree

    def everywhere(self) -> Refutation | None:
        """Multipliers with constant ≤ 0, no slopes and decays ≤ 0, one of these strict: no mass at all is left. The
        boxes could not show this when the constant is 0, as the decays tend to 0."""
        if not any(form.free for form in self.forms) or any(b is not None for b in self.brackets):
            return None
        rows = len(self.forms)
        constants = [form.constant for form in self.forms]
        decays = [
            [self.decays[i] if form.group == g else fmpq(0) for i, form in enumerate(self.forms)] for g in range(self.n)
        ]
        bounds, right = self._bounds(rows)
        G = [constants, *decays, *bounds]
        E = [[fmpq(form.slopes[g]) for form in self.forms] for g in range(self.n)] + self._couplings(rows)
        objective = [-sum(column, fmpq(0)) for column in zip(constants, *decays, strict=True)]
        answer = linear.maximize(
            objective,
            fmpq_mat(len(G), rows, [x for row in G for x in row]),
            [fmpq(0)] * (1 + self.n) + right,
            fmpq_mat(len(E), rows, [x for row in E for x in row]),
            [fmpq(0)] * len(E),
        )
        if not isinstance(answer, linear.Optimal) or answer.value <= 0:
            return None
        m = answer.point
        if any(x != 0 and form.log_length for x, form in zip(m, self.forms, strict=True)):
            return None
        signs = [self._decay(m, g).sign() for g in range(self.n)]
        constant = dot(m, constants)
        if constant <= 0 and max(signs) <= 0 and (constant < 0 or min(signs) < 0):
            return Refutation(tuple(m), (None,) * self.n)
        return None

    def _bounds(self, width: int) -> tuple[list[Row], Row]:
        """Multipliers of inequalities are ≥ 0 and add up to 1 at most, free ones are between −1 and 1."""
        rows: list[Row] = [[fmpq(int(i < len(self.forms) and not self.forms[i].free)) for i in range(width)]]
        right = [fmpq(1)]
        for i, form in enumerate(self.forms):
            for sign, bound in ((-1, 1), (1, 1)) if form.free else ((-1, 0),):
                rows.append([fmpq(sign * int(i == j)) for j in range(width)])
                right.append(fmpq(bound))
        return rows, right

    def _couplings(self, width: int) -> list[Row]:
        """Rows that the multipliers make zero."""
        if not self.forms or not self.forms[0].coupling:
            return []
        padding = [fmpq(0)] * (width - len(self.forms))
        return [[*row, *padding] for row in map(list, zip(*(form.coupling for form in self.forms), strict=True))]

    def _decay(self, multipliers: Sequence[fmpq], g: int) -> ExpSum:
        total = ExpSum({})
        for m, form in zip(multipliers, self.forms, strict=True):
            if m != 0 and form.group == g:
                total = total + form.decay * m
        return total

    def _explore(self, box: Box, depth: int) -> BoxTree | None:
        self.budget -= 1
        if self.budget < 0 or depth > 400:
            raise Undecided("the masses of a prompt: more boxes than the limit, neither a solution nor a refutation")
        if any(i.low is not None and i.high is not None and i.low > i.high for i in box):
            raise AssertionError("empty box")
        refutation = self._refutation(box)
        if refutation is not None:
            return refutation
        if depth % 4 == 2:
            self.found = self.probe(box)
            if self.found is not None:
                return None
        group, at = self._where_to_cut(box)
        halves = box[group].cut(at)
        parts = []
        for half in halves:
            part = self._explore((*box[:group], half, *box[group + 1 :]), depth + 1)
            if part is None:
                return None
            parts.append(part)
        return Cut(group, at, parts[0], parts[1])

    def _refutation(self, box: Box) -> Refutation | None:
        """Multipliers from a linear program at sample points, then the bound in balls."""
        rows = len(self.forms)
        width = rows + self.n  # multipliers, then one bound for each group
        G: list[Row] = []
        right: Row = []
        for g in range(self.n):
            for tau in sample_points(box[g], self.reference[g], 9):
                place = fmpq(round(tau * 2**20)) / fmpq(2) ** 20
                decay = midpoint(arb(-place).exp())
                decay = fmpq((decay * 2**60).floor(), 2**60)
                row = [
                    form.slopes[g] * place + (self.decays[i] * decay if form.group == g else fmpq(0))
                    for i, form in enumerate(self.forms)
                ]
                G.append([*row, *[fmpq(-int(j == g)) for j in range(self.n)]])
                right.append(fmpq(0))
            if box[g].high is None:  # no growth at +∞
                G.append([*[fmpq(i.slopes[g]) for i in self.forms], *[fmpq(0)] * self.n])
                right.append(fmpq(0))
            if box[g].low is None:  # no growth of e^{−σ} at −∞
                row = [self.decays[i] if x.group == g else fmpq(0) for i, x in enumerate(self.forms)]
                G.append([*row, *[fmpq(0)] * self.n])
                right.append(fmpq(0))
        bounds, limits = self._bounds(width)
        G += bounds
        right += limits
        E = self._couplings(width)
        objective = [*[-c for c in self.constants], *[fmpq(-1)] * self.n]
        answer = linear.maximize(
            objective,
            fmpq_mat(len(G), width, [x for row in G for x in row]),
            right,
            fmpq_mat(len(E), width, [x for row in E for x in row]) if E else None,
            [fmpq(0)] * len(E) if E else None,
        )
        if not isinstance(answer, linear.Optimal) or answer.value <= 0:
            return None
        for multipliers in _shortened(answer.point[:rows]) if not E else [answer.point[:rows]]:
            tangents = self._bounded_below_zero(multipliers, box)
            if tangents is not None:
                return Refutation(tuple(multipliers), tuple(tangents))
        return None

    def _bounded_below_zero(self, multipliers: Sequence[fmpq], box: Box) -> list[fmpq | None] | None:
        """The tangent points with which the combination is proved negative on the box; None when it is not."""
        total = arb(0)
        for m, form in zip(multipliers, self.forms, strict=True):
            total += arb(m * form.constant)
            if form.log_length and self.length is not None:
                total += arb(m) * arb(self.length).log()
        tangents: list[fmpq | None] = []
        for g in range(self.n):
            slope = sum((m * i.slopes[g] for m, i in zip(multipliers, self.forms, strict=True)), fmpq(0))
            decay = self._decay(multipliers, g)
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
            if self.brackets[g] is not None:
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
            at = high - max(fmpq(2), abs(high - r))
            if r - at > SMALLEST:
                raise Undecided("the masses of a prompt: the smallest ones are not excluded")
            return g, at
        if high - low < fmpq(1, 2**40):
            raise Undecided("the inequalities are too close to equality")
        return g, fmpq(((low + high) / 2 * 2**44).floor(), 2**44)


def sample_points(interval: Interval, reference: fmpq, count: int) -> list[float]:
    """Points τ = σ − reference of an interval, ends included; an infinite end is replaced by far points."""
    low = -inf if interval.low is None else float(interval.low - reference)
    high = inf if interval.high is None else float(interval.high - reference)
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


def _shortened(values: Sequence[fmpq]) -> Iterator[Row]:
    """The multipliers rounded (zero stays zero), then as they are: short certificates where rounding does no harm."""
    for bits in (6, 16):
        power = fmpq(2) ** bits
        yield [fmpq((x * power + fmpq(1, 2)).floor()) / power for x in values]
    yield list(values)
