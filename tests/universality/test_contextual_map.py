"""The contextual map: closed form against the sweep itself, decoding, distances, the global shift and its limits."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from flint import fmpq
from hypothesis import example, given
from hypothesis import strategies as st
from universality_oracle import SMALL, contexts, grid_ids, grid_state, read_ids, separates, simulate

from constructions.numbers.rational import RationalMatrix
from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from verify.claims.contextual_mapping import collision

TEN = Grid(1, 2, 2)  # n = 10: the smallest grid with two read columns


@st.composite
def grids_and_codes(draw: st.DrawFn) -> tuple[Grid, list[int]]:
    d, m, k = draw(st.sampled_from([*SMALL, (1, 2, 2), (1, 1, 7), (3, 1, 2), (2, 1, 3)]))
    grid = Grid(d, m, k)
    seed = draw(st.integers(0, 1 << 20))
    rng = random.Random(seed)
    return grid, [rng.randrange(grid.c) for _ in range(grid.tokens)]


# --- the sweep -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SMALL)
def test_the_closed_form_is_the_sweep_for_all_contexts(size: tuple[int, int, int]) -> None:
    """Every column fires exactly once; the ids increase, by at least δ; the last one is decoded."""
    d, _, k = size
    grid = Grid(*size)
    map = ContextualMap(grid)
    last = set()
    for codes in contexts(grid.c, grid.tokens):
        ids, fired = simulate(d, k, codes)
        assert [l * k for l in map.ids(codes)] == grid_ids(d, k, codes)
        assert [l * k for l in map.swept(codes)] == ids
        assert set(fired) == {1}
        assert all(y - x >= 1 for x, y in pairwise(ids))
        assert map.decode(fmpq(ids[-1], k)) == list(codes)
        last.add(ids[-1])
    assert len(last) == grid.c**grid.tokens


@given(grids_and_codes())
@example((TEN, [1] * 10))
def test_the_closed_form_is_the_sweep(case: tuple[Grid, list[int]]) -> None:
    grid, codes = case
    map = ContextualMap(grid)
    ids, fired = simulate(grid.d, grid.k, codes)
    assert [l * grid.k for l in map.swept(codes)] == ids
    assert set(fired) == {1}
    assert map.decode(map.swept(codes)[-1]) == codes
    assert ids[0] > grid.k * grid.unit * (grid.c * (grid.tokens - 2) + 1)
    assert fmpq(ids[-1], grid.k) < grid.c**grid.tokens * ((grid.tokens - 1) * grid.unit + fmpq(grid.c, grid.k))


@pytest.mark.parametrize(("size", "first"), [((1, 1, 2), None), ((1, 1, 3), None), *(((2, 1, 2), a) for a in range(4))])
def test_the_layers_are_the_closed_form_for_all_contexts(size: tuple[int, int, int], first: int | None) -> None:
    """All hardmax layers of the sweep, run by the model (contexts split by their first code to share the work)."""
    grid = Grid(*size)
    network = HardmaxNetwork.of(grid)
    layers = list(network.sweep())
    assert len(layers) == grid.sweep
    for codes in contexts(grid.c, grid.tokens):
        if first is None or codes[0] == first:
            check_layers(network, codes, layers)


def check_layers(network: HardmaxNetwork, codes: tuple[int, ...] | list[int], layers: list) -> None:
    Z = grid_state(network.grid, codes)
    for layer in layers:
        Z = layer(Z)
        assert isinstance(Z, RationalMatrix)
    assert read_ids(network.grid, Z) == network.map.swept(codes)


@given(st.lists(st.integers(0, 1), min_size=10, max_size=10))
@example([0] * 10)
def test_the_layers_of_sweep_and_shift_with_two_read_columns(codes: list[int]) -> None:
    network = HardmaxNetwork.of(TEN)
    Z = grid_state(TEN, codes)
    for layer in (*network.sweep(), *network.shift()):
        Z = layer(Z)
    assert isinstance(Z, RationalMatrix)
    assert read_ids(TEN, Z) == network.map.final(codes)
    assert network.state_before_values(codes) == Z


@given(grids_and_codes(), st.integers(-5, 5))
def test_only_ids_of_contexts_are_decoded(case: tuple[Grid, list[int]], by: int) -> None:
    """What decode returns for another multiple of δ has that id; off the lattice there is nothing to find."""
    grid, codes = case
    map = ContextualMap(grid)
    last = map.swept(codes)[-1] + by * grid.delta
    try:
        found = map.decode(last)
    except ValueError:
        assert by != 0
    else:
        assert map.swept(found)[-1] == last
    with pytest.raises(ValueError, match="is not the id of a context"):
        map.decode(last + grid.delta / 2)
    with pytest.raises(ValueError, match="is not the id of a context"):
        map.decode(map.swept([grid.c - 1] * grid.tokens)[-1] + grid.c**grid.tokens * 2)


# --- no column fires twice -------------------------------------------------------------------------------------------


def test_the_sweep_condition_fails_only_for_width_1_and_two_columns() -> None:
    """(n−1)(c−1)²k ≥ (k−1)(c²−c+1), against counting, for n = 2, 3, 4; where it fails, for exactly one context."""
    for d, k, n in ((d, k, n) for n in (2, 3, 4) for d in (1, 2) for k in (2, 3, 4) if k ** (d * n) <= 4096):
        c = k**d
        holds = (n - 1) * (c - 1) ** 2 * k >= (k - 1) * (c**2 - c + 1)
        twice = [codes for codes in contexts(c, n) if max(simulate(d, k, codes)[1]) > 1]
        assert holds == (not twice)
        assert holds == (d > 1 or n > 2)
        assert twice == ([] if holds else [(k - 1, 0)])


@pytest.mark.parametrize("size", [*SMALL, (1, 2, 2), (1, 1, 50), (3, 2, 4)])
def test_it_holds_on_every_grid(size: tuple[int, int, int]) -> None:
    assert ContextualMap(Grid(*size)).fires_once().holds


# --- the global shift ------------------------------------------------------------------------------------------------


def test_one_read_column_needs_no_shift() -> None:
    for size in SMALL:
        map = ContextualMap(Grid(*size))
        assert map.sufficient_shift() == 0
        assert map.ids_differ().holds


def test_two_read_columns_need_no_shift_either() -> None:
    """Columns n − 1 and n − 2 both determine the whole context, and all ids of the one are above all of the other."""
    for d, k, n in ((1, 2, 10), (1, 3, 7), (2, 2, 5), (1, 2, 4)):
        assert separates(d, k, n, 2, 0)
        assert not separates(d, k, n, 3, 0)
    for size in ((1, 2, 2), (2, 2, 2), (1, 2, 9), (3, 2, 2)):
        grid = Grid(*size)
        map = ContextualMap(grid)
        c, n = grid.c, grid.tokens
        lowest = map.swept([c - 1] * (n - 1) + [0])[-1]
        highest = map.swept([0] * (n - 1) + [c - 1])[-2]
        assert lowest > highest


def test_three_read_columns_need_a_shift() -> None:
    """Without one, contexts that differ in column n − 2 only have the same id in column n − 3."""
    map = ContextualMap(Grid(1, 3, 2))
    zero = [0] * 27
    other = [*zero[:25], 1, 0]
    assert map.swept(zero)[24] == map.swept(other)[24]
    assert simulate(1, 2, zero)[0][24] == simulate(1, 2, other)[0][24]


def test_the_sufficient_shift_separates_two_read_columns() -> None:
    map = ContextualMap(TEN, ContextualMap(TEN).sufficient_shift())
    assert map.G == 2**10 * (9 * 2 + 2)
    fact = map.ids_differ()
    assert fact.holds
    assert "2048 ids, least distance" in str(fact)
    assert collision(map) is None


def test_the_bound_separates_where_contexts_are_too_many() -> None:
    grid = Grid(2, 2, 2)  # 4^34 contexts
    G = ContextualMap(grid).sufficient_shift()
    assert ContextualMap(grid, G).ids_differ().holds
    assert not ContextualMap(grid, G - 1).ids_differ().holds


@given(st.sampled_from([(1, 2, 2), (2, 2, 2), (1, 3, 2), (1, 2, 5)]), st.integers(0, 1 << 20))
def test_shifts_that_are_sufficient_exceed_the_range_of_ids(size: tuple[int, int, int], seed: int) -> None:
    """Gδ > max − min, on random contexts and the two extreme ones."""
    grid = Grid(*size)
    map = ContextualMap(grid)
    rng = random.Random(seed)
    some = [[rng.randrange(grid.c) for _ in range(grid.tokens)] for _ in range(4)]
    some += [[0] * (grid.tokens - 1) + [grid.c - 1], [grid.c - 1] + [0] * (grid.tokens - 1)]
    swept = [map.swept(codes) for codes in some]
    assert max(ids[-1] for ids in swept) - min(ids[0] for ids in swept) < map.sufficient_shift() * grid.delta


def test_a_shift_of_the_literature_is_too_small() -> None:
    """δ^{−(n+1)d} = 2^11 at (1, 2, 2): two read columns of different contexts get one id."""
    map = ContextualMap(TEN, 2**11)
    found = collision(map)
    assert found is not None
    (first, second), (i, j) = found
    assert {i, j} == {8, 9}
    ids = [simulate(1, 2, codes)[0] for codes in (first, second)]
    assert ids[0][i] + 2**11 * ids[0][-1] == ids[1][j] + 2**11 * ids[1][-1]
    assert not map.ids_differ().holds
    assert ContextualMap(TEN, 10 * 2**12).ids_differ().holds  # n δ^{−(n+1)d−1}


def test_a_larger_shift_can_be_worse() -> None:
    """Four columns with d = 1, k = 2, all of them read: 20 separates, 32 and 61 do not; from 62 on all do, because
    then Gδ exceeds the range of the ids or nearly."""
    assert separates(1, 2, 4, 4, 20)
    assert not separates(1, 2, 4, 4, 32)
    assert not separates(1, 2, 4, 4, 61)
    ids = [simulate(1, 2, codes)[0] for codes in contexts(2, 4)]
    wide = max(x[-1] for x in ids) - min(x[0] for x in ids)
    assert all(separates(1, 2, 4, 4, G) for G in range(62, wide + 2))


def test_no_grid_with_two_values_has_four_columns() -> None:
    """n = m k^{dm} + m: the example above is about the map alone."""
    assert 4 not in {Grid(1, m, 2).tokens for m in range(1, 9)}
    assert Grid(1, 1, 3).tokens == 4


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SMALL, (1, 2, 2)])
def test_values_are_below_all_ids(size: tuple[int, int, int]) -> None:
    grid = Grid(*size)
    map = ContextualMap(grid, ContextualMap(grid).sufficient_shift())
    assert map.values_stay().holds
    least = min(map.final(codes)[-grid.m] for codes in map.contexts())
    assert least > (1 + map.G) * grid.unit * (grid.c * (grid.tokens - 2) + 1) > 2 * grid.unit
