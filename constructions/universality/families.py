"""Layer families: networks of astronomical depth, evaluated by the few layers that act on a given state.

A family is an indexed set of layers of one stage, with any layer on demand, and a proved statement of which of them act
on a given state; what all the others together contribute is nothing for feed-forward layers (the state is off their
support) and for hardmax heads (both give the same column), and for softmax heads one geometric tail. Source: THEORY
section 6, "Implicit depth"; proofs in docs/theory/universality.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import flint
from flint import arb, arb_mat, fmpq

from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix, dot
from constructions.transformer import Layer
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.softmax_network import SoftmaxNetwork
from constructions.verdict import Undecided

Index = TypeVar("Index")


@dataclass(frozen=True)
class LayerFamily(Generic[Index]):
    """``count`` layers, ``layer(index)`` on demand; ``acting(state)`` yields the indices of those that act, in the
    order of the network."""

    name: str
    count: int
    layer: Callable[[Index], Layer]
    acting: Callable[[RationalMatrix], Iterator[Index]]


def hardmax_families(network: HardmaxNetwork) -> list[LayerFamily[tuple[int, ...]]]:
    """The five stages of the hardmax network.

    - quantise (r, i): acts iff an entry of row r lies strictly inside (iδ, (i+1)δ);
    - sweep (j, a): acts iff the id of a column is v = jU + aδ when its turn comes: that is the id of column j before
      the sweep, as every column is lifted above all that follow;
    - shift: its one layer, if G > 0;
    - values (codes…, column): acts iff that column has the id that this context gives it: the context of the state,
      read from the id of the last column;
    - clamp (r): all d layers.
    """
    grid, map = network.grid, network.map
    d, n, k = grid.d, grid.tokens, grid.k

    def inside(state: RationalMatrix) -> Iterator[tuple[int, ...]]:
        for r in range(d):
            steps = {int((x * k).floor()) for x in state.rows()[r] if (x * k).q != 1}
            yield from ((r, i) for i in sorted(steps) if 0 <= i < n * k)

    def lifted(state: RationalMatrix) -> Iterator[tuple[int, ...]]:
        for j in range(n):
            a = (dot(grid.u, state.column(j)) - j * grid.unit) * k
            if a.q != 1 or not 0 <= a < grid.c:
                raise ValueError(f"sweep: expected a quantised column {j}, found {state.column(j)}")
            yield j, int(a)

    def read(state: RationalMatrix) -> Iterator[tuple[int, ...]]:
        last = dot(grid.u, state.column(n - 1))
        codes = map.decode(last / (1 + map.G))
        yield from ((*codes, grid.prompt_length + j) for j in _by_id(network, codes))

    return [
        LayerFamily("quantise", d * n * k, lambda index: network.quantise_layer(*index), inside),
        LayerFamily("sweep", grid.sweep, lambda index: network.sweep_layer(*index), lifted),
        LayerFamily("shift", 1 if map.G else 0, lambda index: next(network.shift()), lambda state: _once(map.G)),
        LayerFamily("values", grid.m * grid.c**n, lambda index: network.value_layer(index[:-1], index[-1]), read),
        LayerFamily("clamp", d, lambda index: network.clamp_layer(*index), lambda state: ((r,) for r in range(d))),
    ]


def _once(G: int) -> Iterator[tuple[int, ...]]:
    return iter([()] if G else [])


def _by_id(network: HardmaxNetwork, codes: list[int]) -> list[int]:
    """The read columns of a context in increasing order of their ids."""
    final = network.map.final(codes)[network.grid.prompt_length :]
    return sorted(range(network.grid.m), key=lambda j: final[j])


def run_hardmax(network: HardmaxNetwork, P: RationalMatrix, X: RationalMatrix) -> RationalMatrix:
    """The output on [P, X] by the layers that act, each a real layer of the network, in exact rationals.

    >>> from constructions.universality.grid import Grid
    >>> network = HardmaxNetwork.of(Grid(1, 1, 2))
    >>> P = network.grid.prompt([((1,),), ((0,),)])
    >>> run_hardmax(network, P, RationalMatrix.of([["1/3"]])) == network.evaluate(P, RationalMatrix.of([["1/3"]]))
    True
    """
    grid = network.grid
    grid.cell_of(X)
    state = RationalMatrix(P.hstack(X).mat + grid.embedding().mat)
    for family in hardmax_families(network):
        for index in family.acting(state):
            result = family.layer(index)(state)
            assert isinstance(result, RationalMatrix)
            state = result
    return state.columns(grid.prompt_length, grid.tokens)


def run_softmax(network: SoftmaxNetwork, P: RationalMatrix, X: RationalMatrix, bits: int = 0) -> BallMatrix:
    """An enclosure of the softmax network's output on [P, X], whatever its depth: n lifts with the proved error of
    their heads, one geometric tail for each run of skipped sweep layers, one decoding. On a ramp it is [0, 1].

    Raises Undecided when ``bits`` (by default enough) do not keep the ids on their plateaus.
    """
    budget = network.budget
    grid = budget.grid
    cell = grid.cell_of(X)
    if network.on_ramp(X) or network.on_ramp(P):
        with flint.ctx.workprec(64):
            return BallMatrix(arb_mat(grid.d, grid.m, [arb(fmpq(1, 2), fmpq(1, 2))] * (grid.d * grid.m)))
    ideal = network.ideal
    blocks = [grid.cell_of(P.columns(i, i + grid.m)) for i in range(0, grid.prompt_length, grid.m)]
    context = tuple(tuple(a for block in [*blocks, cell] for a in block[i]) for i in range(grid.d))
    codes = ideal.map.codes(context)
    exact = RationalMatrix.of(
        [[j + a * grid.delta for j, a in enumerate(row)] for row in context]
    )  # the quantisers are exact off the ramps
    with flint.ctx.workprec(bits or _precision(network)):
        state: Matrix = BallMatrix.embed(exact)
        before = -1
        for j, a in enumerate(codes):
            place = j * grid.c + a
            state = _widened(state, _tail(network, place - before - 1))
            before = place
            _demand_near(network, state, _ideal_ids(network, codes, j))
            state = _lifted(network, state, j)
        state = _widened(state, _tail(network, grid.sweep - 1 - before))
        _demand_near(network, state, ideal.map.swept(codes))
        if budget.G:
            largest = _ids(network, state)[-1] + arb(0, _rho(network).abs_upper())
            state = _added(state, [budget.G * largest] * grid.tokens)
        final = ideal.map.final(codes)
        _demand_plateau(network, state, final)
        known = ideal.state_before_values(codes)
        for j in _by_id(ideal, codes):
            column = grid.prompt_length + j
            target = grid.target(blocks, cell)
            change = [target[i, j] - known[i, column] for i in range(grid.d)]
            state = _moved(state, column, change)  # the trapezoid is 1 on its plateau; all others are 0 there
        for layer in network.clamp():
            state = layer(state)
        assert isinstance(state, BallMatrix)
        return state.columns(grid.prompt_length, grid.tokens)


def _precision(network: SoftmaxNetwork) -> int:
    """Enough bits for ids of the largest size times the temperature, through n lifts."""
    grid = network.budget.grid
    size = int(grid.c) ** grid.tokens * grid.tokens * grid.unit * (1 + network.budget.G)
    growth = grid.tokens * (8 * grid.c).bit_length()
    bits: int = 256 + 3 * size.bit_length() + growth + int(network.budget.t.ceil()).bit_length()
    return bits


def _rho(network: SoftmaxNetwork) -> arb:
    """How far a head's output is from the id of the column that it looks at, at most."""
    budget = network.budget
    grid = budget.grid
    R = fmpq(grid.c) ** grid.tokens * ((grid.tokens - 1) * grid.unit + grid.c * grid.delta)
    return arb(R * (grid.tokens - 1)) * (-arb(budget.exponent)).exp()


def _tail(network: SoftmaxNetwork, skipped: int) -> arb:
    """What a run of skipped sweep layers adds to row 0 of any column, at most: c ρ for each, and no more than c ρ/(1 −
    q) together, however many they are."""
    budget = network.budget
    q = (-arb(budget.t * budget.grid.delta**2 * (1 - 2 * budget.kappa))).exp()
    return budget.grid.c * _rho(network) * (1 / (1 - q)).min(arb(skipped))


def _lifted(network: SoftmaxNetwork, state: Matrix, j: int) -> Matrix:
    """The sweep layer at the id of column j, the lowest: its row 0 gets c (largest id − own id), each head off by at
    most ρ; the others get c times the difference of two heads that look at the same column."""
    grid = network.budget.grid
    ids = _ids(network, state)
    rho = _rho(network).abs_upper()
    largest = ids[j - 1] if j else ids[-1]  # the column lifted last, or at first the last one
    changes = [arb(0, grid.c * rho) for _ in ids]
    state = _added(state, changes)
    assert isinstance(state, BallMatrix)
    own = state[0, j] * (1 - grid.c)  # 1 − c u_0, with u_0 = 1
    for i in range(1, grid.d):
        own -= grid.c * arb(grid.u[i]) * state[i, j]
    rows, columns = state.shape
    entries = [
        own + grid.c * largest + arb(0, 2 * grid.c * rho) if (i, k) == (0, j) else state[i, k]
        for i in range(rows)
        for k in range(columns)
    ]
    return BallMatrix(arb_mat(rows, columns, entries))


def _added(state: Matrix, changes: list[arb]) -> Matrix:
    """Row 0 of each column plus its change."""
    assert isinstance(state, BallMatrix)
    rows, columns = state.shape
    entries = [state[i, j] + changes[j] if i == 0 else state[i, j] for i in range(rows) for j in range(columns)]
    return BallMatrix(arb_mat(rows, columns, entries))


def _widened(state: Matrix, tail: arb) -> Matrix:
    """Row 0 of every column with an uncertainty of ± tail."""
    return _added(state, [arb(0, tail.abs_upper())] * state.shape[1])


def _moved(state: Matrix, column: int, change: list[fmpq]) -> Matrix:
    assert isinstance(state, BallMatrix)
    rows, columns = state.shape
    entries = [
        state[i, j] + arb(change[i]) if j == column else state[i, j] for i in range(rows) for j in range(columns)
    ]
    return BallMatrix(arb_mat(rows, columns, entries))


def _ids(network: SoftmaxNetwork, state: Matrix) -> list[arb]:
    u = network.budget.grid.u
    rows, columns = state.shape
    return [sum((arb(u[i]) * state[i, j] for i in range(rows)), arb(0)) for j in range(columns)]


def _ideal_ids(network: SoftmaxNetwork, codes: list[int], lifted: int) -> list[fmpq]:
    """The hardmax network's ids when the columns before ``lifted`` have been lifted."""
    map = network.ideal.map
    return map.swept(codes)[:lifted] + map.ids(codes)[lifted:]


def _demand_near(network: SoftmaxNetwork, state: Matrix, ideal: list[fmpq]) -> None:
    """All ids within κδ of the ideal ones: what the tail's bound assumes."""
    room = network.budget.kappa * network.budget.grid.delta
    for x, y in zip(_ids(network, state), ideal, strict=True):
        if not abs(x - arb(y)) <= arb(room):
            raise Undecided(f"softmax network: an id is not shown to be within {float(room):.3g} of its ideal value")


def _demand_plateau(network: SoftmaxNetwork, state: Matrix, final: list[fmpq]) -> None:
    room = network.budget.grid.delta / 4
    for x, y in zip(_ids(network, state), final, strict=True):
        if not abs(x - arb(y)) <= arb(room):
            raise Undecided("softmax network: an id is not shown to be on its plateau")


def spread(enclosure: BallMatrix) -> fmpq:
    """The largest radius of an enclosure."""
    rows, columns = enclosure.shape
    return max(midpoint(enclosure[i, j].rad()) for i in range(rows) for j in range(columns))
