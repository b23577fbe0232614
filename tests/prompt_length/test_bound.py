"""The rank bound for given data: what it excludes, what it must not; several preimages, several heads, cuts."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import flint
import pytest
from flint import arb_mat, fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from layer_instances import demand_all_true
from length_instances import (
    PRECISION,
    asked_by_prompt,
    asked_by_queries,
    bound_of,
    demand_tree,
    independent_at,
    leaves,
    parallel,
    random_asked,
    random_weights,
)

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide import decide
from constructions.single_layer.independence import DominantRows, Independence
from constructions.single_layer.prompt_length import (
    NotTightError,
    empty_bound_dataset,
    meets,
    naive_dataset,
    one_token_two_heads,
    prove_independent,
    tight_dataset,
)
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Memorization
from verify.claims.prompt_length_bound import (
    independent_certificate,
    prompt_certificate,
    too_short_certificate,
)
from verify.claims.several_queries import impossible_certificate
from verify.instances import random_matrix

FEW = max(4, settings.default.max_examples // 3)  # type: ignore[attr-defined]
GOOD = [(0, 2), (1, 1), (1, -1), (3, 2), (-1, 1), (3, 1), (1, 0), (-2, 0), (0, -1), (-1, -1)]
"""(α, β) with α − λβ ≠ 0 for all λ in (0, 1)."""
BAD = [(2, 3), (1, 2), (-1, -3), (0, 0)]


# -- one head ---------------------------------------------------------------------------------------------------------


RATIOS = st.integers(2, 5).flatmap(
    lambda d: st.tuples(st.just(d), st.lists(st.sampled_from(GOOD), min_size=2, max_size=d))
)


@given(RATIOS)
@settings(max_examples=2 * FEW)
@example((2, [(1, 1), (1, 1)]))  # α = β: a prompt that draws no attention would do, but there is none
@example((2, [(1, 0), (-2, 0)]))  # β = 0: the context answers with zero
@example((2, [(0, 2), (0, -1)]))  # α = 0: what is left of the context must be cancelled
@example((3, [(0, 2), (1, 1), (1, 0)]))
def test_parallel_data_need_a_token_for_each_query(case: tuple[int, list[tuple[int, int]]]) -> None:
    d, ratios = case
    model, data = parallel(d, ratios)
    found = bound_of(model, data)
    assert found is not None
    assert found.length == len(ratios) - 1
    assert found.used == tuple(range(len(ratios)))
    (tree,) = found.trees
    points = [query.target for query in found.queries]
    demand_tree(tree, asked_by_queries(model.layers[0], found.queries, points), random.Random(0))


@given(st.integers(0, 2), st.sampled_from(BAD), st.lists(st.sampled_from(GOOD), min_size=2, max_size=2))
@settings(max_examples=FEW)
@example(0, (1, 2), [(1, 0), (1, 0)])
def test_a_ratio_inside_is_never_used(place: int, bad: tuple[int, int], good: list[tuple[int, int]]) -> None:
    """At λ = α/β such a query asks for nothing. The others are still counted."""
    ratios = [*good[:place], bad, *good[place:]]
    found = bound_of(*parallel(3, ratios))
    assert found is not None
    assert found.used == tuple(k for k in range(3) if k != place)
    assert found.length == 1


def test_a_ratio_inside_alone_excludes_nothing() -> None:
    assert bound_of(*parallel(2, [(1, 2), (2, 3)])) is None
    assert bound_of(*parallel(2, [(1, 2), (1, 0)])) is None  # one query never excludes a token


@pytest.mark.parametrize(("d", "n"), [(1, 2), (2, 3), (2, 4), (3, 5)])
def test_more_queries_than_the_width(d: int, n: int) -> None:
    """At most d are ever independent."""
    found = bound_of(*parallel(d, [(1, 0)] * n))
    if d == 1:
        assert found is None
    else:
        assert found is not None
        assert len(found.used) == d
        assert found.length == d - 1


def test_small_head_excludes_every_length() -> None:
    """Three independent contributions do not fit into a head of size two."""
    _, data = parallel(3, [(1, 0)] * 3)
    rng = random.Random(1)
    zero, values = RationalMatrix.zeros(2, 3), random_matrix(rng, 2, 3)
    head = Head(zero, zero, values, random_matrix(rng, 3, 2))
    small = Transformer((Layer(Attention((head,)), FeedForward.none(3)),))
    examples = [Example(_opposite(each.X), each.targets) for each in data.examples]
    found = bound_of(small, Dataset(tuple(examples)))
    assert found is not None
    assert found.length is None


def _opposite(X: RationalMatrix) -> RationalMatrix:
    x = X.columns(1, 2)
    return x.scaled(-1).hstack(x)


# -- several preimages ------------------------------------------------------------------------------------------------


def folding(d: int) -> FeedForward:
    """z_1 ↦ −|z_1|, all other entries as they are."""
    zero = RationalMatrix.zeros
    W_1 = RationalMatrix.of([[int(j == 0) for j in range(d)]])
    return FeedForward(W_1, zero(1, 1), W_1.T.scaled(-2), zero(d, 1))


def folded(points: list[list[int]]) -> tuple[Transformer, Dataset]:
    """Contexts that are answered with zero, targets with the preimages (±z_1, z_2, …), last tokens zero."""
    d = len(points[0])
    I = RationalMatrix.identity(d)
    layer = Layer(Attention((Head(RationalMatrix.zeros(d, d), I, I),)), folding(d))
    examples = [
        Example(RationalMatrix.zeros(d, 1), column_vector([fmpq(-abs(z[0])), *map(fmpq, z[1:])])) for z in points
    ]
    return Transformer((layer,)), Dataset(tuple(examples))


def test_every_combination_of_preimages_is_shown(tmp_path: Path) -> None:
    model, data = folded([[1, 3, 0], [1, 0, 3], [3, 1, 1]])
    found = bound_of(model, data)
    assert found is not None
    assert (found.length, len(found.trees)) == (2, 8)
    points = [[piece.point for piece in proof.pieces] for proof in found.preimages]
    for tree, choice in zip(found.trees, product(*points), strict=True):
        chosen = [z for z in choice if z is not None]
        demand_tree(tree, asked_by_queries(model.layers[0], found.queries, chosen), random.Random(0), samples=1)
    demand_all_true(tmp_path, [too_short_certificate(model, found)])


def test_one_dependent_combination_is_enough_to_refuse() -> None:
    """(1, 2) and (−1, 2) are independent, (1, 2) and (1, 2) are not; the targets are one and the same."""
    assert bound_of(*folded([[1, 2], [2, 4]])) is None
    assert bound_of(*folded([[1, 2], [2, -4]])) is None  # (1, 2) and (−2, −4) … is (−1)·2, a preimage of the second
    found = bound_of(*folded([[1, 2], [1, 5]]))
    assert found is not None
    assert len(found.trees) == 4


# -- several heads ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(2, 5))
@settings(max_examples=2 * FEW)
@example([1, 1], 3)
@example([2, 1], 3)
@example([4, 4], 4)
def test_several_heads_count_their_sizes(sizes: list[int], n: int) -> None:
    """Independent targets, contexts that all heads answer with zero: ``Σ_j min(m, s_j) ≥ n``."""
    d = 5
    rng = random.Random(f"sizes/{sizes}/{n}")
    heads = tuple(Head(*[random_matrix(rng, s, d) for _ in range(3)], random_matrix(rng, d, s)) for s in sizes)
    model = Transformer((Layer(Attention(heads), FeedForward.none(d)),))
    examples = [
        Example(RationalMatrix.zeros(d, 1), column_vector([fmpq(int(i == k)) for i in range(d)])) for k in range(n)
    ]
    found = bound_of(model, Dataset(tuple(examples)))
    excluded = [m for m in range(1, d + 1) if sum(min(m, s) for s in sizes) < n]
    if not excluded:
        assert found is None
    else:
        assert found is not None
        assert found.length == (None if sum(sizes) < n else excluded[-1])


def test_one_token_of_two_heads_gives_two_independent_contributions(tmp_path: Path) -> None:
    """Contribution of the prompt to query i, head by head: (1 − λ) times the head's output on the prompt alone."""
    data = one_token_two_heads()
    assert data.prompt.shape == (2, 1)
    with flint.ctx.workprec(PRECISION):
        rows = []
        for X in data.inputs:
            x = X.columns(1, 2)
            total = [flint.arb(0)] * 2
            for head in data.layer.attention.heads:
                on_prompt, on_context = ((head.logit_vectors(x)).T.times(Z).rows()[0] for Z in (data.prompt, X))
                masses = [sum((flint.arb(s).exp() for s in scores), flint.arb(0)) for scores in (on_prompt, on_context)]
                share = masses[0] / (masses[0] + masses[1])
                total = [
                    y + share * flint.arb(z) for y, z in zip(total, head.V.apply(data.prompt.column(0)), strict=True)
                ]
            rows.append(total)
        determinant = arb_mat(rows).det()
        assert abs(determinant + flint.arb("0.0858")) < 5e-5
        # the same as the outputs, the contexts being answered with zero
        for asked, row in zip(asked_by_prompt(data), rows, strict=True):
            assert all(x.numerator.is_zero for A in asked.heads for x in A)
            assert all(x.enclosure().overlaps(y) for x, y in zip(asked.output, row, strict=True))
    tree = prove_independent(data)
    demand_tree(tree, asked_by_prompt(data), random.Random(0))
    demand_all_true(tmp_path, [independent_certificate(data, tree)])


# -- bounds that are empty or not there -------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "n"), [(2, 2), (3, 3), (4, 3), (6, 6)])
def test_naive_data_need_one_token_only(d: int, n: int, tmp_path: Path) -> None:
    """Independent shifted targets, and one zero token meets them all: the context outputs are 3/2 of them."""
    model, data, prompt = naive_dataset(d, n)
    assert prompt == RationalMatrix.zeros(d, 1)
    shifted = []
    for each in data.examples:
        answer = model.with_prompt(prompt, each.X)
        assert answer.columns(1, 2).as_rational() == each.targets  # type: ignore[attr-defined]
        x = each.X.columns(1, 2)
        shifted.append((each.targets - x).column(0))
        alone = model.layers[0].attention(x, each.X).as_rational()  # type: ignore[attr-defined]
        assert alone.scaled(fmpq(2, 3)).column(0) == shifted[-1]
    assert RationalMatrix.of(shifted).rank() == n
    assert bound_of(model, data) is None
    demand_all_true(tmp_path, [prompt_certificate(model, data, prompt)])


def test_the_bound_can_be_empty(tmp_path: Path) -> None:
    model, data = empty_bound_dataset()
    found = bound_of(model, data)
    assert found is not None
    assert found.length == 1
    points = [query.target for query in found.queries]
    demand_tree(found.trees[0], asked_by_queries(model.layers[0], found.queries, points), random.Random(0))
    decision = decide(model, data)
    assert decision.verdict is Memorization.UNMEMORIZABLE
    assert decision.several is not None
    assert decision.several.against is not None
    certificates = [too_short_certificate(model, found), impossible_certificate(model, decision.several.against)]
    demand_all_true(tmp_path, certificates)


def test_meets_is_exact() -> None:
    model, data, prompt = naive_dataset(3, 2)
    query = next(iter(data.queries(model)))
    assert meets(model.layers[0], query, prompt, query.target)
    off = [query.target[0] + fmpq(1, 10**40), *query.target[1:]]
    assert not meets(model.layers[0], query, prompt, off)
    rounded = tight_dataset(2, 2)
    asked = next(iter(rounded.rounded().queries(Transformer((rounded.layer,)))))
    assert not meets(rounded.layer, asked, rounded.prompt, asked.target)


# -- trees ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
@settings(max_examples=4 * FEW)
@example(11)
@example(19)
@example(26)
@example(32)
@example(47)
def test_trees_hold_at_random_weights(seed: int) -> None:
    """With and without cuts. Where samples show determinants of both signs there is none."""
    layer, queries, asked = random_asked(seed)
    tree = Independence(asked, max_nodes=100).run()
    again = asked_by_queries(layer, queries, [query.target for query in queries])
    rng = random.Random(seed)
    if tree is not None:
        demand_tree(tree, again, rng)


@given(st.integers(0, 10**6))
@settings(max_examples=2 * FEW)
@example(9)
@example(15)
def test_determinants_of_both_signs_are_seen_at_once(seed: int) -> None:
    """As many queries as the width, and random weights at which determinants have both signs: there is no tree."""
    layer, queries, asked = random_asked(seed)
    if len(queries) < layer.width:
        return
    again = asked_by_queries(layer, queries, [query.target for query in queries])
    rng, signs = random.Random(seed), set()
    for _ in range(20):
        weights = random_weights(rng, len(queries), len(layer.attention.heads))
        with flint.ctx.workprec(PRECISION):
            determinant = arb_mat([each.contribution(row) for each, row in zip(again, weights, strict=True)]).det()
        signs |= {bool(determinant > 0), not determinant < 0}
    if len(signs) == 2:
        assert Independence(asked, max_nodes=60).run() is None


@pytest.mark.parametrize(("seed", "at_least"), [(11, 3), (19, 9), (26, 9), (32, 5), (47, 7)])
def test_some_trees_need_cuts(seed: int, at_least: int, tmp_path: Path) -> None:
    layer, queries, asked = random_asked(seed)
    tree = Independence(asked).run()
    assert tree is not None
    count = len(list(leaves(tree, ((fmpq(0), fmpq(1)),) * (len(queries) * len(layer.attention.heads)))))
    assert 2 * count - 1 >= at_least
    model = Transformer((layer,))
    data = Dataset(tuple(Example(query.X, column_vector(list(query.target))) for query in queries))
    found = bound_of(model, data)
    if found is not None:
        demand_all_true(tmp_path, [too_short_certificate(model, found)])


def test_a_search_that_is_cut_short_claims_nothing() -> None:
    _, _, asked = random_asked(26)
    assert Independence(asked, max_nodes=3).run() is None
    assert not isinstance(Independence(asked).run(), DominantRows)


def test_dependent_contributions_have_no_tree() -> None:
    layer, queries, asked = random_asked(0)
    assert Independence([asked[0], asked[0]]).run() is None
    again = asked_by_queries(layer, queries, [query.target for query in queries])
    half = [[fmpq(1, 2)] * len(layer.attention.heads)] * 2
    assert not independent_at([again[0], again[0]], half)
    same = tight_dataset(3, 2)
    with pytest.raises(NotTightError, match="not shown to be independent"):
        prove_independent(type(same)(same.layer, (same.inputs[0],) * 2, same.prompt))
