"""The least loss at a mass, from below, for all masses of an interval at once.

Masses are s = e^{rho + sigma}; S, C are divided by e^rho. In the first chart t = e^sigma and in the second t =
e^{-sigma}; there the loss of u is the sum of the w_k |y_k - v|^2 with w = 1/D^2 and, linear in t,

    first chart:   v = t u,   D = S + t,     y = -C + t a
    second chart:  v = u,     D = t S + 1,   y = a - t C        (both: D = p + t r, y = b + t z).

S, a, C are integers here (in units of 2^-bits): whoever rounds them accounts for it. With W the sum of the w, the
least value is F = sum of the w_k |y_k - v*|^2 at v* = (sum of the w_k y_k) / W; the condition lo <= g.v <= hi
raises it by W (distance of g.v* to [lo, hi])^2 / |g|^2.

Vectors are computed only at one point t_0, and relative to a path near v*: with weights w_0 near w(t_0), v_0 and z_0
near the means of the y_k(t_0) and the z_k, put e_k = y_k(t_0) - v_0, f_k = z_k - z_0, h = t - t_0. Then v* = v_0 +
h z_0 + x with W x = sum of w_k (e_k + h f_k), which is small: the sums of w_0 e and w_0 f are nearly 0. And

    F = sum of w_k |e_k + h f_k|^2 - W |x|^2
    dF/dt = sum of w'_k |e_k + h f_k - x|^2 + 2 w_k (e_k + h f_k - x).f_k,   w' = -2 r/D^3

(by moving all y_k by one vector, which may depend on t: only v* moves with them).
"""

from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from operator import mul

from intervals import TOO_COARSE, Interval, exactly, total
from limits import DEADLINE, demand
from rational import Scalar

Rows = list[tuple[int, ...]]


@dataclass(frozen=True)
class RoundedPoint:
    """S, a, C in units of 2^-bits, and the exact g.a, g.C of these (if there is a g), enclosed."""

    S: int
    a: tuple[int, ...]
    C: tuple[int, ...]
    ga: Interval
    gC: Interval


@dataclass(frozen=True)
class Part:
    """Numbers t >= 0 of a chart, with what lo and hi are there (None where one of them is not used)."""

    t: Interval
    lo: Interval | None
    hi: Interval | None


@dataclass(frozen=True)
class Chart:
    """One point for each query; |g|^2 if there is a g."""

    first: bool
    points: tuple[RoundedPoint, ...]
    g_square: Scalar | None
    bits: int

    @cached_property
    def rows(self) -> tuple[Rows, Rows]:
        """b (in units of 2^-2bits) and z (in units of 2^-bits)."""
        C, a = [tuple(-c for c in point.C) for point in self.points], [point.a for point in self.points]
        b, z = (C, a) if self.first else (a, C)
        return [tuple(x << self.bits for x in row) for row in b], z

    @cached_property
    def columns(self) -> tuple[Rows, Rows]:
        """Those, coordinate by coordinate."""
        b, z = self.rows
        return list(zip(*b, strict=True)), list(zip(*z, strict=True))

    @cached_property
    def along_g(self) -> list[tuple[Interval, Interval]]:
        """g.b and g.z."""
        if self.first:
            return [(-point.gC, point.ga) for point in self.points]
        return [(point.ga, -point.gC) for point in self.points]

    def weights(self, t: Interval) -> list[Interval]:
        """w."""
        one = 1 << 3 * self.bits
        return [Interval(one // (hi * hi), -(-one // (lo * lo)), self.bits) for lo, hi, _ in self._D(t)]

    def falls(self, t: Interval) -> list[Interval]:
        """-w' = 2r/D^3."""
        two = 2 << 3 * self.bits
        return [Interval(two * r // hi**3, -(-two * r // lo**3), self.bits) for lo, hi, r in self._D(t)]

    def _D(self, t: Interval) -> list[tuple[int, int, int]]:
        one = 1 << self.bits
        p_r = ((point.S, one) if self.first else (one, point.S) for point in self.points)
        return [(p + (t.lo * r >> self.bits), p - (-t.hi * r >> self.bits), r) for p, r in p_r]

    def centre(self, t_0: int) -> "Centre":
        """Everything at the point t_0 (in units of 2^-bits)."""
        DEADLINE.check()
        bits, (b, z), (b_columns, z_columns) = self.bits, self.rows, self.columns
        w_0 = [weight.lo for weight in self.weights(exactly(t_0, bits))]
        W_0 = sum(w_0)
        demand(W_0 > 0, TOO_COARSE)
        z_sums = [sum(map(mul, w_0, column)) for column in z_columns]
        v_0 = [(sum(map(mul, w_0, x)) + t_0 * z_sum) // W_0 for x, z_sum in zip(b_columns, z_sums, strict=True)]
        z_0 = [z_sum // W_0 for z_sum in z_sums]
        ee, ef, ff = [], [], []
        for x, y in zip(b, z, strict=True):
            e = [i + t_0 * j - k for i, j, k in zip(x, y, v_0, strict=True)]  # in units of 2^-2bits
            f = [j - k for j, k in zip(y, z_0, strict=True)]
            ee.append(_rounded(sum(map(mul, e, e)), 3 * bits, bits))
            ef.append(_rounded(sum(map(mul, e, f)), 2 * bits, bits))
            ff.append(_rounded(sum(map(mul, f, f)), bits, bits))
        # In each coordinate the sums of w_0 e, w_0 f are from 0 to W_0, in units of 2^-3bits and 2^-2bits.
        return Centre(self, t_0, w_0, ee, ef, ff, (W_0 * len(v_0) >> bits) + 1)


@dataclass(frozen=True)
class Shape:
    """On an interval of t: w, W, |e + h f|^2, (e + h f).f, and bounds on W |x| and |sum of w f|."""

    w: list[Interval]
    W: Interval
    squares: list[Interval]
    products: list[Interval]
    off: int
    off_f: int


@dataclass(frozen=True)
class Centre:
    """A point t_0: weights, |e|^2, e.f, |f|^2, and a bound on the sums of w_0 e and of w_0 f."""

    chart: Chart
    t_0: int
    w_0: list[int]
    ee: list[Interval]
    ef: list[Interval]
    ff: list[Interval]
    rest: int

    def value(self, part: Part) -> int:
        """A lower bound of the least loss for all t of the part, in units of 2^-bits."""
        chart, bits, shape = self.chart, self.chart.bits, self._shape(part.t)
        F = sum(v.lo * square.lo for v, square in zip(shape.w, shape.squares, strict=True)) >> bits
        F += -shape.off * shape.off // shape.W.lo
        if chart.g_square is not None:
            above, below = _distances(self._along_g(part.t, shape)[0], part)
            distance = exactly(max(above.lo, below.lo), bits)
            F += (distance.square() * shape.W).scaled(_inverse(chart.g_square)).lo
        return max(F, 0)

    def steepness(self, part: Part) -> int:
        """A bound on |d/dsigma| of the least loss on the part, in units of 2^-bits."""
        chart, bits, shape = self.chart, self.chart.bits, self._shape(part.t)
        falls = chart.falls(part.t)
        fall = total(falls, bits)
        inner = total((v * product for v, product in zip(shape.w, shape.products, strict=True)), bits)
        slope = inner + inner - total((v * square for v, square in zip(falls, shape.squares, strict=True)), bits)
        x = (shape.off << bits) // shape.W.lo + 1
        around = sum(v.hi * _length(square) for v, square in zip(falls, shape.squares, strict=True)) >> bits
        around = (2 * x * (around + 1 + shape.off_f) >> bits) + 1
        slope += Interval(-around - (x * x * fall.hi >> 2 * bits) - 1, around, bits)
        direction = part.t if chart.first else -part.t  # dt/dsigma
        slope = slope * direction
        if chart.g_square is not None:
            gv, gv_slope = self._along_g(part.t, shape, falls)
            gv_slope = gv_slope * direction
            above, below = _distances(gv, part)
            # W (above^2 + below^2); at each point one of the two is 0.
            change = -(direction * fall) * (above.square() + below.square())
            if part.hi is not None:
                change += (shape.W + shape.W) * above * (gv_slope - self._side_slope(part.hi, part.t))
            if part.lo is not None:
                change += (shape.W + shape.W) * below * (self._side_slope(part.lo, part.t) - gv_slope)
            slope += change.scaled(_inverse(chart.g_square))
        return slope.magnitude()

    def _shape(self, t: Interval) -> Shape:
        bits = self.chart.bits
        h = t - exactly(self.t_0, bits)
        w = self.chart.weights(t)
        W = total(w, bits)
        demand(W.lo > 0, TOO_COARSE)
        products = [ef + h * ff for ef, ff in zip(self.ef, self.ff, strict=True)]
        squares = [(ee + h * (ef + p)).clipped() for ee, ef, p in zip(self.ee, self.ef, products, strict=True)]
        # W x = sum of (w - w_0) e + sum of w_0 e + h sum of w f, and for f the same way
        moved = [max(v.hi - v_0, v_0 - v.lo) for v, v_0 in zip(w, self.w_0, strict=True)]
        off_e = (sum(m * _length(ee) for m, ee in zip(moved, self.ee, strict=True)) >> bits) + 1 + self.rest
        off_f = (sum(m * _length(ff) for m, ff in zip(moved, self.ff, strict=True)) >> bits) + 1 + self.rest
        return Shape(w, W, squares, products, off_e + (h.magnitude() * off_f >> bits) + 1, off_f)

    def _along_g(self, t: Interval, shape: Shape, falls: list[Interval] | None = None) -> tuple[Interval, Interval]:
        """g.v*, and its derivative by t if the falls are given: written as sums over g.e, g.f, like v*."""
        chart, bits = self.chart, self.chart.bits
        t_0, W_0 = exactly(self.t_0, bits), sum(self.w_0)
        gy, gz = [b + t_0 * z for b, z in chart.along_g], [z for _, z in chart.along_g]
        gv_0 = exactly(sum(v * y.lo for v, y in zip(self.w_0, gy, strict=True)) // W_0, bits)
        gz_0 = exactly(sum(v * z.lo for v, z in zip(self.w_0, gz, strict=True)) // W_0, bits)
        ge, gf, h = [y - gv_0 for y in gy], [z - gz_0 for z in gz], t - t_0
        mean_f = total((v * f for v, f in zip(shape.w, gf, strict=True)), bits).over(shape.W)
        gx = total((v * e for v, e in zip(shape.w, ge, strict=True)), bits).over(shape.W) + h * mean_f
        pulls = (v * (e + h * f - gx) for v, e, f in zip(falls or [], ge, gf, strict=bool(falls)))
        return gv_0 + h * gz_0 + gx, gz_0 + mean_f - total(pulls, bits).over(shape.W)

    def _side_slope(self, side: Interval, t: Interval) -> Interval:
        """d/dsigma of t (rho + sigma + constant) in the first chart, of rho + sigma + constant in the second."""
        return side + t if self.chart.first else exactly(1 << self.chart.bits, self.chart.bits)


def _distances(gv: Interval, part: Part) -> tuple[Interval, Interval]:
    """How far g.v* is above hi, and below lo."""
    nothing = exactly(0, gv.bits)
    above = nothing if part.hi is None else (gv - part.hi).clipped()
    below = nothing if part.lo is None else (part.lo - gv).clipped()
    return above, below


def _length(square: Interval) -> int:
    """The length of a vector with this square, from above."""
    return isqrt(square.hi << square.bits) + 1


def _rounded(value: int, shift: int, bits: int) -> Interval:
    return Interval(value >> shift, -(-value >> shift), bits)


def _inverse(value: Scalar) -> Scalar:
    """1/value for value > 0."""
    return Scalar(value.den, value.num)
