"""Running the kernel: a Python process of its own, isolated from the environment and from this package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL = Path(__file__).resolve().parent / "kernel"
COMMAND = (sys.executable, "-I", "-X", "utf8", str(KERNEL))
ANSWERS = {"true": 0, "false": 1, "over limits": 3, "not a certificate": 4}


class KernelError(RuntimeError):
    """The kernel's process did not answer: killed, out of memory, or not there."""


class DisagreementError(RuntimeError):
    """Two ways to the same number gave two numbers: a bug, and the end of the run."""


@dataclass(frozen=True)
class KernelAnswer:
    """What the kernel printed about one file: ``verdict`` is one of true, false, over limits, not a certificate."""

    path: str
    verdict: str
    sentence: str


def check_files(paths: Sequence[str | os.PathLike[str]]) -> list[KernelAnswer]:
    """The kernel's answer for each file. Raises KernelError when the process did not answer for every file."""
    if not paths:
        return []
    names = [os.fspath(path) for path in paths]
    absolute = [os.path.abspath(name) for name in names]  # no name looks like an option, none depends on the folder
    run = subprocess.run([*COMMAND, *absolute], capture_output=True, encoding="utf-8", check=False)
    lines = run.stdout.removesuffix("\n").split("\n")
    if len(lines) != len(names):
        said = " ".join(run.stderr.split()) or "nothing"
        raise KernelError(
            f"the kernel answered for {len(lines)} of {len(names)} files (exit code {run.returncode}) and said {said}"
        )
    answers = [_parse(name, path, line) for name, path, line in zip(names, absolute, lines, strict=True)]
    if (run.returncode == 0) != all(answer.verdict == "true" for answer in answers):
        raise KernelError(f"the kernel's exit code {run.returncode} contradicts its answers")
    return answers


def printable(name: str) -> str:
    """A file name on one line, as the kernel prints it.

    >>> printable("a\\nb.json")
    'a\\\\nb.json'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def accepted(paths: Sequence[Path]) -> list[str]:
    """The kernel's sentence for each certificate that was just written. Raises DisagreementError unless all are true,
    KernelError when the kernel gives one up."""
    answers = check_files(paths)
    for answer in answers:
        if answer.verdict == "over limits":
            raise KernelError(f"proved here, but the kernel is over its limits: {answer.sentence} ({answer.path})")
        if answer.verdict != "true":
            raise DisagreementError(
                f"proved here, but the kernel says {answer.verdict}: {answer.sentence} ({answer.path})"
            )
    return [answer.sentence for answer in answers]


def _parse(name: str, path: str, line: str) -> KernelAnswer:
    for verdict in ANSWERS:
        start = f"{printable(path)}: {verdict}: "
        if line.startswith(start):
            return KernelAnswer(name, verdict, line.removeprefix(start))
    raise KernelError(f"unexpected answer of the kernel about {name}: {line or 'nothing'}")


def kernel_sha256() -> str:
    """The hash over the kernel's own source files, as the kernel prints it."""
    run = subprocess.run([*COMMAND, "--hash"], capture_output=True, encoding="utf-8", check=False)
    if run.returncode != 0:
        raise KernelError(f"the kernel did not tell its hash (exit code {run.returncode})")
    return run.stdout.strip()
