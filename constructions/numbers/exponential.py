"""The exponential field Frac(Q[e^q : q ∈ Q]), where the outputs of one softmax layer live.

Elements are fractions of sums ``Σ c_k e^{q_k}`` with rational c_k and q_k. By Lindemann-Weierstrass the e^{q_k} for
distinct rational q_k are linearly independent over Q: a sum is zero exactly when all merged coefficients are, so
equality is decidable, and so is the sign (refine an enclosure until it excludes zero, which ends because zero was
ruled out first). Source: THEORY section 0, "Numbers".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd
from typing import TypeAlias

import flint
from flint import arb, fmpq, fmpq_mpoly, fmpq_mpoly_ctx

from constructions.numbers.rational import RationalLike, rational
from constructions.verdict import Undecided

SIGN_PRECISION_CAP = 1 << 20
"""Bits of working precision past which a sign is given up (never reached by numbers of a human size)."""


def midpoint(ball: arb) -> fmpq:
    """The midpoint of a ball, exactly (a guess at the value, not a bound)."""
    mantissa, exponent = ball.mid().man_exp()
    power = fmpq(2) ** abs(int(exponent))
    return fmpq(mantissa) * power if exponent >= 0 else fmpq(mantissa) / power


class ExpSum:
    """An element ``Σ c_k e^{q_k}`` of the exponential ring, stored as {q_k: c_k} without zero coefficients.

    >>> e = ExpSum.exp(1)
    >>> (e + 1) * (e - 1) == ExpSum.exp(2) - 1
    True
    >>> (e - 3).sign()
    -1
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[fmpq, fmpq]) -> None:
        self.terms: dict[fmpq, fmpq] = {q: c for q, c in terms.items() if c != 0}

    @classmethod
    def of(cls, value: RationalLike | ExpSum) -> ExpSum:
        return value if isinstance(value, ExpSum) else cls({fmpq(0): rational(value)})

    @classmethod
    def exp(cls, exponent: RationalLike) -> ExpSum:
        """The element e^exponent, for a rational exponent."""
        return cls({rational(exponent): fmpq(1)})

    @classmethod
    def weighted(cls, coefficients: Sequence[fmpq], exponents: Sequence[fmpq]) -> ExpSum:
        """``Σ coefficients[k] e^{exponents[k]}``, equal exponents merged."""
        terms: dict[fmpq, fmpq] = {}
        for c, q in zip(coefficients, exponents, strict=True):
            terms[q] = terms[q] + c if q in terms else c
        return cls(terms)

    @classmethod
    def combination(cls, coefficients: Sequence[fmpq], sums: Sequence[ExpSum]) -> ExpSum:
        """``Σ coefficients[k] sums[k]``."""
        terms: dict[fmpq, fmpq] = {}
        for c, x in zip(coefficients, sums, strict=True):
            if c != 0:
                for q, b in x.terms.items():
                    terms[q] = terms[q] + c * b if q in terms else c * b
        return cls(terms)

    def __add__(self, other: ExpSum | RationalLike) -> ExpSum:
        terms = dict(self.terms)
        for q, c in ExpSum.of(other).terms.items():
            terms[q] = terms[q] + c if q in terms else c
        return ExpSum(terms)

    __radd__ = __add__

    def __neg__(self) -> ExpSum:
        return ExpSum({q: -c for q, c in self.terms.items()})

    def __sub__(self, other: ExpSum | RationalLike) -> ExpSum:
        return self + (-ExpSum.of(other))

    def __mul__(self, other: ExpSum | RationalLike) -> ExpSum:
        if not isinstance(other, ExpSum):
            factor = rational(other)
            return ExpSum({q: c * factor for q, c in self.terms.items()})
        if len(self.terms) * len(other.terms) > _SPARSE_FROM:
            return _sparse_product(self, other)
        right = other.terms
        terms: dict[fmpq, fmpq] = {}
        for q, c in self.terms.items():
            for r, b in right.items():
                s = q + r
                terms[s] = terms[s] + c * b if s in terms else c * b
        return ExpSum(terms)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExpSum) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        return " + ".join(f"{c}*e^({q})" for q, c in sorted(self.terms.items())) or "0"

    @property
    def is_zero(self) -> bool:
        return not self.terms

    def as_rational(self) -> fmpq | None:
        """The rational value, or None when the element is not rational."""
        if self.is_zero:
            return fmpq(0)
        return self.terms[fmpq(0)] if len(self.terms) == 1 and fmpq(0) in self.terms else None

    def enclosure(self) -> arb:
        """A ball that contains the value, at flint's current precision."""
        return enclosures([self])[0]

    def approximate(self, reference: fmpq, bits: int) -> fmpq:
        """``self · e^{−reference}`` as a nearby rational with denominator 2^bits: a guess for searches, not a bound."""
        with flint.ctx.workprec(bits + 64):
            value = midpoint(ExpSum({q - reference: c for q, c in self.terms.items()}).enclosure())
        power = fmpq(2) ** bits
        return fmpq((value * power).floor()) / power

    def sign(self) -> int:
        """-1, 0 or 1, exactly. Raises Undecided only past :data:`SIGN_PRECISION_CAP` bits."""
        if self.is_zero:
            return 0
        positive = [c > 0 for c in self.terms.values()]
        if all(positive):
            return 1
        if not any(positive):
            return -1
        largest = max(self.terms)
        scaled = ExpSum({q - largest: c for q, c in self.terms.items()})
        precision = 64
        while precision <= SIGN_PRECISION_CAP:
            with flint.ctx.workprec(precision):
                ball = scaled.enclosure()
                if ball > 0:
                    return 1
                if ball < 0:
                    return -1
            precision *= 2
        raise Undecided(
            f"the sign of an exponential sum of {len(self.terms)} terms needs more than {SIGN_PRECISION_CAP} bits"
        )


_SPARSE_FROM = 64
"""Number of products of terms from which flint's sparse polynomials are faster than a dictionary."""

_POLYNOMIALS = fmpq_mpoly_ctx.get(["x"])


def enclosures(values: Sequence[ExpSum]) -> list[arb]:
    """A ball around each value, at flint's current precision; the exponential of each exponent is taken once.

    >>> [float(x) for x in enclosures([ExpSum.of(2), ExpSum.exp(0) + ExpSum.of(2)])]
    [2.0, 3.0]
    """
    exps = {q: arb(q).exp() for q in dict.fromkeys(q for value in values for q in value.terms)}
    return [sum((arb(c) * exps[q] for q, c in value.terms.items()), arb(0)) for value in values]


def _polynomials(sums: Sequence[ExpSum]) -> tuple[list[fmpq_mpoly], tuple[fmpq, fmpq]]:
    """Sums as polynomials in x = e^{unit}, each times e^{−least}; (unit, least) make all exponents natural numbers."""
    exponents = [q for x in sums for q in x.terms]
    denominator = 1
    for q in exponents:
        denominator = denominator * int(q.q) // gcd(denominator, int(q.q))
    least = min(exponents, default=fmpq(0))
    scaled: list[dict[tuple[int, ...], fmpq]] = [
        {(int(((q - least) * denominator).p),): c for q, c in x.terms.items()} for x in sums
    ]
    return [_POLYNOMIALS.from_dict(terms) for terms in scaled], (fmpq(1, denominator), least)


def _sparse_product(left: ExpSum, right: ExpSum) -> ExpSum:
    (a, b), (unit, least) = _polynomials((left, right))
    return ExpSum({2 * least + unit * int(power): c for (power,), c in (a * b).to_dict().items()})


ExpLike: TypeAlias = "RationalLike | ExpSum | ExpFraction"


class ExpFraction:
    """An element of Frac(E): numerator over a positive denominator.

    >>> third = ExpFraction(ExpSum.exp(1), ExpSum.exp(1) * 3)
    >>> third == ExpFraction.of("1/3"), third < ExpFraction.of("1/2")
    (True, True)
    """

    __slots__ = ("denominator", "numerator")

    def __init__(self, numerator: ExpSum, denominator: ExpSum | None = None) -> None:
        if denominator is None:
            denominator = ExpSum.of(1)
        sign = denominator.sign()
        if sign == 0:
            raise ZeroDivisionError("an exponential fraction with denominator zero")
        self.numerator = numerator if sign > 0 else -numerator
        self.denominator = denominator if sign > 0 else -denominator

    @classmethod
    def over(cls, numerator: ExpSum, positive: ExpSum) -> ExpFraction:
        """numerator / positive, for a denominator that is known to be positive."""
        fraction = cls.__new__(cls)
        fraction.numerator, fraction.denominator = numerator, positive
        return fraction

    @classmethod
    def of(cls, value: ExpLike) -> ExpFraction:
        return value if isinstance(value, ExpFraction) else cls(ExpSum.of(value))

    def __add__(self, other: ExpLike) -> ExpFraction:
        right = ExpFraction.of(other)
        if self.denominator == right.denominator:
            return ExpFraction(self.numerator + right.numerator, self.denominator)
        return ExpFraction(
            self.numerator * right.denominator + right.numerator * self.denominator,
            self.denominator * right.denominator,
        )

    __radd__ = __add__

    def __neg__(self) -> ExpFraction:
        return ExpFraction(-self.numerator, self.denominator)

    def __sub__(self, other: ExpLike) -> ExpFraction:
        return self + (-ExpFraction.of(other))

    def __rsub__(self, other: ExpLike) -> ExpFraction:
        return -self + other

    def __mul__(self, other: ExpLike) -> ExpFraction:
        if not isinstance(other, (ExpFraction, ExpSum)):
            return ExpFraction(self.numerator * other, self.denominator)
        right = ExpFraction.of(other)
        return ExpFraction(self.numerator * right.numerator, self.denominator * right.denominator)

    __rmul__ = __mul__

    def __truediv__(self, other: ExpLike) -> ExpFraction:
        right = ExpFraction.of(other)
        return ExpFraction(self.numerator * right.denominator, self.denominator * right.numerator)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExpFraction):
            return NotImplemented
        if self.denominator == other.denominator:
            return self.numerator == other.numerator
        (a, b, c, d), _ = _polynomials((self.numerator, other.denominator, other.numerator, self.denominator))
        return bool(a * b == c * d)

    __hash__ = None  # type: ignore[assignment]  # equal fractions have many representations

    def __lt__(self, other: ExpLike) -> bool:
        return (self - other).sign() < 0

    def __gt__(self, other: ExpLike) -> bool:
        return (self - other).sign() > 0

    def __repr__(self) -> str:
        return f"({self.numerator}) / ({self.denominator})"

    def sign(self) -> int:
        """-1, 0 or 1, exactly."""
        return self.numerator.sign()

    def as_rational(self) -> fmpq | None:
        """The rational value, or None when the element is not rational."""
        exponents = self.denominator.terms
        q = next(iter(exponents))
        ratio = self.numerator.terms.get(q, fmpq(0)) / exponents[q]
        return ratio if self.numerator == self.denominator * ratio else None

    def enclosure(self) -> arb:
        """A ball that contains the value, at flint's current precision."""
        largest = max(self.denominator.terms)
        shift = ExpSum.exp(-largest)
        return (self.numerator * shift).enclosure() / (self.denominator * shift).enclosure()
