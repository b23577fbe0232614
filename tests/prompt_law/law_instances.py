"""Instances of one query, and the loss of a prompt read off the model's own attention, in balls.

A head with W_q = 0, W_k = I and query bias q has the logit vector q at every token, and W_v is V: every (q, V) occurs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import flint
from flint import arb, arb_mat, fmpq

from constructions.data import Dataset, Example
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.preimage import preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.instances import random_full_rank, random_matrix, random_mlp

Row = list[fmpq]
PRECISION = 256

KINDS = (
    "plain", "zero-query", "row-space", "outside-row-space", "steep", "flat", "mlp", "folded", "equal-targets",
    "duplicates", "one-query",
)  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """A single-layer model and its data: all queries share one logit vector."""

    kind: str
    model: Transformer
    data: Dataset

    @property
    def problem(self) -> LossProblem:
        layer = self.model.layers[0]
        queries = list(self.data.queries(self.model))
        return LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])


def fold(d: int) -> FeedForward:
    """z ↦ z − 2 ReLU(z) in the first coordinate, that is −|z|: every negative number has two preimages."""
    first = RationalMatrix.of([[int(i == 0) for i in range(d)]])
    return FeedForward(first, RationalMatrix.zeros(1, 1), first.T.scaled(-2), RationalMatrix.zeros(d, 1))


def head_with(q: Sequence[fmpq], V: RationalMatrix) -> Head:
    """A head whose logit vector is q at every token."""
    d = len(q)
    return Head(
        RationalMatrix.zeros(d, d), RationalMatrix.identity(d), V, RationalMatrix.identity(d), column_vector(list(q))
    )


def instance_of(
    q: Sequence[object],
    V: RationalMatrix,
    contexts: Sequence[RationalMatrix],
    targets: Sequence[Sequence[object]],
    *,
    mlp: FeedForward | None = None,
    kind: str = "by hand",
) -> Instance:
    """The last column of each context is its query token; ``targets`` are outputs of the layer."""
    vector = column_vector(list(q)).column(0)  # type: ignore[arg-type]
    layer = Layer(Attention((head_with(vector, V),)), mlp or FeedForward.none(len(vector)))
    examples = [Example(X, column_vector(list(y))) for X, y in zip(contexts, targets, strict=True)]  # type: ignore[arg-type]
    return Instance(kind, Transformer((layer,)), Dataset(tuple(examples)))


def random_instance(seed: int, kind: str | None = None, *, d: int | None = None, n: int | None = None) -> Instance:
    """Small random data of one of the KINDS, d ≤ 4 and n ≤ 4 unless given."""
    rng = random.Random(f"prompt law/{seed}/{kind}")
    kind = kind or rng.choice(KINDS)
    d = d or rng.randint(2 if kind == "row-space" else 1, 4)
    n = 1 if kind == "one-query" else n or rng.randint(2 if kind == "duplicates" else 1, 4)
    q = random_matrix(rng, d, 1, size=4, denominator=4).column(0)
    V = random_full_rank(rng, d, d, size=2).scaled("1/2")
    mlp = FeedForward.none(d)
    if kind == "zero-query":
        q = [fmpq(0)] * d
    elif kind in ("row-space", "outside-row-space"):
        V = random_full_rank(rng, d, d - 1, size=2).times(random_full_rank(rng, d - 1, d, size=2)) if d > 1 else (
            RationalMatrix.zeros(1, 1)
        )  # fmt: skip
        q = V.T.apply(random_matrix(rng, d, 1, size=2, denominator=2).column(0)) if kind == "row-space" else q
    elif kind in ("steep", "flat"):
        q = [x * (fmpq(1000) if kind == "steep" else fmpq(1, 1000)) for x in q]
    elif kind == "mlp":
        mlp = random_mlp(rng, d, rng.randint(1, 2), contractive=True)
    elif kind == "folded":
        mlp = fold(d)
    token = random_matrix(rng, d, 1, denominator=2)
    contexts = [random_matrix(rng, d, rng.randint(1, 3), denominator=2).hstack(token) for _ in range(n)]
    if kind == "steep":  # scores that differ by little, whatever the factor
        contexts = [_near_one_score(X, q) for X in contexts]
    targets = [random_matrix(rng, d, 1, denominator=2).column(0) for _ in range(n)]
    if kind == "equal-targets":
        targets = targets[:1] * n
    if kind == "folded":
        targets = [[-abs(y[0]), *y[1:]] for y in targets]
    if kind == "duplicates":
        contexts[1], targets[1] = contexts[0], targets[0]
    return instance_of(q, V, contexts, targets, mlp=mlp, kind=kind)


def _near_one_score(X: RationalMatrix, q: Row) -> RationalMatrix:
    """The columns of X moved along q until their scores are those of the last column, plus small numbers."""
    last = X.column(X.shape[1] - 1)
    square = dot(q, q)
    columns = []
    for j in range(X.shape[1] - 1):
        z = X.column(j)
        step = (dot(q, last) + fmpq(j, 2) - dot(q, z)) / square if square != 0 else fmpq(0)
        columns.append([x + step * y for x, y in zip(z, q, strict=True)])
    return RationalMatrix.of_columns([*columns, last])


def attention_outputs(instance: Instance, P: RationalMatrix | BallMatrix) -> list[list[arb]]:
    """Att(x, [P, X]) of each query by the model's own code, in balls."""
    attention = instance.model.layers[0].attention
    outputs = []
    for query in instance.data.queries(instance.model):
        X = BallMatrix.embed(query.context)
        prompt = BallMatrix.embed(P)
        rows, m_p = prompt.shape
        m = X.shape[1]
        both = arb_mat([[prompt[i, j] for j in range(m_p)] + [X[i, j] for j in range(m)] for i in range(rows)])
        outputs.append(attention(BallMatrix.embed(column_vector(query.token)), BallMatrix(both)).column(0))  # type: ignore[attr-defined]
    return outputs


def model_loss(instance: Instance, P: RationalMatrix | BallMatrix, precision: int = PRECISION) -> arb:
    """Σ_k min over the shifted preimages a of |Att(x, [P, X_k]) − a|², in balls."""
    with flint.ctx.workprec(precision):
        total = arb(0)
        for output, points in zip(attention_outputs(instance, P), instance.problem.shifted, strict=True):
            losses = [square_distance(output, a) for a in points]
            nearest = losses[0]
            for other in losses[1:]:
                nearest = nearest.min(other)
            total += nearest
        return total


def square_distance(x: Sequence[arb], y: Sequence[fmpq]) -> arb:
    differences = [u - arb(v) for u, v in zip(x, y, strict=True)]
    return sum((u * u for u in differences), arb(0))  # not a power: that of a ball around zero is not a number


def top(ball: arb) -> fmpq:
    """The upper end of a ball, exactly: what is compared with rational bounds."""
    assert ball.is_finite()
    return midpoint(ball) + midpoint(ball.rad())


def exact_prompt(values: object) -> RationalMatrix:
    """A float prompt (d×m) as the rationals that the floats are."""
    return RationalMatrix.of([[fmpq(*float(x).as_integer_ratio()) for x in row] for row in values])  # type: ignore[attr-defined]


def random_prompts(instance: Instance, seed: int, lengths: Sequence[int]) -> list[RationalMatrix]:
    """One rational prompt of each length, of several scales."""
    rng = random.Random(f"prompts/{seed}")
    d = instance.model.width
    return [random_matrix(rng, d, m, size=8, denominator=rng.choice([1, 4, 32])) for m in lengths]


@dataclass(frozen=True)
class Consistent:
    """Data that one mass c·e^r and one output solve exactly: ``e^H = c e^{r − x}``."""

    instance: Instance
    c: fmpq
    r: fmpq
    x: fmpq


def consistent(seed: int, *, n: int = 2, d: int = 3, c: fmpq | None = None, drop: fmpq | None = None) -> Consistent:
    """Contexts of one score r, and a prompt of mass c e^r and output u, g·u = x = r − drop, that meet n ≥ 2 targets.

    All numbers are rational multiples of e^r. With m columns in the context, ``Σ (V z − a) = c (a − u)`` gives the
    last free column, whose score is r because ``g·a`` is chosen as ``(m r + c x)/(m + c)``.
    """
    rng = random.Random(f"consistent/{seed}/{n}/{d}")
    V = random_full_rank(rng, d, d, size=2)
    inverse = V.inverse()
    while True:
        g = random_matrix(rng, d, 1, size=2).column(0)
        if any(e != 0 for e in g):
            break
    q = V.T.apply(g)
    r = fmpq(rng.randint(-2, 2), 2)
    drawn = fmpq(rng.randint(1, 12), rng.randint(1, 3)), fmpq(rng.randint(-4, 4), 4)
    c = drawn[0] if c is None else c
    x = r - (drawn[1] if drop is None else drop)

    def along(value: fmpq, size: int = 3) -> Row:
        """A random vector v with g·v = value."""
        v = random_matrix(rng, d, 1, size=size).column(0)
        step = (value - dot(g, v)) / dot(g, g)
        return [a + step * b for a, b in zip(v, g, strict=True)]

    u = along(x)
    token = inverse.apply(along(r))
    contexts, targets = [], []
    for _ in range(n):
        m = rng.randint(2, 4)
        a = along((m * r + c * x) / (m + c))
        values = [along(r) for _ in range(m - 2)]
        seen = [*values, V.apply(token)]
        last = [c * (p - s) + m * p - sum(w, fmpq(0)) for p, s, w in zip(a, u, zip(*seen, strict=True), strict=True)]
        columns = [inverse.apply(v) for v in [*values, last]]
        contexts.append(RationalMatrix.of_columns([*columns, token]))
        targets.append([p + z for p, z in zip(a, token, strict=True)])
    return Consistent(instance_of(q, V, contexts, targets, kind="consistent"), c, r, x)
