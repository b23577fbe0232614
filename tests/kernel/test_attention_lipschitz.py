"""Claim attention-lipschitz, relation bound: certificates that hold, and each condition violated in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import depth_makers as depth
import depth_oracle as oracle
import kernel_certificates as make
import limits
import numpy as np
import pytest
from depth_mutations import check_mutations
from kernel_certificates import changed
from prompt_law_makers import sealed_verdict

Json = Any
WITNESS = ("witness", "layer")


def simple(
    bound: Json, kind: str = "joint", m_p: int = 1, norm: str = "max", b_q: Json = (0, 0), **proof: Json
) -> Json:
    """α = 2, v = 1/2 with bounds that are as close as one likes: radii 1 and 1/2."""
    head = make.head(W_q=[[2, 0], [0, 1]], W_v=[["1/2", 0], [0, 0]], b_q=list(b_q))
    stack = depth.stack([make.layer([head])], m_p, 1, 1, "1/2", norm)
    heads = [{"bilinear": exact_norm([[2, 0], [0, 1]], 2), "value": exact_norm([["1/2", 0], [0, 0]], "1/2"), **proof}]
    instance = {"stack": stack, "kind": kind, "bound": make.scalar(bound)}
    witness = {"layer": {"heads": heads, "output": None, "W_1": None, "W_2": None}}
    return make.certificate("attention-lipschitz", "bound", instance, witness)


TINY = Fraction(1, 2**40)


def exact_norm(W: Json, bound: Json, slack: Fraction = TINY) -> Json:
    """A norm proof of a diagonal matrix by a diagonal factor that is a little small; slack is added to the bound."""
    sigma = Fraction(bound) + slack
    size = len(W)
    factor = [[Fraction(0)] * size for _ in range(size)]
    for c in range(size):
        rest = sigma**2 - Fraction(W[c][c]) ** 2
        factor[c][c] = depth.dyadic(float(rest) ** 0.5 * (1 - 1e-6), 60)
    return {"bound": make.scalar(sigma), "factor": make.matrix(factor)}


def constant(alpha: Fraction, v: Fraction, R: Fraction, rho: Fraction) -> Fraction:
    return v * (1 + alpha * R**2 + R * alpha * rho)


def test_true_at_the_boundary() -> None:
    """The bound is what follows from the norms' bounds, exactly; anything below is refused."""
    alpha, v = 2 + TINY, Fraction(1, 2) + TINY
    one, half = Fraction(1), Fraction(1, 2)
    cases = [
        ({}, constant(alpha, v, one, one)),
        ({"kind": "input"}, constant(alpha, v, one, half)),
        ({"m_p": 0}, constant(alpha, v, half, half)),
        ({"b_q": (3, 4)}, constant(alpha, v, one, one) + 5 * v),
    ]
    for arguments, a in cases:
        verdict, text = sealed_verdict(simple(a, **arguments))
        assert verdict == "true", text
        assert sealed_verdict(simple(a - Fraction(1, 2**300), **arguments)) == (
            "false",
            "the bound is not shown: it is too small",
        )


def test_sentence() -> None:
    assert sealed_verdict(simple(3))[1] == (
        "attention-lipschitz: on the region the attention of this layer has a Lipschitz constant of at most the "
        "stated bound (one head, d = 2, norm: max, prompt tokens: 1, input tokens: 1, kind: joint)"
    )


def test_rounding_never_helps() -> None:
    """Roots of 2 and long numbers: the bound may be off by a relative 2^-96, on the safe side only."""
    value = simple(1, norm="frobenius")
    net = oracle.Stack.read(value["instance"]["stack"])
    ((a, _),) = net.constants("joint")
    for kind in ("joint", "input"):
        ((a, _),) = net.constants(kind)
        assert sealed_verdict(simple(depth.dyadic(a * (1 - 1e-9)), kind, norm="frobenius"))[0] == "false"
        assert sealed_verdict(simple(depth.dyadic(a * (1 + 1e-9)), kind, norm="frobenius"))[0] == "true"


def diagonal(n: int, bound: Json, factor: Json) -> Json:
    """α as stated: a norm proof of the identity times n."""
    return {"bound": make.scalar(bound), "factor": factor and make.matrix(factor)}


FALSE: dict[str, tuple[Json, str]] = {
    "bound of the norm": (
        simple(9, bilinear=diagonal(2, 2, [[0, 0], [0, 1]])),
        "layer 0, head 0, bilinear: the norm is not shown",
    ),
    "negative bound of the norm": (
        simple(9, bilinear=diagonal(2, -3, [[0, 0], [0, 0]])),
        "layer 0, head 0, bilinear: the bound is not positive",
    ),
    "bound of the norm is 0": (
        simple(9, value=diagonal(2, 0, [[0, 0], [0, 0]])),
        "layer 0, head 0, value: the bound is not positive",
    ),
    "factor too large": (
        simple(9, bilinear=diagonal(2, 3, [["9/4", 0], [0, 0]])),
        "layer 0, head 0, bilinear: the norm is not shown",
    ),
    "no factor": (simple(9, value=diagonal(2, 3, None)), "layer 0, head 0, value: not zero, and no factor"),
    "bound below": (simple(2), "the bound is not shown: it is too small"),
    "negative": (simple(-3), "the bound is not shown: it is too small"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str) -> None:
    value, why = FALSE[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, why in text) == ("false", True), text
    assert sealed_verdict(simple(9, bilinear=diagonal(2, 3, [["2", 0], [0, 0]])))[0] == "true"


def test_zero_matrices() -> None:
    """No factor is needed, and the bound may be 0; not less."""
    head = make.head(W_q=[[0, 0], [0, 0]], W_v=[[0, 0], [0, 0]])
    value = depth.bound(depth.stack([make.layer([head])]), bound_=Fraction(0), output=True)
    assert value["witness"]["layer"]["heads"][0]["value"]["factor"] is None
    assert sealed_verdict(value)[0] == "true"
    lower = changed(value, (*WITNESS, "heads", 0, "bilinear", "bound"), make.scalar("-1/9"))
    assert sealed_verdict(lower) == ("false", "layer 0, head 0, bilinear: the bound is negative")
    uniform = make.head(W_q=[[0, 0], [0, 0]])
    for R in (0, "1/3"):
        stack = depth.stack([make.layer([uniform])], R_P=R, R_X=R)
        assert sealed_verdict(depth.bound(stack, bound_=Fraction(10002, 10000)))[0] == "true"
        assert sealed_verdict(depth.bound(stack, bound_=Fraction(1)))[0] == "false"


def random_case(seed: int, output: bool, norm: str = "max", kind: str = "joint") -> Json:
    rng = np.random.default_rng(seed)
    maker = depth.Random(rng)
    layer = maker.layer(2, [1, 2][: 1 + seed % 2], 1, causal=bool(seed // 2 % 2))
    E = maker.weights(2, 3, "E") if seed % 3 else None
    return depth.bound(depth.stack([layer], 1, 2, "1/2", 1, norm, E), kind, output=output)


@pytest.mark.parametrize("seed", range(12))
def test_random(seed: int, judge: Callable[[bytes], tuple[str, str]]) -> None:
    for norm in ("max", "frobenius"):
        for kind in ("joint", "input"):
            value = random_case(seed, bool(seed % 2), norm, kind)
            verdict, text = judge(make.seal(value))
            assert verdict == "true", text
            assert oracle.holds(value)
            less = changed(value, ("instance", "bound", "num"), lambda n: n - n // 20 - 2**15)
            assert sealed_verdict(less)[0] == "false"


def test_the_joined_outputs_help() -> None:
    """Two heads with orthogonal ranges: √2 instead of 2."""
    ranges = [[[1], [0]], [[0], [1]]]
    heads = [make.head(W_q=[[0, 0]], W_k=[[1, 0]], W_v=[[0, 1]], W_o=W_o) for W_o in ranges]
    for norm in ("max", "frobenius"):
        stack = depth.stack([make.layer(heads)], norm=norm)
        bound = Fraction(3, 2)
        assert sealed_verdict(depth.bound(stack, bound_=bound, output=True))[0] == "true"
        assert sealed_verdict(depth.bound(stack, bound_=bound, output=False))[0] == "false"
        value = depth.bound(stack, bound_=bound, output=True)
        bad = changed(value, (*WITNESS, "output", "joined", "bound"), make.scalar(1))
        assert "layer 0, joined: the norm is not shown" in sealed_verdict(bad)[1]
        bad = changed(value, (*WITNESS, "output", "values", 1, "bound"), make.scalar("1/2"))
        assert "layer 0, head 1, W_v: the norm is not shown" in sealed_verdict(bad)[1]


@pytest.mark.parametrize("seed", range(3))
def test_mutations(seed: int) -> None:
    check_mutations(random_case(seed, seed > 0, kind="input" if seed == 1 else "joint"))


STACK = ("instance", "stack")
NOT: dict[str, tuple[tuple[Json, ...], Json, str]] = {
    "no layer": ((*STACK, "layers"), [], "at least one layer"),
    "two layers": ((*STACK, "layers"), lambda l: l * 2, "a stack of one layer, found 2"),
    "no heads": ((*STACK, "layers", 0, "heads"), [], "at least one head"),
    "a negative radius": ((*STACK, "input_radius"), make.scalar(-1), "a scalar that is not negative"),
    "a negative prompt radius": ((*STACK, "prompt_radius"), make.scalar("-1/9"), "a scalar that is not negative"),
    "no input": ((*STACK, "input_length"), 0, "an integer from 1 on"),
    "a negative number of tokens": ((*STACK, "prompt_length"), -1, "an integer from 0 on"),
    "E of another width": ((*STACK, "layers", 0, "E"), make.matrix([[1], [1]]), "as many columns as there are"),
    "E of another height": ((*STACK, "layers", 0, "E"), make.matrix([[1, 1]]), "layers[0].E.num"),
    "norm": ((*STACK, "norm"), "mean", '"max" or "frobenius"'),
    "kind": (("instance", "kind"), "prompt", '"joint" or "input"'),
    "a proof too many": ((*WITNESS, "heads"), lambda h: h * 2, "a list of length 1"),
    "no proof": ((*WITNESS, "heads"), [], "a list of length 1"),
    "factor of another size": (
        (*WITNESS, "heads", 0, "value", "factor"),
        make.matrix([[1]]),
        "factor.num: expected a list of length 2",
    ),
    "W_1": ((*WITNESS, "W_1"), {"bound": make.scalar(0), "factor": None}, "W_1: expected null"),
    "W_2": ((*WITNESS, "W_2"), {"bound": make.scalar(0), "factor": None}, "W_2: expected null"),
    "output": ((*WITNESS, "output"), {"joined": None}, "an object with fields"),
    "witness": (("witness", "more"), 1, "an object with fields"),
    "instance": (("instance", "more"), 1, "an object with fields"),
    "relation": (("relation",), "collapse", "relation"),
    "evidence": (("evidence",), "enclosed", "evidence"),
}


@pytest.mark.parametrize("name", NOT)
def test_not_a_certificate(name: str) -> None:
    path, new, why = NOT[name]
    verdict, text = sealed_verdict(changed(simple(9), path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


def test_hostile_numbers_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 2)
    huge = hex(1 << 200000)
    value = random_case(1, True, "frobenius")
    for path in (
        (*STACK, "input_radius", "num"),
        (*STACK, "input_radius", "den"),
        (*STACK, "prompt_length"),
        (*STACK, "layers", 0, "heads", 0, "W_q", "num", 0, 0),
        (*STACK, "layers", 0, "heads", 0, "b_q", "den"),
        (*STACK, "layers", 0, "E", "num", 0, 1),
        (*WITNESS, "heads", 0, "bilinear", "bound", "num"),
        (*WITNESS, "heads", 0, "bilinear", "factor", "num", 0, 0),
        ("instance", "bound", "den"),
    ):
        start = time.monotonic()
        verdict, text = sealed_verdict(changed(value, path, huge))
        assert "the kernel failed" not in text
        assert verdict != "true" or path[-1] == "den" or "bilinear" in path, path
        assert time.monotonic() - start < 5, path
    monkeypatch.undo()
    limits.DEADLINE.start()
