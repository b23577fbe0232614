"""The constants of layers: from the spec's formulas, never below what derivatives reach, short over many layers."""

from fractions import Fraction
from itertools import product
from typing import Any

import depth_makers as depth
import depth_oracle as oracle
import kernel_certificates as make
import layer_constants
import numpy as np
import pytest
import reading
from layer_constants import HeadNorms, LayerNorms
from rational import Scalar
from stack import Region, Stack, read_stack

Json = Any


def kernel_constants(stack: Json, kind: str, output: bool = False) -> list[tuple[Fraction, Fraction]]:
    read: Stack = read_stack(reading.Field(stack, "stack"))
    proofs = layer_constants.read_layer_proofs(
        reading.Field(depth.proofs(stack, output)["layers"], "layers"), read.layers
    )
    return [(Fraction(a.num, a.den), Fraction(b.num, b.den)) for a, b in layer_constants.constants(read, proofs, kind)]


def random_stack(rng: np.random.Generator, layers: int = 1) -> Json:
    """Heads of several sizes (0 too), with or without mask, bias, embedding, prompt, hidden units; radii differ."""
    scale = float(rng.choice([0.1, 0.5, 1.5]))
    maker = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k", "W_v", "W_o", "b_q"), scale))
    d, m_p, m = int(rng.integers(1, 4)), int(rng.integers(0, 4)), int(rng.integers(1, 4))
    causal, bias = bool(rng.integers(2)), bool(rng.integers(2))
    made = []
    for _ in range(layers):
        sizes = [int(s) for s in rng.integers(0, 3, size=rng.integers(1, 4))]
        made.append(maker.layer(d, sizes, int(rng.integers(0, 4)), causal, bias))
    R_P, R_X = (Fraction(int(rng.integers(0, 13)), 4) for _ in range(2))
    E = maker.weights(d, m_p + m, "E") if rng.integers(2) else None
    return depth.stack(made, m_p, m, R_P, R_X, str(rng.choice(["max", "frobenius"])), E)


@pytest.mark.parametrize("seed", range(8))
def test_constants_are_those_of_the_format(seed: int) -> None:
    """With norms that are a little above the true ones, the constants are; with `output`, not above those without."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        stack = random_stack(rng, int(rng.integers(1, 4)))
        for kind in ("joint", "input"):
            expected = oracle.Stack.read(stack).constants(kind)
            with_output, without = (kernel_constants(stack, kind, output) for output in (True, False))
            for (a, b), (c, _), (a_true, b_true) in zip(with_output, without, expected, strict=True):
                assert a <= c
                assert a_true * (1 - 1e-9) <= a <= a_true * 1.02 + 1e-4
                assert b_true <= b <= b_true * 1.01 + 1e-4


@pytest.mark.parametrize("seed", range(10))
def test_constants_are_above_what_derivatives_reach(seed: int) -> None:
    """Random layers and points, both kinds; the true norms without any slack, so this is about the formulas."""
    rng = np.random.default_rng(100 + seed)
    closest = 0.0
    for _ in range(250):
        stack = oracle.Stack.read(random_stack(rng))
        for kind, norm in product(("joint", "input"), ("max", "frobenius")):
            stack.norm = norm
            ((a, _),) = stack.constants(kind)
            reached = oracle.sampled_slope(stack, kind, rng, 1)
            assert reached <= a * (1 + 1e-9)
            closest = max(closest, reached / a if a else 0)
    assert closest > 0.3


@pytest.mark.parametrize("causal", [False, True])
def test_frobenius_constants_at_many_tokens(causal: bool) -> None:
    """The bound by D takes over where scores are small: averages of many tokens have norm 1, or below 2 with a mask."""
    rng = np.random.default_rng(5)
    for scale in (0.0, 0.02, 0.1):
        maker = depth.Random(rng, scales={"W_q": scale, "W_k": 1.0, "W_v": 1.0, "W_o": 1.0, "b_q": scale})
        stack = oracle.Stack.read(depth.stack([maker.layer(2, [2], causal=causal)], 30, 30, 1, 1, "frobenius"))
        for kind in ("joint", "input"):
            ((a, _),) = stack.constants(kind)
            reached = max(oracle.sampled_slope(stack, kind, rng, 2), 0)
            assert reached <= a
            if scale == 0:
                assert a <= 2 * oracle.norm(stack.layers[0].heads[0].V)
                assert reached > (1.4 if causal else 0.99) * oracle.norm(stack.layers[0].heads[0].V) or kind == "input"


@pytest.mark.parametrize("seed", range(6))
def test_regions_hold_what_layers_make(seed: int) -> None:
    """Tokens after each layer are within the radii of the next."""
    rng = np.random.default_rng(200 + seed)
    for _ in range(20):
        stack = random_stack(rng, 3)
        read = read_stack(reading.Field(stack, "stack"))
        net = oracle.Stack.read(stack)
        regions = [read.entered()]
        for layer, proof in zip(read.layers, depth.proofs(stack)["layers"], strict=True):
            norms = layer_constants.read_layer_proof(reading.Field(proof, "proof"), layer).norms(layer, "layer")
            regions.append(norms.after(regions[-1], read.causal))
        for _ in range(10):
            Z = net.embedded(net.random(rng, edge=1))
            for k, region in enumerate(regions):
                m_p = region.prompt_length
                lengths = np.linalg.norm(Z, axis=0)
                assert (lengths[:m_p] <= region.prompt_radius.num / region.prompt_radius.den * (1 + 1e-9)).all()
                assert (lengths[m_p:] <= region.input_radius.num / region.input_radius.den * (1 + 1e-9)).all()
                Z = net.layers[k](Z) if k < len(net.layers) else Z


def test_by_hand() -> None:
    """α = 2, v = 1/2, c = 3; R_P = 2, R_X = 1; three prompt tokens, two of the input."""
    head = HeadNorms(Scalar(2, 1), Scalar(1, 2), Scalar(3, 1))
    region = Region(3, 2, Scalar(2, 1), Scalar(1, 1))

    def slope(norm: str, kind: str, causal: bool, where: Region = region) -> Fraction:
        value = head.slope(where, norm, kind, causal)
        return Fraction(value.num, value.den)

    assert slope("max", "joint", False) == 1 + 8 + 2 * 7
    assert slope("max", "input", True) == 1 + 8 + 2 * 5
    # √5 (1 + 14) + 8 = 41.5…; 1 + 3·14 + √(5·14)·3 = 68.1
    assert abs(float(slope("frobenius", "joint", False)) - (5**0.5 * 15 + 8)) < 1e-12
    assert abs(float(slope("frobenius", "input", False)) - (2**0.5 * 11 + 8)) < 1e-12
    no_prompt = Region(0, 2, Scalar(2, 1), Scalar(1, 1))
    assert slope("max", "joint", False, no_prompt) == 1 + 2 + 5
    small = Region(60, 4, Scalar(1, 16), Scalar(1, 8))
    plain = HeadNorms(Scalar(2, 1), Scalar(1, 2), Scalar(0, 1))
    for causal, first in ((False, 1), (True, 2)):
        value = plain.slope(small, "frobenius", "joint", causal)
        assert Fraction(value.num, value.den) == first + 3 * (Fraction(60, 256) + Fraction(4, 64))
    norms = LayerNorms((head, head), None, Scalar(1, 3), Scalar(1, 4))
    after = norms.after(region, False)
    assert Fraction(after.prompt_radius.num, after.prompt_radius.den) == Fraction(4, 3) * (2 + 2) + Fraction(1, 4)
    assert Fraction(after.input_radius.num, after.input_radius.den) == Fraction(4, 3) * (1 + 2) + Fraction(1, 4)
    other = Region(1, 1, Scalar(1, 1), Scalar(2, 1))
    after = norms.after(other, True)
    assert Fraction(after.prompt_radius.num, after.prompt_radius.den) == Fraction(4, 3) * (1 + 1) + Fraction(1, 4)
    assert Fraction(after.input_radius.num, after.input_radius.den) == Fraction(4, 3) * (2 + 2) + Fraction(1, 4)
    # with ‖[W_o W_o]‖ = 1/10, ‖W_v‖ = 3, 4: a gain of 1/10 · 5
    joined = LayerNorms((head, head), (Scalar(1, 10), (Scalar(3, 1), Scalar(4, 1))), Scalar(0, 1), Scalar(0, 1))
    after = joined.after(region, False)
    assert Fraction(after.input_radius.num, after.input_radius.den) == 1 + Fraction(1, 2) * 2


def test_numbers_stay_short() -> None:
    """Two hundred layers: radii grow, their digits do not."""
    rng = np.random.default_rng(3)
    maker = depth.Random(rng, scales={"W_o": 0.1})
    stack = depth.stack([maker.layer(2, [1, 1], 2)] * 200, 2, 2, "1/3", "1/7", "frobenius")
    pairs = kernel_constants(stack, "joint", output=True)
    assert len(pairs) == 200
    assert all(max(a.numerator.bit_length(), a.denominator.bit_length()) < 3000 for a, _ in pairs)
    assert all(len(bin(a.numerator).rstrip("0")) < 1030 for a, _ in pairs)


def test_one_head_of_no_size() -> None:
    head = {name: {"den": 1, "num": []} for name in ("W_q", "W_k", "W_v")}
    head |= {"W_o": depth.columns(2), "b_q": make.vector([])}
    layer = {"heads": [head], "mlp": make.mlp(2), "causal": False, "E": None}
    for norm in ("max", "frobenius"):
        assert kernel_constants(depth.stack([layer], norm=norm), "joint", output=True) == [(0, 0)]
