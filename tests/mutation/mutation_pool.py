"""The pool of the campaign: valid certificates of the four claims of this layer, small and of every kind of witness."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide import decide
from constructions.single_layer.pair import NoPairError, closeness_pair, cone_pair, unmemorizable_pair
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.certificate import Certificate
from verify.claims import attention_split, direction_lemma, mlp_injectivity
from verify.claims.unmemorizable_pair import certificate as pair_certificate
from verify.instances import random_head, random_layer, random_matrix, random_mlp

Json = Any


def fold(rng: random.Random, d: int, r: int) -> FeedForward:
    """Units that turn a coordinate back (slope −1) or make it flat (slope 0): several preimages, or infinitely many."""
    W_1 = RationalMatrix.of([[int(j == i % d) for j in range(d)] for i in range(r)])
    W_2 = RationalMatrix.of([[rng.choice([-2, -2, -1]) * int(j == i % d) for j in range(d)] for i in range(r)]).T
    return FeedForward(W_1, random_matrix(rng, r, 1), W_2, random_matrix(rng, d, 1))


def _pairs(rng: random.Random) -> Iterator[Certificate]:
    """Unmemorizable pairs: every argument and kind of preimage proof, one and two heads, mask and embedding."""
    makers: list[Callable[[Layer], Any]] = [
        unmemorizable_pair,
        lambda layer: closeness_pair(layer, [1, 0], *_reached(rng, layer)),
        lambda layer: cone_pair(layer, [0, 1], *_reached(rng, layer)),
    ]
    for k in range(18):
        d = 2 if k % 3 else 3
        layer = random_layer(rng, d, heads=1 + (k % 6 == 1), s=1 + (k % 6 != 1), r=k % 4, contractive=k % 4 != 3)
        if k % 2:
            layer = Layer(layer.attention, fold(rng, d, 1 + k % 3))
        try:
            pair = makers[0 if d == 3 else k % 3](layer)
        except NoPairError:
            continue
        yield pair_certificate(pair.model, pair.proof)
    found: Counter[str] = Counter()
    for _ in range(400):
        d, m = rng.randint(1, 2), rng.randint(1, 2)
        layer = Layer(random_layer(rng, d, s=1).attention, fold(rng, d, rng.randint(1, 2)))
        layer = Layer(Attention(layer.attention.heads, causal=rng.random() < 0.5), layer.mlp)
        E = random_matrix(rng, d, m + 1) if rng.random() < 0.5 else None
        model, token = Transformer((layer,), E), random_matrix(rng, d, 1)
        contexts = [random_matrix(rng, d, m - 1).hstack(token) if m > 1 else token for _ in range(2)]
        examples = tuple(Example(X, random_matrix(rng, d, 1)) for X in contexts)
        proof = decide(model, Dataset(examples)).proof
        if proof is not None and found[proof.argument] < 5:
            found[proof.argument] += 1
            yield pair_certificate(model, proof)


def _reached(rng: random.Random, layer: Layer) -> tuple[list[fmpq], list[fmpq]]:
    images = [layer.mlp(random_matrix(rng, layer.width, 1)) for _ in range(2)]
    return images[0].column(0), images[1].column(0)  # type: ignore[attr-defined]


def _others(rng: random.Random) -> Iterator[Certificate | None]:
    for k in range(8):
        d = 1 + k % 3
        heads = tuple(random_head(rng, d, 1 + k % d) for _ in range(1 + (k % 4 == 3)))
        if k == 0:
            zero = RationalMatrix.zeros(d, d)
            heads = (Head(zero, zero, RationalMatrix.identity(d)),)
        x, X, P = (random_matrix(rng, d, n) for n in (1, 1 + k % 2, 1 + (k // 2) % 2))
        yield attention_split.certify(Attention(heads), x, X, P).certificate
    for k in range(10):
        d = 1 + k % 3
        head, token = random_head(rng, d, 1 + k % d), random_matrix(rng, d, 1).column(0)
        if any(head.logit_vectors(column_vector(token)).column(0)):
            rho = fmpq(rng.randint(-2, 2), 2) if k % 2 else fmpq(0)
            across = random_matrix(rng, d, 1).column(0)
            A = direction_lemma.attainable_output(head, token, across, rho)
            yield direction_lemma.certify(head, token, A, rho).certificate
    for k in range(10):
        d, r = 1 + k % 3, 1 + k % 4
        y = random_matrix(rng, d, 1).column(0)
        relation = ("norm-product", "monotone")[k % 2]
        made = mlp_injectivity.certify(random_mlp(rng, d, r, contractive=True), y, relation).certificate
        yield made
        if made is not None and k < 4:  # without a target
            witness = {**made.witness, "z": None}
            yield Certificate(made.claim, made.relation, made.evidence, {**made.instance, "y": None}, witness)


def pool(seed: int) -> list[Json]:
    """Valid certificates of the four claims, as JSON objects."""
    rng = random.Random(f"pool/{seed}")
    made = [c for c in [*_pairs(rng), *_others(rng)] if c is not None]
    return [c.document() for c in made]
