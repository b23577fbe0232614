"""Falsifier of low-rank memorization (THEORY section 5): updates with κ just above its threshold whose units do not
fire in a triangle, and data that no update of the kind memorizes, shown by what all such updates have in common.

The features are the tokens themselves (V = 0), so everything is rational: the updated layer is solved and run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from flint import fmpq

from constructions.numbers.rational import RationalMatrix, dot
from constructions.transformer import FeedForward
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.words import digits
from verify.instances import random_matrix

SLUG = "low-rank-memorization"
DISTINCT, UNITS = "distinct features", "r ≥ n hidden units"
FIRST, BIASES, SECOND = "an update of W_1", "an update of b_1", "an update of W_2"
THRESHOLDS = "θ_1 < v·f_1 < θ_2 < v·f_2 < …"
KAPPA, PARAMETERS = "the threshold of κ", "d + 2n + nd"
ABOVE = 1 + fmpq(1, 2**20)
"""κ is taken so much above its threshold."""


@dataclass(frozen=True)
class Data:
    """An MLP, n features and targets (columns, d×n), a direction v, and a threshold for each feature in
    the order of v·f."""

    mlp: FeedForward
    features: RationalMatrix
    targets: RationalMatrix
    v: tuple[fmpq, ...]
    thresholds: tuple[fmpq, ...]

    @property
    def n(self) -> int:
        return self.features.shape[1]

    @property
    def asked(self) -> RationalMatrix:
        """What the hidden units have to add: targets − features − b_2, d×n."""
        ones = RationalMatrix.of([[1] * self.n])
        return RationalMatrix(self.targets.mat - self.features.mat - self.mlp.b_2.times(ones).mat)

    def __str__(self) -> str:
        return f"d = {self.features.shape[0]}, features: {self.n}, units: {self.mlp.hidden}"

    def broken(self, sentence: str) -> Trial:
        parts = {"mlp": self.mlp, "features": self.features, "targets": self.targets}
        more = {"v": list(self.v), "thresholds": list(self.thresholds)}
        return Trial(str(self), counterexample=Counterexample(SLUG, sentence, {**parts, **more}))


def impossible(search: Search, data: Data) -> str | None:
    """Why no update memorizes, whatever numbers it has; None where no reason is known."""
    asked, f, n = data.asked, data.features, data.n
    for i, k in combinations(range(n), 2):
        if f.column(i) == f.column(k) and data.targets.column(i) != data.targets.column(k):
            return f"features {i} and {k} are equal, their targets are not"
    if asked.rank() > data.mlp.hidden:
        return f"what is asked of {data.mlp.hidden} units has rank {asked.rank()}"
    if not search.keeps(SECOND) and not any(data.mlp.W_2.mat.entries()) and any(asked.mat.entries()):
        return "W_2 = 0 is kept, and the units have to add something"
    if not search.keeps(FIRST) and not any(data.mlp.W_1.mat.entries()):
        other = next((k for k in range(n) if asked.column(k) != asked.column(0)), None)
        if other is not None:
            return (
                f"W_1 = 0 is kept, so all units are constant, and features 0 and {other} are asked for different things"
            )
    if not search.keeps(BIASES) and not any(data.mlp.b_1.mat.entries()):
        for i, k in combinations(range(n), 2):
            ratio = _ratio(f.column(i), f.column(k))
            if ratio is not None and [ratio * x for x in asked.column(i)] != asked.column(k):
                return (
                    f"b_1 = 0 is kept, and feature {k} is {ratio} times feature {i}, which is not so of what is asked"
                )
    return None


def _ratio(f: list[fmpq], g: list[fmpq]) -> fmpq | None:
    """c > 0 with g = c f, if there is one."""
    place = next((j for j, x in enumerate(f) if x != 0), None)
    if place is None or g[place] / f[place] <= 0:
        return None
    c = g[place] / f[place]
    return c if [c * x for x in f] == g else None


def judge(search: Search, data: Data) -> Trial:
    """The update with κ just above the (mutated) threshold: the triangle, then the outputs of the solved layer."""
    reason = impossible(search, data)
    if reason is not None:
        return data.broken(f"no update memorizes: {reason}")
    n, mlp = data.n, data.mlp
    values = [dot(list(data.v), data.features.column(k)) for k in range(n)]
    order = sorted(range(n), key=lambda k: values[k])
    if len(set(values)) < n or mlp.hidden < n or not all(search.keeps(x) for x in (FIRST, BIASES, SECOND)):
        return Trial(f"{data}: no update of this kind is claimed")
    gaps = {(k, l): values[k] - theta for k in range(n) for l, theta in enumerate(data.thresholds)}
    if search.keeps(THRESHOLDS):
        interlaced = all(
            gaps[k, l] != 0 and (gaps[k, l] > 0) == (t >= l) for t, k in enumerate(order) for l in range(n)
        )
        if not interlaced:
            return Trial(f"{data}: thresholds in other places")
    elif 0 in gaps.values():
        return Trial(f"{data}: a threshold at a feature")
    before = {
        (k, l): dot(mlp.W_1.rows()[l], data.features.column(k)) + mlp.b_1[l, 0] for k in range(n) for l in range(n)
    }
    threshold = max(abs(x) for x in before.values()) / min(abs(x) for x in gaps.values())
    kappa = threshold * ABOVE * search.factor(KAPPA) if threshold else fmpq(1)
    W_1, b_1 = mlp.W_1.rows(), mlp.b_1.column(0)
    for l, theta in enumerate(data.thresholds):
        W_1[l] = [x + kappa * y for x, y in zip(W_1[l], data.v, strict=True)]
        b_1[l] -= kappa * theta
    for t, k in enumerate(order):
        for l in range(n):
            fires = before[k, l] + kappa * gaps[k, l] > 0
            if fires is not (t >= l):
                what = "fires" if fires else "does not fire"
                return data.broken(f"κ = {digits(kappa)}: unit {l} {what} at feature {k}, number {t} in order")
    updated = _solved(data, RationalMatrix.of(W_1), RationalMatrix.of([[b] for b in b_1]))
    if updated(data.features) != data.targets:
        return data.broken("the updated layer does not give the targets")
    needed = max(fmpq(0), *(-before[p] / gaps[p] for p in gaps))
    return Trial(str(data), 1 - needed / threshold if threshold else None, constant=KAPPA)


def _solved(data: Data, W_1: RationalMatrix, b_1: RationalMatrix) -> FeedForward:
    """The first n columns of W_2 from the targets."""
    n, mlp = data.n, data.mlp
    ones = RationalMatrix.of([[1] * n])
    values = RationalMatrix(W_1.times(data.features).mat + b_1.times(ones).mat).relu()
    kept = [[x if l >= n else fmpq(0) for l, x in enumerate(row)] for row in mlp.W_2.rows()]
    rest = RationalMatrix(data.asked.mat - RationalMatrix.of(kept, columns=mlp.hidden).times(values).mat)
    square = RationalMatrix.of(values.rows()[:n])
    columns = RationalMatrix(square.T.mat.solve(rest.T.mat)).T
    W_2 = [[columns[i, l] if l < n else x for l, x in enumerate(row)] for i, row in enumerate(kept)]
    return FeedForward(W_1, b_1, RationalMatrix.of(W_2, columns=mlp.hidden), mlp.b_2)


def trials(search: Search) -> Iterator[Trial]:
    def thresholds(rng: random.Random, values: list[fmpq]) -> tuple[fmpq, ...]:
        """Between the ordered values, anywhere; or anywhere at all."""
        if not search.keeps(THRESHOLDS):
            return tuple(fmpq(rng.randint(-9, 9), 2) for _ in values)
        ends = [min(values) - 1, *sorted(values)]
        share = [fmpq(rng.randint(1, 15), 16) for _ in values]
        return tuple(a + t * (b - a) for a, b, t in zip(ends, ends[1:], share, strict=False))

    def draw(rng: random.Random) -> Data:
        d, n = rng.randint(1, 3), rng.randint(1, 3)
        r = n + rng.randint(0, 1) if search.keeps(UNITS) else rng.randint(0, n)

        def weights(rows: int, columns: int, zero: bool) -> RationalMatrix:
            return RationalMatrix.zeros(rows, columns) if zero else random_matrix(rng, rows, columns)

        mlp = FeedForward(
            weights(r, d, not search.keeps(FIRST)),
            weights(r, 1, not search.keeps(BIASES)),
            weights(d, r, not search.keeps(SECOND)),
            random_matrix(rng, d, 1),
        )
        while True:
            features = random_matrix(rng, d, n, size=2)
            if not search.keeps(DISTINCT):
                features = features.columns(0, 1).hstack(features.columns(0, n - 1))
            v = random_matrix(rng, d, 1, size=2).column(0)
            values = [dot(v, features.column(k)) for k in range(n)]
            if len(set(values)) == n or not search.keeps(DISTINCT):
                return Data(mlp, features, random_matrix(rng, d, n), tuple(v), thresholds(rng, values))

    def vary(rng: random.Random, data: Data) -> Data:
        size = 2 ** rng.randint(0, 8)
        step = random_matrix(rng, data.mlp.hidden, 1, size=1, denominator=size)
        mlp = replace(data.mlp, b_1=RationalMatrix(data.mlp.b_1.mat + step.mat))
        return replace(data, mlp=mlp)

    R = RationalMatrix.of
    plain = FeedForward(R([[0]]), R([[0]]), R([[0]]), R([[0]]))
    against = FeedForward(R([[0]]), R([[-1]]), R([[0]]), R([[0]]))  # κ has to overcome the bias
    one = (fmpq(1),)
    structured = [
        Data(plain, R([[1]]), R([[2]]), one, (fmpq(0),)),
        Data(against, R([[1]]), R([[2]]), one, (fmpq(1, 2),)),
    ]
    return explore(search, lambda i: judge(search, i), draw=draw, structured=structured, vary=vary)


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        DISTINCT: "no two queries have one feature",
        UNITS: "there are as many hidden units as queries",
        FIRST: "W_1 may be changed, by a matrix of rank one",
        BIASES: "n entries of b_1 may be changed",
        SECOND: "n columns of W_2 may be changed",
        THRESHOLDS: "one threshold below each feature along v",
    },
    constants={
        KAPPA: "max |w_l·f_i + b_l| / min |v·f_i − θ_l|",
        PARAMETERS: "how many numbers the update has",
    },
    unfindable={
        PARAMETERS: (
            "99/100 of it leaves the statement true for d(n + 1) ≤ 98n: with the same κ on all rows d + n + nd numbers "
            "are enough. Where it is known to be false, nd > 99d + 198n, that is by counting: the targets that fewer "
            "than nd numbers give have measure zero, which no single dataset shows"
        )
    },
    budget=300,
)
