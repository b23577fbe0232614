"""What the strategies for numbers and matrices promise, checked exactly and in other ways than it is made to hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from flint import fmpq, fmpq_mat
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from occurrence import first

from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import within_norm
from verify.strategies import matrices, matrices_with_singular_values, orthogonal_matrices, rationals, smallest, vectors

SIDES = st.integers(0, 4)


def characteristic(N: fmpq_mat) -> list[fmpq]:
    """Coefficients of det(t − N) from the highest down, by Faddeev and LeVerrier's recursion."""
    n = N.nrows()
    identity = RationalMatrix.identity(n).mat
    coefficients, M = [fmpq(1)], identity
    for k in range(1, n + 1):
        product = N * M
        c = -sum((product[i, i] for i in range(n)), fmpq(0)) / k
        coefficients.append(c)
        M = product + identity * c
    return coefficients


def no_eigenvalue_below_zero(N: fmpq_mat) -> bool:
    """For real eigenvalues: the signs of det(t − N) alternate (Descartes)."""
    return all(c * (-1) ** k >= 0 for k, c in enumerate(characteristic(N)))


def norm_at_most(W: RationalMatrix, bound: fmpq) -> bool:
    gram = W.T.times(W)
    return no_eigenvalue_below_zero(RationalMatrix.identity(W.shape[1]).scaled(bound * bound).mat - gram.mat)


def condition_at_most(W: RationalMatrix, bound: fmpq) -> bool:
    """With W = C E, C and E of full rank, (C^T C)(E E^T) has the eigenvalues of W^T W that are not zero; the Kronecker
    sum below has b² λ_i − λ_j for all of their pairs."""
    reduced, r = W.mat.rref() if 0 not in W.shape else (W.mat, 0)
    if r == 0:
        return True
    pivots = [next(j for j in range(W.shape[1]) if reduced[i, j] != 0) for i in range(r)]
    C = RationalMatrix.of_columns([W.column(j) for j in pivots])
    E = RationalMatrix.of([[reduced[i, j] for j in range(W.shape[1])] for i in range(r)])
    assert C.times(E) == W
    G = C.T.times(C).times(E.times(E.T))
    pairs = [(i, j) for i in range(r) for j in range(r)]
    sums = [[bound * bound * G[i, k] * (j == l) - G[j, l] * (i == k) for k, l in pairs] for i, j in pairs]
    return no_eigenvalue_below_zero(RationalMatrix.of(sums).mat)


# --- numbers ---------------------------------------------------------------------------------------------------------


@given(st.fractions(-3, 3, max_denominator=9), st.fractions(0, 3, max_denominator=9), st.data())
def test_rationals_keep_their_bounds(low: Fraction, width: Fraction, data: st.DataObject) -> None:
    """Bounds are their own numbers with a denominator of at most 81."""
    x = data.draw(rationals(low, low + width, max_denominator=81))
    assert isinstance(x, fmpq)
    assert low <= Fraction(int(x.p), int(x.q)) <= low + width
    assert x.q <= 81


def test_rationals_reach_their_bounds_and_shrink_to_whole_numbers() -> None:
    assert smallest(rationals("1/2", "7/2", max_denominator=6), lambda x: x == fmpq(7, 2)) == fmpq(7, 2)
    assert smallest(rationals(5), lambda x: True) == 5
    assert smallest(rationals(None, -7), lambda x: True) == -7
    assert smallest(rationals("1/7", "2/7", max_denominator=9), lambda x: True) == fmpq(1, 4)
    assert smallest(rationals(0, 10**6, max_denominator=10**5), lambda x: fmpq(5, 7) < x < fmpq(6, 7)) == fmpq(3, 4)


@given(st.integers(0, 4).flatmap(lambda n: st.tuples(st.just(n), vectors(n, elements=st.fractions(0, 1)))))
def test_vectors_of_any_exact_numbers(case: tuple[int, list[fmpq]]) -> None:
    n, v = case
    assert len(v) == n
    assert all(isinstance(x, fmpq) and 0 <= x <= 1 for x in v)


# --- matrices --------------------------------------------------------------------------------------------------------


@given(SIDES, SIDES, st.data())
def test_ranks_are_within_their_bounds(m: int, n: int, data: st.DataObject) -> None:
    least = data.draw(st.integers(0, min(m, n)))
    most = data.draw(st.integers(least, min(m, n)))
    W = data.draw(matrices(m, n, min_rank=least, max_rank=most))
    assert W.shape == (m, n)
    assert least <= W.rank() <= most


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_every_rank_that_is_allowed_comes_up(rank: int) -> None:
    first(matrices(3, 4), lambda W: W.rank() == rank)


@given(st.data())
def test_sizes_may_be_drawn(data: st.DataObject) -> None:
    W = data.draw(matrices(st.integers(1, 3), st.integers(2, 3), full_rank=True))
    assert W.rank() == min(W.shape)
    assert W.shape[1] >= 2


@given(SIDES, SIDES, rationals(0, 2, max_denominator=5), st.booleans(), st.data())
def test_norms_are_bounded(m: int, n: int, bound: fmpq, full: bool, data: st.DataObject) -> None:
    if bound == 0 and full:
        return
    W = data.draw(matrices(m, n, max_norm=bound, full_rank=full))
    assert norm_at_most(W, bound)
    assert not full or W.rank() == min(m, n)


@given(st.integers(0, 3), st.integers(0, 3), rationals(1, 5), st.none() | rationals("1/4", 3), st.data())
def test_condition_numbers_are_bounded(m: int, n: int, bound: fmpq, norm: fmpq | None, data: st.DataObject) -> None:
    least = data.draw(st.integers(0, min(m, n)))
    W = data.draw(matrices(m, n, max_condition=bound, max_norm=norm, min_rank=least))
    assert W.rank() >= least
    assert condition_at_most(W, bound)
    assert norm is None or norm_at_most(W, norm)


def test_condition_numbers_reach_their_bound() -> None:
    W = first(
        matrices(2, 2, max_condition=3, full_rank=True),
        lambda W: not condition_at_most(W, fmpq(299, 100)),
    )
    assert condition_at_most(W, fmpq(3))


@given(orthogonal_matrices(SIDES))
def test_orthogonal_matrices(Q: RationalMatrix) -> None:
    assert Q.T.times(Q) == RationalMatrix.identity(Q.shape[0])


@given(st.integers(0, 3), st.integers(0, 3), st.data())
def test_singular_values_are_exactly_those(m: int, n: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(rationals(0, 3), max_size=min(m, n)))
    W = data.draw(matrices_with_singular_values(m, n, values))
    squares = [x * x for x in values] + [fmpq(0)] * (n - len(values))
    diagonal = fmpq_mat(n, n, [squares[i] if i == j else fmpq(0) for i in range(n) for j in range(n)])
    assert characteristic(W.T.times(W).mat) == characteristic(diagonal)


@given(matrices(3, 2, elements=st.sampled_from([fmpq(5), fmpq(7)])))
def test_entries_are_the_elements(W: RationalMatrix) -> None:
    """But for zero, ones on the diagonal, and low ranks, which come up on purpose."""
    special = W.rank() < 2 or RationalMatrix.of([[1, 0], [0, 1], [0, 0]]) == W
    assert special or all(x in (5, 7) for x in W.mat.entries())


def test_zero_and_ones_on_the_diagonal_come_up_beside_others() -> None:
    """Hypothesis tries no example twice, so they are counted where something else varies as well."""
    seen: list[RationalMatrix] = []

    @settings(max_examples=100, derandomize=True, database=None)
    @given(matrices(3, 3), st.integers(0, 10**6))
    def collect(W: RationalMatrix, other: int) -> None:
        seen.append(W)

    collect()
    for W in (RationalMatrix.zeros(3, 3), RationalMatrix.identity(3)):
        assert seen.count(W) >= 2


def test_what_fits_the_norm_is_kept() -> None:
    W = RationalMatrix.of([[0, "-1/2"], ["1/2", 0]])
    assert within_norm(W, fmpq(1, 2)) is W
    assert not norm_at_most(W, fmpq(49, 100))


S = st.nothing()
BAD: dict[str, Any] = {
    "rows: expected a whole number of at least 0, found -1": lambda: matrices(-1, 2),
    "columns: expected a whole number of at least 0, found '2'": lambda: matrices(1, "2"),
    "rows: expected a whole number of at least 0, found True": lambda: matrices(True, 2),
    "min_rank: expected a whole number of at least 0 and at most 2, found 3": lambda: matrices(2, 3, min_rank=3),
    "max_rank (min_rank is 2): expected a whole number of at least 2 and at most 3, found 1": lambda: matrices(
        3, 3, min_rank=2, max_rank=1
    ),
    "full_rank: expected no min_rank and no max_rank beside it, found (1, None)": lambda: matrices(
        2, 2, min_rank=1, full_rank=True
    ),
    "max_norm: expected at least 0, found -1": lambda: matrices(2, 2, max_norm=-1),
    "max_norm: expected a positive number, as the rank is not 0, found 0": lambda: matrices(
        2, 2, max_norm=0, min_rank=1
    ),
    'max_norm: expected an exact number (int, Fraction, fmpq, "p/q"), found 0.5': lambda: matrices(2, 2, max_norm=0.5),
    "max_condition: expected at least 1, found '1/2'": lambda: matrices(2, 2, max_condition="1/2"),
    "elements: expected a strategy for exact numbers, found 3": lambda: matrices(2, 2, elements=3),
    "max_value: expected at least min_value = 2, found 1": lambda: rationals(2, 1),
    "max_denominator: expected one that some number from 1/7 to 1/6 has, found 5": lambda: rationals(
        "1/7", "1/6", max_denominator=5
    ),
    "max_denominator: expected a whole number of at least 1, found 0": lambda: rationals(max_denominator=0),
    "size: expected a whole number of at least 0, found 0.5": lambda: vectors(0.5),
    "values: expected at least 0, found -1": lambda: matrices_with_singular_values(2, 2, [-1]),
    "rows (drawn): expected a whole number of at least 0, found -1": lambda: smallest(matrices(st.just(-1), 1), bool),
    "min_rank: expected at most 1, the smaller side of the 1×1 matrix drawn, found 2": lambda: smallest(
        matrices(st.just(1), st.just(1), min_rank=2), bool
    ),
    "values: expected at most 1 of them for a 1×2 matrix, found [1, 2]": lambda: smallest(
        matrices_with_singular_values(1, 2, [1, 2]), bool
    ),
    'elements (drawn): expected an exact number (int, Fraction, fmpq, "p/q"), found 0.5': lambda: smallest(
        vectors(1, elements=st.just(0.5)), bool
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        BAD[message]()
    assert str(error.value) == message
