"""Falsifier of the bound on the length of a prompt (THEORY section 4): the prompt comes first, its outputs for two
inputs are the targets (d = 2), and it is shorter than the bound says although the contributions are independent.

``det(a_1 − Σ λ_1j A_1j, a_2 − Σ λ_2j A_2j)`` is affine in each weight λ, so it vanishes nowhere in the open cube iff
its signs at the corners do not contradict each other and are not all zero: that is decided exactly.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from constructions.numbers.exponential import ExpFraction
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, Head
from verify.falsifiers.explore import explore
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.memorized import Memorized, Vector
from verify.instances import random_matrix

SLUG = "prompt-length-bound"
SOFTMAX, TOKEN, ONE_HEAD = "softmax attention", "a prompt of at least one token", "n tokens with one head"
INDEPENDENT, WEIGHTS, EVERY = "independent contributions", "all weights λ", "every combination of preimages"
COUNT = "n"


def independent(instance: Memorized, targets: tuple[Vector, Vector], all_weights: bool) -> bool:
    """Whether the two contributions are independent for all weights in the open cube, or only where they are 0."""
    heads = range(len(instance.attention.heads))
    contexts = [[instance.on_context(k, j) for j in heads] for k in range(2)]
    signs = set()
    for corner in product((0, 1) if all_weights else (0,), repeat=2 * len(heads)):
        c = []
        for k in range(2):
            v = list(targets[k])
            for j in heads:
                if corner[k * len(heads) + j]:
                    v = [x - y for x, y in zip(v, contexts[k][j], strict=True)]
            c.append(v)
        signs.add(_determinant(c[0], c[1]).sign())
        if {1, -1} <= signs:
            return False
    return signs != {0}


def _determinant(v: Vector, w: Vector) -> ExpFraction:
    return v[0] * w[1] - v[1] * w[0]


def judge(search: Search, instance: Memorized) -> Trial:
    """Σ_j min(m, s_j) ≥ n = 2 if the contributions are independent."""
    combinations = list(product(*instance.shifted))
    m, heads = instance.P.shape[1], instance.attention.heads
    if search.keeps(INDEPENDENT):
        found = [independent(instance, (a, b), search.keeps(WEIGHTS)) for a, b in combinations]
        if not (all(found) if search.keeps(EVERY) else any(found)):
            return Trial(f"{instance}: dependent contributions")
    needed = 2 * search.factor(COUNT)
    dimensions = sum(min(m, head.head_size) for head in (heads if search.keeps(ONE_HEAD) else heads[:1]))
    if dimensions < needed:
        sentence = f"expected at least {needed} dimensions from the prompt, and {m} tokens memorize both examples"
        return Trial(str(instance), counterexample=instance.counterexample(SLUG, sentence))
    return Trial(str(instance), 1 - needed / dimensions)


def trials(search: Search) -> Iterator[Trial]:
    def draw(rng: random.Random) -> Memorized:
        """Half of all layers have W_q = J (skew) and contexts [−x, x], which give zero; the others anything small."""
        zero = search.keeps(SOFTMAX) and rng.random() < 0.5
        heads = []
        for _ in range(rng.randint(1, 2)):
            if zero:
                J = RationalMatrix.of([[0, 1], [-1, 0]]).scaled(rng.choice([-1, 1]))
                heads.append(Head(J, RationalMatrix.identity(2), random_matrix(rng, 2, 2, size=1)))
            else:
                W_q = random_matrix(rng, 2, 2, size=1) if rng.random() < 0.5 else RationalMatrix.zeros(2, 2)
                heads.append(Head(W_q, random_matrix(rng, 2, 2, size=1), random_matrix(rng, 2, 2, size=1)))
        X = []
        for _ in range(2):
            x = random_matrix(rng, 2, 1, size=2)
            X.append((x.scaled(-1) if zero else random_matrix(rng, 2, rng.randint(0, 1), size=2)).hstack(x))
        m = rng.randint(1 if search.keeps(TOKEN) else 0, 2)
        kind = "softmax" if search.keeps(SOFTMAX) else "hardmax"
        return Memorized(
            Attention(tuple(heads), kind),  # type: ignore[arg-type]
            (X[0], X[1]),
            random_matrix(rng, 2, m, size=2),
            fold=rng.random() < 0.25 or not search.keeps(EVERY),
        )

    def vary(rng: random.Random, instance: Memorized) -> Memorized:
        step = random_matrix(rng, *instance.P.shape, size=1, denominator=2)
        return replace(instance, P=RationalMatrix(instance.P.mat + step.mat))

    R = RationalMatrix.of
    I, J = RationalMatrix.identity(2), R([[0, 1], [-1, 0]])
    unit = Attention((Head(J, I, I),), "softmax" if search.keeps(SOFTMAX) else "hardmax")
    X = (R([[0, 0], [-1, 1]]), R([[-1, 1], [0, 0]]))
    structured = [Memorized(unit, X, R([[1, 0], [0, 1]])), Memorized(unit, (X[0], X[0]), R([[1], [0]]))]
    return explore(search, lambda i: judge(search, i), draw=draw, structured=structured, vary=vary)


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        SOFTMAX: "the attention is softmax, so that no weight is 0 or 1",
        TOKEN: "there is a prompt",
        ONE_HEAD: "with more heads their dimensions add up",
        INDEPENDENT: "the contributions a_i − λ_i A_i are linearly independent",
        WEIGHTS: "they are so for all weights, not only for λ = 0",
        EVERY: "they are so for whatever preimages of the targets",
    },
    constants={COUNT: "the number of queries, which the dimensions of the prompt are not below"},
    raised=frozenset({COUNT}),
    budget=200,
)
