"""The certificate for every Lipschitz function at once: parameters of the softmax network, and why they suffice.

Hardmax is replaced by softmax at inverse temperature t, jumps by ramps of width η. If the ids that the attention works
with are within κδ of the ideal ones, every head is right up to ρ; the errors grow by (2c−1) in each of the n lifts; so
one inequality in t keeps all ids on their plateaus. Source: THEORY section 6, "The certificate is for every f" (ours);
proof in docs/theory/universality.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

import flint
from flint import arb, fmpq, fmpz

from constructions.numbers.exponential import midpoint
from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Grid
from constructions.universality.quantisation import (
    Roots,
    check_norm,
    coarsest_grid,
    quantisation_bound,
    root,
    roots,
    textbook_grid,
)

MAX_BITS = 1 << 22


class TooLargeError(ValueError):
    """The numbers of the network are too large to write down."""


@dataclass(frozen=True)
class Budget:
    """Everything that the for-all certificate consists of: grid, shift factor, roots, and for the softmax network
    inverse temperature t, ramp width η and the shares ε_s (ids) and ε_r (ramps) of ε."""

    grid: Grid
    G: int
    L: fmpq
    p: fmpq
    epsilon: fmpq
    roots: Roots
    root_m: fmpq
    t: fmpq
    eta: fmpq
    epsilon_s: fmpq
    epsilon_r: fmpq

    @property
    def quantisation(self) -> fmpq:
        return quantisation_bound(self.grid.k, self.L, self.roots)

    @property
    def kappa(self) -> fmpq:
        """κ = min(1/4, ε_s/δ)/(1+G)."""
        return min(fmpq(1, 4), self.epsilon_s * self.grid.k) / (1 + self.G)

    @property
    def exponent(self) -> fmpq:
        """x = t δ² (1/2 − κ)(1 − 2κ)."""
        return self.t * _rate(self.grid, self.kappa)

    def holds(self) -> bool:
        """All conditions, decided exactly (the exponential in balls of growing precision)."""
        grid, p = self.grid, self.p
        a, b = int(p.p), int(p.q)
        delta = grid.delta
        map = ContextualMap(grid, self.G)
        shift = (grid.m == 1 and self.G == 0) or self.sufficient(map)
        ramps = (grid.d**2 * grid.m**2 * grid.k * self.eta) ** b <= self.epsilon_r**a
        total = self.quantisation + self.epsilon_s * self.root_m + self.epsilon_r
        if not (
            grid.tokens >= 3
            and map.fires_once().holds
            and shift
            and 0 < self.eta < 3 * delta / 4
            and ramps
            and self.root_m**a >= fmpq(grid.m) ** b
            and total <= self.epsilon
        ):
            return False
        return _large_enough(_needed(grid, self.G, self.kappa, self.t), self.exponent, min(delta / 4, self.epsilon_s))

    def sufficient(self, map: ContextualMap) -> bool:
        return self.G >= map.sufficient_shift() > 0


def _rate(grid: Grid, kappa: fmpq) -> fmpq:
    return grid.delta**2 * (fmpq(1, 2) - kappa) * (1 - 2 * kappa)


def _needed(grid: Grid, G: int, kappa: fmpq, t: fmpq) -> fmpq:
    """((1+G)(2c−1)^n F + G) R (n−1)."""
    c, n = grid.c, grid.tokens
    factor = grid.sweep + n
    if t * grid.delta**2 * (1 - 2 * kappa) >= 1:
        factor = min(factor, 4 * n + 2)
    R = fmpz(c) ** n * ((n - 1) * grid.unit + fmpq(c, grid.k))
    return ((1 + G) * fmpz(2 * c - 1) ** n * c * factor + G) * R * (n - 1)


def _large_enough(needed: fmpq, x: fmpq, room: fmpq) -> bool:
    """needed ≤ room e^x."""
    for bits in (256, 1024, 4096, 1 << 15):
        with flint.ctx.workprec(bits):
            difference = arb(x) + (arb(room) / arb(needed)).log()
        if difference >= 0:
            return True
        if difference < 0:
            return False
    return False


def budget(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq, *, k: int | None = None) -> Budget:
    """The parameters for given width, number of tokens, Lipschitz constant, norm and accuracy: the coarsest grid, and
    what it leaves of ε shared between ids and ramps.

    Raises ValueError for arguments out of range, TooLargeError beyond about 4 million bits.

    >>> found = budget(1, 1, fmpq(1), fmpq(2), fmpq(1, 100))
    >>> found.grid.k, found.grid.prompt_length, found.holds()
    (79, 79, True)
    """
    if epsilon <= 0:
        raise ValueError(f"eps: expected an accuracy above 0, found {epsilon}")
    check_norm(p, L)
    found = roots(d, m, p)
    chosen = coarsest_grid(d, m, L, p, epsilon, fmpq(1)) if k is None else k
    while quantisation_bound(chosen, L, found) >= epsilon:
        chosen += 1
    grid = Grid(d, m, chosen)
    _demand_size(grid)
    rest = epsilon - quantisation_bound(chosen, L, found)
    root_m = root(fmpq(m), p, up=True)
    G = ContextualMap(grid).sufficient_shift()
    epsilon_s, t = _coolest(grid, G, _short_below(rest / (2 * root_m)))
    epsilon_r = _short_below(rest - epsilon_s * root_m)
    eta = _ramp(grid, p, epsilon_r)
    return Budget(grid, G, L, p, epsilon, found, root_m, t, eta, epsilon_s, epsilon_r)


def _coolest(grid: Grid, G: int, most: fmpq) -> tuple[fmpq, fmpq]:
    """ε_s = most/2^j and t, with the least t: a larger ε_s asks for less, but a larger κ makes the heads worse."""
    with flint.ctx.workprec(256):
        needed = arb(_needed(grid, G, fmpq(1, 4), fmpq(2 * grid.k**2))).log()  # at such t, and all others below
        found = []
        for j in range(24):
            epsilon_s = most / 2**j
            kappa = min(fmpq(1, 4), epsilon_s * grid.k) / (1 + G)
            x = needed - arb(min(grid.delta / 4, epsilon_s)).log()
            found.append((fmpq((midpoint(x) / _rate(grid, kappa)).ceil()) + 1, -epsilon_s))
    t, negative = min(found)
    return -negative, t


def _demand_size(grid: Grid) -> None:
    if grid.d * grid.m * grid.k.bit_length() > 64 or grid.tokens * grid.c.bit_length() > MAX_BITS:
        raise TooLargeError(
            f"grid: k = {grid.k} gives a prompt of k^{grid.d * grid.m}·{grid.m} tokens and numbers of more than "
            f"{MAX_BITS} bits; expected a coarser accuracy"
        )


def _short_below(x: fmpq) -> fmpq:
    """A positive dyadic of few bits, at most x."""
    scale = fmpq(2) ** max(0, 12 + int(x.q).bit_length() - int(x.p).bit_length())
    return fmpq((x * scale).floor()) / scale


def _ramp(grid: Grid, p: fmpq, epsilon_r: fmpq) -> fmpq:
    """η: the largest power of two with (d²m²kη)^b ≤ ε_r^a and η < 3δ/4."""
    a, b = int(p.p), int(p.q)
    room = fmpq(epsilon_r**a)
    with flint.ctx.workprec(64):
        near = (arb(epsilon_r).log() * arb(p) - arb(grid.d**2 * grid.m**2 * grid.k).log()) / arb(2).log()
    eta = min(fmpq(1), fmpq(2) ** int(fmpz((midpoint(near) + 2).floor())))  # a guess, not too small
    while not ((grid.d**2 * grid.m**2 * grid.k * eta) ** b <= room and eta < 3 * grid.delta / 4):
        eta /= 2
    return eta


@dataclass(frozen=True)
class Size:
    """A positive integer: exact where it can be written down, and its logarithm to base ten."""

    exact: int | None
    log10: float

    @classmethod
    def of(cls, value: int) -> Size:
        bits = max(0, value.bit_length() - 64)
        return cls(value, log10(value >> bits) + bits * log10(2))

    def __str__(self) -> str:
        return str(self.exact) if self.exact is not None and self.exact < 10**15 else f"10^{self.log10:.3f}"


@dataclass(frozen=True)
class Constants:
    """What a choice of the grid costs: layers of both kinds, prompt tokens and parameters, parameters of the network,
    its largest weight (rounded up)."""

    k: Size
    prompt_length: Size
    prompt_parameters: Size
    attention_layers: Size
    feed_forward_layers: Size
    network_parameters: Size
    largest_weight: Size

    @property
    def bits(self) -> int:
        """Bits of the largest weight."""
        exact = self.largest_weight.exact
        return exact.bit_length() if exact is not None else int(self.largest_weight.log10 / log10(2)) + 1


def constants(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq, *, textbook: bool = False) -> Constants:
    """The softmax network's numbers for our choice of the grid, or for the textbook's: exact, in logarithms where they
    are too large to write down. Raises TooLargeError where even the number of tokens is.

    >>> str(constants(1, 1, fmpq(1), fmpq(2), fmpq(1, 100)).feed_forward_layers)
    '10^151.810'
    """
    if epsilon <= 0:
        raise ValueError(f"eps: expected an accuracy above 0, found {epsilon}")
    k = textbook_grid(d, m, L, p, epsilon) if textbook else coarsest_grid(d, m, L, p, epsilon, fmpq(1))
    if d * m * k.bit_length() > 1000:
        raise TooLargeError(f"grid: k = {k} and d m = {d * m} give more tokens than can be counted here")
    grid = Grid(d, m, k)
    n, c = grid.tokens, grid.c
    per_layer = 2 * 4 * d + 2 + 4 * d + 4 + 4 * d + d  # class T^{2,1,4} with query biases
    attention = grid.sweep + (1 if m > 1 else 0)
    few = d * n * k + (d + 1) // 2  # quantisers and clamps
    if n * c.bit_length() <= MAX_BITS:
        found = budget(d, m, L, p, epsilon, k=k)
        values = few + m * c**n
        top = fmpz(c) ** n * ((n - 1) * grid.unit + fmpq(c, k)) * (1 + found.G) + grid.unit
        threshold = found.t * ((n - 1) * grid.unit + c)
        weight = max(fmpq(found.G), threshold, top * 4 * k, grid.delta / found.eta)
        feed_forward = Size.of(values)
        parameters = Size.of((attention + values) * per_layer + d * n)
        largest = Size.of(int(fmpz(weight.ceil())))
    else:
        contexts = float(n) * log10(c)
        ids = log10((n - 1) * grid.unit + 1)
        feed_forward = Size(None, contexts + log10(m))
        parameters = Size(None, contexts + log10(m) + log10(per_layer))
        largest = Size(None, (1 if m == 1 else 2) * (contexts + ids) + (2 if m == 1 else 3) * log10(4 * k))
    return Constants(
        Size.of(k),
        Size.of(grid.prompt_length),
        Size.of(d * grid.prompt_length),
        Size.of(attention),
        feed_forward,
        parameters,
        largest,
    )
