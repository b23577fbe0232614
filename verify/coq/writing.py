"""Numbers, vectors, matrices, heads and layers of the certificate format as terms of Coq."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


class NotExportableError(Exception):
    """A certificate of a kind, or with a part, for which the Coq library has no theorem."""


@dataclass(frozen=True)
class Replay:
    """The theorem of the library that a certificate is an instance of, the definitions of instance and witness, and the
    lemma and theorem that follow them."""

    theorem: str
    definitions: list[str]
    proof: list[str]


def integer(number: int | str) -> str:
    """An integer as the certificate spells it: decimal, or hexadecimal where it is long.

    >>> integer(-5), integer("-0x20000000000000")
    ('-5', '-0x20000000000000')
    """
    return str(number)


def listed(items: Sequence[Any], write: Callable[[Any], str]) -> str:
    """A list of Coq.

    >>> listed([1, -2], integer)
    '[1; -2]'
    """
    return "[" + "; ".join(map(write, items)) + "]"


def vector(value: Json) -> str:
    """A vector, as integers over one denominator.

    >>> vector({"den": 8, "num": [-21, 18]})
    '(vector_over 8 [-21; 18])'
    """
    return f"(vector_over {integer(value['den'])} {listed(value['num'], integer)})"


def matrix(value: Json) -> str:
    """A matrix, as rows of integers over one denominator."""
    return f"(matrix_over {integer(value['den'])} {_rows(value)})"


def columns(value: Json) -> str:
    """The columns of a matrix, as a list of vectors."""
    return f"(columns_over {integer(value['den'])} {_rows(value)})"


def _rows(value: Json) -> str:
    return listed(value["num"], lambda row: listed(row, integer))


def boolean(value: bool) -> str:
    return "true" if value else "false"


def parts(constructor: str, *named: tuple[str, str]) -> str:
    """A record, one part on each line with its name beside it."""
    return "\n".join([f"  {constructor}", *(f"    {text} (* {name} *)" for name, text in named)])


def head(value: Json) -> str:
    """A head; its size is the length of b_q."""
    matrices = [(name, matrix(value[name])) for name in ("W_q", "W_k", "W_v", "W_o")]
    return parts("Head", ("size", str(len(value["b_q"]["num"]))), *matrices, ("b_q", vector(value["b_q"])))


def mlp(value: Json) -> str:
    """An MLP; its number of hidden units is the length of b_1."""
    return parts(
        "Mlp",
        ("units", str(len(value["b_1"]["num"]))),
        ("W_1", matrix(value["W_1"])),
        ("b_1", vector(value["b_1"])),
        ("W_2", matrix(value["W_2"])),
        ("b_2", vector(value["b_2"])),
    )


def layer(value: Json, name: str) -> list[str]:
    """The definitions of a layer and of its heads and MLP. Raises NotExportableError."""
    if value["E"] is not None:
        raise NotExportableError("layers without positional embedding E", "one with E")
    lines = []
    names = [f"{name}_head_{j}" for j in range(len(value["heads"]))]
    for own, one in zip(names, value["heads"], strict=True):
        lines.append(f"Definition {own} : head Q :=\n{head(one)}.\n")
    lines.append(f"Definition {name}_mlp : mlp Q :=\n{mlp(value['mlp'])}.\n")
    d = len(value["mlp"]["b_2"]["num"])
    fields = (
        ("d", str(d)),
        ("heads", f"[{'; '.join(names)}]"),
        ("feed_forward", f"{name}_mlp"),
        ("causal", boolean(value["causal"])),
    )
    lines.append(f"Definition {name} : layer Q :=\n{parts('Layer', *fields)}.\n")
    return lines
