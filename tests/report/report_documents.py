"""Report documents made by hand: claims of every outcome, without running anything."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
HASH = "5" * 64


def case(verdict: str, name: str = "only", **fields: Any) -> Json:
    found = {
        "name": name,
        "verdict": verdict,
        "evidence": "exact",
        "summary": f"{name} in words",
        "certificate": f"certificates/{name}.json" if verdict == "proved" else None,
        "certificate_sha256": HASH if verdict == "proved" else None,
        "kernel": "the kernel's sentence" if verdict == "proved" else None,
        "counterexample": f"counterexamples/{name}.json" if verdict == "refuted" else None,
        "sampled": {},
        "constants": [],
    }
    return {**found, **fields}


def claim(slug: str, cases: list[Json], *, expected: str = "proved", **fields: Any) -> Json:
    verdicts = {each["verdict"] for each in cases}
    verdict = "refuted" if "refuted" in verdicts else "proved" if verdicts == {"proved"} else "undecided"
    found = {
        "slug": slug,
        "title": f"Title of {slug}",
        "statement": "A statement.",
        "source": "THEORY section 0",
        "origin": None,
        "scope": "what it proves",
        "depends": [],
        "expected": expected,
        "verdict": verdict,
        "evidence": "exact",
        "as_expected": verdict == expected,
        "findings": [],
        "cases": cases,
        "falsifier": None,
    }
    return {**found, **fields}


def document(*claims: Json) -> Json:
    return {
        "format": "promptcert-report/1",
        "as_expected": all(each["as_expected"] for each in claims),
        "claims": list(claims),
        "seed": 0,
        "thorough": False,
        "toolkit": {"promptcert": "0.1.0", "python-flint": "0.9.0"},
        "kernel_sha256": HASH,
    }


def every_outcome() -> Json:
    """One claim for each pair of expected verdict and found verdict that matters, and one without cases."""
    return document(
        claim("fine", [case("proved", "a"), case("proved", "b")]),
        claim("wrong", [case("proved", "a"), case("refuted", "b")]),
        claim("open", [case("undecided", "a"), case("proved", "b")]),
        claim("refuted-as-declared", [case("refuted", "a"), case("proved", "b")], expected="refuted"),
        claim("sampled-as-declared", [case("undecided", "a", evidence="sampled")], expected="undecided"),
        claim("proved-against-expectation", [case("proved", "a")], expected="refuted"),
        claim("nothing", []),
    )


def searched() -> Json:
    """A claim whose falsifier found nothing, and one that it refuted."""
    return document(
        claim("searched", [case("proved", "a")], falsifier=search()),
        claim(
            "falsified",
            [case("proved", "a")],
            verdict="refuted",
            as_expected=False,
            falsifier=search(
                counterexample="counterexamples/falsified.json", sentence="expected 1, found 2", evidence="exact"
            ),
        ),
    )


def search(**fields: Any) -> Json:
    """What a falsifier met."""
    found = {
        "budget": 10,
        "tried": 7,
        "smallest_slack": 0.25,
        "at": "d = 2",
        "tightness": [{"constant": "c", "slack": 0.25, "at": "d = 2"}],
        "counterexample": None,
        "sentence": None,
        "evidence": None,
        "stopped": None,
    }
    return {**found, **fields}


WRONG = {"wrong": ["b"], "open": ["a"], "proved-against-expectation": ["a"], "nothing": []}
"""The claims of ``every_outcome`` that are not as they declare, with the cases because of which."""
