"""Falsifier of the hardmax network: its layers run exactly on tables, functions, values and shifts at the edge.

Four searches in turn: outputs against the table; distances from Lipschitz functions, integrated exactly; constant
targets, whose value layers must not act twice; and shifts under which two contexts share the id of a read column.
Source: THEORY section 6.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from flint import fmpq

from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward, Transformer
from constructions.universality.families import run_hardmax
from constructions.universality.grid import Digits, Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.quantisation import quantisation_bound, roots
from verify.counterexample import Counterexample
from verify.falsifiers.contextual_mapping import Collision, collision_counterexample, shifts
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.quantisation import Line, exact_error, sawtooth

SLUG = "universality-hardmax"
LIPSCHITZ, RANGE, TABLE, BELOW_ONE = "f is L-Lipschitz", "f within [0, 1]", "the prompt is the table", "inputs below 1"
ROOM, SHIFT = "targets below the ids", "a large G"
EPSILON, LEAST_ID, LEAST_G = "ε", "the least id", "the least G"
SMALL = ((1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 1, 4))
FEW_LAYERS = 3000


def random_table(rng: random.Random, grid: Grid) -> list[Digits]:
    return [
        tuple(tuple(rng.randrange(grid.k) for _ in range(grid.m)) for _ in range(grid.d)) for _ in range(grid.cells)
    ]


def table_of(f: Line, grid: Grid) -> list[Digits]:
    """The table of f in every entry, digits kept within the grid also where f is not within [0, 1]."""

    def value(X: RationalMatrix) -> RationalMatrix:
        return RationalMatrix.of([[min(max(f(x), fmpq(0)), fmpq(1)) for x in row] for row in X.rows()])

    return grid.table(value)


def flipped(rng: random.Random, grid: Grid, table: Sequence[Digits]) -> list[Digits]:
    """The table with one entry changed."""
    place, i, j = rng.randrange(grid.cells), rng.randrange(grid.d), rng.randrange(grid.m)
    rows = [list(row) for row in table[place]]
    rows[i][j] = (rows[i][j] + rng.randrange(1, grid.k)) % grid.k
    return [*table[:place], tuple(tuple(row) for row in rows), *table[place + 1 :]]


# -- outputs are the table's ------------------------------------------------------------------------------------------


def _output(search: Search, grid: Grid, table: Sequence[Digits], X: RationalMatrix) -> Trial:
    """All layers on [P, X], or those that act, against the table's block."""
    network = HardmaxNetwork.of(grid)
    P = grid.prompt(table if search.keeps(TABLE) else flipped(search.rng, grid, table))
    last = 1 - grid.delta / 2
    inside = RationalMatrix.of([[min(x, last) for x in row] for row in X.rows()])
    wanted = grid.target(table, grid.cell_of(inside))
    small = network.layer_count < FEW_LAYERS / 10
    found = _all_layers(grid).with_prompt(P, X) if small or inside != X else run_hardmax(network, P, X)
    what = f"d = {grid.d}, m = {grid.m}, k = {grid.k}: outputs"
    if found == wanted:
        return Trial(what)
    parts = {"d": grid.d, "m": grid.m, "k": grid.k, "P": P, "X": X, "expected": wanted, "found": found}
    return Trial(what, None, Counterexample(SLUG, f"{what} differ from the table's at an input", parts))


@cache
def _all_layers(grid: Grid) -> Transformer:
    return HardmaxNetwork.of(grid).transformer()


def _outputs(search: Search) -> Iterator[Trial]:
    rng = search.rng
    top = 996 if search.keeps(BELOW_ONE) else 997
    while True:
        for size in SMALL[:3]:
            grid = Grid(*size)
            entries = [
                [fmpq(rng.choice([0, rng.randint(0, top), top]), 997) for _ in range(grid.m)] for _ in range(grid.d)
            ]
            yield _output(search, grid, random_table(rng, grid), RationalMatrix.of(entries))


# -- distances from functions -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Function:
    """One function of one variable, in every entry; what the network makes of its table is integrated exactly."""

    grid: Grid
    f: Line


def _distance(search: Search, one: Function) -> Trial:
    """d_1 of the network with its prompt from f, against the ε that quantisation leaves."""
    grid, f = one.grid, one.f
    network = HardmaxNetwork.of(grid)
    table = table_of(f, grid)
    P = grid.prompt(table if search.keeps(TABLE) else flipped(search.rng, grid, table))
    total: fmpq = fmpq(0)
    for cell in grid.all_cells():  # the output is constant on each, and every entry of f depends on one entry of X
        rows = run_hardmax(network, P, grid.centre(cell)).rows()
        for digits, values in zip(cell, rows, strict=True):
            for digit, value in zip(digits, values, strict=True):
                total += exact_error(_part(f, digit, grid.k), [value]) / grid.cells
    L = f.slope if search.keeps(LIPSCHITZ) else f.slope / 2
    epsilon = quantisation_bound(grid.k, L, roots(grid.d, grid.m, fmpq(1))) * search.factor(EPSILON)
    what = f"d = {grid.d}, m = {grid.m}, k = {grid.k}, L = {float(L):.4g}: distance"
    slack = 1 - total / epsilon
    if slack >= 0:
        return Trial(what, slack, constant=EPSILON)
    sentence = f"{what} {float(total):.6g}, above ε = {float(epsilon):.6g} (p = 1)"
    parts = {"d": grid.d, "m": grid.m, "k": grid.k, "L": L, "p": 1, "heights": list(f.heights), "P": P}
    return Trial(what, slack, Counterexample(SLUG, sentence, parts), EPSILON)


def _part(f: Line, digit: int, k: int) -> Line:
    """f on one grid interval, stretched to [0, 1]; its knots are among those of the result."""
    return Line(tuple(f((digit + fmpq(step, f.parts)) / k) for step in range(f.parts + 1)))


def _distances(search: Search) -> Iterator[Trial]:
    low, high = (0, 20) if search.keeps(RANGE) else (-20, 40)

    def draw(rng: random.Random) -> Function:
        grid = Grid(*rng.choice(SMALL))
        if rng.random() < 0.5:
            return Function(grid, sawtooth(grid.k, fmpq(rng.randint(0, 4 * grid.k - 4), 2)))
        return Function(grid, Line(tuple(fmpq(rng.randint(low, high), 20) for _ in range(rng.randint(2, 6)))))

    def vary(rng: random.Random, best: Function) -> Function:
        heights = list(best.f.heights)
        place = rng.randrange(len(heights))
        moved = heights[place] + fmpq(rng.randint(-20, 20), 200)
        heights[place] = min(max(moved, fmpq(low, 20)), fmpq(high, 20))
        return Function(best.grid, Line(tuple(heights)))

    ends = (low, high) if not search.keeps(RANGE) else (0, 20)
    structured = [Function(Grid(1, 1, 2), sawtooth(2, fmpq(2)))]
    structured += [Function(Grid(1, 1, 3), Line((fmpq(end, 20),) * 2)) for end in ends]
    structured += [Function(Grid(*size), sawtooth(size[2], fmpq(2 * size[2] - 2))) for size in (*SMALL[1:], (1, 2, 2))]
    return in_turn(
        (_distance(search, one) for one in structured),
        explore(search, lambda one: _distance(search, one), draw=draw, vary=vary),
    )


# -- a column that has its value stays where it is --------------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    """The value layers of a grid with d = m = 1, in increasing order, as (id, MLP)."""

    k: int
    layers: tuple[tuple[fmpq, FeedForward], ...]

    @classmethod
    @cache
    def of(cls, k: int) -> Values:
        network = HardmaxNetwork.of(Grid(1, 1, k))
        ids = [final for final, _, _ in network.entries()]
        return cls(k, tuple((final, layer.mlp) for final, layer in zip(ids, network.values(), strict=True)))

    @property
    def room(self) -> fmpq:
        return self.layers[0][0] - fmpq(1, 2 * self.k)


def _targets(search: Search) -> Iterator[Trial]:
    """Every context's target is y: a number in reach of the value layers that are still to come."""
    for k in (2, 3, 4):
        values = Values.of(k)
        for later in (1, 2, 3):
            final = values.layers[later][0]
            for y in (final - fmpq(1, 2 * k), final):
                yield _target(search, values, y)


def _target(search: Search, values: Values, y: fmpq) -> Trial:
    """The column with the least id through all value layers, in increasing order of id, for the target y."""
    what = f"k = {values.k}: target {y} in every context"
    least = values.layers[0][0]
    z = RationalMatrix.of([[least]])
    acting = []
    for number, (final, mlp) in enumerate(values.layers):
        new = replace(mlp, W_2=RationalMatrix.of([[y - final]]))(z)
        assert isinstance(new, RationalMatrix)
        if new != z:
            acting.append(number)
        z = new
    slack = 1 - search.factor(LEAST_ID) * values.room / y
    if z[0, 0] == y:
        return Trial(what)
    if slack >= 0 and search.keeps(ROOM):
        return Trial(what, slack, constant=LEAST_ID)
    sentence = f"{what}: {len(acting)} value layers act on the column with id {least}, which becomes {z[0, 0]}"
    parts = {"d": 1, "m": 1, "k": values.k, "target": y, "id": least, "layers": acting, "found": z[0, 0]}
    return Trial(what, slack, Counterexample(SLUG, sentence, parts), LEAST_ID)


# -- read columns with one id -----------------------------------------------------------------------------------------


def _same_id(search: Search, found: Collision) -> Trial:
    """Two read columns with one id meet the same layer first, which changes both by the same; if they need different
    changes, one of them gets a wrong value. It does not come back: the id of what was read is below all others."""
    grid = found.grid
    what = f"d = {grid.d}, m = {grid.m}, k = {grid.k}, G of {found.G.bit_length()} bits: read columns"
    slack = 1 - found.share / search.factor(LEAST_G)
    admitted = slack <= 0 or not search.keeps(SHIFT)
    network = HardmaxNetwork.of(grid, found.G)
    changes, ids = [], []
    for codes, column in zip(found.contexts, found.columns, strict=True):
        final, before, target = network.entry(codes, column)
        ids.append(final)
        changes.append([y - x for x, y in zip(before, target, strict=True)])
    if ids[0] != ids[1] or changes[0] == changes[1]:
        return Trial(what)
    if not admitted:
        return Trial(what, slack, constant=LEAST_G)
    sentence = f"{what} of two contexts have the same id and different values"
    if network.layer_count < FEW_LAYERS:
        layers = [layer.mlp for layer in network.values()]
        wrong = [codes for codes in found.contexts if not _right(network, layers, codes)]
        if not wrong:
            raise ArithmeticError(f"{sentence}, but both outputs are right")
        sentence += f"; all value layers run, {len(wrong)} of them is answered wrongly"
    return Trial(what, slack, collision_counterexample(SLUG, sentence, found), LEAST_G)


def _right(network: HardmaxNetwork, layers: Sequence[FeedForward], codes: Sequence[int]) -> bool:
    """The value layers on a context (d = 1): whether the read columns become what the table says."""
    grid = network.grid
    table = [(tuple(codes[start : start + grid.m]),) for start in range(0, grid.prompt_length, grid.m)]
    Z: Matrix = network.state_before_values(codes).columns(grid.prompt_length, grid.tokens)
    for layer in layers:
        Z = layer(Z)
    return grid.target(table, (tuple(codes[grid.prompt_length :]),)) == Z


def _shifts(search: Search) -> Iterator[Trial]:
    return (_same_id(search, found) for found in shifts(search.rng))


def trials(search: Search) -> Iterator[Trial]:
    return in_turn(_distances(search), _outputs(search), _targets(search), _shifts(search))


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        LIPSCHITZ: "‖f(X) − f(X')‖_p ≤ L ‖X − X'‖_p; dropped: L is half of that",
        RANGE: "the values of f lie between 0 and 1; dropped: between −1 and 2",
        TABLE: "the prompt is the table of f; dropped: one entry is another grid value",
        BELOW_ONE: "the entries of X lie in [0, 1); dropped: they may be 1",
        ROOM: "U sup |target| < least id − δ/2, for targets of any range",
        SHIFT: "G ≥ c^n((n−1)Uk + c) for m ≥ 2; dropped: any G ≥ 0",
    },
    constants={
        EPSILON: "the distance in d_p that is claimed (p = 1: Q)",
        LEAST_ID: "least id − δ/2 as a bound on U sup |target|",
        LEAST_G: "c^n((n−1)Uk + c)",
    },
    raised=frozenset({LEAST_ID}),
    budget=60,
)
