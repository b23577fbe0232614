"""One function: its table, its prompt, and an upper bound of the actual error, usually well below the worst case.

Source: THEORY section 6, "For one f". Everything here is an enclosure of our own ball arithmetic; the kernel re-checks
the statement for all functions.
"""

from __future__ import annotations

from itertools import product

import flint
from flint import arb, fmpq

from constructions.universality.grid import Digits, Grid
from constructions.universality.lipschitz import RANGE_TOLERANCE
from constructions.universality.target import Target, ball, bounded, lower, upper
from constructions.verdict import Undecided

PRECISION = 96
MAX_EVALUATIONS = 40_000


def table_of(f: Target, grid: Grid) -> list[Digits]:
    """The grid values of f at the cell centres. Where a value is not told apart from a grid value, one of its two
    neighbours is taken: both are within δ/2 of it. Raises Undecided where f is not enclosed."""
    found = []
    with flint.ctx.workprec(PRECISION):
        for cell in grid.all_cells():
            centre = grid.centre(cell)
            point = [arb(centre[i, j]) for j in range(grid.m) for i in range(grid.d)]
            values = f.values(point)
            if not all(bounded(y) for y in values):
                raise Undecided(
                    f"target: its values at ({', '.join(str(x) for x in centre.mat.entries())}) are not enclosed"
                )
            digits = [min(max(int(((lower(y) + upper(y)) / 2 * grid.k).floor()), 0), grid.k - 1) for y in values]
            found.append(tuple(tuple(digits[j * grid.d + i] for j in range(grid.m)) for i in range(grid.d)))
    return found


def error_bound(f: Target, grid: Grid, table: list[Digits], p: fmpq) -> fmpq:
    """An upper bound of the distance d_p of f from the function of its table, summed cell by cell over parts of the
    cells. Both are in [0, 1] (f up to the tolerance of its range), which bounds the difference where nothing else does.
    """
    most = arb(1 + RANGE_TOLERANCE)
    size = grid.d * grid.m
    parts = 1
    while grid.cells * (2 * parts) ** size <= MAX_EVALUATIONS:
        parts *= 2
    total = arb(0)
    with flint.ctx.workprec(PRECISION):
        width = grid.delta / parts
        volume = arb(width) ** size
        for cell in grid.all_cells():
            wanted = grid.target(table, cell)
            lows = [cell[i][j] * grid.delta for j in range(grid.m) for i in range(grid.d)]
            targets = [wanted[i, j] for j in range(grid.m) for i in range(grid.d)]
            for part in product(range(parts), repeat=size):
                box = [ball(low + k * width, low + (k + 1) * width) for low, k in zip(lows, part, strict=True)]
                for y, target in zip(f.values(box), targets, strict=True):
                    distance = arb(upper(abs(y - arb(target)))).min(most) if bounded(y) else most
                    if distance.is_zero():
                        continue
                    power = distance ** int(p.p) if p.q == 1 else (distance.log() * arb(p)).exp()
                    total += power * volume
        if total.is_zero():
            return fmpq(0)
        return upper((total.log() / arb(p)).exp())
