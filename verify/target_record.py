"""The record of one target, written beside the certificate of its network.

The certificate is about every function with given d, m, L, p, ε, and the kernel re-derives it. That the user's function
is one of them, what its table is and how large its own error is, are enclosures of our ball arithmetic: they stand in a
record of their own, with evidence "enclosed", which names the certificate by its hash. Format: docs/files.md; source:
THEORY section 6, "For one f".
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from flint import fmpq

from constructions.universality.for_all import Budget
from constructions.universality.grid import Digits
from constructions.verdict import Evidence
from verify import formats
from verify.certificate import canonical, read_sealed, seal, toolkit

CLAIM = "universality-softmax"
NUMBER = re.compile(r"-?\d{1,8000}(/[1-9]\d{0,8000})?", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
FIELDS = (
    *("format", "evidence", "target", "d", "m", "k", "p", "epsilon", "lipschitz", "range", "clamped", "table"),
    *("error", "certificate", "toolkit", "sha256"),
)


class RecordError(ValueError):
    """A file that calls itself a record of a target and is none: says which field, and what was expected."""


@dataclass(frozen=True)
class Enclosed:
    """What is known about one target: the expressions in column order; ε as the user asked for it; the Lipschitz
    constant as stated and as certified; bounds of its values; how far it is from its values cut off at 0 and 1, at
    most; its table and its distance from it, at most (None where there are too many cells)."""

    target: Sequence[str]
    epsilon: fmpq
    stated: fmpq
    certified: fmpq
    values: tuple[fmpq, fmpq]
    clamped: fmpq
    table: Sequence[Digits] | None
    error: fmpq | None


def record(known: Enclosed, found: Budget, certificate: dict[str, Any], file: str) -> dict[str, Any]:
    """The record as a JSON object with its hash. ``certificate`` is the document of the statement for every function,
    ``file`` the name of its file."""
    grid = found.grid
    table = None
    if known.table is not None:
        table = [[digit for block in known.table for digit in block[i]] for i in range(grid.d)]
    error = None
    if known.error is not None:
        rest = found.epsilon_s * found.root_m + found.epsilon_r
        error = {"table": str(known.error), "network": str(known.error + rest)}
    return seal(
        {
            "format": formats.TARGET,
            "evidence": Evidence.ENCLOSED.value,
            "target": list(known.target),
            "d": grid.d,
            "m": grid.m,
            "k": grid.k,
            "p": str(found.p),
            "epsilon": str(known.epsilon),
            "lipschitz": {"stated": str(known.stated), "certified": str(known.certified)},
            "range": [str(x) for x in known.values],
            "clamped": str(known.clamped),
            "table": table,
            "error": error,
            "certificate": {"claim": certificate["claim"], "file": file, "sha256": certificate["sha256"]},
            "toolkit": toolkit(),
        }
    )


def text_of(document: dict[str, Any]) -> str:
    """The bytes of the file: canonical JSON and one line break."""
    return canonical(document) + "\n"


def record_path(certificate: Path) -> Path:
    """The record's file beside a certificate.

    >>> record_path(Path("proofs/universality.cert.json")).name
    'universality-target.json'
    """
    stem = certificate.name.removesuffix(".json").removesuffix(".cert")
    return certificate.with_name(f"{stem}-target.json")


def read_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The JSON object of a file that calls itself a record of a target, else None; nothing else is checked."""
    return read_sealed(path, formats.TARGET)


def demand_record(document: dict[str, Any]) -> None:
    """Raises RecordError unless all fields are there and are what the format says (the hash is not looked at)."""
    _demand(sorted(document) == sorted(FIELDS), f"the fields {', '.join(FIELDS)}")
    d, m, k = (document[name] for name in ("d", "m", "k"))
    for value, least in ((d, 1), (m, 1), (k, 2)):
        _demand(_whole(value) and value >= least, "d, m ≥ 1 and k ≥ 2")
    _demand(document["evidence"] == Evidence.ENCLOSED.value, "the evidence 'enclosed'")
    target = document["target"]
    _demand(isinstance(target, list) and len(target) == d * m, "a target of d·m expressions")
    _demand(all(isinstance(text, str) for text in target), "expressions as text")
    lipschitz, error, link = document["lipschitz"], document["error"], document["certificate"]
    _demand_object(lipschitz, "lipschitz", ("certified", "stated"))
    numbers = [document["p"], document["epsilon"], document["clamped"], *lipschitz.values()]
    _demand(isinstance(document["range"], list) and len(document["range"]) == 2, "a range of two numbers")
    numbers += document["range"]
    if error is not None:
        _demand_object(error, "error", ("network", "table"))
        numbers += error.values()
    _demand(all(isinstance(x, str) and NUMBER.fullmatch(x) for x in numbers), "rational numbers as text")
    _demand_object(link, "certificate", ("claim", "file", "sha256"))
    _demand(all(isinstance(x, str) for x in link.values()), "claim, file and sha256 of the certificate as text")
    _demand(Path(link["file"]).name == link["file"] != "", "the name of the certificate's file, without a folder")
    hashes = [link["sha256"], document["sha256"]]
    _demand(all(isinstance(x, str) and SHA256.fullmatch(x) for x in hashes), "hashes of 64 hexadecimal digits")
    made_by = document["toolkit"]
    _demand(isinstance(made_by, dict) and all(isinstance(x, str) for x in made_by.values()), "versions as text")
    _demand_table(document["table"], d, m, k)


def _demand(holds: object, expected: str) -> None:
    if not holds:
        raise RecordError(f"expected {expected}")


def _demand_object(value: object, name: str, fields: tuple[str, ...]) -> None:
    found = isinstance(value, dict) and tuple(sorted(value)) == fields
    _demand(found, f"{name} with the fields {', '.join(fields)}")


def _demand_table(table: object, d: int, m: int, k: int) -> None:
    if table is None:
        return
    _demand(d * m * k.bit_length() <= 64 and isinstance(table, list) and len(table) == d, "a table of d rows")
    assert isinstance(table, list)
    length = m * k ** (d * m)
    _demand(all(isinstance(row, list) and len(row) == length for row in table), f"rows of {length} digits")
    _demand(all(_whole(x) and 0 <= x < k for row in table for x in row), f"digits from 0 to {k - 1}")


def _whole(x: object) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def misfit(document: dict[str, Any], certificate: dict[str, Any]) -> str | None:
    """Why a certificate that the kernel accepts does not carry this record, or None: it must be the named one and be
    about the same d, m, k and p, an L of at least the certified one, and an ε that leaves room for cutting off; and
    what its network adds to the error of the table must be in the record's."""
    link, instance, witness = document["certificate"], certificate["instance"], certificate["witness"]
    if (certificate["claim"], certificate["sha256"]) != (link["claim"], link["sha256"]):
        return "it is not the one that the record names"
    if certificate["claim"] != CLAIM:
        return f"it is not about {CLAIM}"
    if any(_integer(instance[name]) != document[name] for name in ("d", "m", "k")):
        return "it is about another grid"
    if _scalar(instance["p"]) != Fraction(document["p"]):
        return "it is about another norm"
    if _scalar(instance["L"]) < Fraction(document["lipschitz"]["certified"]):
        return "its Lipschitz constant is smaller than the target's"
    if _scalar(instance["epsilon"]) + Fraction(document["clamped"]) > Fraction(document["epsilon"]):
        return "its ε leaves no room for cutting off the target's values"
    error = document["error"]
    if error is not None:
        epsilon_s, epsilon_r, root_m = (_scalar(witness[name]) for name in ("epsilon_s", "epsilon_r", "root_m"))
        if Fraction(error["table"]) + epsilon_s * root_m + epsilon_r > Fraction(error["network"]):
            return "its network may add more to the table's error than the record says"
    return None


def _integer(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else value


def _scalar(value: dict[str, Any]) -> Fraction:
    return Fraction(_integer(value["num"]), _integer(value["den"]))
