"""Datasets made from a prompt of n tokens that no shorter one replaces: every condition is checked a second time."""

from __future__ import annotations

import random
from pathlib import Path

import flint
import pytest
from flint import fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from layer_instances import demand_all_true
from length_instances import PRECISION, asked_by_prompt, demand_tree, random_weights

from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.prompt_length import (
    NotTightError,
    PromptDataset,
    isotropic_dataset,
    needed_tokens,
    one_token_two_heads,
    prove_tight,
    tight_dataset,
)
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.claims.prompt_length_bound import tight_certificate
from verify.instances import random_matrix, random_mlp

FEW = max(4, settings.default.max_examples // 3)  # type: ignore[attr-defined]
EXACT_UP_TO = 4  # widths for which identities are decided in Frac(E), beyond in balls


def demand_dataset(data: PromptDataset, d: int, n: int) -> None:
    """n inputs [−x, x] that the head, alone with them, answers with zero; a prompt of n tokens."""
    (head,) = data.layer.attention.heads
    assert head.W_q.shape == (d, d)
    assert head.V.rank() == d
    assert data.prompt.shape == (d, n)
    assert len(data.inputs) == n
    for X, asked in zip(data.inputs, asked_by_prompt(data), strict=True):
        x = X.column(1)
        assert X.column(0) == [-y for y in x]
        assert head.logit_vectors(X.columns(1, 2)).T.times(X.columns(1, 2))[0, 0] == 0
        assert all(y.numerator.is_zero for y in asked.heads[0])
    for mine, own in zip(asked_by_prompt(data), data.outputs(), strict=True):
        if d <= EXACT_UP_TO:
            assert all(x == y for x, y in zip(mine.output, own, strict=True))
        with flint.ctx.workprec(PRECISION):
            for x, y in zip(mine.output, own, strict=True):
                assert x.enclosure().overlaps(y.enclosure())


@pytest.mark.parametrize("d", range(2, 9))
def test_tight_datasets_of_every_size(d: int, tmp_path: Path) -> None:
    """n tokens are enough by definition; n − 1 are not: what is asked of a prompt has rank n for all weights."""
    certificates = []
    for n in range(1, d + 1):
        data = tight_dataset(d, n)
        demand_dataset(data, d, n)
        if n == 1:
            with pytest.raises(NotTightError, match="single token"):
                prove_tight(data)
            continue
        found = prove_tight(data)
        assert found.length == n - 1
        demand_tree(found.tree, asked_by_prompt(data), random.Random(n), samples=2)
        certificates.append(tight_certificate(found))
    demand_all_true(tmp_path, certificates)


@given(st.integers(2, 8), st.integers(1, 10**6))
@settings(max_examples=FEW)
@example(8, 1)
@example(8, 2)
@example(7, 1)
def test_there_is_a_tight_dataset_for_every_seed(d: int, seed: int) -> None:
    """Wide layers need smaller weights: with weights of one size all queries look at one token."""
    data = tight_dataset(d, d, seed)
    assert data.prompt.shape == (d, d)
    assert RationalMatrix.of_columns([X.column(1) for X in data.inputs]).shape == (d, d)


@given(st.integers(2, 4), st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_tight_datasets_behind_an_mlp(d: int, seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randint(2, d)
    mlp = random_mlp(rng, d, rng.randint(1, 4), contractive=True)
    data = tight_dataset(d, n, seed, mlp)
    assert data.layer.mlp is mlp
    found = prove_tight(data)
    assert found.length == n - 1
    assert found.factor.shape == (mlp.hidden, mlp.hidden)
    demand_tree(found.tree, asked_by_prompt(data), rng)


@given(st.integers(2, 4), st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_rounded_targets_are_near_the_outputs(d: int, seed: int) -> None:
    """By the model, with the prompt in front, in balls."""
    mlp = random_mlp(random.Random(seed), d, 2, contractive=True)
    data = tight_dataset(d, d, seed, mlp)
    model = Transformer((data.layer,))
    rounded = data.rounded(50)
    for each, X in zip(rounded.examples, data.inputs, strict=True):
        assert each.X == X
        with flint.ctx.workprec(PRECISION):
            answer = model.with_prompt(data.prompt, X)
            for c in range(d):
                value = answer[c, X.shape[1] - 1]
                gap = value.enclosure() - flint.arb(each.targets[c, 0])
                assert abs(gap) < 2.0**-40


def test_an_mlp_that_is_not_injective_is_refused() -> None:
    first = RationalMatrix.of([[1, 0]])
    fold = FeedForward(first, RationalMatrix.zeros(1, 1), first.T.scaled(-2), RationalMatrix.zeros(2, 1))
    with pytest.raises(NotTightError, match="not shown injective"):
        prove_tight(tight_dataset(2, 2, 0, fold))


@pytest.mark.parametrize(("d", "n"), [(2, 3), (3, 0), (1, 2)])
def test_more_inputs_than_the_width_are_refused(d: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"1 ≤ n ≤ d = {d}, found n = {n}"):
        tight_dataset(d, n)


def test_two_heads_whose_tokens_count_twice_are_refused() -> None:
    with pytest.raises(NotTightError, match="single token"):
        prove_tight(one_token_two_heads())


def test_equal_inputs_are_refused() -> None:
    """The same input twice asks for the same vector twice."""
    data = tight_dataset(3, 2)
    with pytest.raises(NotTightError, match="not shown to be independent"):
        prove_tight(PromptDataset(data.layer, (data.inputs[0],) * 2, data.prompt))


@given(st.integers(2, 5), st.integers(0, 7))
@settings(max_examples=4)
@example(2, 1)  # V has rank 1
@example(4, 7)
def test_any_weights(d: int, seed: int) -> None:
    """Where contexts are not answered by zero the bound is shown for all weights at once, or refused by name."""
    rng = random.Random(seed)
    head = Head(*[random_matrix(rng, d, d, denominator=4) for _ in range(3)])
    layer = Layer(Attention((head,)), FeedForward.none(d))
    if head.V.rank() < 2:
        with pytest.raises(NotTightError, match="V has rank"):
            isotropic_dataset(layer, 2, seed)
        return
    data = isotropic_dataset(layer, 2, seed)
    assert data.prompt.shape == (d, 2)
    found = prove_tight(data)
    assert found.length == 1
    demand_tree(found.tree, asked_by_prompt(data), rng)


def test_any_weights_refused_by_name() -> None:
    I, zero = RationalMatrix.identity(2), RationalMatrix.zeros(2, 2)
    with pytest.raises(NotTightError, match="V has rank 0, below the 2 inputs"):
        isotropic_dataset(Layer(Attention((Head(I, I, zero),)), FeedForward.none(2)), 2)
    with pytest.raises(NotTightError, match="expected one head, found 2"):
        isotropic_dataset(Layer(Attention((Head(I, I, I),) * 2), FeedForward.none(2)), 2)
    with pytest.raises(NotTightError, match="no tight dataset found"):  # all logits zero: all outputs are one vector
        isotropic_dataset(Layer(Attention((Head(zero, I, I),)), FeedForward.none(2)), 2)


def test_certificates_of_many_kinds_are_accepted(tmp_path: Path) -> None:
    """With an MLP, and for weights that were given."""
    certificates = []
    for seed in range(4):
        rng = random.Random(seed)
        mlp = random_mlp(rng, 3, 1 + seed % 3, contractive=True)
        certificates.append(tight_certificate(prove_tight(tight_dataset(3, 2 + seed % 2, seed, mlp))))
    for seed in (0, 4, 5, 6, 7):
        rng = random.Random(seed)
        head = Head(*[random_matrix(rng, 2, 2, denominator=4) for _ in range(3)])
        found = prove_tight(isotropic_dataset(Layer(Attention((head,)), FeedForward.none(2)), 2, seed))
        certificates.append(tight_certificate(found))
    demand_all_true(tmp_path, certificates)


@given(st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_one_token_less_gives_contributions_of_lower_rank(seed: int) -> None:
    """The argument itself, exactly: one token makes parallel contributions at any two queries of one head."""
    rng = random.Random(seed)
    head = Head(*[random_matrix(rng, 2, 2, denominator=2) for _ in range(3)])
    P = random_matrix(rng, 2, 1)
    parts = []
    for _ in range(2):
        X = random_matrix(rng, 2, 2)
        x = X.columns(1, 2)
        q = head.logit_vectors(x)
        with_prompt, alone = Attention((head,))(x, P.hstack(X)), Attention((head,))(x, X)
        weights = ExpMatrix.softmax_of(q.T.times(P.hstack(X)).T)
        left = weights[1, 0] + weights[2, 0]
        parts.append([with_prompt[c, 0] - left * alone[c, 0] for c in range(2)])
    (a, b), (c, e) = parts
    assert (a * e - b * c).sign() == 0


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 9))
def test_needed_tokens_by_trial(sizes: list[int], d: int, n: int) -> None:
    zeros = RationalMatrix.zeros
    layer = Layer(Attention(tuple(Head(zeros(s, d), zeros(s, d), zeros(s, d), zeros(d, s)) for s in sizes)),
                  FeedForward.none(d))  # fmt: skip
    enough = [m for m in range(1, 20) if sum(min(m, s, d) for s in sizes) >= n]
    assert needed_tokens(layer, n) == (enough[0] if enough else None)


def test_random_weights_are_inside() -> None:
    rng = random.Random(0)
    assert all(0 < x < fmpq(1) for _ in range(100) for row in random_weights(rng, 2, 2) for x in row)
