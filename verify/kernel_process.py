"""Running the kernel: a Python process of its own, isolated from the environment and from this package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL = Path(__file__).resolve().parent / "kernel"
ANSWERS = {"true": 0, "false": 1, "over limits": 3, "not a certificate": 4}


@dataclass(frozen=True)
class KernelAnswer:
    """What the kernel printed about one file: ``verdict`` is one of true, false, over limits, not a certificate."""

    path: str
    verdict: str
    sentence: str


def check_files(paths: Sequence[str | os.PathLike[str]]) -> list[KernelAnswer]:
    """The kernel's answer for each file. Raises RuntimeError when the process did not answer for every file."""
    if not paths:
        return []
    names = [os.fspath(path) for path in paths]
    absolute = [os.path.abspath(name) for name in names]  # no name looks like an option, none depends on the folder
    command = [sys.executable, "-I", str(KERNEL), *absolute]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    if len(lines) != len(names):
        raise RuntimeError(
            f"the kernel answered for {len(lines)} of {len(names)} files (exit {run.returncode}): {run.stderr.strip()}"
        )
    answers = [
        _parse(name, line.removeprefix(f"{path}: ")) for name, path, line in zip(names, absolute, lines, strict=True)
    ]
    if (run.returncode == 0) != all(answer.verdict == "true" for answer in answers):
        raise RuntimeError(f"the kernel's exit code {run.returncode} contradicts its answers")
    return answers


def _parse(name: str, answer: str) -> KernelAnswer:
    for verdict in ANSWERS:
        if answer.startswith(f"{verdict}: "):
            return KernelAnswer(name, verdict, answer.removeprefix(f"{verdict}: "))
    raise RuntimeError(f"unexpected answer of the kernel about {name}: {answer}")


def kernel_sha256() -> str:
    """The hash over the kernel's own source files, as the kernel prints it."""
    run = subprocess.run([sys.executable, "-I", str(KERNEL), "--hash"], capture_output=True, text=True, check=True)
    return run.stdout.strip()
