"""The transformer of THEORY section 0, exactly.

Columns are tokens. With input ``X`` (d×m) and prompt ``P`` (d×m_p), the model is run on ``[P, X]`` and its last m
columns are the output::

    Att(x, Z) = Σ_i W_o^i W_v^i Z · softmax((W_k^i Z)^T (W_q^i x + b_q^i))
    MLP(z)    = W_2 ReLU(W_1 z + b_1) + b_2 + z
    layer(Z)  = MLP(Att(Z, Z) + Z)

The code is written once over :class:`~constructions.numbers.matrix.Matrix`: rational input gives rationals
(hardmax) or exponential fractions (one softmax layer), balls give balls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import add
from typing import Literal

from constructions.numbers.matrix import Matrix, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.softmax import softmax
from constructions.verdict import Fact

AttentionKind = Literal["softmax", "hardmax"]


def _require(what: str, expected: tuple[int, int], matrix: RationalMatrix) -> None:
    if matrix.shape != expected:
        found = matrix.shape
        raise ValueError(f"{what}: expected {expected[0]}×{expected[1]}, found {found[0]}×{found[1]}")


@dataclass(frozen=True)
class Head:
    """One attention head: W_q, W_k, W_v are s×d, W_o is d×s (identity when None, then s = d), b_q is s×1 (zero).

    Raises ValueError, naming both shapes, when they do not fit.
    """

    W_q: RationalMatrix
    W_k: RationalMatrix
    W_v: RationalMatrix
    W_o: RationalMatrix = field(default=None)  # type: ignore[assignment]
    b_q: RationalMatrix = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        s, d = self.W_q.shape
        if s == 0 or d == 0:
            raise ValueError(f"W_q: expected at least one row and one column, found {s}×{d}")
        _require(f"W_k (W_q is {s}×{d})", (s, d), self.W_k)
        _require(f"W_v (W_q is {s}×{d})", (s, d), self.W_v)
        if self.W_o is None:
            if s != d:
                raise ValueError(f"W_o: missing stands for the identity, expected head size = width, found {s} and {d}")
            object.__setattr__(self, "W_o", RationalMatrix.identity(d))
        if self.b_q is None:
            object.__setattr__(self, "b_q", RationalMatrix.zeros(s, 1))
        _require(f"W_o (W_q is {s}×{d})", (d, s), self.W_o)
        _require(f"b_q (W_q is {s}×{d})", (s, 1), self.b_q)

    @property
    def head_size(self) -> int:
        return self.W_q.shape[0]

    @property
    def width(self) -> int:
        return self.W_q.shape[1]

    @cached_property
    def V(self) -> RationalMatrix:
        """``W_o W_v``, d×d."""
        return self.W_o.times(self.W_v)

    @cached_property
    def bilinear(self) -> RationalMatrix:
        """``W_k^T W_q``, d×d."""
        return self.W_k.T.times(self.W_q)

    def logit_vectors(self, tokens: RationalMatrix) -> RationalMatrix:
        """For each token x (columns, d×n) the logit vector ``q = W_k^T (W_q x + b_q)``: a token z gets score q·z.
        d×n."""
        ones = RationalMatrix.of([[1] * tokens.shape[1]], columns=tokens.shape[1])
        queries = RationalMatrix(self.W_q.times(tokens).mat + self.b_q.times(ones).mat)
        return self.W_k.T.times(queries)


@dataclass(frozen=True)
class Attention:
    """Heads of one width (their sizes may differ), softmax or hardmax, optionally with a causal mask."""

    heads: tuple[Head, ...]
    kind: AttentionKind = "softmax"
    causal: bool = False

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("heads: expected at least one head, found none")
        if self.kind not in ("softmax", "hardmax"):
            raise ValueError(f"attention: expected softmax or hardmax, found {self.kind!r}")
        for i, head in enumerate(self.heads[1:], start=1):
            if head.width != self.heads[0].width:
                raise ValueError(f"head {i}: expected width {self.heads[0].width} as in head 0, found {head.width}")

    @property
    def width(self) -> int:
        return self.heads[0].width

    def __call__(self, queries: Matrix, tokens: Matrix) -> Matrix:
        """Att(x, Z) for each column x of ``queries`` (d×n) over ``tokens`` Z (d×M): d×n.

        With a causal mask the queries are the last n tokens, and each sees the tokens up to itself.
        """
        visible: Callable[[int], int] | None = None
        if self.causal:
            before = tokens.shape[1] - queries.shape[1]
            visible = lambda j: before + j + 1  # noqa: E731 - a one-line rule reads best in place
        return reduce(add, (self._head(head, queries, tokens, visible) for head in self.heads))

    def _head(self, head: Head, queries: Matrix, tokens: Matrix, visible: Callable[[int], int] | None) -> Matrix:
        ones = RationalMatrix.of([[1] * queries.shape[1]], columns=queries.shape[1])
        scores = (head.W_k @ tokens).T @ (head.W_q @ queries + head.b_q.times(ones))
        weights = softmax(scores, visible) if self.kind == "softmax" else scores.hardmax(visible)
        return head.W_o @ ((head.W_v @ tokens) @ weights)


@dataclass(frozen=True)
class FeedForward:
    """``MLP(z) = W_2 σ(W_1 z + b_1) + b_2 + z``: W_1 r×d, b_1 r×1, W_2 d×r, b_2 d×1; σ is ReLU or one
    piecewise-linear function for each of the r units."""

    W_1: RationalMatrix
    b_1: RationalMatrix
    W_2: RationalMatrix
    b_2: RationalMatrix
    units: tuple[PiecewiseLinear, ...] | None = None

    def __post_init__(self) -> None:
        r, d = self.W_1.shape
        _require(f"b_1 (W_1 is {r}×{d})", (r, 1), self.b_1)
        _require(f"W_2 (W_1 is {r}×{d})", (d, r), self.W_2)
        _require(f"b_2 (W_1 is {r}×{d})", (d, 1), self.b_2)
        if self.units is not None and len(self.units) != r:
            raise ValueError(f"units: expected one for each of the {r} hidden units, found {len(self.units)}")
        if r == 0:  # no units at all: one spelling, so that equal MLPs compare equal
            object.__setattr__(self, "units", None)

    @classmethod
    def none(cls, d: int) -> FeedForward:
        """The MLP without hidden units: the identity on R^d."""
        zeros = RationalMatrix.zeros
        return cls(zeros(0, d), zeros(0, 1), zeros(d, 0), zeros(d, 1))

    @property
    def hidden(self) -> int:
        return self.W_1.shape[0]

    @property
    def width(self) -> int:
        return self.W_1.shape[1]

    def __call__(self, Z: Matrix) -> Matrix:
        ones = RationalMatrix.of([[1] * Z.shape[1]], columns=Z.shape[1])
        shifted = Z + self.b_2.times(ones)
        if self.hidden == 0:
            return shifted
        pre_activations = self.W_1 @ Z + self.b_1.times(ones)
        activations = pre_activations.relu() if self.units is None else pre_activations.apply_units(self.units)
        return self.W_2 @ activations + shifted


@dataclass(frozen=True)
class Layer:
    """``layer(Z) = MLP(Att(Z, Z) + Z)``, column by column."""

    attention: Attention
    mlp: FeedForward

    def __post_init__(self) -> None:
        if self.attention.width != self.mlp.width:
            raise ValueError(f"layer: attention has width {self.attention.width}, MLP has width {self.mlp.width}")

    @property
    def width(self) -> int:
        return self.mlp.width

    def __call__(self, Z: Matrix) -> Matrix:
        return self.mlp(self.attention(Z, Z) + Z)

    def output(self, Z: Matrix, column: int) -> Matrix:
        """Column ``column`` of ``layer(Z)`` alone, d×1: one query instead of all."""
        x = Z.columns(column, column + 1)
        seen = Z.columns(0, column + 1) if self.attention.causal else Z
        return self.mlp(self.attention(x, seen) + x)


@dataclass(frozen=True)
class Transformer:
    """A stack of layers with an optional positional embedding E (d×M, M tokens) that is added at the input."""

    layers: tuple[Layer, ...]
    E: RationalMatrix | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: expected at least one layer, found none")
        for i, layer in enumerate(self.layers[1:], start=1):
            if layer.width != self.width:
                raise ValueError(f"layer {i}: expected width {self.width} as in layer 0, found {layer.width}")
            if layer.attention.causal != self.causal:
                raise ValueError(
                    f"layer {i}: expected causal={self.causal} as in layer 0, found {layer.attention.causal}"
                )
        if self.E is not None and self.E.shape[0] != self.width:
            raise ValueError(f"E: expected {self.width} rows (the width of the layers), found {self.E.shape[0]}")

    @property
    def width(self) -> int:
        return self.layers[0].width

    @property
    def causal(self) -> bool:
        return self.layers[0].attention.causal

    def __call__(self, Z: Matrix) -> Matrix:
        """All layers on the d×M matrix Z; with E, M must be its number of columns."""
        if self.E is not None:
            if Z.shape != self.E.shape:
                raise ValueError(
                    f"input: E is {self.E.shape[0]}×{self.E.shape[1]} and fixes the number of tokens, "
                    f"found {Z.shape[0]}×{Z.shape[1]}"
                )
            Z = self.E + Z
        for layer in self.layers:
            Z = layer(Z)
        return Z

    def with_prompt(self, P: RationalMatrix, X: RationalMatrix) -> Matrix:
        """The last m columns of the model on ``[P, X]``: the outputs at the input tokens, d×m.

        >>> head = Head(*[RationalMatrix.of([[1]])] * 3)
        >>> model = Transformer((Layer(Attention((head,), kind="hardmax"), FeedForward.none(1)),))
        >>> model.with_prompt(RationalMatrix.of([[3]]), RationalMatrix.of([[1, 2]])).rows()
        [[4, 5]]
        """
        Z = self(P.hstack(X))
        return Z.columns(P.shape[1], P.shape[1] + X.shape[1])

    def class_membership(self, h: int, s: int, r: int, *, modified: bool = False) -> Fact:
        """Whether every layer has at most h heads of size at most s and at most r hidden units (missing heads, rows
        and units can be filled up with zeros), with softmax and ReLU and without a query bias: class T^{h,s,r}; or,
        ``modified``, hardmax and piecewise-linear units of at most 3 pieces, one of them constant: class T̄^{h,s,r}.

        Source: THEORY section 0.
        """
        name = f"class {'T̄' if modified else 'T'}^{{{h},{s},{r}}}"
        for i, layer in enumerate(self.layers):
            reason = _outside_class(layer, h, s, r, modified)
            if reason is not None:
                return Fact(name, False, f"layer {i}: {reason}")
        return Fact(name, True, f"all {len(self.layers)} layers")


def _outside_class(layer: Layer, h: int, s: int, r: int, modified: bool) -> str | None:
    attention, mlp = layer.attention, layer.mlp
    kind = "hardmax" if modified else "softmax"
    if attention.kind != kind:
        return f"expected {kind}, found {attention.kind}"
    if len(attention.heads) > h:
        return f"expected at most {h} heads, found {len(attention.heads)}"
    for j, head in enumerate(attention.heads):
        if head.head_size > s:
            return f"head {j}: expected size at most {s}, found {head.head_size}"
        if any(x != 0 for x in head.b_q.column(0)):
            return f"head {j}: the class has no query bias, found b_q ≠ 0"
    if mlp.hidden > r:
        return f"expected at most {r} hidden units, found {mlp.hidden}"
    if mlp.units is not None:
        if not modified:
            return "expected ReLU, found piecewise-linear units"
        for j, unit in enumerate(mlp.units):
            if not unit.in_modified_class:
                return f"unit {j}: expected at most 3 pieces, one of them constant, found {len(unit.pieces)} pieces"
    return None
