"""JSON documents read exactly and written whole: what the readers of all our file formats share.

JSON numbers are read as the exact decimals they spell, strings ``"p/q"`` as rationals; no float is ever made. Bad input
raises :class:`InputError` with one line that names the file, the field, what was expected and what was found.
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from flint import fmpq, fmpz

from constructions.numbers.rational import RationalMatrix

MAX_BYTES = 64 << 20
MAX_DIGITS = 4000
"""Numerators and denominators are at most 10^MAX_DIGITS, so that whatever was read can be written and read again."""
_LARGEST = fmpz(10) ** MAX_DIGITS
MAX_ENTRIES = 1 << 22
"""Largest number of entries of one matrix."""

_DECIMAL = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", re.ASCII)
_RATIO = re.compile(r"([+-]?)(\d+)/(\d+)", re.ASCII)

T = TypeVar("T")


class InputError(ValueError):
    """Input that is not what the format says: file, field, expected, found."""


class Literal(str):
    """A JSON number as it was spelled."""

    __slots__ = ()


@dataclass(frozen=True)
class Node:
    """A JSON value with the place it came from, so that every complaint can name it."""

    file: str
    path: str
    value: Any

    def fail(self, expected: str, found: str | None = None) -> NoReturn:
        where = f"{self.file}: {self.path}" if self.path else self.file
        raise InputError(f"{where}: expected {expected}, found {found or _describe(self.value)}")

    def object(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Node]:
        if not isinstance(self.value, dict):
            self.fail("an object")
        known = [*required, *optional]
        for key in self.value:
            if key not in known:
                self.fail(
                    f"only the fields {', '.join(known)}",
                    f"the unknown field {_shorten(json.dumps(key))}{_did_you_mean(key, known)}",
                )
        for key in required:
            if key not in self.value:
                self.fail(f"the field {key!r}", f"only {', '.join(map(repr, self.value)) or 'an empty object'}")
        return {key: Node(self.file, f"{self.path}.{key}".lstrip("."), item) for key, item in self.value.items()}

    def list(self, what: str, minimum: int = 1) -> list[Node]:
        if not isinstance(self.value, list):
            self.fail(f"a list of {what}")
        if len(self.value) < minimum:
            self.fail(f"a list of at least {minimum} {what}", f"{len(self.value)}")
        return [Node(self.file, f"{self.path}[{i}]", item) for i, item in enumerate(self.value)]

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return bool(self.value)

    def number(self) -> fmpq:
        if not isinstance(self.value, str):
            self.fail('a finite number or a string "p/q"')
        text = self.value.strip()
        within_limits = f"a numerator and a denominator of at most 10^{MAX_DIGITS}"
        if len(text) > 2 * MAX_DIGITS + 4:
            self.fail(within_limits, f"{len(text)} characters")
        if ratio := _RATIO.fullmatch(text):
            sign, numerator, denominator = ratio.groups()
            if fmpz(denominator) == 0:
                self.fail("a denominator other than zero")
            value = fmpq(fmpz(numerator), fmpz(denominator))
        elif decimal := _DECIMAL.fullmatch(text):
            sign, whole, fraction = decimal[1], decimal[2], decimal[3] or ""
            exponent = fmpz((decimal[4] or "0").lstrip("+")) - len(fraction)
            if abs(exponent) > 2 * MAX_DIGITS:  # before the power is formed
                self.fail(within_limits)
            value = fmpq(fmpz(whole + fraction)) * fmpq(10) ** int(exponent)
        else:
            self.fail('a finite number or a string "p/q"')
        if value.p > _LARGEST or value.q > _LARGEST:
            self.fail(within_limits)
        return -value if sign == "-" else value

    def vector(self, length: int | None = None) -> RationalMatrix:
        """A column vector n×1."""
        entries = self.list("numbers", minimum=0 if length == 0 else 1)
        if length is not None and len(entries) != length:
            self.fail(f"{length} entries", f"{len(entries)}")
        return RationalMatrix.of([[entry.number()] for entry in entries], columns=1)

    def matrix(self, rows: int | None = None, columns: int | None = None) -> RationalMatrix:
        lines = self.list("rows", minimum=0 if rows == 0 else 1)
        if rows is not None and len(lines) != rows:
            self.fail(f"{rows} rows", f"{len(lines)}")
        entries = [line.list("numbers", minimum=0 if columns == 0 else 1) for line in lines]
        width = columns if columns is not None else len(entries[0])
        for line, row in zip(lines, entries, strict=True):
            if len(row) != width:
                line.fail(f"{width} entries" + (" as in row 0" if columns is None else ""), f"{len(row)}")
        if len(entries) * width > MAX_ENTRIES:
            self.fail(f"at most {MAX_ENTRIES} entries", f"{len(entries) * width}")
        return RationalMatrix.of([[x.number() for x in row] for row in entries], columns=width)

    def build(self, make: Callable[[], T]) -> T:
        """Run a constructor; its ValueError becomes an InputError at this place."""
        try:
            return make()
        except InputError:
            raise
        except ValueError as error:
            where = f"{self.file}: {self.path}" if self.path else self.file
            raise InputError(f"{where}: {error}") from None


def _did_you_mean(key: str, known: Sequence[str]) -> str:
    """A hint at the known field that an unknown one resembles, capitals aside."""
    same = {name.lower(): name for name in known}
    near = get_close_matches(key[:40].lower(), same, 1, 0.75)  # a name of megabytes would take gigabytes
    return f" (did you mean {same[near[0]]!r}?)" if near else ""


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Literal):
        return f"the number {_shorten(value)}"
    if isinstance(value, str):
        return f"the string {_shorten(json.dumps(value))}"
    return f"a list of {len(value)}" if isinstance(value, list) else "an object"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InputError(f"expected every field once in an object, found {_shorten(json.dumps(key))} twice")
        result[key] = value
    return result


def read_document(path: str | os.PathLike[str], expected_format: str) -> Node:
    """The object of a JSON file of this format, to be taken apart. Raises InputError."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{file}: expected at most {MAX_BYTES} bytes, found more")
        text = content.decode("utf-8")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: expected UTF-8 text, found the byte {error.object[error.start]:#04x} at {error.start}"
        ) from None
    try:
        value = json.loads(
            text,
            parse_float=Literal,
            parse_int=Literal,
            parse_constant=Literal,  # NaN, Infinity: refused where the field is known
            object_pairs_hook=_unique_keys,
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file}: expected JSON, found an error at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise InputError(
            f"{file}: expected JSON nested a few levels deep, found deeper nesting than can be read"
        ) from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    node = Node(file, "", value)
    if not isinstance(value, dict):
        node.fail("an object")
    found = value.get("format")
    if found != expected_format or isinstance(found, Literal):
        described = _describe(found) if "format" in value else "no such field"
        kind = expected_format.partition("/")[0]
        if isinstance(found, str) and found.startswith("promptcert-") and found.partition("/")[0] != kind:
            described += " (are two files swapped?)"
        Node(file, "format", found).fail(json.dumps(expected_format), described)
    return node


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Raises InputError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: a temporary file in the same folder, then a rename. Raises InputError.

    A symbolic link is followed; a folder or a device is refused, since the rename would replace it.
    """
    target = Path(os.path.realpath(path))
    temporary = None
    try:
        if target.exists() and not target.is_file():
            raise InputError(f"{os.fspath(path)}: cannot be written: expected a file, found a folder or a device")
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        remedy = ": make room, then run again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise InputError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}{remedy}") from None
    finally:
        if temporary is not None:  # whatever went wrong: an interrupt, a time limit
            Path(temporary).unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    """Write a MODEL, DATA or PROMPT object, readable and whole."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
