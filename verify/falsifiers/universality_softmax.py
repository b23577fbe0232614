"""Falsifier of the softmax network: its layers run in balls, at parameters on the edge of the certificate's conditions.

Two statements are tried. Off the ramps every output is within ε_s of the table's value: the least temperature of the
certificate is nearly attained when ε_s is tiny, where the exponential outweighs all other factors. And the distance
from f (p = 1, d = m = 1) is at most ε: bounded from below by enclosures over pieces of [0, 1], ramps included. How
small the global shift may be (m ≥ 2) is for the falsifiers of the contextual map and the hardmax network. Source:
THEORY section 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product

import flint
from flint import arb, fmpq

from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.universality.for_all import Budget, budget
from constructions.universality.grid import Digits, Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.quantisation import quantisation_bound
from constructions.universality.softmax_network import SoftmaxNetwork
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.contextual_mapping import collisions
from verify.falsifiers.explore import in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.quantisation import Line, exact_error, sawtooth
from verify.falsifiers.universality_hardmax import random_table, table_of

SLUG = "universality-softmax"
LIPSCHITZ, RANGE = "f is L-Lipschitz", "f within [0, 1]"
HOT, NARROW, SHARE, OFFSET = "a large t", "ramps that miss the prompt", "ramps that fit ε_r", "prompt off the grid"
CLAMP, ORDER, SHIFT = "the clamp", "increasing order of the values", "a large G"
EPSILON, LEAST_T, WIDTH, RAMPS = "ε", "the least t", "3δ/4", "ε_r^p"
PIECES = 24
"""Parts of a ramp that are enclosed one by one."""
NARROWEST = fmpq(1, 2**20)
"""Ramps below this width are left out."""
NONE = fmpq(1, 2**40)
"""A share of ε, or a width, that is next to nothing."""


@dataclass(frozen=True)
class Instance:
    """A network on the edge: shares of ε, and everything else as large or small as the conditions allow; ``wide``, if
    given, is η/(3δ/4) even if that is too large, ``G`` the factor of the global shift."""

    grid: Grid
    L: fmpq
    epsilon_s: fmpq
    epsilon_r: fmpq
    wide: fmpq | None = None
    G: int | None = None

    def made(self, search: Search) -> Budget:
        grid = self.grid
        allowed = search.factor(WIDTH) * (1 - NONE) if search.keeps(NARROW) else fmpq(7, 6)
        eta = fmpq(3, 4) * grid.delta * (allowed if self.wide is None else self.wide)
        if search.keeps(SHARE):  # p = 1
            eta = min(eta, self.epsilon_r * search.factor(RAMPS) / (grid.d**2 * grid.m**2 * grid.k))
        one = budget(grid.d, grid.m, self.L, fmpq(1), self.L + 2, k=grid.k)
        Q = quantisation_bound(grid.k, self.L, one.roots)
        total = Q + self.epsilon_s * one.root_m + self.epsilon_r
        G = one.G if self.G is None else self.G
        edge = replace(one, G=G, epsilon=total, epsilon_s=self.epsilon_s, epsilon_r=self.epsilon_r, eta=eta)
        t = least_temperature(edge)
        return replace(edge, t=t * search.factor(LEAST_T) if search.keeps(HOT) else t / 8)


def least_temperature(found: Budget) -> fmpq:
    """The least t of the certificate's inequality for these shares, a very little above.

    >>> one = budget(1, 1, fmpq(1), fmpq(1), fmpq(2), k=2)
    >>> t = least_temperature(one)
    >>> replace(one, t=t).holds(), replace(one, t=t * (1 - fmpq(1, 10**6))).holds()
    (True, False)
    """
    grid, kappa = found.grid, found.kappa
    c, n, delta = grid.c, grid.tokens, grid.delta
    with flint.ctx.workprec(256):
        R = c**n * ((n - 1) * grid.unit + c * delta)
        factor = c * min(grid.sweep + n, 4 * n + 2)
        needed = ((1 + found.G) * fmpq(2 * c - 1) ** n * factor + found.G) * R * (n - 1)
        x = (arb(needed) / arb(min(delta / 4, found.epsilon_s))).log().upper()
    t = midpoint(x) / (delta**2 * (fmpq(1, 2) - kappa) * (1 - 2 * kappa))
    return fmpq((t * 2**30).ceil(), 2**30)


@cache
def _entries(grid: Grid, G: int) -> list[tuple[fmpq, list[fmpq], list[fmpq]]]:
    """Final id, column before and target of every value layer, in increasing order of id."""
    return HardmaxNetwork.of(grid, G).entries()


class Runner:
    """The network of a budget, run in balls; ``offset`` is added to the prompt's grid values."""

    def __init__(self, search: Search, made: Budget) -> None:
        self.budget = made
        self.network = SoftmaxNetwork(made)
        self.offset = made.grid.delta / 4 if search.keeps(OFFSET) else made.grid.delta - made.eta / 2
        self.clamped = search.keeps(CLAMP)
        entries = _entries(made.grid, made.G)
        self.entries = entries if search.keeps(ORDER) else entries[::-1]
        self.bits = 512 + 3 * max(0, int((1 / made.epsilon_s).ceil()).bit_length()) + 32 * made.grid.tokens

    def prompt(self, table: Sequence[Digits]) -> RationalMatrix:
        return self.budget.grid.prompt(table, self.offset)

    def output(self, P: RationalMatrix, X: RationalMatrix) -> list[list[arb]]:
        """The columns of the output at the current precision: the layers of quantisers run exactly, those of sweep and
        shift in balls, a value layer as its trapezoid."""
        grid = self.budget.grid
        Z: Matrix = BallMatrix.embed(self._quantised(P, X))
        for layer in self.network.attention_stages():
            Z = layer(Z)
        assert isinstance(Z, BallMatrix)
        return [self._read(Z.column(j)) for j in range(grid.prompt_length, grid.tokens)]

    def ramp_output(self, P: RationalMatrix, x: fmpq, radius: fmpq) -> arb:
        """The output (d = m = 1) for every input within ``radius`` of x, if all these are on one ramp."""
        grid, t = self.budget.grid, self.budget.t
        z = [arb(value) for value in self._quantised(P, RationalMatrix.of([[x]])).mat.entries()]
        z[-1] += arb(0, 1) * arb(radius * grid.delta / self.budget.eta)  # the quantiser's slope there
        for j in range(grid.tokens):
            for a in range(grid.c):
                v = j + a * grid.delta
                z = [_swept(z, i, v - grid.delta / 2, v + grid.delta / 2, grid.c, t) for i in range(grid.tokens)]
        (found,) = self._read(z[-1:])
        return found

    def _quantised(self, P: RationalMatrix, X: RationalMatrix) -> RationalMatrix:
        Z = RationalMatrix(P.hstack(X).mat + self.budget.grid.embedding().mat)
        for layer in self.network.quantise():
            new = layer.mlp(Z)
            assert isinstance(new, RationalMatrix)
            Z = new
        return Z

    def _read(self, z: list[arb]) -> list[arb]:
        grid = self.budget.grid
        u = [arb(x) for x in grid.u]
        for final, before, target in self.entries:
            away = abs(sum((x * y for x, y in zip(u, z, strict=True)), arb(0)) - arb(final)) * grid.k
            if away > fmpq(1, 2):
                continue
            weight = (2 - 4 * away).min(arb(1)).max(arb(0))
            z = [x + weight * arb(y - b) for x, y, b in zip(z, target, before, strict=True)]
        return [x.min(arb(1)).max(arb(0)) for x in z] if self.clamped else z


def _swept(z: list[arb], j: int, lower: fmpq, upper: fmpq, c: int, t: fmpq) -> arb:
    """What a layer of the sweep makes of id j (d = 1): each head is the id with the largest score plus small multiples
    of differences, so that an id which both heads look at, or its own, is counted once although its ball is wide."""
    shares = [0] * len(z)
    shares[j] = 1
    rest = arb(0)
    for sign, threshold in ((c, lower), (-c, upper)):
        query = t * (z[j] - arb(threshold))
        top = max(range(len(z)), key=lambda i: float((z[i] * query).mid()))
        shares[top] += sign
        others = [(z[i] - z[top], (z[i] - z[top]) * query) for i in range(len(z)) if i != top]
        # e^x is monotone; the ball of e^{wide} would reach below 0
        weights = [score.lower().exp().union(score.upper().exp()) for _, score in others]
        total = sum(weights, arb(1))
        rest += sign * sum((gap * weight / total for (gap, _), weight in zip(others, weights, strict=True)), arb(0))
    return sum((share * x for share, x in zip(shares, z, strict=True) if share), rest)


# -- off the ramps: within ε_s of the table ---------------------------------------------------------------------------


def _plateau(search: Search, one: Instance, table: Sequence[Digits], cell: Digits) -> Trial:
    grid = one.grid
    made = one.made(search)
    run = Runner(search, made)
    X = RationalMatrix.of([[a * grid.delta for a in row] for row in cell])
    wanted = grid.target(table, cell)
    P = run.prompt(table)
    with flint.ctx.workprec(run.bits):
        found = run.output(P, X)
        pairs = [(x, wanted[i, j]) for j, column in enumerate(found) for i, x in enumerate(column)]
        errors = [abs(x - arb(y)) for x, y in pairs]
        worst = max(errors, key=lambda x: float(x.log().mid()) if x > 0 else -1e300)
        broken = worst > arb(made.epsilon_s)
        slack = None
        if worst > 0:  # by what part the temperature could fall: the error is e^{−x} up to a factor, x = t δ² (…)
            lost = (arb(made.epsilon_s) / worst).log()
            slack = midpoint((lost / arb(made.exponent)).upper())
    sizes = f"d = {grid.d}, m = {grid.m}, k = {grid.k}"
    what = f"{sizes}, ε_s of {_size(one.epsilon_s)}, t = {float(made.t):.6g}: off the ramps"
    if one.wide is not None and one.wide >= search.factor(WIDTH) and search.keeps(NARROW):
        return Trial(f"{what}, wide", 1 - search.factor(WIDTH) / one.wide if broken else None, constant=WIDTH)
    if not broken:
        return Trial(what, None if slack is None else max(slack, fmpq(0)), constant=LEAST_T)
    sentence = f"{what} an output is further than ε_s from the table's value"
    return Trial(what, slack, _counterexample(sentence, made, P, {"X": X, "table": wanted}), LEAST_T)


def _size(x: fmpq) -> str:
    return f"2^{int(x.p).bit_length() - int(x.q).bit_length()}"


def _counterexample(sentence: str, made: Budget, P: RationalMatrix, more: dict[str, object]) -> Counterexample:
    names = ("L", "p", "epsilon", "t", "eta", "epsilon_s", "epsilon_r")
    sizes = {"d": made.grid.d, "m": made.grid.m, "k": made.grid.k}
    parts = sizes | {name: getattr(made, name) for name in names} | {"P": P}
    return Counterexample(SLUG, sentence, parts | more, Evidence.ENCLOSED)


def _plateaus(search: Search) -> Iterator[Trial]:
    """The contexts of the smallest grid, one by one, with an ε_s so tiny that the exponential outweighs the rest of the
    inequality; and random ones on other grids."""
    rng = search.rng
    tiny, small = fmpq(1, 2**2400), fmpq(1, 2**20)
    smallest, room = Grid(1, 1, 2), fmpq(7, 8)
    while True:
        for first, second, last in product((1, 0), (1, 0), (0, 1)):
            table, cell = [((first,),), ((second,),)], ((last,),)
            yield _plateau(search, Instance(smallest, fmpq(1), tiny, fmpq(1, 100)), table, cell)
            for wide in (None, 1 + NONE):  # ramps that come as near to the prompt's entries as they may, and nearer
                yield _plateau(search, Instance(smallest, fmpq(1), small**5, room, wide), table, cell)
            for size, epsilon_s in (((1, 1, 3), small), ((2, 1, 2), fmpq(1, 100))):
                grid = Grid(*size)
                drawn = rng.choice(list(grid.all_cells()))
                yield _plateau(search, Instance(grid, fmpq(1), epsilon_s, room), random_table(rng, grid), drawn)


def _shifts(search: Search) -> Iterator[Trial]:
    """Two input tokens: contexts of zeros and of ones, which a shift too small gives one id."""
    grid = Grid(1, 2, 2)
    found = next(collisions(grid, (0,) * grid.tokens))
    one = Instance(grid, fmpq(1), fmpq(1, 100), fmpq(1, 100), G=None if search.keeps(SHIFT) else found.G)
    while True:
        for codes in (*found.contexts, tuple(search.rng.randrange(2) for _ in range(grid.tokens))):
            blocks = [(tuple(codes[j : j + 2]),) for j in range(0, grid.tokens, 2)]
            yield _plateau(search, one, blocks[:-1], blocks[-1])


# -- the distance from f ----------------------------------------------------------------------------------------------


def _distance(search: Search, one: Instance, f: Line) -> Trial:
    """A lower bound of ∫ |output − f| (d = m = 1), against ε."""
    grid = one.grid
    made = one.made(search)
    run = Runner(search, made)
    P = run.prompt(table_of(f, grid))
    total = fmpq(0)
    with flint.ctx.workprec(run.bits):
        for cell in range(grid.k):
            left = cell * grid.delta
            ramp = left + grid.delta - made.eta
            total += _apart(f, left, ramp, run.output(P, RationalMatrix.of([[left]]))[0][0])
            width = made.eta / PIECES
            for piece in range(PIECES if made.eta > NARROWEST else 0):  # what is left out can only make it larger
                x = ramp + piece * width
                total += _apart(f, x, x + width, run.ramp_output(P, x + width / 2, width / 2))
    epsilon = made.epsilon * search.factor(EPSILON)
    what = f"k = {grid.k}, L = {float(one.L):.4g}, ε_s of {_size(one.epsilon_s)}, ε_r = {float(one.epsilon_r):.4g}"
    slack = 1 - total / epsilon
    if slack >= 0:
        return Trial(what, slack, constant=EPSILON)
    sentence = f"{what}: distance at least {float(total):.6g}, above ε = {float(epsilon):.6g} (p = 1)"
    return Trial(what, slack, _counterexample(sentence, made, P, {"heights": list(f.heights)}), EPSILON)


def _apart(f: Line, x: fmpq, y: fmpq, value: arb) -> fmpq:
    """A lower bound of ∫ |f − value| from x to y, for any value in the ball."""
    if not value.is_finite() or y <= x:
        return fmpq(0)
    middle, radius = midpoint(value.mid()), midpoint(value.rad())
    steps = sorted({x, y, *(q for i in range(f.parts + 1) if x < (q := fmpq(i, f.parts)) < y)})
    total: fmpq = fmpq(0)
    for a, b in pairwise(steps):
        total += exact_error(Line((f(a), f(b))), [middle]) * (b - a)
    return max(fmpq(0), total - radius * (y - x))


def _distances(search: Search) -> Iterator[Trial]:
    """The sawtooth that attains Q with next to nothing for the rest of ε, constants with ramps as wide as allowed."""
    rng = search.rng
    low, high = (fmpq(0), fmpq(1)) if search.keeps(RANGE) else (fmpq(-1), fmpq(2))

    def instance(k: int, f: Line, epsilon_s: fmpq, epsilon_r: fmpq) -> Trial:
        L = f.slope if search.keeps(LIPSCHITZ) else f.slope / 2
        return _distance(search, Instance(Grid(1, 1, k), L, epsilon_s, epsilon_r), f)

    for k in (2, 3):
        yield instance(k, sawtooth(k, fmpq(2 * k - 2)), NONE, NONE)
        for end in (low, high):
            for epsilon_r in (NONE, fmpq(3, 4)):
                yield instance(k, Line((end, end)), NONE, epsilon_r)
    while True:
        k = rng.choice([2, 2, 3])
        f = Line(tuple(low + (high - low) * fmpq(rng.randint(0, 20), 20) for _ in range(rng.randint(2, 5))))
        yield instance(
            k, f, fmpq(1, 2 ** rng.randint(5, 20)), fmpq(rng.randint(1, 15), 20) if search.keeps(SHARE) else NONE
        )


def trials(search: Search) -> Iterator[Trial]:
    return in_turn(_plateaus(search), _distances(search), _shifts(search))


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        LIPSCHITZ: "‖f(X) − f(X')‖_p ≤ L ‖X − X'‖_p; dropped: L is half of that",
        RANGE: "the values of f lie between 0 and 1; dropped: between −1 and 2",
        HOT: "the inequality for t; dropped: an eighth of the least such t",
        NARROW: "η < 3δ/4; dropped: 7δ/8",
        SHARE: "(d²m²kη)^b ≤ ε_r^a for p = a/b; dropped: ε_r is next to nothing",
        OFFSET: "prompt entries δ/4 above grid values; dropped: in the middle of a ramp",
        CLAMP: "outputs are clamped to [0, 1] at the end",
        SHIFT: "G ≥ c^n((n−1)Uk + c) for m ≥ 2; dropped: a G under which two contexts have one id",
        ORDER: "the value layers come in increasing order of id; dropped: in decreasing order",
    },
    constants={
        EPSILON: "quantisation + ε_s m^{1/p} + ε_r",
        LEAST_T: "the least t of the inequality",
        WIDTH: "the bound on η",
        RAMPS: "the bound on d²m²kη",
    },
    unfindable={
        ORDER: (
            "the claim stays true: off the ramps exactly one value layer acts on a read column, in whatever order, and "
            "on the ramps the clamp bounds the error by 1; the order matters for the network without clamp only"
        ),
        RAMPS: (
            "the claim stays true for k ≤ 50, beyond what can be run: on a ramp the output in [0, 1] and the table's "
            "value in [δ/2, 1 − δ/2] differ by at most 1 − δ/2, so (d²m²kη)(1 − δ/2)^p ≤ ε_r^p is enough, and "
            "1.01 (1 − δ/2) ≤ 1"
        ),
    },
    raised=frozenset({WIDTH, RAMPS}),
    budget=36,
)
