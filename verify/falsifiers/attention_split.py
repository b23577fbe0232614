"""Falsifier of the attention split (THEORY section 1): both sides of the identity by the model's own code, exactly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from constructions.numbers.exponential import ExpFraction
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.context import HeadView
from constructions.transformer import Attention, FeedForward, Head, Layer
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.words import digits
from verify.instances import random_matrix

SLUG = "attention-split"
SOFTMAX, UNMASKED, OWN = "softmax attention", "all of the context in sight", "a weight λ for each head"
PROMPT, CONTEXT = "a prompt of at least one token", "a context of at least one token"
SHARE = "λ"


@dataclass(frozen=True)
class Instance:
    """The query token is column 0 of ``X`` where there is one, else the origin."""

    attention: Attention
    X: RationalMatrix
    P: RationalMatrix

    @property
    def token(self) -> RationalMatrix:
        d = self.attention.width
        return self.X.columns(0, 1) if self.X.shape[1] else RationalMatrix.zeros(d, 1)

    def output(self, head: Head, Z: RationalMatrix, seen: RationalMatrix) -> list[ExpFraction]:
        """What one head gives to the token over the tokens Z, whose last columns are ``seen``."""
        attention = Attention((head,), self.attention.kind, self.attention.causal)
        queries = seen if attention.causal else self.token
        found: Matrix = attention(queries, Z)
        return (ExpMatrix.embed(found) if isinstance(found, RationalMatrix) else found).column(0)  # type: ignore[attr-defined, no-any-return]

    def __str__(self) -> str:
        heads, context, prompt = len(self.attention.heads), self.X.shape[1], self.P.shape[1]
        return f"d = {self.attention.width}, heads: {heads}, context tokens: {context}, prompt tokens: {prompt}"


def judge(search: Search, instance: Instance) -> Trial:
    """The identity of the sum of the heads, and of each head where the sum could hide it."""
    token = instance.token.column(0)
    views = [(HeadView.of(h, token, instance.X), HeadView.of(h, token, instance.P)) for h in instance.attention.heads]
    shares = [ExpFraction(on_X.mass, on_X.mass + on_P.mass) * search.factor(SHARE) for on_X, on_P in views]
    if any(share.sign() <= 0 or (1 - share).sign() <= 0 for share in shares):
        return _broken(instance, f"expected λ in (0, 1), found {', '.join(digits(share) for share in shares)}")
    slack = None
    for j, head in enumerate(instance.attention.heads):
        share = shares[j if search.keeps(OWN) else 0]
        on_X = instance.output(head, instance.X, instance.X)
        on_P = Instance(Attention((head,), instance.attention.kind), instance.token, instance.P)
        alone = on_P.output(head, instance.P, instance.token)
        both = instance.output(head, instance.P.hstack(instance.X), instance.X)
        for found, a, u in zip(both, on_X, alone, strict=True):
            expected = a * share + u * (1 - share)
            if found != expected:
                return _broken(instance, f"head {j}: expected {digits(expected)}, found {digits(found)}")
            if a != u:
                ratio = ((found - u) / ((a - u) * share)).as_rational()
                slack = None if ratio is None else 1 - ratio
    return Trial(str(instance), slack)


def _broken(instance: Instance, sentence: str) -> Trial:
    layer = Layer(instance.attention, FeedForward.none(instance.attention.width))
    parts = {"layer": layer, "token": instance.token, "X": instance.X, "P": instance.P}
    return Trial(str(instance), counterexample=Counterexample(SLUG, sentence, parts))


def trials(search: Search) -> Iterator[Trial]:
    def attention(heads: list[Head]) -> Attention:
        kind = "softmax" if search.keeps(SOFTMAX) else "hardmax"
        return Attention(tuple(heads), kind, causal=not search.keeps(UNMASKED))  # type: ignore[arg-type]

    def draw(rng: random.Random) -> Instance:
        d = rng.randint(1, 2)
        heads = []
        for _ in range(rng.randint(1, 2)):
            W_q, W_k, W_v = (random_matrix(rng, d, d, size=2) for _ in range(3))
            heads.append(Head(W_q, W_k, W_v, b_q=random_matrix(rng, d, 1, size=1)))
        m = rng.randint(1 if search.keeps(CONTEXT) else 0, 2)
        m_p = rng.randint(1 if search.keeps(PROMPT) else 0, 2)
        tokens = [random_matrix(rng, d, n, size=3, denominator=2) for n in (m, m_p)]
        return Instance(attention(heads), tokens[0], tokens[1])

    zero, one = RationalMatrix.zeros(1, 1), RationalMatrix.identity(1)
    R = RationalMatrix.of
    equal = Instance(attention([Head(zero, zero, one)]), R([[1, 2]]), R([[6]]))
    ties = Instance(attention([Head(one, one, one)] * 2), R([[1, 1]]), R([[1, 1]]))
    far = Instance(attention([Head(one, one, one), Head(zero, zero, one)]), R([[3]]), R([[-4]]))
    return explore(search, lambda i: judge(search, i), draw=draw, structured=[equal, ties, far])


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        SOFTMAX: "the attention is softmax",
        UNMASKED: "the token sees all of its context",
        OWN: "each head has a weight λ of its own",
        PROMPT: "S(P, x) > 0",
        CONTEXT: "S(X, x) > 0",
    },
    constants={SHARE: "the share S(X, x) / (S(X, x) + S(P, x)) of the context"},
    budget=60,
)
