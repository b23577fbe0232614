"""Falsifier of the unmemorizable pair (THEORY section 2): the prompt comes first.

Weights, contexts and a prompt are drawn, and the targets are what the layer gives with this prompt: an exact element of
the exponential field, so the prompt memorizes both examples, whatever else is wrong. Then a vector w is looked for that
meets the conditions of the cone, and the closeness inequality is tried. Either one would refute the claim. Beside them
tokens are looked for that pull the output of a two-token context further against its logit vector than W(1/e) allows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from flint import arb, fmpq

from constructions.numbers.balls import decided_sign, until_decided
from constructions.numbers.exponential import ExpFraction
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.context import HeadView
from constructions.transformer import Attention, Head
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.memorized import Memorized, Vector, along, exact
from verify.falsifiers.words import digits, near
from verify.instances import random_matrix

SLUG = "unmemorizable-pair"
SOFTMAX, SHARED, EVERY = "softmax attention", "a shared last token", "every preimage"
UNSEEN, STRICT = "w unseen by other heads", "one of the four strict"
CONTEXTS, TARGETS = ("w·A_1 ≥ 0", "w·A_2 ≤ 0"), ("w·a_1 ≤ 0", "w·a_2 ≥ 0")
DIFFERENT, ONE_HEAD, POINTS = "a_1 ≠ a_2", "closeness with one head", "closeness with single preimages"
CLOSE, LAMBERT = "S_1|a_1 − a_2|", "W(1/e)"


def judge_cone(search: Search, instance: Memorized) -> Trial:
    """Whether some short w meets the conditions of the cone although the prompt memorizes."""
    d = instance.attention.width
    head = instance.attention.heads[0]
    others = [h.V for h in instance.attention.heads[1:]] if search.keeps(UNSEEN) else []
    contexts = [instance.on_context(k, 0) for k in range(2)]
    for w in product(range(-2, 3), repeat=d):
        vector = [fmpq(x) for x in w]
        if not any(w) or any(x != 0 for V in others for x in V.T.apply(vector)):
            continue
        signs = [(1 - 2 * k) * along(vector, contexts[k]).sign() for k in range(2)]
        if any(sign < 0 and search.keeps(name) for sign, name in zip(signs, CONTEXTS, strict=True)):
            continue
        least = []
        for k in range(2):
            each = [(2 * k - 1) * along(vector, a).sign() for a in instance.shifted[k]]
            least.append(min(each) if search.keeps(EVERY) else max(each))
        if any(sign < 0 and search.keeps(name) for sign, name in zip(least, TARGETS, strict=True)):
            continue
        if max([*signs, *least]) > 0 or not search.keeps(STRICT):
            sentence = f"w = {w} meets the conditions of the cone, and this prompt memorizes both examples"
            return Trial(str(instance), counterexample=instance.counterexample(SLUG, sentence, w=list(w), V=head.V))
    return Trial(str(instance))


def judge_closeness(search: Search, instance: Memorized) -> Trial:
    """|(S_1A_1 − S_2A_2) − (S_1 − S_2)a_2| ≤ S_1|a_1 − a_2| must fail: the left side is (S_1 + s)|a_1 − a_2|."""
    head = instance.attention.heads[0]
    views = [HeadView.of(head, instance.token(k).column(0), instance.X[k]) for k in range(2)]
    masses, bound = [view.mass for view in views], search.factor(CLOSE)
    smallest: fmpq | None = None
    for a_1, a_2 in product(*(each if not search.keeps(POINTS) else each[:1] for each in instance.shifted)):
        gap = [x - y for x, y in zip(a_1, a_2, strict=True)]
        rest = ExpFraction(masses[0] - masses[1])
        left = [ExpFraction(b - c) - rest * y for b, c, y in zip(views[0].sums, views[1].sums, a_2, strict=True)]
        apart = any(not x.numerator.is_zero for x in gap)
        if not apart and search.keeps(DIFFERENT):
            continue
        right_square = _square(gap) * masses[0] * masses[0]
        left_square = _square(left)
        if (right_square * (bound * bound) - left_square).sign() >= 0:
            sentence = "the closeness inequality holds, and this prompt memorizes both examples"
            return Trial(str(instance), counterexample=instance.counterexample(SLUG, sentence))
        if apart:
            ratio = right_square / left_square
            slack = 1 - near(lambda ratio=ratio: ratio.enclosure().sqrt())  # type: ignore[misc]
            smallest = slack if smallest is None else min(slack, smallest)
    return Trial(str(instance), smallest, constant=CLOSE)


def _square(v: Vector) -> ExpFraction:
    total = ExpFraction.of(0)
    for x in v:
        total = total + x * x
    return total


@dataclass(frozen=True)
class TwoTokens:
    """The context [x_1, x_0] of one head (columns of ``X``)."""

    head: Head
    X: RationalMatrix


def judge_pull(search: Search, instance: TwoTokens) -> Trial:
    """q·x_0 − q·z ≤ W(1/e) for the mean z of the context: only below it both signs of g·A occur."""
    token = instance.X.columns(1, 2)
    q = instance.head.logit_vectors(token)
    I = RationalMatrix.identity(instance.head.width)
    mean = exact(Attention((Head(instance.head.W_q, instance.head.W_k, I),))(token, instance.X))
    pulled = dot(q.column(0), token.column(0)) - along(q.column(0), mean)
    what = f"two tokens, q·(x_0 − x_1) = {dot(q.column(0), (token - instance.X.columns(0, 1)).column(0))}"

    def above() -> bool:
        return decided_sign(pulled.enclosure() - search.factor(LAMBERT) * lambert()) > 0

    found = None
    if pulled.sign() > 0 and until_decided(above):
        parts = {"W_q": instance.head.W_q, "W_k": instance.head.W_k, "X": instance.X}
        sentence = f"expected q·x_0 − q·z ≤ {search.factor(LAMBERT)} W(1/e), found {digits(pulled)}"
        found = Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED)
    return Trial(what, 1 - near(lambda: pulled.enclosure() / lambert()), found, LAMBERT)


def lambert() -> arb:
    """W(1/e) = 0.2784…"""
    return (-arb(1)).exp().lambertw()


def trials(search: Search) -> Iterator[Trial]:
    def draw_any(rng: random.Random, *, heads: int, fold: bool) -> Memorized:
        d = rng.randint(1, 2)
        made = []
        for j in range(heads):
            # W_q = 0 in half of all heads: every weight equal; V of rank one in a third: outputs on a line
            blind = search.keeps(SOFTMAX) and rng.random() < 0.5
            W_q = RationalMatrix.zeros(d, d) if blind else random_matrix(rng, d, d, size=1)
            V = random_matrix(rng, d, d, size=1)
            if rng.random() < 0.33 or (heads == 2 and d == 2):
                V = RationalMatrix.of([[x * int(i == j) for x in row] for i, row in enumerate(V.rows())])
            made.append(Head(W_q, random_matrix(rng, d, d, size=1), V))
        last = random_matrix(rng, d, 1, size=2)
        other = last if search.keeps(SHARED) else random_matrix(rng, d, 1, size=2)
        X = tuple(random_matrix(rng, d, rng.randint(0, 2), size=2).hstack(x) for x in (last, other))
        kind = "softmax" if search.keeps(SOFTMAX) else "hardmax"
        attention = Attention(tuple(made), kind)  # type: ignore[arg-type]
        return Memorized(attention, (X[0], X[1]), random_matrix(rng, d, rng.randint(1, 2), size=3), fold)

    def draw_cone(rng: random.Random) -> Memorized:
        return draw_any(rng, heads=rng.randint(1, 2), fold=rng.random() < 0.3)

    def draw_close(rng: random.Random) -> Memorized:
        heads = 1 if search.keeps(ONE_HEAD) else 2
        drawn = draw_any(rng, heads=heads, fold=not search.keeps(POINTS))
        return replace(drawn, attention=Attention(drawn.attention.heads))  # softmax: S_k is its mass

    def vary_close(rng: random.Random, instance: Memorized) -> Memorized:
        d, m = instance.P.shape
        step = random_matrix(rng, d, m, size=4, denominator=rng.choice([1, 2, 8]))
        return replace(instance, P=RationalMatrix(instance.P.mat + step.mat))

    def draw_tokens(rng: random.Random) -> TwoTokens:
        d = rng.randint(1, 2)
        W_q, W_k = (random_matrix(rng, d, d, size=1) for _ in range(2))
        head = Head(W_q, W_k, RationalMatrix.identity(d))
        return TwoTokens(head, random_matrix(rng, d, 2, size=4, denominator=2))

    def vary_tokens(rng: random.Random, instance: TwoTokens) -> TwoTokens:
        d = instance.head.width
        step = random_matrix(rng, d, 2, size=2, denominator=2 ** rng.randint(1, 16))
        return TwoTokens(instance.head, RationalMatrix(instance.X.mat + step.mat))

    one = RationalMatrix.identity(1)
    R = RationalMatrix.of
    unit = Attention((Head(one, one, one),), "softmax")
    same = Memorized(unit, (one, one), one)
    weak = Memorized(unit, (one, R([[0, 1]])), R([[-8]]))  # a prompt of mass e^−8
    return in_turn(
        explore(search, lambda i: judge_cone(search, i), draw=draw_cone),
        explore(
            search, lambda i: judge_closeness(search, i), draw=draw_close, structured=[same, weak], vary=vary_close
        ),
        explore(
            search,
            lambda i: judge_pull(search, i),
            draw=draw_tokens,
            structured=[TwoTokens(unit.heads[0], column_vector([1, x]).T) for x in (1, 2)],
            vary=vary_tokens,
        ),
    )


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        SOFTMAX: "the attention is softmax",
        SHARED: "both examples ask at one last token, so with one logit vector",
        UNSEEN: "w^T V = 0 for every other head",
        CONTEXTS[0]: "the first context does not pull along −w",
        CONTEXTS[1]: "the second context does not pull along w",
        TARGETS[0]: "the first target does not ask for more along w",
        TARGETS[1]: "the second target does not ask for less along w",
        STRICT: "not all four are equalities",
        EVERY: "what w says of a target holds for all of its shifted preimages",
        DIFFERENT: "closeness: the shifted preimages differ",
        ONE_HEAD: "closeness: there is no other head",
        POINTS: "closeness: each target has one preimage",
    },
    constants={
        CLOSE: "closeness: what the contexts may differ by",
        LAMBERT: "the largest q·x_0 for which both signs of g·A occur",
    },
    raised=frozenset({CLOSE}),
    budget=600,
)
