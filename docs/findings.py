"""Writes docs/findings.md: what the claims found that the paper states otherwise, or not at all.

python docs/findings.py
"""

from __future__ import annotations

from pathlib import Path

from verify.claims.registry import REGISTRY

HEAD = (
    "# Findings\n\n"
    "What was found on the way, claim by claim, each with a case that anyone can replay. "
    "This page is written by `python docs/findings.py` from the claims themselves, "
    "and `make test` fails when it is out of step.\n\n"
    "To replay one: `promptcert audit --claim CLAIM --out DIR` makes its certificates, and "
    "`python3 -I verify/kernel DIR/certificates/CLAIM-CASE.json` checks one with a bare Python. "
    "The same is in `DIR/report.html`, with hashes.\n\n"
    "| finding | claim | case | source |\n|---|---|---|---|\n"
)


def page() -> str:
    """The page as it should be."""
    rows = [
        f"| {_cell(finding.text)} | `{claim.slug}` | `{finding.case}` | {_cell(claim.source)} |\n"
        for claim in REGISTRY.values()
        for finding in claim.findings
    ]
    return HEAD + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    (Path(__file__).parent / "findings.md").write_text(page(), encoding="utf-8")
