"""Rationals: matrices over Q on flint, and the exact conversions into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import TypeAlias

from flint import fmpq, fmpq_mat, fmpz

from constructions.numbers.matrix import Matrix, PiecewiseLinear, require_chain, require_columns, require_same_shape
from constructions.numbers.pivots import NoSolutionError, Pivots, UnluckyPrimeError, pivots, solve

RationalLike: TypeAlias = "int | str | Fraction | fmpz | fmpq"


def rational(value: RationalLike) -> fmpq:
    """The exact rational of an int, a Fraction, a flint number or a ``"p/q"`` / decimal string. Floats are refused.

    >>> rational("1/3"), rational("0.25"), rational(Fraction(-2, 4))
    (1/3, 1/4, -1/2)
    >>> rational(0.1)
    Traceback (most recent call last):
        ...
    TypeError: expected an exact number (int, Fraction, fmpq, "p/q"), found the float 0.1
    """
    if isinstance(value, fmpq):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, str, Fraction, fmpz)):
        raise TypeError(
            f'expected an exact number (int, Fraction, fmpq, "p/q"), found the {type(value).__name__} {value}'
        )
    if isinstance(value, str):
        value = Fraction(value)
    if isinstance(value, Fraction):
        return fmpq(value.numerator, value.denominator)
    return fmpq(value)


def decimal(x: fmpq) -> str:
    """An exact decimal fraction as a string.

    >>> decimal(fmpq(5, 4)), decimal(fmpq(1, 10**12))
    ('1.25', '0.000000000001')
    """
    digits, scaled = 0, x
    while scaled.q != 1:
        scaled *= 10
        digits += 1
        if digits > 4000:
            raise ValueError(f"{x} is not a decimal fraction")
    text = str(abs(int(scaled.p))).rjust(digits + 1, "0")
    whole, part = (text[: len(text) - digits], text[len(text) - digits :]) if digits else (text, "")
    return ("-" if x < 0 else "") + whole + ("." + part if part else "")


def vector(values: Iterable[RationalLike]) -> list[fmpq]:
    """A list of exact rationals.

    >>> vector([1, "1/2"])
    [1, 1/2]
    """
    return [rational(value) for value in values]


def dot(left: Sequence[fmpq], right: Sequence[fmpq]) -> fmpq:
    """The inner product of two vectors of one length.

    >>> dot(vector([1, 2]), vector(["1/2", 3]))
    13/2
    """
    if len(left) != len(right):
        raise ValueError(f"inner product: expected equal lengths, found {len(left)} and {len(right)}")
    return sum((a * b for a, b in zip(left, right, strict=True)), fmpq(0))


def column_vector(values: Sequence[RationalLike]) -> RationalMatrix:
    """The n×1 matrix of n numbers."""
    return RationalMatrix(fmpq_mat(len(values), 1, vector(values)))


class RationalMatrix(Matrix):
    """A matrix over Q (a thin, immutable cover of flint's ``fmpq_mat``).

    >>> W = RationalMatrix.of([[1, 2], [3, "1/2"]])
    >>> (W @ W).rows()
    [[7, 3], [9/2, 25/4]]
    """

    __slots__ = ("_pivots", "mat")

    def __init__(self, mat: fmpq_mat) -> None:
        self.mat = mat
        self._pivots: Pivots | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[RationalLike]], columns: int | None = None) -> RationalMatrix:
        """From rows of exact numbers; ``columns`` gives the width when there are no rows.

        Raises ValueError for ragged rows, TypeError for floats.
        """
        width = columns if columns is not None else len(rows[0]) if rows else 0
        for i, row in enumerate(rows):
            if len(row) != width:
                raise ValueError(f"row {i}: expected {width} entries, found {len(row)}")
        return cls(fmpq_mat(len(rows), width, [rational(x) for row in rows for x in row]))

    @classmethod
    def of_columns(cls, columns: Sequence[Sequence[RationalLike]]) -> RationalMatrix:
        """From columns (tokens) of exact numbers."""
        return cls.of(columns).T

    @classmethod
    def identity(cls, n: int) -> RationalMatrix:
        mat, one = fmpq_mat(n, n), fmpq(1)
        for i in range(n):
            mat[i, i] = one
        return cls(mat)

    @classmethod
    def zeros(cls, rows: int, columns: int) -> RationalMatrix:
        return cls(fmpq_mat(rows, columns))

    @property
    def shape(self) -> tuple[int, int]:
        return self.mat.nrows(), self.mat.ncols()

    def rows(self) -> list[list[fmpq]]:
        return [list(row) for row in self.mat.tolist()]

    def column(self, j: int) -> list[fmpq]:
        return [self.mat[i, j] for i in range(self.mat.nrows())]

    def __getitem__(self, position: tuple[int, int]) -> fmpq:
        return self.mat[position]

    def __matmul__(self, other: Matrix) -> Matrix:
        require_chain(self.shape, other.shape)
        if isinstance(other, RationalMatrix):
            return RationalMatrix(self.mat * other.mat)
        return NotImplemented  # the larger field multiplies from the right

    def times(self, other: RationalMatrix) -> RationalMatrix:
        """``self @ other`` for two rational matrices, typed as such."""
        require_chain(self.shape, other.shape)
        return RationalMatrix(self.mat * other.mat)

    def apply(self, values: Sequence[fmpq]) -> list[fmpq]:
        """The product with a vector, as a vector."""
        return self.times(column_vector(values)).column(0)

    def __add__(self, other: Matrix) -> Matrix:
        require_same_shape("sum", self.shape, other.shape)
        if isinstance(other, RationalMatrix):
            return RationalMatrix(self.mat + other.mat)
        return other + self

    def __sub__(self, other: RationalMatrix) -> RationalMatrix:
        require_same_shape("difference", self.shape, other.shape)
        return RationalMatrix(self.mat - other.mat)

    def scaled(self, factor: RationalLike) -> RationalMatrix:
        return RationalMatrix(self.mat * rational(factor))

    @property
    def T(self) -> RationalMatrix:
        return RationalMatrix(self.mat.transpose())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RationalMatrix):
            return NotImplemented  # the larger field decides
        return self.shape == other.shape and bool(self.mat == other.mat)

    def __hash__(self) -> int:
        return hash((self.shape, tuple(self.mat.entries())))

    def __repr__(self) -> str:
        return f"RationalMatrix.of({[[str(x) for x in row] for row in self.rows()]})"

    def columns(self, start: int, stop: int) -> RationalMatrix:
        require_columns(self.shape, start, stop)
        rows = range(self.mat.nrows())
        return RationalMatrix(
            fmpq_mat(len(rows), stop - start, [self.mat[i, j] for i in rows for j in range(start, stop)])
        )

    def hstack(self, other: RationalMatrix) -> RationalMatrix:
        """``[self, other]``: the columns of both, side by side."""
        if self.shape[0] != other.shape[0]:
            raise ValueError(f"stacking columns: left has {self.shape[0]} rows, right has {other.shape[0]}")
        joined = [x for pair in zip(self.mat.tolist(), other.mat.tolist(), strict=True) for row in pair for x in row]
        return RationalMatrix(fmpq_mat(self.shape[0], self.shape[1] + other.shape[1], joined))

    def repeated(self, counts: Sequence[int]) -> RationalMatrix:
        """Column j ``counts[j]`` times, side by side."""
        return RationalMatrix.of_columns([self.column(j) for j, n in enumerate(counts) for _ in range(n)])

    def rank(self) -> int:
        least = self.pivots.number
        return least if least == min(self.shape) else int(self.mat.rank())

    def inverse(self) -> RationalMatrix:
        """The inverse; ZeroDivisionError when singular."""
        return RationalMatrix(self.mat.inv())

    def nullspace(self) -> list[list[fmpq]]:
        """A basis of {x : self x = 0}, one vector per free column of the reduced row echelon form."""
        rows, width = self.shape
        if rows == 0:
            return RationalMatrix.identity(width).rows()
        if self.pivots.number == width:
            return []
        reduced, rank = self.mat.rref()
        pivots: list[int] = []
        for i in range(rank):
            pivots.append(next(j for j in range(pivots[-1] + 1 if pivots else 0, width) if reduced[i, j] != 0))
        basis = []
        pivotal = set(pivots)
        for free in (j for j in range(width) if j not in pivotal):
            x = [fmpq(0)] * width
            x[free] = fmpq(1)
            for i, pivot in enumerate(pivots):
                x[pivot] = -reduced[i, free]
            basis.append(x)
        return basis

    @property
    def pivots(self) -> Pivots:
        """Rows and columns of a largest minor modulo a prime."""
        if self._pivots is None:
            self._pivots = pivots(self.mat)
        return self._pivots

    @property
    def is_invertible(self) -> bool:
        """Whether the matrix is square and of full rank."""
        n, width = self.shape
        if n != width or self.pivots.number == n:
            return n == width
        # a column outside the pivots depends on theirs: one solution proves it
        free = next(j for j in range(n) if j not in set(self.pivots.columns))
        try:
            solve(self.mat, self.pivots, self.column(free))
        except (NoSolutionError, UnluckyPrimeError):
            return self.rank() == n
        return False

    def solve(self, right: Sequence[fmpq]) -> list[fmpq] | None:
        """One solution x of self x = right, or None when there is none (any shape, any rank)."""
        if len(right) != self.shape[0]:
            raise ValueError(f"right-hand side: left has {self.shape[0]} rows, right has {len(right)}")
        try:
            return solve(self.mat, self.pivots, right)
        except NoSolutionError:
            return None
        except UnluckyPrimeError:
            return self._eliminate(right)

    def _eliminate(self, right: Sequence[fmpq]) -> list[fmpq] | None:
        width = self.shape[1]
        reduced, rank = self.hstack(column_vector(right)).mat.rref()
        x = [fmpq(0)] * width
        for i in range(rank):
            pivot = next(j for j in range(width + 1) if reduced[i, j] != 0)
            if pivot == width:
                return None
            x[pivot] = reduced[i, width]
        return x

    def reaches(self, right: Sequence[fmpq]) -> bool:
        """Whether self x = right has a solution."""
        return self.pivots.number == self.shape[0] or self.solve(right) is not None

    def hardmax(self, visible: Callable[[int], int] | None = None) -> RationalMatrix:
        rows, width = self.shape
        result = fmpq_mat(rows, width)
        for j in range(width):
            seen = rows if visible is None else visible(j)
            column = self.column(j)[:seen]
            largest = max(column)
            winners = [i for i, x in enumerate(column) if x == largest]
            for i in winners:
                result[i, j] = fmpq(1, len(winners))
        return RationalMatrix(result)

    def relu(self) -> RationalMatrix:
        zero = fmpq(0)
        return RationalMatrix(fmpq_mat(*self.shape, [x if x > 0 else zero for x in self.mat.entries()]))

    def apply_units(self, units: Sequence[PiecewiseLinear]) -> RationalMatrix:
        rows = [[unit(x) for x in row] for unit, row in zip(units, self.rows(), strict=True)]
        return RationalMatrix.of(rows, columns=self.shape[1])
