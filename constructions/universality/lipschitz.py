"""Range and Lipschitz constant of a target, certified by branch and bound in balls.

A bound that *touches* its limit never ends by bisection; so both are decided up to a relative 2^-20: the certified
constant L' ≤ L (1 + 2^-20) is what the network is then built for. A stated constant that is too small is refuted by a
pair of points. Source: THEORY section 6, "For one f".
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import flint
from flint import arb, fmpq

from constructions.universality.target import Target, ball, lower, upper
from constructions.verdict import Undecided

Box = tuple[tuple[fmpq, fmpq], ...]
TOLERANCE = fmpq(1, 2**20)
RANGE_TOLERANCE = fmpq(1, 2**28)
MAX_BOXES = 20_000
PRECISION = 96


class OutOfRangeError(ValueError):
    """The target leaves [0, 1]: names an entry and a point."""


@dataclass(frozen=True)
class SteepPair:
    """Two points whose values are further apart than a Lipschitz constant allows; the quotient is certified from
    below."""

    first: tuple[fmpq, ...]
    second: tuple[fmpq, ...]
    quotient: fmpq


def check_range(f: Target, max_boxes: int = MAX_BOXES) -> tuple[fmpq, fmpq]:
    """Certified bounds of all values, within 2^-28 of [0, 1]. Raises OutOfRangeError, or Undecided past the limit."""
    with flint.ctx.workprec(PRECISION):
        for index in range(f.d * f.m):
            for sign in (1, -1):
                limit = fmpq(1) if sign > 0 else fmpq(0)
                _below(f, index, sign, limit, max_boxes)
    return -RANGE_TOLERANCE, 1 + RANGE_TOLERANCE


def _below(f: Target, index: int, sign: int, limit: fmpq, max_boxes: int) -> None:
    """sign·f_index ≤ limit + tolerance on the cube."""
    stack = [((fmpq(0), fmpq(1)),) * (f.d * f.m)]
    seen = 0
    while stack:
        box = stack.pop()
        seen += 1
        if seen > max_boxes:
            raise Undecided(f"target: the range of entry {index} was not certified within {max_boxes} boxes")
        centre = [(low + high) / 2 for low, high in box]
        at = f.entries[index]([arb(x) for x in centre]).value * sign
        if lower(at) > limit + RANGE_TOLERANCE:
            where = ", ".join(str(x) for x in centre)
            bound = "1" if sign > 0 else "0"
            raise OutOfRangeError(
                f"target: expected values in [0, 1], found entry {index} {'above' if sign > 0 else 'below'} {bound} "
                f"at ({where})"
            )
        dual = f.entries[index]([ball(low, high) for low, high in box])
        bounds = [upper(dual.value * sign)] if dual.value.is_finite() else []
        if at.is_finite() and all(g.is_finite() for g in dual.gradient):  # mean value form
            total = upper(at)
            for g, (low, high) in zip(dual.gradient, box, strict=True):
                total += upper(abs(g)) * (high - low) / 2
            bounds.append(total)
        if bounds and min(bounds) <= limit + RANGE_TOLERANCE:
            continue
        stack += _halves(box)


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
            for half in _halves(box):
                pair = _steep_pair(f, half, p, stated)
                if pair is not None:
                    return pair
                heapq.heappush(heap, (-_norm_bound(f, half, p), next(order), half))
    raise Undecided(
        f"target: the Lipschitz constant is not certified within {max_boxes} boxes; at most {float(-heap[0][0]):.6g}, "
        f"stated {stated}"
    )


INFINITE = fmpq(2) ** 200


def _norm_bound(f: Target, box: Box, p: fmpq) -> fmpq:
    """An upper bound of ‖J‖_p on a box; INFINITE where the derivative is not enclosed."""
    rows = [[abs(g) for g in dual.gradient] for dual in f.duals([ball(low, high) for low, high in box])]
    if not all(g.is_finite() for row in rows for g in row):
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
        length = 2 * size * sum(direction) if p == 1 else None
        below = arb(length) if length is not None else _norm([arb(2 * size * e) for e in direction], p)
        quotient = lower(_norm([x - y for x, y in zip(one, two, strict=True)], p) / below)
        if quotient > stated:
            return SteepPair(tuple(first), tuple(second), quotient)
    return None


def _norm(values: Sequence[arb], p: fmpq) -> arb:
    """The entrywise p-norm of exact or nearly exact numbers."""
    total = arb(0)
    for x in values:
        size = abs(x)
        if size.is_zero():
            continue
        total += size if p == 1 else (size ** int(p.p) if p.q == 1 else (size.log() * arb(p)).exp())
    if total.is_zero() or p == 1:
        return total
    return (total.log() / arb(p)).exp()
