"""How the strategies read their arguments: what is not valid is refused in one line, before anything is drawn where
that is possible."""

from __future__ import annotations

from typing import Any, TypeAlias

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from constructions.numbers.rational import RationalLike, rational

Size: TypeAlias = "int | SearchStrategy[int]"
"""A whole number, or a strategy for one."""


def invalid(name: str, expected: str, found: object) -> InvalidArgument:
    """The error for an argument that cannot be used."""
    return InvalidArgument(f"{name}: expected {expected}, found {found!r}")


def sizes(name: str, size: Size | None, default: SearchStrategy[int], *, least: int = 1) -> SearchStrategy[int]:
    """A strategy for a size of at least ``least``; a fixed size is checked now, a drawn one when it is drawn."""
    if size is None:
        return default
    if isinstance(size, SearchStrategy):
        return size.map(lambda n: whole(f"{name} (drawn)", n, least=least))
    return st.just(whole(name, size, least=least))


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """A whole number in bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise invalid(name, f"a whole number of at least {least}" + (f" and at most {most}" if most else ""), value)
    return value


def whole_range(names: tuple[str, str], low: Any, high: Any, *, least: int) -> tuple[int, int]:
    """Two bounds of a whole number, in order."""
    return whole(names[0], low, least=least), whole(f"{names[1]} ({names[0]} is {low})", high, least=max(low, least))


def exact(name: str, value: Any, *, least: int | None = None) -> fmpq:
    """An exact rational number, at least ``least``."""
    try:
        number = rational(value)
    except (TypeError, ValueError, ZeroDivisionError):
        raise invalid(name, 'an exact number (int, Fraction, fmpq, "p/q")', value) from None
    if least is not None and number < least:
        raise invalid(name, f"at least {least}", value)
    return number


def elements_or(
    elements: SearchStrategy[RationalLike] | None, default: SearchStrategy[fmpq], name: str = "elements"
) -> SearchStrategy[fmpq]:
    """A strategy for exact numbers, whatever kind of exact number the given one draws."""
    if elements is None:
        return default
    if not isinstance(elements, SearchStrategy):
        raise invalid(name, "a strategy for exact numbers", elements)
    return elements.map(lambda value: exact(f"{name} (drawn)", value))


def one_of_kinds(name: str, value: Any, kinds: tuple[Any, ...]) -> None:
    if value not in kinds:
        raise invalid(name, " or ".join(map(repr, kinds)), value)
