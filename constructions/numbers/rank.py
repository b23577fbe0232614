"""Ranks of integer matrices with proofs: a minor that is not zero modulo a prime, and vectors that are annihilated.

A minor that is not zero modulo p is not zero, so the rank over Q is at least the rank modulo p. A rank below full is
shown by integer combinations of the rows (of the columns, where there are fewer) that vanish exactly, one for each row
outside the minor: combination i has a nonzero coefficient at that row and none at the others outside.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpz, fmpz_mat, nmod_mat

from constructions.numbers.pivots import leading_columns

PRIMES = (2**61 - 1, 2**62 - 57, 2**63 - 25)
"""Tried in turn; the first serves unless it divides all largest minors."""


@dataclass(frozen=True)
class RankProof:
    """``rank`` of a matrix (s×d) and of its proof: the minor of ``rows`` and ``columns`` is not zero modulo ``prime``;
    ``relations`` are combinations that vanish, as (index, coefficient) pairs, of the rows for s ≤ d, else of the
    columns."""

    rank: int
    full: int
    prime: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    relations: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def is_full(self) -> bool:
        return self.rank == self.full

    def holds_for(self, M: fmpz_mat) -> bool:
        """Whether all of this is so for M, checked from the start.

        >>> M = fmpz_mat([[1, 2, 3], [2, 4, 6]])
        >>> proof = prove_rank(M)
        >>> proof.rank, proof.relations, proof.holds_for(M), proof.holds_for(fmpz_mat([[1, 2, 3], [2, 4, 7]]))
        (1, (((0, -2), (1, 1)),), True, False)
        """
        flat = M if M.nrows() <= M.ncols() else M.transpose()
        kept = self.rows if M.nrows() <= M.ncols() else self.columns
        if (self.full, len(self.rows), len(self.columns)) != (flat.nrows(), self.rank, self.rank):
            return False
        minor = _minor(M, self.rows, self.columns)
        if self.rank and (self.prime not in PRIMES or not int(nmod_mat(minor, self.prime).det())):
            return False
        outside = [i for i in range(flat.nrows()) if i not in set(kept)]
        if len(outside) != len(self.relations):
            return False
        for row, relation in zip(outside, self.relations, strict=True):
            # a coefficient that is not zero at this row, and none at the others outside: these are independent
            if not {i for i, c in relation if c} <= {*kept, row} or not dict(relation).get(row):
                return False
            if any(_combination(flat, relation)):
                return False
        return True


def prove_rank(M: fmpz_mat) -> RankProof:
    """The rank of an integer matrix (s×d) with its proof; of ``W = M 2^e`` it is the same.

    Raises ArithmeticError when no prime of the list serves, which no matrix is known to cause.

    >>> prove_rank(fmpz_mat([[1, 2, 3], [0, 1, 1]])).is_full
    True
    """
    tall = M.nrows() > M.ncols()
    flat = M.transpose() if tall else M
    for prime in PRIMES:
        columns = leading_columns(nmod_mat(flat, prime))
        full = flat.nrows()
        rows = tuple(range(full)) if len(columns) == full else leading_columns(nmod_mat(flat.transpose(), prime))
        outside = [i for i in range(full) if i not in set(rows)]
        relations = _relations(flat, rows, columns, outside)
        if relations is not None:
            if tall:
                rows, columns = columns, rows
            return RankProof(len(columns), full, prime, rows, columns, relations)
    raise ArithmeticError("no proof found of a rank: every prime of the list divides all largest minors")


def _relations(
    M: fmpz_mat, rows: tuple[int, ...], columns: tuple[int, ...], outside: list[int]
) -> tuple[tuple[tuple[int, int], ...], ...] | None:
    """Each row outside combined with ``rows`` to zero; None when the rank is larger than it is modulo the prime."""
    if not outside:
        return ()
    if not rows:
        zero = not any(M.entries())
        return tuple(((i, 1),) for i in outside) if zero else None
    right = _minor(M, tuple(outside), columns).transpose()
    weights = _minor(M, rows, columns).transpose().solve(right).tolist()
    found = []
    for j, row in enumerate(outside):
        column = [weights[i][j] for i in range(len(rows))]
        common = fmpz(1)
        for x in column:
            common = common.lcm(x.q)
        relation = [(i, int(-(x * common).p)) for i, x in zip(rows, column, strict=True) if x] + [(row, int(common))]
        if any(_combination(M, relation)):
            return None
        found.append(tuple(sorted(relation)))
    return tuple(found)


def _combination(M: fmpz_mat, relation: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> list[fmpz]:
    weights = fmpz_mat(1, M.nrows())
    for i, coefficient in relation:
        weights[0, i] = coefficient
    return list((weights * M).entries())


def _minor(M: fmpz_mat, rows: tuple[int, ...], columns: tuple[int, ...]) -> fmpz_mat:
    entries = M.tolist()
    return fmpz_mat(len(rows), len(columns), [entries[i][j] for i in rows for j in columns])
