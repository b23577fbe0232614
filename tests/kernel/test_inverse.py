"""Claim joint-injectivity, relation inverse: tokens that are near the preimage of an output."""

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
TINY = Fraction(1, 2**200)
HALF = Fraction(1, 2)


def by_hand(
    error: Json,
    Z: Json = ((0, 1),),
    Y: Json = (("1/8", "5/4"),),
    norm: str = "max",
    precision: int = 64,
    **changes: Json,
) -> Json:
    """d = 1, uniform attention with v = 1/4, stated as 1/2, and an MLP −ReLU(x)/8, stated as 1/4: tokens 0, 1 have the
    mean 1/2, so they become 1/8 and 9/8, and then 7/64 and 63/64."""
    layer = scalar_layer("1/4", "1/2", "-1/4")
    stack = depth.stack([layer], 1, 1, changes.get("R", 2), 2, norm, changes.get("E"))
    value = depth.inverse(stack, Y, Z, error, precision)
    value["witness"] = {**bounds((None, changes.get("v", "1/2"), "3/4", "1/3")), "precision": precision}
    return value


def test_boundary() -> None:
    """Off by 1/64 and 1/8: error ≥ max / ((1/2)(3/4)), and by the root of the sum of squares."""
    Y = [[Fraction(7, 64) + Fraction(1, 64), Fraction(63, 64) - Fraction(1, 8)]]
    least = Fraction(1, 8) / (HALF * Fraction(3, 4))
    assert sealed_verdict(by_hand(least, Y=Y))[0] == "true"
    assert sealed_verdict(by_hand(least - TINY, Y=Y)) == ("false", "T(Z) is not shown to be so close to Y")
    Y = [[Fraction(7, 64) + Fraction(3, 64), Fraction(63, 64) - Fraction(4, 64)]]
    least = Fraction(5, 64) / (HALF * Fraction(3, 4))
    assert sealed_verdict(by_hand(least, Y=Y, norm="frobenius"))[0] == "true"
    assert sealed_verdict(by_hand(least - TINY, Y=Y, norm="frobenius"))[0] == "false"
    Y = [[Fraction(7, 64), Fraction(63, 64)]]
    assert sealed_verdict(by_hand(0, Y=Y))[0] == "true"
    assert sealed_verdict(by_hand(-1, Y=Y)) == ("false", "the error is negative")


def test_sentence() -> None:
    assert sealed_verdict(by_hand(1))[1] == (
        "joint-injectivity: whatever tokens of the region are mapped to Y are within the stated distance of Z, by a "
        "map that is injective there (one head, d = 1, norm: max, prompt tokens: 1, input tokens: 1)"
    )


def test_conditions() -> None:
    assert sealed_verdict(by_hand(9, v=1))[1] == "layer 0: the constant of the attention is not shown to be below 1"
    assert sealed_verdict(by_hand(9, Z=[[0, 2 + TINY]])) == ("false", "Z, input: token 0 is not within the radius")
    assert sealed_verdict(by_hand(9, Z=[["-1/9", 1]], R="1/10")) == (
        "false",
        "Z, prompt: token 0 is not within the radius",
    )
    assert sealed_verdict(by_hand(9, Z=[[0, 2]]))[0] == "true"
    # the embedding is added in front: Z + E is as above
    moved = by_hand(0, Z=[[1, 0]], Y=[["7/64", "63/64"]], E=[[-1, 1]])
    assert sealed_verdict(moved)[0] == "true"
    assert sealed_verdict(changed(moved, ("instance", "stack", "layers", 0, "E"), None))[0] == "false"


def random_case(seed: int, norm: str, size: float = 1e-6) -> Json:
    """Y is the output, a little off; so is Z."""
    rng = np.random.default_rng(seed)
    maker = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k", "W_v", "W_o", "b_q", "W_1", "W_2"), 0.25))
    d, count = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    layers = [maker.layer(d, [1, 2][: 1 + seed % 2], seed % 3, causal=bool(seed // 2 % 2)) for _ in range(count)]
    m_p, m = seed % 3, 1 + seed % 2
    E = maker.weights(d, m_p + m, "E") if seed % 3 == 1 else None
    stack = depth.stack(layers, m_p, m, "1/2", "2/3", norm, E)
    net = oracle.Stack.read(stack)
    Z = maker.tokens(d, m_p + m, 0.5)
    Y = net(np.array(Z, float) + size * rng.standard_normal((d, m_p + m)))
    off = oracle.size_of(net(np.array(Z, float)) - Y, norm)
    error = depth.dyadic(off / max(oracle.products(net.constants("joint"))[1], 1e-3) * 1.3 + 1e-9)
    return depth.inverse(
        stack, [[depth.dyadic(x, 50) for x in row] for row in Y.tolist()], Z, error, output=seed % 2 > 0
    )


@pytest.mark.parametrize("norm", ["max", "frobenius"])
def test_random(norm: str) -> None:
    verdicts = []
    for seed in range(25):
        value = random_case(seed, norm)
        verdict, text = sealed_verdict(value)
        assert verdict in ("true", "false"), text
        if verdict == "true":
            assert oracle.holds(value)
            assert sealed_verdict(changed(value, ("instance", "error", "num"), lambda n: n // 2))[0] == "false"
        verdicts.append(verdict)
    assert verdicts.count("true") >= 5


def test_the_precision_counts() -> None:
    """At 16 bits an error of 2^-30 is not shown; nor is anything, where scores are large and wide."""
    layer = scalar_layer("1/4", W_q="1/9")
    stack = depth.stack([layer], 1, 1, "1/3", "1/3")
    third = Fraction(1, 3)
    Y = third + Fraction(1, 4) * third  # both tokens are 1/3
    for precision, expected in ((16, "false"), (36, "true")):
        value = depth.inverse(stack, [[Y, Y]], [[third, third]], Fraction(1, 2**30), precision)
        verdict, text = sealed_verdict(value)
        assert verdict == expected, text
    large = scalar_layer(0, W_q=10**6)
    stack = depth.stack([large], 1, 1, 1000, 1000)
    value = depth.inverse(stack, [[0, 0]], [[1, "1/3"]], 10**6, 16)
    assert sealed_verdict(value)[1] == "the precision is too low for the sizes of the scores"


@pytest.mark.parametrize(
    ("path", "new", "why"),
    [
        (("instance", "Y"), make.matrix([[1]]), "Y.num"),
        (("instance", "Z"), make.matrix([[1, 1], [1, 1]]), "Z.num"),
        (("witness", "precision"), 8, "an integer from 16 to 4096"),
        (("witness", "layers"), [], "a list of length 1"),
        (("evidence",), "exact", "evidence"),
    ],
)
def test_not_a_certificate(path: Any, new: Json, why: str) -> None:
    verdict, text = sealed_verdict(changed(by_hand(1), path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


@pytest.mark.parametrize(("seed", "norm"), [(0, "max"), (5, "frobenius")])
def test_mutations(seed: int, norm: str) -> None:
    value = random_case(seed, norm)
    assert sealed_verdict(value)[0] == "true"
    check_mutations(value)
