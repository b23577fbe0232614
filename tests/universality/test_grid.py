"""Cells, tables and prompts: there and back, and what is refused."""

from __future__ import annotations

import random

import pytest
from flint import fmpq
from hypothesis import example, given
from universality_oracle import random_input, random_table, seeds, small_grids

from constructions.numbers.rational import RationalMatrix
from constructions.universality.grid import Grid


@given(small_grids, seeds)
@example((1, 1, 2), 0)
@example((2, 2, 4), 1)
def test_sizes(size: tuple[int, int, int], seed: int) -> None:
    d, m, k = size
    grid = Grid(d, m, k)
    cells = list(grid.all_cells())
    assert len(cells) == len(set(cells)) == grid.cells == k ** (d * m)
    assert [grid.cell_number(cell) for cell in cells] == list(range(grid.cells))
    assert grid.tokens == grid.prompt_length + m == m * (k ** (d * m) + 1) >= 3
    assert grid.c == k**d
    assert grid.unit * (k - 1) == grid.c - 1
    assert sum(grid.u, fmpq(0)) == grid.unit
    assert grid.sweep == grid.tokens * grid.c
    assert grid.embedding().rows() == [list(range(grid.tokens))] * d


@given(small_grids, seeds)
@example((1, 1, 2), 0)
def test_an_input_is_within_half_a_step_of_its_centre(size: tuple[int, int, int], seed: int) -> None:
    grid = Grid(*size)
    X = random_input(random.Random(seed), grid)
    centre = grid.centre(grid.cell_of(X))
    assert all(abs(x) <= grid.delta / 2 for x in (X.mat - centre.mat).entries())
    assert grid.cell_of(centre) == grid.cell_of(X)


@given(small_grids, seeds)
@example((1, 1, 2), 0)
@example((2, 1, 3), 5)
def test_from_a_table_to_a_prompt_and_back(size: tuple[int, int, int], seed: int) -> None:
    """Also at the offset δ/4, and the blocks stand in the order of the cells' numbers."""
    grid = Grid(*size)
    table = random_table(random.Random(seed), grid)
    for offset in (None, grid.delta / 4):
        P = grid.prompt(table, offset)
        assert P.shape == (grid.d, grid.prompt_length)
        for cell in grid.all_cells():
            start = grid.cell_number(cell) * grid.m
            assert grid.cell_of(P.columns(start, start + grid.m)) == table[grid.cell_number(cell)]


@given(small_grids, seeds)
@example((1, 1, 2), 0)
def test_the_table_of_a_function_with_grid_values(size: tuple[int, int, int], seed: int) -> None:
    """f is read at the centres; values on a boundary count upwards, and 1 counts as the last interval."""
    grid = Grid(*size)
    rng = random.Random(seed)
    wanted = random_table(rng, grid)
    fractions = [fmpq(0), fmpq(1, 3), fmpq(999, 1000)]

    def f(X: RationalMatrix) -> RationalMatrix:
        block = wanted[grid.cell_number(grid.cell_of(X))]
        return RationalMatrix.of([[(a + rng.choice(fractions)) * grid.delta for a in row] for row in block])

    assert grid.table(f) == wanted
    ones = RationalMatrix.of([[1] * grid.m] * grid.d)
    assert set(grid.table(lambda X: ones)) == {tuple((grid.k - 1,) * grid.m for _ in range(grid.d))}


@given(small_grids, seeds)
@example((1, 1, 2), 0)
def test_the_read_out_is_within_half_a_step_of_f_at_the_centre(size: tuple[int, int, int], seed: int) -> None:
    grid = Grid(*size)
    rng = random.Random(seed)
    values = [random_input(rng, grid) for _ in range(grid.cells)]
    table = grid.table(lambda X: values[grid.cell_number(grid.cell_of(X))])
    for cell in grid.all_cells():
        difference = values[grid.cell_number(cell)].mat - grid.target(table, cell).mat
        assert all(abs(x) <= grid.delta / 2 for x in difference.entries())


@pytest.mark.parametrize("size", [(0, 1, 2), (1, 0, 2), (1, 1, 1)])
def test_grids_that_do_not_exist(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="grid: expected"):
        Grid(*size)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["1/2", 1]], "equal to 1, which is the next column's grid"),
        ([["1/2", "-1/1000"]], r"input\[0\]\[1\].*-1/1000"),
        ([["3/2", 0]], r"input\[0\]\[0\].*3/2"),
        ([[0]], "expected 1×2, found 1×1"),
        ([[0, 0], [0, 0]], "expected 1×2, found 2×2"),
    ],
)
def test_inputs_that_are_refused(rows: list[list[str | int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Grid(1, 2, 2).cell_of(RationalMatrix.of(rows))


@pytest.mark.parametrize("value", ["1001/1000", "-1/1000"])
def test_functions_that_leave_the_cube_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"f: expected values in \[0, 1\], found"):
        Grid(1, 1, 3).table(lambda X: RationalMatrix.of([[value]]))
