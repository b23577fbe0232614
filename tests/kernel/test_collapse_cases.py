"""Claim prompted-injectivity, relations same-output and subspace: layers that are injective, inputs with one output."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import attention
import depth_makers as depth
import depth_oracle as oracle
import kernel_certificates as make
import numpy as np
import pytest
import reading
from depth_mutations import check_mutations
from kernel_certificates import changed
from kernel_oracle import times, transposed
from prompt_law_makers import sealed_verdict
from same_output import SameOutput
from stack import read_stack
from test_prompted_injectivity import four

Json = Any


# --- same-output ---------------------------------------------------------------------------------------------------


def same(stack: Json, P: Json, inputs: Json, product_: Json, output: bool = False) -> Json:
    instance = {
        "stack": stack,
        "P": make.matrix(P) if P[0] else depth.columns(len(P)),
        "inputs": [make.matrix(X) for X in inputs],
        "product": make.scalar(product_),
    }
    return make.certificate("prompted-injectivity", "same-output", instance, depth.proofs(stack, output))


def turned(E: Json = None) -> Json:
    """The four layers in the plane, (7/4)³ · 1.9496; five inputs."""
    stack = depth.stack(four()["instance"]["layers"], 1, 1, 5, 3, E=E)
    inputs = [[[x], [y]] for x, y in ((0, 0), (1, 2), ("-1/3", 1), (0, 1), (-2, -2))]
    return same(stack, [[3], [4]], inputs, 11)


def forgotten(inputs: Json = None, v: Json = "-10/21") -> Json:
    """d = 2: layer 1 tells half of y to the prompt's token, its MLP leaves 1/16 of it at the input's, layer 2 takes
    that away. The second coordinates ±64 say which token it is."""

    def uniform(value: Json, mlp: Json) -> Json:
        head = make.head(W_q=make.zeros(2, 2), W_v=[[value, 0], [0, 0]])
        return make.layer([head], mlp)

    mlp = make.mlp(W_1=[[1, "1/16"]], W_2=[["-15/16"], [0]], b_1=[0])
    stack = depth.stack([uniform("1/2", mlp), uniform(v, make.mlp())], 1, 1, 65, 65)
    inputs = inputs or [[[y], [64]] for y in (-1, "-1/3", 0, "2/7", 1)]
    return same(stack, [["1/2"], [-64]], inputs, "9/2")


@pytest.mark.parametrize("value", [turned(), turned([[1, "1/2"], [0, -1]]), forgotten()], ids=["turned", "E", "MLP"])
def test_same_output(value: Json) -> None:
    verdict, text = sealed_verdict(value)
    assert verdict == "true", text
    assert oracle.holds(value)


def test_sentence() -> None:
    assert sealed_verdict(forgotten())[1] == (
        "prompted-injectivity: layers that tell all tokens of the region apart, with a product of 1 + constants of at "
        "most the stated number, give one output to 5 different inputs (layers: 2, d = 2, norm: max, prompt tokens: 1, "
        "input tokens: 1)"
    )


def test_product_at_the_boundary() -> None:
    """Bounds 1/2, 0.94…, 1/2: the number that follows is accepted, less is not."""
    value = forgotten()
    (a, b), (c, _) = oracle.Stack.read(value["instance"]["stack"]).constants("joint")
    least = (1 + a) * (1 + b) * (1 + c)
    for factor, expected in ((1 + 1e-3, "true"), (1 - 1e-9, "false")):
        verdict, text = sealed_verdict(
            changed(value, ("instance", "product"), make.scalar(depth.dyadic(least * factor)))
        )
        assert verdict == expected
        assert expected == "true" or text == "the product of the 1 + constants is above the stated"


FALSE_SAME: dict[str, tuple[Json, str]] = {
    "two inputs are equal": (
        forgotten([[[1], [64]], [[0], [64]], [["1/2"], [64]], [[1], [64]]]),
        "inputs 0 and 3 are equal",
    ),
    "an input out of the region": (forgotten([[[1], [64]], [[12], [64]]]), "input 1: token 0 is not within the radius"),
    "an inactive unit": (forgotten([[[1], [64]], [[1], [-64]]]), "the outputs of inputs 0 and 1 are different"),
    "another coordinate": (forgotten([[[1], [64]], [[0], [64]], [[1], [63]]]), "the outputs of inputs 0 and 2 are"),
    "another value": (forgotten(v=Fraction(-10, 21) + Fraction(1, 10**30)), "the outputs of inputs 0 and 1 are"),
    "a constant above 1": (forgotten(v="-22/21"), "layer 1: the constant of the attention is not shown to be below 1"),
    "a prompt out of the region": (
        changed(forgotten(), ("instance", "P"), make.matrix([[12], [-64]])),
        "prompt: token 0 is not within the radius",
    ),
    "a mask": (
        changed(turned(), ("instance", "stack", "layers"), lambda ls: [{**l, "causal": True} for l in ls]),
        "the outputs of inputs 0 and 1 are different",
    ),
    "no prompt": (
        same(depth.stack(four()["instance"]["layers"], 0, 1, 5, 3), [[], []], [[[0], [0]], [[1], [0]]], 11),
        "the outputs of inputs 0 and 1 are different",
    ),
}


@pytest.mark.parametrize("name", FALSE_SAME)
def test_same_output_false(name: str) -> None:
    value, why = FALSE_SAME[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, why in text) == ("false", True), text


HEAD = ("instance", "stack", "layers", 1, "heads", 0)
NOT_SAME: dict[str, tuple[tuple[Json, ...], Json, str]] = {
    "norm": (("instance", "stack", "norm"), "frobenius", 'stack: expected the norm "max"'),
    "W_q": ((*HEAD, "W_q"), make.matrix([[0, 1], [0, 0]]), "W_q and b_q zero"),
    "b_q": ((*HEAD, "b_q"), make.vector([0, "1/9"]), "W_q and b_q zero"),
    "one input": (("instance", "inputs"), lambda i: i[:1], "at least two inputs"),
    "no input": (("instance", "inputs"), [], "at least two inputs"),
    "an input of other shape": (("instance", "inputs", 1), make.matrix([[1, 1], [1, 1]]), "inputs[1].num"),
    "P": (("instance", "P"), make.matrix([[1, 1], [1, 1]]), "P.num"),
    "evidence": (("evidence",), "enclosed", "evidence"),
}


@pytest.mark.parametrize("name", NOT_SAME)
def test_same_output_not_a_certificate(name: str) -> None:
    path, new, why = NOT_SAME[name]
    verdict, text = sealed_verdict(changed(forgotten(), path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


def test_exact_outputs() -> None:
    """Against floats, with and without a mask; several heads, MLP, embedding."""
    rng = np.random.default_rng(1)
    for causal, m_p in product((False, True), (0, 2)):
        maker = depth.Random(rng)
        layers = [maker.layer(2, [1, 2], 3, causal, bias=False) for _ in range(3)]
        for layer, k in product(layers, range(2)):
            layer["heads"][k]["W_q"] = make.matrix(make.zeros(k + 1, 2))
        stack = depth.stack(layers, m_p, 3, 9, 9, E=maker.weights(2, m_p + 3, "E"))
        P, X = maker.weights(2, m_p, "P"), maker.weights(2, 3, "X")
        read = read_stack(reading.Field(stack, "stack"))
        prompt, context = (
            read.read_tokens(reading.Field(make.matrix(Z), "Z"), count) for Z, count in ((P, m_p), (X, 3))
        )
        statement = SameOutput(read, prompt, (context,), attention.Vector((), 1), ())  # type: ignore[arg-type]
        found = statement._outputs(context)
        expected = oracle.Stack.read(stack)(np.array(transposed(transposed(P) + transposed(X)), float))[:, m_p:]
        assert np.allclose(np.array(found.rows, float).T / found.den, expected)


# --- subspace ------------------------------------------------------------------------------------------------------

ORTHOGONAL = [["3/5", 0, "4/5"], ["4/5", 0, "-3/5"], [0, 1, 0]]  # columns: two of H, one across


def fractions(rows: Json) -> list[list[Fraction]]:
    return [[Fraction(x) for x in row] for row in rows]


def subspace(scale: Json = 2, small: Json = "1/1000000", across: Json = "1/3", **changes: Json) -> Json:
    """The four matrices of the plane in H, spanned by (3, 4, 0) and (0, 0, scale); something else across."""
    Q, s, e = fractions(ORTHOGONAL), Fraction(scale), Fraction(small)
    layers, coordinates = [], []
    for k, plain in enumerate(four()["instance"]["layers"]):
        V = plain["heads"][0]["W_v"]
        (a, b), (c, d) = ([Fraction(make_number(n), make_number(V["den"])) for n in row] for row in V["num"])
        inner = (
            fractions([[a, b, "1/9"], [c, d, 0], [0, 0, across]])
            if k == 0
            else fractions([[a, b, 0], [c, d, 0], [0, 0, across]])
        )
        W_v = times(times(Q, inner), transposed(Q))
        A = times(times(Q, [[0, 0, e], [0, 0, -e], [2 * e, e, 3 * e]]), transposed(Q))
        head = make.head(3, W_q=transposed(A), W_k=make.identity(3), W_v=W_v, W_o=make.identity(3))
        if k == 1:
            head = make.head(3, W_q=make.identity(3), W_k=A, W_v=make.identity(3), W_o=W_v)
        layers.append(make.layer([head], make.mlp(3)))
        coordinates.append(make.matrix([[a, b * s / 5], [c * 5 / s, d]]))
    if "product" in changes:
        layers, coordinates = layers[: changes["product"]], coordinates[: changes["product"]]
    instance = {
        "layers": layers,
        "basis": make.matrix([[3, 0], [4, 0], [0, s]]),
        "prompt_length": changes.get("m_p", 1),
        "radius": make.scalar(changes.get("radius", 10)),
    }
    witness = {"coordinates": coordinates, "layers": [depth.layer_proof(layer) for layer in layers]}
    return make.certificate("prompted-injectivity", "subspace", instance, witness)


def make_number(n: Json) -> int:
    return n if isinstance(n, int) else int(n, 16)


def test_subspace() -> None:
    value = subspace()
    verdict, text = sealed_verdict(value)
    assert verdict == "true", text
    assert oracle.holds(value)
    assert text == (
        "prompted-injectivity: layers that tell all tokens within the radius apart give minus the sum of the tokens of "
        "the prompt at the input token, for every prompt and input in a subspace of 2 dimensions (layers: 4, d = 3, "
        "norm: max, prompt tokens: 1, input tokens: 1)"
    )


LAYER = ("instance", "layers", 2)
FALSE_SUBSPACE: dict[str, tuple[Json, str]] = {
    "radius too large": (subspace(radius=1000), "layer 0: the constant of the attention is not shown to be below 1"),
    "two tokens": (subspace(m_p=2), "the product of the layers on the subspace is not -2"),
    "a layer less": (subspace(product=3), "the product of the layers on the subspace is not -1"),
    "dependent basis": (
        changed(subspace(), ("instance", "basis"), make.matrix([[3, 6], [4, 8], [0, 0]])),
        "the columns of the basis are dependent",
    ),
    "another subspace": (
        changed(subspace(), ("instance", "basis"), make.matrix([[3, 0], [4, 1], [0, 2]])),
        "layer 0: scores on the subspace are not zero",
    ),
    "another basis": (
        changed(subspace(), ("instance", "basis"), make.matrix([[3, 0], [4, 0], [0, 1]])),
        "layer 0: the values on the subspace are not those of the coordinates",
    ),
    "coordinates": (
        changed(subspace(), ("witness", "coordinates", 1, "num", 0, 0), lambda n: n + 1),
        "layer 1: the values on the subspace are not those of the coordinates",
    ),
    "a constant of 1": (subspace(across="100/101", small="1/1000"), "layer 0: the constant of the attention is not"),
    "W_q": (
        changed(subspace(), (*LAYER, "heads", 0, "W_q", "num", 0, 0), lambda n: n + 1),
        "layer 2: scores on the subspace are not zero",
    ),
}


@pytest.mark.parametrize("name", FALSE_SUBSPACE)
def test_subspace_false(name: str) -> None:
    value, why = FALSE_SUBSPACE[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, why in text) == ("false", True), text


NOT_SUBSPACE: dict[str, tuple[tuple[Json, ...], Json, str]] = {
    "no layers": (("instance", "layers"), [], "at least one layer"),
    "heads": ((*LAYER, "heads"), lambda h: h * 2, "exactly one head"),
    "mask": ((*LAYER, "causal"), True, "no causal mask"),
    "bias": ((*LAYER, "heads", 0, "b_q"), make.vector([0, 1, 0]), "b_q zero"),
    "E": ((*LAYER, "E"), make.matrix([[1]] * 3), "without E"),
    "units": (
        (*LAYER, "mlp"),
        make.mlp(3, W_1=[[0, 0, 0]], W_2=[[0], [0], [0]], b_1=[0]),
        "an MLP without units and bias",
    ),
    "shift": ((*LAYER, "mlp"), make.mlp(3, b_2=[0, 0, 1]), "an MLP without units and bias"),
    "width": ((*LAYER,), make.layer(), "layers of one width"),
    "no columns": (("instance", "basis"), depth.columns(3), "basis: expected at least one column"),
    "basis": (("instance", "basis"), make.matrix([[1], [1]]), "basis.num"),
    "radius": (("instance", "radius"), make.scalar(0), "radius: expected a positive scalar"),
    "prompt": (("instance", "prompt_length"), 0, "an integer from 1 on"),
    "coordinates": (("witness", "coordinates", 0), make.matrix([[1]]), "coordinates[0].num"),
    "too few coordinates": (("witness", "coordinates"), lambda c: c[1:], "a list of length 4"),
    "too few proofs": (("witness", "layers"), lambda c: c[1:], "a list of length 4"),
    "evidence": (("evidence",), "enclosed", "evidence"),
}


@pytest.mark.parametrize("name", NOT_SUBSPACE)
def test_subspace_not_a_certificate(name: str) -> None:
    path, new, why = NOT_SUBSPACE[name]
    verdict, text = sealed_verdict(changed(subspace(), path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


@pytest.mark.parametrize("value", [turned([[1, 0], [0, -1]]), forgotten(), subspace()], ids=["turned", "MLP", "H"])
def test_mutations(value: Json) -> None:
    check_mutations(value)
