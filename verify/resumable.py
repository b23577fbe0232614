"""Long runs that lose nothing: finished tasks are kept in the output folder, and a resumed run goes on from there.

A kept record is a JSON file with a key; a key changes with the code and with all settings that change a result.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from constructions.documents import InputError, write_text
from verify.certificate import toolkit
from verify.folder_lock import locked
from verify.kernel_process import KERNEL


class WorkerLostError(RuntimeError):
    """A process that was computing is gone, and its task with it; what was finished before is kept."""


def in_processes(calls: Sequence[Any], jobs: int) -> Iterator[Any]:
    """The results of calls made with ``joblib.delayed``, as they are finished, on up to ``jobs`` processes. Raises
    WorkerLostError."""
    # one at a time, so that a finished one is not held back by others of its batch
    parallel = joblib.Parallel(n_jobs=min(jobs, len(calls)), batch_size=1, return_as="generator_unordered")
    results: Any = parallel(calls)
    try:
        yield from results
    except TerminatedWorkerError:
        raise WorkerLostError(
            "a worker process was killed (by hand, or by the system for want of memory: then use fewer --jobs)"
        ) from None
    finally:
        results.close()  # the workers are told to stop before anybody tidies up behind them


@contextmanager
def output_folder(out: Path | None, parts: Sequence[str], more: Sequence[str] = ()) -> Iterator[Path]:
    """``out`` with its subfolders ``parts``, held by this run alone, or a temporary folder that is gone afterwards. No
    half-written file is left in the folder, in its parts, and in those of ``more`` that were made, by this run or by an
    earlier one that was killed. Raises InputError when the folder cannot be used, or another run uses it."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="promptcert-") as temporary:
            yield _prepared(Path(temporary), parts)
        return
    folder = _prepared(out, parts)
    places = [folder, *(folder / part for part in (*parts, *more))]
    with locked(folder):
        _remove_unfinished(places)
        try:
            yield folder
        finally:
            _remove_unfinished(places)


def _remove_unfinished(places: Sequence[Path]) -> None:
    for place in places:
        for unfinished in place.glob(".*.part"):
            unfinished.unlink(missing_ok=True)


def _prepared(folder: Path, parts: Sequence[str]) -> Path:
    try:
        for part in parts:
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as output folder: {error.strerror or error}") from None
    return folder


def keep(path: Path, key: str, record: object) -> None:
    """Write a finished record, whole or not at all."""
    write_text(path, json.dumps({"key": key, "record": record}) + "\n")


def kept(path: Path, key: str) -> Any:
    """The record in ``path``; None when there is none that can be read and has this key."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["record"] if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # unreadable or half-finished


def run_key(*settings: object) -> str:
    """A hash of the settings, the versions and all code of this package."""
    digest = hashlib.sha256(f"{' '.join(map(str, settings))} {toolkit()}".encode())
    for root in (KERNEL.parent.parent / "constructions", KERNEL.parent):
        for path in sorted(root.rglob("*.py")):
            digest.update(os.fspath(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
