"""What queries ask of the mass s and the output u of a prompt, and what the prompt law allows.

Query k is met iff s (u - a_k) = -C_k. Two queries give s (a_i - a_j) = C_i - C_j; in one coordinate this is the
equation s delta = gamma, with rational delta and an exponential sum gamma. If delta is not 0, it determines s, and
then g.u = x for x = g.a_i - g.C_i / s. Some prompt has this mass and output iff 1 <= s e^{-x} <= N.
"""

from dataclasses import dataclass

import limits
from expsum import ExpSum, combine, exponential, precisions
from intervals import Interval, enclosed, enclosed_exp
from limits import DEADLINE, OverLimits, demand
from prompt_setting import PromptSetting, context_difference
from rational import ONE, Scalar, Vector
from reading import Field

ZERO = Scalar(0, 1)


@dataclass(frozen=True)
class Place:
    """Coordinate c of the difference of queries i and j."""

    i: int
    j: int
    c: int


@dataclass(frozen=True)
class Equation:
    """s delta = gamma."""

    delta: Scalar
    gamma: ExpSum

    def mass_sign(self) -> int:
        """The sign of gamma/delta, for delta not 0."""
        return self.gamma.sign() * self.delta.sign()

    def whole_mass(self) -> int | None:
        """gamma/delta if that is an integer: for q = 0, where gamma is rational, and delta not 0."""
        if any(self.gamma.terms):
            raise ValueError("an exponential sum that is not rational")
        num = self.gamma.terms.get(0, 0) * self.delta.den
        den = self.gamma.coefficient_den * self.delta.num
        return None if num % den else num // den


@dataclass(frozen=True)
class Wish:
    """a and C of one query, for one preimage point."""

    a: Vector
    C: tuple[ExpSum, ...]


def wish(setting: PromptSetting, k: int, q: Vector, z: Vector) -> Wish:
    """What query k asks for, if z is meant to be its preimage point."""
    DEADLINE.check()
    a = z - setting.queries[k].token
    return Wish(a, context_difference(setting.head, setting.queries[k], q, a))


@dataclass(frozen=True)
class Wishes:
    """Those of all queries at once; g, if there is one, has V^T g = q (checked by whoever makes this)."""

    wishes: tuple[Wish, ...]
    g: Vector | None
    length: int | None
    names: tuple[str, str] = ("query", "queries")

    def equation(self, place: Place) -> Equation:
        """The equation in one place."""
        first, second = self.wishes[place.i], self.wishes[place.j]
        delta = first.a - second.a
        return Equation(Scalar(delta.num[place.c], delta.den), first.C[place.c] - second.C[place.c])

    def demand_any_mass(self, where: str) -> None:
        """All queries ask for the same a and C."""
        first = self.wishes[0]
        for k, other in enumerate(self.wishes):
            demand((other.a - first.a).is_zero(), f"{where}: {self.names[0]} {k} asks for another a")
            for mine, others in zip(first.C, other.C, strict=True):
                demand(mine.equals(others), f"{where}: {self.names[0]} {k} asks for another C")

    def demand_solved_by(self, equation: Equation, where: str) -> None:
        """The mass gamma/delta solves all the equations: those with query 0 suffice."""
        for k in range(len(self.wishes)):
            for c in range(len(self.wishes[0].a)):
                other = self.equation(Place(0, k, c))
                same = other.gamma.scaled(equation.delta).equals(equation.gamma.scaled(other.delta))
                name = f"{self.names[0]} {k}, coordinate {c}"
                demand(same, f"{where}: the mass does not solve the equation of {name}")

    def tokens_against(self, equation: Equation, i: int, count: int, g: Vector) -> int:
        """The sign of s e^{-x} - count, for an equation with s > 0 and query i."""
        ga, gC = g.dot(self.wishes[i].a), combine(g, self.wishes[i].C)
        inverse = reciprocal(equation.delta)
        s = equation.gamma.scaled(inverse)
        ratio = _ratio(gC, s)
        if ratio is not None:  # x is rational
            return (s - exponential(Scalar(count, 1), ga - ratio)).sign()
        s, gC = _aligned(s, gC), _aligned(gC, s)
        top = max(*s.terms, *gC.terms)
        for precision in precisions():
            DEADLINE.check()
            # all divided by e^top
            mass, product = (
                Interval(*term.enclosed(top, precision), precision).scaled(Scalar(1, term.coefficient_den))
                for term in (s, gC)
            )
            if mass.lo <= 0:
                continue
            x = enclosed(ga - Scalar(top, s.exponent_den), precision) - product.over(mass)
            if x.hi >> precision >= limits.MAX_PRECISION:
                continue
            low, high = (enclosed_exp(Scalar(end, 1 << precision), precision) for end in (x.lo, x.hi))
            if mass.lo > high.hi * count:
                return 1
            if mass.hi < low.lo * count:
                return -1
        raise OverLimits(f"the boundary of the prompt law does not show at {limits.MAX_PRECISION} bits")

    def least_tokens_against(self, count: int, g: Vector) -> int:
        """If the mass is free: the sign of (least s e^{-x} over all s > 0) - count; -1 if that is 0 (not attained).

        Here x = g.a + c/s with c = -g.C. For c > 0 (and c = 0) s e^{-x} takes all values above 0. For c < 0 it is
        least at s = |c|, namely e |c| e^{-g.a}, and takes all values from there on.
        """
        gC = combine(g, self.wishes[0].C)
        if gC.sign() <= 0:
            return -1
        least = gC * exponential(ONE, ONE - g.dot(self.wishes[0].a))
        return (least - exponential(Scalar(count, 1), ZERO)).sign()


def reciprocal(value: Scalar) -> Scalar:
    """1/value, for value not 0."""
    return Scalar(value.den, value.num) if value.num > 0 else Scalar(-value.den, -value.num)


def _aligned(value: ExpSum, other: ExpSum) -> ExpSum:
    """The same number, with exponents over a common denominator of both."""
    return value + ExpSum({}, other.exponent_den, 1)


def _ratio(numerator: ExpSum, denominator: ExpSum) -> Scalar | None:
    """The quotient, if it is rational; the denominator is not zero."""
    top, bottom = _aligned(numerator, denominator), _aligned(denominator, numerator)
    exponent = max(bottom.terms)
    num = top.terms.get(exponent, 0) * bottom.coefficient_den
    ratio = Scalar(num, 1) * reciprocal(Scalar(bottom.terms[exponent] * top.coefficient_den, 1))
    return ratio if top.equals(bottom.scaled(ratio)) else None


def read_place(field: Field, count: int, d: int) -> Place:
    """[i, j, c]: two of so many numbers, and a coordinate."""
    i, j, c = field.items(3)
    return Place(i.index(count), j.index(count), c.index(d))
