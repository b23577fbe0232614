"""Exponential sums: the numbers sum of c_k e^{q_k} with rational c_k, q_k; exact equality and sign.

By the theorem of Lindemann and Weierstrass the e^{q} for different rational q are linearly independent
over the rationals. So a sum is zero exactly when nothing is left after adding terms with equal exponents;
and any other has a sign that shows once it is enclosed narrowly enough.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isqrt

import limits
from limits import DEADLINE, Budget, OverLimits
from rational import Scalar, Vector, common_denominator, read_vector
from reading import Field


def enclose_exp(num: int, den: int, precision: int) -> tuple[int, int]:
    """Integers lo <= 2^precision e^x <= hi for x = num/den, den > 0, x at most 2^16.

    With p bits of working precision and k halvings put t = |x| / 2^k and u = floor(2^p t); k is such that
    t < 1/2. The Taylor terms of e^{u/2^p} are computed with T_0 = 2^p, T_{n+1} = floor(T_n u / (2^p (n+1))),
    up to the first that is zero, T_N. None is above the true term, and its error e_n, where e_0 = 0 and
    e_{n+1} <= e_n/2 + 1, is below 2. The true term N is therefore below 2, and so is all that follows it
    (each term is at most half of the one before). With L the sum of the T_n: L <= 2^p e^{u/2^p} < L + 2N + 2.
    Finally t < (u+1)/2^p, and e^{(u+1)/2^p} - e^{u/2^p} <= e^{(u+1)/2^p}/2^p < 2/2^p. Hence

        L <= 2^p e^t < L + 2N + 4.

    From here on only enclosures, each rounded outwards: the reciprocal for x < 0, k squarings (of positive
    numbers), and the return to the precision asked for.
    """
    if num == 0:
        return 1 << precision, 1 << precision
    size = abs(num)
    if num < 0 and size > precision * den:
        return 0, 1  # e^{-precision} < 2^{-precision}
    if size > limits.MAX_PRECISION * den:
        raise OverLimits(f"the exponential of a number above {limits.MAX_PRECISION}")
    whole = size // den
    halvings = whole.bit_length() + isqrt(precision) // 2 + 1
    # Each squaring doubles the relative error, and for x > 0 the numbers grow to e^x < 2^{2 whole + 2}.
    bits = precision + halvings + precision.bit_length() + 8 + (2 * whole + 2 if num > 0 else 0)

    u = (size << bits) // (den << halvings)
    low = term = 1 << bits
    steps = 0
    while term:
        steps += 1
        term = (term * u >> bits) // steps
        low += term
    high = low + 2 * steps + 4
    if num < 0:
        low, high = (1 << 2 * bits) // high, (1 << 2 * bits) // low + 1
    for _ in range(halvings):
        low, high = low * low >> bits, -(-high * high >> bits)
    return low >> bits - precision, -(-high >> bits - precision)


def precisions() -> Iterator[int]:
    """The working precisions to try, one after the other."""
    precision = 64
    while precision <= limits.MAX_PRECISION:
        yield precision
        precision *= 2


@dataclass(frozen=True)
class ExpSum:
    """Sum of c/coefficient_den * e^{q/exponent_den} over the items q: c of `terms`, all c nonzero."""

    terms: dict[int, int]
    exponent_den: int
    coefficient_den: int

    def is_zero(self) -> bool:
        """Exactly zero, by Lindemann and Weierstrass."""
        return not self.terms

    def sign(self) -> int:
        """-1, 0 or 1; `OverLimits` if the sign of a nonzero sum does not show at the highest precision."""
        if self.is_zero():
            return 0
        top = max(self.terms)  # divided by its largest exponential, every one is in (0, 1]
        for precision in precisions():
            low, high = self.enclosed(top, precision)
            if low > 0:
                return 1
            if high < 0:
                return -1
        raise OverLimits(f"the sign of an exponential sum does not show at {limits.MAX_PRECISION} bits")

    def enclosed(self, top: int, precision: int) -> tuple[int, int]:
        """Bounds of 2^precision coefficient_den e^{-top/exponent_den} times the sum."""
        low = high = 0
        for exponent, coefficient in self.terms.items():
            DEADLINE.check()
            below, above = enclose_exp(exponent - top, self.exponent_den, precision)
            if coefficient < 0:
                below, above = above, below
            low += coefficient * below
            high += coefficient * above
        return low, high

    def __add__(self, other: "ExpSum") -> "ExpSum":
        # Factors that bring both to common denominators.
        e, f, exponent_den = common_denominator(self.exponent_den, other.exponent_den)
        c, d, coefficient_den = common_denominator(self.coefficient_den, other.coefficient_den)

        def pairs() -> Iterator[tuple[int, int]]:
            yield from ((e * exponent, c * coefficient) for exponent, coefficient in self.terms.items())
            yield from ((f * exponent, d * coefficient) for exponent, coefficient in other.terms.items())

        return ExpSum(_merge(pairs()), exponent_den, coefficient_den)

    def __neg__(self) -> "ExpSum":
        return self.scaled(Scalar(-1, 1))

    def __sub__(self, other: "ExpSum") -> "ExpSum":
        return self + -other

    def __mul__(self, other: "ExpSum") -> "ExpSum":
        e, f, exponent_den = common_denominator(self.exponent_den, other.exponent_den)
        pairs = ((e * p + f * q, c * d) for p, c in self.terms.items() for q, d in other.terms.items())
        return ExpSum(_merge(pairs), exponent_den, self.coefficient_den * other.coefficient_den)

    def scaled(self, factor: Scalar) -> "ExpSum":
        """The product with a rational number."""
        pairs = ((exponent, factor.num * coefficient) for exponent, coefficient in self.terms.items())
        return ExpSum(_merge(pairs), self.exponent_den, self.coefficient_den * factor.den)

    def equals(self, other: "ExpSum") -> bool:
        """Exact equality."""
        return (self - other).is_zero()


def _merge(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Add terms with equal exponents, drop those that vanish, within the limits on computed objects."""
    terms: dict[int, int] = {}
    budget = Budget()
    for exponent, coefficient in pairs:
        old = terms.get(exponent)
        new = coefficient if old is None else old + coefficient
        budget.spend(exponent.bit_length() if old is None else -old.bit_length())
        budget.spend(new.bit_length())
        terms[exponent] = new
    return {exponent: coefficient for exponent, coefficient in terms.items() if coefficient}


def exp_sum(coefficients: Vector, exponents: Vector) -> ExpSum:
    """The sum of coefficient times e^exponent over two vectors of one length."""
    return ExpSum(_merge(zip(exponents.num, coefficients.num, strict=True)), exponents.den, coefficients.den)


def exponential(coefficient: Scalar, exponent: Scalar) -> ExpSum:
    """The single term c e^q."""
    return exp_sum(Vector((coefficient.num,), coefficient.den), Vector((exponent.num,), exponent.den))


def combine(matrix_row: Vector, sums: tuple[ExpSum, ...]) -> ExpSum:
    """The inner product of a rational vector and a vector of exponential sums."""
    total = exp_sum(Vector((), 1), Vector((), 1))
    for number, term in zip(matrix_row.num, sums, strict=True):
        if number:
            total += term.scaled(Scalar(number, matrix_row.den))
    return total


def read_exp_sum(field: Field) -> ExpSum:
    """{"coefficients": vector, "exponents": vector}."""
    coefficients, exponents = field.record("coefficients", "exponents")
    powers = read_vector(exponents)
    return exp_sum(read_vector(coefficients, len(powers)), powers)
