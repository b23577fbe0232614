"""Updated layers, evaluated a second time by the model's own code: exactly in Frac(E), or in balls."""

from __future__ import annotations

import random
from collections.abc import Sequence

import flint
from flint import arb, arb_mat, fmpq

from constructions.data import Dataset, Example, Query
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import ExpFraction
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.low_rank import ExactSolution, TriangularUpdate
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.instances import random_matrix

PRECISION = 1024


def feature(layer: Layer, query: Query) -> ExpMatrix:
    """What the MLP sees, by the model's own attention: exact."""
    x = column_vector(query.token)
    found = ExpMatrix.embed(x) + layer.attention(x, query.context)
    assert isinstance(found, ExpMatrix)
    return found


def values(update: TriangularUpdate, f: ExpMatrix) -> list[ExpFraction]:
    """The units with the updated first layer at one feature, exact."""
    found = update.W_1 @ f + update.b_1
    zero = ExpFraction.of(0)
    return [max_zero if (max_zero := found[l, 0]).sign() > 0 else zero for l in range(update.W_1.shape[0])]


def demand_triangular(update: TriangularUpdate, layer: Layer, queries: Sequence[Query]) -> None:
    """The update as described: which units change, rank, and the pattern of values, computed from the model."""
    n, r = len(queries), layer.mlp.hidden
    assert sorted(update.order) == list(range(n))
    assert len(set(update.neurons)) == len(update.neurons) == n
    for l in range(r):
        if l not in update.neurons:
            assert update.W_1.rows()[l] == layer.mlp.W_1.rows()[l]
            assert update.b_1[l, 0] == layer.mlp.b_1[l, 0]
    pattern = [values(update, feature(layer, query)) for query in queries]
    for t, l in enumerate(update.neurons):
        assert pattern[update.order[t]][l].sign() > 0
        assert all(pattern[k][l].sign() == 0 for k in update.order[:t])


def outputs_exactly(solution: ExactSolution, queries: Sequence[Query]) -> list[list[ExpFraction]]:
    """``f + W_2' ReLU(W_1' f + b_1') + b_2`` in Frac(E), W_2' entry by entry: affordable for few queries."""
    update = solution.update
    mlp, found = update.layer.mlp, []
    for query in queries:
        f = feature(update.layer, query)
        fired = values(update, f)
        output = []
        for c in range(update.layer.width):
            total = f[c, 0] + mlp.b_2[c, 0]
            for l, value in enumerate(fired):
                if l in update.neurons:
                    total = total + solution.entry(c, update.neurons.index(l)) * value
                elif mlp.W_2[c, l] != 0:
                    total = total + value * mlp.W_2[c, l]
            output.append(total)
        found.append(output)
    return found


def gaps_in_balls(solution: ExactSolution, queries: Sequence[Query]) -> list[arb]:
    """Output less target for every entry, in balls of high precision, with W_2' enclosed."""
    update = solution.update
    mlp, d = update.layer.mlp, update.layer.width
    found = []
    with flint.ctx.workprec(PRECISION):
        W_2 = [[arb(x) for x in row] for row in mlp.W_2.rows()]
        for t, l in enumerate(update.neurons):
            for c in range(d):
                W_2[c][l] = solution.entry(c, t).enclosure()
        for query in queries:
            f = BallMatrix.embed(feature(update.layer, query))
            hidden = (BallMatrix.embed(update.W_1) @ f + update.b_1).relu()
            output = BallMatrix(arb_mat(W_2)) @ hidden + f + mlp.b_2
            found += [output[c, 0] - arb(query.target[c]) for c in range(d)]
    return found


def residual_in_balls(layer: Layer, mlp: FeedForward, queries: Sequence[Query]) -> arb:
    """The largest |output − target| of the layer with another MLP."""
    worst = arb(0)
    with flint.ctx.workprec(PRECISION):
        for query in queries:
            output = mlp(BallMatrix.embed(feature(layer, query)))
            for c in range(layer.width):
                worst = worst.max(abs(output[c, 0] - arb(query.target[c])))
    return worst


# -- instances --------------------------------------------------------------------------------------------------------


def plain(features: Sequence[Sequence[object]], targets: Sequence[Sequence[object]], mlp: FeedForward) -> tuple[
    Transformer, list[Query]
]:  # fmt: skip
    """A layer without values (W_v = 0), so that features are the tokens themselves."""
    d = mlp.width
    I = RationalMatrix.identity(d)
    model = Transformer((Layer(Attention((Head(I, I, RationalMatrix.zeros(d, d)),)), mlp),))
    examples = [
        Example(RationalMatrix.of([[x] for x in f]), RationalMatrix.of([[y] for y in target]))  # type: ignore[list-item]
        for f, target in zip(features, targets, strict=True)
    ]
    return model, list(Dataset(tuple(examples)).queries(model))


def units(d: int, biases: Sequence[object], seed: int = 0) -> FeedForward:
    """Random weights with these biases."""
    rng, r = random.Random(f"units/{seed}"), len(biases)
    return FeedForward(
        random_matrix(rng, r, d), RationalMatrix.of([[b] for b in biases]), random_matrix(rng, d, r),  # type: ignore[list-item]
        random_matrix(rng, d, 1),
    )  # fmt: skip


def distinct_points(seed: int, d: int, n: int, denominator: int = 2) -> list[list[fmpq]]:
    """Different vectors other than zero."""
    rng = random.Random(f"points/{seed}/{d}/{n}")
    found: list[list[fmpq]] = []
    while len(found) < n:
        x = random_matrix(rng, 1, d, size=12, denominator=denominator).rows()[0]
        if any(x) and x not in found:
            found.append(x)
    return found
