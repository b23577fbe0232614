"""``promptcert show`` for the record of one target: what is enclosed in it, and what its certificate proves."""

from __future__ import annotations

import json
from fractions import Fraction
from math import inf, nextafter
from pathlib import Path
from typing import Any

from verify.certificate import seal
from verify.commands.answer import Answer, Exit
from verify.kernel_process import check_files, printable
from verify.target_record import RecordError, demand_record, misfit

MAX_CHARACTERS = 200
"""Longer expressions are cut off."""
MAX_TOKENS = 24
"""Longer tables are told by their size."""


def sentence(document: dict[str, Any]) -> str:
    """What such a file is, for a reader who asked the kernel about it."""
    try:
        demand_record(document)
    except RecordError as error:
        return f"it calls itself a record of one target, but is none: {error}"
    return (
        "a record of one target: enclosures of our ball arithmetic, which the kernel does not re-derive; the statement "
        f"for every function is in the certificate with sha256 {document['certificate']['sha256']}"
    )


def record_answer(path: str, document: dict[str, Any]) -> Answer:
    """0 if the record is whole and the certificate beside it is true and fits it, 1 if something is wrong with one of
    them, 2 if the certificate is not there."""
    said = sentence(document)
    try:
        demand_record(document)
    except RecordError:
        text = f"{printable(path)}: not a certificate: {said}"
        return Answer(Exit.BAD_INPUT, _document(None, said, [text]), text)
    code, about = _certificate(Path(path).parent, document)
    if seal(document)["sha256"] != document["sha256"]:
        code, about = Exit.NOT_AS_CLAIMED, [*about, "its sha256 is not that of the content: the record was changed"]
    told = [*_told(document), *about]
    lines = [
        f"record of one target ({document['evidence']}), not a certificate",
        "these are enclosures of our ball arithmetic, which the kernel does not re-derive",
        *told,
        "made by " + ", ".join(f"{name} {number}" for name, number in sorted(document["toolkit"].items())),
        f"sha256 {document['sha256']}",
    ]
    envelope = {key: document[key] for key in ("target", "evidence", "certificate", "toolkit", "sha256")}
    return Answer(code, _document(envelope, said, told), "\n".join(printable(line) for line in lines))


def _document(envelope: dict[str, Any] | None, said: str, told: list[str]) -> dict[str, Any]:
    return {
        "certificate": None,
        "record": envelope,
        "counterexample": None,
        "kernel": "not a certificate",
        "sentence": said,
        "told": told,
    }


def _certificate(folder: Path, document: dict[str, Any]) -> tuple[Exit, list[str]]:
    """What the kernel says about the certificate beside the record, and whether the two belong together."""
    path = folder / document["certificate"]["file"]
    if not path.is_file():
        return Exit.UNDECIDED, [f"its certificate, {path}, is not there: nothing is proved"]
    checked = check_files([path])[0]
    lines = [f"its certificate, {path}: {checked.verdict}: {checked.sentence}"]
    if checked.verdict != "true":
        return Exit.OVER_LIMITS if checked.verdict == "over limits" else Exit.NOT_AS_CLAIMED, lines
    why = misfit(document, json.loads(path.read_text(encoding="utf-8")))
    if why is not None:
        return Exit.NOT_AS_CLAIMED, [*lines, f"this certificate does not carry the record: {why}"]
    return Exit.AS_CLAIMED, lines


def _told(document: dict[str, Any]) -> list[str]:
    d, m, k = (document[name] for name in ("d", "m", "k"))
    lines = [
        f"entry {i}: {text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + '…'}"
        for i, text in enumerate(document["target"])
    ]
    lipschitz, values, error = document["lipschitz"], document["range"], document["error"]
    lines.append(f"d = {d}, m = {m}, k = {k}, p = {document['p']}, ε = {document['epsilon']}")
    lines.append(f"Lipschitz constant at most {_above(lipschitz['certified'])} (stated {lipschitz['stated']})")
    lines.append(f"values from {_below(values[0])} to {_above(values[1])}")
    table = document["table"]
    if table is None:
        lines.append("no table: too many cells")
    elif len(table[0]) <= MAX_TOKENS:
        rows = "; ".join(" ".join(map(str, row)) for row in table)
        lines.append(f"table, in multiples of 1/{k}: {rows}")
    else:
        lines.append(f"a table of {len(table[0])} tokens")
    if error is not None:
        lines.append(
            f"distance from its table at most {_above(error['table'])}, from the network's output at most "
            f"{_above(error['network'])}"
        )
    return lines


def _above(text: str) -> str:
    return f"{nextafter(float(Fraction(text)), inf):.9g}"


def _below(text: str) -> str:
    return f"{nextafter(float(Fraction(text)), -inf):.9g}"
