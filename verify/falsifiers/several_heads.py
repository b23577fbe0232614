"""Falsifier of the claim about small and several heads (THEORY section 3.3), three searches in turn.

Data that peel, and yet are refuted by inequalities that every prompt obeys.

Layers that do not peel, and yet one query gets whatever it asks for: the output for N equal tokens p tends to
(Σ_j V_j)p as N grows, uniformly on bounded sets of p. So if Σ_j V_j maps onto the sum of the ranges of all V_j, every
target in it is reached for large N (Brouwer's theorem; docs/theory/several-heads.md).

Shared last tokens that are memorized by a prompt at which the equations have a regular Jacobian (Krawczyk's test), so
that all data nearby are memorizable.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.heads_criterion import refute_heads
from constructions.single_layer.heads_prompt import HeadsEquations
from constructions.single_layer.newton_prompt import ProvedPrompt, from_start
from constructions.single_layer.peeling import Peeled, peel
from constructions.single_layer.preimage import preimage
from constructions.single_layer.several_heads import SeveralHeads
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Undecided
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.instances import random_matrix

SLUG = "several-heads"
PEELED, IN_RANGE = "peeling", "targets in range"
DISTINCT, UNIQUE = "different logit vectors", "a unique decomposition into outputs of heads"
SHARED, APART, SIZE = "a shared last token", "heads that do not overlap", "head size 2 or more"
DIMENSIONS = "Σ_j (rank V_j + 1)"
MAX_NODES = 40


@dataclass(frozen=True)
class Instance:
    """A layer with data (X_k, and what the last token is asked for), and perhaps a prompt to start from."""

    layer: Layer
    data: Dataset
    P: RationalMatrix | None = None

    @property
    def pairs(self) -> SeveralHeads:
        mlp = self.layer.mlp
        queries = list(self.data.queries(Transformer((self.layer,))))
        return SeveralHeads.of(self.layer, queries, [preimage(mlp, query.target) for query in queries])

    def __str__(self) -> str:
        heads = self.layer.attention.heads
        sizes = ", ".join(str(head.head_size) for head in heads)
        return f"d = {self.layer.width}, examples: {len(self.data.examples)}, heads of size {sizes}"

    def broken(self, sentence: str, evidence: Evidence = Evidence.EXACT, slack: fmpq | None = None) -> Trial:
        parts: dict[str, object] = {"layer": self.layer, "data": self.data}
        if self.P is not None:
            parts["prompt"] = self.P
        return Trial(str(self), slack, Counterexample(SLUG, sentence, parts, evidence), DIMENSIONS)


def peels(pairs: SeveralHeads) -> bool:
    return pairs.pairs.distinct and isinstance(peel(pairs.pairs), Peeled)


def ranks(layer: Layer) -> list[int]:
    return [head.V.rank() for head in layer.attention.heads]


def joint_rank(layer: Layer) -> int:
    """The dimension of the sum of the ranges of all heads."""
    return reduce(RationalMatrix.hstack, [head.V for head in layer.attention.heads]).rank()


def judge_peeled(search: Search, instance: Instance) -> Trial:
    """Peeled data in range are not refuted."""
    pairs = instance.pairs
    if search.keeps(PEELED) and not peels(pairs):
        return Trial(f"{instance}: not peeled")
    if search.keeps(IN_RANGE) and pairs.inputs((0,) * len(pairs.queries)) is None:
        return Trial(f"{instance}: out of range")
    try:
        refute_heads(pairs, max_nodes=MAX_NODES)
    except Undecided:
        return Trial(str(instance))
    return instance.broken("no prompt of any length memorizes these data")


def judge_stuck(search: Search, instance: Instance) -> Trial:
    """A layer that does not peel leaves an open set of targets out of reach; two kinds that leave none are known."""
    pairs, layer = instance.pairs, instance.layer
    if len(pairs.queries) > 1 or peels(pairs):
        return Trial(f"{instance}: nothing is claimed")
    distinct = pairs.pairs.distinct
    unique = joint_rank(layer) == sum(ranks(layer))
    if (search.keeps(DISTINCT) and not distinct) or (search.keeps(UNIQUE) and not unique):
        return Trial(f"{instance}: nothing is claimed")
    reason = _all_reached(pairs)
    return (
        Trial(str(instance))
        if reason is None
        else instance.broken(f"not peeled, yet every target is reached: {reason}")
    )


def _all_reached(pairs: SeveralHeads) -> str | None:
    """Why every target in range of the only query is reached by some prompt; None where no reason is known."""
    together = reduce(lambda x, y: RationalMatrix(x.mat + y.mat), pairs.pairs.V)
    if together.rank() == joint_rank(pairs.layer) > 0:
        return "Σ_j V_j p for all p is all that the heads can give"
    return None


def judge_shared(search: Search, instance: Instance) -> Trial:
    """Two examples with one last token that a whole neighbourhood of data shares the fate of: memorized."""
    pairs, layer = instance.pairs, instance.layer
    assert instance.P is not None
    n, d = len(pairs.queries), layer.width
    each = ranks(layer)
    if n < 2 or joint_rank(layer) < d or 0 in each:
        return Trial(f"{instance}: nothing is claimed")
    dimensions = sum(each) + len(each)
    apart = not search.keeps(APART) or sum(each) == d
    large = not search.keeps(SIZE) or min(each) >= 2
    claimed = (apart and large) or n * d > dimensions * search.factor(DIMENSIONS)
    shared = pairs.queries[0].token == pairs.queries[1].token
    if (search.keeps(SHARED) and not shared) or (not claimed and not shared):
        return Trial(f"{instance}: nothing is claimed")
    proved = _memorized(pairs, instance.P)
    if proved is None:
        return Trial(f"{instance}: no prompt with a regular Jacobian")
    slack = 1 - fmpq(n * d, dimensions) if shared else None
    if claimed:
        sentence = f"{proved.length} tokens memorize these data and all nearby (Krawczyk's test)"
        return instance.broken(sentence, Evidence.ENCLOSED)
    return Trial(str(instance), slack, constant=DIMENSIONS)


def _memorized(pairs: SeveralHeads, P: RationalMatrix) -> ProvedPrompt | None:
    equations = HeadsEquations(pairs, (0,) * len(pairs.queries), (1,) * P.shape[1])
    start = np.array([[float(x) for x in row] for row in P.rows()])
    return from_start(equations, start.ravel())


def trials(search: Search) -> Iterator[Trial]:
    def random_layer(rng: random.Random, d: int, h: int, s: int, size: int = 1) -> Layer:
        heads = []
        for _ in range(h):
            W_q, W_k, W_v = (random_matrix(rng, s, d, size=size) for _ in range(3))
            heads.append(Head(W_q, W_k, W_v, random_matrix(rng, d, s, size=size)))
        return Layer(Attention(tuple(heads)), FeedForward.none(d))

    def draw_peeled(rng: random.Random) -> Instance:
        d, h, n = rng.randint(1, 3), rng.randint(1, 2), rng.randint(1, 2)
        layer = random_layer(rng, d, h, rng.randint(1, d))
        examples = []
        for _ in range(n):
            X, target = random_matrix(rng, d, 2, size=2), random_matrix(rng, d, 1)
            if search.keeps(IN_RANGE):
                sums = [head.V.times(target) for head in layer.attention.heads]
                target = reduce(lambda x, y: RationalMatrix(x.mat + y.mat), sums, X.columns(1, 2))
            examples.append(Example(X, target))
        return Instance(layer, Dataset(tuple(examples)))

    def draw_stuck(rng: random.Random) -> Instance:
        d = rng.randint(1, 2)
        layer = random_layer(rng, d, 2, rng.randint(1, d))
        if rng.random() < 0.5 and not search.keeps(DISTINCT):
            first, second = layer.attention.heads
            both = (first, Head(first.W_q, first.W_k, second.W_v, second.W_o))
            layer = Layer(Attention(both), layer.mlp)
        X = random_matrix(rng, d, 2, size=2)
        return Instance(layer, Dataset((Example(X, random_matrix(rng, d, 1)),)))

    def draw_shared(rng: random.Random) -> Instance:
        d, h, s = rng.choice([(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2)])
        layer = random_layer(rng, d, h, s)
        while joint_rank(layer) < d:
            layer = random_layer(rng, d, h, s)
        last = random_matrix(rng, d, 1, size=2)
        P = random_matrix(rng, d, rng.randint(2, 3), size=4, denominator=2)
        examples = []
        for _ in range(2):
            token = last if search.keeps(SHARED) else random_matrix(rng, d, 1, size=2)
            X = random_matrix(rng, d, rng.randint(1, 2), size=2).hstack(token)
            examples.append(Example(X, _output(layer, P.hstack(X))))
        return Instance(layer, Dataset(tuple(examples)), P)

    return in_turn(
        explore(search, lambda i: judge_peeled(search, i), draw=draw_peeled),
        explore(search, lambda i: judge_stuck(search, i), draw=draw_stuck),
        explore(search, lambda i: judge_shared(search, i), draw=draw_shared),
    )


def _output(layer: Layer, Z: RationalMatrix) -> RationalMatrix:
    """What the layer gives at the last token, to 20 bits."""
    found = layer.output(BallMatrix.embed(Z), Z.shape[1] - 1)
    return RationalMatrix.of([[fmpq((midpoint(found[i, 0]) * 2**20).floor(), 2**20)] for i in range(layer.width)])


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        PEELED: "all pairs of a query and a head can be removed one by one",
        IN_RANGE: "the heads can add up to what is asked for",
        DISTINCT: "no two pairs share a logit vector (where an open set is out of reach)",
        UNIQUE: "a sum of outputs tells what each head gave (where an open set is out of reach)",
        SHARED: "both examples end with one token",
        APART: "no output of one head is one of the others",
        SIZE: "rank V_j ≥ 2",
    },
    constants={DIMENSIONS: "the numbers through which a prompt acts on a shared token; nd of them are asked for"},
    budget=300,
)
