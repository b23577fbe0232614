"""MODEL.json, DATA.json and PROMPT.json (format version 1), read and written exactly.

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from flint import fmpq, fmpz

from constructions.data import Dataset, Example
from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

MODEL_FORMAT = "promptcert-model/1"
DATA_FORMAT = "promptcert-data/1"
PROMPT_FORMAT = "promptcert-prompt/1"

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


class _Literal(str):
    """A JSON number as it was spelled."""

    __slots__ = ()


@dataclass(frozen=True)
class _Node:
    """A JSON value with the place it came from, so that every complaint can name it."""

    file: str
    path: str
    value: Any

    def fail(self, expected: str, found: str | None = None) -> NoReturn:
        where = f"{self.file}: {self.path}" if self.path else self.file
        raise InputError(f"{where}: expected {expected}, found {found or _describe(self.value)}")

    def object(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, _Node]:
        if not isinstance(self.value, dict):
            self.fail("an object")
        known = [*required, *optional]
        for key in self.value:
            if key not in known:
                self.fail(f"only the fields {', '.join(known)}", f"the unknown field {_shorten(json.dumps(key))}")
        for key in required:
            if key not in self.value:
                self.fail(f"the field {key!r}", f"only {', '.join(map(repr, self.value)) or 'an empty object'}")
        return {key: _Node(self.file, f"{self.path}.{key}".lstrip("."), item) for key, item in self.value.items()}

    def list(self, what: str, minimum: int = 1) -> list[_Node]:
        if not isinstance(self.value, list):
            self.fail(f"a list of {what}")
        if len(self.value) < minimum:
            self.fail(f"a list of at least {minimum} {what}", f"{len(self.value)}")
        return [_Node(self.file, f"{self.path}[{i}]", item) for i, item in enumerate(self.value)]

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
                line.fail(f"{width} entries", f"{len(row)}")
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


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, _Literal):
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


def read_document(path: str | os.PathLike[str], expected_format: str) -> _Node:
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
            parse_float=_Literal,
            parse_int=_Literal,
            parse_constant=_Literal,  # NaN, Infinity: refused where the field is known,
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
    node = _Node(file, "", value)
    if not isinstance(value, dict):
        node.fail("an object")
    found = value.get("format")
    if found != expected_format or isinstance(found, _Literal):
        _Node(file, "format", found).fail(json.dumps(expected_format), None if "format" in value else "no such field")
    return node


def _head(node: _Node) -> Head:
    fields = node.object(["W_q", "W_k", "W_v"], ["W_o", "b_q"])
    W_q = fields["W_q"].matrix()
    s, d = W_q.shape
    return node.build(
        lambda: Head(
            W_q,
            fields["W_k"].matrix(s, d),
            fields["W_v"].matrix(s, d),
            fields["W_o"].matrix(d, s) if "W_o" in fields else None,  # type: ignore[arg-type]
            fields["b_q"].vector(s) if "b_q" in fields else None,  # type: ignore[arg-type]
        )
    )


def _unit(node: _Node) -> PiecewiseLinear:
    pieces = []
    for item in node.list("pieces"):
        fields = item.object(["from", "slope", "intercept"])
        start = None if fields["from"].value is None else fields["from"].number()
        pieces.append(Piece(start, fields["slope"].number(), fields["intercept"].number()))
    return node.build(lambda: PiecewiseLinear(tuple(pieces)))


def _feed_forward(node: _Node, fields: Mapping[str, _Node], d: int) -> FeedForward:
    present = [name for name in ("W_1", "b_1", "W_2", "b_2") if name in fields]
    if not present:
        if "units" in fields:
            node.fail("the fields 'W_1', 'b_1', 'W_2', 'b_2' with 'units'", "none of them")
        return FeedForward.none(d)
    if present == ["b_2"] and "units" not in fields:
        return replace(FeedForward.none(d), b_2=fields["b_2"].vector(d))
    if "W_1" not in fields or "W_2" not in fields:
        node.fail("both 'W_1' and 'W_2' or neither", f"only {', '.join(map(repr, present))}")
    W_1 = fields["W_1"].matrix(columns=d)
    r = W_1.shape[0]
    units = tuple(_unit(unit) for unit in fields["units"].list("units")) if "units" in fields else None
    return node.build(
        lambda: FeedForward(
            W_1,
            fields["b_1"].vector(r) if "b_1" in fields else RationalMatrix.zeros(r, 1),
            fields["W_2"].matrix(d, r),
            fields["b_2"].vector(d) if "b_2" in fields else RationalMatrix.zeros(d, 1),
            units,
        )
    )


def _layer(node: _Node, causal: bool) -> Layer:
    fields = node.object(["heads"], ["attention", "W_1", "b_1", "W_2", "b_2", "units"])
    heads = tuple(_head(item) for item in fields["heads"].list("heads"))
    kind = "softmax"
    if "attention" in fields:
        kind = fields["attention"].value
        if kind not in ("softmax", "hardmax") or isinstance(kind, _Literal):
            fields["attention"].fail('"softmax" or "hardmax"')
    attention = fields["heads"].build(lambda: Attention(heads, kind, causal))  # type: ignore[arg-type]
    return node.build(lambda: Layer(attention, _feed_forward(node, fields, attention.width)))


def read_model(path: str | os.PathLike[str]) -> Transformer:
    """The transformer of a MODEL.json. Raises InputError."""
    node = read_document(path, MODEL_FORMAT)
    fields = node.object(["format", "layers"], ["E", "causal"])
    causal = fields["causal"].boolean() if "causal" in fields else False
    layers = tuple(_layer(item, causal) for item in fields["layers"].list("layers"))
    E = fields["E"].matrix(rows=layers[0].width) if "E" in fields and fields["E"].value is not None else None
    return node.build(lambda: Transformer(layers, E))


def read_data(path: str | os.PathLike[str]) -> Dataset:
    """The dataset of a DATA.json. Raises InputError."""
    node = read_document(path, DATA_FORMAT)
    fields = node.object(["format", "examples"])
    examples = []
    for item in fields["examples"].list("examples"):
        parts = item.object(["X"], ["y", "Y"])
        if ("y" in parts) == ("Y" in parts):
            item.fail("exactly one of the fields 'y' and 'Y'", "both" if "y" in parts else "neither")
        X = parts["X"].matrix()
        targets = parts["y"].vector(X.shape[0]) if "y" in parts else parts["Y"].matrix(*X.shape)
        examples.append(item.build(lambda X=X, targets=targets: Example(X, targets)))  # type: ignore[misc]
    return node.build(lambda: Dataset(tuple(examples)))


@dataclass(frozen=True)
class PromptBox:
    """A prompt: rational centre ``P`` (d×m_p) and the radius of a box (entry by entry) that contains the exact
    prompt."""

    P: RationalMatrix
    radius: fmpq


def read_prompt(path: str | os.PathLike[str]) -> PromptBox:
    """The prompt of a PROMPT.json. Raises InputError."""
    node = read_document(path, PROMPT_FORMAT)
    fields = node.object(["format", "P"], ["radius"])
    radius = fields["radius"].number() if "radius" in fields else fmpq(0)
    if radius < 0:
        fields["radius"].fail("a radius of at least 0")
    return PromptBox(fields["P"].matrix(), radius)


def number_json(x: fmpq) -> int | str:
    """A number as the files write it: an integer, or text p/q."""
    return int(x.p) if x.q == 1 and abs(x.p) < 1 << 53 else f"{x.p}/{x.q}" if x.q != 1 else str(x.p)


def rows_json(matrix: RationalMatrix) -> list[list[int | str]]:
    """The rows of a matrix as the files write them."""
    return [[number_json(x) for x in row] for row in matrix.rows()]


def _vector_json(matrix: RationalMatrix) -> list[int | str]:
    return [number_json(x) for x in matrix.column(0)]


def model_json(model: Transformer) -> dict[str, Any]:
    """The MODEL.json object of a transformer."""
    layers = []
    for layer in model.layers:
        heads = [
            {name: rows_json(getattr(head, name)) for name in ("W_q", "W_k", "W_v", "W_o")}
            | {"b_q": _vector_json(head.b_q)}
            for head in layer.attention.heads
        ]
        item: dict[str, Any] = {"heads": heads, "attention": layer.attention.kind}
        mlp = layer.mlp
        if mlp.hidden:
            item |= {"W_1": rows_json(mlp.W_1), "b_1": _vector_json(mlp.b_1), "W_2": rows_json(mlp.W_2)}
        if mlp.hidden or any(x != 0 for x in mlp.b_2.column(0)):
            item["b_2"] = _vector_json(mlp.b_2)
        if mlp.units is not None:
            item["units"] = [
                [
                    {
                        "from": None if piece.start is None else number_json(piece.start),
                        "slope": number_json(piece.slope),
                        "intercept": number_json(piece.intercept),
                    }
                    for piece in unit.pieces
                ]
                for unit in mlp.units
            ]
        layers.append(item)
    E = None if model.E is None else rows_json(model.E)
    return {"format": MODEL_FORMAT, "layers": layers, "E": E, "causal": model.causal}


def data_json(dataset: Dataset) -> dict[str, Any]:
    """The DATA.json object of a dataset."""
    examples: list[dict[str, Any]] = []
    for example in dataset.examples:
        last_only = example.targets.shape[1] == 1
        targets = _vector_json(example.targets) if last_only else rows_json(example.targets)
        examples.append({"X": rows_json(example.X), ("y" if last_only else "Y"): targets})
    return {"format": DATA_FORMAT, "examples": examples}


def prompt_json(prompt: PromptBox) -> dict[str, Any]:
    """The PROMPT.json object of a prompt."""
    return {"format": PROMPT_FORMAT, "P": rows_json(prompt.P), "radius": number_json(prompt.radius)}


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
