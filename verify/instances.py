"""Random exact instances, reproducible from a seed: small rationals, so that certificates stay short."""

from __future__ import annotations

import random

from flint import fmpq

from constructions.depth.constants import LayerNorms, Norm, Region, Stack
from constructions.depth.contraction import contraction
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

HALF = fmpq(1, 2)


def random_matrix(
    rng: random.Random, rows: int, columns: int, *, size: int = 3, denominator: int = 1
) -> RationalMatrix:
    """Entries i/denominator with |i| ≤ size."""
    return RationalMatrix.of(
        [[fmpq(rng.randint(-size, size), denominator) for _ in range(columns)] for _ in range(rows)], columns=columns
    )


def random_full_rank(rng: random.Random, rows: int, columns: int, *, size: int = 3) -> RationalMatrix:
    """A random integer matrix of rank min(rows, columns)."""
    while True:
        matrix = random_matrix(rng, rows, columns, size=size)
        if matrix.rank() == min(rows, columns):
            return matrix


def random_head(rng: random.Random, d: int, s: int) -> Head:
    """A head of width d and size s with full-rank weights."""
    return Head(
        random_full_rank(rng, s, d),
        random_full_rank(rng, s, d),
        random_full_rank(rng, s, d),
        random_full_rank(rng, d, s),
    )


def random_mlp(rng: random.Random, d: int, r: int, *, contractive: bool) -> FeedForward:
    """An MLP with r hidden units; ``contractive`` scales it to ‖W_1‖_F ‖W_2‖_F < 1, hence injective."""
    W_1, W_2 = random_matrix(rng, r, d), random_matrix(rng, d, r)
    if contractive:
        square_1, square_2 = (sum((x * x for x in W.mat.entries()), fmpq(0)) for W in (W_1, W_2))
        # √x ≤ (1 + x)/2, so each Frobenius norm becomes at most 3/4.
        W_1, W_2 = W_1.scaled(fmpq(3, 2) / (1 + square_1)), W_2.scaled(fmpq(3, 2) / (1 + square_2))
    return FeedForward(W_1, random_matrix(rng, r, 1), W_2, random_matrix(rng, d, 1))


def random_layer(
    rng: random.Random, d: int, *, heads: int = 1, s: int | None = None, r: int = 0, contractive: bool = True
) -> Layer:
    """A softmax layer with full-rank heads of size s (d by default, d // heads for several heads)."""
    size = s if s is not None else d // heads
    attention = Attention(tuple(random_head(rng, d, size) for _ in range(heads)))
    return Layer(attention, random_mlp(rng, d, r, contractive=contractive) if r else FeedForward.none(d))


def contractive_stack(
    rng: random.Random,
    d: int,
    region: Region,
    norm: Norm = "max",
    *,
    depth: int = 2,
    heads: int = 1,
    hidden: int = 2,
    attention: fmpq = HALF,
    mlp: fmpq = HALF,
    causal: bool = False,
) -> Stack:
    """A random stack whose layers have constants of nearly ``attention`` and ``mlp`` at the radii they meet: weights
    are drawn, then the value maps and the MLPs' outputs are scaled."""
    layers: list[Layer] = []
    here = region
    for _ in range(depth):
        drawn = Attention(tuple(random_head(rng, d, d) for _ in range(heads)), causal=causal)
        W_1, W_2 = random_full_rank(rng, hidden, d), random_full_rank(rng, d, hidden)
        b_1, b_2 = (random_matrix(rng, n, 1, size=2, denominator=4) for n in (hidden, d))
        units = FeedForward(W_1, b_1, W_2, b_2) if hidden else FeedForward.none(d)
        layers.append(contraction(Layer(drawn, units), here, norm, attention=attention, mlp=mlp, grow=True))
        here = LayerNorms.of(layers[-1]).after(here)
    return Stack.of(Transformer(tuple(layers)), region, norm)
