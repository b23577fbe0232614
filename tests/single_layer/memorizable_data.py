"""Datasets built from a prompt: the targets are the layer's exact outputs under it, so some prompt memorizes them.

Softmax outputs are rational only for special prompts. Four families, drawn by turns:

- ``uniform``: every token, of prompt and contexts, has the same score, so attention is the plain mean;
- ``zero-query``: W_q = 0 and no bias, the same for arbitrary tokens and several heads;
- ``one-value``: scores differ, but the head gives the same value for all tokens of a context, and one for all of the
  prompt, whose mass is a rational multiple of the contexts' masses (irrational numbers each);
- ``blind``: W_v = 0 or W_o = 0 in heads with arbitrary scores, beside a head of another family.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.instances import random_matrix, random_mlp

FAMILIES = ("uniform", "zero-query", "one-value", "blind")
Row = list[fmpq]
zeros = RationalMatrix.zeros


@dataclass(frozen=True)
class Memorizable:
    """A model, data, and the prompt that memorizes them."""

    family: str
    model: Transformer
    data: Dataset
    prompt: RationalMatrix


def exact_output(model: Transformer, P: RationalMatrix, X: RationalMatrix) -> RationalMatrix:
    """The model on [P, X], whose last columns must be rational."""
    output = model.with_prompt(P, X)
    if isinstance(output, ExpMatrix):
        found = output.as_rational()
        assert found is not None, "a family of prompts with rational outputs gave an irrational one"
        return found
    assert isinstance(output, RationalMatrix)
    return output


def random_any_head(rng: random.Random, d: int, s: int) -> Head:
    """A head of any rank, with a query bias now and then."""
    bias = random_matrix(rng, s, 1) if rng.random() < 0.3 else zeros(s, 1)
    return Head(*(random_matrix(rng, s, d, size=2) for _ in range(3)), random_matrix(rng, d, s, size=2), bias)


def random_ff(rng: random.Random, d: int) -> FeedForward:
    r = rng.choice([0, 1, 1, 2, 3])
    return random_mlp(rng, d, r, contractive=rng.random() < 0.4) if r else FeedForward.none(d)


def combination(rng: random.Random, basis: list[Row], d: int) -> Row:
    total = [fmpq(0)] * d
    for e in basis:
        c = fmpq(rng.randint(-2, 2), rng.randint(1, 2))
        total = [x + c * y for x, y in zip(total, e, strict=True)]
    return total


def _uniform(rng: random.Random, d: int) -> tuple[tuple[Head, ...], RationalMatrix, list[RationalMatrix]]:
    """Tokens x_0 + (what is orthogonal to the q of all heads at x_0): one score per head."""
    heads = tuple(random_any_head(rng, d, rng.randint(1, d)) for _ in range(rng.choice([1, 1, 2])))
    x_0 = random_matrix(rng, d, 1)
    logits = [head.logit_vectors(x_0).column(0) for head in heads]
    across = RationalMatrix.of(logits).nullspace()

    def tokens(n: int) -> RationalMatrix:
        moved = [combination(rng, across, d) for _ in range(n)]
        return RationalMatrix.of_columns([[a + b for a, b in zip(x_0.column(0), v, strict=True)] for v in moved])

    contexts = [tokens(rng.randint(1, 3)).hstack(x_0) for _ in range(2)]
    return heads, tokens(rng.randint(1, 4)), contexts


def _zero_query(rng: random.Random, d: int) -> tuple[tuple[Head, ...], RationalMatrix, list[RationalMatrix]]:
    heads = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        head = random_any_head(rng, d, rng.randint(1, d))
        s = head.head_size
        heads.append(Head(zeros(s, d), head.W_k, head.W_v, head.W_o))
    x_0 = random_matrix(rng, d, 1)
    contexts = []
    for _ in range(rng.choice([2, 2, 3])):
        last = x_0 if rng.random() < 0.7 else random_matrix(rng, d, 1)
        contexts.append(random_matrix(rng, d, rng.randint(1, 3)).hstack(last))
    return tuple(heads), random_matrix(rng, d, rng.randint(1, 4)), contexts


def _one_value(rng: random.Random, d: int) -> tuple[tuple[Head, ...], RationalMatrix, list[RationalMatrix]]:
    """V n = 0 and q·n ≠ 0: moving a token along n changes its score and not its value."""
    while True:
        head = random_any_head(rng, d, rng.randint(1, max(1, d - 1)))
        x_0 = random_matrix(rng, d, 1).column(0)
        q = head.logit_vectors(column_vector(x_0)).column(0)
        n = next((e for e in head.V.nullspace() if dot(q, e) != 0), None)
        if n is not None:
            break

    def at_score(z: Row, score: fmpq) -> Row:
        step = (score - dot(q, z)) / dot(q, n)
        return [x + step * e for x, e in zip(z, n, strict=True)]

    # One list of scores, used k times over in each context (the token's own score among them) and in the prompt.
    scores = [fmpq(rng.randint(-3, 3), rng.randint(1, 2)) for _ in range(rng.randint(0, 2))]
    scores.append(dot(q, x_0))
    contexts = []
    for times in (1, rng.randint(1, 2)):
        columns = [at_score(x_0, score) for score in scores * times]
        contexts.append(RationalMatrix.of_columns([*columns[:-1], x_0]))
    value = random_matrix(rng, d, 1).column(0)
    P = RationalMatrix.of_columns([at_score(value, score) for score in scores * rng.randint(1, 2)])
    return (head,), P, contexts


def _blind(rng: random.Random, d: int) -> tuple[tuple[Head, ...], RationalMatrix, list[RationalMatrix]]:
    heads, P, contexts = rng.choice([_zero_query, _one_value])(rng, d)
    s = rng.randint(1, d)
    head = random_any_head(rng, d, s)
    if rng.random() < 0.5:
        silent = Head(head.W_q, head.W_k, zeros(s, d), head.W_o, head.b_q)
    else:
        silent = Head(head.W_q, head.W_k, head.W_v, zeros(d, s), head.b_q)
    both = [*heads, silent]
    rng.shuffle(both)
    return tuple(both), P, contexts


@lru_cache(maxsize=4096)
def memorizable(seed: int | str) -> Memorizable:
    """One of the families, on d = 1..4, with mask, embedding, and targets for all tokens where outputs allow it."""
    rng = random.Random(f"memorizable/{seed}")
    family = rng.choice(FAMILIES)
    d = rng.randint(2 if family in ("one-value", "blind") else 1, 4)
    make = {"uniform": _uniform, "zero-query": _zero_query, "one-value": _one_value, "blind": _blind}[family]
    heads, P, contexts = make(rng, d)
    model = Transformer((Layer(Attention(heads, causal=rng.random() < 0.3), random_ff(rng, d)),))
    plain = family == "zero-query"
    if plain and rng.random() < 0.3:  # an embedding: all contexts of one length, the prompt of the length left
        m = contexts[0].shape[1]
        contexts = [X for X in contexts if X.shape[1] == m]
        model = Transformer(model.layers, random_matrix(rng, d, m + P.shape[1]))
    examples = []
    for X in contexts:
        output = exact_output(model, P, X) if plain else None
        m = X.shape[1]
        if output is not None and rng.random() < 0.4:
            examples.append(Example(X, output))
        else:
            last = model.layers[0].output(P.hstack(X), P.shape[1] + m - 1) if output is None else None
            if last is not None:
                last = last if isinstance(last, RationalMatrix) else last.as_rational()  # type: ignore[attr-defined]
                assert last is not None, "a family of prompts with rational outputs gave an irrational one"
            target = output.columns(m - 1, m) if output is not None else last
            examples.append(Example(X, target))
    return Memorizable(family, model, Dataset(tuple(examples)), P)
