"""What every command returns, and the options that several share."""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from flint import fmpq
from rich.console import Console
from rich.table import Table

from constructions.documents import InputError
from constructions.numbers.rational import rational


class Exit(IntEnum):
    """Exit codes, fixed: users' scripts rely on them."""

    AS_CLAIMED = 0
    NOT_AS_CLAIMED = 1
    UNDECIDED = 2
    OVER_LIMITS = 3
    BAD_INPUT = 4


@dataclass(frozen=True)
class Answer:
    """A command's answer: the same content as a JSON document and as text."""

    code: Exit
    document: Mapping[str, Any]
    text: str


class TimeLimitError(BaseException):
    """``--max-seconds`` ran out. Not an Exception: nobody's ``except Exception`` may take it for a failed case."""


class OverLimitsError(Exception):
    """The numbers asked for are too large to write down or to count (exit code 3)."""


def positive_int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return value


def natural(text: str) -> int:
    return int(text) if text == "0" else positive_int(text)


def rational_option(args: argparse.Namespace, name: str) -> fmpq:
    """The rational value of the option ``--name``. Raises InputError."""
    text = getattr(args, name.replace("-", "_"))
    if len(text) > 1000 or (("e" in text or "E" in text) and not _moderate(text)):
        raise InputError(f"--{name}: expected a rational number of moderate size, found {text[:60]!r}")
    try:
        return rational(text)
    except (ValueError, TypeError, ZeroDivisionError):
        raise InputError(f"--{name}: expected a rational number such as 3/2 or 0.01, found {text[:60]!r}") from None


def _moderate(text: str) -> bool:
    exponent = text.replace("E", "e").split("e", 1)[1]
    return exponent.lstrip("+-").isdigit() and int(exponent.lstrip("+-") or "0") <= 1000


def positive_seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e9:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, found {text!r}")
    return value


def add_common(parser: argparse.ArgumentParser, *, long_running: bool = False) -> None:
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="how to print the answer (default: text)"
    )
    if long_running:
        parser.add_argument(
            "--max-seconds", type=positive_seconds, metavar="S", help="give up after S seconds (exit code 3)"
        )


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """The two files that most questions are about."""
    parser.add_argument("model", metavar="MODEL.json")
    parser.add_argument("data", metavar="DATA.json")


def add_out(parser: argparse.ArgumentParser, what: str = "certificates") -> None:
    """Where :func:`certificate_path` puts the certificates."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help=f"folder or .json file for the {what} (default: the current folder)",
    )


def certificate_path(out: Path | None, default_name: str) -> Path:
    """Where a single certificate goes: ``out`` itself if it ends in .json, else a file in the folder ``out`` (the
    current one by default), which is created."""
    if out is not None and out.suffix == ".json":
        return out
    folder = out if out is not None else Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as output folder: {error.strerror or error}") from None
    return folder / default_name


def rendered(table: Table, width: int = 110) -> str:
    """A table as plain text, the same on a terminal and in a file."""
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    console.print(table)
    output = console.file
    assert isinstance(output, io.StringIO)
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip("\n").splitlines())
