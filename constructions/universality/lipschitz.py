"""Range and Lipschitz constant of a target, certified by branch and bound in balls.

A bound that *touches* its limit never ends by bisection; so both are decided up to a relative 2^-20: the certified
constant L' ≤ L (1 + 2^-20) is what the network is then built for. A stated constant that is too small is refuted by a
pair of points. Source: THEORY section 6, "For one f".
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import NoReturn

import flint
from flint import arb, fmpq

from constructions.universality.target import NotDefinedError, Target, ball, bounded, lower, upper
from constructions.verdict import Undecided

Box = tuple[tuple[fmpq, fmpq], ...]
TOLERANCE = fmpq(1, 2**20)
RANGE_TOLERANCE = fmpq(1, 2**28)
MAX_BOXES = 20_000
MAX_CORNERS = 6
"""The corners of a cube of more dimensions are not looked at one by one."""
SMALLEST = fmpq(1, 2**60)
"""Boxes on which nothing is enclosed are halved down to this width."""
PRECISION = 96


class OutOfRangeError(ValueError):
    """The target leaves [0, 1] or is not defined: names an entry and a point."""


@dataclass(frozen=True)
class SteepPair:
    """Two points whose values are further apart than a Lipschitz constant allows; the quotient is certified from
    below."""

    first: tuple[fmpq, ...]
    second: tuple[fmpq, ...]
    quotient: fmpq


def check_range(f: Target, max_boxes: int = MAX_BOXES) -> tuple[fmpq, fmpq]:
    """Certified bounds of all values, within 2^-28 of [0, 1]. Raises OutOfRangeError, or Undecided past the limit.

    >>> low, high = check_range(Target.parse(["(x + 1)/2"], 1, 1))
    >>> f"{float(low):.6f} {float(high):.6f}"
    '0.500000 1.000000'
    >>> check_range(Target.parse(["log(x - 2)"], 1, 1))
    Traceback (most recent call last):
        ...
    constructions.universality.lipschitz.OutOfRangeError: target: expected values in [0, 1], found entry 0 not defined \
at (0): the logarithm of a number that is not positive
    """
    size = f.d * f.m
    corners = product((fmpq(0), fmpq(1)), repeat=size) if size <= MAX_CORNERS else [[fmpq(x)] * size for x in (0, 1)]
    with flint.ctx.workprec(PRECISION):
        for corner in corners:
            for index in range(size):
                _value_at(f, index, corner)
        bounds = [_entry_range(f, index, max_boxes) for index in range(size)]
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _value_at(f: Target, index: int, point: Sequence[fmpq]) -> arb:
    """The value of one entry. Raises OutOfRangeError if it certainly is not in [0, 1], or not there at all."""

    def fail(what: str, why: str = "") -> NoReturn:
        where = ", ".join(str(x) for x in point)
        raise OutOfRangeError(f"target: expected values in [0, 1], found entry {index} {what} at ({where}){why}")

    try:
        value = f.entries[index]([arb(x) for x in point]).value
    except NotDefinedError as reason:
        fail("not defined", f": {reason}")
    if value > arb(1 + RANGE_TOLERANCE):
        fail("above 1")
    if value < arb(-RANGE_TOLERANCE):
        fail("below 0")
    return value


def _entry_range(f: Target, index: int, max_boxes: int) -> tuple[fmpq, fmpq]:
    """Bounds of one entry on the cube: on each box by its value, or by the value in the middle and the slope."""
    least, most = -RANGE_TOLERANCE, 1 + RANGE_TOLERANCE
    stack: list[Box] = [((fmpq(0), fmpq(1)),) * (f.d * f.m)]
    bounds: list[tuple[fmpq, fmpq]] = []
    for _ in range(max_boxes):
        if not stack:
            return min(low for low, _ in bounds), max(high for _, high in bounds)
        box = stack.pop()
        at = _value_at(f, index, [(low + high) / 2 for low, high in box])
        low, high = _box_range(f, index, box, at)
        if low is not None and high is not None and least <= low and high <= most:
            bounds.append((low, high))
        elif max(right - left for left, right in box) < SMALLEST:
            where = ", ".join(f"{float(left):.6g}" for left, _ in box)
            raise Undecided(f"target: the values of entry {index} are not enclosed near ({where})")
        else:
            stack += _halves(box)
    raise Undecided(f"target: the range of entry {index} was not certified within {max_boxes} boxes")


def _box_range(f: Target, index: int, box: Box, at: arb) -> tuple[fmpq | None, fmpq | None]:
    """The better of both bounds on either side; None where there is none."""
    try:
        dual = f.entries[index]([ball(low, high) for low, high in box])
    except NotDefinedError:  # so it is not defined in the middle either, but this is not shown there
        return None, None
    values = [dual.value] if bounded(dual.value) else []
    if bounded(at) and all(bounded(g) for g in dual.gradient):
        reach = fmpq(0)
        for g, (low, high) in zip(dual.gradient, box, strict=True):
            reach += upper(abs(g)) * (high - low) / 2
        values.append(at + arb(0, reach))
    if not values:
        return None, None
    return max(lower(x) for x in values), min(upper(x) for x in values)


def _halves(box: Box) -> list[Box]:
    i = max(range(len(box)), key=lambda k: box[k][1] - box[k][0])
    low, high = box[i]
    middle = (low + high) / 2
    return [(*box[:i], part, *box[i + 1 :]) for part in ((low, middle), (middle, high))]


def lipschitz_bound(f: Target, p: fmpq, stated: fmpq, max_boxes: int = MAX_BOXES) -> fmpq | SteepPair:
    """A certified upper bound of the Lipschitz constant in the entrywise p-norm, at most ``stated`` (1 + 2^-20); or a
    pair of points that refutes the stated constant. Raises Undecided past the limit.

    ``‖J‖_p ≤ ‖J‖_1^{1/p} ‖J‖_∞^{1−1/p}`` on each box.

    >>> f = Target.parse(["(1 + sin(3*x))/2"], 1, 1)
    >>> lipschitz_bound(f, fmpq(1), fmpq(3, 2)) <= fmpq(3, 2) * (1 + TOLERANCE)
    True
    >>> lipschitz_bound(f, fmpq(1), fmpq(1)).quotient > 1
    True
    """
    allowed = stated * (1 + TOLERANCE)
    with flint.ctx.workprec(PRECISION):
        root: Box = ((fmpq(0), fmpq(1)),) * (f.d * f.m)
        order = count()
        heap = [(-_norm_bound(f, root, p), next(order), root)]
        for _ in range(max_boxes):
            if -heap[0][0] <= allowed and -heap[0][0] < INFINITE:
                return -heap[0][0]
            _, _, box = heapq.heappop(heap)
            if max(high - low for low, high in box) < SMALLEST:
                where = ", ".join(f"{float(low):.6g}" for low, _ in box)
                raise Undecided(f"target: its derivative is not enclosed near ({where})")
            for half in _halves(box):
                pair = _steep_pair(f, half, p, stated)
                if pair is not None:
                    return pair
                heapq.heappush(heap, (-_norm_bound(f, half, p), next(order), half))
    known = f"at most {float(-heap[0][0]):.6g}" if -heap[0][0] < INFINITE else "none is known"
    raise Undecided(
        f"target: the Lipschitz constant is not certified within {max_boxes} boxes; {known}, stated {stated}"
    )


INFINITE = fmpq(2) ** 200


def _norm_bound(f: Target, box: Box, p: fmpq) -> fmpq:
    """An upper bound of ‖J‖_p on a box; INFINITE where the derivative is not enclosed."""
    rows = [[abs(g) for g in dual.gradient] for dual in f.duals([ball(low, high) for low, high in box])]
    if not all(bounded(g) for row in rows for g in row):
        return INFINITE
    by_rows = max(sum((upper(g) for g in row), fmpq(0)) for row in rows)  # ‖J‖_∞
    by_columns = max(sum((upper(row[j]) for row in rows), fmpq(0)) for j in range(len(rows[0])))  # ‖J‖_1
    if p == 1 or by_rows == by_columns:
        return min(by_columns, INFINITE) if p == 1 else by_rows
    if by_rows == 0 or by_columns == 0:
        return fmpq(0)
    log = arb(by_columns).log() / arb(p) + arb(by_rows).log() * (1 - 1 / arb(p))
    return min(upper(log.exp()), INFINITE)


def _steep_pair(f: Target, box: Box, p: fmpq, stated: fmpq) -> SteepPair | None:
    """The ends of a short segment at the centre, along the axes and the diagonal, if the quotient of the distances is
    certainly above the stated constant."""
    centre = [(low + high) / 2 for low, high in box]
    size = min(high - low for low, high in box) / 4
    n = len(box)
    for direction in [[int(i == j) for i in range(n)] for j in range(n)] + [[1] * n]:
        first = [x - size * e for x, e in zip(centre, direction, strict=True)]
        second = [x + size * e for x, e in zip(centre, direction, strict=True)]
        one, two = (f.values([arb(x) for x in point]) for point in (first, second))
        change = _norm([(x - y).abs_lower() for x, y in zip(one, two, strict=True)], p)
        quotient = change / _norm([arb(2 * size * e) for e in direction], p)
        if quotient > arb(stated):
            return SteepPair(tuple(first), tuple(second), lower(quotient))
    return None


def _norm(values: Sequence[arb], p: fmpq) -> arb:
    """The entrywise p-norm of exact numbers of at least 0 (NaN if one is NaN)."""
    total = arb(0)
    for size in values:
        if size.is_zero():
            continue
        total += size if p == 1 else (size ** int(p.p) if p.q == 1 else (size.log() * arb(p)).exp())
    if total.is_zero() or p == 1:
        return total
    return (total.log() / arb(p)).exp()
