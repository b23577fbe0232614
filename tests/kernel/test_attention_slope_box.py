"""Claim attention-lipschitz, relations slope and box."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import box_cover
import box_tree
import depth_makers as depth
import depth_oracle as oracle
import kernel_certificates as make
import numpy as np
import pytest
import reading
from depth_mutations import check_mutations
from kernel_certificates import changed
from prompt_law_makers import sealed_verdict
from rational import Matrix, Scalar
from test_joint_injectivity import scalar_layer

Json = Any
TINY = Fraction(1, 2**200)


# --- slope -----------------------------------------------------------------------------------------------------------


def random_slope(seed: int, norm: str, kind: str) -> Json:
    rng = np.random.default_rng(seed)
    maker = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k"), 1.5))
    d, m_p, m = int(rng.integers(1, 4)), seed % 3, 1 + seed % 2
    layer = maker.layer(d, [1, 2][: 1 + seed % 2], 1, causal=bool(seed // 2 % 2))
    E = maker.weights(d, m_p + m, "E") if seed % 3 == 1 else None
    stack = depth.stack([layer], m_p, m, 2, 2, norm, E)
    direction = rng.standard_normal((d, m_p + m))
    if kind == "input":
        direction[:, :m_p] = 0
    return depth.slope(stack, maker.tokens(d, m_p + m, 2), direction, kind)


@pytest.mark.parametrize("norm", ["max", "frobenius"])
@pytest.mark.parametrize("kind", ["joint", "input"])
def test_random_slopes(norm: str, kind: str) -> None:
    for seed in range(12):
        value = random_slope(seed, norm, kind)
        verdict, text = sealed_verdict(value)
        assert verdict == "true", (seed, text)
        assert oracle.holds(value)
        more = changed(value, ("instance", "bound", "num"), lambda n: int(n) + int(n) // 2**18 + 1)
        assert sealed_verdict(more) == ("false", "the derivative is not shown to be so large")


def uniform_slope(
    bound: Json, direction: Any = ((0.0, 1.0),), kind: str = "joint", norm: str = "max", **radii: Json
) -> Json:
    """d = 1, one prompt token and one of the input: attention is v times the mean, v = 3."""
    stack = depth.stack([scalar_layer(3)], 1, 1, radii.get("R_P", 1), radii.get("R_X", 1), norm)
    return depth.slope(stack, [[Fraction(1, 2), Fraction(-1)]], np.array(direction), kind, bound)


def test_slope_at_the_boundary() -> None:
    """Half of v; all of it if both tokens move alike. (One half is a short number, so nothing is rounded.)"""
    for bound, direction, kind, norm in (
        ("3/2", [[0.0, 1.0]], "joint", "max"),
        ("3/2", [[0.0, 1.0]], "input", "max"),
        (3, [[1.0, 1.0]], "joint", "max"),
        (3, [[1.0, 1.0]], "joint", "frobenius"),
        ("3/2", [[0.0, -7.0]], "input", "frobenius"),
    ):
        assert sealed_verdict(uniform_slope(bound, direction, kind, norm))[0] == "true"
        more = uniform_slope(Fraction(bound) + TINY, direction, kind, norm)
        assert sealed_verdict(more) == ("false", "the derivative is not shown to be so large")
    for bound in (0, -3):
        assert sealed_verdict(uniform_slope(bound))[0] == "true"


def test_slope_sentence() -> None:
    assert sealed_verdict(uniform_slope(1))[1] == (
        "attention-lipschitz: on the region the attention of this layer has no Lipschitz constant below the stated "
        "bound (one head, d = 1, norm: max, prompt tokens: 1, input tokens: 1, kind: joint)"
    )


FALSE_SLOPE: dict[str, tuple[Json, str]] = {
    "the direction is 0": (uniform_slope(0, [[0.0, 0.0]]), "the direction is 0"),
    "the prompt moves": (uniform_slope(1, [[1.0, 1.0]], "input"), "the direction moves a token of the prompt"),
    "outside": (uniform_slope(1, R_X=1 - TINY), "the point, input: token 0 is not within the radius"),
    "prompt outside": (uniform_slope(1, R_P="1/3"), "the point, prompt: token 0 is not within the radius"),
    "no radius": (uniform_slope(1, R_X=0), "a radius is 0"),
    "no prompt radius": (uniform_slope(1, R_P=0), "a radius is 0"),
}


@pytest.mark.parametrize("name", FALSE_SLOPE)
def test_slope_false(name: str) -> None:
    value, why = FALSE_SLOPE[name]
    assert sealed_verdict(value) == ("false", why)


def test_slope_without_a_prompt() -> None:
    """Then its radius plays no role."""
    stack = depth.stack([scalar_layer(3)], 0, 2, 0, 1)
    value = depth.slope(stack, [[Fraction(1), Fraction(-1)]], np.array([[1.0, 1.0]]), "input", 3)
    assert sealed_verdict(value)[0] == "true"


def test_slope_of_long_scores() -> None:
    """Scores of ten thousand, where one weight is nearly 1."""
    value = depth.slope(
        depth.stack([scalar_layer(1, W_q=100)], 1, 1, 10, 10), [[Fraction(10), Fraction(9)]], np.array([[1.0, 1.0]])
    )
    value = changed(value, ("instance", "bound"), make.scalar("999/1000"))
    assert sealed_verdict(value)[0] == "true"


@pytest.mark.parametrize(
    ("path", "new", "why"),
    [
        (("witness", "direction"), make.matrix([[1]]), "direction.num"),
        (("witness", "P"), make.matrix([[1, 1]]), "P.num"),
        (("witness", "X"), make.matrix([[1, 1]]), "X.num"),
        (("witness", "X"), None, "X"),
        (("evidence",), "exact", "evidence"),
    ],
)
def test_slope_not_a_certificate(path: Any, new: Json, why: str) -> None:
    verdict, text = sealed_verdict(changed(uniform_slope(1), path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


@pytest.mark.parametrize(("seed", "norm", "kind"), [(1, "max", "joint"), (2, "frobenius", "input")])
def test_slope_mutations(seed: int, norm: str, kind: str) -> None:
    check_mutations(random_slope(seed, norm, kind))


# --- box -------------------------------------------------------------------------------------------------------------


def sampled_box(value: Json, rng: np.random.Generator, points: int = 60) -> float:
    instance = value["instance"]
    layer = oracle.Layer.read(instance["layer"])
    P, X = (oracle.array(instance[name], layer.d) for name in ("P", "X"))
    first, h = 0 if instance["kind"] == "joint" else P.shape[1], float(oracle.array(instance["half_width"]))
    best = 0.0
    for _ in range(points):
        Z = np.hstack([P, X])
        J = layer.jacobian(Z + h * rng.choice([-1, 0, 1], Z.shape))
        best = max(best, oracle.operator_norm(J[:, :, :, first:], instance["norm"], first))
    return best


def random_box(seed: int, norm: str, kind: str, h: Json = "1/1000", levels: int = 0, factor: float = 1.1) -> Json:
    """The bound is a little above what is sampled in the box."""
    rng = np.random.default_rng(seed)
    d, m_p, m = [(1, 1, 1), (1, 1, 3), (2, 1, 1), (1, 0, 3), (3, 1, 1), (2, 0, 2)][seed % 6]
    maker = depth.Random(rng)
    layer = maker.layer(d, [1, 2][: 1 + seed % 2], 1, causal=bool(seed // 2 % 2))
    tree = depth.halved(d * (m_p + m), levels)
    value = depth.box(layer, maker.tokens(d, m_p + m, 1), m_p, h, 1, norm, kind, tree)
    bound = depth.dyadic(sampled_box(value, rng) * factor + 1e-3)
    return changed(value, ("instance", "bound"), make.scalar(bound))


@pytest.mark.parametrize("norm", ["max", "frobenius"])
@pytest.mark.parametrize("kind", ["joint", "input"])
def test_random_boxes(norm: str, kind: str) -> None:
    for seed in range(12):
        value = random_box(seed, norm, kind)
        verdict, text = sealed_verdict(value)
        assert verdict == "true", (seed, text)
        assert oracle.holds(value)
        less = changed(value, ("instance", "bound", "num"), lambda n: int(int(n) * 0.85) - 2**32)
        assert sealed_verdict(less)[0] == "false"


def test_halving_helps() -> None:
    """What a box does not show, its parts do; hundreds of parts take seconds."""
    for seed, norm, kind in ((0, "max", "joint"), (2, "frobenius", "input"), (1, "max", "input")):
        verdicts = []
        for levels in (0, 4, 8):
            value = random_box(seed, norm, kind, "1/4", levels, factor=1.25)
            start = time.monotonic()
            verdict, text = sealed_verdict(value)
            assert time.monotonic() - start < 10
            assert verdict in ("true", "false")
            assert verdict == "true" or "the norm of the derivative is not shown to be within the bound" in text
            verdicts.append(verdict)
            if verdict == "true":
                assert oracle.holds(value)
        assert verdicts[-1] == "true"


def test_box_sentence() -> None:
    layer = scalar_layer("1/2", causal=True)
    value = depth.box(layer, [[Fraction(1), Fraction(2)]], 1, 1, 1, tree={"split": 1, "below": "leaf", "above": "leaf"})
    assert sealed_verdict(value) == (
        "true",
        "attention-lipschitz: on the box the attention of this layer has a Lipschitz constant of at most the stated "
        "bound (one head, d = 1, causal, norm: max, prompt tokens: 1, input tokens: 1, kind: joint, parts: 2)",
    )


def test_box_at_the_boundary() -> None:
    """Uniform attention, v = 1/2: rows (1/4, 1/4), so 1/2 in both norms; with dyadic weights nothing is rounded."""
    for norm, kind, bound in (("max", "joint", HALF), ("max", "input", HALF / 2), ("frobenius", "input", HALF / 2)):
        value = depth.box(scalar_layer(HALF), [[Fraction(1), Fraction(2)]], 1, 1, bound, norm, kind)
        assert sealed_verdict(value)[0] == "true"
        less = changed(value, ("instance", "bound"), make.scalar(bound - TINY))
        assert sealed_verdict(less) == (
            "false",
            "leaf 0: the norm of the derivative is not shown to be within the bound",
        )
        assert sealed_verdict(changed(value, ("instance", "bound"), make.scalar(-1)))[0] == "false"
    nothing = depth.box(scalar_layer(0), [[Fraction(1), Fraction(2)]], 1, 1, 0)
    assert sealed_verdict(nothing)[0] == "true"


HALF = Fraction(1, 2)


def test_parts_cover_the_box() -> None:
    """The parts of any tree: each point of the box is in one, and all are in the box."""
    rng = np.random.default_rng(0)
    for _ in range(20):

        def tree(left: int) -> Json:
            if left == 0 or rng.random() < 0.2:
                return "leaf"
            return {"split": int(rng.integers(4)), "below": tree(left - 1), "above": tree(left - 1)}

        leaves = box_cover.read_leaves(reading.Field(tree(6), "tree"), 4, box_tree.node_numbers())
        center = Matrix(((3, -5), (7, 0)), 3, 2)
        box = box_cover.Box(center, Scalar(2, 7), leaves)
        parts = [[(x.lo / 2**60, x.hi / 2**60) for token in part for x in token] for part in box.parts(60)]
        middle = np.array([1, -5 / 3, 7 / 3, 0])
        volume = sum(np.prod([high - low for low, high in part]) for part in parts)
        assert abs(volume - (4 / 7) ** 4) < 1e-12
        for _ in range(50):
            point = middle + 2 / 7 * rng.uniform(-1, 1, 4)
            assert any(all(low <= x <= high for x, (low, high) in zip(point, part, strict=True)) for part in parts)
        for part in parts:
            assert all(
                m - 2 / 7 - 1e-15 <= low <= high <= m + 2 / 7 + 1e-15
                for m, (low, high) in zip(middle, part, strict=True)
            )


def test_ends_are_rounded_outwards() -> None:
    """Widths of thirds, at 16 bits: the constant of the box is that of a larger box."""
    box = box_cover.Box(Matrix(((1,), (-2,)), 7, 1), Scalar(1, 3), (None,))
    ((first,), (second,)), *others = box.parts(16)
    assert not others
    for x, middle in ((first, Fraction(1, 7)), (second, Fraction(-2, 7))):
        assert x.lo == (middle - Fraction(1, 3)) * 2**16 // 1
        assert x.hi == -((-middle - Fraction(1, 3)) * 2**16 // 1)


def test_a_wide_box_holds_the_worst_point() -> None:
    """A tree that is fine around the center says nothing about the rest: all leaves count."""
    layer = scalar_layer(1, W_q=1)
    fine = depth.box(layer, [[Fraction(1, 10), Fraction(0)]], 1, "1/16", "13/10", tree=depth.halved(2, 5))
    assert sealed_verdict(fine)[0] == "true"
    wide = changed(fine, ("instance", "half_width"), make.scalar(2))
    assert sealed_verdict(wide)[0] == "false"


BOX = depth.box(
    scalar_layer("1/2"), [[Fraction(1), Fraction(2)]], 1, 1, 1, tree={"split": 1, "below": "leaf", "above": "leaf"}
)
NOT_BOX: dict[str, tuple[tuple[Json, ...], Json, str]] = {
    "half width 0": (("instance", "half_width"), make.scalar(0), "half_width: expected a positive scalar"),
    "half width": (("instance", "half_width"), make.scalar(-1), "half_width: expected a positive scalar"),
    "E": (("instance", "layer", "E"), make.matrix([[1, 1]]), "without E"),
    "no input": (("instance", "X"), depth.columns(1), "X: expected at least one column"),
    "norm": (("instance", "norm"), "mean", "norm"),
    "kind": (("instance", "kind"), "prompt", "kind"),
    "coordinate": (("witness", "tree", "split"), 2, "tree.split: expected an integer from 0 to 1"),
    "half a tree": (("witness", "tree"), {"split": 0, "below": "leaf"}, "an object with fields"),
    "another leaf": (("witness", "tree", "below"), "piece", "below: expected"),
    "no leaf": (("witness", "tree", "below"), None, "below: expected"),
    "precision": (("witness", "precision"), 15, "an integer from 16 to 4096"),
    "much precision": (("witness", "precision"), 4097, "an integer from 16 to 4096"),
    "evidence": (("evidence",), "exact", "evidence"),
}


@pytest.mark.parametrize("name", NOT_BOX)
def test_box_not_a_certificate(name: str) -> None:
    path, new, why = NOT_BOX[name]
    assert sealed_verdict(BOX)[0] == "true"
    verdict, text = sealed_verdict(changed(BOX, path, new))
    assert (verdict, why in text) == ("not a certificate", True), text


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = depth.box(scalar_layer("1/2"), [[Fraction(1)] * 257], 1, 1, 1)
    assert sealed_verdict(many) == ("over limits", "boxes of more than 256 coordinates")
    monkeypatch.setattr(box_tree, "MAX_NODES", 2)
    assert sealed_verdict(BOX)[0] == "over limits"
    monkeypatch.undo()
    large = depth.box(scalar_layer(1, W_q=10**9), [[Fraction(1), Fraction(2)]], 1, 1, 10**12)
    assert sealed_verdict(large) == ("over limits", "the exponential of a number above 65536")


@pytest.mark.parametrize(
    ("seed", "norm", "kind"), [(1, "max", "joint"), (2, "frobenius", "input"), (0, "max", "input")]
)
def test_box_mutations(seed: int, norm: str, kind: str) -> None:
    value = random_box(seed, norm, kind, levels=2)
    assert sealed_verdict(value)[0] == "true"
    check_mutations(value)
