"""Falsifier of the criterion for several queries (THEORY section 3.2): prompts whose entropies or divergences are
negative, or longer than log m; and masses and means that pass the criterion although no prompt has them.

That no prompt has them is shown in one of four ways. At the logit vector 0 the mass is the number of tokens. Masses at
q, q + r, q + 2r obey ``D_12 − D_21 ≤ (e^(D_10 + D_12) − 1)/8`` for every prompt. An entropy 0 means one token, and then
all divergences are 0. An entropy above log m needs more than m tokens. (Proofs: docs/theory/several-queries.md.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from flint import arb, fmpq

from constructions.numbers.balls import decided_sign, until_decided
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.prompt_law import PromptSummary, summarize
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.words import digits, near
from verify.instances import random_matrix

SLUG = "several-queries"
INDEPENDENT, POSITIVE, ANY = "independent logit vectors", "strictness of H_i, D_ik > 0", "prompts of any length"
LOG_LENGTH = "log m"
LONGEST = 8
"""The most tokens that prompts may have where their length is wrongly limited."""


@dataclass(frozen=True)
class Seen:
    """Logit vectors (columns of ``Q``, d×n) and a prompt (d×m)."""

    Q: RationalMatrix
    P: RationalMatrix


def judge_prompt(search: Search, instance: Seen) -> Trial:
    """H_i ≥ 0, H_i ≤ log m and D_ik ≥ 0, from the prompt by definition."""
    n, m = instance.Q.shape[1], instance.P.shape[1]
    what = f"d = {instance.P.shape[0]}, queries: {n}, prompt tokens: {m}"
    queries = [instance.Q.column(i) for i in range(n)]
    views = [summarize(q, instance.P) for q in queries]
    scores = [[dot(q, instance.P.column(j)) for j in range(m)] for q in queries]
    bound = search.factor(LOG_LENGTH)
    smallest: fmpq | None = None
    for i in range(n):
        for k in range(n):
            differences = {x - y for x, y in zip(scores[i], scores[k], strict=True)}
            if i == k or len(differences) == 1:  # the same law: the divergence is 0
                continue
            if until_decided(lambda i=i, k=k: decided_sign(_divergence(queries, views, i, k))) < 0:  # type: ignore[misc]
                return _broken(what, f"expected D_{i}{k} ≥ 0", instance)
        if m == 1:
            continue
        uniform = len(set(scores[i])) == 1  # H = log m, which balls cannot tell
        ratio = fmpq(1) if uniform else near(lambda i=i: views[i].entropy(queries[i]) / arb(m).log())  # type: ignore[misc]
        smallest = 1 - ratio if smallest is None else min(smallest, 1 - ratio)
        if (uniform and bound < 1) or (
            not uniform
            and until_decided(lambda i=i: decided_sign(views[i].entropy(queries[i]) - bound * arb(m).log())) > 0  # type: ignore[misc]
        ):
            return _broken(what, f"expected H_{i} ≤ {bound} log {m}, found {digits(ratio)} log {m}", instance)
        if not uniform and until_decided(lambda i=i: decided_sign(views[i].entropy(queries[i]))) < 0:  # type: ignore[misc]
            return _broken(what, f"expected H_{i} ≥ 0", instance)
    return Trial(what, smallest)


def _divergence(queries: list[list[fmpq]], views: list[PromptSummary], i: int, k: int) -> arb:
    across = [x - y for x, y in zip(queries[i], queries[k], strict=True)]
    mean = [x.enclosure() for x in views[i].mean.column(0)]
    at = sum((arb(x) * y for x, y in zip(across, mean, strict=True)), arb(0))
    return views[k].mass.enclosure().log() - views[i].mass.enclosure().log() + at


def _broken(what: str, sentence: str, instance: Seen) -> Trial:
    parts = {"logit vectors": instance.Q, "prompt": instance.P}
    return Trial(what, counterexample=Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED))


@dataclass(frozen=True)
class Asked:
    """Logit vectors (columns of ``Q``, d×n), log masses σ and means (columns of ``means``, d×n)."""

    Q: RationalMatrix
    sigma: tuple[fmpq, ...]
    means: RationalMatrix

    def numbers(self) -> list[list[fmpq]]:
        """H_i on the diagonal, D_ik elsewhere: rational here."""
        n = self.Q.shape[1]
        found = []
        for i in range(n):
            q, p = self.Q.column(i), self.means.column(i)
            row = []
            for k in range(n):
                direction = q if i == k else [x - y for x, y in zip(q, self.Q.column(k), strict=True)]
                at = dot(direction, p)
                row.append(self.sigma[i] - at if i == k else self.sigma[k] - self.sigma[i] + at)
            found.append(row)
        return found


def judge_asked(search: Search, instance: Asked) -> Trial:
    """Masses and means that pass the criterion are not refuted."""
    n = instance.Q.shape[1]
    what = f"masses and means of {n} queries"
    values = instance.numbers()
    least = min(x for row in values for x in row)
    if least < 0 or (least == 0 and search.keeps(POSITIVE)):
        return Trial(f"{what}: the criterion fails")
    if search.keeps(INDEPENDENT) and instance.Q.rank() < n:
        return Trial(f"{what}: dependent logit vectors")
    reason = refuted(instance, values)
    top = max(values[i][i] for i in range(n))
    if reason is None and not search.keeps(ANY) and arb(top) > arb(LONGEST).log():
        reason = f"an entropy is {top} > log {LONGEST}, so {LONGEST} tokens are not enough"
    if reason is None:
        return Trial(what)
    parts = {"logit vectors": instance.Q, "log masses": list(instance.sigma), "means": instance.means}
    return Trial(what, counterexample=Counterexample(SLUG, f"no prompt: {reason}", parts, Evidence.ENCLOSED))


def refuted(instance: Asked, values: list[list[fmpq]]) -> str | None:
    """Why no prompt of any length has these masses and means; None where no reason is known."""
    n = instance.Q.shape[1]
    for i in range(n):
        if not any(instance.Q.column(i)) and instance.sigma[i] != 0:  # e^σ is irrational (Lindemann-Weierstrass)
            return f"at the logit vector 0 the mass is the number of tokens, and e^({instance.sigma[i]}) is none"
        if values[i][i] == 0 and any(x != 0 for j, row in enumerate(values) for k, x in enumerate(row) if j != k):
            return f"H_{i} = 0 means one token, and then all divergences are 0"
    if n == 3:
        first, middle, last = (instance.Q.column(i) for i in range(3))
        if all(x + z == 2 * y for x, y, z in zip(first, middle, last, strict=True)):
            left = values[1][2] - values[2][1]
            if until_decided(lambda: decided_sign(left - ((arb(values[1][0] + values[1][2])).exp() - 1) / 8)) > 0:
                right = (arb(values[1][0] + values[1][2]).exp() - 1) / 8
                return f"equally spaced logit vectors, D_12 − D_21 = {digits(left)} > {digits(right)}"
    return None


def trials(search: Search) -> Iterator[Trial]:
    def draw_prompt(rng: random.Random) -> Seen:
        d, n, m = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 4)
        return Seen(random_matrix(rng, d, n, size=2), random_matrix(rng, d, m, size=4, denominator=2))

    def vary_prompt(rng: random.Random, instance: Seen) -> Seen:
        step = random_matrix(rng, *instance.P.shape, size=1, denominator=2 ** rng.randint(0, 6))
        return replace(instance, P=RationalMatrix(instance.P.mat + step.mat))

    def draw_asked(rng: random.Random) -> Asked:
        d, n = rng.randint(1, 3), rng.randint(1, 3)
        Q = random_matrix(rng, d, n, size=2)
        if n == 3 and not search.keeps(INDEPENDENT):
            q, r = random_matrix(rng, d, 1, size=2).column(0), random_matrix(rng, d, 1, size=2).column(0)
            Q = RationalMatrix.of_columns([[x + j * y for x, y in zip(q, r, strict=True)] for j in range(3)])
        sigma = tuple(fmpq(rng.randint(-4, 12), 2) for _ in range(n))
        return Asked(Q, sigma, random_matrix(rng, d, n, size=4, denominator=2))

    R = RationalMatrix.of
    I = RationalMatrix.identity(2)
    half = fmpq(1, 2)
    # q = (0, 1) + j (1, 0): masses 20, 7, 20 would be e^3, e^2, e^3; means −2, 0, 1.1 along r
    spaced = Asked(R([[0, 1, 2], [1, 1, 1]]), (fmpq(3), fmpq(2), fmpq(3)), R([[-2, 0, "11/10"], [0, 0, 0]]))
    return in_turn(
        explore(
            search,
            lambda i: judge_prompt(search, i),
            draw=draw_prompt,
            structured=[Seen(I, R([[1], [1]])), Seen(I, R([[1, 1], [0, 0]])), Seen(R([[0, 0]]), R([[1, 5]]))],
            vary=vary_prompt,
        ),
        explore(
            search,
            lambda i: judge_asked(search, i),
            draw=draw_asked,
            structured=[
                Asked(I, (fmpq(0), fmpq(0)), R([[0, 0], [0, 0]])),  # one token: all numbers 0
                Asked(I, (fmpq(1), fmpq(2)), R([[1, 0], [0, 1]])),  # H_0 = 0 and positive divergences
                Asked(I, (half, half), R([[0, 0], [0, 0]])),
                spaced,
            ],
        ),
    )


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        INDEPENDENT: "the logit vectors are linearly independent",
        POSITIVE: "entropies and divergences are strictly positive",
        ANY: "the prompt may be as long as it has to be",
    },
    constants={LOG_LENGTH: "the largest entropy of m tokens"},
    budget=300,
)
