"""The softmax network, enclosed layer by layer in balls: within ε_s of the table off the ramps, within 1 on them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from itertools import product

import flint
import pytest
from flint import arb, fmpq
from hypothesis import example, given, settings
from universality_oracle import random_input, random_table, seeds

from constructions.numbers.balls import BallMatrix
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, Layer, Transformer
from constructions.universality.families import run_softmax
from constructions.universality.for_all import Budget, budget
from constructions.universality.grid import Digits, Grid
from constructions.universality.softmax_network import SoftmaxNetwork


@cache
def network_of(d: int, m: int, k: int, wide_ramps: bool = False) -> SoftmaxNetwork:
    found = budget(d, m, fmpq(1), fmpq(1), fmpq(3), k=k)
    return SoftmaxNetwork(replace(found, eta=found.grid.delta / 4) if wide_ramps else found)


def at_share(epsilon_s: fmpq, t_over: int = 1) -> Budget:
    """(1, 1, 2) with a given ε_s, and the least whole t with which the inequality holds, over t_over."""
    found = replace(budget(1, 1, fmpq(1), fmpq(1), fmpq(2), k=2), epsilon_s=epsilon_s, epsilon=fmpq(3))
    t = next(t for t in range(1, 1000) if replace(found, t=fmpq(t)).holds())
    return replace(found, t=fmpq(t, t_over))


def errors(network: SoftmaxNetwork, table: list[Digits], X: RationalMatrix) -> list[list[arb]]:
    """How far the output of all layers is from the table's, entry by entry."""
    return distances(network, network.enclosure(network.prompt(table), X), table, X)


def distances(network: SoftmaxNetwork, out: BallMatrix, table: list[Digits], X: RationalMatrix) -> list[list[arb]]:
    grid = network.budget.grid
    wanted = grid.target(table, grid.cell_of(X))
    return [[abs(out[i, j] - wanted[i, j]) for j in range(grid.m)] for i in range(grid.d)]


def demand_within(network: SoftmaxNetwork, table: list[Digits], X: RationalMatrix) -> None:
    """At most ε_s in the first row, nothing but rounding in the others; and so says the evaluation without the layers,
    whose enclosure contains that of all layers."""
    P = network.prompt(table)
    explicit = network.enclosure(P, X)
    implicit = run_softmax(network, P, X)
    for out in (explicit, implicit):
        first, *others = distances(network, out, table, X)
        assert all(x <= network.budget.epsilon_s for x in first)
        assert all(x < arb(2) ** -200 for row in others for x in row)
    rows, columns = explicit.shape
    assert all(implicit[i, j].overlaps(explicit[i, j]) for i in range(rows) for j in range(columns))
    assert all(implicit[0, j].contains(explicit[0, j]) for j in range(columns))


@pytest.mark.parametrize("share", [None, "1/1000000"])
def test_every_table_and_cell_of_the_smallest_network(share: str | None) -> None:
    """Ends of the plateau included; at the budget's own ε_s and at 10^-6."""
    network = network_of(1, 1, 2) if share is None else SoftmaxNetwork(at_share(fmpq(1, 10**6)))
    assert network.budget.holds()
    grid, eta = network.budget.grid, network.budget.eta
    for table in product(grid.all_cells(), repeat=grid.cells):
        for cell in grid.all_cells():
            for inside in (fmpq(0), fmpq(1, 7) * (grid.delta - eta), grid.delta - eta):
                X = RationalMatrix.of([[cell[0][0] * grid.delta + inside]])
                assert not network.on_ramp(X)
                demand_within(network, list(table), X)


@given(seeds)
@settings(max_examples=8)
@example(0)
def test_random_tables_and_inputs(seed: int) -> None:
    rng = random.Random(seed)
    network = network_of(1, 1, 3)
    grid = network.budget.grid
    table = random_table(rng, grid)
    demand_within(network, table, random_input(rng, grid, grid.delta - network.budget.eta))


@pytest.mark.parametrize("digit", [0, 1])
def test_width_two_with_all_prompt_entries_at_one_end(digit: int) -> None:
    network = network_of(2, 1, 2)
    grid = network.budget.grid
    X = random_input(random.Random(digit), grid, grid.delta - network.budget.eta)
    demand_within(network, [((digit,), (digit,))] * grid.cells, X)


@pytest.mark.parametrize("digit", [0, 2])
def test_prompt_entries_at_both_ends(digit: int) -> None:
    network = network_of(1, 1, 3)
    grid = network.budget.grid
    for x in (fmpq(0), 1 - network.budget.eta):
        demand_within(network, [((digit,),)] * grid.cells, RationalMatrix.of([[x]]))


def test_the_attention_layers_alone_with_two_read_columns() -> None:
    """(1, 2, 2): ids of both read columns within ε_s after sweep and shift, for a few contexts."""
    network = network_of(1, 2, 2)
    grid, ideal = network.budget.grid, network.ideal
    assert network.budget.holds()
    layers = list(network.attention_stages())
    for codes in ([0] * 10, [1] * 10, [1, 0] * 5):
        with flint.ctx.workprec(2048):
            Z: Matrix = BallMatrix.embed(RationalMatrix.of([[j + a * grid.delta for j, a in enumerate(codes)]]))
            for layer in layers:
                Z = layer(Z)
            for j, l in enumerate(ideal.map.final(codes)):
                assert abs(Z[0, j] - l) <= network.budget.epsilon_s


# --- the temperature -------------------------------------------------------------------------------------------------


def worst_error(found: Budget) -> arb:
    network = SoftmaxNetwork(found)
    grid = found.grid
    inputs = [grid.centre(cell) for cell in grid.all_cells()]
    tables = product(grid.all_cells(), repeat=grid.cells)
    return max(
        (errors(network, list(table), X)[0][0] for table in tables for X in inputs), key=lambda x: float(x.mid())
    )


def test_half_the_temperature_is_too_little_for_small_shares() -> None:
    """At (1, 1, 2): with ε_s = 10^-6 the error at half the certified t exceeds ε_s, with 1/100 it does not."""
    share = fmpq(1, 10**6)
    assert worst_error(at_share(share)) < share
    assert worst_error(at_share(share, 2)) > 10 * share
    assert worst_error(at_share(fmpq(1, 100), 2)) < fmpq(1, 100)


def test_at_a_low_temperature_the_table_is_lost() -> None:
    found = replace(network_of(1, 1, 2).budget, t=fmpq(5))
    assert worst_error(found) > fmpq(1, 4)


# --- ramps -----------------------------------------------------------------------------------------------------------


@given(seeds)
@settings(max_examples=10)
@example(0)
def test_on_a_ramp_the_error_is_at_most_1(seed: int) -> None:
    rng = random.Random(seed)
    network = network_of(1, 1, rng.choice([2, 3]), wide_ramps=True)
    grid = network.budget.grid
    cell = rng.randrange(grid.k)
    X = RationalMatrix.of([[(cell + 1) * grid.delta - network.budget.eta * fmpq(rng.randrange(1, 100), 101)]])
    assert network.on_ramp(X)
    assert errors(network, random_table(rng, grid), X)[0][0] <= 1


def value_layers_that_act(
    network: SoftmaxNetwork, table: list[Digits], X: RationalMatrix, backwards: bool
) -> list[int]:
    """Numbers of the value layers that change the read column, in the order in which they do; without the clamp."""
    grid = network.budget.grid
    with flint.ctx.workprec(network.working_precision):
        start = RationalMatrix(network.prompt(table).hstack(X).mat + grid.embedding().mat)
        Z: Matrix = BallMatrix.embed(start)
        for layer in (*network.quantise(), *network.attention_stages()):
            Z = layer(Z)
        numbered = list(enumerate(network.values()))
        acting = []
        for number, layer in reversed(numbered) if backwards else numbered:
            before = Z[0, grid.tokens - 1]
            Z = layer(Z)
            if abs(Z[0, grid.tokens - 1] - before) > fmpq(1, 10**6):
                acting.append(number)
    return acting


def test_on_a_ramp_two_value_layers_can_act_when_they_run_in_decreasing_order() -> None:
    """(1, 1, 2), context (0, 0, 0): the column slides from one trapezoid to another. In increasing order, which is the
    network's, it only falls, to where the layers have run already."""
    network = network_of(1, 1, 2, wide_ramps=True)
    table: list[Digits] = [((0,),), ((0,),)]
    several: dict[bool, dict[str, list[int]]] = {True: {}, False: {}}
    for s in range(1, 32):
        x = network.budget.grid.delta - network.budget.eta * fmpq(s, 32)
        for backwards, found in several.items():
            acting = value_layers_that_act(network, table, RationalMatrix.of([[x]]), backwards)
            if len(acting) > 1:
                found[str(x)] = acting
    assert several == {True: {"117/256": [6, 0]}, False: {}}
    map = network.ideal.map
    contexts = sorted(map.contexts(), key=lambda codes: map.final(codes)[-1])
    assert (contexts[6], contexts[0]) == ((0, 1, 1), (1, 1, 0))  # it slides from the one to the other


def test_without_the_clamp_the_error_on_a_ramp_is_not_bounded_by_1() -> None:
    network = network_of(1, 1, 2, wide_ramps=True)
    grid = network.budget.grid
    X = RationalMatrix.of([[1 - network.budget.eta * fmpq(15, 16)]])
    P = network.prompt([((0,),), ((0,),)])
    with flint.ctx.workprec(network.working_precision):
        Z: Matrix = BallMatrix.embed(RationalMatrix(P.hstack(X).mat + grid.embedding().mat))
        for layer in (*network.quantise(), *network.attention_stages(), *network.values()):
            Z = layer(Z)
        assert Z[0, grid.tokens - 1] > 10


# --- stages ----------------------------------------------------------------------------------------------------------


def test_the_quantiser_layer_by_layer() -> None:
    """Exact: grid values on the plateaus, itself at the ends of a ramp and halfway in the middle of one."""
    network = network_of(1, 1, 3)
    grid, eta = network.budget.grid, network.budget.eta
    layers = list(network.quantise())
    for g in (0, 1, 5, 3 * grid.tokens - 1):
        low = g * grid.delta
        values = [low, low + (grid.delta - eta) / 2, low + grid.delta - eta, low + grid.delta - eta / 2]
        Z: Matrix = RationalMatrix.of([values])
        for layer in layers:
            Z = layer.mlp(Z)
        assert isinstance(Z, RationalMatrix)
        assert Z.rows() == [[low, low, low, low + grid.delta / 2]]


def test_the_class_up_to_the_query_bias() -> None:
    model = network_of(1, 1, 2).transformer()
    fact = model.class_membership(2, 1, 4)
    assert not fact.holds
    assert "the class has no query bias" in str(fact)
    bare = [
        Layer(Attention(tuple(replace(head, b_q=None) for head in layer.attention.heads)), layer.mlp)
        for layer in model.layers
    ]
    assert Transformer(tuple(bare), model.E).class_membership(2, 1, 4).holds
    assert not Transformer(tuple(bare), model.E).class_membership(2, 1, 3).holds


def test_what_is_refused() -> None:
    found = budget(1, 1, fmpq(1), fmpq(2), fmpq(1, 10))
    assert found.grid != Grid(1, 1, 2)
    with pytest.raises(ValueError, match="softmax network: expected at most 20000 layers"):
        SoftmaxNetwork(found).transformer()
