"""The runner: every case of every claim, each proof handed to the kernel, finished cases kept for a resumed run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib

from constructions.files import InputError, write_text
from constructions.verdict import Evidence, Undecided, Verdict
from verify.certificate import toolkit
from verify.claims import REGISTRY, Settings
from verify.claims.claim import CaseResult, Claim
from verify.kernel_process import KERNEL, DisagreementError, KernelError, check_files, kernel_sha256

REPORT_FORMAT = "promptcert-report/1"
Record = dict[str, Any]


def audit(
    slugs: Iterable[str],
    settings: Settings,
    *,
    out: Path | None = None,
    jobs: int = 1,
    resume: bool = False,
    on_progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Record:
    """Run the cases of the claims ``slugs``; the report as a JSON object (schema: verify/schemas/audit.schema.json).

    With ``out``, certificates, finished cases and ``report.json`` are written there; ``resume`` reuses the finished
    cases of a run with the same code, seed and thoroughness. Raises DisagreementError when the kernel does not accept
    what a claim proved, InputError when ``out`` cannot be written.
    """
    chosen = [REGISTRY[slug] for slug in slugs]
    key = _run_key(settings)
    with _folder(out) as folder:
        tasks = [(claim.slug, case.name) for claim in chosen for case in claim.cases(settings)]
        records: dict[tuple[str, str], Record] = {}
        for task in tasks:
            finished = _finished(folder, task, key) if resume else None
            if finished is not None:
                records[task] = finished
        missing = [task for task in tasks if task not in records]
        for done, task in enumerate(tasks[: len(tasks) - len(missing)], start=1):
            on_progress(done, len(tasks), task[0])
        for task, record in _run_all(missing, settings, folder, key, jobs):
            records[task] = record
            on_progress(len(records), len(tasks), f"{task[0]}: {task[1]}")
        report = _report(chosen, settings, records)
        if out is not None:
            write_text(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def _run_all(
    tasks: list[tuple[str, str]], settings: Settings, folder: Path, key: str, jobs: int
) -> Iterator[tuple[tuple[str, str], Record]]:
    if min(jobs, len(tasks)) <= 1:
        for slug, name in tasks:
            yield (slug, name), run_case(slug, name, settings, folder, key)
        return
    parallel = joblib.Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered")
    work: Any = parallel(joblib.delayed(_named_case)(slug, name, settings, folder, key) for slug, name in tasks)
    try:
        yield from work
    finally:
        work.close()  # the workers are gone before anybody tidies up behind them


def _named_case(slug: str, name: str, settings: Settings, folder: Path, key: str) -> tuple[tuple[str, str], Record]:
    return (slug, name), run_case(slug, name, settings, folder, key)


def run_case(slug: str, name: str, settings: Settings, folder: Path, key: str) -> Record:
    """Check one case, write its certificate, ask the kernel, keep the record."""
    case = next(case for case in REGISTRY[slug].cases(settings) if case.name == name)
    try:
        result = case.check()
    except Undecided as reason:
        result = CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(reason))
    path: Path | None = None
    sentence = None
    if result.verdict is Verdict.PROVED:
        if result.certificate is None or result.evidence is Evidence.SAMPLED:
            raise DisagreementError(f"{slug}/{name}: proved without a certificate, or by sampling")
        path = folder / "certificates" / f"{slug}-{name}.json"
        result.certificate.write(path)
        answer = check_files([path])[0]
        if answer.verdict == "over limits":
            raise KernelError(f"{slug}/{name}: proved, but the kernel is over its limits: {answer.sentence} ({path})")
        if answer.verdict != "true":
            raise DisagreementError(
                f"{slug}/{name}: proved, but the kernel says {answer.verdict}: {answer.sentence} ({path})"
            )
        sentence = answer.sentence
    record = {
        "name": name,
        "verdict": result.verdict.value,
        "evidence": result.evidence.value,
        "summary": result.summary,
        "certificate": None if path is None else f"certificates/{path.name}",
        "certificate_sha256": None if result.certificate is None else result.certificate.document()["sha256"],
        "kernel": sentence,
        "sampled": dict(result.measured),
    }
    write_text(_record_path(folder, (slug, name)), json.dumps({"key": key, "record": record}) + "\n")
    return record


def _report(chosen: list[Claim], settings: Settings, records: dict[tuple[str, str], Record]) -> Record:
    claims = []
    for claim in chosen:
        rows = [records[claim.slug, case.name] for case in claim.cases(settings)]
        verdict = combined([Verdict(row["verdict"]) for row in rows])
        claims.append(
            {
                "slug": claim.slug,
                "title": claim.title,
                "statement": claim.statement,
                "source": claim.source,
                "scope": claim.scope,
                "depends": list(claim.depends),
                "expected": claim.expected.value,
                "verdict": verdict.value,
                "evidence": _weakest(row["evidence"] for row in rows),
                "as_expected": verdict is claim.expected,
                "findings": [{"text": finding.text, "case": finding.case} for finding in claim.findings],
                "cases": rows,
            }
        )
    return {
        "format": REPORT_FORMAT,
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


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="promptcert-") as temporary:
            yield _prepared(Path(temporary))
    else:
        folder = _prepared(out)
        try:
            yield folder
        except BaseException:
            for part in ("certificates", "cases"):  # a worker that was killed could not remove what it had begun
                for unfinished in (folder / part).glob(".*.part"):
                    unfinished.unlink(missing_ok=True)
            raise


def _prepared(folder: Path) -> Path:
    try:
        for part in ("certificates", "cases"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as output folder: {error.strerror or error}") from None
    return folder


def _record_path(folder: Path, task: tuple[str, str]) -> Path:
    return folder / "cases" / f"{task[0]}-{task[1]}.json"


def _finished(folder: Path, task: tuple[str, str], key: str) -> Record | None:
    """The kept record of a case, if it belongs to the same code and settings and its certificate is still what it
    was."""
    try:
        kept = json.loads(_record_path(folder, task).read_text(encoding="utf-8"))
        record: Record = kept["record"]
        if kept["key"] != key:
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


def _run_key(settings: Settings) -> str:
    """Changes with the code and with every setting that changes a result."""
    digest = hashlib.sha256(f"{settings} {toolkit()}".encode())
    for root in (KERNEL.parent.parent / "constructions", KERNEL.parent):
        for path in sorted(root.rglob("*.py")):
            digest.update(os.fspath(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
