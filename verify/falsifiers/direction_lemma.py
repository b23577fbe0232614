"""Falsifier of the direction lemma (THEORY section 2), both ways: from a token x_1 to the closed form, and back.

There: x_1 is drawn, its weight and output are what they are, and the closed form must give x_1. Back: z, x_0 and κ =
e^ρ are drawn with the score that the lemma asks for, and the token x_1 of the closed form must have the weight 1/(1+κ)
and the output V z by the model's own code: exactly where x_1 is rational, in balls otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import flint
from flint import fmpq

from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.direction import token_for_mean
from constructions.transformer import Attention, Head
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.words import digits
from verify.instances import random_matrix

SLUG = "direction-lemma"
SCORE, OUTPUT, WEIGHT = "q·z = q·x_0 − ln κ/(1+κ)", "V z = A", "weight 1/(1+κ)"
SHIFT = "ln κ/(1+κ)"
PRECISION = 256


@dataclass(frozen=True)
class Instance:
    """Back: a mean ``z``, before its score is put right. There: the token x_1. Both d×1."""

    head: Head
    token: RationalMatrix
    other: RationalMatrix
    rho: fmpq

    @property
    def q(self) -> list[fmpq]:
        return self.head.logit_vectors(self.token).column(0)

    def __str__(self) -> str:
        return f"d = {self.head.width}, κ = e^({self.rho})"

    def broken(self, sentence: str, evidence: Evidence = Evidence.EXACT) -> Trial:
        weights = {"W_q": self.head.W_q, "W_k": self.head.W_k, "W_v": self.head.W_v}
        parts = {**weights, "x_0": self.token, "z or x_1": self.other, "rho": self.rho}
        return Trial(str(self), counterexample=Counterexample(SLUG, sentence, parts, evidence))


def judge_back(search: Search, instance: Instance) -> Trial:
    """The token of the closed form has the weight and the output that the lemma says."""
    head, q, rho = instance.head, instance.q, instance.rho
    z = ExpMatrix.embed(instance.other)
    square = dot(q, q)
    if search.keeps(SCORE) and square != 0:
        shift = ExpFraction(ExpSum.of(rho), ExpSum.exp(rho) + 1) * search.factor(SHIFT)
        need = dot(q, instance.token.column(0)) - shift - dot(q, instance.other.column(0))
        z = ExpMatrix([[a + need * (x / square)] for a, x in zip(z.column(0), q, strict=True)], 1)
    elif search.keeps(SCORE) and rho != 0:
        return Trial(f"{instance}: q = 0 leaves κ = 1 only")
    x_1 = token_for_mean(z, instance.token.column(0), rho)
    asked = z if search.keeps(OUTPUT) else ExpMatrix.embed(instance.other.scaled(2))
    expected = head.V @ asked
    rational = x_1.as_rational()
    weight = ExpFraction(ExpSum.of(1), ExpSum.exp(rho) + 1)
    if rational is not None:
        context = rational.hstack(instance.token)
        found = Attention((head,))(instance.token, context)
        scores = [dot(q, context.column(j)) for j in range(2)]
        share = ExpFraction(ExpSum.exp(scores[0]), ExpSum.weighted([fmpq(1)] * 2, scores))
        holds, evidence = found == expected and share == weight, Evidence.EXACT
    else:
        with flint.ctx.workprec(PRECISION):
            scores_ball = RationalMatrix.of([q]) @ BallMatrix.embed(x_1)
            share_ball = 1 / (1 + (dot(q, instance.token.column(0)) - scores_ball[0, 0]).exp())
            context_ball = _beside(x_1, instance.token)
            found = Attention((head,))(BallMatrix.embed(instance.token), context_ball)
            assert isinstance(found, BallMatrix)
            holds = found.contains(expected) and bool(share_ball.overlaps(weight.enclosure()))
            share, evidence = share_ball, Evidence.ENCLOSED
    if not holds:
        return instance.broken(
            f"expected weight {digits(weight)} and output {_row(expected)}, found {digits(share)} and {_row(found)}",
            evidence,
        )
    return Trial(str(instance), fmpq(0) if rho != 0 and square != 0 else None)


def judge_there(search: Search, instance: Instance) -> Trial:
    """A token x_1 of weight 1/(1+κ) is that of the closed form for its own mean z."""
    head, q, token = instance.head, instance.q, instance.token.column(0)
    x_1 = instance.other.column(0)
    rho = dot(q, token) - dot(q, x_1)  # its weight is 1/(1 + e^ρ)
    if not search.keeps(WEIGHT):
        rho += 1
    kappa = ExpSum.exp(rho)
    output = Attention((head,))(instance.token, instance.other.hstack(instance.token))
    z = [ExpFraction(kappa * y + x, kappa + 1) for x, y in zip(x_1, token, strict=True)]  # the only z for this κ
    seen = head.V @ ExpMatrix([[x] for x in z], 1)
    score = ExpFraction.of(0)
    for a, x in zip(q, z, strict=True):
        score = score + x * a
    shift = ExpFraction(ExpSum.of(rho), kappa + 1) * search.factor(SHIFT)
    expected = dot(q, token) - shift
    if seen != output:
        return instance.broken(f"expected V z = A = {_row(output)} for the z of x_1, found {_row(seen)}")
    if score != expected:
        return instance.broken(f"expected q·z = {digits(expected)}, found {digits(score)}")
    return Trial(str(instance), fmpq(0) if rho != 0 else None)


def _beside(left: ExpMatrix, right: RationalMatrix) -> BallMatrix:
    columns = zip(left.column(0), right.column(0), strict=True)
    rows = [[x.enclosure(), flint.arb(y)] for x, y in columns]
    return BallMatrix(flint.arb_mat(rows))


def _row(column: Matrix) -> str:
    return "(" + ", ".join(digits(column[i, 0]) for i in range(column.shape[0])) + ")"


def trials(search: Search) -> Iterator[Trial]:
    def draw(rng: random.Random) -> Instance:
        d = rng.randint(1, 3)
        W_q, W_k, W_v = (random_matrix(rng, d, d, size=2) for _ in range(3))
        token, other = random_matrix(rng, d, 1, size=2), random_matrix(rng, d, 1, size=2)
        return Instance(Head(W_q, W_k, W_v), token, other, fmpq(rng.randint(-4, 4), 2))

    one, zero = RationalMatrix.identity(1), RationalMatrix.zeros(1, 1)
    structured = [
        Instance(Head(one, one, one), column_vector([x]), column_vector([y]), fmpq(rho))
        for x, y, rho in ((0, 0, 0), (0, 1, 0), (2, 1, 1))
    ]
    structured.append(Instance(Head(zero, zero, one), column_vector([1]), column_vector([3]), fmpq(0)))
    return in_turn(
        explore(search, lambda i: judge_back(search, i), draw=draw, structured=structured),
        explore(search, lambda i: judge_there(search, i), draw=draw, structured=structured),
    )


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        SCORE: "the score of the mean of x_1 and x_0",
        OUTPUT: "the mean has the output A",
        WEIGHT: "x_1 has the weight that belongs to κ",
    },
    constants={SHIFT: "what the weight takes from the score of the mean"},
    budget=60,
)
