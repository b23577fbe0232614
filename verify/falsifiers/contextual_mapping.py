"""Falsifier of the contextual map: the sweep run by its definition, and contexts whose read ids a shift makes equal.

All ids are counted in multiples of δ. Every instance that breaks the map is weighed against the condition that excludes
it: the slack is how far the condition is from admitting it, and it is a counterexample when the condition does admit
it. Source: THEORY section 6, items 2 and 3; docs/theory/universality.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from flint import fmpq

from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Grid
from verify.counterexample import Counterexample
from verify.falsifiers.explore import in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial

SLUG = "contextual-mapping"
SWEEP, ORDER, PLACES, SHIFT = "the sweep condition", "increasing order", "positions in the ids", "a large G"
SWEEP_SIDE, LIFT, LEAST_G, SPREAD = "the sweep condition's right side", "the lift c", "the least G", "the ids' spread"
ENOUGH = 1024
"""Contexts that are run at one size; all where there are no more."""
Context = Sequence[int]


def lifted(
    d: int, k: int, codes: Context, lift: fmpq, *, decreasing: bool = False, places: bool = True
) -> tuple[list[fmpq], list[int]]:
    """The sweep by its definition, for any number of columns: the ids after it, in multiples of δ, and how often each
    column was lifted.

    >>> lifted(1, 2, (0, 1, 0), fmpq(2))
    ([8, 13, 22], [1, 1, 1])
    """
    c, U, n = k**d, sum(k**i for i in range(d)), len(codes)
    step = U * k if places else 0
    ids = [fmpq(j * step + a) for j, a in enumerate(codes)]
    times = [0] * n
    values = sorted({j * step + a for j in range(n) for a in range(c)}, reverse=decreasing)
    for v in values:
        due = [j for j, l in enumerate(ids) if l == v]
        if due:
            rise = lift * (max(ids) - min(ids))
            for j in due:
                ids[j] += rise
                times[j] += 1
    return ids, times


@dataclass(frozen=True)
class SweepSize:
    """Width d, grid k, n columns, and the factor of the lift (c unless another is tried)."""

    d: int
    k: int
    n: int
    lift: fmpq

    @property
    def c(self) -> int:
        return int(self.k**self.d)

    @property
    def sides(self) -> tuple[int, int]:
        """(n−1)(c−1)²k and (k−1)(c²−c+1)."""
        return (self.n - 1) * (self.c - 1) ** 2 * self.k, (self.k - 1) * (self.c**2 - self.c + 1)

    def contexts(self, rng: random.Random) -> Iterable[tuple[int, ...]]:
        if self.c**self.n <= ENOUGH:
            return product(range(self.c), repeat=self.n)
        ends = [(x,) * (self.n - 1) + (y,) for x in (0, self.c - 1) for y in (0, self.c - 1)]
        drawn = [tuple(rng.randrange(self.c) for _ in range(self.n)) for _ in range(ENOUGH // 8)]
        return dict.fromkeys(ends + drawn)  # each once: a context is not told apart from itself


def _fault(
    size: SweepSize, contexts: Iterable[Context], decreasing: bool, places: bool
) -> tuple[str, list[Context]] | None:
    """A column that is not lifted once, or two contexts whose last ids are less than δ apart."""
    seen = []
    for codes in contexts:
        ids, times = lifted(size.d, size.k, codes, size.lift, decreasing=decreasing, places=places)
        wrong = next((j for j, count in enumerate(times) if count != 1), None)
        if wrong is not None:
            return f"column {wrong} is lifted {times[wrong]} times, expected once", [codes]
        seen.append((ids[-1], codes))
    seen.sort(key=lambda pair: pair[0])
    for (x, first), (y, second) in pairwise(seen):
        if y - x < 1:
            return f"the last ids of two contexts are {y - x} δ apart, expected at least δ", [first, second]
    return None


def _swept(search: Search, size: SweepSize) -> Trial:
    left, right = size.sides
    decreasing, places = not search.keeps(ORDER), search.keeps(PLACES)
    what = f"d = {size.d}, k = {size.k}, n = {size.n}"
    if size.lift != size.c:
        what += f", lift {size.lift} for {size.c}"
    fault = _fault(size, size.contexts(search.rng), decreasing, places)
    if fault is None:
        return Trial(what)
    # how far the two conditions are from admitting this size and this lift
    needs = {SWEEP_SIDE: fmpq(left, right), LIFT: size.lift / size.c}
    apart = {name: 1 - value / search.factor(name) for name, value in needs.items()}
    admitted = apart[LIFT] <= 0 and (apart[SWEEP_SIDE] <= 0 or not search.keeps(SWEEP))
    constant = LIFT if size.lift != size.c else SWEEP_SIDE
    if not admitted:
        return Trial(what, max(apart.values()), constant=constant)
    sentence, contexts = fault
    parts = {"d": size.d, "k": size.k, "columns": size.n, "lift": size.lift, "contexts": [list(c) for c in contexts]}
    return Trial(what, apart[constant], Counterexample(SLUG, f"{what}: {sentence}", parts), constant)


def _sweeps(search: Search) -> Iterator[Trial]:
    """Sizes at the edge of the sweep condition, then random ones."""
    part = search.factor(LIFT)
    for d, k, n in ((1, 2, 2), (1, 11, 2), (1, 12, 2), (1, 2, 3), (2, 2, 2), (1, 3, 3), (2, 2, 3), (1, 4, 4)):
        yield _swept(search, SweepSize(d, k, n, k**d * part))
    while True:
        d, k, n = search.rng.randint(1, 2), search.rng.randint(2, 9), search.rng.randint(2, 7)
        yield _swept(search, SweepSize(d, k, n, k**d * part))


def _lifts(search: Search) -> Iterator[Trial]:
    """Lifts that are a little too small: the last ids of contexts come together where there are many columns."""
    for share, n in ((fmpq(9, 10), 6), (search.factor(LIFT), 8), (fmpq(98, 100), 8), (fmpq(999, 1000), 10)):
        yield _swept(search, SweepSize(1, 2, n, 2 * share))


@dataclass(frozen=True)
class Collision:
    """Two contexts, two read columns, and the factor G of a shift that gives them one id."""

    grid: Grid
    contexts: tuple[tuple[int, ...], tuple[int, ...]]
    columns: tuple[int, int]
    G: int

    @property
    def share(self) -> fmpq:
        """G as a part of the least G of the claim."""
        return fmpq(self.G) / ContextualMap(self.grid).sufficient_shift()

    @property
    def spread(self) -> fmpq:
        """Gδ as a part of (largest id − least id after the sweep)."""
        map = ContextualMap(self.grid)
        c, n = self.grid.c, self.grid.tokens
        # the last id is largest for a = (0, …, 0, c−1), the first one least for (c−1, 0, …, 0)
        largest, least = map.swept([0] * (n - 1) + [c - 1])[-1], map.swept([c - 1] + [0] * (n - 1))[0]
        return self.G * self.grid.delta / (largest - least)

    def confirmed(self) -> bool:
        """Whether the two final ids are equal, exactly."""
        map = ContextualMap(self.grid, self.G)
        (first, second), (i, j) = self.contexts, self.columns
        return bool(map.final(first)[i] == map.final(second)[j]) and (first, i) != (second, j)


def collisions(grid: Grid, codes: tuple[int, ...]) -> Iterator[Collision]:
    """Shifts G ≥ 0 that give a read column of this context and one of another context the same id.

    The other context is one whose last id after the sweep is larger by δ, 2δ or 3δ: it is decoded from that id. The
    difference of two other ids, divided by this, is then G.

    >>> found = next(collisions(Grid(1, 3, 2), (0,) * 27))
    >>> found.columns, found.confirmed(), float(found.share) > 0.5
    ((26, 24), True, True)
    """
    map = ContextualMap(grid)
    ours = map.swept(codes)
    for step in (1, 2, 3):
        try:
            other = tuple(map.decode(ours[-1] + step * grid.delta))
        except ValueError:
            continue  # no context has this id
        theirs = map.swept(other)
        read = range(grid.prompt_length, grid.tokens)
        pairs = sorted(((ours[i] - theirs[j], i, j) for i in read for j in read), reverse=True)
        for difference, i, j in pairs:
            G = difference / (step * grid.delta)
            if G >= 0 and G.q == 1:
                yield Collision(grid, (codes, other), (i, j), int(G.p))


def _shifted(search: Search, found: Collision, about: str) -> Trial:
    """Against the least G of the claim, or against the sharper condition on the spread of the ids."""
    grid = found.grid
    what = f"d = {grid.d}, m = {grid.m}, k = {grid.k}, G of {found.G.bit_length()} bits"
    slack = 1 - (found.share if about == LEAST_G else found.spread) / search.factor(about)
    admitted = slack <= 0 if about == LEAST_G else slack < 0
    if (not admitted and search.keeps(SHIFT)) or not found.confirmed():
        return Trial(what, max(slack, fmpq(0)), constant=about)
    sentence = f"{what}: columns {found.columns[0]} and {found.columns[1]} of two contexts have the same final id"
    return Trial(what, slack, collision_counterexample(SLUG, sentence, found), about)


def collision_counterexample(slug: str, sentence: str, found: Collision) -> Counterexample:
    grid = found.grid
    parts = {"d": grid.d, "m": grid.m, "k": grid.k, "G": fmpq(found.G)}
    return Counterexample(
        slug, sentence, parts | {"contexts": [list(c) for c in found.contexts], "columns": list(found.columns)}
    )


def shifts(rng: random.Random) -> Iterator[Collision]:
    """Collisions with large G: contexts of zeros first, at sizes where G comes near the claim's; then random contexts,
    and in turn with them the best one with one column changed."""
    for d, m, k in ((1, 2, 2), (1, 3, 2), (2, 2, 2), (1, 8, 2)):
        grid = Grid(d, m, k)
        yield from _first(collisions(grid, (0,) * grid.tokens))
    best: Collision | None = None
    while True:
        grid = Grid(*rng.choice([(1, 2, 2), (1, 2, 3), (1, 3, 2), (1, 4, 2), (2, 2, 2)]))
        tried = [(grid, tuple(rng.randrange(grid.c) for _ in range(grid.tokens)))]
        if best is not None:
            codes = list(best.contexts[0])
            codes[rng.randrange(len(codes))] = rng.randrange(best.grid.c)
            tried.append((best.grid, tuple(codes)))
        for grid, codes_ in tried:
            for found in _first(collisions(grid, codes_)):
                if best is None or found.share > best.share:
                    best = found
                yield found


def _first(found: Iterator[Collision]) -> Iterator[Collision]:
    one = next(found, None)
    if one is not None:
        yield one


def _shifts(search: Search) -> Iterator[Trial]:
    return (_shifted(search, found, about) for found in shifts(search.rng) for about in (LEAST_G, SPREAD))


def trials(search: Search) -> Iterator[Trial]:
    return in_turn(_sweeps(search), _shifts(search), _lifts(search))


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        SWEEP: "(n−1)(c−1)²k ≥ (k−1)(c²−c+1)",
        ORDER: "the sweep goes through the possible ids in increasing order; dropped: in decreasing order",
        PLACES: "column j has the id jU + a_j δ; dropped: a_j δ",
        SHIFT: "G ≥ c^n((n−1)Uk + c); dropped: any G ≥ 0",
    },
    constants={
        SWEEP_SIDE: "(k−1)(c²−c+1) in the sweep condition",
        LIFT: "a column is lifted by c (max − min)",
        LEAST_G: "c^n((n−1)Uk + c)",
        SPREAD: "largest less least id, which Gδ has to exceed",
    },
    budget=60,
)
