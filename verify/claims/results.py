"""What a case returned: from our own code as it is, from a user's code after a look at it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace

from constructions.verdict import Evidence, Undecided, Verdict
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Origin, Settings
from verify.claims.sources import said, users_code
from verify.counterexample import Counterexample, Refuted


def checked(case: Case) -> CaseResult:
    """The result of a case, whichever way it was told."""
    try:
        return case.check()
    except Undecided as reason:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(reason))


def users_result(claim: Claim, case: Case, settings: Settings) -> CaseResult:
    """What a user's own code says of a case: whatever goes wrong in it leaves the case undecided, and without a
    certificate nothing is proved."""
    origin = claim.origin
    assert origin is not None
    try:
        with users_code():
            result = _run(claim, case)
            if isinstance(result, CaseResult) and isinstance(result.counterexample, Counterexample):
                found = result.counterexample
                found = replace(found, reproduce=found.reproduce or command(claim.slug, origin, settings))
                result = replace(result, counterexample=found)
            _demand_result(result)
    except (Exception, SystemExit) as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.SAMPLED, said(error, str(origin)))
    if result.verdict is Verdict.PROVED and result.certificate is None:
        return replace(result, verdict=Verdict.UNDECIDED, summary=f"checked by its own code only: {result.summary}")
    if result.verdict is Verdict.REFUTED and result.evidence is Evidence.SAMPLED:
        return replace(result, verdict=Verdict.UNDECIDED, summary=f"refuted by sampling only: {result.summary}")
    if result.certificate is not None and result.evidence is not Evidence.SAMPLED:
        return replace(result, evidence=result.certificate.evidence)
    return result


def _run(claim: Claim, case: Case) -> CaseResult:
    try:
        return checked(case)
    except Refuted as reason:
        found = reason.counterexample(claim.slug)
        return CaseResult(Verdict.REFUTED, found.evidence, found.sentence, found.certificate, counterexample=found)


def command(slug: str, origin: Origin | None, settings: Settings) -> str:
    """The audit that finds it again."""
    words = ["promptcert", "audit", *(() if origin is None else origin.options), "--claim", slug]
    if settings.seed:
        words += ["--seed", str(settings.seed)]
    return shlex.join([*words, *(["--thorough"] if settings.thorough else [])])


def _demand_result(result: object) -> None:
    """Raises TypeError or ValueError for what cannot be written into the report and the files beside it."""
    if not isinstance(result, CaseResult):
        raise TypeError(f"expected the case to return a CaseResult, found {type(result).__name__}")
    kinds = {"verdict": Verdict, "evidence": Evidence, "summary": str, "measured": Mapping}
    for name, kind in kinds.items():
        if not isinstance(getattr(result, name), kind):
            found = type(getattr(result, name)).__name__
            raise TypeError(f"CaseResult: expected {name} to be a {kind.__name__}, found {found}")
    result.summary.encode()  # half of a pair of surrogates cannot be written
    json.dumps(dict(result.measured), allow_nan=False)
    for constant in result.constants:
        if not isinstance(constant, Constant):
            raise TypeError(f"CaseResult: expected constants to hold Constants, found {type(constant).__name__}")
        for name, words in asdict(constant).items():
            if not isinstance(words, str):
                raise TypeError(f"Constant: expected {name} to be a str, found {type(words).__name__}")
            words.encode()
    for name, part in (("certificate", Certificate), ("counterexample", Counterexample)):
        value = getattr(result, name)
        if value is not None:
            if not isinstance(value, part):
                raise TypeError(f"CaseResult: expected {name} to be a {part.__name__}, found {type(value).__name__}")
            value.document()
