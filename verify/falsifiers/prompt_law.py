"""Falsifier of the prompt law (THEORY section 3.1), four searches in turn: prompts whose entropy leaves its range;
pairs (p̄, S) in the range that are not reached; prompts below the certified floor of a loss; examples that fewer
tokens memorize than the formula says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from flint import arb, fmpq

from constructions.data import Dataset, Example
from constructions.numbers.balls import BallMatrix, decided_sign, until_decided
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.context import HeadView
from constructions.single_layer.curve import loss_curve
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.preimage import preimage
from constructions.single_layer.prompt_law import ClusteredPrompt, realize, shortest_length, summarize
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.words import digits, near
from verify.instances import random_matrix
from verify.search import adversary

SLUG = "prompt-law"
NONZERO, TWO = "q ≠ 0", "two tokens or more for H > 0"
SHORT, SOME = "at most m tokens", "one token or more"
LOG_LENGTH, FLOOR, FORMULA = "log m", "the floor of the loss", "e|c|e^(−g·a)"


@dataclass(frozen=True)
class Prompt:
    """A logit vector and a prompt (d×m)."""

    q: tuple[fmpq, ...]
    P: RationalMatrix


def judge_entropy(search: Search, instance: Prompt) -> Trial:
    """0 < H ≤ log m (H = 0 for one token), H from the prompt by definition."""
    q, P = list(instance.q), instance.P
    m, what = P.shape[1], f"d = {P.shape[0]}, prompt tokens: {P.shape[1]}"
    scores = [dot(q, P.column(j)) for j in range(m)]
    summary = summarize(q, P)
    parts = {"q": q, "prompt": P}
    if m == 1:
        if search.keeps(TWO):
            return Trial(what)
        sentence = "expected H > 0, found H = 0"
        return Trial(what, counterexample=Counterexample(SLUG, sentence, parts))
    if len(set(scores)) == 1:  # all weights equal: H = log m, which balls cannot tell
        ratio = fmpq(1)
        above = search.factor(LOG_LENGTH) < 1
    else:
        if until_decided(lambda: decided_sign(summary.entropy(q))) < 0:
            return Trial(what, counterexample=Counterexample(SLUG, "expected H > 0", parts, Evidence.ENCLOSED))
        bound = search.factor(LOG_LENGTH)
        above = until_decided(lambda: decided_sign(summary.entropy(q) - bound * arb(m).log())) > 0
        ratio = near(lambda: summary.entropy(q) / arb(m).log())
    if above:
        sentence = f"expected H ≤ {search.factor(LOG_LENGTH)} log {m}, found {digits(ratio)} log {m}"
        evidence = Evidence.EXACT if ratio == 1 else Evidence.ENCLOSED
        return Trial(what, 1 - ratio, Counterexample(SLUG, sentence, parts, evidence), LOG_LENGTH)
    return Trial(what, 1 - ratio, constant=LOG_LENGTH)


@dataclass(frozen=True)
class Pair:
    """A logit vector, a mean p̄, a number of tokens m ≥ 2 and a mass ``S = e^(q·p̄) ratio`` with 1 < ratio < m."""

    q: tuple[fmpq, ...]
    mean: tuple[fmpq, ...]
    length: int
    ratio: fmpq


def judge_reach(search: Search, instance: Pair) -> Trial:
    """The pair is reached: by the tokens of the proof, in balls. For q = 0 every prompt has the mass m."""
    q, m = list(instance.q), instance.length
    parts = {"q": q, "mean": list(instance.mean), "length": m, "e^H": instance.ratio}
    if not any(q):
        if search.keeps(NONZERO):
            return Trial("q = 0: nothing is claimed")
        sentence = f"expected the mass {instance.ratio} to be reached by {m} tokens, but with q = 0 their mass is {m}"
        return Trial("q = 0", counterexample=Counterexample(SLUG, sentence, parts))

    def reached() -> bool:
        mean = [arb(x) for x in instance.mean]
        at = dot(q, list(instance.mean))
        log_mass = arb(at) + arb(instance.ratio).log()
        found, mass = _seen(q, realize(q, mean, log_mass, m))
        return bool(mass.overlaps(log_mass.exp())) and all(x.contains(y) for x, y in zip(found, mean, strict=True))

    what = f"prompt tokens: {m}, H = log {instance.ratio}"
    if until_decided(reached):
        return Trial(what)
    sentence = "the tokens of the proof do not have this mean and mass"
    return Trial(what, counterexample=Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED))


def _seen(q: list[fmpq], prompt: ClusteredPrompt) -> tuple[list[arb], arb]:
    """Mean and mass of a prompt in balls, by definition."""
    scores = RationalMatrix.of([q]) @ prompt.tokens
    weights = [n * scores[0, j].exp() for j, n in enumerate(prompt.counts)]
    mass = sum(weights, arb(0))
    rows = range(len(q))
    return [sum((w * prompt.tokens[i, j] for j, w in enumerate(weights)), arb(0)) / mass for i in rows], mass


@dataclass(frozen=True)
class Losses:
    """Data with one logit vector, and the length that prompts may have."""

    model: Transformer
    data: Dataset
    length: int


def judge_floor(search: Search, instance: Losses) -> Trial:
    """The certified floor of the loss against the best prompt that gradient descent finds, rounded to rationals."""
    layer = instance.model.layers[0]
    queries = list(instance.data.queries(instance.model))
    problem = LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    bounds = next(loss_curve(problem, [instance.length]))
    floor = bounds.lower * search.factor(FLOOR)
    length = instance.length if search.keeps(SHORT) else 4 * instance.length
    attack = adversary(*problem.attention_only(), lengths=[length], restarts=2, max_iterations=200)
    prompts = [_rounded(attack.prompt)]
    if not search.keeps(SOME):
        prompts.append(RationalMatrix.zeros(instance.model.width, 0))
    what = f"d = {instance.model.width}, {len(queries)} examples, at most {instance.length} tokens"
    smallest: fmpq | None = None
    for P in prompts:
        if not until_decided(lambda P=P: decided_sign(_loss(instance, P) - floor) > 0 if floor else True):  # type: ignore[misc]
            sentence = (
                f"expected a loss of at least {digits(floor)} with at most {instance.length} tokens, found "
                f"{digits(_loss(instance, P))} with {P.shape[1]}"
            )
            parts = {"model": instance.model, "data": instance.data, "prompt": P}
            return Trial(what, counterexample=Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED))
        if bounds.lower > 0:
            slack = 1 - near(lambda P=P: arb(bounds.lower) / _loss(instance, P))  # type: ignore[misc]
            smallest = slack if smallest is None else min(smallest, slack)
    return Trial(what, smallest, constant=FLOOR)


def _loss(instance: Losses, P: RationalMatrix) -> arb:
    """The loss of a prompt by the model's own code, in balls."""
    total = arb(0)
    for example in instance.data.examples:
        Z = P.hstack(example.X)
        found = instance.model.layers[0].output(BallMatrix.embed(Z), Z.shape[1] - 1)
        for i in range(Z.shape[0]):
            rest = found[i, 0] - arb(example.targets[i, 0])
            total += rest * rest  # not a power, which is NaN for a ball around zero
    return total


def _rounded(prompt: np.ndarray) -> RationalMatrix:
    return RationalMatrix.of([[fmpq(round(float(x) * 2**30), 2**30) for x in row] for row in prompt])


@dataclass(frozen=True)
class OneExample:
    """d = 1, V = 1, logit vector q, a context (1×m) and the shifted preimage a."""

    q: fmpq
    X: RationalMatrix
    a: fmpq


def judge_length(search: Search, instance: OneExample) -> Trial:
    """⌈e|c|e^(−g·a)⌉ equal tokens p memorize: N e^(qp) (p − a) + C changes its sign between a − 1/q and a."""
    q, a = instance.q, instance.a
    one = RationalMatrix.identity(1)
    view = HeadView.of(Head(one.scaled(0), one, one, b_q=one.scaled(q)), [fmpq(0)], instance.X)
    C = view.sums[0] - view.mass * a
    c = -C * q
    if c.sign() >= 0:
        return Trial("one token is enough: the formula says nothing")
    needed = ExpFraction(-c * ExpSum.exp(1 - q * a))  # e|c|e^(−g·a) with g = q
    tokens = shortest_length(needed)
    low, high = (C + ExpSum.exp(q * a - 1) * (-tokens / q), C)
    if (low * high).sign() > 0:
        return Trial(f"{tokens} equal tokens do not memorize")
    said = shortest_length(needed * search.factor(FORMULA))
    what = f"{tokens} equal tokens memorize one example"
    if tokens < said:
        sentence = f"expected at least {said} tokens, but {tokens} equal tokens between {a - 1 / q} and {a} memorize"
        return Trial(what, counterexample=Counterexample(SLUG, sentence, {"q": q, "X": instance.X, "a": a}))
    return Trial(what, 1 - near(lambda: needed.enclosure() / tokens), constant=FORMULA)


def trials(search: Search) -> Iterator[Trial]:
    def vector(rng: random.Random, d: int) -> tuple[fmpq, ...]:
        while True:
            q = tuple(random_matrix(rng, d, 1, denominator=2).column(0))
            if any(q):
                return q

    def draw_prompt(rng: random.Random) -> Prompt:
        d, m = rng.randint(1, 2), rng.randint(1, 4)
        return Prompt(vector(rng, d), random_matrix(rng, d, m, size=4, denominator=2))

    def vary_prompt(rng: random.Random, instance: Prompt) -> Prompt:
        step = random_matrix(rng, *instance.P.shape, size=1, denominator=2 ** rng.randint(0, 6))
        return Prompt(instance.q, RationalMatrix(instance.P.mat + step.mat))

    def draw_pair(rng: random.Random) -> Pair:
        d, m = rng.randint(1, 2), rng.randint(2, 4)
        q = vector(rng, d) if search.keeps(NONZERO) else tuple(random_matrix(rng, d, 1, size=1).column(0))
        mean = tuple(random_matrix(rng, d, 1).column(0))
        return Pair(q, mean, m, 1 + fmpq((m - 1) * rng.randint(1, 15), 16))

    def draw_losses(rng: random.Random) -> Losses:
        d = rng.randint(1, 2)
        W_q = RationalMatrix.zeros(d, d) if rng.random() < 0.25 else random_matrix(rng, d, d, size=1)
        head = Head(W_q, random_matrix(rng, d, d, size=1), RationalMatrix.identity(d))
        token = random_matrix(rng, d, 1, denominator=2)
        examples = []
        for _ in range(2):
            X = random_matrix(rng, d, 1, denominator=2).hstack(token)
            mean = RationalMatrix.of_columns([[(x + y) / 2 + y for x, y in X.rows()]])  # met without a prompt if q = 0
            examples.append(Example(X, rng.choice([mean, random_matrix(rng, d, 1, denominator=2)])))
        model = Transformer((Layer(Attention((head,)), FeedForward.none(d)),))
        return Losses(model, Dataset(tuple(examples)), rng.randint(1, 2))

    def draw_example(rng: random.Random) -> OneExample:
        q = fmpq(rng.choice([-2, -1, 1, 2]))
        return OneExample(q, random_matrix(rng, 1, rng.randint(1, 3)), fmpq(rng.randint(-4, 4), 2))

    def vary_example(rng: random.Random, instance: OneExample) -> OneExample:
        step = random_matrix(rng, *instance.X.shape, size=1, denominator=2 ** rng.randint(1, 8))
        return OneExample(instance.q, RationalMatrix(instance.X.mat + step.mat), instance.a)

    one = (fmpq(1),)
    R = RationalMatrix.of
    I = RationalMatrix.identity(1)
    blind = Transformer((Layer(Attention((Head(R([[0]]), I, I),)), FeedForward.none(1)),))
    met = Losses(blind, Dataset((Example(R([[2, 0]]), I), Example(R([[-2, 0]]), R([[-1]])))), 1)  # without a prompt
    return in_turn(
        explore(
            search,
            lambda i: judge_entropy(search, i),
            draw=draw_prompt,
            structured=[Prompt(one, R([[0]])), Prompt(one, R([[1, 1]])), Prompt(one, R([[0, 40]]))],
            vary=vary_prompt,
        ),
        explore(
            search,
            lambda i: judge_reach(search, i),
            draw=draw_pair,
            structured=[Pair((fmpq(0),), (fmpq(0),), 2, fmpq(3, 2))],
        ),
        explore(search, lambda i: judge_floor(search, i), draw=draw_losses, structured=[met]),
        explore(
            search,
            lambda i: judge_length(search, i),
            draw=draw_example,
            structured=[OneExample(fmpq(1), R([[3, 1]]), fmpq(1))],
            vary=vary_example,
        ),
    )


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        NONZERO: "the mass of a prompt depends on its tokens",
        TWO: "H is positive only for two tokens or more",
        SHORT: "the floor is about prompts of this length",
        SOME: "the floor is about prompts that are not empty",
    },
    constants={
        LOG_LENGTH: "the largest entropy of m tokens",
        FLOOR: "the certified lower bound of the loss",
        FORMULA: "whose ceiling is the length that one example needs",
    },
    raised=frozenset({FLOOR, FORMULA}),
    budget=120,
)
