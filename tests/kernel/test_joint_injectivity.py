"""Claim joint-injectivity, relation injective: certificates that hold, and each condition violated in turn."""

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

Json = Any


def scalar_layer(v: Json, W_1: Json = None, W_2: Json = None, W_q: Json = 0, **others: Json) -> Json:
    """d = 1: uniform attention with the value v, unless W_q is given."""
    head = make.head(1, W_q=[[W_q]], W_v=[[v]])
    net = make.mlp(1) if W_1 is None else make.mlp(1, W_1=[[W_1]], W_2=[[W_2]], b_1=[0])
    return {**make.layer([head], net), **others}


def bounds(*layers: tuple[Json, Json, Json, Json]) -> Json:
    """Layer proofs of scalar layers: bounds of the four norms, with factors 0."""

    def proof(bound: Json) -> Json:
        zero = make.matrix([[0]])
        return {"bound": make.scalar(bound or 0), "factor": None if bound is None else zero}

    return {
        "layers": [
            {
                "heads": [{"bilinear": proof(alpha), "value": proof(v)}],
                "output": None,
                "W_1": proof(one),
                "W_2": proof(two),
            }
            for alpha, v, one, two in layers
        ]
    }


def certificate(stack: Json, witness: Json) -> Json:
    return make.certificate("joint-injectivity", "injective", {"stack": stack}, witness)


NEARLY = Fraction(2**30 - 1, 2**30)


def test_boundary() -> None:
    """a = 1 or b = 1 is refused, anything below is not."""
    stack = depth.stack([scalar_layer("1/2", "1/2", "1/2")])
    assert sealed_verdict(certificate(stack, bounds((None, NEARLY, 1, NEARLY))))[0] == "true"
    assert sealed_verdict(certificate(stack, bounds((None, 1, 1, NEARLY)))) == (
        "false",
        "layer 0: the constant of the attention is not shown to be below 1",
    )
    assert sealed_verdict(certificate(stack, bounds((None, NEARLY, 1, 1)))) == (
        "false",
        "layer 0: the constant of the MLP is not shown to be below 1",
    )
    none = bounds((None, NEARLY, None, None))
    assert sealed_verdict(certificate(stack, none))[1] == "layer 0, W_1: not zero, and no factor"


def test_sentence() -> None:
    stack = depth.stack([scalar_layer("1/2"), scalar_layer("1/2")], norm="frobenius")
    large = bounds((None, NEARLY, None, None), (None, NEARLY, None, None))
    assert sealed_verdict(certificate(stack, large)) == (
        "true",
        "joint-injectivity: the map from all tokens to all outputs is injective on the region, with an inverse that is "
        "Lipschitz continuous (layers: 2, d = 1, norm: frobenius, prompt tokens: 1, input tokens: 1)",
    )
    causal = depth.stack([scalar_layer("1/4", causal=True)], norm="frobenius")
    verdict, text = sealed_verdict(certificate(causal, bounds((None, "1/3", None, None))))
    assert verdict == "true"
    assert "one head, d = 1, causal, norm" in text


def test_without_hidden_units_the_mlp_does_not_count() -> None:
    stack = depth.stack([scalar_layer("1/2")])
    value = certificate(stack, bounds((None, NEARLY, None, None)))
    for name in ("W_1", "W_2"):
        value = changed(value, ("witness", "layers", 0, name, "bound"), make.scalar(100))
    assert sealed_verdict(value)[0] == "true"
    value = changed(value, ("witness", "layers", 0, "W_1", "bound"), make.scalar(-1))
    assert sealed_verdict(value) == ("false", "layer 0, W_1: the bound is negative")


def test_radii_of_later_layers() -> None:
    """α = 1/8: radius 1 after E, then (1 + 1/4)(1 + 1/5), so the second slope is 1 + 2 α R²."""
    first, second = Fraction(1, 5), Fraction(1, 4)
    layer = scalar_layer("3/16", "7/16", "7/16", W_q="1/9")
    stack = depth.stack([layer, layer], 2, 1, "3/4", "3/4", E=[["1/4", 0, "-1/4"]])
    R = (1 + first) * (1 + second)
    assert Fraction(3, 2) == R
    v = 1 / (1 + 2 * Fraction(1, 8) * R**2)
    less = v * (1 - Fraction(1, 2**40))
    both = ("1/8", first, "1/2", "1/2")
    assert sealed_verdict(certificate(stack, bounds(both, ("1/8", less, "1/2", "1/2"))))[0] == "true"
    assert sealed_verdict(certificate(stack, bounds(both, ("1/8", v, "1/2", "1/2")))) == (
        "false",
        "layer 1: the constant of the attention is not shown to be below 1",
    )
    wider = changed(stack, ("layers", 0, "E"), make.matrix([["1/4", "-1/3", "1/4"]]))
    assert sealed_verdict(certificate(wider, bounds(both, ("1/8", less, "1/2", "1/2"))))[0] == "false"
    # the shift of the MLP
    shifted = changed(stack, ("layers", 0, "mlp", "b_2"), make.vector(["1/1000000"]))
    assert sealed_verdict(certificate(shifted, bounds(both, ("1/8", less, "1/2", "1/2"))))[0] == "false"


def random_case(seed: int, norm: str) -> Json:
    rng = np.random.default_rng(seed)
    maker = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k", "W_v", "W_o", "b_q", "W_1", "W_2"), 0.25))
    d, count = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    layers = [maker.layer(d, [1, 2][: 1 + seed % 2], seed % 3, causal=bool(seed // 2 % 2)) for _ in range(count)]
    m_p, m = seed % 3, 1 + seed % 2
    E = maker.weights(d, m_p + m, "E") if seed % 3 == 1 else None
    return depth.injective(depth.stack(layers, m_p, m, "1/2", "2/3", norm, E), output=bool(seed % 2))


@pytest.mark.parametrize("norm", ["max", "frobenius"])
def test_random(norm: str) -> None:
    verdicts = []
    for seed in range(25):
        value = random_case(seed, norm)
        verdict, text = sealed_verdict(value)
        assert verdict in ("true", "false"), text
        expected = oracle.contracts(oracle.Stack.read(value["instance"]["stack"]).constants("joint"))
        assert verdict == "false" or (expected and oracle.holds(value))
        verdicts.append(verdict)
    assert verdicts.count("true") >= 5


@pytest.mark.parametrize("seed", [0, 5])
def test_mutations(seed: int) -> None:
    value = random_case(seed, "max")
    assert sealed_verdict(value)[0] == "true"
    check_mutations(value)


LAYERS = ("instance", "stack", "layers")
NOT: dict[str, tuple[tuple[Json, ...], Json, str]] = {
    "widths": (
        LAYERS,
        lambda l: [l[0], {**l[1], "heads": [make.head()], "mlp": make.mlp()}],
        "layers of one width, all with a causal mask or none",
    ),
    "masks": ((*LAYERS, 1, "causal"), True, "layers of one width, all with a causal mask or none"),
    "E of the second layer": ((*LAYERS, 1, "E"), make.matrix([[1, 2]]), "layers[1]: expected no E"),
    "proofs": (("witness", "layers"), lambda l: l[:1], "a list of length 2"),
    "relation": (("relation",), "bound", "relation"),
    "evidence": (("evidence",), "enclosed", "evidence"),
    "W_1 of the proof": (("witness", "layers", 0, "W_1"), None, "W_1: expected an object"),
    "norm proof": (("witness", "layers", 0, "W_1", "bound"), None, "bound: expected an object"),
    "factor of no size": (
        ("witness", "layers", 0, "W_1", "factor"),
        make.matrix([[1]]),
        "W_1.factor.num: expected a list of length 0",
    ),
}


@pytest.mark.parametrize("name", NOT)
def test_not_a_certificate(name: str) -> None:
    path, new, why = NOT[name]
    stack = depth.stack([scalar_layer("1/2"), scalar_layer("1/2")])
    value = certificate(stack, bounds((None, NEARLY, None, None), (None, NEARLY, None, None)))
    assert sealed_verdict(value)[0] == "true"
    verdict, text = sealed_verdict(changed(value, path, new))
    assert (verdict, why in text) == ("not a certificate", True), text
