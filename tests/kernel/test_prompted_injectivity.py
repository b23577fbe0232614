"""The kernel on collapses: invertible layers of uniform attention that forget their input."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import kernel_certificates as make
import pytest
from prompt_law_makers import sealed_verdict

Json = dict[str, Any]


def product(x: tuple[Fraction, Fraction], y: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def layer(V: Any, **changed: Any) -> Json:
    d = len(V)
    head = {
        "W_q": make.matrix(make.zeros(d, d)),
        "W_k": make.matrix(make.identity(d)),
        "W_v": make.matrix(V),
        "W_o": make.matrix(make.identity(d)),
        "b_q": make.vector([0] * d),
        **{name: value for name, value in changed.items() if name in ("W_q", "b_q")},
    }
    rest = {name: value for name, value in changed.items() if name not in ("W_q", "b_q")}
    return {"heads": [head], "mlp": make.mlp(d), "causal": False, "E": None, **rest}


def four() -> Json:
    """z = 1 + 3i/4 three times, then −1/z³; the factor of 1 − |z − 1|² is a multiple of the identity below its root."""
    z = (Fraction(1), Fraction(3, 4))
    cube = product(z, product(z, z))
    size = cube[0] ** 2 + cube[1] ** 2
    last = (-cube[0] / size, cube[1] / size)
    layers, factors = [], []
    for a, b in (z, z, z, last):
        layers.append(layer([[a - 1, -b], [b, a - 1]]))
        factors.append(make.matrix([[Fraction(1, 8), 0], [0, Fraction(1, 8)]]))
    return certificate(layers, 1, factors)


def one_dimensional(length: int, steps: int) -> Json:
    """d = 1: no product of numbers between 0 and 2 is negative; so this one is false."""
    layers = [layer([[Fraction(-1, 2)]]) for _ in range(steps)]
    return certificate(layers, length, [make.matrix([[Fraction(1, 2)]])] * steps)


def certificate(layers: Any, length: Any, factors: Any) -> Json:
    instance = {"layers": layers, "prompt_length": length}
    return make.certificate("prompted-injectivity", "collapse", instance, {"factors": factors})


def changed(**places: Any) -> Json:
    value = copy.deepcopy(four())
    for name, entry in places.items():
        value["instance" if name != "factors" else "witness"][name] = entry
    return value


def test_true() -> None:
    verdict, text = sealed_verdict(four())
    assert verdict == "true"
    assert "whatever the input" in text


FALSE = {
    "two prompt tokens": (changed(prompt_length=2), "the product of the layers is not -2 in column 0"),
    "a layer less": (
        certificate(four()["instance"]["layers"][:3], 1, four()["witness"]["factors"][:3]),
        "the product of the layers is not -1",
    ),
    "a factor of zero where the norm is close to 1": (
        changed(factors=[*four()["witness"]["factors"][:3], make.matrix([[1, 0], [0, 1]])]),
        "layer 3: the norm of V is not shown",
    ),
    "a norm above 1": (
        certificate([layer([[-2]])], 1, [make.matrix([[0]])]),
        "layer 0: the norm of V is not shown to be below 1",
    ),
    "one dimension": (one_dimensional(1, 3), "the product of the layers is not -1"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str) -> None:
    value, why = FALSE[name]
    verdict, text = sealed_verdict(value)
    assert verdict == "false"
    assert why in text


def test_any_weight_changed_is_refused() -> None:
    for k in range(4):
        for i in range(2):
            for j in range(2):
                value = four()
                value["instance"]["layers"][k]["heads"][0]["W_v"]["num"][i][j] += 1
                assert sealed_verdict(value)[0] == "false"


BAD = {
    "not uniform": (layer([[0]], W_q=make.matrix([[1]])), "uniform attention"),
    "query bias": (layer([[0]], b_q=make.vector([1])), "uniform attention"),
    "mask": (layer([[0]], causal=True), "no causal mask"),
    "embedding": (layer([[0]], E=make.matrix([[1, 2]])), "without E"),
    "units": (layer([[0]], mlp=make.mlp(1, W_1=[[1]], W_2=[[0]], b_1=[0])), "without units"),
    "bias": (layer([[0]], mlp=make.mlp(1, b_2=[1])), "without units and bias"),
    "two heads": (layer([[0]], heads=layer([[0]])["heads"] * 2), "exactly one head"),
}


@pytest.mark.parametrize("name", BAD)
def test_not_a_certificate(name: str) -> None:
    bad, why = BAD[name]
    verdict, text = sealed_verdict(certificate([bad], 1, [make.matrix([[0]])]))
    assert verdict == "not a certificate"
    assert why in text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (certificate([], 1, []), "at least one layer"),
        (changed(prompt_length=0), "an integer from 1 on"),
        (certificate([layer([[0]]), layer([[0, 0], [0, 0]])], 1, [make.matrix([[0]])] * 2), "layers of one width"),
        (changed(factors=[]), "factors"),
    ],
)
def test_malformed(value: Json, why: str) -> None:
    verdict, text = sealed_verdict(value)
    assert verdict == "not a certificate"
    assert why in text
