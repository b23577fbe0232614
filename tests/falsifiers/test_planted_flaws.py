"""Every falsifier against its own claim, mutated: each planted flaw is found within the default budget, or the
falsifier says why no search can find it; and nothing is found against the claim as it stands."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from constructions.verdict import Evidence, Verdict
from verify.claims.registry import REGISTRY
from verify.falsifiers.falsifier import Falsifier, Flaw, falsify

FALSIFIERS = {slug: claim.falsifier for slug, claim in REGISTRY.items() if claim.falsifier is not None}
FLAWS = [(slug, flaw) for slug, falsifier in FALSIFIERS.items() for flaw in falsifier.flaws()]
SCHEMA = Draft202012Validator(
    json.loads((files("verify") / "schemas" / "counterexample.schema.json").read_text(encoding="utf-8"))
)
PART = 4  # of the budget, for the claims as they stand


def the(slug: str) -> Falsifier:
    falsifier = FALSIFIERS[slug]
    assert falsifier is not None
    return falsifier


@pytest.mark.parametrize(("slug", "flaw"), FLAWS, ids=[f"{slug}: {flaw}" for slug, flaw in FLAWS])
def test_a_planted_flaw_is_found(slug: str, flaw: Flaw) -> None:
    falsifier = the(slug)
    reason = falsifier.reason(flaw)
    if reason is not None:
        assert len(reason) > 40, f"{slug}: {flaw} cannot be found, but the reason is only {reason!r}"
        return
    found = falsify(falsifier, flaw=flaw)
    assert found.verdict is Verdict.REFUTED, f"{slug}: {flaw} was not found in {found.tried} trials"
    assert found.counterexample is not None
    assert found.counterexample.claim == slug
    assert found.counterexample.evidence is not Evidence.SAMPLED
    SCHEMA.validate(found.counterexample.document())


def test_every_claim_that_is_proved_has_a_falsifier() -> None:
    proved = {slug for slug, claim in REGISTRY.items() if claim.expected is Verdict.PROVED}
    assert set(FALSIFIERS) == proved


@pytest.mark.parametrize("slug", FALSIFIERS)
def test_the_claim_itself_is_not_refuted(slug: str) -> None:
    falsifier = the(slug)
    assert falsifier.slug == slug
    assert falsifier.flaws()
    budget = -(-falsifier.budget // PART)
    found = falsify(falsifier, budget=budget)
    assert found.verdict is Verdict.UNDECIDED, found.counterexample
    assert found.tried == budget
    measurable = {name for name in falsifier.constants if name not in falsifier.unfindable}
    assert measurable <= set(found.tightness) <= set(falsifier.constants)
    assert all(measured.slack >= 0 for measured in found.tightness.values())
    assert falsify(falsifier, budget=min(budget, 12)) == falsify(falsifier, budget=min(budget, 12))


def test_the_docs_tell_what_cannot_be_found() -> None:
    page = (
        (Path(__file__).parents[2] / "docs" / "falsifiers.md")
        .read_text(encoding="utf-8")
        .replace("\\", "")
        .replace("&lt;", "<")
    )
    for slug, falsifier in FALSIFIERS.items():
        for reason in falsifier.unfindable.values():
            assert reason in page, slug
        assert all(f"| `{slug}` | {name} |" in page for name in falsifier.constants if name not in falsifier.unfindable)
