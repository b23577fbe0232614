"""Datasets: examples, and the queries that a dataset asks of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Transformer


@dataclass(frozen=True)
class Example:
    """An input ``X`` (d×m) with the target of its last token (``targets`` d×1) or of all tokens (d×m).

    Raises ValueError when the shapes do not fit.
    """

    X: RationalMatrix
    targets: RationalMatrix

    def __post_init__(self) -> None:
        d, m = self.X.shape
        if d == 0 or m == 0:
            raise ValueError(f"X: expected at least one row and one token, found {d}×{m}")
        if self.targets.shape[0] != d:
            raise ValueError(f"target: X has {d} rows, the target has {self.targets.shape[0]}")
        if self.targets.shape[1] not in (1, m):
            raise ValueError(f"target: expected 1 or {m} columns (the tokens of X), found {self.targets.shape[1]}")


@dataclass(frozen=True)
class Query:
    """One thing asked of a layer: at column ``column`` of ``X``, with the prompt in front, output ``target``.

    ``context`` (d×m') is what the query token sees of the input: X plus the positional embedding of its columns, cut
    off behind the token under a causal mask. Source: THEORY section 2.
    """

    example: int
    column: int
    X: RationalMatrix
    context: RationalMatrix
    target: tuple[fmpq, ...]

    @property
    def token(self) -> list[fmpq]:
        """The query token x, as the attention sees it."""
        return self.context.column(self.column)

    def __str__(self) -> str:
        return f"example {self.example}, token {self.column}"


@dataclass(frozen=True)
class Dataset:
    """A non-empty list of examples of one width."""

    examples: tuple[Example, ...]

    def __post_init__(self) -> None:
        if not self.examples:
            raise ValueError("examples: expected at least one example, found none")
        width = self.examples[0].X.shape[0]
        for i, example in enumerate(self.examples):
            if example.X.shape[0] != width:
                raise ValueError(f"example {i}: expected {width} rows as in example 0, found {example.X.shape[0]}")

    @property
    def width(self) -> int:
        return self.examples[0].X.shape[0]

    def queries(self, model: Transformer) -> Iterator[Query]:
        """Every (example, token) that has a target, with its context under ``model``'s embedding and mask.

        Raises ValueError when the model's width or embedding does not fit the data.
        """
        if model.width != self.width:
            raise ValueError(f"data: the model has width {model.width}, the examples have {self.width} rows")
        for i, example in enumerate(self.examples):
            m = example.X.shape[1]
            seen = example.X
            if model.E is not None:
                positions = model.E.shape[1]
                if positions <= m:
                    raise ValueError(
                        f"example {i}: the embedding E has {positions} columns, which leaves no prompt token "
                        f"before the {m} tokens of X; expected at least {m + 1}"
                    )
                if m != self.examples[0].X.shape[1]:
                    raise ValueError(
                        f"example {i}: an embedding E fixes the prompt length, so all examples need the same number "
                        f"of tokens; expected {self.examples[0].X.shape[1]} as in example 0, found {m}"
                    )
                seen = RationalMatrix(example.X.mat + model.E.columns(positions - m, positions).mat)
            last_only = example.targets.shape[1] == 1
            for column in [m - 1] if last_only else range(m):
                context = seen.columns(0, column + 1) if model.causal else seen
                target = example.targets.column(0 if last_only else column)
                yield Query(i, column, example.X, context, tuple(target))
