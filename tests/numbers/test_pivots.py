"""Linear systems through a largest minor: the same answers as elimination, whatever the rank and the prime."""

from __future__ import annotations

import pytest
from flint import fmpq, fmpq_mat
from hypothesis import example, given
from hypothesis import strategies as st

from constructions.numbers.pivots import PRIME, NoSolutionError, Pivots, UnluckyPrimeError, pivots, solve
from constructions.numbers.rational import RationalMatrix, column_vector

ENTRIES = st.integers(-3, 3).map(lambda n: fmpq(n, 2))


@st.composite
def systems(draw: st.DrawFn) -> tuple[RationalMatrix, list[fmpq]]:
    """M x = right of every rank; half of the right-hand sides are reached."""
    n, m, rank = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(0, 4))

    def matrix(rows: int, columns: int) -> RationalMatrix:
        return RationalMatrix(
            fmpq_mat(rows, columns, draw(st.lists(ENTRIES, min_size=rows * columns, max_size=rows * columns)))
        )

    M = matrix(n, rank).times(matrix(rank, m)) if rank else RationalMatrix.zeros(n, m)
    if draw(st.booleans()):
        return M, M.apply(matrix(m, 1).column(0))
    return M, matrix(n, 1).column(0)


@given(systems())
@example((RationalMatrix.zeros(2, 2), [fmpq(0), fmpq(0)]))
@example((RationalMatrix.zeros(2, 2), [fmpq(0), fmpq(1)]))
@example((RationalMatrix.of([[1, 1], [1, 1]]), [fmpq(1), fmpq(2)]))
def test_the_same_answer_as_elimination(system: tuple[RationalMatrix, list[fmpq]]) -> None:
    M, right = system
    x = M.solve(right)
    joined = M.hstack(column_vector(right))
    assert M.reaches(right) is (joined.mat.rank() == M.mat.rank()) is (x is not None)
    assert x is None or M.apply(x) == right
    assert M.rank() == M.mat.rank()
    assert M.is_invertible is (M.shape[0] == M.shape[1] == M.mat.rank())
    assert len(M.nullspace()) == M.shape[1] - M.mat.rank()
    assert all(not any(M.apply(v)) for v in M.nullspace())


def test_a_prime_that_divides_all_minors_costs_time_and_no_truth() -> None:
    """Modulo the prime diag(1, p) has rank 1, so nothing may be concluded from that rank."""
    M = RationalMatrix.of([[1, 0], [0, PRIME]])
    assert M.pivots == Pivots((0,), (0,))
    with pytest.raises(UnluckyPrimeError, match="the rank exceeds 1"):
        solve(M.mat, M.pivots, [fmpq(1), fmpq(1)])
    assert M.solve([fmpq(1), fmpq(1)]) == [1, fmpq(1, PRIME)]
    assert M.is_invertible
    assert M.rank() == 2
    assert M.reaches([fmpq(0), fmpq(1)])
    tall = RationalMatrix.of([[1, 0], [0, PRIME], [0, 2 * PRIME]])
    assert tall.solve([fmpq(1), fmpq(1), fmpq(2)]) == [1, fmpq(1, PRIME)]
    assert tall.solve([fmpq(1), fmpq(1), fmpq(1)]) is None
    assert RationalMatrix.of([[0, 0], [0, PRIME]]).nullspace() == [[1, 0]]
    assert not RationalMatrix.of([[PRIME, 2 * PRIME], [1, 2]]).is_invertible


def test_no_solution_is_proved_by_a_combination_of_rows() -> None:
    M = fmpq_mat([[1, 2], [2, 4]])
    with pytest.raises(NoSolutionError, match="row 1"):
        solve(M, pivots(M), [fmpq(1), fmpq(3)])
    with pytest.raises(NoSolutionError):
        solve(fmpq_mat(2, 2), pivots(fmpq_mat(2, 2)), [fmpq(0), fmpq(1)])
