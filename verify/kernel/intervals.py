"""Intervals of numbers with a fixed number of bits after the point, rounded outwards; all in integers."""

from collections.abc import Iterable
from dataclasses import dataclass

from expsum import enclose_exp
from limits import DEADLINE
from rational import Scalar, Vector

TOO_COARSE = "the precision is too low for the sizes of the masses"


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers x with lo <= 2^bits x <= hi. Both operands of an operation have the same bits."""

    lo: int
    hi: int
    bits: int

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.lo + other.lo, self.hi + other.hi, self.bits)

    def __neg__(self) -> "Interval":
        return Interval(-self.hi, -self.lo, self.bits)

    def __sub__(self, other: "Interval") -> "Interval":
        return Interval(self.lo - other.hi, self.hi - other.lo, self.bits)

    def __mul__(self, other: "Interval") -> "Interval":
        a, b, c, d = self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi
        return Interval(min(a, b, c, d) >> self.bits, -(-max(a, b, c, d) >> self.bits), self.bits)

    def square(self) -> "Interval":
        """x^2, not below 0."""
        smallest, largest = self.clipped().lo + (-self).clipped().lo, self.magnitude()
        return Interval(smallest * smallest >> self.bits, -(-largest * largest >> self.bits), self.bits)

    def over(self, divisor: "Interval") -> "Interval":
        """The quotient by positive numbers."""
        if divisor.lo <= 0:
            raise ValueError("a quotient by numbers that may be 0")
        lo = (self.lo << self.bits) // (divisor.hi if self.lo >= 0 else divisor.lo)
        hi = -((-self.hi << self.bits) // (divisor.lo if self.hi >= 0 else divisor.hi))
        return Interval(lo, hi, self.bits)

    def scaled(self, factor: Scalar) -> "Interval":
        """The product with a rational number."""
        ends = self.lo * factor.num, self.hi * factor.num
        return Interval(min(ends) // factor.den, -(-max(ends) // factor.den), self.bits)

    def clipped(self) -> "Interval":
        """max(0, x)."""
        return Interval(max(self.lo, 0), max(self.hi, 0), self.bits)

    def magnitude(self) -> int:
        """The largest of 2^bits |x|."""
        return max(-self.lo, self.hi)


def exactly(value: int, bits: int) -> Interval:
    """The number value / 2^bits."""
    return Interval(value, value, bits)


def total(terms: Iterable[Interval], bits: int) -> Interval:
    """The sum."""
    pairs = [(term.lo, term.hi) for term in terms]
    return Interval(sum(lo for lo, _ in pairs), sum(hi for _, hi in pairs), bits)


def enclosed(value: Scalar, bits: int) -> Interval:
    """A rational number."""
    return Interval((value.num << bits) // value.den, -((-value.num << bits) // value.den), bits)


def enclosed_exp(exponent: Scalar, bits: int) -> Interval:
    """e^exponent."""
    DEADLINE.check()
    return Interval(*enclose_exp(exponent.num, exponent.den, bits), bits)


def enclosed_exps(exponents: Vector, reference: Scalar, bits: int) -> list[Interval]:
    """e^{exponent - reference} for each exponent."""
    return [enclosed_exp(Scalar(n, exponents.den) - reference, bits) for n in exponents.num]
