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

from constructions.files import InputError, write_text
from verify.certificate import toolkit
from verify.kernel_process import KERNEL


def in_processes(calls: Sequence[Any], jobs: int) -> Iterator[Any]:
    """The results of calls made with ``joblib.delayed``, as they are finished, on up to ``jobs`` processes."""
    parallel = joblib.Parallel(n_jobs=min(jobs, len(calls)), return_as="generator_unordered")
    results: Any = parallel(calls)
    try:
        yield from results
    finally:
        results.close()  # the workers are gone before anybody tidies up behind them


@contextmanager
def output_folder(out: Path | None, parts: Sequence[str], more: Sequence[str] = ()) -> Iterator[Path]:
    """``out`` with its subfolders ``parts``, or a temporary folder that is gone afterwards. An error leaves no
    half-written file in the parts, nor in those of ``more`` that were made. Raises InputError when the folder cannot be
    used."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="promptcert-") as temporary:
            yield _prepared(Path(temporary), parts)
        return
    folder = _prepared(out, parts)
    try:
        yield folder
    except BaseException:
        for part in (*parts, *more):  # a worker that was killed could not remove what it had begun
            for unfinished in (folder / part).glob(".*.part"):
                unfinished.unlink(missing_ok=True)
        raise


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
