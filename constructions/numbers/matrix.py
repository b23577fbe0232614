"""The interface that every kind of matrix offers to the transformer.

A matrix of rationals, of exponential fractions or of balls can be multiplied by weights, added, and passed through
hardmax and piecewise-linear units; softmax, which may change the field, is a function of its own
(:mod:`~constructions.numbers.softmax`). What a field cannot carry raises
:class:`FieldError`; what balls cannot decide at their precision raises
:class:`~constructions.verdict.Undecided`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from flint import fmpq


class FieldError(ArithmeticError):
    """An operation whose result leaves the field, with the field to use instead."""


@dataclass(frozen=True)
class Piece:
    """The affine piece ``slope*t + intercept`` on ``[start, next start)``; ``start`` None is minus infinity."""

    start: fmpq | None
    slope: fmpq
    intercept: fmpq


@dataclass(frozen=True)
class PiecewiseLinear:
    """A piecewise-linear function of one real, possibly discontinuous, continuous from the right.

    Raises ValueError unless the first piece starts at minus infinity and the starts increase.
    Source: THEORY section 0, class T̄ (at most 3 pieces, one of them constant).

    >>> step = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(1), fmpq(0), fmpq(2))))
    >>> step(fmpq(1)), step(fmpq(1, 2))
    (2, 0)
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        starts = [piece.start for piece in self.pieces]
        if not starts or starts[0] is not None:
            raise ValueError("pieces: expected the first piece to start at minus infinity (null)")
        if None in starts[1:]:
            raise ValueError("pieces: expected only the first piece to start at minus infinity (null)")
        finite = [start for start in starts if start is not None]
        for left, right in pairwise(finite):
            if not left < right:
                raise ValueError(f"pieces: expected increasing starts, found {left} before {right}")

    def __call__(self, t: fmpq) -> fmpq:
        piece = self.pieces[0]
        for candidate in self.pieces[1:]:
            if candidate.start is not None and t >= candidate.start:
                piece = candidate
        return piece.slope * t + piece.intercept

    @property
    def in_modified_class(self) -> bool:
        """At most three pieces, at least one of them constant (THEORY section 0)."""
        return len(self.pieces) <= 3 and any(piece.slope == 0 for piece in self.pieces)


class Matrix(ABC):
    """A matrix over one field; columns are tokens. ``A @ B`` coerces to the larger field: rationals ⊂ exponentials ⊂
    balls."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @abstractmethod
    def __matmul__(self, other: Matrix) -> Matrix: ...

    @abstractmethod
    def __add__(self, other: Matrix) -> Matrix: ...

    @property
    @abstractmethod
    def T(self) -> Self: ...

    @abstractmethod
    def __getitem__(self, position: tuple[int, int]) -> Any: ...

    @abstractmethod
    def columns(self, start: int, stop: int) -> Self:
        """Columns ``start`` to ``stop - 1`` as a matrix; ValueError for columns that are not there."""

    @abstractmethod
    def hardmax(self, visible: Callable[[int], int] | None = None) -> Matrix:
        """Column by column, the uniform law on the largest visible entries."""

    @abstractmethod
    def relu(self) -> Self:
        """max(entry, 0), entry by entry."""

    @abstractmethod
    def apply_units(self, units: Sequence[PiecewiseLinear]) -> Self:
        """Row i through ``units[i]``."""


def require_same_shape(operation: str, left: tuple[int, int], right: tuple[int, int]) -> None:
    if left != right:
        raise ValueError(f"{operation}: expected equal shapes, found {left[0]}×{left[1]} and {right[0]}×{right[1]}")


def require_columns(shape: tuple[int, int], start: int, stop: int) -> None:
    if not 0 <= start <= stop <= shape[1]:
        raise ValueError(f"columns: expected a range within the {shape[1]} columns, found {start} to {stop}")


def require_chain(left: tuple[int, int], right: tuple[int, int]) -> None:
    if left[1] != right[0]:
        raise ValueError(
            f"product: left has {left[1]} columns, right has {right[0]} rows "
            f"({left[0]}×{left[1]} @ {right[0]}×{right[1]})"
        )
