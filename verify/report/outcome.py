"""Which cases make a claim differ from what it declares: the same answer for every format of the report."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
FALSIFIER = "(the falsifier)"
"""The name of a falsifier among cases, whose names have no brackets."""


def unexpected(claim: Json) -> list[Json]:
    """The cases because of which the claim has not the verdict that it declares; none if it has it.

    >>> case = {"name": "a", "verdict": "refuted"}
    >>> unexpected({"as_expected": False, "expected": "proved", "cases": [case], "falsifier": None}) == [case]
    True
    >>> unexpected({"as_expected": True, "expected": "refuted", "cases": [case], "falsifier": None})
    []
    """
    if claim["as_expected"]:
        return []
    return [case for case in rows(claim) if case["verdict"] != claim["expected"]]


def rows(claim: Json) -> list[Json]:
    """The cases of a claim, and its falsifier as one more where that has refuted it."""
    search = claim["falsifier"]
    if search is None or search["counterexample"] is None:
        return list(claim["cases"])
    found = {
        "name": FALSIFIER,
        "verdict": "refuted",
        "evidence": search["evidence"],
        "summary": search["sentence"],
        "certificate": None,
        "certificate_sha256": None,
        "kernel": None,
        "counterexample": search["counterexample"],
        "sampled": {},
        "constants": [],
    }
    return [*claim["cases"], found]


def sentence(claim: Json) -> str:
    """One line for a claim that is not as expected."""
    return f"{claim['slug']}: expected {claim['expected']}, found {claim['verdict']}"
