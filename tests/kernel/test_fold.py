"""Claim prompted-injectivity, relation fold: attention alone, two inputs with one output."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import box_tree
import depth_oracle as oracle
import kernel_certificates as make
import mpmath
import pytest
from depth_mutations import check_mutations
from kernel_certificates import changed
from prompt_law_makers import sealed_verdict

Json = Any
MIDDLE = {"split": 0, "below": {"split": 1, "below": "leaf", "above": "leaf"}, "above": "leaf"}


def short(x: Any, bits: int = 100) -> Fraction:
    return Fraction(int(mpmath.floor(x * 2**bits + mpmath.mpf(1) / 2)), 2**bits)


def layer(W_q: Fraction, v: Fraction) -> Json:
    return make.layer([make.head(1, W_q=[[W_q]], W_v=[[v]])], make.mlp(1))


def many(x: Fraction) -> Any:
    return mpmath.mpf(x.numerator) / x.denominator


@cache
def parts(epsilon: Fraction = Fraction(1, 2**8), beta: int = 4) -> tuple[Any, ...]:
    """Tokens p = x + 1 and x, where the weight s of p in the eyes of x has t = log(s/(1 − s)) = βx with (1 − s)t = −1:
    the output at x does not depend on p there. Its derivative by x is v (1 + s(1 − s)β), chosen as −(1 − ε)."""
    with mpmath.workdps(60):
        t = mpmath.findroot(lambda t: t / (1 + mpmath.exp(t)) + 1, -1.3)
        s = 1 / (1 + mpmath.exp(-t))
        x, p = short(t / beta), short(1 + t / beta)
        first = layer(Fraction(beta), short(-(1 - many(epsilon)) / (1 + s * (1 - s) * beta)))
        step = mpmath.mpf(10) ** -25
        low, high = (oracle.fold_layer(first, many(p), many(x) + sign * step) for sign in (-1, 1))
        across, own = ((b - a) / (2 * step) for a, b in zip(low, high, strict=True))
        second = layer(Fraction(0), short(-2 * own / (own + across)))
        center = [short(z) for z in oracle.fold_layer(first, many(p), many(x))]
    return first, second, p, x, center, epsilon / 2**9


def fold(**changes: Json) -> Json:
    first, second, p, x, center, h = parts()
    third, later = abs(Fraction(oracle_value(second)) / 1), changes.get("later", 4 * h)
    constants = [Fraction(1) - Fraction(1, 1000), third + Fraction(1, 10**6)]
    boxes = [
        {
            "center": [make.scalar(p), make.scalar(x)],
            "half_width": make.scalar(h),
            "constant": make.scalar(changes.get("first", constants[0])),
            "tree": MIDDLE,
        },
        {
            "center": [make.scalar(c) for c in center],
            "half_width": make.scalar(later),
            "constant": make.scalar(constants[1]),
            "tree": "leaf",
        },
    ]
    product = (1 + constants[0]) * (1 + constants[1])
    inputs = changes.get("x", [x - h, x, x + h])
    instance = {
        "layers": [first, second],
        "p": make.scalar(changes.get("p", p)),
        "x": [make.scalar(t) for t in inputs],
        "product": make.scalar(changes.get("product", product)),
    }
    witness = {"boxes": boxes, "precision": changes.get("precision", 160)}
    return make.certificate("prompted-injectivity", "fold", instance, witness, evidence="enclosed")


def oracle_value(layer_: Json) -> Fraction:
    W_v = layer_["heads"][0]["W_v"]
    return Fraction(oracle.number(W_v["num"][0][0]), oracle.number(W_v["den"]))


def test_true() -> None:
    value = fold()
    verdict, text = sealed_verdict(value)
    assert verdict == "true", text
    assert oracle.holds(value)
    assert text == (
        "prompted-injectivity: two different inputs between the stated ones have one output, though all tokens in the "
        "boxes are told apart, with a product of 1 + constants of at most the stated number (layers: 2, d = 1, "
        "parts: 4)"
    )


def test_two_inputs_have_one_output() -> None:
    """Bisection between x_1 and x_2 for the output at a point between x_2 and x_3."""
    first, second, p, x, _, h = parts()

    def output(t: Any) -> Any:
        return oracle.fold_layer(second, *oracle.fold_layer(first, many(p), t))[1]

    with mpmath.workdps(60):
        ends = [output(many(x) + k * many(h)) for k in (-1, 0, 1)]
        sign = 1 if ends[1] > ends[0] else -1
        aim = many(x) + many(h) / 2
        if sign * (output(aim) - ends[0]) < 0:
            aim = many(x) + many(h) / 64
        low, high = many(x) - many(h), many(x)
        for _ in range(150):
            middle = (low + high) / 2
            low, high = (middle, high) if sign * (output(middle) - output(aim)) < 0 else (low, middle)
        assert abs(output(low) - output(aim)) < mpmath.mpf(10) ** -40
        assert aim - low > many(h) / 100


@pytest.mark.parametrize("down", [False, True])
def test_mirrored(down: bool) -> None:
    """All tokens times −1, W_q as it is: the same scores, outputs with the other sign."""
    value = fold()
    if down:
        for path in (("instance", "p"), *((("witness", "boxes", k, "center", i)) for k in (0, 1) for i in (0, 1))):
            value = changed(value, (*path, "num"), lambda n: make.integer(-oracle.number(n)))
        value["instance"]["x"] = [
            {**t, "num": make.integer(-oracle.number(t["num"]))} for t in value["instance"]["x"][::-1]
        ]
    assert sealed_verdict(value)[0] == "true"


def test_product_at_the_boundary() -> None:
    value = fold()
    least = Fraction(
        oracle.number(value["instance"]["product"]["num"]), oracle.number(value["instance"]["product"]["den"])
    )
    assert sealed_verdict(fold(product=least - Fraction(1, 2**300))) == (
        "false",
        "the product of the 1 + constants is above the stated",
    )
    assert float(least) < 2.3


def test_first_box_at_the_boundary() -> None:
    """The outer inputs are on its edge."""
    _, _, p, x, _, h = parts()
    tiny = Fraction(1, 2**200)
    inputs = "input {}: token {} is not in the first box"
    assert sealed_verdict(fold(x=[x - h - tiny, x, x + h])) == ("false", inputs.format(0, 1))
    assert sealed_verdict(fold(x=[x - h, x, x + h + tiny])) == ("false", inputs.format(2, 1))
    for sign in (-1, 1):
        assert sealed_verdict(fold(p=p + sign * (h + tiny))) == ("false", inputs.format(0, 0))


def test_next_box_at_the_boundary() -> None:
    """The image's distance from the center, by the kernel's own enclosure, plus (1 + constant) h."""
    h = parts()[-1]
    constant = 1 - Fraction(1, 1000)
    assert sealed_verdict(fold(later=(1 + constant) * h + Fraction(1, 2**90)))[0] == "true"
    why = "layer 0: the image of the box is not shown to be in the next one"
    assert sealed_verdict(fold(later=(1 + constant) * h)) == ("false", why)


def test_false() -> None:
    _, _, _, x, _, h = parts()
    order = "the inputs are not in order"
    for inputs in ([x - h, x - h, x], [x - h, x + h, x + h], [x + h, x, x - h], [x, x - h, x + h]):
        assert sealed_verdict(fold(x=inputs)) == ("false", order)
    turn = "the output at the middle input is not shown to be above both others, or below both"
    for inputs in ([x - h, x - h / 2, x - h / 3], [x + h / 3, x + h / 2, x + h]):
        assert sealed_verdict(fold(x=inputs)) == ("false", turn)
    assert sealed_verdict(fold(precision=30)) == ("false", turn)
    next_box = "layer 0: the image of the box is not shown to be in the next one"
    assert sealed_verdict(fold(precision=30, later=2 * h - h / 1000 + Fraction(1, 2**40))) == ("false", next_box)
    assert sealed_verdict(fold(first=1)) == ("false", "layer 0: the constant is not below 1")
    low = "layer 0, leaf 0: the norm of the derivative is not shown to be within the bound"
    assert sealed_verdict(fold(first="99/100")) == ("false", low)
    assert sealed_verdict(fold(first=-5)) == ("false", low)


LAYER = ("instance", "layers", 0)
NOT: dict[str, tuple[tuple[Json, ...], Json, str]] = {
    "no layer": (("instance", "layers"), [], "at least one layer"),
    "width": (("instance", "layers"), [make.layer(), make.layer()], "layers of width 1"),
    "mask": ((*LAYER, "causal"), True, "no causal mask"),
    "E": ((*LAYER, "E"), make.matrix([[1, 1]]), "without E"),
    "units": ((*LAYER, "mlp"), make.mlp(1, W_1=[[0]], W_2=[[0]], b_1=[0]), "an MLP without units and bias"),
    "bias": ((*LAYER, "mlp"), make.mlp(1, b_2=[1]), "an MLP without units and bias"),
    "two inputs": (("instance", "x"), lambda x: x[:2], "a list of length 3"),
    "a box": (("witness", "boxes"), lambda b: b[:1], "a list of length 2"),
    "center": (("witness", "boxes", 0, "center"), lambda c: c[:1], "a list of length 2"),
    "half width": (("witness", "boxes", 1, "half_width"), make.scalar(0), "a positive scalar"),
    "coordinate": (("witness", "boxes", 0, "tree", "split"), 2, "an integer from 0 to 1"),
    "precision": (("witness", "precision"), 5000, "an integer from 16 to 4096"),
    "evidence": (("evidence",), "exact", "evidence"),
}


@pytest.mark.parametrize("name", NOT)
def test_not_a_certificate(name: str) -> None:
    path, new, why = NOT[name]
    verdict, text = sealed_verdict(changed(fold(), path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


def test_two_heads() -> None:
    """The value of the second layer shared by two heads."""
    half = make.head(1, W_q=[[0]], W_v=[[oracle_value(parts()[1]) / 2]])
    value = changed(fold(), ("instance", "layers", 1, "heads"), [half, half])
    assert sealed_verdict(value)[0] == "true"


def test_all_trees_share_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_tree, "MAX_NODES", 5)
    assert sealed_verdict(fold())[0] == "over limits"
    monkeypatch.setattr(box_tree, "MAX_NODES", 6)
    assert sealed_verdict(fold())[0] == "true"


def test_mutations() -> None:
    check_mutations(fold())
