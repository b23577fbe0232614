"""Counterexamples: an instance on which a statement fails, as a file that ``promptcert show`` tells.

A falsifier, a property test or a user's claim leaves one. It names the statement, says in one line what failed, and
holds the instance exactly. Format: docs/files.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import fmpq, fmpz

from constructions.data import Dataset
from constructions.documents import InputError, write_text
from constructions.files import data_json, model_json, number_json, rows_json
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence
from verify import formats
from verify.certificate import Certificate, read_sealed, seal, toolkit

FIELDS = ("format", "claim", "sentence", "evidence", "instance", "reproduce", "certificate", "toolkit", "sha256")
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


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
                "format": formats.COUNTEREXAMPLE,
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
        write_text(path, json.dumps(document, indent=1) + "\n")


class Refuted(AssertionError):
    """Raised by a check that has found a counterexample: in a test, in a case of a user's claim.

    ``sentence`` says in one line what was expected and what was found. ``instance`` names the parts of the instance;
    without it, the arguments that hypothesis drew are the instance. ``evidence`` tells how the failure was confirmed:
    Evidence.SAMPLED where floats decided. ``certificate`` proves it, where a relation of the format can say so. Raises
    TypeError for arguments of another type.

    >>> raise Refuted("expected at most 1, found 3/2", {"x": fmpq(3, 2)})
    Traceback (most recent call last):
        ...
    verify.counterexample.Refuted: expected at most 1, found 3/2
    """

    def __init__(
        self,
        sentence: str,
        instance: Mapping[str, Any] | None = None,
        *,
        evidence: Evidence = Evidence.EXACT,
        certificate: Certificate | None = None,
    ) -> None:
        for value, kind, expected in (
            (sentence, str, "the sentence to be text"),
            (instance, Mapping | None, 'the instance to be a mapping of names to parts, {"x": …}'),
            (evidence, Evidence, "evidence to be Evidence.EXACT, ENCLOSED or SAMPLED"),
            (certificate, Certificate | None, "certificate to be a Certificate"),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"Refuted: expected {expected}, found {value!r:.60}")
        super().__init__(sentence)
        self.sentence = sentence
        self.instance = instance
        self.evidence = evidence
        self.certificate = certificate

    def counterexample(
        self, claim: str, arguments: Mapping[str, Any] | None = None, *, reproduce: str | None = None
    ) -> Counterexample:
        """The same as an object; ``arguments`` stand in for an instance that was not named."""
        instance = self.instance if self.instance is not None else arguments or {}
        return Counterexample(claim, self.sentence, instance, self.evidence, reproduce, self.certificate)


def part(value: Any) -> Any:
    """One part of an instance in its exact JSON form.

    Numbers are integers or text p/q, matrices lists of rows; a model, a layer and a dataset have the form of their
    files, a head and an MLP the form that they have in one; sequences and mappings are written part by part. Raises
    TypeError for anything else, floats included: what a float stands for is written as the rational that was tested.

    >>> part([fmpq(1, 3), 2, RationalMatrix.of([[1, "1/2"]])])
    ['1/3', 2, [[1, '1/2']]]
    """
    match value:
        case None | bool() | str():
            return value
        case int() | fmpz():
            return number_json(fmpq(value))
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
        case Head():
            return {name: rows_json(getattr(value, name)) for name in ("W_q", "W_k", "W_v", "W_o", "b_q")}
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


class FormatError(ValueError):
    """A file that calls itself a counterexample and is none: says what was expected."""


def read_counterexample(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The JSON object of a file that calls itself a counterexample, else None; nothing else is checked."""
    return read_sealed(path, formats.COUNTEREXAMPLE)


def demand_counterexample(document: dict[str, Any]) -> None:
    """Raises FormatError unless all fields are there and are what the format says (the hash is not looked at)."""
    _demand(sorted(document) == sorted(FIELDS), f"the fields {', '.join(FIELDS)}")
    for name in ("claim", "sentence"):
        _demand(isinstance(document[name], str), f"{name} to be text")
    kinds = [kind.value for kind in Evidence]
    _demand(document["evidence"] in kinds, f"evidence to be one of {', '.join(kinds)}")
    _demand(document["reproduce"] is None or isinstance(document["reproduce"], str), "reproduce to be text or null")
    _demand(document["certificate"] is None or isinstance(document["certificate"], dict), "a certificate or null")
    _demand(isinstance(document["instance"], dict), "instance to name its parts")
    _demand(_exact(document["instance"]), "an instance without floats")
    made_by = document["toolkit"]
    _demand(isinstance(made_by, dict) and all(isinstance(x, str) for x in made_by.values()), "versions as text")
    _demand(
        isinstance(document["sha256"], str) and SHA256.fullmatch(document["sha256"]), "a hash of 64 hexadecimal digits"
    )


def _demand(holds: object, expected: str) -> None:
    if not holds:
        raise FormatError(f"expected {expected}")


def _exact(value: Any) -> bool:
    match value:
        case float():
            return False
        case list():
            return all(_exact(inner) for inner in value)
        case dict():
            return all(_exact(inner) for inner in value.values())
        case _:
            return True
