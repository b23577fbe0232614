"""MODEL.json, DATA.json and PROMPT.json (format version 1), read and written exactly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flint import fmpq

from constructions.data import Dataset, Example
from constructions.documents import Literal, Node, read_document
from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

MODEL_FORMAT = "promptcert-model/1"
DATA_FORMAT = "promptcert-data/1"
PROMPT_FORMAT = "promptcert-prompt/1"


def _head(node: Node) -> Head:
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


def _unit(node: Node) -> PiecewiseLinear:
    pieces = []
    for item in node.list("pieces"):
        fields = item.object(["from", "slope", "intercept"])
        start = None if fields["from"].value is None else fields["from"].number()
        pieces.append(Piece(start, fields["slope"].number(), fields["intercept"].number()))
    return node.build(lambda: PiecewiseLinear(tuple(pieces)))


def _feed_forward(node: Node, fields: Mapping[str, Node], d: int) -> FeedForward:
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


def _layer(node: Node, causal: bool) -> Layer:
    fields = node.object(["heads"], ["attention", "W_1", "b_1", "W_2", "b_2", "units"])
    heads = tuple(_head(item) for item in fields["heads"].list("heads"))
    kind = "softmax"
    if "attention" in fields:
        kind = fields["attention"].value
        if kind not in ("softmax", "hardmax") or isinstance(kind, Literal):
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


def read_data(path: str | os.PathLike[str], width: int | None = None) -> Dataset:
    """The dataset of a DATA.json; each X has ``width`` rows, if that is given: the width of the model that it is for.

    Raises InputError.
    """
    node = read_document(path, DATA_FORMAT)
    fields = node.object(["format", "examples"])
    examples = []
    for item in fields["examples"].list("examples"):
        parts = item.object(["X"], ["y", "Y"])
        if ("y" in parts) == ("Y" in parts):
            item.fail("exactly one of the fields 'y' and 'Y'", "both" if "y" in parts else "neither")
        X = parts["X"].matrix()
        if width is not None and X.shape[0] != width:
            parts["X"].fail(f"{width} rows, the width of the model", f"{X.shape[0]}")
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
