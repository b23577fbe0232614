"""Linear systems through a largest minor: guessed modulo a prime, solved by lifting, checked exactly.

Elimination over Q writes down every entry of the echelon form, though a solution needs one column of it. Modulo a prime
the pivots are found in a fraction of the time; the system of the minor they name is solved alone, and the solution is
multiplied back. If a row fails then, a combination of rows that vanishes on the matrix and not on the right-hand side
proves that there is no solution. Only if that check fails too was the prime an unlucky one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq, fmpq_mat, nmod_mat

PRIME = 2**61 - 1


@dataclass(frozen=True)
class Pivots:
    """Rows and columns of a minor that is not zero modulo :data:`PRIME`, and none larger is. Since it is not zero over
    Q either, their number is a lower bound of the rank."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def number(self) -> int:
        return len(self.columns)


def pivots(M: fmpq_mat) -> Pivots:
    """The first columns, then the first rows, that are independent modulo the prime.

    >>> pivots(fmpq_mat([[0, 1, 2], [0, 2, 4], [1, 0, 0]]))
    Pivots(rows=(0, 2), columns=(0, 1))
    """
    if 0 in (M.nrows(), M.ncols()):
        return Pivots((), ())
    modular = nmod_mat(M.numer_denom()[0], PRIME)
    columns = leading_columns(modular)
    if len(columns) == M.nrows():
        return Pivots(tuple(range(M.nrows())), columns)
    return Pivots(leading_columns(modular.transpose()), columns)


def leading_columns(M: nmod_mat) -> tuple[int, ...]:
    """The first columns that are independent modulo the prime of M."""
    reduced, rank = M.rref()
    found, j = [], 0
    for i in range(rank):
        while not int(reduced[i, j]):
            j += 1
        found.append(j)
    return tuple(found)


class NoSolutionError(ArithmeticError):
    """The system has no solution, and that was proved."""


class UnluckyPrimeError(ArithmeticError):
    """The rank modulo the prime may be below the rank: nothing was shown."""


def solve(M: fmpq_mat, at: Pivots, right: Sequence[fmpq]) -> list[fmpq]:
    """The solution x of M x = right that is zero outside the columns of the pivots ``at`` of M.

    Raises NoSolutionError, and UnluckyPrimeError where neither a solution nor a proof against one was found.

    >>> M = fmpq_mat([[0, 1, 2], [0, 2, 4], [1, 0, 0]])
    >>> solve(M, pivots(M), [fmpq(3), fmpq(6), fmpq(5)])
    [5, 3, 0]
    """
    x = solve_minor(M, at, right)
    reached = (M * fmpq_mat(M.ncols(), 1, x)).entries() if M.ncols() else [fmpq(0)] * M.nrows()
    missed = next((i for i in range(M.nrows()) if reached[i] != right[i]), None)
    if missed is None:
        return x
    minor = _part(M, at.rows, at.columns)
    weights = _solved(minor.transpose(), [M[missed, j] for j in at.columns])
    combined = fmpq_mat(1, M.nrows())
    combined[0, missed] = fmpq(1)
    for i, weight in zip(at.rows, weights, strict=True):
        combined[0, i] = -weight
    if any((combined * M).entries()):
        raise UnluckyPrimeError(f"the rank exceeds {at.number}, the rank modulo {PRIME}")
    raise NoSolutionError(f"row {missed} is a combination of other rows on the left, and not on the right")


def solve_minor(M: fmpq_mat, at: Pivots, right: Sequence[fmpq]) -> list[fmpq]:
    """The x with (M x)_i = right_i in the rows of the pivots ``at`` of M that is zero outside their columns.

    >>> M = fmpq_mat([[0, 1, 2], [0, 2, 4], [1, 0, 0]])
    >>> solve_minor(M, pivots(M), [fmpq(3), fmpq(7), fmpq(5)])
    [5, 3, 0]
    """
    x = [fmpq(0)] * M.ncols()
    here = _solved(_part(M, at.rows, at.columns), [right[i] for i in at.rows])
    for j, value in zip(at.columns, here, strict=True):
        x[j] = value
    return x


def _solved(minor: fmpq_mat, right: list[fmpq]) -> list[fmpq]:
    return list(minor.solve(fmpq_mat(len(right), 1, right)).entries()) if right else []


def _part(M: fmpq_mat, rows: Sequence[int], columns: Sequence[int]) -> fmpq_mat:
    if len(rows) == M.nrows() and len(columns) == M.ncols():
        return M
    return fmpq_mat(len(rows), len(columns), [M[i, j] for i in rows for j in columns])
