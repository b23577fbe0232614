"""Certified constants of attention against derivatives at random and at climbed points; what is not a bound."""

from __future__ import annotations

import random

import numpy as np
import pytest
from flint import fmpq
from hypothesis import given
from hypothesis import strategies as st

from constructions.depth.constants import KINDS, NORMS, LayerNorms, Region, Stack
from constructions.depth.jacobian import FloatAttention, columns_that_count, derivative
from constructions.depth.slack import box_cover, climbed, steep
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import above, below, root_above, root_below, spectral_norm
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided
from verify.claims.attention_lipschitz import equal_heads, masked_mean
from verify.instances import contractive_stack, random_layer, random_matrix


def drawn(seed: int) -> tuple[Layer, Region]:
    """A layer of any shape: several heads, sizes, biases, masks; and a region, with or without a prompt."""
    rng = random.Random(seed)
    d, s = rng.randint(1, 3), rng.randint(1, 3)

    def matrix(rows: int, columns: int) -> RationalMatrix:
        return random_matrix(rng, rows, columns, size=5, denominator=rng.choice([1, 2, 4, 8]))

    heads = tuple(
        Head(matrix(s, d), matrix(s, d), matrix(s, d), matrix(d, s), matrix(s, 1)) for _ in range(rng.randint(1, 3))
    )
    region = Region(
        fmpq(rng.choice([1, 2, 4]), 4), fmpq(rng.choice([1, 2, 4]), 4), rng.randint(0, 3), rng.randint(1, 3)
    )
    return Layer(Attention(heads, causal=rng.random() < 0.3), FeedForward.none(d)), region


def points(region: Region, d: int, count: int, seed: int) -> list[np.ndarray]:
    """Tokens on the boundary of their balls or at the centre, equal tokens among them."""
    rng = np.random.default_rng(seed)
    radii = [float(region.prompt_radius)] * region.prompt_length + [float(region.input_radius)] * region.input_length
    found = []
    for k in range(count):
        Z = rng.normal(size=(d, region.length)) if k % 3 else np.repeat(rng.normal(size=(d, 1)), region.length, axis=1)
        Z = Z / np.linalg.norm(Z, axis=0) * np.array(radii)
        found.append(Z * (rng.random(region.length) < 0.8))
    return found


@given(st.integers(0, 10**6))
def test_no_derivative_in_the_region_is_above_the_constant(seed: int) -> None:
    layer, region = drawn(seed)
    norms, rng = LayerNorms.of(layer), np.random.default_rng(seed)
    attention = FloatAttention(layer.attention.heads, layer.attention.causal)
    for Z in points(region, layer.width, 6, seed):
        J = attention.blocks(Z)
        for norm in NORMS:
            for kind in KINDS:
                value, _ = climbed(J, columns_that_count(region, kind), norm, rng)
                assert value <= float(norms.attention(region, norm, kind)) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("norm", NORMS)
def test_a_climbed_slope_stays_below_the_constant(seed: int, norm) -> None:  # type: ignore[no-untyped-def]
    layer, region = drawn(seed)
    norms = LayerNorms.of(layer)
    for kind in KINDS:
        found = steep(layer, region, norm, kind, seed=seed, starts=2, steps=100)
        assert found.bound <= norms.attention(region, norm, kind)
        assert region.contains(found.Z)


@given(st.integers(0, 10**6))
def test_the_derivative_is_the_limit_of_differences(seed: int) -> None:
    layer, region = drawn(seed)
    attention = FloatAttention(layer.attention.heads, layer.attention.causal)
    rng = random.Random(seed)
    Z, D = (random_matrix(rng, layer.width, region.length, size=3, denominator=4) for _ in range(2))
    exact = derivative(layer.attention, Z, D)
    z, direction = (np.array([[float(x) for x in row] for row in part.rows()]) for part in (Z, D))
    h = 1e-5
    near = (attention.outputs(z + h * direction) - attention.outputs(z - h * direction)) / (2 * h)
    got = np.array([[float(exact[c, j]) for j in range(region.length)] for c in range(layer.width)])
    assert np.allclose(got, near, rtol=1e-4, atol=1e-4 * (1 + np.abs(got).max()))


def test_the_root_of_the_sum_of_squares_over_heads_is_not_a_bound() -> None:
    layer, region = equal_heads()
    norms = LayerNorms.of(layer)
    single = norms.heads[0].value.bound
    assert root_above(2 * single * single) < fmpq(3, 2)
    found = steep(layer, region, "max", "joint", steps=20)
    assert found.bound > fmpq(19, 10)  # two equal heads double
    assert found.bound <= norms.attention(region, "max", "joint") < fmpq(21, 10)


def test_under_a_mask_the_spectral_form_needs_its_factor() -> None:
    layer, region, _ = masked_mean()
    found = steep(layer, region, "frobenius", "joint", steps=50)
    assert found.bound > fmpq(114, 100)  # the unmasked form says 1 at A = 0
    assert found.bound <= LayerNorms.of(layer).attention(region, "frobenius", "joint")


@pytest.mark.parametrize("norm", NORMS)
def test_a_box_is_bracketed_from_both_sides(norm) -> None:  # type: ignore[no-untyped-def]
    layer = random_layer(random.Random("box"), 2)
    Z = RationalMatrix.of([["1/4", "1/2"], ["-1/4", "1/8"]])
    cover = box_cover(layer, Z, fmpq(1, 1024), norm, "joint", 1, max_leaves=64)
    attention, rng = FloatAttention(layer.attention.heads, causal=False), np.random.default_rng(0)
    center = np.array([[float(x) for x in row] for row in Z.rows()])
    inside = max(
        climbed(attention.blocks(center + (rng.random((2, 2)) - 0.5) / 512), range(2), norm, rng)[0] for _ in range(50)
    )
    assert inside <= float(cover.bound) <= 1.2 * inside


def test_a_target_out_of_reach_is_undecided() -> None:
    layer = random_layer(random.Random("box"), 1)
    with pytest.raises(Undecided, match="leaves"):
        box_cover(
            layer, RationalMatrix.of([[1, 2]]), fmpq(1, 64), "max", "joint", 1, target=fmpq(1, 1000), max_leaves=8
        )


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_certified_norms_are_above_and_tight(seed: int, rows: int, columns: int) -> None:
    W = random_matrix(random.Random(seed), rows, columns, size=9, denominator=7)
    proof = spectral_norm(W, fmpq(1, 100))
    floats = float(np.linalg.norm(np.array([[float(x) for x in row] for row in W.rows()]), 2))
    assert floats * (1 - 1e-9) <= float(proof.bound) <= floats * 1.01 + 1e-12
    assert (proof.factor is None) == (not any(W.mat.entries()))


@given(st.fractions(0, 10**12), st.integers(8, 200))
def test_rounding_goes_the_right_way(x: object, bits: int) -> None:
    q = fmpq(x.numerator, x.denominator)  # type: ignore[attr-defined]
    assert below(q, bits) <= q <= above(q, bits)
    assert root_below(q, bits) ** 2 <= q <= root_above(q, bits) ** 2
    if q:
        assert above(q, bits) <= q * (1 + fmpq(1, 2 ** (bits - 2)))


@given(st.integers(0, 10**6))
def test_radii_hold_what_passes_through_the_layers(seed: int) -> None:
    rng = random.Random(seed)
    region = Region(fmpq(1), fmpq(1, 2), 2, 1)
    stack = contractive_stack(rng, 2, region, depth=3, causal=rng.random() < 0.5, heads=rng.randint(1, 2))
    for Z in points(region, 2, 4, seed):
        for layer, constants in zip(stack.model.layers, stack.layers, strict=True):
            lengths = np.linalg.norm(Z, axis=0)
            assert lengths[:2].max() <= float(constants.region.prompt_radius) + 1e-9
            assert lengths[2:].max() <= float(constants.region.input_radius) + 1e-9
            attention = FloatAttention(layer.attention.heads, layer.attention.causal)
            Z = Z + attention.outputs(Z)
            W_1, b_1, W_2, b_2 = (
                np.array([[float(x) for x in row] for row in getattr(layer.mlp, name).rows()])
                for name in ("W_1", "b_1", "W_2", "b_2")
            )
            Z = Z + W_2 @ np.maximum(W_1 @ Z + b_1, 0) + b_2


def test_an_embedding_enlarges_the_radii_and_fixes_the_length() -> None:
    layer = random_layer(random.Random("E"), 2)
    model = Transformer((layer,), RationalMatrix.of([[3, 0], [4, 1]]))
    first = Stack.of(model, Region(fmpq(1), fmpq(1), 1, 1)).layers[0].region
    assert (first.prompt_radius, first.input_radius) == (6, 2)
    with pytest.raises(ValueError, match="E: fixes the number of tokens at 2, found 3"):
        Stack.of(model, Region(fmpq(1), fmpq(1), 2, 1))


def test_what_has_no_constants_is_undecided() -> None:
    hard = Layer(Attention(random_layer(random.Random(0), 1).attention.heads, "hardmax"), FeedForward.none(1))
    with pytest.raises(Undecided, match="hardmax"):
        LayerNorms.of(hard)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1, 1, 1, 1), "radii"), ((1, 1, -1, 1), "lengths"), ((1, 1, 1, 0), "lengths")],
)
def test_regions_are_validated(arguments: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Region(fmpq(arguments[0]), fmpq(arguments[1]), *arguments[2:])
