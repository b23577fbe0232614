"""Falsifiers: for every claim a search that tries to refute it.

A falsifier draws instances that meet the claim's conditions and measures how close each comes to breaking it. Floats
may guess where to look; a counterexample counts only when exact numbers or enclosures confirm it. Not finding one
proves nothing: the outcome is refuted or undecided. The smallest slack that was met is the measured tightness of the
claim's constant.

The search is tested against itself: a :class:`Flaw` makes a mutated copy of the claim, with one condition dropped or
one constant lowered, and the falsifier has to find what is wrong with it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from flint import fmpq

from constructions.verdict import Verdict
from verify.counterexample import Counterexample

LOWERED = fmpq(99, 100)


@dataclass(frozen=True)
class Flaw:
    """A planted mistake: ``dropped`` names a condition that instances need not meet, ``lowered`` a constant that is
    multiplied by ``factor``. Exactly one of the two is given."""

    dropped: str | None = None
    lowered: str | None = None
    factor: fmpq = LOWERED

    def __post_init__(self) -> None:
        if (self.dropped is None) is (self.lowered is None):
            raise ValueError(
                f"a flaw: expected one of dropped and lowered, found dropped={self.dropped!r}, lowered={self.lowered!r}"
            )

    def __str__(self) -> str:
        if self.dropped is not None:
            return f"without {self.dropped}"
        return f"{self.lowered} times {self.factor}"


@dataclass(frozen=True)
class Trial:
    """One instance that was tried. ``slack`` is 1 − (what was reached)/(what the claim allows), 0 where the claim is
    exhausted, negative where it is broken; None where the claim has no constant. ``what`` tells the instance in a few
    words."""

    what: str
    slack: fmpq | None = None
    counterexample: Counterexample | None = None


@dataclass(frozen=True)
class Search:
    """What a falsifier is given: its own random numbers and the flaw of the claim, if one was planted.

    >>> search = Search(random.Random(0), Flaw(lowered="the constant"))
    >>> search.keeps("full rank"), search.factor("the constant"), search.factor("another")
    (True, 99/100, 1)
    """

    rng: random.Random
    flaw: Flaw | None = None

    def keeps(self, condition: str) -> bool:
        """Whether instances have to meet this condition."""
        return self.flaw is None or self.flaw.dropped != condition

    def factor(self, constant: str) -> fmpq:
        """What this constant is multiplied by: 1 unless it is the lowered one."""
        return self.flaw.factor if self.flaw is not None and self.flaw.lowered == constant else fmpq(1)


@dataclass(frozen=True)
class Falsifier:
    """The search of one claim.

    ``conditions`` and ``constants`` name what a flaw may drop or lower, with what each says. ``trials(search)`` yields
    instances for as long as it is asked, structured ones first, then random ones and climbs from the best so far.
    ``unfindable`` names the flaws that no search can find, and why: dropping them leaves the claim true, say.
    ``budget`` is how many trials are made unless another number is asked for.
    """

    slug: str
    trials: Callable[[Search], Iterator[Trial]]
    conditions: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    unfindable: Mapping[str, str] = field(default_factory=dict)
    budget: int = 100

    def flaws(self) -> list[Flaw]:
        """All mutated copies: each condition dropped, each constant lowered by one per cent."""
        return [Flaw(dropped=name) for name in self.conditions] + [Flaw(lowered=name) for name in self.constants]


@dataclass(frozen=True)
class Outcome:
    """What a search found: never more than refuted. ``slack`` is the smallest one met, ``at`` the instance that had
    it."""

    verdict: Verdict
    tried: int
    slack: fmpq | None
    at: str | None
    counterexample: Counterexample | None


def falsify(
    falsifier: Falsifier,
    *,
    flaw: Flaw | None = None,
    budget: int | None = None,
    seed: int = 0,
    max_seconds: float | None = None,
    on_progress: Callable[[int, int, fmpq | None], None] = lambda tried, budget, slack: None,
) -> Outcome:
    """Search for a counterexample; the same seed and budget try the same instances.

    Stops at the first counterexample, when ``budget`` trials (the falsifier's own number by default) are made, or
    after ``max_seconds``. Raises ValueError for a flaw that the falsifier does not know.
    """
    if flaw is not None and flaw.dropped not in {None, *falsifier.conditions}:
        raise ValueError(
            f"{falsifier.slug}: expected one of the conditions {', '.join(falsifier.conditions) or '(none)'}, "
            f"found {flaw.dropped!r}"
        )
    if flaw is not None and flaw.lowered not in {None, *falsifier.constants}:
        raise ValueError(
            f"{falsifier.slug}: expected one of the constants {', '.join(falsifier.constants) or '(none)'}, "
            f"found {flaw.lowered!r}"
        )
    allowed = falsifier.budget if budget is None else budget
    search = Search(random.Random(f"{falsifier.slug}/{seed}"), flaw)
    start, tried = time.monotonic(), 0
    smallest: fmpq | None = None
    at: str | None = None
    trials = falsifier.trials(search)
    while tried < allowed and (max_seconds is None or time.monotonic() - start < max_seconds):
        trial = next(trials, None)
        if trial is None:
            break
        tried += 1
        if trial.slack is not None and (smallest is None or trial.slack < smallest):
            smallest, at = trial.slack, trial.what
        on_progress(tried, allowed, smallest)
        if trial.counterexample is not None:
            return Outcome(Verdict.REFUTED, tried, smallest, trial.what, trial.counterexample)
    return Outcome(Verdict.UNDECIDED, tried, smallest, at, None)
