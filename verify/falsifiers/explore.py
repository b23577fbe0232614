"""How a falsifier walks through instances: structured ones first, then random ones and small changes of the best."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from flint import fmpq

from verify.falsifiers.falsifier import Search, Trial

T = TypeVar("T")


def explore(
    search: Search,
    judge: Callable[[T], Trial],
    *,
    draw: Callable[[random.Random], T],
    structured: Iterable[T] = (),
    vary: Callable[[random.Random, T], T] | None = None,
) -> Iterator[Trial]:
    """Trials without end: the ``structured`` instances, then drawn ones, and in turn with them variations of the
    instance with the smallest slack so far (a hill climb that never leaves its best point).

    >>> from itertools import islice
    >>> trials = explore(Search(random.Random(0)), lambda x: Trial(str(x), fmpq(x)), draw=lambda rng: 9,
    ...                  structured=[4, 3], vary=lambda rng, x: x - 1)
    >>> [trial.what for trial in islice(trials, 6)]
    ['4', '3', '9', '2', '9', '1']
    """
    best: T | None = None
    least: fmpq | None = None

    def judged(instance: T) -> Trial:
        nonlocal best, least
        trial = judge(instance)
        if trial.slack is not None and (least is None or trial.slack < least):
            best, least = instance, trial.slack
        return trial

    for instance in structured:
        yield judged(instance)
    while True:
        yield judged(draw(search.rng))
        if vary is not None and best is not None:
            yield judged(vary(search.rng, best))


def in_turn(*streams: Iterator[Trial]) -> Iterator[Trial]:
    """One trial of each stream after the other, for claims that say several things; a stream that ends is left out.

    >>> [trial.what for trial in in_turn(iter([Trial("a"), Trial("b")]), iter([Trial("c")]))]
    ['a', 'c', 'b']
    """
    left = list(streams)
    while left:
        for stream in list(left):
            trial = next(stream, None)
            if trial is None:
                left.remove(stream)
            else:
                yield trial
