"""Vectors of exponential fractions: exponential sums over one denominator."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expsum import ExpSum, combine, exponential, read_exp_sum
from limits import DEADLINE, Budget
from rational import ONE, Matrix, Scalar, Vector, common_denominator
from reading import Field
from vectors import entry

ZERO = Scalar(0, 1)
UNIT = exponential(ONE, ZERO)
TERM_BITS = 64  # what a term of a sum, or an entry of a table, takes at least


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


def on_common_denominator(terms: Sequence[Fractions], budget: Budget) -> tuple[Fractions, ...]:
    """The same vectors over the product of all their denominators; the budget is for all entries together."""
    common = product(term.denominator for term in terms)
    result = []
    for i, term in enumerate(terms):
        others = product(other.denominator for j, other in enumerate(terms) if j != i)
        numerators = []
        for numerator in term.numerators:
            numerators.append(numerator * others)
            for coefficient in numerators[-1].terms.values():
                budget.spend(TERM_BITS + coefficient.bit_length())
        result.append(Fractions(tuple(numerators), common))
    return tuple(result)


def total(terms: Sequence[Fractions]) -> Fractions:
    """The sum of vectors of fractions, at least one, over the product of their denominators."""
    first, *others = on_common_denominator(terms, Budget())
    numerators = first.numerators
    for other in others:
        numerators = tuple(a + b for a, b in zip(numerators, other.numerators, strict=True))
    return Fractions(numerators, first.denominator)


def tabulated(sums: Sequence[ExpSum], budget: Budget) -> tuple[Matrix, Vector]:
    """A row of coefficients for each exponent, one for each of the sums, and the exponents."""
    exponent_den = coefficient_den = 1
    for one in sums:
        _, _, exponent_den = common_denominator(exponent_den, one.exponent_den)
        _, _, coefficient_den = common_denominator(coefficient_den, one.coefficient_den)
    table: dict[int, list[int]] = {}
    for k, one in enumerate(sums):
        e, c = exponent_den // one.exponent_den, coefficient_den // one.coefficient_den
        for exponent, coefficient in one.terms.items():
            if e * exponent not in table:
                table[e * exponent] = [0] * len(sums)
                budget.spend(TERM_BITS * len(sums))
            table[e * exponent][k] = c * coefficient
            budget.spend((c * coefficient).bit_length())
    rows = tuple(map(tuple, table.values()))
    return Matrix(rows, coefficient_den, len(sums)), Vector(tuple(table), exponent_den)


def read_fractions(field: Field, length: int) -> Fractions:
    """{"numerators": [exponential sum, ...], "denominator": exponential sum}, of that length."""
    numerators, denominator = field.record("numerators", "denominator")
    return Fractions(tuple(map(read_exp_sum, numerators.items(length))), read_exp_sum(denominator))
