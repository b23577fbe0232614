"""What a claim is: a statement with its source, the cases in which it is checked, and what was found on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from constructions.verdict import Evidence, Verdict
from verify.certificate import Certificate
from verify.counterexample import Counterexample
from verify.falsifiers.falsifier import Falsifier


@dataclass(frozen=True)
class Settings:
    """What an audit run may choose: the seed of all random instances, and whether to run many more of them."""

    seed: int = 0
    thorough: bool = False


@dataclass(frozen=True)
class Constant:
    """A number that the source or the literature states, beside what a case certifies for it, in words for readers.

    ``slack`` says how far apart the two are.

    >>> Constant("width for a pair", "d ≥ 4", "d = 2", "2 less").stated
    'd ≥ 4'
    """

    quantity: str
    stated: str
    certified: str
    slack: str


@dataclass(frozen=True)
class CaseResult:
    """One checked case. ``measured`` holds sampled numbers that stand beside the proof (JSON values); they prove
    nothing. ``counterexample`` is the instance that refutes, where one can be written down. ``constants`` compares what
    the certificate proves with what the source states."""

    verdict: Verdict
    evidence: Evidence
    summary: str
    certificate: Certificate | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    counterexample: Counterexample | None = None
    constants: tuple[Constant, ...] = ()


@dataclass(frozen=True)
class Case:
    """A named instance and the function that checks it."""

    name: str
    check: Callable[[], CaseResult]


@dataclass(frozen=True)
class Finding:
    """Something that the paper states otherwise, or not at all, and the case that witnesses it."""

    text: str
    case: str


class Origin(Protocol):
    """Where a claim that is not ours comes from, in a form that goes to other processes (see sources.py)."""

    @property
    def fingerprint(self) -> str:
        """Changes with the code of the claims."""

    @property
    def options(self) -> tuple[str, ...]:
        """What ``promptcert audit`` has to be told to find the claims."""

    def claims(self) -> tuple[Claim, ...]:
        """The claims, loaded in this process."""


@dataclass(frozen=True)
class Claim:
    """A claim as an object: the registry, the audit, the docs and the test ids are made from these.

    ``cases(settings)`` lists the instances; ``scope`` says in one line what a proved case proves. ``expected`` is the
    verdict of an audit that finds everything as claimed. ``falsifier`` is the search that tries to refute it.
    ``origin`` is set when a user's claim is loaded, and None for ours.
    """

    slug: str
    title: str
    statement: str
    source: str
    scope: str
    cases: Callable[[Settings], list[Case]]
    expected: Verdict = Verdict.PROVED
    depends: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    falsifier: Falsifier | None = None
    origin: Origin | None = None
