"""Claim prompted-injectivity, relations small-product and layer-by-layer."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import depth_makers as depth
import depth_oracle as oracle
import kernel_certificates as make
import numpy as np
import pytest
from depth_mutations import check_mutations
from kernel_certificates import changed
from prompt_law_makers import sealed_verdict
from test_joint_injectivity import bounds, scalar_layer

Json = Any
HALF = Fraction(1, 2)
TINY = Fraction(1, 2**200)


def certificate(relation: str, stack: Json, witness: Json, factor: Json, inputs: Json = None, floor: Json = 0) -> Json:
    instance = {
        "stack": stack,
        "factor": make.scalar(factor),
        "inputs": None if inputs is None else [make.matrix(X) for X in inputs],
        "floor": make.scalar(floor),
    }
    return make.certificate("prompted-injectivity", relation, instance, witness)


def one(relation: str, factor: Json, inputs: Json = None, floor: Json = 0, norm: str = "max", v: Json = "1/4") -> Json:
    """One layer: a = 1/4, b = 1/5."""
    stack = depth.stack([scalar_layer("1/8", "1/4", "1/3")], 1, 2, norm=norm)
    if norm == "frobenius":
        stack["prompt_radius"] = stack["input_radius"] = make.scalar(1)
    return certificate(relation, stack, bounds((None, v, "2/5", "1/2")), factor, inputs, floor)


@pytest.mark.parametrize(
    ("relation", "factor"), [("small-product", HALF), ("layer-by-layer", Fraction(3, 5))], ids=["small", "layers"]
)
def test_factor_at_the_boundary(relation: str, factor: Fraction) -> None:
    """2 − 5/4 · 6/5 = 1/2, and 3/4 · 4/5 = 3/5, both exactly."""
    why = {
        "small-product": "the product of the 1 + constants is above 2 - factor",
        "layer-by-layer": "the factor is above the product of the 1 - constants",
    }[relation]
    for norm in ("max", "frobenius"):
        v = "1/4" if norm == "max" or relation == "small-product" else Fraction(1, 4)
        assert sealed_verdict(one(relation, factor, norm=norm, v=v))[0] == "true"
        assert sealed_verdict(one(relation, factor + TINY, norm=norm, v=v)) == ("false", why)
    assert sealed_verdict(one(relation, TINY))[0] == "true"
    for nothing in (0, -1):
        assert sealed_verdict(one(relation, nothing)) == ("false", "the factor is not positive")


@pytest.mark.parametrize("relation", ["small-product", "layer-by-layer"])
def test_floor_at_the_boundary(relation: str) -> None:
    """Inputs 3/4 apart in one token and 1 in the other: 1 in the norm max, 5/4 in Frobenius'."""
    inputs = [[[1, "1/2"]], [["1/4", "-1/2"]]]
    for norm, floor in (("max", HALF / 4), ("frobenius", Fraction(5, 32))):
        factor = HALF / 2
        floor = factor / 2 * (1 if norm == "max" else Fraction(5, 4))
        assert sealed_verdict(one(relation, factor, inputs, floor, norm))[0] == "true"
        assert sealed_verdict(one(relation, factor, inputs, floor + TINY, norm)) == (
            "false",
            "the inputs are too close for the floor",
        )
        assert sealed_verdict(one(relation, factor, inputs, 0, norm))[0] == "true"
        assert sealed_verdict(one(relation, factor, inputs, -TINY, norm)) == ("false", "the floor is negative")
    assert sealed_verdict(one(relation, HALF, None, TINY)) == ("false", "a floor above 0 without inputs")
    assert sealed_verdict(one(relation, HALF, None, -1)) == ("false", "the floor is negative")


def test_inputs_are_within_the_radius() -> None:
    outside = 1 + TINY
    assert sealed_verdict(one("small-product", HALF, [[[1, 0]], [[0, outside]]])) == (
        "false",
        "input 1: token 1 is not within the radius",
    )
    assert sealed_verdict(one("small-product", HALF, [[[-outside, 0]], [[0, 0]]])) == (
        "false",
        "input 0: token 0 is not within the radius",
    )
    same = [[[1, 0]], [[1, 0]]]
    assert sealed_verdict(one("small-product", HALF, same))[0] == "true"
    assert sealed_verdict(one("small-product", HALF, same, TINY))[0] == "false"


def test_several_layers() -> None:
    layers = [scalar_layer("1/8", causal=True)] * 3
    stack = depth.stack(layers)
    witness = bounds(*[(None, "1/4", None, None)] * 3)
    assert sealed_verdict(certificate("layer-by-layer", stack, witness, Fraction(27, 64)))[0] == "true"
    assert sealed_verdict(certificate("layer-by-layer", stack, witness, Fraction(27, 64) + TINY))[0] == "false"
    assert sealed_verdict(certificate("small-product", stack, witness, Fraction(3, 64)))[0] == "true"
    assert sealed_verdict(certificate("small-product", stack, witness, Fraction(3, 64) + TINY))[0] == "false"
    mask = changed(stack, ("layers",), [scalar_layer("1/8")] * 3)
    verdict, text = sealed_verdict(certificate("layer-by-layer", mask, witness, HALF / 2))
    assert verdict == "not a certificate"
    assert "one layer or a causal mask" in text
    large = bounds((None, "1/4", None, None), (None, 1, None, None), (None, "1/4", None, None))
    assert sealed_verdict(certificate("layer-by-layer", stack, large, TINY))[1] == (
        "layer 1: the constant of the attention is not shown to be below 1"
    )


def test_the_prompt_is_fixed() -> None:
    """Kind `input`: a large prompt radius counts once, a = v (1 + α R² + R α ρ), R = 4, ρ = 1/4, α = 1/16: v · 17/8."""
    layer = scalar_layer("1/16", W_q="1/32")
    stack = depth.stack([layer], R_P=4, R_X="1/4")
    witness = bounds(("1/16", "1/17", None, None))
    assert sealed_verdict(certificate("layer-by-layer", stack, witness, Fraction(7, 8)))[0] == "false"
    witness = bounds(("1/16", "1/16", None, None))
    factor = 1 - Fraction(1, 16) * (2 + Fraction(1, 16))
    stack = depth.stack([scalar_layer("1/17", W_q="1/32")], R_P=4, R_X="1/4")
    assert sealed_verdict(certificate("layer-by-layer", stack, witness, factor))[0] == "true"
    assert sealed_verdict(certificate("layer-by-layer", stack, witness, factor + TINY))[0] == "false"
    joint = 1 - Fraction(1, 16) * 3
    assert sealed_verdict(certificate("small-product", stack, witness, joint))[0] == "true"
    assert sealed_verdict(certificate("small-product", stack, witness, joint + TINY))[0] == "false"


def test_sentences() -> None:
    assert sealed_verdict(one("small-product", HALF))[1] == (
        "prompted-injectivity: with every prompt of the region, different inputs have different outputs, apart by at "
        "least the factor times as much (one head, d = 1, norm: max, prompt tokens: 1, input tokens: 2)"
    )
    assert (
        "no target is closer than the floor to both outputs"
        in (sealed_verdict(one("layer-by-layer", HALF, [[[1, 0]], [[0, 0]]], "1/4"))[1])
    )


def random_case(seed: int, relation: str, norm: str) -> Json:
    rng = np.random.default_rng(seed)
    maker = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k", "W_v", "W_o", "b_q", "W_1", "W_2"), 0.3))
    d, causal = int(rng.integers(1, 4)), relation == "layer-by-layer" or bool(seed % 2)
    layers = [maker.layer(d, [1, 2][: 1 + seed % 2], seed % 3, causal) for _ in range(1 + seed % 2)]
    m_p, m = seed % 3, 1 + seed % 2
    E = maker.weights(d, m_p + m, "E") if seed % 3 == 1 else None
    stack = depth.stack(layers, m_p, m, "1/2", "2/3", norm, E)
    net = oracle.Stack.read(stack)
    plus, minus = oracle.products(net.constants("joint"))[0], oracle.products(net.constants("input"))[1]
    factor = max(depth.dyadic((2 - plus if relation == "small-product" else minus) * 0.97 - 0.01, 20), Fraction(1, 99))
    inputs = [maker.tokens(d, m, 2 / 3) for _ in range(2)]
    apart = oracle.size_of(np.array(inputs[0], float) - np.array(inputs[1], float), norm)
    return depth.kept(relation, stack, factor, inputs, depth.dyadic(float(factor) * apart * 0.499, 20), bool(seed % 2))


@pytest.mark.parametrize("relation", ["small-product", "layer-by-layer"])
@pytest.mark.parametrize("norm", ["max", "frobenius"])
def test_random(relation: str, norm: str) -> None:
    verdicts = []
    for seed in range(20):
        value = random_case(seed, relation, norm)
        verdict, text = sealed_verdict(value)
        assert verdict in ("true", "false"), text
        assert verdict == "false" or oracle.holds(value)
        verdicts.append(verdict)
    assert verdicts.count("true") >= 5


@pytest.mark.parametrize(("relation", "seed"), [("small-product", 0), ("layer-by-layer", 1), ("layer-by-layer", 2)])
def test_mutations(relation: str, seed: int) -> None:
    value = random_case(seed, relation, "frobenius" if seed else "max")
    assert sealed_verdict(value)[0] == "true"
    check_mutations(value)
