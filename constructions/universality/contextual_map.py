"""The contextual map: ids of columns, the sweep that makes the last one name the whole context, the global shift.

A context is a sequence of n grid columns; column j (from 0) has the id ``l_j = j U + a_j δ`` with a_j in 0 … c−1. The
sweep goes through all possible ids in increasing order and lifts the column that has it, each time the lowest one, by
``c (max − min)``. Source: THEORY section 6, items 2 and 3 (proofs in docs/theory/universality.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from flint import fmpq

from constructions.universality.grid import Digits, Grid
from constructions.verdict import Fact


@dataclass(frozen=True)
class ContextualMap:
    """The map for one grid, with the factor G of the global shift (0: no shift)."""

    grid: Grid
    G: int = 0

    def ids(self, codes: Sequence[int]) -> list[fmpq]:
        """l_j for the columns' codes a_j (0 … c−1)."""
        return [j * self.grid.unit + a * self.grid.delta for j, a in enumerate(codes)]

    def code(self, column: Sequence[int]) -> int:
        """a_j of a column of digits."""
        return sum(x * self.grid.k**i for i, x in enumerate(column))

    def codes(self, context: Digits) -> list[int]:
        """The codes of all columns of a context (d rows of n digits)."""
        return [self.code([row[j] for row in context]) for j in range(len(context[0]))]

    def contexts(self) -> Iterator[tuple[int, ...]]:
        """All c^n contexts, as codes."""
        return product(range(self.grid.c), repeat=self.grid.tokens)

    def swept(self, codes: Sequence[int]) -> list[fmpq]:
        """The ids after the sweep: l̃_0 = l_0 + c (l_n − l_0), l̃_j = c l̃_{j−1} − (c−1) l_j."""
        c = self.grid.c
        ids = self.ids(codes)
        found = [ids[0] + c * (ids[-1] - ids[0])]
        for l in ids[1:]:
            found.append(c * found[-1] - (c - 1) * l)
        return found

    def final(self, codes: Sequence[int]) -> list[fmpq]:
        """The ids after the sweep and the global shift by G times the largest."""
        found = self.swept(codes)
        return [l + self.G * found[-1] for l in found]

    def decode(self, last: fmpq) -> list[int]:
        """The codes of a context from the id of its last column after the sweep.

        ``l̃_{n−1}/δ = const + c^n a_{n−1} − (c−1) A`` with ``A = Σ c^{n−1−j} a_j`` in [0, c^n), all j; as c^n and c − 1
        have no common factor, A is known modulo c^n, and with it every a_j. Raises ValueError for other numbers.
        """
        grid = self.grid
        c, n = grid.c, grid.tokens
        zero = self.swept([0] * n)[-1]
        code = (last - zero) * grid.k
        if code.q != 1:
            raise ValueError(f"decode: {last} is not the id of a context")
        modulus = c**n
        A = -int(code.p) * pow(c - 1, -1, modulus) % modulus
        codes = []
        for _ in range(n):
            codes.append(A % c)
            A //= c
        codes.reverse()
        if self.swept(codes)[-1] != last:
            raise ValueError(f"decode: {last} is not the id of a context")
        return codes

    # -- the conditions of the construction ----------------------------------------------------------------------------

    def fires_once(self) -> Fact:
        """No column is lifted twice in the sweep: (n−1)(c−1)²k ≥ (k−1)(c²−c+1)."""
        grid = self.grid
        left = (grid.tokens - 1) * (grid.c - 1) ** 2 * grid.k
        right = (grid.k - 1) * (grid.c**2 - grid.c + 1)
        return Fact("no column fires twice in the sweep", left >= right, f"{left} ≥ {right} is {left >= right}")

    def sufficient_shift(self) -> int:
        """A factor G of the global shift from which all final ids are different: 0 for m = 1, where only the last
        column is read."""
        grid = self.grid
        if grid.m == 1:
            return 0
        return int(grid.c**grid.tokens * ((grid.tokens - 1) * grid.unit * grid.k + grid.c))

    def ids_differ(self, limit: int = 1 << 16) -> Fact:
        """Whether all ids of columns that are read, over all contexts, are at least δ apart: by enumeration."""
        grid = self.grid
        what = "ids of read columns differ"
        count = grid.c**grid.tokens
        if count > limit:
            return Fact(what, self.sufficient_shift() <= self.G, f"{count} contexts: by the bound on G")
        seen: set[fmpq] = set()
        for codes in self.contexts():
            for l in self.final(codes)[-grid.m :]:
                if l in seen:
                    return Fact(what, False, f"id {l} occurs twice (G = {self.G})")
                seen.add(l)
        ordered = sorted(seen)
        gap = min((y - x for x, y in pairwise(ordered)), default=grid.delta)
        return Fact(what, gap >= grid.delta, f"{len(seen)} ids, least distance {gap}")

    def values_stay(self) -> Fact:
        """A column that has received its value (in [0, 1]) is below all ids that are read: no second value layer acts
        on it. Every id after the sweep is at least U (c(n−2) + 1)."""
        grid = self.grid
        bound = (1 + self.G) * grid.unit * (grid.c * (grid.tokens - 2) + 1) - grid.delta / 2
        return Fact("values do not fire again", grid.unit < bound, f"{grid.unit} < {bound}")
