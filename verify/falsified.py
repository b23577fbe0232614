"""The falsifiers in an audit: after a claim's cases its search runs, and a counterexample refutes the claim.

What a search measured stands in the report; finished searches are kept in ``falsifiers/`` for a resumed run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
from flint import fmpq

from constructions.verdict import Verdict
from verify.certificate import seal
from verify.claims.claim import Claim, Origin, Settings
from verify.claims.results import command
from verify.claims.sources import find, said, users_code
from verify.falsifiers.falsifier import Falsifier, Outcome, falsify
from verify.resumable import in_processes, keep, kept

PART = "falsifiers"
Record = dict[str, Any]
OnTrial = Callable[[int, int], None]


@dataclass(frozen=True)
class Searches:
    """What is asked for: ``budget`` trials for each claim, each falsifier's own number when None."""

    budget: int | None = None


def falsify_claims(
    claims: Sequence[Claim],
    searches: Searches,
    settings: Settings,
    folder: Path,
    keys: Mapping[str, str],
    *,
    jobs: int = 1,
    resume: bool = False,
    on_progress: Callable[[int, str], None] = lambda done, name: None,
) -> dict[str, Record]:
    """The search of each of these claims, which must have one; records by slug. ``keys`` are those of the claims'
    records."""
    (folder / PART).mkdir(exist_ok=True)
    found: dict[str, Record] = {}
    work = []
    for claim in claims:
        key = f"{keys[claim.slug]}/falsifier/{searches.budget}"
        record = _finished(folder, claim.slug, key) if resume else None
        if record is None:
            work.append((claim, key))
        else:
            found[claim.slug] = record
            on_progress(len(found), claim.slug)
    for slug, record in _run_all(work, searches, settings, folder, jobs, lambda name: on_progress(len(found), name)):
        found[slug] = record
        on_progress(len(found), f"{slug}: falsifier")
    return found


def _run_all(
    work: Sequence[tuple[Claim, str]],
    searches: Searches,
    settings: Settings,
    folder: Path,
    jobs: int,
    on_trial: Callable[[str], None],
) -> Iterator[tuple[str, Record]]:
    if min(jobs, len(work)) <= 1:
        for claim, key in work:

            def step(tried: int, budget: int, slug: str = claim.slug) -> None:
                on_trial(f"{slug}: falsifier, {tried} of {budget}")

            yield claim.slug, run_falsifier(claim, searches, settings, folder, key, step)
        return
    calls = [
        joblib.delayed(_named_falsifier)(claim.origin, claim.slug, searches, settings, folder, key)
        for claim, key in work
    ]
    yield from in_processes(calls, jobs)


def _named_falsifier(
    origin: Origin | None, slug: str, searches: Searches, settings: Settings, folder: Path, key: str
) -> tuple[str, Record]:
    """A falsifier in another process, which finds the claim again."""
    return slug, run_falsifier(find(origin, slug), searches, settings, folder, key)


def run_falsifier(
    claim: Claim,
    searches: Searches,
    settings: Settings,
    folder: Path,
    key: str,
    on_trial: OnTrial = lambda tried, budget: None,
) -> Record:
    """Search, write the counterexample if there is one, keep the record."""
    path = folder / "counterexamples" / f"{claim.slug}.json"
    path.unlink(missing_ok=True)
    try:
        with nullcontext() if claim.origin is None else users_code():
            falsifier = claim.falsifier
            if not isinstance(falsifier, Falsifier):
                raise TypeError(f"claim {claim.slug}: expected a Falsifier, found {type(falsifier).__name__}")
            budget = falsifier.budget if searches.budget is None else searches.budget
            outcome = falsify(
                falsifier,
                budget=budget,
                seed=settings.seed,
                on_progress=lambda tried, of, slack: on_trial(tried, of),
            )
            record = _record(claim, budget, outcome)
            if outcome.counterexample is not None:
                path.parent.mkdir(exist_ok=True)
                again = outcome.counterexample.reproduce or _command(claim, searches, settings)
                replace(outcome.counterexample, reproduce=again).write(path)
    except (Exception, SystemExit) as error:
        if claim.origin is None:
            raise
        nothing = Outcome(Verdict.UNDECIDED, 0, None, None, None, stopped=said(error, str(claim.origin)))
        record = _record(claim, searches.budget or 0, nothing)
    keep(_path(folder, claim.slug), key, record)
    return record


def _record(claim: Claim, budget: int, outcome: Outcome) -> Record:
    found = outcome.counterexample
    return {
        "budget": budget,
        "tried": outcome.tried,
        "smallest_slack": _number(outcome.slack),
        "at": outcome.at,
        "tightness": [
            {"constant": name, "slack": _number(measured.slack), "at": measured.at}
            for name, measured in outcome.tightness.items()
        ],
        "counterexample": None if found is None else f"counterexamples/{claim.slug}.json",
        "sentence": None if found is None else found.sentence,
        "evidence": None if found is None else found.evidence.value,
        "stopped": outcome.stopped,
    }


def _number(slack: fmpq | None) -> float | None:
    """Six digits: what was sampled proves nothing, so it need not be exact."""
    return None if slack is None else float(f"{float(slack):.6g}")


def _command(claim: Claim, searches: Searches, settings: Settings) -> str:
    words = ["--falsify"] if searches.budget is None else ["--falsify", "--falsify-budget", str(searches.budget)]
    return f"{command(claim.slug, claim.origin, settings)} {shlex.join(words)}"


def _path(folder: Path, slug: str) -> Path:
    return folder / PART / f"{slug}.json"


def _finished(folder: Path, slug: str, key: str) -> Record | None:
    """The kept record of a search, if its counterexample is still what it was."""
    record: Record | None = kept(_path(folder, slug), key)
    try:
        if record is not None and record["counterexample"] is not None:
            counterexample = json.loads((folder / record["counterexample"]).read_text(encoding="utf-8"))
            if seal(counterexample) != counterexample:
                return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # unreadable or half-finished: search again
    return record
