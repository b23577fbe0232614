"""What figures need of a certificate, read back: its numbers, layers and queries.

Only for drawing: what a certificate proves is for the kernel to say, which reads it by itself.
"""

from __future__ import annotations

from typing import Any

from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

Json = dict[str, Any]


def integer(value: int | str) -> int:
    """An integer as the format writes it.

    >>> integer(-5), integer("0x1000000000000000") == 2**60
    (-5, True)
    """
    return int(value, 16) if isinstance(value, str) else value


def scalar(part: Json) -> fmpq:
    return fmpq(integer(part["num"]), integer(part["den"]))


def vector(part: Json) -> list[fmpq]:
    den = integer(part["den"])
    return [fmpq(integer(x), den) for x in part["num"]]


def matrix(part: Json) -> RationalMatrix:
    """A matrix with at least one row and one column."""
    den = integer(part["den"])
    return RationalMatrix.of([[fmpq(integer(x), den) for x in row] for row in part["num"]])


def layer(part: Json) -> Layer:
    """One layer; its embedding, if any, is left out."""
    heads = tuple(
        Head(
            matrix(head["W_q"]),
            matrix(head["W_k"]),
            matrix(head["W_v"]),
            matrix(head["W_o"]),
            column_vector(vector(head["b_q"])),
        )
        for head in part["heads"]
    )
    mlp, width = part["mlp"], heads[0].W_q.shape[1]
    if not mlp["b_1"]["num"]:
        empty = FeedForward.none(width)
        units = FeedForward(empty.W_1, empty.b_1, empty.W_2, column_vector(vector(mlp["b_2"])))
    else:
        W_1, W_2 = matrix(mlp["W_1"]), matrix(mlp["W_2"])
        units = FeedForward(W_1, column_vector(vector(mlp["b_1"])), W_2, column_vector(vector(mlp["b_2"])))
    return Layer(Attention(heads, causal=part["causal"]), units)


def single_layer_data(instance: Json) -> tuple[Transformer, Dataset]:
    """The model and the data of a certificate about one layer whose queries are last tokens."""
    model = Transformer((layer(instance["layer"]),))
    examples = [Example(matrix(query["X"]), column_vector(vector(query["target"]))) for query in instance["queries"]]
    return model, Dataset(tuple(examples))
