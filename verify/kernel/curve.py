"""Curves A s + b + gamma e^{-s}, and upper bounds of them between ends: the leaf rule of the certificate format."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from expsum import ExpSum, exponential
from limits import DEADLINE, Refuted, demand
from mass_equation import ZERO
from rational import ONE, Scalar, read_scalar
from reading import Field

Ends = tuple[Scalar | None, Scalar | None]  # None: no bound on that side
NOTHING = ExpSum({}, 1, 1)


def rational(value: Scalar) -> ExpSum:
    """A rational number as an exponential sum."""
    return exponential(value, ZERO)


@dataclass(frozen=True)
class Curve:
    """h(s) = A s + b + gamma e^{-s}: convex for gamma >= 0, concave for gamma <= 0."""

    A: Scalar
    b: Scalar
    gamma: ExpSum

    def at(self, s: Scalar) -> ExpSum:
        """h(s)."""
        return rational(self.A * s + self.b) + self._decayed(s)

    def upper(self, ends: Ends, tangent: Scalar | None, where: str) -> ExpSum:
        """A number that h does not exceed between the ends; `Refuted` if there is none by the rule that applies."""
        sign = self.gamma.sign()
        if tangent is not None:
            demand(sign < 0, f"{where}: a tangent of a curve that is not strictly concave")
            return self._below_tangent(ends, tangent, where)
        return self._convex(ends, sign, where) if sign >= 0 else self._in_parts(ends, where)

    def _convex(self, ends: Ends, sign: int, where: str) -> ExpSum:
        """The larger value at the ends. Without an end: h falls (A <= 0) towards it, or is a line (gamma = 0)."""
        low, high = ends
        demand(high is not None or self.A.sign() <= 0, f"{where}: no bound at infinity")
        demand(low is not None or (sign == 0 and self.A.sign() >= 0), f"{where}: no bound at minus infinity")
        if low is None and high is None:
            return rational(self.b)  # gamma = 0, A = 0
        return _largest(self.at, ends)

    def _in_parts(self, ends: Ends, where: str) -> ExpSum:
        """gamma < 0: A s is largest at one end, and gamma e^{-s} at the upper end, where without one it is below 0."""
        low, high = ends
        result = rational(self.b)
        if self.A.sign() != 0:
            end = high if self.A.sign() > 0 else low
            if end is None:
                raise Refuted(f"{where}: no bound at an infinite end")
            result += rational(self.A * end)
        return result if high is None else result + self._decayed(high)

    def _below_tangent(self, ends: Ends, c: Scalar, where: str) -> ExpSum:
        """The larger value of h(c) + h'(c) (s - c) at the ends; without an end, the line must not rise towards it."""
        low, high = ends
        value, slope = self.at(c), rational(self.A) - self._decayed(c)
        demand(low is not None or high is not None, f"{where}: a tangent without any end")
        demand(high is not None or slope.sign() <= 0, f"{where}: the tangent rises to infinity")
        demand(low is not None or slope.sign() >= 0, f"{where}: the tangent rises to minus infinity")
        return _largest(lambda s: value + slope.scaled(s - c), ends)

    def is_below_upper(self, ends: Ends, tangent: Scalar | None) -> bool:
        """Whether h is below `upper` (which exists) everywhere: the bound by parts, without an upper end, leaves out
        gamma e^{-s} < 0."""
        return tangent is None and ends[1] is None and self.gamma.sign() < 0

    def _decayed(self, s: Scalar) -> ExpSum:
        return self.gamma * exponential(ONE, -s)


def total_upper(curves: Iterable[Curve], box: Sequence[Ends], tangents: Sequence[Scalar | None], where: str) -> ExpSum:
    """A number that the sum of the curves, one for each group, does not exceed in the box."""
    total = NOTHING
    for g, (curve, ends, tangent) in enumerate(zip(curves, box, tangents, strict=True)):
        DEADLINE.check()
        total += curve.upper(ends, tangent, f"{where}, group {g}")
    return total


def _largest(function: Callable[[Scalar], ExpSum], ends: Ends) -> ExpSum:
    """The largest value at the ends that there are, at least one."""
    first, *others = [function(end) for end in ends if end is not None]
    for other in others:
        if (other - first).sign() > 0:
            return other
    return first


def read_tangents(field: Field, count: int) -> tuple[Scalar | None, ...]:
    """Where each curve is replaced by its tangent, or null."""
    return tuple(None if entry.is_null() else read_scalar(entry) for entry in field.items(count))
