"""The hardmax network: all layers against the proved action of the stages, stage by stage; its class."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest
from flint import fmpq
from universality_oracle import context_of, grid_state, random_input, random_table, read_ids

from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, Layer, Transformer
from constructions.universality.families import run_hardmax
from constructions.universality.grid import Grid
from constructions.universality.hardmax_network import HardmaxNetwork

SMALLEST = HardmaxNetwork.of(Grid(1, 1, 2))
MODEL = SMALLEST.transformer()


def test_every_table_and_cell_of_the_smallest_network() -> None:
    grid = SMALLEST.grid
    for table in product(grid.all_cells(), repeat=grid.cells):
        P = grid.prompt(table)
        for cell in grid.all_cells():
            for inside in (fmpq(0), fmpq(1, 3), fmpq(999, 1000)):
                X = RationalMatrix.of([[(cell[0][0] + inside) * grid.delta]])
                out = MODEL.with_prompt(P, X)
                assert out == run_hardmax(SMALLEST, P, X) == SMALLEST.evaluate(P, X) == grid.target(table, cell)


@pytest.mark.parametrize("size", [(1, 1, 3), (2, 1, 2), (1, 2, 2)])
def test_random_tables_and_inputs(size: tuple[int, int, int]) -> None:
    grid = Grid(*size)
    network = HardmaxNetwork.of(grid)
    model = network.transformer()
    assert len(model.layers) == network.layer_count
    rng = random.Random(str(size))
    for _ in range(3 if network.layer_count < 1500 else 1):
        table, X = random_table(rng, grid), random_input(rng, grid)
        P = grid.prompt(table, grid.delta * fmpq(rng.randrange(100), 101))
        wanted = grid.target(table, grid.cell_of(X))
        assert model.with_prompt(P, X) == run_hardmax(network, P, X) == network.evaluate(P, X) == wanted


@pytest.mark.parametrize(("size", "seed"), [((1, 1, 3), 0), ((1, 1, 3), 1), ((1, 2, 2), 0)])
def test_stage_by_stage(size: tuple[int, int, int], seed: int) -> None:
    """Quantised to the grid, swept, shifted, mapped to the table; the clamp does nothing to what is read."""
    rng = random.Random(seed)
    grid = Grid(*size)
    network = HardmaxNetwork.of(grid)
    table, X = random_table(rng, grid), random_input(rng, grid)
    codes = context_of(grid, table, grid.cell_of(X))
    P = grid.prompt(table, fmpq(rng.randrange(100), 101) * grid.delta)
    Z: Matrix = RationalMatrix(P.hstack(X).mat + grid.embedding().mat)

    def run(stage: list[Layer]) -> RationalMatrix:
        nonlocal Z
        for layer in stage:
            Z = layer(Z)
        assert isinstance(Z, RationalMatrix)
        return Z

    assert run(list(network.quantise())) == grid_state(grid, codes)
    assert read_ids(grid, run(list(network.sweep()))) == network.map.swept(codes)
    assert run(list(network.shift())) == network.state_before_values(codes)
    assert run(list(network.values())).columns(grid.prompt_length, grid.tokens) == grid.target(table, grid.cell_of(X))
    before = Z
    after = run(list(network.clamp()))
    assert after.rows() == [[min(max(x, fmpq(0)), fmpq(1)) for x in row] for row in before.rows()]


def test_each_read_column_meets_exactly_one_value_layer() -> None:
    network = HardmaxNetwork.of(Grid(1, 2, 2))
    entries = network.entries()
    assert len(entries) == 2 * 2**10
    layers = list(network.values())
    for codes in random.Random(0).sample(list(network.map.contexts()), 3):
        Z: Matrix = network.state_before_values(codes).columns(8, 10)
        changed = [0, 0]
        for layer in layers:
            new = layer.mlp(Z)
            for j in range(2):
                changed[j] += new[0, j] != Z[0, j]
            Z = new
        assert changed == [1, 1]


def test_the_class_up_to_the_query_bias() -> None:
    """T̄^{2,1,1}, once the query bias is taken away, which is what the check names."""
    fact = MODEL.class_membership(2, 1, 1, modified=True)
    assert not fact.holds
    assert "the class has no query bias" in str(fact)

    def without(layer: Layer) -> Layer:
        heads = tuple(replace(head, b_q=None) for head in layer.attention.heads)
        return Layer(Attention(heads, kind="hardmax"), layer.mlp)

    bare = Transformer(tuple(without(layer) for layer in MODEL.layers), MODEL.E)
    assert bare.class_membership(2, 1, 1, modified=True).holds
    assert not bare.class_membership(1, 1, 1, modified=True).holds
    grid = SMALLEST.grid
    table = [((0,),), ((1,),)]
    wrong = [
        bare.with_prompt(grid.prompt(table), RationalMatrix.of([[x]])) != grid.target(table, ((a,),))
        for a, x in ((0, "1/4"), (1, "3/4"))
    ]
    assert any(wrong)


def test_layer_counts() -> None:
    for size in ((1, 1, 2), (2, 1, 2), (1, 2, 2)):
        network = HardmaxNetwork.of(Grid(*size))
        stages = (network.quantise(), network.sweep(), network.shift(), network.values(), network.clamp())
        assert sum(len(list(stage)) for stage in stages) == network.layer_count


def test_what_is_refused() -> None:
    grid = SMALLEST.grid
    P = grid.prompt([((0,),), ((1,),)])
    with pytest.raises(ValueError, match="expected at most 20000 layers to write out"):
        HardmaxNetwork.of(Grid(1, 1, 10)).transformer()
    with pytest.raises(ValueError, match="prompt: expected 1×2, found 1×1"):
        SMALLEST.evaluate(P.columns(0, 1), RationalMatrix.of([[0]]))
    with pytest.raises(ValueError, match="equal to 1"):
        SMALLEST.evaluate(P, RationalMatrix.of([[1]]))
    with pytest.raises(ValueError, match="equal to 1"):
        SMALLEST.evaluate(RationalMatrix.of([[0, 1]]), RationalMatrix.of([[0]]))


def test_evaluation_without_layers_at_any_depth() -> None:
    """k = 79 at d = m = 1: more than 10^150 value layers."""
    grid = Grid(1, 1, 79)
    network = HardmaxNetwork.of(grid)
    assert network.layer_count > 10**150
    table = random_table(random.Random(0), grid)
    X = RationalMatrix.of([["1/3"]])
    P = grid.prompt(table)
    assert run_hardmax(network, P, X) == network.evaluate(P, X) == grid.target(table, grid.cell_of(X))
