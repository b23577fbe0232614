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

from constructions.verdict import Evidence, Undecided, Verdict
from verify.counterexample import Counterexample

LOWERED = fmpq(99, 100)
RAISED = fmpq(101, 100)


@dataclass(frozen=True)
class Flaw:
    """A planted mistake: ``dropped`` names a condition that instances need not meet, ``lowered`` a constant that is
    multiplied by ``factor`` (99/100, or 101/100 for a constant that bounds from below). Exactly one of the two is
    given."""

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
    exhausted, negative where it is broken; None where nothing was measured. ``constant`` names the constant that it
    measures; it may be left out where the claim has only one. ``what`` tells the instance in a few words."""

    what: str
    slack: fmpq | None = None
    counterexample: Counterexample | None = None
    constant: str | None = None


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

    ``conditions`` and ``constants`` name what a flaw may drop or lower, with what each says. ``raised`` names the
    constants that bound from below: a claim is made too strong by raising them. ``trials(search)`` yields instances for
    as long as it is asked, structured ones first, then random ones and climbs from the best so far. ``unfindable``
    names the conditions and constants whose flaws no search can find, and why: dropping them leaves the claim true,
    say. ``budget`` is how many trials are made unless another number is asked for. Raises ValueError for names that
    are none of its conditions and constants.
    """

    slug: str
    trials: Callable[[Search], Iterator[Trial]]
    conditions: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    unfindable: Mapping[str, str] = field(default_factory=dict)
    budget: int = 100
    raised: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        known = [*self.conditions, *self.constants]
        if len(set(known)) < len(known):
            raise ValueError(f"{self.slug}: expected different names of conditions and constants, found {known}")
        for name in [*self.unfindable, *sorted(self.raised)]:
            if name not in (self.constants if name in self.raised else known):
                raise ValueError(f"{self.slug}: expected a name of {', '.join(known) or '(none)'}, found {name!r}")

    def flaws(self) -> list[Flaw]:
        """All mutated copies: each condition dropped, each constant made too strong by one per cent."""
        constants = [Flaw(lowered=c, factor=RAISED if c in self.raised else LOWERED) for c in self.constants]
        return [Flaw(dropped=name) for name in self.conditions] + constants

    def reason(self, flaw: Flaw) -> str | None:
        """Why no search can find this flaw; None where the falsifier has to find it."""
        return self.unfindable.get(flaw.dropped or flaw.lowered or "")


@dataclass(frozen=True)
class Measured:
    """The smallest ``slack`` met of one constant, and the instance ``at`` which it was met."""

    slack: fmpq
    at: str


@dataclass(frozen=True)
class Outcome:
    """What a search found: never more than refuted. ``tightness`` has the smallest slack of each constant; ``slack`` is
    the smallest of them all, ``at`` the instance that had it (or the counterexample). ``stopped`` says why a search
    ended before its budget where numbers could not settle a trial."""

    verdict: Verdict
    tried: int
    slack: fmpq | None
    at: str | None
    counterexample: Counterexample | None
    tightness: Mapping[str, Measured] = field(default_factory=dict)
    stopped: str | None = None


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
    after ``max_seconds``. Raises ValueError for a flaw that the falsifier does not know, and for a counterexample of
    sampled evidence, which refutes nothing.
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
    stopped: str | None = None
    tightness: dict[str, Measured] = {}
    only = next(iter(falsifier.constants)) if len(falsifier.constants) == 1 else "slack"
    trials = falsifier.trials(search)
    while tried < allowed and (max_seconds is None or time.monotonic() - start < max_seconds):
        try:
            trial = next(trials, None)
        except Undecided as reason:
            stopped = str(reason)
            break
        if trial is None:
            break
        tried += 1
        if trial.slack is not None:
            name = trial.constant or only
            if name not in tightness or trial.slack < tightness[name].slack:
                tightness[name] = Measured(trial.slack, trial.what)
            if smallest is None or trial.slack < smallest:
                smallest, at = trial.slack, trial.what
        on_progress(tried, allowed, smallest)
        if trial.counterexample is not None:
            if trial.counterexample.evidence is Evidence.SAMPLED:
                raise ValueError(
                    f"{falsifier.slug}: expected a counterexample of exact or enclosed evidence, found a sampled one"
                )
            return Outcome(Verdict.REFUTED, tried, smallest, trial.what, trial.counterexample, tightness)
    return Outcome(Verdict.UNDECIDED, tried, smallest, at, None, tightness, stopped)
