"""Numbers rounded upwards, so that they stay short whatever many layers make of them; and comparisons."""

from math import gcd, isqrt

from fractions_of_sums import ZERO
from rational import GCD_BITS, Scalar, Vector

KEPT = 1024  # bits of numerator or denominator up to which a number stays as it is
BITS = 128  # significant bits that are kept: the relative error is below 2^-126


def at_most(a: Scalar, b: Scalar) -> bool:
    """a <= b."""
    return (b - a).sign() >= 0


def below(a: Scalar, b: Scalar) -> bool:
    """a < b."""
    return (b - a).sign() > 0


def larger(a: Scalar, b: Scalar) -> Scalar:
    """The larger of two numbers."""
    return b if at_most(a, b) else a


def smaller(a: Scalar, b: Scalar) -> Scalar:
    """The smaller of two numbers."""
    return a if at_most(a, b) else b


def _bits(value: Scalar) -> int:
    return max(value.num.bit_length(), value.den.bit_length())


def _reduced(value: Scalar) -> Scalar:
    """In lowest terms, unless the number is long."""
    shared = gcd(value.num, value.den) if _bits(value) <= GCD_BITS else 1
    return Scalar(value.num // shared, value.den // shared)


def rounded_up(value: Scalar) -> Scalar:
    """The number itself if it is short, else one above it of about BITS significant bits."""
    value = _reduced(value)
    if _bits(value) <= KEPT:
        return value
    shift = BITS - value.num.bit_length() + value.den.bit_length()
    if shift < 0:
        return Scalar(-(-value.num // (value.den << -shift)) << -shift, 1)
    return Scalar(-((-value.num << shift) // value.den), 1 << shift)


def rounded_down(value: Scalar) -> Scalar:
    """The same from below."""
    return -rounded_up(-value)


def root_above(value: Scalar) -> Scalar:
    """The square root of a number >= 0, rounded upwards; exactly where it is rational and not long."""
    value = _reduced(value) if _bits(value) <= GCD_BITS else rounded_up(value)
    num, den = value.num, value.den
    if num == 0:
        return ZERO
    if _bits(value) <= GCD_BITS:
        roots = isqrt(num), isqrt(den)
        if (roots[0] ** 2, roots[1] ** 2) == (num, den):
            return rounded_up(Scalar(*roots))
    # The least r with (r / 2^shift)^2 >= num / den.
    shift = BITS + (den.bit_length() - num.bit_length()) // 2 + 1
    if shift < 0:
        return rounded_up(Scalar(_root(-(-num // (den << -2 * shift))) << -shift, 1))
    return rounded_up(Scalar(_root(-((-num << 2 * shift) // den)), 1 << shift))


def _root(number: int) -> int:
    """The least root r >= sqrt(number), for a number above 0."""
    return isqrt(number - 1) + 1


def square(value: Scalar) -> Scalar:
    """value^2."""
    return value * value


def length_above(vector: Vector) -> Scalar:
    """The Euclidean length, rounded upwards."""
    return root_above(vector.dot(vector))


def whole(number: int) -> Scalar:
    """An integer as a scalar."""
    return Scalar(number, 1)
