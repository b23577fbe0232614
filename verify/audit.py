"""The runner: every case of every claim, each proof handed to the kernel, finished cases kept for a resumed run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from constructions.documents import InputError, write_text
from constructions.verdict import Evidence, Verdict
from verify import formats
from verify.certificate import seal, toolkit
from verify.claims import Settings
from verify.claims.claim import CaseResult, Claim, Origin
from verify.claims.results import checked, users_result
from verify.claims.sources import find
from verify.claims.sources import listed as cases_of
from verify.executor import Dask, Executor, Local
from verify.falsified import PART as FALSIFIERS
from verify.falsified import Searches, falsify_claims
from verify.kernel_process import DisagreementError, KernelError, check_files, kernel_sha256
from verify.report import write_report
from verify.resumable import keep, kept, output_folder, run_key

PARTS = ("certificates", "cases")
Record = dict[str, Any]


def audit(
    claims: Iterable[Claim],
    settings: Settings,
    *,
    out: Path | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    resume: bool = False,
    searches: Searches | None = None,
    on_progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Record:
    """Run the cases of these claims; the report as a JSON object (schema: verify/schemas/audit.schema.json).

    The cases are made by ``executor``, by default ``jobs`` processes of this machine. With ``out``, certificates,
    finished cases and the report in all formats are written there, by this process alone; ``resume`` reuses the
    finished cases of a run with the same code, seed and thoroughness. With ``searches``, the claims' falsifiers run
    after the cases, on this machine (:mod:`verify.falsified`). Raises DisagreementError when the kernel does not accept
    what a claim proved, InputError when ``out`` cannot be written or another run uses it, WorkerLostError when a
    process that made a case is gone; a note on the exception says how much is kept.
    """
    chosen = {claim.slug: claim for claim in claims}
    listed = {slug: cases_of(claim, settings) for slug, claim in chosen.items()}
    key = run_key(settings)
    keys = {
        slug: key if claim.origin is None else f"{key}/{claim.origin.fingerprint}" for slug, claim in chosen.items()
    }
    with output_folder(out, PARTS, ("counterexamples", FALSIFIERS)) as folder:
        tasks = [(slug, case.name) for slug, cases in listed.items() for case in cases]
        searched = [] if searches is None else [claim for claim in chosen.values() if claim.falsifier is not None]
        _demand_files_of_their_own(tasks, [claim.slug for claim in searched])
        total = len(tasks) + len(searched)
        records: dict[tuple[str, str], Record] = {}
        try:
            for task in tasks:
                finished = _finished(folder, task, keys[task[0]]) if resume else None
                if finished is not None:
                    records[task] = finished
                    on_progress(len(records), total, task[0])
            work = [(chosen[slug], name) for slug, name in tasks if (slug, name) not in records]
            for (slug, name), result in _run_all(work, settings, key, executor or Local(jobs)):
                records[slug, name] = keep_case(chosen[slug], name, result, folder, keys[slug])
                on_progress(len(records), total, f"{slug}: {name}")
            rows = {slug: [records[slug, case.name] for case in cases] for slug, cases in listed.items()}
            falsified: dict[str, Record] = {}
            if searches is not None:
                falsified = falsify_claims(
                    searched,
                    searches,
                    settings,
                    folder,
                    keys,
                    jobs=jobs,
                    resume=resume,
                    on_progress=lambda done, name: on_progress(len(tasks) + done, total, name),
                )
            report = _report(list(chosen.values()), settings, rows, falsified)
            if out is not None:
                write_text(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
                write_report(report, folder)
        except BaseException as error:
            if out is not None and records and not isinstance(error, DisagreementError):
                error.add_note(f"{len(records)} of {len(tasks)} cases are finished and kept: go on with --resume")
            raise
    return report


def _demand_files_of_their_own(tasks: list[tuple[str, str]], searched: list[str]) -> None:
    """Slug and name make the file, the slug alone that of a falsifier: a-b/c and a/b-c would share one, and so would
    a/b and the falsifier of a-b. Raises InputError."""
    seen: dict[str, tuple[str, str]] = {}
    for task in tasks:
        other = seen.setdefault("-".join(task), task)
        if other != task:
            raise InputError(
                f"{task[0]}: expected names of cases that give files of their own, found {task[1]!r}, which is that of "
                f"{other[0]} with {other[1]!r}"
            )
    for slug in searched:
        if slug in seen:
            raise InputError(
                f"{slug}: expected a file of its own for what its falsifier finds, found that of "
                f"{seen[slug][0]} with {seen[slug][1]!r}"
            )


def _run_all(
    work: list[tuple[Claim, str]], settings: Settings, key: str, executor: Executor
) -> Iterator[tuple[tuple[str, str], CaseResult]]:
    """The result of each case of ``work``, as they come."""
    if isinstance(executor, Local) and min(executor.jobs, len(work)) <= 1:
        for claim, name in work:
            yield (claim.slug, name), run_case(claim, name, settings)
        return
    elsewhere = isinstance(executor, Dask)
    calls = [(claim.origin, claim.slug, name, settings, elsewhere) for claim, name in work]
    for task, result, code in executor.run(_named_case, calls):
        if elsewhere and code != key:
            raise InputError(
                f"--executor {executor}: expected workers with the same promptcert and python-flint as here, "
                "found one with other code: install the same there"
            )
        yield task, result


_ALONE = threading.Lock()


def _named_case(
    origin: Origin | None, slug: str, name: str, settings: Settings, tell_code: bool
) -> tuple[tuple[str, str], CaseResult, str]:
    """A case in another process, which finds the claim again, with the key of that process's code where it may be other
    code. The process may have several threads, while flint's precision is one number for all of them."""
    with _ALONE:
        return (slug, name), run_case(find(origin, slug), name, settings), run_key(settings) if tell_code else ""


def run_case(claim: Claim, name: str, settings: Settings) -> CaseResult:
    """Check one case. Nothing is written: this may be another process, or another machine."""
    case = next((case for case in cases_of(claim, settings) if case.name == name), None)
    if case is None:
        raise InputError(f"{claim.slug}: expected the same cases whenever they are listed, found no {name} any more")
    result = checked(case) if claim.origin is None else users_result(claim, case, settings)
    return replace(result, measured=dict(result.measured))


def keep_case(claim: Claim, name: str, result: CaseResult, folder: Path, key: str) -> Record:
    """Write the certificate of a checked case, ask the kernel, keep the record. What an earlier run left there is
    replaced, or removed where there is no such file now."""
    file = f"{claim.slug}-{name}.json"
    path, refutation = folder / "certificates" / file, folder / "counterexamples" / file
    sentence = None
    try:
        sentence = _kernel_sentence(result, path, f"{claim.slug}/{name}")
    except (DisagreementError, KernelError) as error:
        if claim.origin is None:
            written = result.certificate is not None and result.evidence is not Evidence.SAMPLED
            raise type(error)(f"{error} ({path})" if written else str(error)) from None
        result = CaseResult(Verdict.UNDECIDED, result.evidence, str(error), measured=result.measured)
    if sentence is None:
        path.unlink(missing_ok=True)
    if result.counterexample is None:
        refutation.unlink(missing_ok=True)
    else:
        refutation.parent.mkdir(exist_ok=True)
        result.counterexample.write(refutation)
    proof = None if sentence is None else result.certificate
    record = {
        "name": name,
        "verdict": result.verdict.value,
        "evidence": result.evidence.value,
        "summary": result.summary,
        "certificate": None if proof is None else f"certificates/{file}",
        "certificate_sha256": None if proof is None else proof.document()["sha256"],
        "kernel": sentence,
        "counterexample": None if result.counterexample is None else f"counterexamples/{file}",
        "sampled": dict(result.measured),
        "constants": [asdict(constant) for constant in result.constants],
    }
    keep(_record_path(folder, (claim.slug, name)), key, record)
    return record


def _kernel_sentence(result: CaseResult, path: Path, name: str) -> str | None:
    """What the kernel says it has proved, from the certificate that is written to ``path``: that the case is proved, or
    that it is refuted. Raises DisagreementError and KernelError."""
    verdict, certificate = result.verdict, result.certificate
    if verdict is Verdict.PROVED and (certificate is None or result.evidence is Evidence.SAMPLED):
        raise DisagreementError(f"{name}: proved without a certificate, or by sampling")
    if verdict is Verdict.UNDECIDED or certificate is None:
        return None
    certificate.write(path)
    answer = check_files([path])[0]
    if answer.verdict == "over limits":
        raise KernelError(f"{name}: {verdict.value}, but the kernel is over its limits: {answer.sentence}")
    if answer.verdict != "true":
        raise DisagreementError(f"{name}: {verdict.value}, but the kernel says {answer.verdict}: {answer.sentence}")
    return answer.sentence


def _report(
    chosen: list[Claim], settings: Settings, records: dict[str, list[Record]], falsified: dict[str, Record]
) -> Record:
    claims = []
    for claim in chosen:
        rows, search = records[claim.slug], falsified.get(claim.slug)
        verdicts, evidence = [Verdict(row["verdict"]) for row in rows], [row["evidence"] for row in rows]
        if search is not None and search["counterexample"] is not None:
            verdicts.append(Verdict.REFUTED)
            evidence.append(search["evidence"])
        verdict = combined(verdicts)
        claims.append(
            {
                "slug": claim.slug,
                "origin": None if claim.origin is None else str(claim.origin),
                "title": claim.title,
                "statement": claim.statement,
                "source": claim.source,
                "scope": claim.scope,
                "depends": list(claim.depends),
                "expected": claim.expected.value,
                "verdict": verdict.value,
                "evidence": _weakest(evidence),
                "as_expected": verdict is claim.expected,
                "findings": [{"text": finding.text, "case": finding.case} for finding in claim.findings],
                "cases": rows,
                "falsifier": search,
            }
        )
    return {
        "format": formats.REPORT,
        "as_expected": all(claim["as_expected"] for claim in claims),
        "claims": claims,
        "seed": settings.seed,
        "thorough": settings.thorough,
        "toolkit": toolkit(),
        "kernel_sha256": kernel_sha256(),
    }


def combined(verdicts: list[Verdict]) -> Verdict:
    """Refuted if any case is, proved if all are (and there is one), else undecided.

    >>> combined([Verdict.PROVED, Verdict.UNDECIDED]).value, combined([]).value
    ('undecided', 'undecided')
    """
    if any(verdict is Verdict.REFUTED for verdict in verdicts):
        return Verdict.REFUTED
    if verdicts and all(verdict is Verdict.PROVED for verdict in verdicts):
        return Verdict.PROVED
    return Verdict.UNDECIDED


def _weakest(evidence: Iterable[str]) -> str:
    order = [Evidence.SAMPLED.value, Evidence.ENCLOSED.value, Evidence.EXACT.value]
    return min(evidence, key=order.index, default=Evidence.SAMPLED.value)


def _record_path(folder: Path, task: tuple[str, str]) -> Path:
    return folder / "cases" / f"{task[0]}-{task[1]}.json"


def _finished(folder: Path, task: tuple[str, str], key: str) -> Record | None:
    """The kept record of a case, if it belongs to the same code and settings and its certificate is still what it
    was."""
    record: Record | None = kept(_record_path(folder, task), key)
    try:
        if record is None:
            return None
        if record["counterexample"] is not None:
            counterexample = json.loads((folder / record["counterexample"]).read_text(encoding="utf-8"))
            if seal(counterexample) != counterexample:
                return None
        if record["certificate"] is None:
            if record["verdict"] == Verdict.PROVED.value:
                return None
        else:
            certificate = json.loads((folder / record["certificate"]).read_text(encoding="utf-8"))
            if certificate["sha256"] != record["certificate_sha256"]:
                return None
            if check_files([folder / record["certificate"]])[0].verdict != "true":
                return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # unreadable or half-finished: run the case again
    return record
