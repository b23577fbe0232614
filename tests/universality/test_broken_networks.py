"""Negative controls: the hardmax network with one condition removed. It must fail, and each test shows where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from flint import fmpq
from universality_oracle import context_of, contexts, grid_state, read_ids, simulate

from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, Layer
from constructions.universality.contextual_map import ContextualMap
from constructions.universality.families import run_hardmax
from constructions.universality.grid import Digits, Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.quantisation import quantisation_bound, roots
from verify.claims.contextual_mapping import collision

SMALLEST = Grid(1, 1, 2)


def lifts(layers: Sequence[Layer], Z: RationalMatrix) -> list[list[int]]:
    """For each column the layers that change it."""
    found: list[list[int]] = [[] for _ in range(Z.shape[1])]
    for number, layer in enumerate(layers):
        new = layer(Z)
        assert isinstance(new, RationalMatrix)
        for j in range(Z.shape[1]):
            if new.column(j) != Z.column(j):
                found[j].append(number)
        Z = new
    return found


# --- no column fires twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 4])
def test_with_two_columns_one_context_is_lifted_twice(k: int) -> None:
    """d = 1 and n = 2 violate (n−1)(c−1)²k ≥ (k−1)(c²−c+1). The layers themselves: in the context (k−1, 0) column 0 is
    lifted by the layer of its id (k−1)δ and again by that of 2 − δ, the last one; in no other context."""
    network = HardmaxNetwork.of(Grid(1, 1, k))
    layers = [network.sweep_layer(j, a) for j in range(2) for a in range(k)]
    twice = {}
    for codes in contexts(k, 2):
        Z = RationalMatrix.of([[j + a * network.grid.delta for j, a in enumerate(codes)]])
        found = lifts(layers, Z)
        assert [len(times) for times in found] == simulate(1, k, codes)[1]
        if any(len(times) > 1 for times in found):
            twice[codes] = found[0]
    assert twice == {(k - 1, 0): [k - 1, 2 * k - 1]}
    assert not (2 - 1) * (k - 1) ** 2 * k >= (k - 1) * (k**2 - k + 1)


def test_a_smaller_lift_lets_columns_fire_twice() -> None:
    """Lifted by (max − min)/2 instead of c (max − min): in the very first context column 0 lands on the id of column 1,
    and is lifted with it again and again; in the end two contexts have the same last id."""
    network = HardmaxNetwork.of(SMALLEST)
    layers = [with_lift(layer, fmpq(1, 2)) for layer in network.sweep()]
    twice, last, equal = {}, dict[fmpq, tuple[int, ...]](), []
    for codes in contexts(2, 3):
        Z: Matrix = grid_state(SMALLEST, codes)
        assert isinstance(Z, RationalMatrix)
        found = lifts(layers, Z)
        if any(len(times) > 1 for times in found):
            twice[codes] = found
        for layer in layers:
            Z = layer(Z)
        id = Z[0, 2]
        if last.setdefault(id, codes) != codes:
            equal.append((last[id], codes))
    assert twice[0, 0, 0][0] == [0, 2, 3, 4]
    first, second = equal[0]
    assert network.map.swept(first)[-1] != network.map.swept(second)[-1]


def with_lift(layer: Layer, factor: fmpq) -> Layer:
    """A layer of the sweep whose heads have W_o = ± factor."""
    heads = tuple(replace(head, W_o=head.W_o.scaled(factor / abs(head.W_o[0, 0]))) for head in layer.attention.heads)
    return replace(layer, attention=Attention(heads, kind="hardmax"))


# --- the global shift ------------------------------------------------------------------------------------------------


def after_shift(network: HardmaxNetwork, codes: Sequence[int]) -> list[fmpq]:
    """The ids after the layers of sweep and shift."""
    Z: Matrix = grid_state(network.grid, codes)
    for layer in (*network.sweep(), *network.shift()):
        Z = layer(Z)
    assert isinstance(Z, RationalMatrix)
    return read_ids(network.grid, Z)


def test_the_shift_of_the_literature_by_the_layers() -> None:
    """δ^{−(n+1)d} = 2^11 at (1, 2, 2): the layers give column 8 of one context the id of column 9 of another one."""
    network = HardmaxNetwork.of(Grid(1, 2, 2), 2**11)
    found = collision(network.map)
    assert found is not None
    (first, second), (i, j) = found
    assert first != second
    assert {i, j} == {8, 9}
    assert after_shift(network, first)[i] == after_shift(network, second)[j]
    assert not list(different_values(network))  # both are to become the same value: here it does no harm
    enough = HardmaxNetwork.of(network.grid)
    assert after_shift(enough, first)[i] != after_shift(enough, second)[j]


def test_with_a_shift_that_collides_the_network_gives_a_wrong_value() -> None:
    """G = 8 at (1, 2, 2): two read columns with one id and different values to be read; the value layer that runs first
    serves both, so one of the two contexts is answered wrongly. With no shift at all, or a large one, it is not."""
    grid = Grid(1, 2, 2)
    network = HardmaxNetwork.of(grid, 8)
    pairs = list(different_values(network))
    assert pairs
    wrong = 0
    for codes in pairs[0]:
        table, cell = blocks(grid, codes)
        P, X = grid.prompt(table), RationalMatrix.of([[a * grid.delta for a in row] for row in cell])
        wanted = grid.target(table, cell)
        wrong += network.transformer().with_prompt(P, X) != wanted
        for G in (0, None):
            assert run_hardmax(HardmaxNetwork.of(grid, G), P, X) == wanted
    assert wrong == 1


def different_values(network: HardmaxNetwork) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of contexts with a common id of read columns that are to become different values."""
    seen: dict[fmpq, tuple[tuple[int, ...], list[fmpq]]] = {}
    for codes in network.map.contexts():
        for column in range(network.grid.prompt_length, network.grid.tokens):
            final, _, target = network.entry(codes, column)
            other, value = seen.setdefault(final, (codes, target))
            if value != target:
                yield other, codes


def blocks(grid: Grid, codes: Sequence[int]) -> tuple[list[Digits], Digits]:
    """Table and cell of a context (d = 1)."""
    cut = [(tuple(codes[start : start + grid.m]),) for start in range(0, grid.tokens, grid.m)]
    return cut[:-1], cut[-1]


# --- values ----------------------------------------------------------------------------------------------------------


def test_values_outside_of_the_condition_fire_twice() -> None:
    """Targets must stay below the least id minus δ/2. Raised so far that the value of the context with the least id is
    an id of another context, it meets that layer too: the context, the two layers and the wrong output."""
    network = HardmaxNetwork.of(SMALLEST)
    entries = network.entries()
    codes = next(codes for codes in network.map.contexts() if network.map.final(codes)[-1] == entries[0][0])
    assert codes == (1, 1, 0)
    (value,) = entries[0][2]
    raise_by = entries[2][0] - value
    assert raise_by > entries[0][0] - SMALLEST.delta / 2  # the condition is violated
    Z: Matrix = network.state_before_values(codes).columns(2, 3)
    seen = [Z[0, 0]]
    acting = []
    for number, layer in enumerate(network.values()):
        new = replace(layer.mlp, W_2=RationalMatrix.of([[layer.mlp.W_2[0, 0] + raise_by]]))(Z)
        if new[0, 0] != Z[0, 0]:
            acting.append(number)
            seen.append(new[0, 0])
        Z = new
    assert acting == [0, 2]
    assert seen == [9, value + raise_by, value + raise_by - SMALLEST.delta]  # 9, 11 as wanted, and then 21/2
    assert network.map.values_stay().holds  # for targets in [0, 1]


# --- the prompt ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1, 2), (1, 1, 3), (2, 1, 2)])
def test_every_entry_that_is_flipped_in_the_prompt_is_found_in_its_cell(size: tuple[int, int, int]) -> None:
    """The outputs at the centres of all cells differ from the table's in the cell of the flipped entry and in no other,
    and by how much it was moved."""
    grid = Grid(*size)
    network = HardmaxNetwork.of(grid)
    table = [tuple((number % grid.k,) for _ in range(grid.d)) for number in range(grid.cells)]
    for place in range(grid.cells):
        for row in range(grid.d):
            digit = (table[place][row][0] + 1) % grid.k
            flipped = [*table]
            flipped[place] = tuple((digit,) if i == row else (x[0],) for i, x in enumerate(table[place]))
            P = grid.prompt(flipped)
            for number, cell in enumerate(grid.all_cells()):
                moved = run_hardmax(network, P, grid.centre(cell)).mat - grid.target(table, cell).mat
                expected = [(digit - table[place][row][0]) * grid.delta if i == row else 0 for i in range(grid.d)]
                assert moved.entries() == (expected if number == place else [0] * grid.d)


@pytest.mark.parametrize("k", [3, 4])
def test_a_flipped_entry_breaks_the_bound(k: int) -> None:
    """f falls from 1 − δ at each centre with slope 1 on both sides: its own table attains Q (p = 1). With any one entry
    of the prompt set to 0 the error of the network's output, integrated exactly, is above Q."""
    grid = Grid(1, 1, k)
    network = HardmaxNetwork.of(grid)
    L, Q = fmpq(1), quantisation_bound(k, fmpq(1), roots(1, 1, fmpq(1)))

    def f(x: fmpq) -> fmpq:
        centre = (fmpq((x * k).floor()) + fmpq(1, 2)) * grid.delta
        return 1 - grid.delta - L * abs(x - centre)

    def error(table: list[Digits]) -> fmpq:
        total = fmpq(0)
        for cell in grid.all_cells():
            read = run_hardmax(network, grid.prompt(table), grid.centre(cell))[0, 0]
            ends = [cell[0][0] * grid.delta + part * grid.delta / 2 for part in range(3)]
            for x, y in pairwise(ends):  # f is linear between these
                inner = [f(x + (y - x) * fmpq(share, 3)) - read for share in (1, 2)]
                a, b = 2 * inner[0] - inner[1], 2 * inner[1] - inner[0]
                assert a * b >= 0  # no change of sign: the mean of |f − read| is that of its ends
                total += (abs(a) + abs(b)) / 2 * (y - x)
        return total

    table = grid.table(lambda X: RationalMatrix.of([[f(X[0, 0])]]))
    assert set(table) == {((k - 1,),)}
    assert error(table) == Q
    for place in range(k):
        flipped = [*table]
        flipped[place] = ((0,),)
        assert error(flipped) > Q


def test_the_context_of_a_flipped_prompt_is_another_one() -> None:
    """What the last column says after the sweep is decoded to the flipped prompt, entry by entry."""
    grid = Grid(1, 1, 3)
    map = ContextualMap(grid)
    for place in range(3):
        table: list[Digits] = [((int(i == place) * 2,),) for i in range(3)]
        codes = context_of(grid, table, ((1,),))
        assert map.decode(map.swept(codes)[-1]) == [2 * int(i == place) for i in range(3)] + [1]
