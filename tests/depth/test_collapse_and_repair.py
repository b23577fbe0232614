"""Collapses, run exactly; the inverse; and the floor of stacks that cannot collapse."""

from __future__ import annotations

import random

import flint
import numpy as np
import pytest
from flint import fmpq
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from constructions.depth.collapse import collapse, forgotten_inputs, full_rank_collapse, multipliers, outputs
from constructions.depth.constants import Region, Stack
from constructions.depth.fold import fold
from constructions.depth.inverse import invert, round_trip
from constructions.depth.jacobian import FloatAttention
from constructions.depth.same_output import SameOutput, two_layers
from constructions.depth.separation import floor, separation
from constructions.numbers.balls import BallMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Transformer
from constructions.verdict import Undecided
from verify.instances import contractive_stack, random_matrix

ONE = Region(fmpq(1), fmpq(1), 1, 1)
rationals = st.fractions(-99, 99, max_denominator=99).map(lambda x: fmpq(x.numerator, x.denominator))


@given(st.lists(rationals, min_size=4, max_size=4))
def test_every_input_becomes_minus_the_prompt(entries: list[fmpq]) -> None:
    P, X = RationalMatrix.of([[entries[0]], [entries[1]]]), RationalMatrix.of([[entries[2]], [entries[3]]])
    assert outputs(collapse(), P, X) == P.scaled(-1)


@given(st.lists(rationals, min_size=4, max_size=4))
def test_with_full_rank_every_input_of_the_plane_does(entries: list[fmpq]) -> None:
    found = full_rank_collapse()
    for layer in found.model.layers:
        (head,) = layer.attention.heads
        assert head.W_q.rank() == head.W_k.rank() == head.W_v.rank() == 4
    P, X = (found.basis.times(RationalMatrix.of([[x] for x in part])) for part in (entries[:2], entries[2:]))
    assert outputs(found.model, P, X) == P.scaled(-1)


def test_off_the_plane_nothing_is_said() -> None:
    found = full_rank_collapse()
    P, X = RationalMatrix.of([[1], [0], [1], [0]]), RationalMatrix.of([[0], [1], [1], [0]])
    with pytest.raises(ValueError, match="expected logits of zero"):
        outputs(found.model, P, X)


def test_changing_one_factor_ends_the_collapse() -> None:
    layers = collapse().layers[:3]
    model = Transformer(layers)
    assert forgotten_inputs(model, ONE) is None
    assert outputs(model, *(RationalMatrix.of([[1], [k]]) for k in (0, 1))) != RationalMatrix.of([[-1], [0]])


def test_the_constants_of_the_collapse_are_below_one() -> None:
    assert all((z[0] - 1) ** 2 + z[1] ** 2 < fmpq(91, 100) for z in multipliers())
    stack = Stack.of(collapse(), ONE)
    assert stack.failing() is None
    assert stack.product() > 2
    with pytest.raises(Undecided, match="below 2"):
        separation(stack)


@given(st.lists(st.integers(-8, 8), min_size=4, max_size=4))
def test_the_joint_map_of_the_collapse_has_its_inverse(entries: list[int]) -> None:
    stack = Stack.of(collapse(), Region(fmpq(2), fmpq(2), 1, 1))
    a, b, c, d = (fmpq(x, 8) for x in entries)
    Z = RationalMatrix.of([[a, b], [c, d]])
    found = round_trip(stack, Z)
    assert max(abs(x) for x in (found.Z - Z).mat.entries()) <= found.error + fmpq(1, 2**100)
    assert found.error < fmpq(1, 2**80)


@pytest.mark.parametrize("norm", ["max", "frobenius"])
@pytest.mark.parametrize("depth", [1, 3])
def test_round_trips_through_stacks_with_mlps(norm, depth: int) -> None:  # type: ignore[no-untyped-def]
    rng = random.Random(f"{norm}/{depth}")
    stack = contractive_stack(rng, 2, Region(fmpq(1), fmpq(1), 1, 2), norm, depth=depth, heads=2, hidden=3)
    Z = random_matrix(rng, 2, 3, size=4, denominator=8)
    found = round_trip(stack, Z)
    assert max(abs(x) for x in (found.Z - Z).mat.entries()) <= found.error + fmpq(1, 2**90)


def test_an_output_from_outside_the_region_has_no_preimage_in_it() -> None:
    stack = Stack.of(collapse(), ONE)
    far = RationalMatrix.of([[50, 50], [50, 50]])
    with pytest.raises(Undecided, match="leaves the region"):
        invert(stack, far)


def test_no_inverse_without_contractions() -> None:
    rng = random.Random("too steep")
    stack = contractive_stack(rng, 2, ONE, attention=fmpq(3, 2))
    with pytest.raises(Undecided, match="layer 0: the constant of its attention is not below 1"):
        invert(stack, RationalMatrix.zeros(2, 2))


def test_two_layers_with_mlp_near_two() -> None:
    found = two_layers()
    assert len({str(X) for X in found.inputs}) == 21
    assert 2 <= found.stack.product() < fmpq(2001, 1000)
    assert found.stack.failing() is None
    changed = RationalMatrix(found.P.mat * 2)
    with pytest.raises(ValueError, match="one output for all inputs"):
        SameOutput.of(found.stack, changed, (found.inputs[0], RationalMatrix.of([[0], [0]])))


@pytest.mark.parametrize(("bits", "below"), [(10, "2.1"), (16, "2.0011"), (20, "2.00007"), (30, "2.0000001")])
def test_attention_alone_folds_with_products_towards_two(bits: int, below: str) -> None:
    found = fold(fmpq(1, 2**bits))
    assert 2 < found.product < fmpq(int(float(below) * 10**7), 10**7)
    assert found.x[0] < found.x[1] < found.x[2]
    low, middle, high = found.outputs()
    assert (middle < low and middle < high) or (middle > low and middle > high)


def test_a_fold_that_is_too_wide_is_undecided() -> None:
    with pytest.raises(Undecided):
        fold(fmpq(1, 4))


def test_forgotten_inputs_are_found_in_uniform_attention_only() -> None:
    found = forgotten_inputs(collapse(), ONE)
    assert found is not None
    P, (X, other) = found
    assert other != X
    assert outputs(collapse(), P, X) == outputs(collapse(), P, other)
    assert forgotten_inputs(collapse(), Region(fmpq(1), fmpq(1), 2, 1)) is None
    assert forgotten_inputs(two_layers().stack.model, ONE) is None


def distance_to(stack: Stack, P: np.ndarray, X: RationalMatrix, target: np.ndarray) -> float:
    """The largest token of T([P, X])'s last columns minus the target, in floats."""
    Z = np.hstack([P, [[float(x) for x in row] for row in X.rows()]])
    for layer in stack.model.layers:
        Z = Z + FloatAttention(layer.attention.heads, layer.attention.causal).outputs(Z)
        W_1, b_1, W_2, b_2 = (
            np.array([[float(x) for x in row] for row in getattr(layer.mlp, name).rows()]).reshape(
                getattr(layer.mlp, name).shape
            )
            for name in ("W_1", "b_1", "W_2", "b_2")
        )
        Z = Z + W_2 @ np.maximum(W_1 @ Z + b_1, 0) + b_2
    return float(np.linalg.norm(Z[:, P.shape[1] :] - target, axis=0).max())


@pytest.mark.parametrize("causal", [False, True])
def test_no_prompt_of_the_region_comes_below_the_floor(causal: bool) -> None:
    rng = random.Random(f"floor/{causal}")
    region = Region(fmpq(1), fmpq(1), 2, 1)
    size = fmpq(1, 2) if causal else fmpq(1, 8)
    stack = contractive_stack(rng, 2, region, attention=size, mlp=size, causal=causal)
    found = separation(stack)
    assert found.argument == ("layer-by-layer" if causal else "small-product")
    X, other = RationalMatrix.of([["1/2"], [0]]), RationalMatrix.of([["-1/2"], ["1/4"]])
    certified = float(floor(found, X, other).bound)

    def loss(t: np.ndarray) -> float:
        P = t[:4].reshape(2, 2)
        P = P / np.maximum(1, np.linalg.norm(P, axis=0))
        return max(distance_to(stack, P, one, t[4:].reshape(2, 1)) for one in (X, other))

    best = min(
        float(minimize(loss, np.random.default_rng(k).normal(size=6), method="Nelder-Mead").fun) for k in range(4)
    )
    assert best >= certified > 0


def test_inputs_of_a_floor_are_validated() -> None:
    stack = contractive_stack(random.Random(0), 2, ONE, attention=fmpq(1, 16), mlp=fmpq(1, 16))
    found, good = separation(stack), RationalMatrix.zeros(2, 1)
    with pytest.raises(ValueError, match="second input: expected 2×1, found 2×2"):
        floor(found, good, RationalMatrix.zeros(2, 2))
    with pytest.raises(ValueError, match="first input: expected tokens of length at most 1"):
        floor(found, RationalMatrix.of([[2], [0]]), good)


def test_a_causal_collapse_does_not_exist_layer_by_layer() -> None:
    """The four layers under a mask: the prompt's trajectory is fixed, so inputs stay apart, exactly."""
    masked = Transformer(
        tuple(
            type(layer)(type(layer.attention)(layer.attention.heads, causal=True), layer.mlp)
            for layer in collapse().layers
        )
    )
    found = separation(Stack.of(masked, ONE))
    assert found.argument == "layer-by-layer"
    P = RationalMatrix.of([[1], [0]])
    first, second = (outputs(masked, P, RationalMatrix.of([[x], [0]])) for x in (0, 1))
    assert first != second


def test_images_of_the_collapse_in_balls() -> None:
    with flint.ctx.workprec(64):
        image = collapse()(BallMatrix.embed(RationalMatrix.of([[5, 1], [-2, 3]])))
        assert isinstance(image, BallMatrix)
        assert image.columns(1, 2).contains(RationalMatrix.of([[-5], [2]]))
