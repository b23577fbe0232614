"""A target function f: [0,1]^{d×m} → R^{d×m} given by expressions: values and derivatives in balls.

Expressions are numbers (read exactly), ``pi``, ``E``, ``+ - * / **``, the usual functions of one variable, ``abs``,
``Min`` and ``Max``, in the variables ``x`` (d = m = 1) or ``x11 … xdm`` (row, column). At kinks the derivative is the
hull of both sides. Where a box certainly lies outside of an operation's domain evaluation stops; where it may do so in
part the value is NaN, which bounds nothing. Source: THEORY section 6, "For one f".
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flint import arb, fmpq

from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import rational

Gradient = list[arb]
MAX_LENGTH, MAX_DEPTH, MAX_EXPONENT = 10_000, 100, 1000


class TargetError(ValueError):
    """An expression that is not understood: says what was found, and where."""


class NotDefinedError(ValueError):
    """An operation outside of its domain, certainly, and at every point of the box: says which."""


@dataclass(frozen=True)
class Dual:
    """A value with its gradient, both enclosed."""

    value: arb
    gradient: Gradient

    @classmethod
    def constant(cls, value: arb, variables: int) -> Dual:
        return cls(value, [arb(0)] * variables)

    def mapped(self, value: arb, slope: arb) -> Dual:
        """The chain rule; what does not depend on a variable does not begin to."""
        return Dual(value, [g if g.is_zero() else slope * g for g in self.gradient])


def _hull(x: arb, y: arb) -> arb:
    return x.union(y)


def _abs(x: Dual) -> Dual:
    if x.value > 0:
        return x
    if x.value < 0:
        return x.mapped(-x.value, arb(-1))
    # abs of a ball keeps its radius: too wide where it contains 0
    return x.mapped(_hull(x.value.abs_lower(), x.value.abs_upper()), _hull(arb(-1), arb(1)))


def _larger(x: Dual, y: Dual, sign: int) -> Dual:
    """Max (sign 1) or Min (sign −1)."""
    difference = (x.value - y.value) * sign
    if difference > 0:
        return x
    if difference < 0:
        return y
    value = x.value.max(y.value) if sign > 0 else x.value.min(y.value)
    return Dual(value, [_hull(g, h) for g, h in zip(x.gradient, y.gradient, strict=True)])


def _log(x: Dual) -> Dual:
    if x.value <= 0:
        raise NotDefinedError("the logarithm of a number that is not positive")
    return x.mapped(x.value.log(), 1 / x.value)


def _sqrt(x: Dual) -> Dual:
    if x.value < 0:
        raise NotDefinedError("the square root of a negative number")
    root = x.value.sqrt()
    return x.mapped(root, 1 / (2 * root))


FUNCTIONS: dict[str, Callable[[Dual], Dual]] = {
    "sin": lambda x: x.mapped(x.value.sin(), x.value.cos()),
    "cos": lambda x: x.mapped(x.value.cos(), -x.value.sin()),
    "tan": lambda x: x.mapped(x.value.tan(), 1 + x.value.tan() ** 2),
    "exp": lambda x: x.mapped(x.value.exp(), x.value.exp()),
    "log": _log,
    "sqrt": _sqrt,
    "sinh": lambda x: x.mapped(x.value.sinh(), x.value.cosh()),
    "cosh": lambda x: x.mapped(x.value.cosh(), x.value.sinh()),
    "tanh": lambda x: x.mapped(x.value.tanh(), 1 - x.value.tanh() ** 2),
    "atan": lambda x: x.mapped(x.value.atan(), 1 / (1 + x.value**2)),
    "abs": _abs,
    "Abs": _abs,
}


class Expression:
    """One entry of f, parsed once."""

    def __init__(self, text: str, variables: Sequence[str]) -> None:
        """Raises TargetError."""
        self.text, self.variables = text, list(variables)
        if len(text) > MAX_LENGTH:
            raise TargetError(f"target: expected at most {MAX_LENGTH} characters, found {len(text)}")
        try:
            self.tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise TargetError(f"target: expected an expression, found {text!r}") from None
        self._check(self.tree, 0)

    def _check(self, node: ast.AST, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TargetError(f"target: expected at most {MAX_DEPTH} nested operations")
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                self._number(node)
            case ast.Name(id=name):
                if name not in self.variables and name not in ("pi", "E"):
                    known = ", ".join([*self.variables, "pi", "E"])
                    raise TargetError(f"target: expected one of the names {known}, found {name!r}")
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._check(operand, depth + 1)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
                self._check(left, depth + 1)
                self._check(right, depth + 1)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                self._check(left, depth + 1)
                self._exponent(right)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                expected = 1 if name in FUNCTIONS else 2 if name in ("Min", "Max", "min", "max") else None
                if expected is None:
                    known = ", ".join([*FUNCTIONS, "Min", "Max"])
                    raise TargetError(f"target: expected one of the functions {known}, found {name!r}")
                if (expected == 1 and len(args) != 1) or (expected == 2 and len(args) < 2):
                    raise TargetError(f"target: {name} takes {expected}{'' if expected == 1 else ' or more'} arguments")
                for argument in args:
                    self._check(argument, depth + 1)
            case _:
                raise TargetError(f"target: expected arithmetic and functions, found {ast.unparse(node)!r}")

    def _number(self, node: ast.Constant) -> fmpq:
        text = ast.get_source_segment(self.text.strip(), node) or str(node.value)
        try:
            return rational(text.replace("_", ""))
        except (ValueError, TypeError):
            raise TargetError(f"target: expected a decimal number, found {text!r}") from None

    def _exponent(self, node: ast.AST) -> fmpq:
        """Exponents are rational numbers of moderate size."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._exponent(operand)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                below = self._exponent(right)
                if below == 0:
                    raise TargetError("target: an exponent with denominator 0")
                return self._exponent(left) / below
            case ast.Constant(value=int() | float()):
                value = self._number(node)
                if abs(value) > MAX_EXPONENT or value.q > MAX_EXPONENT:
                    raise TargetError(f"target: expected an exponent of moderate size, found {value}")
                return value
        raise TargetError(f"target: expected a rational number as exponent, found {ast.unparse(node)!r}")

    def __call__(self, values: Sequence[arb]) -> Dual:
        """Value and gradient on a box of inputs, all in balls at the current precision. Raises NotDefinedError."""
        known = {
            name: Dual(x, [arb(int(i == j)) for j in range(len(values))])
            for i, (name, x) in enumerate(zip(self.variables, values, strict=True))
        }
        return self._evaluate(self.tree, known, len(values))

    def _evaluate(self, node: ast.AST, known: dict[str, Dual], n: int) -> Dual:
        match node:
            case ast.Constant():
                return Dual.constant(arb(self._number(node)), n)
            case ast.Name(id=name):
                if name in known:
                    return known[name]
                return Dual.constant(arb.pi() if name == "pi" else arb(1).exp(), n)
            case ast.UnaryOp(op=op, operand=operand):
                x = self._evaluate(operand, known, n)
                return x if isinstance(op, ast.UAdd) else x.mapped(-x.value, arb(-1))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return _power(self._evaluate(left, known, n), self._exponent(right))
            case ast.BinOp(left=left, op=op, right=right):
                return _combined(op, self._evaluate(left, known, n), self._evaluate(right, known, n))
            case ast.Call(func=ast.Name(id=name), args=args):
                parts = [self._evaluate(argument, known, n) for argument in args]
                if name in FUNCTIONS:
                    return FUNCTIONS[name](parts[0])
                result = parts[0]
                for part in parts[1:]:
                    result = _larger(result, part, 1 if name.lower() == "max" else -1)
                return result
        raise TargetError(f"target: not understood: {ast.unparse(node)!r}")  # never: checked when parsed


def _combined(op: ast.operator, x: Dual, y: Dual) -> Dual:
    pairs = zip(x.gradient, y.gradient, strict=True)
    match op:
        case ast.Add():
            return Dual(x.value + y.value, list(map(operator.add, x.gradient, y.gradient)))
        case ast.Sub():
            return Dual(x.value - y.value, list(map(operator.sub, x.gradient, y.gradient)))
        case ast.Mult():
            return Dual(x.value * y.value, [g * y.value + h * x.value for g, h in pairs])
    if y.value.is_zero():
        raise NotDefinedError("a division by zero")
    quotient = x.value / y.value
    return Dual(quotient, [(g - quotient * h) / y.value for g, h in pairs])


def _power(x: Dual, exponent: fmpq) -> Dual:
    base = x.value
    if exponent == 0:
        return Dual.constant(arb(1), len(x.gradient))
    if exponent < 0 and base.is_zero():
        raise NotDefinedError("a negative power of zero")
    if exponent.q == 1:
        k = int(exponent.p)
        return x if k == 1 else x.mapped(base**k, k * base ** (k - 1))
    if base < 0:
        raise NotDefinedError("a fractional power of a negative number")
    return x.mapped(_fractional(base, exponent), arb(exponent) * _fractional(base, exponent - 1))


def _fractional(base: arb, exponent: fmpq) -> arb:
    """base^exponent for an exponent that is not whole: NaN unless all of the ball has it."""
    if base > 0:
        return (base.log() * arb(exponent)).exp()
    if not base >= 0 or exponent < 0:
        return arb.nan()
    largest = base.abs_upper()
    return arb(0) if largest.is_zero() else _hull(arb(0), (largest.log() * arb(exponent)).exp())


@dataclass(frozen=True)
class Target:
    """f with d×m entries, the expressions in column order."""

    d: int
    m: int
    entries: tuple[Expression, ...]

    @classmethod
    def parse(cls, texts: Sequence[str], d: int, m: int) -> Target:
        """Raises TargetError.

        >>> f = Target.parse(["x**2/2"], 1, 1)
        >>> f.values([arb(1)])[0].contains(fmpq(1, 2))
        True
        """
        if len(texts) != d * m:
            raise TargetError(f"target: expected {d * m} expressions, one for each entry of f, found {len(texts)}")
        if d * m == 1:
            names = ["x"]
        elif d > 9 or m > 9:
            raise TargetError(f"target: expected d, m ≤ 9 for the names x11 … xdm, found {d} and {m}")
        else:
            names = [f"x{i + 1}{j + 1}" for j in range(m) for i in range(d)]  # column by column
        return cls(d, m, tuple(Expression(text, names) for text in texts))

    def values(self, box: Sequence[arb]) -> list[arb]:
        """All entries on a box (d·m balls, column by column)."""
        return [entry(box).value for entry in self.entries]

    def duals(self, box: Sequence[arb]) -> list[Dual]:
        """All entries with their gradients."""
        return [entry(box) for entry in self.entries]


def ball(low: fmpq, high: fmpq) -> arb:
    """The interval [low, high] of [0, 1]. A ball's radius has few bits and is rounded up; at an end of [0, 1] the ball
    is moved inwards by as much, so that it does not leave the cube, where a root need not be defined.

    >>> ball(fmpq(0), fmpq(1, 2)) >= 0, ball(fmpq(1, 2), fmpq(1)) <= 1
    (True, True)
    """
    half = (high - low) / 2
    reach = midpoint(arb(0, half).rad())  # at least half, and the radius of every ball below
    if low == 0:
        return arb(reach, half)
    return arb(1 - reach if high == 1 else low + half, half)


HUGE, TINY = fmpq(2) ** 10_000, fmpq(1, 2) ** 10_000
"""Bounds beyond these are not written out as rationals: exp(exp(40 x)) would fill the memory."""


def bounded(x: arb) -> bool:
    """Whether a ball bounds anything: it is finite, and of moderate size."""
    return x.is_finite() and abs(x) < arb(HUGE)


def upper(x: arb) -> fmpq:
    """A rational that no number of the ball exceeds. Raises ValueError unless the ball is bounded."""
    middle, radius = _ball(x)
    return middle + radius


def lower(x: arb) -> fmpq:
    """A rational that exceeds no number of the ball. Raises ValueError unless the ball is bounded."""
    middle, radius = _ball(x)
    return middle - radius


def _ball(x: arb) -> tuple[fmpq, fmpq]:
    """Middle and radius, where tiny ones of either are taken into the radius."""
    if not bounded(x):
        raise ValueError(f"expected a bounded ball, found {x}")
    tiny = fmpq(0)
    parts = []
    for part in (x.mid(), x.rad()):
        if abs(part) < arb(TINY) and not part.is_zero():
            tiny += TINY
            part = arb(0)
        parts.append(midpoint(part))
    return parts[0], parts[1] + tiny
