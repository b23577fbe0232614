"""``promptcert show`` for a counterexample: what failed, on which instance, and how that was confirmed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verify.certificate import canonical, seal
from verify.commands.answer import Answer, Exit
from verify.counterexample import FormatError, demand_counterexample
from verify.kernel_process import ANSWERS, KernelAnswer, check_files, printable

MAX_CHARACTERS = 600
"""Longer parts are told by their shape."""
CONFIRMED = {
    "exact": "by exact numbers, as the code that found it says",
    "enclosed": "by enclosures, as the code that found it says",
    "sampled": "not at all: a test failed on it, and how it computes is not known here",
}


def sentence(document: dict[str, Any]) -> str:
    """What such a file is, for a reader who asked the kernel about it."""
    try:
        demand_counterexample(document)
    except FormatError as error:
        return f"it calls itself a counterexample, but is none: {error}"
    return f"a counterexample to {document['claim']}, for promptcert show: {document['sentence']}"


def counterexample_answer(path: str, document: dict[str, Any]) -> Answer:
    """0 if the file is whole and the kernel accepts the certificate in it, if there is one; 1 if either is wrong."""
    said = sentence(document)
    try:
        demand_counterexample(document)
    except FormatError:
        text = f"{printable(path)}: not a certificate: {said}"
        return Answer(Exit.BAD_INPUT, _document(None, said, [text]), text)
    code = Exit.AS_CLAIMED
    told = [line for name, value in document["instance"].items() for line in _part(name, value)]
    confirmed, checked = CONFIRMED[document["evidence"]], None
    if document["certificate"] is not None:
        checked = _checked(document["certificate"])
        confirmed = f"by its certificate, which the kernel calls {checked.verdict}: {checked.sentence}"
        code = Exit.AS_CLAIMED if checked.verdict == "true" else Exit.NOT_AS_CLAIMED
        if ANSWERS[checked.verdict] == Exit.OVER_LIMITS:
            code = Exit.OVER_LIMITS
    told.append(f"confirmed {confirmed}")
    if document["reproduce"] is not None:
        told.append(f"found again by: {document['reproduce']}")
    if seal(document)["sha256"] != document["sha256"]:
        code = Exit.NOT_AS_CLAIMED
        told.append("its sha256 is not that of the content: the file was changed")
    lines = [
        f"counterexample to {document['claim']} ({document['evidence']}), not a certificate",
        document["sentence"],
        *told,
        "made by " + ", ".join(f"{name} {number}" for name, number in sorted(document["toolkit"].items())),
        f"sha256 {document['sha256']}",
    ]
    names = ("claim", "sentence", "evidence", "reproduce", "toolkit", "sha256")
    envelope = {name: document[name] for name in names}
    envelope["certificate"] = None if checked is None else checked.verdict
    return Answer(code, _document(envelope, said, told), "\n".join(printable(line) for line in lines))


def _document(envelope: dict[str, Any] | None, said: str, told: list[str]) -> dict[str, Any]:
    return {
        "certificate": None,
        "record": None,
        "counterexample": envelope,
        "kernel": "not a certificate",
        "sentence": said,
        "told": told,
    }


def _checked(certificate: dict[str, Any]) -> KernelAnswer:
    """The kernel's answer about the certificate inside, as a file of its own."""
    with tempfile.TemporaryDirectory(prefix="promptcert-") as folder:
        path = Path(folder) / "certificate.json"
        path.write_text(canonical(certificate) + "\n", encoding="ascii")
        return check_files([path])[0]


def _part(name: str, value: Any) -> Iterator[str]:
    """One part of the instance: a model layer by layer, everything else on one line."""
    if isinstance(value, dict) and isinstance(value.get("layers"), list):
        for number, layer in enumerate(value["layers"]):
            yield from _layer(name if len(value["layers"]) == 1 else f"{name}, layer {number}", layer)
        return
    if isinstance(value, dict) and isinstance(value.get("examples"), list):
        for number, example in enumerate(value["examples"]):
            yield f"{name}, example {number}: {_shown(example)}"
        return
    yield f"{name} = {_shown(value)}"


def _layer(name: str, layer: Any) -> Iterator[str]:
    if not isinstance(layer, dict) or not isinstance(layer.get("heads"), list):
        yield f"{name} = {_shown(layer)}"
        return
    for number, head in enumerate(layer["heads"]):
        yield f"{name}, head {number}: {_shown(head)}"
    rest = {key: value for key, value in layer.items() if key != "heads"}
    yield f"{name}: {_shown(rest)}"


def _shown(value: Any) -> str:
    text = _text(value)
    if len(text) <= MAX_CHARACTERS:
        return text
    if isinstance(value, list):
        rows = f"{len(value)}×{len(value[0])} entries" if _is_matrix(value) else f"{len(value)} parts"
        return f"{rows}, too long to be told here"
    return f"{len(text)} characters, too long to be told here"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_shown(inner)}" for name, inner in value.items())
    if _is_matrix(value):
        return "[" + "; ".join(", ".join(map(_text, row)) for row in value) + "]"
    if isinstance(value, list):
        return "(" + ", ".join(map(_text, value)) + ")"
    return str(value)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) and row for row in value)
