"""A cover of the axis of the mass, on each part of which the least loss is at least a bound."""

from dataclasses import dataclass
from math import isqrt
from operator import mul

from expsum import ExpSum, exponential
from intervals import TOO_COARSE, Interval, enclosed, enclosed_exp, enclosed_exps, exactly
from limits import DEADLINE, demand
from loss_curve import Chart, Part, RoundedPoint
from prompt_setting import PromptSetting, differences
from rational import ONE, Scalar, Vector, read_vector
from reading import Field


@dataclass(frozen=True)
class Axis:
    """Masses are e^{rho + sigma}; g binds output and mass, together with log_length if the length is bounded."""

    reference: Scalar
    g: Vector | None
    log_length: tuple[Scalar, Scalar] | None
    bits: int

    def demand_slab(self, setting: PromptSetting, q: Vector) -> None:
        """V^T g = q, and log N is enclosed."""
        if self.g is None:
            return
        demand(not self.g.is_zero(), "g is zero")
        setting.demand_row(self.g, q)
        if self.log_length is not None and setting.length is not None:
            low, high = (exponential(ONE, end) - _count(setting.length) for end in self.log_length)
            demand(low.sign() <= 0, "log_length begins above the logarithm of the length")
            demand(high.sign() >= 0, "log_length ends below the logarithm of the length")

    def part(self, t: Interval, sigma: Interval, first: bool) -> Part:
        """The conditions on g.v in a chart: g.u is from log s - log N to log s, and v = t u or v = u."""
        lo = hi = None
        if self.g is not None:
            log_s = enclosed(self.reference, self.bits) + sigma
            hi = t * log_s if first else log_s
            if self.log_length is not None:
                low, high = (enclosed(end, self.bits) for end in self.log_length)
                lo = log_s - Interval(low.lo, high.hi, self.bits)
                lo = t * lo if first else lo
        return Part(t, lo, hi)

    def left_end(self, sigma: Scalar) -> Part:
        """All masses up to e^{rho + sigma}: t (rho + log t) falls from 0 while rho + log t <= -1; so does lo."""
        top = enclosed_exp(sigma, self.bits).hi
        lo = hi = None
        if self.g is not None:
            begin = self.reference + sigma
            demand((begin + ONE).sign() <= 0, "the left end reaches above mass 1/e")
            hi = exactly(0, self.bits)
            if self.log_length is not None:
                lo = exactly(top, self.bits) * enclosed(begin - self.log_length[1], self.bits)
        return Part(Interval(0, top, self.bits), lo, hi)

    def right_end(self, sigma: Scalar) -> Part:
        """All masses from e^{rho + sigma} on; of lo only the lower end counts, which is least at the beginning."""
        lo = None
        if self.log_length is not None:
            lo = enclosed(self.reference + sigma - self.log_length[1], self.bits)
        return Part(Interval(0, enclosed_exp(-sigma, self.bits).hi, self.bits), lo, None)


@dataclass(frozen=True)
class Candidate:
    """A preimage point, with its part r off the outputs split away, and rounded.

    The residual of the query, (C + s (u - a)) / (S + s), has at least (the length of that of the rounded numbers,
    minus `error`) / `stretch`, for every s and u; both in units of 2^-bits.
    """

    rounded: RoundedPoint
    constant: Scalar
    stretch: int
    error: int


def candidate(axis: Axis, setting: PromptSetting, k: int, q: Vector, z: Vector, r: Vector) -> Candidate:
    """Point z of query k. As r.u = 0 for all outputs u, and r.(a - r) = 0: |u - a|^2 = |u - (a - r)|^2 + |r|^2."""
    DEADLINE.check()
    query, bits = setting.queries[k], axis.bits
    a = z - query.token - r
    demand(setting.head.value_row(r).is_zero(), f"query {k}: V^T r is not zero")
    demand(r.dot(a).sign() == 0, f"query {k}: r is not orthogonal to a - r")
    rows = differences(setting.head, query, a)
    masses = enclosed_exps(query.context @ q, axis.reference, bits)
    low, high, den = sum(mass.lo for mass in masses), sum(mass.hi for mass in masses), rows[0].den
    demand(low > 0, TOO_COARSE)
    lows = [mass.lo for mass in masses]
    C_rounded = tuple(sum(map(mul, lows, column)) // den for column in zip(*(row.num for row in rows), strict=True))
    a_rounded = tuple((n << bits) // a.den for n in a.num)
    # Rounding down moves a vector by less than d units. With that of C goes the spread of the masses; and in a
    # residual it is divided by S + s, at least `low`.
    spread = sum((mass.hi - mass.lo) * sum(map(abs, row.num)) for mass, row in zip(masses, rows, strict=True))
    error = len(a) - (-(spread // den + 1 + len(a)) << bits) // low
    rounded = RoundedPoint(low, a_rounded, C_rounded, _along(axis, a_rounded), _along(axis, C_rounded))
    return Candidate(rounded, r.dot(r), -((-high << bits) // low), error)


def _along(axis: Axis, vector: tuple[int, ...]) -> Interval:
    if axis.g is None:
        return exactly(0, axis.bits)
    return exactly(sum(map(mul, axis.g.num, vector)), axis.bits).scaled(Scalar(1, axis.g.den))


@dataclass(frozen=True)
class Cover:
    """`integers` masses one by one, if not None, and what the breakpoints leave open beyond."""

    integers: int | None
    breakpoints: Vector

    def singles(self, N: int | None) -> int:
        """How many masses are taken one by one."""
        most = 0 if self.integers is None else self.integers
        return most if N is None else min(most, N)

    def demand_bound(
        self, axis: Axis, chosen: list[Candidate], lower: Scalar, N: int | None, q: Vector, where: str
    ) -> None:
        """On each part the least loss is at least the lower bound."""
        points, bits = tuple(candidate.rounded for candidate in chosen), axis.bits
        g_square = None if axis.g is None else axis.g.dot(axis.g)
        first, second = Chart(True, points, g_square, bits), Chart(False, points, g_square, bits)
        need = _needed(chosen, lower, bits)

        if self.integers is not None:
            demand(q.is_zero(), f"{where}: integer masses, though the logit vector is not zero")
            unit = enclosed_exp(-axis.reference, bits)
            for mass in range(1, self.singles(N) + 1):
                part = Part(unit.scaled(Scalar(mass, 1)), None, None)
                demand(_plain(first, part) >= need, f"{where}: the bound fails at mass {mass}")
            more = N is None or self.singles(N) < N
            demand(more == (len(self.breakpoints) > 0), f"{where}: breakpoints are for the masses not yet covered")
            if not more:
                return
            begin = exponential(ONE, axis.reference + self._entry(0)) - _count(self.integers + 1)
            demand(begin.sign() <= 0, f"{where}: the breakpoints begin above the next mass")
        else:
            demand(_plain(first, axis.left_end(self._entry(0))) >= need, f"{where}: the bound fails at the left end")
        for i in range(len(self.breakpoints) - 1):
            begins, ends = self._entry(i), self._entry(i + 1)
            demand(begins.num < ends.num, f"{where}: breakpoint {i} is not below the next")
            chart = first if begins.num + ends.num <= 0 else second
            demand(_holds(axis, chart, begins, ends, need), f"{where}: the bound fails on part {i}")
        end = axis.right_end(self._entry(len(self.breakpoints) - 1))
        demand(_plain(second, end) >= need, f"{where}: the bound fails at the right end")

    def _entry(self, i: int) -> Scalar:
        return Scalar(self.breakpoints.num[i], self.breakpoints.den)


def _needed(chosen: list[Candidate], lower: Scalar, bits: int) -> int:
    """What the loss of the rounded numbers must reach: (sqrt(lower - sum of |r|^2) stretch + error)^2."""
    rest = Vector((lower.num,), lower.den)
    for candidate in chosen:
        rest -= Vector((candidate.constant.num,), candidate.constant.den)
    root = isqrt(max(enclosed(Scalar(rest.num[0], rest.den), 2 * bits).hi, 0)) + 1
    stretch = max(candidate.stretch for candidate in chosen)
    error = isqrt(sum(candidate.error**2 for candidate in chosen)) + 1
    size = -(-root * stretch >> bits) + error
    return -(-size * size >> bits) if rest.num[0] > 0 else 0


def _plain(chart: Chart, part: Part) -> int:
    return chart.centre(part.t.lo + part.t.hi >> 1).value(part)


def _holds(axis: Axis, chart: Chart, begin: Scalar, end: Scalar, need: int) -> bool:
    """Plainly, or as f(sigma) >= f(middle) - max |f'| (width / 2)."""
    bits, middle, width = axis.bits, Scalar(begin.num + end.num, 2 * begin.den), Scalar(end.num - begin.num, end.den)
    exponents = (begin, middle, end) if chart.first else (-end, -middle, -begin)
    lowest, between, highest = (enclosed_exp(exponent, bits) for exponent in exponents)
    sigma = Interval(enclosed(begin, bits).lo, enclosed(end, bits).hi, bits)
    whole = axis.part(Interval(lowest.lo, highest.hi, bits), sigma, chart.first)
    centre = chart.centre(between.lo)
    if centre.value(whole) >= need:
        return True
    value = centre.value(axis.part(between, enclosed(middle, bits), chart.first))
    if value < need:  # and the slope would cost more
        return False
    fall = -(-centre.steepness(whole) * width.num // (2 * width.den))
    return value - fall >= need


def _count(number: int) -> ExpSum:
    return exponential(Scalar(number, 1), Scalar(0, 1))


def read_cover(field: Field) -> Cover:
    """One of the covers of a certificate."""
    integers, breakpoints = field.record("integers", "breakpoints")
    count = None if integers.is_null() else integers.integer()
    if count is not None and count < 0:
        integers.fail("an integer from 0 on, or null")
    cover = Cover(count, read_vector(breakpoints))
    if count is None and not len(cover.breakpoints):
        breakpoints.fail("at least one breakpoint")
    return cover
