"""The sweep by its definition, in whole multiples of δ and independent of the product's code; strategies and tables.

Here n is free: the sweep makes sense for any number of columns, the network only for n = m_p + m.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product

from flint import fmpq
from hypothesis import strategies as st

from constructions.numbers.rational import RationalMatrix
from constructions.universality.grid import Digits, Grid

SMALL = [(1, 1, 2), (1, 1, 3), (2, 1, 2)]
"""(d, m, k) whose contexts are few enough for all of them."""


def grid_ids(d: int, k: int, codes: Sequence[int]) -> list[int]:
    """The columns' ids before the sweep, in multiples of δ."""
    U = sum(k**i for i in range(d))
    return [j * U * k + a for j, a in enumerate(codes)]


def simulate(d: int, k: int, codes: Sequence[int]) -> tuple[list[int], list[int]]:
    """(ids after the sweep, how often each column fired), by running through all possible ids in increasing order."""
    c, U = k**d, sum(k**i for i in range(d))
    ids = grid_ids(d, k, codes)
    fired = [0] * len(codes)
    for v in (j * U * k + a for j in range(len(codes)) for a in range(c)):
        rise = c * (max(ids) - min(ids))
        for j, l in enumerate(ids):
            if l == v:
                ids[j] += rise
                fired[j] += 1
    return ids, fired


def contexts(c: int, n: int) -> Iterator[tuple[int, ...]]:
    return product(range(c), repeat=n)


def separates(d: int, k: int, n: int, read: int, G: int) -> bool:
    """Whether the shift by G makes the ids of the last ``read`` columns of all contexts of n columns different."""
    seen = set()
    for codes in contexts(k**d, n):
        ids, _ = simulate(d, k, codes)
        for l in ids[n - read :]:
            if l + G * ids[-1] in seen:
                return False
            seen.add(l + G * ids[-1])
    return True


def grid_state(grid: Grid, codes: Sequence[int]) -> RationalMatrix:
    """The d×n state with these column codes, as it is after the quantiser."""
    k = grid.k
    columns = [[j + (a // k**i % k) * grid.delta for i in range(grid.d)] for j, a in enumerate(codes)]
    return RationalMatrix.of_columns(columns)


def read_ids(grid: Grid, Z: RationalMatrix) -> list[fmpq]:
    """u^T Z."""
    return [
        sum((x * y for x, y in zip(grid.u, column, strict=True)), fmpq(0)) for column in zip(*Z.rows(), strict=True)
    ]


def random_table(rng: random.Random, grid: Grid) -> list[Digits]:
    return [random_cell(rng, grid) for _ in range(grid.cells)]


def random_cell(rng: random.Random, grid: Grid) -> Digits:
    return tuple(tuple(rng.randrange(grid.k) for _ in range(grid.m)) for _ in range(grid.d))


def random_input(rng: random.Random, grid: Grid, most: fmpq | None = None) -> RationalMatrix:
    """Entries in [0, 1), each within its grid interval at most ``most`` above the grid value (all of it by default)."""
    reach = grid.delta if most is None else most
    return RationalMatrix.of(
        [[x * grid.delta + reach * fmpq(rng.randrange(997), 997) for x in row] for row in random_cell(rng, grid)]
    )


def context_of(grid: Grid, table: Sequence[Digits], cell: Digits) -> list[int]:
    """The codes of all columns: the table's blocks, then the input's."""
    blocks = [*table, cell]
    return [sum(block[i][j] * grid.k**i for i in range(grid.d)) for block in blocks for j in range(grid.m)]


unit_rationals = st.fractions(0, 1, max_denominator=60).map(lambda x: fmpq(x.numerator, x.denominator))
small_grids = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(2, 4)).filter(
    lambda size: size[2] ** (size[0] * size[1]) <= 256
)
seeds = st.integers(0, 1 << 30)
