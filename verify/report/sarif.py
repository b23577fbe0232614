"""The report as SARIF 2.1.0, for code scanning: the rules are the claims, the results are what is not as claimed."""

from __future__ import annotations

import json

from verify.report.outcome import Json, sentence, unexpected

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
"""The name by which readers know the format; nothing is fetched from there."""
PLACE = "report.json"


def text(report: Json) -> str:
    """The SARIF log as text."""
    return json.dumps(log(report), indent=1, ensure_ascii=False) + "\n"


def log(report: Json) -> Json:
    """The SARIF log: one run with a rule for each claim, and a result for each case that makes its claim differ from
    the verdict that it declares (level ``warning`` where that is undecided, else ``error``)."""
    driver = {
        "name": "promptcert",
        "version": report["toolkit"].get("promptcert", "0"),
        "rules": [_rule(claim) for claim in report["claims"]],
    }
    lines = _lines(report)
    results = [
        _result(index, claim, case, lines)
        for index, claim in enumerate(report["claims"])
        if not claim["as_expected"]
        for case in (unexpected(claim) or (None,))
    ]
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "promptcert/audit"},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            "asExpected": report["as_expected"],
            "seed": report["seed"],
            "thorough": report["thorough"],
            "kernelSha256": report["kernel_sha256"],
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(claim: Json) -> Json:
    return {
        "id": claim["slug"],
        "name": "".join(word.capitalize() for word in claim["slug"].split("-")),
        "shortDescription": {"text": claim["title"]},
        "fullDescription": {"text": claim["statement"]},
        "help": {"text": f"Source: {claim['source']}. Each certificate proves {claim['scope']}."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"expected": claim["expected"]},
    }


def _result(index: int, claim: Json, case: Json | None, lines: dict[str, int]) -> Json:
    verdict = claim["verdict"] if case is None else case["verdict"]
    name = claim["slug"] if case is None else f"{claim['slug']}/{case['name']}"
    said = "it has no case of that verdict" if case is None else f"{case['name']} is {verdict}: {case['summary']}"
    return {
        "ruleId": claim["slug"],
        "ruleIndex": index,
        "level": "warning" if verdict == "undecided" else "error",
        "message": {"text": f"{sentence(claim)}; {said}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": PLACE},
                    "region": {"startLine": lines.get(name, lines[claim["slug"]])},
                },
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "module" if case is None else "function"}],
            }
        ],
        "partialFingerprints": {"promptcert/case/v1": name},
    }


def _lines(report: Json) -> dict[str, int]:
    """The line of report.json at which each claim and each case begins, as the audit writes that file."""
    found: dict[str, int] = {}
    names: list[tuple[str, str | None]] = [
        (claim["slug"], name)
        for claim in report["claims"]
        for name in (None, *[case["name"] for case in claim["cases"]])
    ]
    rows: list[str] = json.dumps(report, indent=1, ensure_ascii=False).split("\n")  # U+0085 and others end no line
    row = 0
    for slug, name in names:
        key, value = ("slug", slug) if name is None else ("name", name)
        wanted = f'"{key}": {json.dumps(value, ensure_ascii=False)},'
        while rows[row].strip() != wanted:
            row += 1
        found[slug if name is None else f"{slug}/{name}"] = row + 1
    return found
