"""What the strategies for heads, layers, transformers and stacks promise."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from flint import fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from occurrence import first

from constructions.data import Dataset
from constructions.depth.constants import Region, Stack
from constructions.depth.separation import separation
from constructions.numbers.balls import BallMatrix
from constructions.numbers.definite import norm_product_below_one
from constructions.numbers.matrix import PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.assumptions import full_rank, norm_condition, paper_assumptions
from constructions.transformer import FeedForward, Head, Layer, Transformer
from verify.strategies import (
    contractive_stacks,
    heads,
    inputs,
    layers,
    mlps,
    paper_layers,
    paper_pairs,
    piecewise_linear_units,
    prompted,
    prompts,
    rationals,
    smallest,
    transformers,
)
from verify.strategies.stacks import equal_share

FEW = settings(max_examples=max(8, settings.default.max_examples // 3))  # type: ignore[attr-defined]


# --- heads and MLPs --------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 4), st.booleans(), st.booleans(), st.data())
def test_heads(d: int, s: int, full: bool, bias: bool, data: st.DataObject) -> None:
    head: Head = data.draw(heads(d, s=s, full_rank=full, query_bias=bias))
    assert (head.width, head.head_size) == (d, s)
    assert bias or head.b_q == RationalMatrix.zeros(s, 1)
    if full:
        assert all(fact.holds for fact in full_rank(head))
        assert head.W_o.rank() == min(s, d)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda head: head.W_q == RationalMatrix.zeros(*head.W_q.shape) and head.W_v.rank() == 2,
        lambda head: head.W_v == RationalMatrix.zeros(*head.W_v.shape) and head.bilinear.rank() == 2,
        lambda head: head.W_o == RationalMatrix.identity(2) and head.W_q != head.W_k,
        lambda head: head.head_size == 1,
    ],
    ids=["equal scores", "no output", "no output map", "small"],
)
def test_special_heads_come_up(wanted: Callable[[Head], bool]) -> None:
    first(heads(2), wanted)


@given(mlps(max_lipschitz="3/4"))
def test_mlps_that_are_injective(mlp: FeedForward) -> None:
    assert norm_condition(mlp).holds
    assert (
        mlp.hidden == 0 or norm_product_below_one(mlp.W_1.scaled("4/3").mat, mlp.W_2.scaled("99/100").mat) is not None
    )


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), piecewise_linear_units(max_pieces=n))))
def test_units_have_a_constant_piece(case: tuple[int, PiecewiseLinear]) -> None:
    most, unit = case
    assert len(unit.pieces) <= most
    assert any(piece.slope == 0 for piece in unit.pieces)
    assert unit.in_modified_class or most > 3


# --- transformers ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.booleans(), st.booleans(), st.data())
def test_transformers_are_of_their_class(
    h: int, s: int, r: int, modified: bool, causal: bool, data: st.DataObject
) -> None:
    model = data.draw(transformers(h, s, r, modified=modified, causal=causal, tokens=st.integers(1, 3)))
    assert model.class_membership(h, s, r, modified=modified).holds
    assert model.causal == causal
    assert model.E is not None


def test_transformers_fill_their_class() -> None:
    full = first(
        transformers(2, 2, 2, depth=1, d=1),
        lambda model: (
            len(model.layers[0].attention.heads) == 2
            and {head.head_size for head in model.layers[0].attention.heads} == {2}
            and model.layers[0].mlp.hidden == 2
        ),
    )
    assert not full.class_membership(1, 2, 2).holds
    assert not full.class_membership(2, 1, 2).holds
    assert not full.class_membership(2, 2, 1).holds


def test_a_query_bias_leaves_the_class() -> None:
    outside = first(transformers(query_bias=True), lambda model: not model.class_membership(2, 2, 2).holds)
    assert outside.class_membership(2, 2, 2).witness.endswith("the class has no query bias, found b_q ≠ 0")


@given(prompted(transformers(modified=True, tokens=st.integers(2, 4))))
def test_prompts_and_inputs_fit_their_model(case: tuple[Transformer, RationalMatrix, RationalMatrix]) -> None:
    model, P, X = case
    assert model.E is not None
    assert P.shape[1] + X.shape[1] == model.E.shape[1]
    assert 1 <= X.shape[1] <= 2
    assert P.shape[1] >= 1
    assert isinstance(model.with_prompt(P, X), RationalMatrix)


@given(prompted(transformers(), max_prompt_tokens=4, max_input_tokens=1))
def test_prompts_without_an_embedding(case: tuple[Transformer, RationalMatrix, RationalMatrix]) -> None:
    _, P, X = case
    assert 1 <= P.shape[1] <= 4
    assert X.shape[1] == 1


@given(inputs(2, min_tokens=2, max_tokens=4), prompts(3))
def test_inputs_and_prompts(X: RationalMatrix, P: RationalMatrix) -> None:
    assert X.shape[0] == 2
    assert 2 <= X.shape[1] <= 4
    assert P.shape[0] == 3
    assert 1 <= P.shape[1] <= 3


def test_equal_tokens_come_up() -> None:
    first(
        inputs(3, min_tokens=3, max_tokens=3),
        lambda X: len({tuple(X.column(j)) for j in range(3)}) == 2,
    )


# --- the paper's assumptions -----------------------------------------------------------------------------------------


@given(paper_layers())
def test_layers_with_the_papers_weights(layer: Layer) -> None:
    assert all(fact.holds for fact in [*full_rank(layer.attention.heads[0]), norm_condition(layer.mlp)])


@given(paper_pairs(max_context=2))
def test_pairs_meet_all_of_the_papers_assumptions(case: tuple[Transformer, Dataset]) -> None:
    model, data = case
    first, second = data.queries(model)
    facts = paper_assumptions(model.layers[0], first, second)
    assert len(facts) == 10
    assert all(fact.holds for fact in facts), [fact for fact in facts if not fact.holds]


def test_pairs_of_all_kinds_come_up() -> None:
    """Spans of one and of two dimensions, more heads than one, and several context tokens."""
    first(paper_pairs(3), lambda case: case[0].layers[0].mlp.hidden == 2 and case[1].examples[1].targets[2, 0] != 0)
    first(paper_pairs(4, h=2), lambda case: len(case[0].layers[0].attention.heads) == 2)
    first(paper_pairs(max_context=2), lambda case: case[1].examples[0].X.shape[1] == 3)


# --- stacks ----------------------------------------------------------------------------------------------------------

norms = st.sampled_from(["max", "frobenius"])


@FEW
@given(st.data(), norms, rationals("5/4", 3), rationals("1/4", 1), st.booleans())
def test_stacks_keep_their_constants(data: st.DataObject, norm: str, product: fmpq, most: fmpq, causal: bool) -> None:
    stack: Stack = data.draw(contractive_stacks(norm=norm, max_product=product, max_constant=most, causal=causal))
    assert stack.norm == norm
    assert stack.model.causal == causal
    assert stack.failing() is None
    assert all(layer.joint < most and layer.mlp < most for layer in stack.layers)
    assert stack.product() < product


@FEW
@given(contractive_stacks(), st.randoms(use_true_random=False))
def test_stacks_meet_the_repaired_condition(stack: Stack, rng: random.Random) -> None:
    """And two inputs are as far apart at the output as it promises, in balls."""
    factor = separation(stack).factor
    assert factor > 0
    region, d = stack.region, stack.model.width

    def tokens(n: int) -> RationalMatrix:
        return RationalMatrix.of([[fmpq(rng.randint(-3, 3), 3 * d) for _ in range(n)] for _ in range(d)], columns=n)

    P, X, other = tokens(region.prompt_length), tokens(region.input_length), tokens(region.input_length)
    assert region.contains(P.hstack(X))
    m_p, M = region.prompt_length, region.length
    one, two = (stack.model(BallMatrix.embed(P.hstack(Z))).columns(m_p, M) for Z in (X, other))
    before = max(sum((X[i, j] - other[i, j]) ** 2 for i in range(d)) for j in range(region.input_length))
    after = [sum((one[i, j] - two[i, j]) ** 2 for i in range(d)) for j in range(region.input_length)]
    assert any(value.upper() >= factor**2 * before for value in after)


def test_stacks_reach_their_constants() -> None:
    """Within a sixteenth: they are not small for no reason."""
    first(contractive_stacks(1, depth=1, max_product=None), lambda stack: stack.layers[0].joint > fmpq(7, 8))
    first(contractive_stacks(1, depth=1, max_product=None), lambda stack: stack.layers[0].mlp > fmpq(7, 8))


@given(rationals("9/8", 9, max_denominator=8), st.integers(1, 9))
def test_equal_shares(product: fmpq, factors: int) -> None:
    share = equal_share(product, factors)
    assert share > 0
    assert (1 + share) ** factors <= product < (1 + 2 * share) ** factors


def test_the_region_is_the_one_asked_for() -> None:
    shape = contractive_stacks(2, prompt_radius=0, input_radius="1/2", prompt_length=0, input_length=3)
    stack = smallest(shape)
    assert stack.region == Region(fmpq(0), fmpq(1, 2), 0, 3)


BAD: dict[str, Callable[[], object]] = {
    "d: expected a whole number of at least 1, found 0": lambda: heads(0),
    "s: expected a whole number of at least 1, found 0": lambda: layers(2, s=0),
    "r: expected a whole number of at least 0, found -1": lambda: mlps(r=-1),
    "units: expected 'relu' or 'modified', found 'gelu'": lambda: mlps(units="gelu"),
    "units: expected 'relu' beside max_lipschitz, as other units may jump, found 'modified'": lambda: layers(
        units="modified", max_lipschitz=1
    ),
    "attention: expected 'softmax' or 'hardmax', found 'linear'": lambda: layers(attention="linear"),
    "h: expected a whole number of at least 1, found 0": lambda: transformers(0),
    "max_tokens (min_tokens is 3): expected a whole number of at least 3, found 2": lambda: inputs(
        min_tokens=3, max_tokens=2
    ),
    "models: expected a strategy for transformers, found 3": lambda: prompted(3),
    "models: expected an embedding of at least 2 tokens, one of them for the prompt, found 1": lambda: smallest(
        prompted(transformers(tokens=1))
    ),
    "max_lipschitz: expected less than 1, found 1": lambda: paper_layers(max_lipschitz=1),
    "d: expected a whole number of at least 3, found 2": lambda: paper_pairs(2),
    "norm: expected 'max' or 'frobenius', found 'spectral'": lambda: contractive_stacks(norm="spectral"),
    "max_product: expected more than 1, found 1": lambda: contractive_stacks(max_product=1),
    "max_constant: expected a positive number, found 0": lambda: contractive_stacks(max_constant=0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        BAD[message]()
    assert str(error.value) == message
