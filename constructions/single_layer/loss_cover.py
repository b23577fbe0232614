"""The lower bound of the loss of prompts at one query: the axis of masses, covered by parts on which balls prove it.

Source: THEORY section 3.1 (ours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flint import arb, fmpq

from constructions.numbers.exponential import midpoint
from constructions.single_layer.loss_problem import OneCombination
from constructions.single_layer.loss_search import axis, guess_minimum

MAX_PARTS = 4_000
MAX_SINGLE_MASSES = 1024


@dataclass(frozen=True)
class Cover:
    """Breakpoints σ_0 < … < σ_t of the axis of masses; ``integers`` (q = 0): how many masses are checked one by one."""

    integers: int | None
    breakpoints: tuple[fmpq, ...]


def cover(combination: OneCombination, lower: fmpq, length: int | None, log_length: arb | None) -> Cover | None:
    """Breakpoints on whose parts the loss is proved to be at least ``lower``, or None."""
    goal = arb(lower)
    if combination.problem.integer_masses:
        return _integer_cover(combination, goal, length)
    left, right = axis(combination)
    start = _end(lambda sigma: combination.left_end(sigma, log_length), goal, fmpq(int(left)), -1)
    stop = _end(lambda sigma: combination.right_end(sigma, log_length), goal, fmpq(int(right) + 1), 1)
    if start is None or stop is None:
        return None
    inner = _inner(combination, goal, start, stop, log_length)
    return None if inner is None else Cover(None, tuple(inner))


def _end(bound: Callable[[fmpq], arb | None], goal: arb, sigma: fmpq, direction: int) -> fmpq | None:
    """The first σ, going outwards, beyond which ``bound`` proves the goal."""
    step = fmpq(16)
    for _ in range(16):
        value = bound(sigma)
        if value is not None and value >= goal:
            return sigma
        sigma += direction * step
        step *= 2
    return None


def _inner(
    combination: OneCombination, goal: arb, start: fmpq, stop: fmpq, log_length: arb | None
) -> list[fmpq] | None:
    """Bisection of [start, stop] until every part is proved."""
    breakpoints = [start]
    todo = [(fmpq(0), stop), (start, fmpq(0))] if start < 0 < stop else [(start, stop)]  # where the charts meet
    narrow = fmpq(1) / fmpq(2) ** 60
    while todo:
        left, right = todo.pop()
        bound, in_the_middle = combination.inner_part(left, right, log_length)
        if bound >= goal:
            breakpoints.append(right)
            continue
        if in_the_middle < goal:  # no smaller part will do
            return None
        if right - left < narrow or len(breakpoints) + len(todo) > MAX_PARTS:
            return None
        middle = (left + right) / 2
        todo += [(middle, right), (left, middle)]
    return breakpoints


def _integer_cover(combination: OneCombination, goal: arb, length: int | None) -> Cover | None:
    """Masses 1, 2, … one by one as long as needed, then parts of the axis (q = 0)."""
    if length is not None and length <= MAX_SINGLE_MASSES:
        singles = range(1, length + 1)
        return Cover(length, ()) if all(combination.at_mass(m) >= goal for m in singles) else None
    sigma_best = combination.problem.reference + fmpq(round(guess_minimum(combination, None)[0] * 16), 16)
    near = 2 if sigma_best < 1 else int(arb(min(sigma_best, fmpq(9))).exp().ceil().unique_fmpz() or 2) + 2
    for count in (1, near, 4 * near, 64 * near):  # real masses may do as well as integers, from 2 on
        count = count if length is None else min(count, length)
        if not all(combination.at_mass(m) >= goal for m in range(1, count + 1)):
            return None
        if length is not None and length <= count:
            return Cover(count, ())
        start = midpoint(arb(count + 1).log()) - combination.rho - fmpq(1, 10**12)
        start = fmpq((start * 2**50).floor(), 2**50)
        stop = _end(lambda sigma: combination.right_end(sigma, None), goal, start + 1, 1)
        inner = None if stop is None else _inner(combination, goal, start, stop, None)
        if inner is not None:
            return Cover(count, tuple(inner))
    return None
