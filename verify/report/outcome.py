"""Which cases make a claim differ from what it declares: the same answer for every format of the report."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def unexpected(claim: Json) -> list[Json]:
    """The cases because of which the claim has not the verdict that it declares; none if it has it.

    >>> case = {"name": "a", "verdict": "refuted"}
    >>> unexpected({"as_expected": False, "expected": "proved", "cases": [case]}) == [case]
    True
    >>> unexpected({"as_expected": True, "expected": "refuted", "cases": [case]})
    []
    """
    if claim["as_expected"]:
        return []
    return [case for case in claim["cases"] if case["verdict"] != claim["expected"]]


def sentence(claim: Json) -> str:
    """One line for a claim that is not as expected."""
    return f"{claim['slug']}: expected {claim['expected']}, found {claim['verdict']}"
