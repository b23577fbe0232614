"""The least loss at a mass, with its slope, for all masses of an interval at once.

In the first chart ``t = e^σ``, in the second ``t = e^{−σ}``; there the loss of a prompt is ``Σ ω_k |y_k − v|²`` with
``ω_k = 1/D_k²`` and, linear in t,

    first chart:   v = t u,   D = S + t,     y = −C + t a
    second chart:  v = u,     D = t S + 1,   y = a − t C        (both: D = p + t r, y = b + t z)

Intervals enter scalars only. At one point t_0, with weights ω⁰ = ω(t_0), let v_0 and z_0 be the means of the y_k(t_0)
and of the z_k, and ``e_k = y_k(t_0) − v_0``, ``f_k = z_k − z_0``, ``h = t − t_0``, so that Σ ω⁰ e = Σ ω⁰ f = 0. The
best v is ``v_0 + h z_0 + x`` with ``Ω x = Σ (ω_k − ω⁰_k)(e_k + h f_k)``, which is small, and

    loss      = Σ ω_k |e_k + h f_k|² − Ω |x|²
    d loss/dt = Σ ω'_k |e_k + h f_k − x|² + 2 ω_k (e_k + h f_k − x)·f_k,   ω' = −2 r/D³

(all y_k may be moved by one vector that depends on t). So what is common to all queries costs no precision: one query,
or equal targets, leave nothing to bound. Source: THEORY section 3.1 (ours), docs/theory/prompt-law.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flint import arb, arb_mat


@dataclass(frozen=True)
class State:
    """Balls at one point or over one part of the axis: a lower bound of the loss without the slab, its slope in σ, Ω
    and its slope, g·v* and its slope, β = e^σ or 1 and its slope, σ."""

    value: arb
    slope: arb
    weight: arb
    weight_slope: arb
    at_g: arb
    at_g_slope: arb
    beta: arb
    beta_slope: arb
    sigma: arb


@dataclass(frozen=True)
class Chart:
    """One preimage point for each query: masses S, and the d×n matrices of the a_k and C_k; ``g`` 1×d or None."""

    first: bool
    S: Sequence[arb]
    a: arb_mat
    C: arb_mat
    g: arb_mat | None

    @cached_property
    def _lines(self) -> tuple[arb_mat, arb_mat]:
        """b and z."""
        return (-self.C, self.a) if self.first else (self.a, -self.C)

    @cached_property
    def _products(self) -> tuple[arb_mat, arb_mat, arb_mat]:
        """b_j·b_k, b_j·z_k and z_j·z_k: with them no step costs more than n², whatever d."""
        b, z = self._lines
        return b.transpose() * b, b.transpose() * z, z.transpose() * z

    @cached_property
    def _along_g(self) -> tuple[list[arb], list[arb]]:
        """g·b and g·z (zero without g)."""
        if self.g is None:
            return [arb(0)] * len(self.S), [arb(0)] * len(self.S)
        b, z = self._lines
        return (self.g * b).entries(), (self.g * z).entries()

    def distances(self, t: arb) -> list[arb]:
        """D."""
        return [S + t for S in self.S] if self.first else [S * t + 1 for S in self.S]

    def centre(self, t_0: arb) -> Centre:
        """Everything at an exact point t_0."""
        n = len(self.S)
        weights = [(1 / (x * x)).mid() for x in self.distances(t_0)]
        total = sum(weights, arb(0))
        share = arb_mat(n, 1, [w / total for w in weights])
        bb, bz, zz = self._products
        zz_mean = zz * share
        y_z_mean = bz * share + zz_mean * t_0  # y_k·z_0
        z_y_mean = bz.transpose() * share + zz_mean * t_0  # z_k·v_0
        y_y_mean = bb * share + bz * share * t_0 + z_y_mean * t_0  # y_k·v_0
        vv, vz, mean_zz = (
            sum((x * y for x, y in zip(share.entries(), column.entries(), strict=True)), arb(0))
            for column in (y_y_mean, y_z_mean, zz_mean)
        )
        ee, ef, ff = [], [], []
        for k in range(n):
            z = zz[k, k]
            y_z = bz[k, k] + t_0 * z
            y_y = bb[k, k] + t_0 * (bz[k, k] + y_z)
            ee.append((y_y - 2 * y_y_mean[k, 0] + vv).nonnegative_part())
            ef.append(y_z - y_z_mean[k, 0] - z_y_mean[k, 0] + vz)
            ff.append((z - 2 * zz_mean[k, 0] + mean_zz).nonnegative_part())
        gb, gz = self._along_g
        gy = [x + t_0 * y for x, y in zip(gb, gz, strict=True)]
        gv_0, gz_0 = (sum((w * x for w, x in zip(share.entries(), along, strict=True)), arb(0)) for along in (gy, gz))
        return Centre(
            self, t_0, weights, ee, ef, ff, gv_0, gz_0, [x - gv_0 for x in gy], [x - gz_0 for x in gz]
        )  # fmt: skip


@dataclass(frozen=True)
class Centre:
    """A point t_0: weights, |e|², e·f, |f|², and g·v_0, g·z_0, g·e, g·f."""

    chart: Chart
    t_0: arb
    weights: list[arb]
    ee: list[arb]
    ef: list[arb]
    ff: list[arb]
    gv_0: arb
    gz_0: arb
    ge: list[arb]
    gf: list[arb]

    @cached_property
    def _lengths(self) -> tuple[list[arb], list[arb]]:
        """|e| and |f|, from above."""
        return [length(x) for x in self.ee], [length(x) for x in self.ff]

    def state(self, low: arb, high: arb, sigma: arb) -> State:
        """For all t from ``low`` to ``high`` (σ in ``sigma``; only needed where there is a slab)."""
        chart = self.chart
        t = low.union(high)
        h = t - self.t_0
        D_low, D_high = chart.distances(low), chart.distances(high)
        lows = [(1 / (y * y)).lower() for y in D_high]  # a ball from far above 0 to near 0 may round to below 0
        w = [(1 / (x * x)).union(y) for x, y in zip(D_low, lows, strict=True)]
        factors = [arb(2)] * len(w) if chart.first else [2 * S for S in chart.S]
        falls = [r * (x**-3).union(y**-3) for r, x, y in zip(factors, D_low, D_high, strict=True)]  # −ω'
        total, fall = sum(w, arb(0)), sum(falls, arb(0))
        products = [ef + h * ff for ef, ff in zip(self.ef, self.ff, strict=True)]
        squares = [(ee + h * (ef + p)).nonnegative_part() for ee, ef, p in zip(self.ee, self.ef, products, strict=True)]
        moved = [(v - v_0).abs_upper() for v, v_0 in zip(w, self.weights, strict=True)]
        e_lengths, f_lengths = self._lengths
        off_f = sum((m * x for m, x in zip(moved, f_lengths, strict=True)), arb(0))
        off = sum((m * x for m, x in zip(moved, e_lengths, strict=True)), arb(0)) + h.abs_upper() * off_f  # ≥ |Ω x|
        least = sum(lows, arb(0)).lower()
        assert least > 0, f"the least total weight is {least}"
        value = sum((v * x.lower() for v, x in zip(lows, squares, strict=True)), arb(0)) - off * off / least

        x = (off / least).abs_upper()
        around = sum((v * length(y) for v, y in zip(falls, squares, strict=True)), arb(0)) + off_f
        slope = sum((2 * v * p - u * y for v, p, u, y in zip(w, products, falls, squares, strict=True)), arb(0))
        slope += between(-2 * x * around - x * x * fall, 2 * x * around)
        direction = t if chart.first else -t  # dt/dσ
        at_g = at_g_slope = arb(0)
        if chart.g is not None:
            mean_f = sum((v * y for v, y in zip(w, self.gf, strict=True)), arb(0)) / total
            gx = sum((v * y for v, y in zip(w, self.ge, strict=True)), arb(0)) / total + h * mean_f
            pulls = sum((v * (y + h * z - gx) for v, y, z in zip(falls, self.ge, self.gf, strict=True)), arb(0))
            at_g = self.gv_0 + h * self.gz_0 + gx
            at_g_slope = direction * (self.gz_0 + mean_f - pulls / total)
        beta, beta_slope = (t, t) if chart.first else (arb(1), arb(0))
        return State(
            value, direction * slope, total, -direction * fall, at_g, at_g_slope, beta, beta_slope, sigma
        )  # fmt: skip


def length(square: arb) -> arb:
    """The length of a vector with this square, from above."""
    return square.nonnegative_part().upper().sqrt().upper()


def between(low: arb, high: arb) -> arb:
    """The ball that contains everything from ``low`` to ``high``."""
    return low.union(high)
