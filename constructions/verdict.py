"""Verdicts and facts: what an answer may be.

A verdict is proved, refuted or undecided; undecided is what remains when nothing was shown. A verdict has no
truth value, so that no ``if verdict:`` can mistake "undecided" or "refuted" for "yes".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NoReturn


class Undecided(Exception):
    """A question that the numbers at hand cannot settle: a ball that straddles zero, a precision cap reached."""


class _NoTruthValue(Enum):
    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}.{self.name} has no truth value; "
            f"compare it: verdict is {type(self).__name__}.{self.name}"
        )


class Verdict(_NoTruthValue):
    """The state of a claim.

    >>> Verdict.PROVED is Verdict.PROVED
    True
    >>> bool(Verdict.UNDECIDED)
    Traceback (most recent call last):
        ...
    TypeError: Verdict.UNDECIDED has no truth value; compare it: verdict is Verdict.UNDECIDED
    """

    PROVED = "proved"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


class Memorization(_NoTruthValue):
    """The answer to "can any prompt memorize these data?"."""

    MEMORIZABLE = "memorizable"
    UNMEMORIZABLE = "unmemorizable"
    UNDECIDED = "undecided"


class Evidence(_NoTruthValue):
    """How a verdict was reached; sampling never proves."""

    EXACT = "exact"
    ENCLOSED = "enclosed"
    SAMPLED = "sampled"


@dataclass(frozen=True)
class Fact:
    """A condition that was checked: its name, whether it holds, and the witness for that, in words."""

    name: str
    holds: bool
    witness: str

    def __str__(self) -> str:
        return f"{self.name}: {'holds' if self.holds else 'fails'} ({self.witness})"
