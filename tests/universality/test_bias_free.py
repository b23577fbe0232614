"""The network without query biases: in the class, and the same map as the one with them."""

from __future__ import annotations

import random
from itertools import product

import pytest
from flint import fmpq
from universality_oracle import contexts, grid_state, random_input, random_table, read_ids

from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, Head
from constructions.universality.bias_free import BiasFreeNetwork
from constructions.universality.grid import Grid


@pytest.mark.parametrize("size", [(1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 2, 2)])
def test_the_sweep_and_the_shift(size: tuple[int, int, int]) -> None:
    """For all contexts of the two smallest grids, for some of the others."""
    grid = Grid(*size)
    network = BiasFreeNetwork.of(grid)
    layers = [*network.sweep(), *network.shift()]
    every = list(contexts(grid.c, grid.tokens))
    for codes in every if len(every) < 100 else random.Random(str(size)).sample(every, 40):
        Z: Matrix = grid_state(grid, codes)
        for layer in layers:
            Z = layer(Z)
        assert isinstance(Z, RationalMatrix)
        assert read_ids(grid, Z) == network.map.final(codes)
        assert network.state_before_values(codes) == Z


def test_every_table_and_cell_of_the_smallest_network() -> None:
    grid = Grid(1, 1, 2)
    network = BiasFreeNetwork.of(grid)
    model = network.transformer()
    for table in product(grid.all_cells(), repeat=grid.cells):
        for cell in grid.all_cells():
            X = RationalMatrix.of([[(cell[0][0] + fmpq(2, 5)) * grid.delta]])
            assert model.with_prompt(grid.prompt(table), X) == grid.target(table, cell)


@pytest.mark.parametrize("size", [(1, 1, 3), (2, 1, 2), (1, 2, 2)])
def test_random_tables_and_the_class(size: tuple[int, int, int]) -> None:
    grid = Grid(*size)
    network = BiasFreeNetwork.of(grid)
    model = network.transformer()
    assert len(model.layers) == network.layer_count
    assert model.class_membership(1, 1, 1, modified=True).holds
    rng = random.Random(str(size))
    table, X = random_table(rng, grid), random_input(rng, grid)
    assert model.with_prompt(grid.prompt(table), X) == grid.target(table, grid.cell_of(X))


def test_one_layer_without_query_bias_cannot_do_it() -> None:
    """In width 1 what a column gets depends on its sign only: two positive columns get the same."""
    rng = random.Random(0)
    for _ in range(50):
        w = [RationalMatrix.of([[rng.randrange(-3, 4)]]) for _ in range(8)]
        attention = Attention((Head(*w[:4]), Head(*w[4:])), kind="hardmax")
        Z = RationalMatrix.of([[fmpq(rng.randrange(1, 50), 7) for _ in range(4)]])
        added = attention(Z, Z)
        assert len({added[0, j] for j in range(4)}) == 1
