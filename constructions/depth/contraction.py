"""Layers scaled to contractions: value maps and the MLP's outputs made small enough for given constants."""

from __future__ import annotations

from dataclasses import replace

from flint import fmpq

from constructions.depth.constants import LayerNorms, Norm, Region, attention_only
from constructions.numbers.spectral_norm import below, spectral_norm
from constructions.transformer import Attention, FeedForward, Layer


def contraction(
    layer: Layer, region: Region, norm: Norm, *, attention: fmpq, mlp: fmpq, bits: int = 20, grow: bool = False
) -> Layer:
    """The layer with its W_v and its W_2 scaled, so that its joint constants on the region are at most ``attention``
    and ``mlp``, up to the relative error of certified norms (2^-19); with ``grow`` they are brought up to them as well.

    The factors are dyadic numbers of so many bits. Where they are 1 the weights stay the same objects. Raises Undecided
    as :meth:`LayerNorms.of`.

    >>> from constructions.depth.constants import one_head
    >>> from constructions.numbers.rational import RationalMatrix
    >>> one = RationalMatrix.identity(1)
    >>> scaled = contraction(one_head(one, one, one), Region(fmpq(1), fmpq(1), 1, 1), "max", attention=fmpq(1, 2),
    ...                      mlp=fmpq(1), bits=4)
    >>> scaled.attention.heads[0].W_v.rows()  # of the constant 1 + 2·1²
    [[5/32]]
    """
    constant = LayerNorms.of(attention_only(layer)).attention(region, norm, "joint")
    size = spectral_norm(layer.mlp.W_1).bound * spectral_norm(layer.mlp.W_2).bound
    on_values, on_outputs = _factor(constant, attention, bits, grow), _factor(size, mlp, bits, grow)
    heads, units = layer.attention.heads, layer.mlp
    if on_values != 1:
        heads = tuple(replace(head, W_v=head.W_v.scaled(on_values)) for head in heads)
    if on_outputs != 1:
        units = FeedForward(units.W_1, units.b_1, units.W_2.scaled(on_outputs), units.b_2)
    return Layer(Attention(heads, causal=layer.attention.causal), units)


def _factor(constant: fmpq, allowed: fmpq, bits: int, grow: bool) -> fmpq:
    if constant == 0 or (constant <= allowed and not grow):
        return fmpq(1)
    return below(allowed / constant, bits)
