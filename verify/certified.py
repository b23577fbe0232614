"""What was proved, as a file that the kernel has accepted: for tests (fixture ``certify``) and for scripts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from constructions.verdict import Evidence, Verdict
from verify.certificate import Certificate
from verify.claims.claim import CaseResult
from verify.counterexample import Refuted
from verify.kernel_process import KernelError, check_files


class NotProved(AssertionError):
    """Something that was to be proved was not: undecided, or with a certificate that the kernel does not accept."""


@dataclass(frozen=True)
class Certified:
    """A certificate's file and what the kernel says it has proved."""

    path: Path
    sentence: str


def certified(found: Certificate | CaseResult, path: str | os.PathLike[str]) -> Certified:
    """Write the certificate to ``path`` and have the kernel check it.

    ``found`` is a certificate, or the result of a case, which must be proved. Raises NotProved unless the kernel
    accepts, Refuted for a case that is refuted, TypeError for anything else, InputError when the file cannot be
    written; whatever is raised, no file is left.

    >>> import tempfile
    >>> from verify.claims import Settings
    >>> from verify.claims.registry import REGISTRY
    >>> case = REGISTRY["mlp-injectivity"].cases(Settings())[0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     certified(case.check(), f"{folder}/injective.json").sentence[:52]
    'mlp-injectivity: this MLP (d = 3, hidden units: 4) i'
    """
    place = Path(path)
    place.unlink(missing_ok=True)
    if isinstance(found, CaseResult):
        found = _proof(found)
    if not isinstance(found, Certificate):
        raise TypeError(f"certify: expected a Certificate or a CaseResult, found {type(found).__name__}")
    accepted = False
    try:
        found.write(place)
        answer = check_files([place])[0]
        accepted = answer.verdict == "true"
    except KernelError as error:
        raise NotProved(f"expected the kernel to accept the certificate, but {error}") from None
    finally:
        if not accepted:
            place.unlink(missing_ok=True)
    if not accepted:
        raise NotProved(f"expected a certificate that the kernel accepts, found {answer.verdict}: {answer.sentence}")
    return Certified(place, answer.sentence)


def _proof(result: CaseResult) -> Certificate:
    if result.verdict is Verdict.REFUTED and result.counterexample is not None:
        found = result.counterexample
        raise Refuted(found.sentence, found.instance, evidence=found.evidence, certificate=found.certificate)
    if result.verdict is not Verdict.PROVED:
        raise NotProved(f"expected proved, found {result.verdict.value}: {result.summary}")
    if result.certificate is None or result.evidence is Evidence.SAMPLED:
        raise NotProved(f"expected a certificate, found a case that says proved without one: {result.summary}")
    return result.certificate
