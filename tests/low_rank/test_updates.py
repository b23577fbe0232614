"""Low-rank updates: pattern, counts, exact outputs, and every way to be refused."""

from __future__ import annotations

import random

import pytest
from flint import fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rank_instances import (
    demand_triangular,
    distinct_points,
    feature,
    gaps_in_balls,
    outputs_exactly,
    plain,
    residual_in_balls,
    units,
)

from constructions.data import Dataset, Example
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.low_rank import (
    Feature,
    NoUpdateError,
    TriangularUpdate,
    solve_enclosed,
    solve_exactly,
    solve_rational,
    triangular_update,
)
from constructions.single_layer.pair import unmemorizable_pair
from constructions.single_layer.prompt_length import tight_dataset
from constructions.transformer import FeedForward, Layer, Transformer
from verify.claims.low_rank_memorization import equal_scores, random_data
from verify.instances import random_layer, random_matrix

FEW = max(4, settings.default.max_examples // 3)  # type: ignore[attr-defined]


def updated(mlp: FeedForward, update: TriangularUpdate, W_2: RationalMatrix) -> FeedForward:
    return FeedForward(update.W_1, update.b_1, W_2, mlp.b_2)


# -- features ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_features_are_what_the_mlp_sees(seed: int) -> None:
    rng = random.Random(seed)
    model, data = random_data(rng, rng.randint(1, 3), 2, 2, rng.choice((1, 2)))
    w, b = random_matrix(rng, 1, model.width).rows()[0], fmpq(rng.randint(-3, 3), 2)
    for query in data.queries(model):
        mine = feature(model.layers[0], query)
        own = Feature.of(model.layers[0], query)
        assert own.denominator.sign() > 0
        for c in range(model.width):
            assert mine[c, 0] == ExpFraction(own.numerators[c], own.denominator)
        along = ExpFraction(own.along(w, b), own.denominator)
        by_model = sum((mine[c, 0] * x for c, x in enumerate(w)), ExpFraction.of(b))
        assert along == by_model
        for bits in (16, 100):
            for c, x in enumerate(own.approximate(bits)):
                assert (mine[c, 0] - x - fmpq(2, 2**bits)).sign() < 0 < (mine[c, 0] - x + fmpq(2, 2**bits)).sign()


def test_approximations_hold_where_almost_all_cancels() -> None:
    """1 + e^−200 is told from 1 at 300 bits."""
    near = Feature((ExpSum.exp(200) + 1,), ExpSum.exp(200))
    one = Feature((ExpSum.of(1),), ExpSum.of(1))
    assert not near.equals(one)
    assert abs(near.approximate(64)[0] - 1) <= fmpq(1, 2**63)
    assert near.approximate(300)[0] > 1 + fmpq(1, 2**290)
    huge = Feature((ExpSum.exp(300) - ExpSum.exp(300 - fmpq(1, 10**30)) + fmpq(1, 3),), ExpSum.of(1))
    assert abs(huge.approximate(8)[0]) > 1


# -- random data ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2), st.integers(0, 10**6))
@settings(max_examples=3 * FEW)
@example(1, 1, 0, 1, 0)
@example(3, 4, 0, 2, 1)
@example(1, 4, 2, 1, 2)
def test_outputs_are_the_targets(d: int, n: int, more: int, heads: int, seed: int) -> None:
    """n + ``more`` units, one or two heads, contexts of one to three tokens."""
    model, data = random_data(random.Random(seed), d, n, n + more, heads)
    queries, layer = list(data.queries(model)), model.layers[0]
    features = [feature(layer, query) for query in queries]
    if any(a == b for i, a in enumerate(features) for b in features[:i]):
        with pytest.raises(NoUpdateError, match="the same feature"):
            triangular_update(layer, queries)
        return
    update = triangular_update(layer, queries)
    demand_triangular(update, layer, queries)
    assert update.rank == 1
    assert update.parameters == d + 2 * n + n * d
    solution = solve_exactly(update, queries)
    assert solution.meets(queries)
    if n <= 2 and heads == 1:
        for query, output in zip(queries, outputs_exactly(solution, queries), strict=True):
            assert all(x == ExpFraction.of(y) for x, y in zip(output, query.target, strict=True))
    for gap in gaps_in_balls(solution, queries):
        assert gap.contains(0)
        assert gap.rad() < 2.0**-200


def test_shared_tokens_and_contexts_of_one_token() -> None:
    """Three queries of one token in different contexts, one of them the token alone."""
    model, _ = random_data(random.Random(7), 2, 1, 3)
    contexts = ([[1, 0], [2, 1]], [[0, 0], [3, 1]], [[0], [1]])
    targets = ([[1], [2]], [[-3], [0]], [["1/7"], [5]])
    R = RationalMatrix.of
    data = Dataset(tuple(Example(R(X), R(y)) for X, y in zip(contexts, targets, strict=True)))
    queries = list(data.queries(model))
    assert {tuple(query.token) for query in queries} == {(0, 1)}
    update = triangular_update(model.layers[0], queries)
    demand_triangular(update, model.layers[0], queries)
    solution = solve_exactly(update, queries)
    assert solution.meets(queries)
    assert all(gap.contains(0) for gap in gaps_in_balls(solution, queries))


def test_targets_of_all_tokens() -> None:
    model, _ = random_data(random.Random(3), 2, 1, 3)
    X = RationalMatrix.of([[1, 0, 2], [0, 1, 1]])
    queries = list(Dataset((Example(X, RationalMatrix.of([[1, 2, 3], [4, 5, 6]])),)).queries(model))
    update = triangular_update(model.layers[0], queries)
    assert solve_exactly(update, queries).meets(queries)
    assert update.parameters == 2 + 6 + 6


@pytest.mark.parametrize("d", [2, 3, 4])
def test_a_pair_that_no_prompt_memorizes(d: int) -> None:
    layer = random_layer(random.Random(f"pair/{d}"), d, r=3)
    pair = unmemorizable_pair(layer)
    queries = list(pair.data.queries(Transformer((layer,))))
    update = triangular_update(layer, queries)
    demand_triangular(update, layer, queries)
    assert solve_exactly(update, queries).meets(queries)


@pytest.mark.parametrize(("d", "n"), [(2, 2), (4, 3), (5, 4)])
def test_a_dataset_that_needs_n_tokens(d: int, n: int) -> None:
    """More parameters than the prompt has."""
    rng = random.Random(d)
    mlp = FeedForward(
        random_matrix(rng, n, d), random_matrix(rng, n, 1), RationalMatrix.zeros(d, n), RationalMatrix.zeros(d, 1)
    )
    data = tight_dataset(d, n, 0, mlp)
    queries = list(data.rounded().queries(Transformer((data.layer,))))
    update = triangular_update(data.layer, queries)
    assert solve_exactly(update, queries).meets(queries)
    assert update.parameters > n * d == data.prompt.shape[0] * data.prompt.shape[1]


def test_a_wrong_solution_does_not_meet() -> None:
    model, data = random_data(random.Random(11), 2, 3, 3)
    queries = list(data.queries(model))
    solution = solve_exactly(triangular_update(model.layers[0], queries), queries)
    assert solution.meets(queries)
    first = solution.numerators[0]
    wrong = type(solution)(
        solution.update, ((*first[:-1], first[-1] + fmpq(1, 10**50)), *solution.numerators[1:]), solution.pivots
    )
    assert not wrong.meets(queries)


# -- three ways to solve ----------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=FEW)
@example(4, 4, 0)
def test_rational_solution_is_the_exact_one(d: int, n: int, seed: int) -> None:
    model, data = equal_scores(d, n, seed)
    queries, layer = list(data.queries(model)), model.layers[0]
    try:
        update = triangular_update(layer, queries)
    except NoUpdateError:
        return
    mlp, exact = solve_rational(update, queries), solve_exactly(update, queries)
    assert mlp is not None
    for t, l in enumerate(update.neurons):
        for c in range(d):
            assert exact.entry(c, t).as_rational() == mlp.W_2[c, l]
    for l in set(range(layer.mlp.hidden)) - set(update.neurons):
        assert all(mlp.W_2[c, l] == layer.mlp.W_2[c, l] for c in range(d))
    model_after = Transformer((Layer(layer.attention, mlp),))
    for each in data.examples:
        assert model_after(each.X).columns(1, 2).as_rational() == each.targets  # type: ignore[attr-defined]


def test_features_that_are_not_rational() -> None:
    model, data = random_data(random.Random(2), 2, 2, 2)
    queries = list(data.queries(model))
    update = triangular_update(model.layers[0], queries)
    assert any(each.as_rational() is None for each in update.features)
    assert solve_rational(update, queries) is None


@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 10**6))
@settings(max_examples=FEW)
@example(3, 9, 0)
def test_certified_residual(d: int, n: int, seed: int) -> None:
    """It bounds what a second computation finds, and is small; its weights are near the exact ones."""
    model, data = random_data(random.Random(seed), d, n, n + 1)
    queries, layer = list(data.queries(model)), model.layers[0]
    try:
        update = triangular_update(layer, queries)
    except NoUpdateError:
        return
    found = solve_enclosed(update, queries)
    worst = residual_in_balls(layer, updated(layer.mlp, update, found.W_2), queries)
    assert worst.abs_upper() <= found.residual
    assert found.residual < fmpq(1, 2**60)
    coarse = solve_enclosed(update, queries, bits=64)
    worst = residual_in_balls(layer, updated(layer.mlp, update, coarse.W_2), queries)
    assert worst.abs_upper() <= coarse.residual
    if n <= 3:
        exact = solve_exactly(update, queries)
        for t, l in enumerate(update.neurons):
            for c in range(d):
                assert abs(exact.entry(c, t).enclosure() - found.W_2[c, l]) < 2.0**-20


def test_many_queries_with_a_certified_residual() -> None:
    model, data = random_data(random.Random(0), 4, 24, 24)
    queries, layer = list(data.queries(model)), model.layers[0]
    update = triangular_update(layer, queries)
    found = solve_enclosed(update, queries, bits=512)
    worst = residual_in_balls(layer, updated(layer.mlp, update, found.W_2), queries)
    assert worst.abs_upper() <= found.residual < fmpq(1, 2**100)


# -- close features ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [10, 70, 500, 1500])
def test_features_that_are_close_are_told_apart(bits: int) -> None:
    mlp = units(2, [0, 1])
    model, queries = plain([[1, 1], [1, 1 + fmpq(1, 2**bits)]], [[0, 0], [1, 2]], mlp)
    update = triangular_update(model.layers[0], queries)
    demand_triangular(update, model.layers[0], queries)
    assert solve_exactly(update, queries).meets(queries)


def test_features_closer_than_that_are_refused() -> None:
    model, queries = plain([[1, 1], [1, 1 + fmpq(1, 2**5000)]], [[0, 0], [1, 2]], units(2, [0, 1]))
    with pytest.raises(NoUpdateError, match="no direction was found"):
        triangular_update(model.layers[0], queries)


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_too_few_units() -> None:
    model, data = random_data(random.Random(0), 2, 3, 2)
    with pytest.raises(NoUpdateError, match=r"expected at least 3 \(one for each query\), found 2"):
        triangular_update(model.layers[0], list(data.queries(model)))
    bare = Layer(model.layers[0].attention, FeedForward.none(2))
    with pytest.raises(NoUpdateError, match="found 0"):
        triangular_update(bare, list(data.queries(model)))


def test_repeated_features() -> None:
    """The order of the context does not matter to a head; with one target the query is asked twice, with two it is
    impossible."""
    model, _ = random_data(random.Random(1), 2, 1, 2)
    R = RationalMatrix.of
    X, other = R([[0, 2, 1], [3, 1, 0]]), R([[2, 0, 1], [1, 3, 0]])
    for target, expected in ((R([[1], [0]]), "ask for it once"), (R([[0], [1]]), "no MLP tells them apart")):
        queries = list(Dataset((Example(X, R([[1], [0]])), Example(other, target))).queries(model))
        with pytest.raises(NoUpdateError, match=expected) as refusal:
            triangular_update(model.layers[0], queries)
        assert "example 0, token 2 and example 1, token 2" in str(refusal.value)


def test_piecewise_linear_units() -> None:
    step = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(1), fmpq(0), fmpq(2))))
    mlp = FeedForward(*[getattr(units(1, [1]), name) for name in ("W_1", "b_1", "W_2", "b_2")], (step,))
    model, queries = plain([[1]], [[2]], mlp)
    with pytest.raises(NoUpdateError, match="expected ReLU"):
        triangular_update(model.layers[0], queries)


# -- biases that are kept ---------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=2 * FEW)
@example(1, 3, 0)
@example(4, 6, 1)
def test_negative_biases_always_work(d: int, n: int, seed: int) -> None:
    """Of any different features other than zero, one is farthest out: a unit with b < 0 fires there alone."""
    mlp = units(d, [fmpq(-1 - k % 3, 1 + k % 2) for k in range(n)], seed)
    points = distinct_points(seed, d, n)
    model, queries = plain(points, [[k] * d for k in range(n)], mlp)
    update = triangular_update(model.layers[0], queries, biases="kept")
    assert update.b_1 == mlp.b_1
    assert update.parameters == 2 * n * d
    demand_triangular(update, model.layers[0], queries)
    solution = solve_exactly(update, queries)
    assert solution.meets(queries)


def test_features_that_are_close_need_large_rows() -> None:
    model, queries = plain([[1], ["21/20"], ["22/20"]], [[5], [7], [1]], units(1, [-1, -1, -1]))
    update = triangular_update(model.layers[0], queries, biases="kept")
    demand_triangular(update, model.layers[0], queries)
    assert update.order == (0, 1, 2)


def test_one_positive_bias_among_negative_ones() -> None:
    """It comes first: the unit that may fire everywhere."""
    model, queries = plain([[1], [-1], [2]], [[5], [7], [1]], units(1, [3, -1, -1]))
    update = triangular_update(model.layers[0], queries, biases="kept")
    assert update.neurons[0] == 0
    demand_triangular(update, model.layers[0], queries)
    assert solve_exactly(update, queries).meets(queries)


def test_positive_biases_fire_around_zero() -> None:
    """A unit with b > 0 that is silent at two features is silent between them, and never at zero. So with two features
    on each side of zero it is not silent at three. Not so where they are on one side."""
    around = plain([[1], [-1], [2], [-2]], [[5], [7], [1], [0]], units(1, [1, 1, 1, 1]))
    with pytest.raises(NoUpdateError, match="no row of W_1 was found that makes unit 0 fire at one of the 4 features"):
        triangular_update(around[0].layers[0], around[1], biases="kept")
    model, queries = plain([[1], [3], [2]], [[5], [7], [1]], units(1, [1, 1, 1]))
    update = triangular_update(model.layers[0], queries, biases="kept")
    demand_triangular(update, model.layers[0], queries)
    assert solve_exactly(update, queries).meets(queries)


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=2 * FEW)
@example(1, 4, 0)
def test_some_rows_work_for_biases_of_any_sign(d: int, n: int, seed: int) -> None:
    """Not in a triangle, but with a regular matrix: as functions of a row, the values at different features other than
    zero have kinks in different hyperplanes."""
    rng = random.Random(seed)
    points = distinct_points(seed, d, n)
    rows: list[list[fmpq]] = []
    for _ in range(n):
        b = fmpq(rng.choice((-3, -1, 1, 2)))
        for _ in range(5000):
            w = random_matrix(rng, 1, d, size=40, denominator=2 ** rng.randint(0, 7)).rows()[0]
            row = [max(dot(w, f) + b, fmpq(0)) for f in points]
            if RationalMatrix.of([*rows, row]).rank() == len(rows) + 1:
                rows.append(row)
                break
    assert len(rows) == n


def test_all_biases_zero_and_kept() -> None:
    """Units are then homogeneous: at c·f they are c times what they are at f, whatever the rows."""
    model, queries = plain([[1, 1], [2, 2]], [[1, 0], [0, 0]], units(2, [0, 0]))
    with pytest.raises(NoUpdateError, match="all biases are zero"):
        triangular_update(model.layers[0], queries, biases="kept")
    rng = random.Random(0)
    for _ in range(20):
        w, f = (random_matrix(rng, 1, 2).rows()[0] for _ in range(2))
        assert max(dot(w, [2 * x for x in f]), fmpq(0)) == 2 * max(dot(w, f), fmpq(0))


def test_too_few_biases_other_than_zero() -> None:
    model, queries = plain([[1, 1], [2, 1]], [[1, 0], [0, 0]], units(2, [0, 0, -1]))
    with pytest.raises(NoUpdateError, match="expected at least 2 units with a bias other than 0, found 1"):
        triangular_update(model.layers[0], queries, biases="kept")


def test_rank_one_without_biases_fails_for_three() -> None:
    """W_1 = 0, b_1 = 0: every unit is a multiple of ReLU(t) or of ReLU(−t) in t = v·f, two dimensions."""
    rng = random.Random(5)
    for _ in range(20):
        f, v = random_matrix(rng, 3, 2), random_matrix(rng, 1, 2).rows()[0]
        t = [dot(v, row) for row in f.rows()]
        u = random_matrix(rng, 1, 5).rows()[0]
        matrix = RationalMatrix.of([[max(x * y, fmpq(0)) for y in u] for x in t])
        assert matrix.rank() <= 2
