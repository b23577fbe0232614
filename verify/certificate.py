"""Certificates: what is written for the kernel, in the format of docs/certificate-format.md."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flint import fmpq, fmpz

from constructions.data import Query
from constructions.documents import MAX_BYTES, write_text
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence
from verify import formats

HEX_FROM = 1 << 53
MAX_NESTING = 300


def toolkit() -> dict[str, str]:
    """The versions that a certificate names."""
    return {name: _version(name) for name in ("promptcert", "python-flint")}


@cache
def _version(name: str) -> str:
    return version(name)  # reads and parses files


@dataclass(frozen=True)
class Certificate:
    """A relation about an instance, with a witness from which the kernel re-derives it."""

    claim: str
    relation: str
    evidence: Evidence
    instance: dict[str, Any]
    witness: dict[str, Any]
    toolkit: dict[str, str] = field(default_factory=toolkit)

    def document(self) -> dict[str, Any]:
        """The JSON object, with its hash."""
        content: dict[str, Any] = {
            "format": formats.CERTIFICATE,
            "claim": self.claim,
            "relation": self.relation,
            "evidence": self.evidence.value,
            "instance": self.instance,
            "witness": self.witness,
            "toolkit": self.toolkit,
        }
        return seal(content)

    def text(self) -> str:
        """The bytes of the file: canonical JSON and one line break."""
        return canonical(self.document()) + "\n"

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all. Raises InputError."""
        write_text(path, self.text())


def canonical(content: dict[str, Any]) -> str:
    """JSON with sorted keys, no spaces, ASCII only.

    >>> canonical({"b": 1, "a": "é"})
    '{"a":"\\\\u00e9","b":1}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """The content with ``sha256`` set to the hash of everything else."""
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return {**bare, "sha256": hashlib.sha256(canonical(bare).encode("ascii")).hexdigest()}


def read_sealed(path: str | os.PathLike[str], expected_format: str) -> dict[str, Any] | None:
    """The JSON object of a file that calls itself one of this format, else None; nothing else is checked, but that
    nothing in it is nested deeper than MAX_NESTING, so that whoever looks at it may recurse."""
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MAX_BYTES:
            return None
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("format") != expected_format or _too_deep(document):
        return None
    return document


def _too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(MAX_NESTING):
        parts = [part.values() if isinstance(part, dict) else part for part in level]
        level = [inner for part in parts for inner in part if isinstance(inner, list | dict)]
        if not level:
            return False
    return True


def integer(n: fmpz | int) -> int | str:
    """An integer as the format writes it: hexadecimal from 2^53 on.

    >>> integer(-5), integer(2**60)
    (-5, '0x1000000000000000')
    """
    value = int(n)
    return value if abs(value) < HEX_FROM else hex(value)


def scalar(x: fmpq) -> dict[str, Any]:
    return {"den": integer(x.q), "num": integer(x.p)}


def matrix(values: RationalMatrix) -> dict[str, Any]:
    """A matrix as integers over one denominator."""
    if 0 in values.shape:
        return {"den": 1, "num": [[] for _ in range(values.shape[0])]}
    numerators, denominator = values.mat.numer_denom()
    return {"den": integer(denominator), "num": [[integer(x) for x in row] for row in numerators.tolist()]}


def vector(values: Sequence[fmpq]) -> dict[str, Any]:
    encoded = matrix(RationalMatrix.of([list(values)]))
    return {"den": encoded["den"], "num": encoded["num"][0]}


def exp_sum(x: ExpSum) -> dict[str, Any]:
    exponents = sorted(x.terms)
    return {"coefficients": vector([x.terms[q] for q in exponents]), "exponents": vector(exponents)}


def exp_fractions(values: Sequence[ExpFraction]) -> dict[str, Any]:
    """A vector of exponential fractions over one denominator (the product of the different ones)."""
    denominators: list[ExpSum] = []
    for x in values:
        if x.denominator not in denominators:
            denominators.append(x.denominator)
    common = ExpSum.of(1)
    for d in denominators:
        common = common * d
    numerators = []
    for x in values:
        factor = ExpSum.of(1)
        for d in denominators:
            if d != x.denominator:
                factor = factor * d
        numerators.append(exp_sum(x.numerator * factor))
    return {"numerators": numerators, "denominator": exp_sum(common)}


def exp_column(values: ExpMatrix) -> dict[str, Any]:
    return exp_fractions(values.column(0))


def head(h: Head) -> dict[str, Any]:
    matrices = {name: matrix(getattr(h, name)) for name in ("W_q", "W_k", "W_v", "W_o")}
    return {**matrices, "b_q": vector(h.b_q.column(0))}


def mlp(f: FeedForward) -> dict[str, Any]:
    if f.units is not None:
        raise ValueError("certificate: expected ReLU units, found piecewise-linear ones")
    return {
        "W_1": matrix(f.W_1),
        "b_1": vector(f.b_1.column(0)),
        "W_2": matrix(f.W_2),
        "b_2": vector(f.b_2.column(0)),
    }


def layer(model: Transformer) -> dict[str, Any]:
    """The single layer of a model, with its mask and embedding."""
    single: Layer = model.layers[0]
    if len(model.layers) != 1 or single.attention.kind != "softmax":
        raise ValueError("certificate: expected a single layer with softmax attention")
    return {
        "heads": [head(h) for h in single.attention.heads],
        "mlp": mlp(single.mlp),
        "causal": model.causal,
        "E": None if model.E is None else matrix(model.E),
    }


def query(q: Query) -> dict[str, Any]:
    return {"X": matrix(q.X), "column": q.column, "target": vector(q.target)}
