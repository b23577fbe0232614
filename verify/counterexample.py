"""Counterexamples: an instance on which a statement fails, as a file that ``promptcert show`` tells.

A falsifier, a property test or a user's claim leaves one. It names the statement, says in one line what failed, and
holds the instance exactly. Format: docs/files.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import fmpq, fmpz

from constructions.data import Dataset
from constructions.files import InputError, data_json, model_json, number_json, rows_json, write_json
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward, Layer, Transformer
from constructions.verdict import Evidence
from verify.certificate import Certificate, seal, toolkit

FORMAT = "promptcert-counterexample/1"


@dataclass(frozen=True)
class Counterexample:
    """An instance on which a statement fails.

    ``claim`` is a slug, or the name of whatever was tested; ``sentence`` says in one line what was expected and what
    was found; ``instance`` names its parts (see :func:`part` for what they may be). ``evidence`` tells how the failure
    was confirmed. ``reproduce`` is a command that finds it again. ``certificate`` proves the failure, where a relation
    of the format can say so.

    >>> Counterexample("my-lemma", "expected at most 1, found 3/2", {"x": fmpq(3, 2)}).document()["instance"]
    {'x': '3/2'}
    """

    claim: str
    sentence: str
    instance: Mapping[str, Any]
    evidence: Evidence = Evidence.EXACT
    reproduce: str | None = None
    certificate: Certificate | None = None

    def document(self) -> dict[str, Any]:
        """The JSON object, with its hash. Raises TypeError for parts that have no exact form."""
        return seal(
            {
                "format": FORMAT,
                "claim": self.claim,
                "sentence": self.sentence,
                "evidence": self.evidence.value,
                "instance": {name: part(value) for name, value in self.instance.items()},
                "reproduce": self.reproduce,
                "certificate": None if self.certificate is None else self.certificate.document(),
                "toolkit": toolkit(),
            }
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all. Raises InputError."""
        try:
            document = self.document()
        except TypeError as error:
            raise InputError(f"{os.fspath(path)}: not written: {error}") from None
        write_json(path, document)


def part(value: Any) -> Any:
    """One part of an instance in its exact JSON form.

    Numbers are integers or text p/q, matrices lists of rows; a model, a layer, an MLP and a dataset have the form of
    their files; sequences and mappings are written part by part. Raises TypeError for anything else, floats included:
    what a float stands for is written as the rational that was tested.

    >>> part([fmpq(1, 3), 2, RationalMatrix.of([[1, "1/2"]])])
    ['1/3', 2, [[1, '1/2']]]
    """
    match value:
        case None | bool() | int() | str():
            return value
        case fmpz():
            return int(value)
        case fmpq():
            return number_json(value)
        case Fraction():
            return number_json(fmpq(value.numerator, value.denominator))
        case RationalMatrix():
            return rows_json(value)
        case Transformer():
            return model_json(value)
        case Layer():
            return model_json(Transformer((value,)))
        case FeedForward():
            return {name: rows_json(getattr(value, name)) for name in ("W_1", "b_1", "W_2", "b_2")}
        case Dataset():
            return data_json(value)
        case Mapping():
            return {str(name): part(inner) for name, inner in value.items()}
        case Sequence():
            return [part(inner) for inner in value]
        case _:
            raise TypeError(f"a counterexample holds exact parts; found {type(value).__name__} ({value!r:.60})")
