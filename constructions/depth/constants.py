"""Certified constants of layers and stacks: how far attention and MLP can pull tokens apart.

One norm for all layers: ``"max"`` is the largest Euclidean token, ``"frobenius"`` the Frobenius norm. Constants are
meant on a convex region: prompt tokens in a ball of one radius, input tokens in a ball of another. Of a layer's
attention there are two kinds of constants: ``"joint"`` (all tokens vary, all outputs count) and ``"input"`` (the prompt
is fixed, the outputs at the input tokens count). All numbers are rational and rounded upwards. Source: THEORY section
7; proofs in docs/theory/depth.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import TIGHT, NormProof, above, root_above, spectral_norm
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided

Norm = Literal["max", "frobenius"]
Kind = Literal["joint", "input"]
NORMS: tuple[Norm, ...] = ("max", "frobenius")
KINDS: tuple[Kind, ...] = ("joint", "input")


@dataclass(frozen=True)
class Region:
    """m_p prompt tokens of length at most ``prompt_radius`` and m input tokens of length at most ``input_radius``
    (Euclidean). Raises ValueError for negative radii or lengths, or without input tokens."""

    prompt_radius: fmpq
    input_radius: fmpq
    prompt_length: int
    input_length: int

    def __post_init__(self) -> None:
        if self.prompt_radius < 0 or self.input_radius < 0:
            raise ValueError(f"radii: expected at least 0, found {self.prompt_radius} and {self.input_radius}")
        if self.prompt_length < 0 or self.input_length < 1:
            raise ValueError(
                "lengths: expected at least 0 prompt tokens and 1 input token, "
                f"found {self.prompt_length} and {self.input_length}"
            )

    @property
    def length(self) -> int:
        """All tokens."""
        return self.prompt_length + self.input_length

    @property
    def radius(self) -> fmpq:
        """The longest token that any query can see."""
        return max(self.prompt_radius, self.input_radius) if self.prompt_length else self.input_radius

    def contains(self, Z: RationalMatrix) -> bool:
        """Whether [P, X] (d×(m_p+m)) lies in the region, exactly."""
        radii = [self.prompt_radius] * self.prompt_length + [self.input_radius] * self.input_length
        return Z.shape[1] == self.length and all(
            sum((x * x for x in Z.column(j)), fmpq(0)) <= radius * radius for j, radius in enumerate(radii)
        )


@dataclass(frozen=True)
class HeadNorms:
    """Norms of ``W_k^T W_q`` and ``W_o W_v``, proved, and the length of ``W_k^T b_q``, from above."""

    bilinear: NormProof
    value: NormProof
    bias: fmpq

    @classmethod
    def of(cls, head: Head, error: fmpq) -> HeadNorms:
        bias = length_above(head.W_k.T.times(head.b_q).column(0))
        return cls(spectral_norm(head.bilinear, error), spectral_norm(head.V, error), bias)


@dataclass(frozen=True)
class JoinedNorms:
    """Norms for several heads together: of ``[W_o^1 … W_o^h]``, and of every W_v."""

    output: NormProof
    W_v: tuple[NormProof, ...]

    @classmethod
    def of(cls, heads: Sequence[Head], error: fmpq) -> JoinedNorms:
        joined = reduce(lambda left, right: left.hstack(right), (head.W_o for head in heads))
        return cls(spectral_norm(joined, error), tuple(spectral_norm(head.W_v, error) for head in heads))


@dataclass(frozen=True)
class LayerNorms:
    """The proved norms of a layer; ``joined`` is None for one head (it would add nothing), ``offset`` bounds
    |MLP(0)|."""

    heads: tuple[HeadNorms, ...]
    joined: JoinedNorms | None
    W_1: NormProof
    W_2: NormProof
    offset: fmpq
    causal: bool

    @classmethod
    def of(cls, layer: Layer, relative_error: fmpq = TIGHT) -> LayerNorms:
        """Each norm at most ``1 + relative_error`` times too large.

        Raises Undecided for hardmax (no Lipschitz constant) and for units other than ReLU."""
        attention, mlp = layer.attention, layer.mlp
        if attention.kind != "softmax":
            raise Undecided("hardmax attention has no Lipschitz constant: expected softmax")
        if mlp.units is not None:
            raise Undecided("units other than ReLU: the constants here are for ReLU")
        return cls(
            tuple(HeadNorms.of(head, relative_error) for head in attention.heads),
            JoinedNorms.of(attention.heads, relative_error) if len(attention.heads) > 1 else None,
            spectral_norm(mlp.W_1, relative_error),
            spectral_norm(mlp.W_2, relative_error),
            length_above(_at_zero(mlp)),
            attention.causal,
        )

    def attention(self, region: Region, norm: Norm, kind: Kind) -> fmpq:
        """A Lipschitz constant of the attention (without skip connection) on the region: the smaller of the sum over
        the heads and the form with all W_o side by side.

        The root of the sum of squares of the heads' constants is not a bound: two equal heads double it.
        """
        slopes = [_slope(head, region, norm, kind, self.causal) for head in self.heads]
        return self._combined(slopes)

    def gain(self) -> fmpq:
        """A token changes by at most this times the longest token it sees."""
        return self._combined([fmpq(1)] * len(self.heads))

    def mlp(self) -> fmpq:
        """``‖W_1‖ ‖W_2‖``: a Lipschitz constant of the MLP without its skip connection."""
        return self.W_1.bound * self.W_2.bound

    def after(self, region: Region) -> Region:
        """The region of the layer's outputs."""
        grown = 1 + self.mlp()
        seen_by_prompt = region.prompt_radius if self.causal else region.radius
        return Region(
            above(grown * (region.prompt_radius + self.gain() * seen_by_prompt) + self.offset),
            above(grown * (region.input_radius + self.gain() * region.radius) + self.offset),
            region.prompt_length,
            region.input_length,
        )

    def _combined(self, slopes: Sequence[fmpq]) -> fmpq:
        total = sum((head.value.bound * slope for head, slope in zip(self.heads, slopes, strict=True)), fmpq(0))
        if self.joined is None:
            return above(total)
        squares = sum(((W_v.bound * slope) ** 2 for W_v, slope in zip(self.joined.W_v, slopes, strict=True)), fmpq(0))
        return above(min(total, self.joined.output.bound * root_above(squares)))


def _slope(head: HeadNorms, region: Region, norm: Norm, kind: Kind, causal: bool) -> fmpq:
    """A head's constant divided by the norm of its values."""
    R = region.radius
    alpha, c = head.bilinear.bound, head.bias
    q = alpha * (R if kind == "joint" else region.input_radius) + c
    if norm == "max":
        return 1 + alpha * R * R + R * q
    n = region.length if kind == "joint" else region.input_length
    in_balls = root_above(fmpq(n)) * (1 + R * q) + alpha * R * R
    D2 = region.prompt_length * region.prompt_radius**2 + region.input_length * region.input_radius**2
    M = region.length
    spectral = (2 if causal else 1) + fmpq(3, 2) * alpha * D2 + root_above(M * D2) * c
    return min(in_balls, spectral)


def length_above(values: Sequence[fmpq]) -> fmpq:
    """The Euclidean length of a vector, rounded upwards."""
    return root_above(sum((x * x for x in values), fmpq(0)))


def _at_zero(mlp: FeedForward) -> list[fmpq]:
    """MLP(0) = W_2 ReLU(b_1) + b_2."""
    shift = mlp.W_2.apply(mlp.b_1.relu().column(0))
    return [x + b for x, b in zip(shift, mlp.b_2.column(0), strict=True)]


@dataclass(frozen=True)
class LayerConstants:
    """What is certified of one layer: its region and its constants of both kinds."""

    region: Region
    joint: fmpq
    input: fmpq
    mlp: fmpq

    @property
    def growth(self) -> fmpq:
        """``(1 + a)(1 + b)``: the constant of the layer, skip connections included."""
        return (1 + self.joint) * (1 + self.mlp)


@dataclass(frozen=True)
class Stack:
    """A transformer on a region in one norm, with the certified constants of every layer.

    Make it with :meth:`of`.
    """

    model: Transformer
    norm: Norm
    region: Region
    norms: tuple[LayerNorms, ...]
    layers: tuple[LayerConstants, ...]

    @classmethod
    def of(cls, model: Transformer, region: Region, norm: Norm = "max", relative_error: fmpq = TIGHT) -> Stack:
        """The radii are carried from layer to layer; a positional embedding enlarges them at the input.

        Raises ValueError when an embedding does not fit the number of tokens; Undecided as :meth:`LayerNorms.of`.
        """
        norms = tuple(LayerNorms.of(layer, relative_error) for layer in model.layers)
        here, layers = _embedded(model, region), []
        for layer in norms:
            joint, input_ = (layer.attention(here, norm, kind) for kind in KINDS)
            layers.append(LayerConstants(here, joint, input_, above(layer.mlp())))
            here = layer.after(here)
        return cls(model, norm, region, norms, tuple(layers))

    def failing(self, kind: Kind = "joint") -> tuple[int, str, fmpq] | None:
        """The first layer that is not shown to be the identity plus a contraction, what fails there, and its constant;
        None when every constant is below 1."""
        for i, layer in enumerate(self.layers):
            attention = layer.joint if kind == "joint" else layer.input
            if attention >= 1:
                return i, "attention", attention
            if layer.mlp >= 1:
                return i, "MLP", layer.mlp
        return None

    def injectivity(self, kind: Kind = "joint") -> fmpq:
        """``Π (1 − a_l)(1 − b_l)``, where no layer fails: distances shrink by no more than this factor."""
        product = fmpq(1)
        for layer in self.layers:
            product *= (1 - (layer.joint if kind == "joint" else layer.input)) * (1 - layer.mlp)
        return product

    def product(self) -> fmpq:
        """``Π (1 + a_l)(1 + b_l)``, rounded upwards: below 2, no prompt of the region maps two inputs to one output."""
        product = fmpq(1)
        for layer in self.layers:
            product = above(product * layer.growth)
        return product


def _embedded(model: Transformer, region: Region) -> Region:
    if model.E is None:
        return region
    if model.E.shape[1] != region.length:
        raise ValueError(f"E: fixes the number of tokens at {model.E.shape[1]}, found {region.length}")
    lengths = [length_above(model.E.column(j)) for j in range(region.length)]
    m_p = region.prompt_length
    return Region(
        region.prompt_radius + max(lengths[:m_p], default=fmpq(0)),
        region.input_radius + max(lengths[m_p:]),
        m_p,
        region.input_length,
    )


def attention_only(layer: Layer) -> Layer:
    """The layer without its MLP."""
    return Layer(layer.attention, FeedForward.none(layer.width))


def one_head(W_q: RationalMatrix, W_k: RationalMatrix, W_v: RationalMatrix) -> Layer:
    """A layer of one head, without MLP."""
    return Layer(Attention((Head(W_q, W_k, W_v),)), FeedForward.none(W_q.shape[1]))
