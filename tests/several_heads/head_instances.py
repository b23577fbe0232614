"""Layers with several heads and data for them, with what is known of them; outputs of prompts, from the definition.

A prompt is a list of tokens with log counts, so that clusters of 10^100 tokens are no larger than others. Nothing here
uses the code of the single layer, except where it makes the objects under test.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import flint
from flint import arb, fmpq
from hypothesis import strategies as st

from constructions.data import Dataset, Example
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.several_heads import HeadPairs, SeveralHeads
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.claims.several_heads import several_heads
from verify.instances import random_full_rank, random_matrix

Row = list[fmpq]
Prompt = Sequence[tuple[arb, Sequence[Any]]]
PRECISION = 256


# --- layers --------------------------------------------------------------------------------------------------------


def layer_with(vectors: Sequence[Sequence[Sequence[Any]]], V: Sequence[Any]) -> tuple[Layer, RationalMatrix]:
    """A layer and tokens (the first unit vectors) with these logit vectors, ``vectors[i][j]`` for token i at head j (at
    most as many tokens as dimensions), and these V."""
    n, d = len(vectors), len(vectors[0][0])
    one = RationalMatrix.identity(d)
    heads = []
    for j, value in enumerate(V):
        columns = [list(vectors[i][j]) if i < n else [0] * d for i in range(d)]
        heads.append(Head(RationalMatrix.of_columns(columns), one, RationalMatrix.of(value)))
    return Layer(Attention(tuple(heads)), FeedForward.none(d)), one.columns(0, n)


@st.composite
def small_pairs(draw: Any, *, most: int = 3, sizes: int = 2) -> HeadPairs:
    """Up to ``most`` heads and tokens with different small integer logit vectors; V of any rank."""
    d, h = draw(st.integers(1, 3)), draw(st.integers(1, most))
    n = draw(st.integers(1, min(d, most)))
    entries = st.integers(-sizes, sizes)
    vector = st.tuples(*[entries] * d)
    q = draw(st.lists(vector, min_size=n * h, max_size=n * h, unique=True))
    V = [[list(draw(vector)) for _ in range(d)] for _ in range(h)]
    for value in V:
        for r in range(draw(st.integers(0, d))):  # rows that repeat, or vanish
            value[r] = [0] * d if draw(st.booleans()) else list(value[0])
    layer, tokens = layer_with([q[i * h : (i + 1) * h] for i in range(n)], V)
    return HeadPairs.of(layer.attention.heads, tokens)


def given_pairs(vectors: Sequence[Sequence[Sequence[Any]]], V: Sequence[Any]) -> HeadPairs:
    layer, tokens = layer_with(vectors, V)
    return HeadPairs.of(layer.attention.heads, tokens)


def scaled_head(rng: random.Random, d: int, s: int) -> Head:
    """Full rank, moderate scores."""
    W_q, W_k, W_v, W_o = (random_full_rank(rng, *shape) for shape in ((s, d), (s, d), (s, d), (d, s)))
    return Head(W_q.scaled("1/4"), W_k.scaled("1/2"), W_v.scaled("1/2"), W_o)


def random_model(rng: random.Random, d: int, s: int, h: int, mlp: FeedForward | None = None) -> Transformer:
    attention = Attention(tuple(scaled_head(rng, d, s) for _ in range(h)))
    return Transformer((Layer(attention, mlp or FeedForward.none(d)),))


def random_tokens(rng: random.Random, d: int, count: int) -> RationalMatrix:
    return random_matrix(rng, d, count, size=4, denominator=2)


# --- prompts, from the definition ----------------------------------------------------------------------------------


def logit_vector(head: Head, x: Sequence[fmpq]) -> Row:
    """W_k^T (W_q x + b_q), entry by entry."""
    inner = [dot(row, x) + b for row, b in zip(head.W_q.rows(), head.b_q.column(0), strict=True)]
    return [dot(column, inner) for column in head.W_k.T.rows()]


def weighed(q: Sequence[fmpq], prompt: Prompt) -> list[arb]:
    """The softmax weights."""
    scores = [log + sum((arb(x) * arb(y) for x, y in zip(q, token, strict=True)), arb(0)) for log, token in prompt]
    top = max(midpoint(score) for score in scores)
    parts = [(score - arb(top)).exp() for score in scores]
    total = sum(parts, arb(0))
    return [x / total for x in parts]


def head_mean(head: Head, x: Sequence[fmpq], prompt: Prompt) -> list[arb]:
    """The tokens that a head sees from token x, averaged with its weights."""
    weights = weighed(logit_vector(head, x), prompt)
    columns = zip(*(token for _, token in prompt), strict=True)
    return [sum((w * arb(y) for w, y in zip(weights, column, strict=True)), arb(0)) for column in columns]


def head_output(head: Head, x: Sequence[fmpq], prompt: Prompt) -> list[arb]:
    """What a head gives to token x for a prompt alone (or a prompt that ends with a context)."""
    mean = head_mean(head, x, prompt)
    values = [sum((arb(v) * y for v, y in zip(row, mean, strict=True)), arb(0)) for row in head.W_v.rows()]
    return [sum((arb(v) * y for v, y in zip(row, values, strict=True)), arb(0)) for row in head.W_o.rows()]


def single(tokens: RationalMatrix) -> list[tuple[arb, Row]]:
    """Every column once."""
    return [(arb(0), tokens.column(j)) for j in range(tokens.shape[1])]


def total_output(model: Transformer, X: RationalMatrix, column: int, prompt: Prompt) -> list[arb]:
    """Attention at a column of X, with a prompt in front, plus the token: what goes into the MLP."""
    layer = model.layers[0]
    x = X.column(column)
    context = single(X.columns(0, column + 1) if layer.attention.causal else X)
    given = [head_output(head, x, [*prompt, *context]) for head in layer.attention.heads]
    return [sum(parts, arb(y)) for *parts, y in zip(*given, x, strict=True)]


# --- data ------------------------------------------------------------------------------------------------------------


def rounded(x: arb, bits: int = 40) -> fmpq:
    power = fmpq(2) ** bits
    return fmpq((midpoint(x) * power + fmpq(1, 2)).floor()) / power


def met_by(
    model: Transformer, inputs: Sequence[RationalMatrix], P: RationalMatrix, *, every: bool = False, bits: int = 40
) -> Dataset:
    """Targets that the prompt P gives, for the last token or for ``every`` one, up to 2^-bits in the average that each
    head forms (so that the targets stay in the range of the heads)."""
    examples = []
    layer = model.layers[0]
    with flint.ctx.workprec(PRECISION):
        for X in inputs:
            targets = []
            for k in range(X.shape[1]) if every else [X.shape[1] - 1]:
                x = X.column(k)
                context = single(X.columns(0, k + 1) if layer.attention.causal else X)
                z = column_vector(x)
                for head in layer.attention.heads:
                    mean = [rounded(y, bits) for y in head_mean(head, x, [*single(P), *context])]
                    z = RationalMatrix(z.mat + head.V.times(column_vector(mean)).mat)
                targets.append(layer.mlp(z).column(0))  # type: ignore[attr-defined]
            examples.append(Example(X, RationalMatrix.of_columns(targets)))
    return Dataset(tuple(examples))


def in_range(model: Transformer, inputs: Sequence[RationalMatrix], rng: random.Random) -> Dataset:
    """Random targets: token + Σ_j V_j u_j, through the MLP."""
    examples = []
    for X in inputs:
        z = column_vector(X.column(X.shape[1] - 1))
        for head in model.layers[0].attention.heads:
            z = RationalMatrix(z.mat + head.V.times(random_tokens(rng, model.width, 1)).mat)
        examples.append(Example(X, model.layers[0].mlp(z)))  # type: ignore[arg-type]
    return Dataset(tuple(examples))


def pairs_of(model: Transformer, data: Dataset) -> SeveralHeads:
    return several_heads(model, data)


def crossed_layer() -> tuple[Layer, RationalMatrix]:
    """Two heads and two tokens whose pairs block each other: logit vectors (0, ±1) and (±1, 0), the first head blind
    for the first coordinate, the second for the second."""
    return layer_with([[[0, 1], [1, 0]], [[0, -1], [-1, 0]]], [[[0, 1], [0, 0]], [[0, 0], [1, 0]]])


def fold(d: int, coordinate: int = 0, at: int = 3) -> FeedForward:
    """Turns a coordinate back behind ``at``: targets below have two preimages, z and its mirror image, others none."""
    first = RationalMatrix.of([[int(c == coordinate) for c in range(d)]])
    return FeedForward(first, RationalMatrix.of([[-at]]), first.T.scaled(-2), RationalMatrix.zeros(d, 1))


def blind_layer(h: int, mlp: FeedForward | None = None) -> Layer:
    """h heads of size 2 in width 4h + 2. Head j gives back coordinates 2j and 2j + 1; its logit vector holds the last
    two coordinates of the token, at places 2h + 2j and 2h + 2j + 1: independent of what any head sees."""
    d = 4 * h + 2
    unit = RationalMatrix.identity(d).rows()
    heads = []
    for j in range(h):
        value = RationalMatrix.of([unit[2 * j], unit[2 * j + 1]])
        key = RationalMatrix.of([unit[2 * h + 2 * j], unit[2 * h + 2 * j + 1]])
        heads.append(Head(RationalMatrix.of([unit[-2], unit[-1]]), key, value, value.T))
    return Layer(Attention(tuple(heads)), mlp or FeedForward.none(d))


def blind_data(
    rng: random.Random, h: int, ids: Sequence[tuple[int, int]], mass: fmpq, *, free: bool = False, columns: int = 2
) -> tuple[Transformer, Dataset]:
    """Data for the blind layer in which the queries of one id share their logit vectors, and all scores of contexts are
    zero: everything is rational. All are met by a prompt of this mass (if it is positive) and a random mean at each
    vector, and by no other mass; if ``free``, the queries of an id ask for the same at equal contexts, up to the order
    of their columns."""
    layer = blind_layer(h)
    means: dict[tuple[int, int, int], Row] = {}
    contexts: dict[tuple[int, int], list[Row]] = {}
    examples = []
    for k, key in enumerate(ids):
        rows = []
        for _ in range(columns):
            value = [fmpq(rng.randint(-6, 6)) for _ in range(2 * h)]
            rows.append([*value, *[fmpq(0)] * (2 * h), *[fmpq(rng.randint(-3, 3)) for _ in range(2)]])
        if free:
            rows = contexts.setdefault(key, rows)[:: 1 if k % 2 else -1]
        rows = [*rows, [*[fmpq(0)] * (4 * h), *map(fmpq, key)]]
        z = list(rows[-1])
        for j in range(h):
            v = means.setdefault((j, *key), [fmpq(rng.randint(-9, 9), 2) for _ in range(2)])
            for c in range(2):
                total = sum((row[2 * j + c] for row in rows), fmpq(0))
                z[2 * j + c] += (total + mass * v[c]) / (len(rows) + mass)
        examples.append(Example(RationalMatrix.of_columns(rows), column_vector(z)))
    return Transformer((layer,)), Dataset(tuple(examples))
