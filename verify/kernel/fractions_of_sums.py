"""Vectors of exponential fractions: exponential sums over one denominator."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expsum import ExpSum, combine, exponential, read_exp_sum
from limits import DEADLINE
from rational import ONE, Scalar, Vector
from reading import Field
from vectors import entry

ZERO = Scalar(0, 1)
UNIT = exponential(ONE, ZERO)


@dataclass(frozen=True)
class Fractions:
    """Numerators over one denominator; where a file states it, the check wants it nonzero."""

    numerators: tuple[ExpSum, ...]
    denominator: ExpSum

    def along(self, row: Vector, offset: Scalar = ZERO) -> ExpSum:
        """row.(this vector) + offset, times the denominator."""
        return combine(row, self.numerators) + self.denominator.scaled(offset)


def constant(vector: Vector) -> Fractions:
    """A rational vector as one of fractions."""
    return Fractions(tuple(exponential(entry(vector, c), ZERO) for c in range(len(vector))), UNIT)


def product(sums: Iterable[ExpSum]) -> ExpSum:
    """The product of exponential sums."""
    result = UNIT
    for factor in sums:
        DEADLINE.check()
        result *= factor
    return result


def on_common_denominator(terms: Sequence[Fractions]) -> tuple[Fractions, ...]:
    """The same vectors over the product of all their denominators."""
    common = product(term.denominator for term in terms)
    result = []
    for i, term in enumerate(terms):
        others = product(other.denominator for j, other in enumerate(terms) if j != i)
        result.append(Fractions(tuple(numerator * others for numerator in term.numerators), common))
    return tuple(result)


def total(terms: Sequence[Fractions]) -> Fractions:
    """The sum of vectors of fractions, at least one, over the product of their denominators."""
    first, *others = on_common_denominator(terms)
    numerators = first.numerators
    for other in others:
        numerators = tuple(a + b for a, b in zip(numerators, other.numerators, strict=True))
    return Fractions(numerators, first.denominator)


def read_fractions(field: Field, length: int) -> Fractions:
    """{"numerators": [exponential sum, ...], "denominator": exponential sum}, of that length."""
    numerators, denominator = field.record("numerators", "denominator")
    return Fractions(tuple(map(read_exp_sum, numerators.items(length))), read_exp_sum(denominator))
