"""One run at a time in an output folder: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from constructions.documents import InputError

LOCK = ".lock"
"""The system keeps the lock, not the file: the file stays, empty unless a run is at work (or was killed). What stands
in it is for the message only."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder. Raises InputError when another run holds it, or it cannot be written to."""
    try:
        lock = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as output folder: {error.strerror or error}") from None
    with lock:
        _acquire(lock, folder)
        with suppress(OSError):  # a full disk: the folder is held all the same
            lock.truncate(0)
            now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            lock.write(json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": now}))
            lock.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                lock.truncate(0)


def _acquire(lock: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{folder}: expected a folder that no other run writes to, found {_holder(lock)} at work there: "
            "wait for it or choose another --out"
        ) from None
    except OSError as error:  # a file system without locks
        raise InputError(
            f"{folder}: expected a file system with locks, found: {error.strerror or error}: choose another --out"
        ) from None


def _holder(lock: TextIO) -> str:
    try:
        lock.seek(0)
        holder = json.load(lock)
        return f"process {int(holder['process'])} on {holder['host']!s:.80} (since {holder['since']!s:.40})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"  # which has not said yet who it is
