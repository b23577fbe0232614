"""Data for several queries of one head, with what is known of them: a prompt that meets them, or the values in floats.

The inequalities are computed here a second time: in balls from the weights of a prompt, and in numpy from contexts and
targets.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import flint
import numpy as np
from flint import arb, fmpq
from numpy.typing import NDArray

from constructions.data import Dataset, Example
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.converse import realize_prompt
from constructions.single_layer.criterion_search import FeasiblePoint
from constructions.single_layer.decide_several import SeveralQueries
from constructions.single_layer.several_queries import System
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.claims.several_queries import random_data, several_queries
from verify.instances import random_full_rank, random_matrix

Row = list[fmpq]
Floats = NDArray[np.float64]
PRECISION = 256


@dataclass(frozen=True)
class Law:
    """What a prompt has at one logit vector: weights, log mass, mean, in balls."""

    weights: list[arb]
    log_mass: arb
    mean: list[arb]


def law(q: Sequence[fmpq], P: RationalMatrix) -> Law:
    """From the definition: the softmax of the scores of the tokens (columns of P)."""
    scores = [dot(q, P.column(j)) for j in range(P.shape[1])]
    top = max(scores)
    parts = [arb(x - top).exp() for x in scores]
    total = sum(parts, arb(0))
    weights = [x / total for x in parts]
    mean = [sum((w * arb(P[i, j]) for j, w in enumerate(weights)), arb(0)) for i in range(P.shape[0])]
    return Law(weights, total.log() + arb(top), mean)


def entropy(w: Sequence[arb]) -> arb:
    return -sum((x * x.log() for x in w), arb(0))


def divergence(w: Sequence[arb], v: Sequence[arb]) -> arb:
    """Kullback-Leibler, of w from v."""
    return sum((x * (x / y).log() for x, y in zip(w, v, strict=True)), arb(0))


def values_at(system: System, sigma: Sequence[arb]) -> dict[tuple[str, int, int | None], arb]:
    """Each inequality of a system at log masses σ, by (kind, group, other)."""
    found = {}
    for x in system.inequalities:
        total = arb(x.constant) + x.decay.enclosure() * (-sigma[x.group]).exp()
        if x.log_length and system.length is not None:
            total += arb(system.length).log() * x.log_length
        total += sum((slope * s for slope, s in zip(x.slopes, sigma, strict=True)), arb(0))
        found[x.kind, x.group, x.other] = total
    return found


@dataclass(frozen=True)
class Prompted:
    """Data whose targets are what the model answers with the prompt ``P``, up to 2^-bits in every entry (exactly, if
    ``bits`` is None)."""

    model: Transformer
    data: Dataset
    P: RationalMatrix
    bits: int | None

    @property
    def grouped(self) -> SeveralQueries:
        return several_queries(self.model, self.data)

    def laws(self, system: System) -> list[Law]:
        return [law(group.q, self.P) for group in system.groups]


def prompted(seed: int, d: int, n: int, m: int, bits: int = 120) -> Prompted:
    """Random data of width d, n queries, and a random prompt of m tokens."""
    rng = random.Random(f"prompted/{seed}/{d}/{n}/{m}")
    model, data = random_data(rng, d, n)
    P = random_matrix(rng, d, m, size=6, denominator=4)
    return _aimed(model, [example.X for example in data.examples], P, bits)


def _aimed(model: Transformer, contexts: Sequence[RationalMatrix], P: RationalMatrix, bits: int | None) -> Prompted:
    examples = []
    attention = model.layers[0].attention
    for X in contexts:
        token = X.column(X.shape[1] - 1)
        answer = attention(column_vector(token), P.hstack(X))
        if bits is None:
            output = answer.as_rational().column(0)  # type: ignore[attr-defined]
        else:
            with flint.ctx.workprec(bits + 64):
                power = fmpq(2) ** bits
                enclosed = [answer[i, 0].enclosure() for i in range(len(token))]
                output = [fmpq((midpoint(x) * power).floor()) / power for x in enclosed]
        examples.append(Example(X, column_vector([a + x for a, x in zip(output, token, strict=True)])))
    return Prompted(model, Dataset(tuple(examples)), P, bits)


def one_score(seed: int, n: int, m: int) -> Prompted:
    """Rational data that a prompt of m tokens meets exactly (width 2n).

    A rational output asks for one score: by Lindemann-Weierstrass the tokens of each score would have the output as
    their mean, hence its score, V being invertible. So at each query all scores are equal, all weights of the prompt
    are 1/m, and all divergences are zero: data on the boundary of the criterion, for which every answer except
    "unmemorizable" is right. Tokens are (y, e_i) with scores y·r_i at query i.
    """
    rng = random.Random(f"one score/{seed}/{n}/{m}")
    d = 2 * n
    R = random_full_rank(rng, n, n, size=2)
    W_q = RationalMatrix.of([[fmpq(0)] * n + row for row in R.rows()] + [[fmpq(0)] * d] * n)
    head = Head(W_q, RationalMatrix.identity(d), random_full_rank(rng, d, d, size=2))
    model = Transformer((Layer(Attention((head,)), FeedForward.none(d)),))
    y = random_matrix(rng, n, 1, denominator=2).column(0)

    def at(i: int) -> Row:
        """Numbers with the score of y at query i."""
        r, v = R.column(i), random_matrix(rng, n, 1, denominator=2).column(0)
        step = (dot(r, y) - dot(r, v)) / dot(r, r)
        return [a + step * b for a, b in zip(v, r, strict=True)]

    contexts = []
    for i in range(n):
        others = [at(i) + random_matrix(rng, n, 1).column(0) for _ in range(rng.randint(1, 3))]
        contexts.append(RationalMatrix.of_columns([*others, at(i) + [fmpq(int(i == j)) for j in range(n)]]))
    P = RationalMatrix.of_columns([y + random_matrix(rng, n, 1).column(0) for _ in range(m)])
    return _aimed(model, contexts, P, None)


class FloatCriterion:
    """All H_g and D_gk as functions of σ, in numpy, from the model and the data (one query in each group)."""

    def __init__(self, model: Transformer, data: Dataset) -> None:
        head = model.layers[0].attention.heads[0]
        V = _floats(head.V)
        self.q, self.alpha, self.beta, self.log_S = [], [], [], []
        for example in data.examples:
            X, y = _floats(example.X), _floats(example.targets)[:, -1]
            x = X[:, -1]
            q = _floats(head.W_k).T @ (_floats(head.W_q) @ x + _floats(head.b_q)[:, 0])
            weights = np.exp(X.T @ q)
            S, A, a = weights.sum(), V @ X @ weights / weights.sum(), y - x
            self.q.append(q)
            self.log_S.append(float(np.log(S)))
            self.alpha.append(np.linalg.solve(V, a))
            self.beta.append(S * np.linalg.solve(V, a - A))

    def least(self, sigma: Floats) -> Floats:
        """The least of all, for an array of σ (…×n)."""
        found = []
        for i, q in enumerate(self.q):
            mean = self.alpha[i] + self.beta[i] * np.exp(-sigma[..., i, None])
            found.append(sigma[..., i] - mean @ q)
            for k, other in enumerate(self.q):
                if k != i:
                    found.append(sigma[..., k] - sigma[..., i] + mean @ (q - other))
        result: Floats = np.min(found, axis=0)
        return result

    def largest(self, entropy: Floats, divergence: Floats, box: Sequence[tuple[float, float]]) -> float:
        """The largest value of Σ entropy_g H_g + Σ divergence_gk D_gk that samples of a box show: it is a sum of
        functions of one σ each."""
        total = 0.0
        for g, (low, high) in enumerate(box):
            ends = max(low, min(self.log_S[g], high) - 60), min(high, max(self.log_S[g], low) + 200)
            sigma = np.linspace(*ends, 4001) if ends[0] < ends[1] else np.array([low])
            slope = entropy[g] - divergence[g].sum() + divergence[:, g].sum()
            direction = -entropy[g] * self.q[g]
            direction = direction + sum(x * (self.q[g] - q) for x, q in zip(divergence[g], self.q, strict=True))
            values = slope * sigma + direction @ self.alpha[g] + direction @ self.beta[g] * np.exp(-sigma)
            total += float(values.max())
        return total


def _floats(matrix: RationalMatrix) -> Floats:
    return np.array([[float(x) for x in row] for row in matrix.rows()])


def attention_gaps(model: Transformer, data: Dataset, system: System, point: FeasiblePoint) -> list[float]:
    """|Att(x, [P, X]) + x − y|, entry by entry, for the prompt P that the converse gives at a point of the criterion;
    means are rounded to 2^-160. For data with one query in each group, in their order, and no MLP."""
    precision, power = 256, fmpq(2) ** 160
    log_masses = [low for low, _ in point.box]
    with flint.ctx.workprec(precision):
        columns = []
        for sigma, group in zip(log_masses, system.groups, strict=True):
            a, C = group.combination.a[0], group.combination.C[0]
            wanted = [arb(x) - c.enclosure() * arb(-sigma).exp() for x, c in zip(a, C, strict=True)]
            inverse = system.inverse.rows()
            columns.append([sum((arb(x) * y for x, y in zip(row, wanted, strict=True)), arb(0)) for row in inverse])
    means = RationalMatrix.of_columns([[fmpq((midpoint(x) * power).floor()) / power for x in c] for c in columns])
    Q = RationalMatrix.of([group.q for group in system.groups])
    prompt = realize_prompt(Q, log_masses, means)
    gaps = []
    with flint.ctx.workprec(precision):
        head = model.layers[0].attention.heads[0]
        V = head.V.rows()
        for query in data.queries(model):
            q = head.logit_vectors(RationalMatrix.of_columns([list(query.token)])).column(0)
            tokens = [(1, [arb(x) for x in query.context.column(j)]) for j in range(query.context.shape[1])]
            tokens += [(count, prompt.tokens.column(j)) for j, count in enumerate(prompt.counts)]
            scores = [sum((arb(x) * y for x, y in zip(q, z, strict=True)), arb(0)) for _, z in tokens]
            top = max(score.mid() for score in scores)
            weights = [count * (score - top).exp() for score, (count, _) in zip(scores, tokens, strict=True)]
            total = sum(weights, arb(0))
            sums = [sum((w * z[c] for w, (_, z) in zip(weights, tokens, strict=True)), arb(0)) for c in range(len(q))]
            mean = [x / total for x in sums]
            for row, x, y in zip(V, query.token, query.target, strict=True):
                output = sum((arb(v) * u for v, u in zip(row, mean, strict=True)), arb(0))
                gaps.append(float((output + arb(x) - arb(y)).abs_upper()))
    return gaps
