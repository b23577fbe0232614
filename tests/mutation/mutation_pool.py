"""The pool of the campaign: valid certificates of the claims about one layer, small and of every kind of witness."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import law_instances
import mutation_heads
from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide import decide
from constructions.single_layer.decide_several import CriterionDecision, decide_several, refute_length
from constructions.single_layer.loss_problem import NoLossProblemError
from constructions.single_layer.one_query import decide_one_query
from constructions.single_layer.pair import NoPairError, closeness_pair, cone_pair, unmemorizable_pair
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided
from verify.certificate import Certificate
from verify.claims import attention_split, direction_lemma, mlp_injectivity, prompt_law, several_queries
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


def _one_query(rng: random.Random) -> Iterator[Certificate]:
    """prompt-law: decisions of every argument, some with several preimages."""
    found: Counter[str] = Counter()
    for k in range(120):
        if k % 5 == 0:
            drop = (None, fmpq(0), fmpq(-1))[k // 5 % 3]
            seed = rng.randint(0, 10**6)
            instance = law_instances.consistent(seed, n=2 + k % 2, d=1 + k % 3, drop=drop).instance
        else:
            kind = law_instances.KINDS[k % len(law_instances.KINDS)]
            kind = "plain" if k % 5 == 1 else kind
            d = 2 if kind in ("row-space", "plain") else 1 + k % 2
            instance = law_instances.random_instance(rng.randint(0, 10**6), kind, d=d, n=2 + k % 4 // 3)
        problem = instance.problem
        for length in (None, 1, 2):
            decision = decide_one_query(problem, length)
            if decision.undecided is not None:
                continue
            if decision.possible is None:
                made = prompt_law.impossible_certificate(instance.model, problem, length, decision.impossible)
                kinds = {f"{reason.argument} {len(decision.impossible) > 1}" for reason in decision.impossible}
            else:
                made = prompt_law.memorizable_certificate(instance.model, problem, decision.possible)
                names = ("equation", "free", "g")
                kinds = {"memorizable " + " ".join(name for name in names if made.witness[name] is not None)}
            if min(found[kind] for kind in kinds or {""}) < 2:
                found.update(kinds or {""})
                yield made


def _fixed_masses(rng: random.Random) -> tuple[Transformer, Dataset]:
    """Two logit vectors, two examples with each that fix its mass: tokens are (0, 0, t), and ids 0, 1 give the vectors
    b and b + r; all scores of the contexts are zero."""
    one, zero = RationalMatrix.identity(3), fmpq(0)
    r, b = random_matrix(rng, 2, 1, size=2).column(0), [fmpq(1), fmpq(1)]
    while r[0] == r[1]:
        r = random_matrix(rng, 2, 1, size=2).column(0)
    W_q = RationalMatrix.of([[zero, zero, r[0]], [zero, zero, r[1]], [zero] * 3])
    head = Head(W_q, one, one, one, column_vector([*b, zero]))
    model = Transformer((Layer(Attention((head,)), FeedForward.none(3)),))
    examples = []
    for i in range(2):
        s, u = fmpq(rng.randint(2, 9)), random_matrix(rng, 3, 1, size=2, denominator=2).column(0)
        for others in ([], [[zero, zero, fmpq(rng.randint(3, 6))]]):
            columns = [*others, [zero, zero, fmpq(i)]]
            sums = [sum((z[c] for z in columns), zero) for c in range(3)]
            a = [(x + s * y) / (len(columns) + s) for x, y in zip(sums, u, strict=True)]
            target = column_vector([x + z for x, z in zip(a, columns[-1], strict=True)])
            examples.append(Example(RationalMatrix.of_columns(columns), target))
    return model, Dataset(tuple(examples))


def _several(rng: random.Random) -> Iterator[Certificate]:
    """several-queries: points and trees, groups with a fixed mass, impossible groups, lengths, two preimages."""
    found: Counter[str] = Counter()
    for k in range(54):
        if k % 3 == 1:
            model, data = _fixed_masses(rng)
        else:
            model, data = several_queries.random_data(rng, 2, 2 + (k % 6 == 5))
        if k % 6 == 3:  # a coordinate is folded: two preimages or none
            first = RationalMatrix.of([[1, 0]])
            mlp = FeedForward(first, RationalMatrix.of([[-3]]), first.T.scaled(-2), RationalMatrix.zeros(2, 1))
            model = Transformer((Layer(model.layers[0].attention, mlp),))
        if k % 6 == 5:  # a query asked twice
            X = data.examples[0].X
            again = RationalMatrix.of_columns([random_matrix(rng, 2, 1).column(0), X.column(X.shape[1] - 1)])
            data = Dataset((*data.examples[:2], Example(again, random_matrix(rng, 2, 1))))
        try:
            grouped = several_queries.several_queries(model, data)
            decision = decide_several(grouped)
            proof: CriterionDecision | None = decision
            if decision.possible is not None:
                proof = refute_length(grouped, 1) if k < 9 else None
        except (Undecided, NoLossProblemError):
            continue
        made = [] if proof is None else [several_queries.impossible_certificate(model, proof)]
        if decision.possible is not None:
            made.append(several_queries.point_certificate(model, decision.data, *decision.possible))
        for certificate in made:
            several = len(certificate.witness.get("combinations", []))
            name = f"{k % 6} {certificate.relation} {certificate.instance['length']} {several}"
            if len(certificate.text()) < 12_000 and found[name] < 2:
                found[name] += 1
                yield certificate


def pool(seed: int) -> list[Json]:
    """Valid certificates of the claims, as JSON objects."""
    rng = random.Random(f"pool/{seed}")
    made = [c for c in [*_pairs(rng), *_others(rng), *_one_query(rng), *_several(rng)] if c is not None]
    return [c.document() for c in made] + mutation_heads.pool(seed)
