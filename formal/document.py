"""Writes the list of lemmas in docs/machine-checked.md from the registry and the files beside this one.

Run `python formal/document.py` after a lemma was added, renamed or restated; the tests fail until then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from verify.claims.formal import LEMMAS, FormalLemma, lemmas_of
from verify.claims.registry import REGISTRY
from verify.coq import EXPORTABLE

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "machine-checked.md"
BEGIN, END = "<!-- lemmas: written by formal/document.py -->", "<!-- end of lemmas -->"
STATED = re.compile(r"^[ \t]*((?:Theorem|Corollary|Lemma)\s+(\w+)\b.*?\.)\s*$\s*Proof\b", re.MULTILINE | re.DOTALL)


def statements(file: str) -> dict[str, str]:
    """What each theorem, corollary and lemma of a file states, from its first word to the full stop."""
    text = (HERE / f"{file}.v").read_text(encoding="utf-8")
    return {name: _dedented(found) for found, name in STATED.findall(text)}


def _dedented(text: str) -> str:
    """Lines after the first lose as many leading spaces as all of them have, but two."""
    first, *others = text.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in others), default=2)
    return "\n".join([first, *("  " + line[margin:] for line in others)])


def table() -> Iterator[str]:
    """Which claim rests on which lemmas."""
    replayed = {exporter.claim for exporter in EXPORTABLE}
    yield "| claim | lemmas | certificates replay in Coq |"
    yield "|---|---|---|"
    for slug in REGISTRY:
        lemmas = lemmas_of(slug)
        if lemmas:
            names = ", ".join(f"[`{lemma.name}`](#{lemma.name})" for lemma in lemmas)
            kinds = ", ".join(f"`{e.relation}`" for e in EXPORTABLE if e.claim == slug)
            yield f"| `{slug}` | {names} | {kinds if slug in replayed else 'no'} |"


def section(lemma: FormalLemma) -> Iterator[str]:
    """A lemma in prose, then in Coq."""
    claims = ", ".join(f"`{slug}`" for slug in lemma.claims)
    yield from (f"### {lemma.name}", "", f"{lemma.prose} (`formal/{lemma.file}.v`; {claims})", "")
    yield from ("```coq", statements(lemma.file)[lemma.name], "```", "")


def generated() -> str:
    """The part of the page between the two marks."""
    lines = [BEGIN, "", *table(), ""]
    for lemma in LEMMAS:
        lines += section(lemma)
    return "\n".join([*lines, END])


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + generated() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
