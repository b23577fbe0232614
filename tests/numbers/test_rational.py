"""Rational matrices against plain fractions: conversions, algebra, rank and solutions of any shape, hardmax, units."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import fmpq, fmpq_mat, fmpz
from hypothesis import example, given
from hypothesis import strategies as st

from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector, dot, rational, vector

Rows = list[list[Fraction]]

FRACTIONS = st.fractions(min_value=-5, max_value=5, max_denominator=6)
SIZES = st.integers(0, 4)
BIG = Fraction(10**400 + 1, 3**500)


def fraction(x: fmpq) -> Fraction:
    return Fraction(int(x.p), int(x.q))


def matrix(rows: Rows, width: int) -> RationalMatrix:
    return RationalMatrix.of(rows, columns=width)


def plain(A: RationalMatrix) -> Rows:
    return [[fraction(x) for x in row] for row in A.rows()]


@st.composite
def tables(draw: st.DrawFn, rows: int | None = None, width: int | None = None) -> tuple[Rows, int]:
    """Rows and their width; either may be zero."""
    n = draw(SIZES) if rows is None else rows
    m = draw(SIZES) if width is None else width
    return draw(st.lists(st.lists(FRACTIONS, min_size=m, max_size=m), min_size=n, max_size=n)), m


@st.composite
def any_rank(draw: st.DrawFn) -> tuple[Rows, int]:
    """Products L R through a narrow middle, so that every rank occurs and not only the full one."""
    n, m, k = draw(SIZES), draw(SIZES), draw(st.integers(0, 3))
    L, _ = draw(tables(n, k))
    R, _ = draw(tables(k, m))
    return [[sum((L[i][t] * R[t][j] for t in range(k)), Fraction(0)) for j in range(m)] for i in range(n)], m


def rank_of(rows: Rows) -> int:
    """Gaussian elimination on plain fractions, the independent oracle."""
    rows, rank = [list(row) for row in rows], 0
    for j in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][j] != 0), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][j] / rows[rank][j]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


def times(rows: Rows, x: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, x, strict=True)), Fraction(0)) for row in rows]


# Conversions


@given(FRACTIONS)
@example(BIG)
@example(Fraction(0))
def test_exact_numbers_keep_their_value(x: Fraction) -> None:
    p, q = x.numerator, x.denominator
    assert fraction(rational(x)) == x
    assert rational(fmpq(p, q)) == fmpq(p, q)
    assert fraction(rational(f"{p}/{q}")) == x
    assert rational(p) == rational(fmpz(p)) == rational(str(p)) == fmpq(p)


@given(st.integers(-(10**30), 10**30), st.integers(-40, 40))
def test_decimals_are_read_as_spelled(mantissa: int, exponent: int) -> None:
    assert fraction(rational(f"{mantissa}e{exponent}")) == mantissa * Fraction(10) ** exponent
    whole, rest = divmod(abs(mantissa), 10**7)
    assert fraction(rational(f"{'-' if mantissa < 0 else ''}{whole}.{rest:07}")) == Fraction(mantissa, 10**7)


@pytest.mark.parametrize(
    "value",
    [0.5, 1.0, float("nan"), float("inf"), True, False, None, 1j, Decimal("0.5"), np.float64(0.5), np.int64(1), [1]],
    ids=repr,
)
def test_inexact_numbers_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"expected an exact number .* found the {type(value).__name__} "):
        rational(value)
    with pytest.raises(TypeError, match="expected an exact number"):
        RationalMatrix.of([[1, value]])
    with pytest.raises(TypeError, match="expected an exact number"):
        vector([value])


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1/2/3", "1/-2", "0x10"])
def test_strings_that_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid literal"):
        rational(text)
    with pytest.raises(ZeroDivisionError):
        rational("1/0")


@given(st.lists(st.tuples(FRACTIONS, FRACTIONS), max_size=5))
def test_inner_product(pairs: list[tuple[Fraction, Fraction]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    assert fraction(dot(vector(left), vector(right))) == sum((a * b for a, b in pairs), Fraction(0))
    with pytest.raises(ValueError, match=f"equal lengths, found {len(pairs)} and {len(pairs) + 1}"):
        dot(vector(left), vector([*right, 1]))


# Shapes


@given(tables())
@example(([], 0))
@example(([], 3))
@example(([[], []], 0))
def test_shape_rows_and_transpose(table: tuple[Rows, int]) -> None:
    rows, width = table
    A = matrix(rows, width)
    assert A.shape == (len(rows), width)
    assert plain(A) == rows
    assert A.T.shape == (width, len(rows))
    assert plain(A.T) == [[row[j] for row in rows] for j in range(width)]
    assert A.T.T == A
    assert [[fraction(A[i, j]) for j in range(width)] for i in range(len(rows))] == rows
    assert [[fraction(x) for x in A.column(j)] for j in range(width)] == plain(A.T)
    if rows:
        assert RationalMatrix.of_columns(rows) == A.T
        assert RationalMatrix.of(rows) == A
    assert column_vector([row[0] for row in rows] if width else []) == (A.columns(0, 1) if width else matrix([], 1))


@given(tables(), st.data())
def test_columns_are_a_slice_within_the_matrix(table: tuple[Rows, int], data: st.DataObject) -> None:
    rows, width = table
    start = data.draw(st.integers(0, width))
    stop = data.draw(st.integers(start, width))
    piece = matrix(rows, width).columns(start, stop)
    assert piece.shape == (len(rows), stop - start)
    assert plain(piece) == [row[start:stop] for row in rows]
    for first, last in [(-1, 0), (0, width + 1), (stop + 1, stop)]:
        with pytest.raises(ValueError, match=f"within the {width} columns, found {first} to {last}"):
            matrix(rows, width).columns(first, last)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([[1, 2], [3]], None, "row 1: expected 2 entries, found 1"),
        ([[1], [2], [3, 4]], None, "row 2: expected 1 entries, found 2"),
        ([[], [1]], None, "row 1: expected 0 entries, found 1"),
        ([[1, 2]], 3, "row 0: expected 3 entries, found 2"),
    ],
)
def test_ragged_rows(rows: list[list[int]], columns: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        RationalMatrix.of(rows, columns)


def test_shape_errors_name_both_sides() -> None:
    A, B = RationalMatrix.zeros(2, 3), RationalMatrix.zeros(4, 5)
    for product in (lambda: A @ B, lambda: A.times(B)):
        with pytest.raises(ValueError, match=r"left has 3 columns, right has 4 rows \(2×3 @ 4×5\)"):
            product()
    with pytest.raises(ValueError, match="sum: expected equal shapes, found 2×3 and 4×5"):
        A + B
    with pytest.raises(ValueError, match="difference: expected equal shapes, found 2×3 and 4×5"):
        A - B
    with pytest.raises(ValueError, match="left has 2 rows, right has 4"):
        A.hstack(B)
    with pytest.raises(ValueError, match="left has 2 rows, right has 1"):
        A.solve(vector([1]))
    with pytest.raises(ValueError, match="left has 3 columns, right has 2 rows"):
        A.apply(vector([1, 2]))


# Algebra


@given(st.data())
def test_algebra_against_fractions(data: st.DataObject) -> None:
    n, k, m = data.draw(SIZES), data.draw(SIZES), data.draw(SIZES)
    (L, _), (L2, _), (R, _) = data.draw(tables(n, k)), data.draw(tables(n, k)), data.draw(tables(k, m))
    A, A2, B = matrix(L, k), matrix(L2, k), matrix(R, m)
    product = [[sum((L[i][t] * R[t][j] for t in range(k)), Fraction(0)) for j in range(m)] for i in range(n)]
    assert (A @ B).shape == (n, m)
    assert A @ B == A.times(B) == matrix(product, m)
    assert matrix([[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(L, L2, strict=True)], k) == A + A2
    assert (A + A2) - A2 == A
    factor = data.draw(FRACTIONS)
    assert plain(A.scaled(factor)) == [[factor * x for x in row] for row in L]
    assert plain(A.hstack(A2)) == [x + y for x, y in zip(L, L2, strict=True)]
    assert A.hstack(A2).shape == (n, 2 * k)
    x = data.draw(st.lists(FRACTIONS, min_size=k, max_size=k))
    assert [fraction(y) for y in A.apply(vector(x))] == times(L, x)
    assert RationalMatrix.identity(n) @ A == A == A @ RationalMatrix.identity(k)
    assert A + RationalMatrix.zeros(n, k) == A


@given(tables(), tables())
@example(([], 2), ([], 3))
@example(([], 0), ([[], []], 0))
def test_equality_is_shape_and_entries(left: tuple[Rows, int], right: tuple[Rows, int]) -> None:
    A, B = matrix(*left), matrix(*right)
    equal = left[1] == right[1] and left[0] == right[0]
    assert (A == B) is equal
    assert (A != B) is not equal
    assert matrix(*left) == A
    assert hash(A) == hash(matrix(*left))
    assert left[0] != A


# Rank, inverse, null space, solutions


@given(any_rank())
@example(([], 0))
@example(([], 3))
@example(([[], [], []], 0))
@example(([[Fraction(0)] * 3] * 2, 3))
@example(([[BIG, 2 * BIG], [2 * BIG, 4 * BIG]], 2))
def test_rank_and_nullspace(table: tuple[Rows, int]) -> None:
    rows, width = table
    A = matrix(rows, width)
    rank = rank_of(rows)
    assert A.rank() == A.T.rank() == rank
    basis = [[fraction(x) for x in vector] for vector in A.nullspace()]
    assert len(basis) == width - rank
    assert all(len(x) == width and not any(times(rows, x)) for x in basis)
    assert rank_of(basis) == len(basis)


@given(any_rank(), st.data())
@example(([], 3), None)
@example(([[], []], 0), None)
def test_solve_any_shape_and_rank(table: tuple[Rows, int], data: st.DataObject | None) -> None:
    rows, width = table
    right = [Fraction(0)] * len(rows)
    if data is not None:
        right = data.draw(st.lists(FRACTIONS, min_size=len(rows), max_size=len(rows)), label="right")
    x = matrix(rows, width).solve(vector(right))
    solvable = rank_of([[*row, b] for row, b in zip(rows, right, strict=True)]) == rank_of(rows)
    if x is None:
        assert not solvable
    else:
        assert len(x) == width
        assert times(rows, [fraction(v) for v in x]) == right
    if data is not None:
        y = data.draw(st.lists(FRACTIONS, min_size=width, max_size=width), label="a solution")
        found = matrix(rows, width).solve(vector(times(rows, y)))
        assert found is not None
        assert times(rows, [fraction(v) for v in found]) == times(rows, y)


def test_solve_without_columns() -> None:
    empty = RationalMatrix.zeros(2, 0)
    assert empty.solve(vector([0, 0])) == []
    assert empty.solve(vector([0, 1])) is None
    assert RationalMatrix.zeros(0, 3).solve([]) == vector([0, 0, 0])
    assert RationalMatrix.of([[0, 0]]).solve(vector([1])) is None


@given(st.integers(0, 3).flatmap(lambda n: tables(n, n)))
@example(([[Fraction(1), Fraction(2)], [Fraction(2), Fraction(4)]], 2))
def test_inverse(table: tuple[Rows, int]) -> None:
    A = matrix(*table)
    if rank_of(table[0]) < table[1]:
        with pytest.raises(ZeroDivisionError):
            A.inverse()
    else:
        assert A @ A.inverse() == RationalMatrix.identity(table[1]) == A.inverse() @ A


# Hardmax, ReLU, piecewise-linear units

TIED = st.sampled_from([Fraction(-1), Fraction(0), Fraction(1, 3)])
VISIBLE: list[Callable[[int], int] | None] = [None, lambda j: j + 1]


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(TIED, min_size=n, max_size=n), min_size=n, max_size=4)))
def test_hardmax_is_uniform_on_the_largest(rows: Rows) -> None:
    for visible in VISIBLE:
        H = plain(RationalMatrix.of(rows).hardmax(visible))
        for j in range(len(rows[0])):
            seen = len(rows) if visible is None else visible(j)
            column = [row[j] for row in rows][:seen]
            winners = column.count(max(column))
            expected = [Fraction(1, winners) if x == max(column) else Fraction(0) for x in column]
            assert [row[j] for row in H] == expected + [Fraction(0)] * (len(rows) - seen)


@given(tables())
def test_relu(table: tuple[Rows, int]) -> None:
    A = matrix(*table).relu()
    assert A.shape == (len(table[0]), table[1])
    assert plain(A) == [[max(x, Fraction(0)) for x in row] for row in table[0]]


@st.composite
def units(draw: st.DrawFn) -> PiecewiseLinear:
    starts = sorted(draw(st.sets(st.integers(-3, 3), max_size=3)))
    numbers = st.integers(-2, 2)
    return PiecewiseLinear(
        tuple(Piece(None if s is None else fmpq(s), fmpq(draw(numbers)), fmpq(draw(numbers))) for s in [None, *starts])
    )


@given(st.lists(units(), max_size=3), st.data())
def test_units_are_continuous_from_the_right(functions: list[PiecewiseLinear], data: st.DataObject) -> None:
    near = st.builds(lambda n, e: n + Fraction(e, 10**30), st.integers(-4, 4), st.sampled_from([-1, 0, 1]))
    rows = [[data.draw(near) for _ in range(3)] for _ in functions]

    def value(unit: PiecewiseLinear, t: Fraction) -> Fraction:
        last = [p for p in unit.pieces if p.start is None or fraction(p.start) <= t][-1]
        return fraction(last.slope) * t + fraction(last.intercept)

    applied = matrix(rows, 3).apply_units(functions)
    assert applied.shape == (len(rows), 3)
    assert plain(applied) == [[value(u, t) for t in row] for u, row in zip(functions, rows, strict=True)]


def test_units_and_rows_must_match_in_number() -> None:
    unit = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)),))
    for count in (1, 3):
        with pytest.raises(ValueError, match="zip"):
            RationalMatrix.zeros(2, 1).apply_units([unit] * count)


def pieces(*starts: int | None, slope: int = 1) -> tuple[Piece, ...]:
    return tuple(Piece(None if s is None else fmpq(s), fmpq(slope), fmpq(0)) for s in starts)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ((), "the first piece to start at minus infinity"),
        ((0,), "the first piece to start at minus infinity"),
        ((None, None), "only the first piece to start at minus infinity"),
        ((None, 1, 1), "increasing starts, found 1 before 1"),
        ((None, 2, 1), "increasing starts, found 2 before 1"),
    ],
)
def test_starts_must_increase_from_minus_infinity(starts: tuple[int | None, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^pieces: expected {message}"):
        PiecewiseLinear(pieces(*starts))


def test_modified_class_of_units() -> None:
    constant = pieces(0, slope=0)
    assert PiecewiseLinear(pieces(None, slope=0)).in_modified_class
    assert PiecewiseLinear(pieces(None, -1) + constant).in_modified_class
    assert not PiecewiseLinear(pieces(None, -1)).in_modified_class  # none is constant
    assert not PiecewiseLinear(pieces(None, -2, -1) + constant).in_modified_class  # four pieces


def test_repr_reads_back() -> None:
    A = RationalMatrix.of([["1/3", -2], [0, BIG]])
    assert eval(repr(A), {"RationalMatrix": RationalMatrix}) == A
    assert RationalMatrix(fmpq_mat(1, 1, [fmpq(1, 3)])) == RationalMatrix.of([["1/3"]])
