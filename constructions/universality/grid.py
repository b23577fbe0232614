"""The grid on the cube, tables of functions, and the prompts that write them down.

A function f: [0,1]^{d×m} → [0,1]^{d×m} is replaced by its table: for each of the k^{dm} cells one block of m columns of
grid values. The prompt *is* the table. Source: THEORY section 6, "Grid and table".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from flint import fmpq

from constructions.numbers.rational import RationalMatrix

Digits = tuple[tuple[int, ...], ...]
"""Grid values as whole multiples of δ: d rows of digits 0 … k−1, one for each column."""


@dataclass(frozen=True)
class Grid:
    """Width d, m input tokens, k grid values for each entry.

    >>> grid = Grid(1, 1, 2)
    >>> grid.prompt_length, grid.tokens, grid.delta, grid.unit
    (2, 3, 1/2, 1)
    """

    d: int
    m: int
    k: int

    def __post_init__(self) -> None:
        for name, value, least in (("d", self.d, 1), ("m", self.m, 1), ("k", self.k, 2)):
            if value < least:
                raise ValueError(f"grid: expected {name} ≥ {least}, found {value}")

    @property
    def delta(self) -> fmpq:
        """δ = 1/k."""
        return fmpq(1, self.k)

    @property
    def c(self) -> int:
        """k^d: the number of grid columns."""
        return int(self.k**self.d)

    @property
    def unit(self) -> int:
        """U = 1 + k + … + k^{d−1} = u^T 1."""
        return sum(self.k**i for i in range(self.d))

    @property
    def u(self) -> list[fmpq]:
        """(1, k, …, k^{d−1}): reads a column as one number."""
        return [fmpq(self.k**i) for i in range(self.d)]

    @property
    def cells(self) -> int:
        return int(self.k ** (self.d * self.m))

    @property
    def prompt_length(self) -> int:
        """m_p = m k^{dm}."""
        return self.m * self.cells

    @property
    def tokens(self) -> int:
        """n = m_p + m."""
        return self.prompt_length + self.m

    @property
    def sweep(self) -> int:
        """K = n c: the number of possible values of a column's id."""
        return self.tokens * self.c

    def all_cells(self) -> Iterator[Digits]:
        """The cells (d rows of m digits), column by column, in the order in which the prompt lists them."""
        for flat in product(range(self.k), repeat=self.d * self.m):
            yield tuple(tuple(flat[j * self.d + i] for j in range(self.m)) for i in range(self.d))

    def cell_number(self, cell: Digits) -> int:
        number = 0
        for j in range(self.m):
            for i in range(self.d):
                number = number * self.k + cell[i][j]
        return number

    def centre(self, cell: Digits) -> RationalMatrix:
        return RationalMatrix.of([[(a + fmpq(1, 2)) * self.delta for a in row] for row in cell])

    def cell_of(self, X: RationalMatrix) -> Digits:
        """The cell of an input with entries in [0, 1).

        Raises ValueError for entries outside; an entry equal to 1 would be read as the next column's grid.
        """
        if X.shape != (self.d, self.m):
            raise ValueError(f"input: expected {self.d}×{self.m}, found {X.shape[0]}×{X.shape[1]}")
        rows = []
        for i, row in enumerate(X.rows()):
            for j, x in enumerate(row):
                if not 0 <= x < 1:
                    where = "equal to 1, which is the next column's grid" if x == 1 else str(x)
                    raise ValueError(f"input[{i}][{j}]: expected a number in [0, 1), found one {where}")
            rows.append(tuple(int((x * self.k).floor()) for x in row))
        return tuple(rows)

    def table(self, f: Callable[[RationalMatrix], RationalMatrix]) -> list[Digits]:
        """For each cell the grid values min(⌊k f⌋, k−1) of f at its centre.

        Raises ValueError where f leaves [0, 1].
        """
        found = []
        for cell in self.all_cells():
            value = f(self.centre(cell))
            rows = []
            for i, row in enumerate(value.rows()):
                for j, y in enumerate(row):
                    if not 0 <= y <= 1:
                        raise ValueError(
                            f"f: expected values in [0, 1], found {y} in entry ({i}, {j}) at a cell centre"
                        )
                rows.append(tuple(min(int((y * self.k).floor()), self.k - 1) for y in row))
            found.append(tuple(rows))
        return found

    def prompt(self, table: Sequence[Digits], offset: fmpq | None = None) -> RationalMatrix:
        """P (d×m_p): the blocks of the table side by side, grid values plus ``offset`` (0 by default)."""
        shift = fmpq(0) if offset is None else offset
        rows = [[a * self.delta + shift for block in table for a in block[i]] for i in range(self.d)]
        return RationalMatrix.of(rows)

    def embedding(self) -> RationalMatrix:
        """E (d×n): every row 0, 1, …, n−1, so that columns have disjoint ranges."""
        return RationalMatrix.of([list(range(self.tokens)) for _ in range(self.d)])

    def target(self, table: Sequence[Digits], cell: Digits) -> RationalMatrix:
        """What the network is to give on a cell: the table's block, read out in the middle of its grid interval."""
        block = table[self.cell_number(cell)]
        return RationalMatrix.of([[(a + fmpq(1, 2)) * self.delta for a in row] for row in block])
