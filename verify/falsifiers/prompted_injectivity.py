"""Falsifier of prompted injectivity: stacks that give two inputs one output, weighed against the conditions.

Collapses are run exactly: each has a constant or a product that the claim's conditions just exclude, and the slack says
by how much. Where the conditions hold, pairs of inputs that come close are compared with the guaranteed distance.
Source: THEORY section 7; docs/theory/depth.md, "The repaired condition".
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import flint
from flint import arb, arb_mat, fmpq

from constructions.depth.collapse import collapse, outputs
from constructions.depth.constants import Norm, Region, Stack
from constructions.depth.same_output import two_layers, uniform_path
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.joint_injectivity import ball_length, image, scaling
from verify.instances import contractive_stack, random_matrix

SLUG = "prompted-injectivity"
PRODUCT, PATH, LAYERS = "a product below 2", "a mask or one layer", "constants below 1, layer by layer"
REGION, SAME = "tokens in the region", "the same prompt"
TWO, ONE, FLOOR, KEPT, HALF = "the 2 of the product", "the 1 of a layer", "2 − Π", "Π (1 − a_l)(1 − b_l)", "the half"
PRECISION = 128


def masked(model: Transformer) -> Transformer:
    """The same layers under a causal mask."""
    return Transformer(tuple(Layer(Attention(one.attention.heads, causal=True), one.mlp) for one in model.layers))


# -- collapses --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Collapse:
    """Two prompts and two inputs; the claim speaks of them when the prompts are equal. ``about`` is the constant that
    it is to come near."""

    what: str
    stack: Stack
    P: tuple[RationalMatrix, RationalMatrix]
    X: tuple[RationalMatrix, RationalMatrix]
    about: str = TWO

    @classmethod
    def of(cls, what: str, stack: Stack, P: RationalMatrix, X: RationalMatrix, other: RationalMatrix) -> Collapse:
        return cls(what, stack, (P, P), (X, other))


def _judge_collapse(search: Search, one: Collapse) -> Trial:
    """Whether two inputs have one output, exactly, and whether the conditions exclude it."""
    stack = one.stack
    first, second = (outputs(stack.model, P, X) for P, X in zip(one.P, one.X, strict=True))
    if first != second or (one.P[0] != one.P[1] and search.keeps(SAME)):
        return Trial(one.what)
    largest = max(max(layer.input, layer.mlp) for layer in stack.layers)
    joint = max(max(layer.joint, layer.mlp) for layer in stack.layers)
    # how far each argument is from speaking of this stack: it does where its number is below 0
    needs: dict[str, fmpq] = {}
    needs[TWO] = 1 - 2 * search.factor(TWO) / stack.product()
    if not search.keeps(PRODUCT) and joint < 1:
        needs[TWO] = fmpq(-1)
    if stack.model.causal or len(stack.layers) == 1 or not search.keeps(PATH):
        needs[ONE] = 1 - search.factor(ONE) / largest if search.keeps(LAYERS) else fmpq(-1)
    if min(needs.values()) >= 0:
        return Trial(one.what, needs[one.about], constant=one.about)
    name = min(needs, key=lambda argument: needs[argument])
    sentence = f"{one.what}: two inputs have one output; Π = {float(stack.product()):.6g}"
    return Trial(one.what, needs[name], Counterexample(SLUG, sentence, _parts(stack, P=one.P, X=one.X)), name)


def _parts(stack: Stack, **more: object) -> dict[str, object]:
    region = stack.region
    radii = [region.prompt_radius, region.input_radius]
    return {"model": stack.model, "norm": stack.norm, "prompt_length": region.prompt_length, "radii": radii, **more}


def averaging(m: int) -> Collapse:
    """One layer, one prompt token at 0, m input tokens: uniform attention with the factor −(m+1)/m takes a common
    shift of all inputs away."""
    zero = RationalMatrix.zeros(1, 1)
    layer = Layer(Attention((Head(zero, zero, RationalMatrix.of([[fmpq(-m - 1, m)]])),)), FeedForward.none(1))
    stack = Stack.of(Transformer((layer,)), Region(fmpq(1), fmpq(1), 1, m))
    X, other = (RationalMatrix.of([[x] * m]) for x in ("1/2", "1/4"))
    return Collapse(f"one layer, {m} input tokens", stack, (zero, zero), (X, other), ONE)


def _collapses(search: Search) -> Iterator[Trial]:
    near = two_layers(inputs=2)
    yield _judge_collapse(search, Collapse.of("two layers with MLP", near.stack, near.P, *near.inputs))
    for m in (1, 120):
        yield _judge_collapse(search, averaging(m))
    one = Region(fmpq(1), fmpq(1), 1, 1)
    P, X, other = (RationalMatrix.of([[x], [y]]) for x, y in (("1/2", 0), (0, "1/4"), ("1/3", "-1/2")))
    for name, model in (("the collapse", collapse()), ("the collapse under a mask", masked(collapse()))):
        yield _judge_collapse(search, Collapse.of(name, Stack.of(model, one), P, X, other))
    path = uniform_path([(fmpq(13, 50), fmpq(33, 50)), (fmpq(-9, 25), fmpq(17, 50))], 1, 2)
    yield _judge_collapse(search, Collapse.of("three layers, uniform", path.stack, path.P, *path.inputs))
    moved = tuple(RationalMatrix.of([[x]]) for x in ("1/2", "-1/4"))
    inputs = tuple(RationalMatrix.of([[x]]) for x in ("1/2", "1/4"))
    half = Stack.of(scaling(fmpq(1, 2)), one)
    yield _judge_collapse(search, Collapse("two prompts", half, (moved[0], moved[1]), (inputs[0], inputs[1])))
    for kappa in (6, 8, 10):
        near = two_layers(fmpq(1, 2**kappa), inputs=2)
        yield _judge_collapse(search, Collapse.of(f"two layers, κ = 2^−{kappa}", near.stack, near.P, *near.inputs))


# -- guaranteed distances ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    what: str
    stack: Stack
    P: RationalMatrix
    X: RationalMatrix
    other: RationalMatrix
    about: str | None = None


def _judge_pair(search: Search, one: Pair) -> Trial:
    """The distance of two outputs against what each argument guarantees; for a common target half-way, the larger error
    is half of the distance."""
    stack = one.stack
    least: dict[str, fmpq] = {}
    if stack.product() < 2:
        least[FLOOR] = (2 - stack.product()) * search.factor(FLOOR)
    if (stack.model.causal or len(stack.layers) == 1) and stack.failing("input") is None:
        least[KEPT] = stack.injectivity("input") * search.factor(KEPT)
    if not least:
        return Trial(one.what)
    name = max(least, key=lambda argument: least[argument])
    m_p, M = stack.region.prompt_length, stack.region.length
    with flint.ctx.workprec(PRECISION):
        before = ball_length(arb_mat((one.X - one.other).mat), stack.norm)
        images = [image(stack.model, one.P.hstack(X)) for X in (one.X, one.other)]
        gap = images[0] - images[1]
        rows = gap.nrows()
        last = arb_mat(rows, M - m_p, [gap[i, j] for i in range(rows) for j in range(m_p, M)])
        after = ball_length(last, stack.norm)
        if not before > 0:
            return Trial(one.what)
        share = after / (arb(least[name] * search.factor(HALF)) * before)
        slack = midpoint((1 - 1 / share).upper()) if share > 0 else None
        broken = share < 1
    if not broken:
        return Trial(one.what, None if slack is None else max(slack, fmpq(0)), constant=one.about or name)
    sentence = f"{one.what}: the distance of two outputs is {float(share.mid()):.6g} of what is guaranteed"
    parts = _parts(stack, P=one.P, X=one.X, other=one.other, factor=least[name])
    return Trial(one.what, slack, Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED), one.about or name)


def _pairs(search: Search) -> Iterator[Trial]:
    """MLPs that scale, which attain both factors, beside random stacks and pairs that come closer."""
    region = Region(fmpq(1), fmpq(1), 1, 1)
    points = [RationalMatrix.of([[x]]) for x in ("1/2", "1/4")]

    def structured() -> Iterator[Pair]:
        for b in (fmpq(1, 2), fmpq(9, 10)):
            scaled = scaling(fmpq(0), mlp=b).layers
            for name, model, about in (
                ("a layer", Transformer(scaled), None),
                ("two layers under a mask", masked(Transformer(scaled * 2)), None),
                ("a layer", Transformer(scaled), HALF),  # the error of a target half-way between the two outputs
            ):
                stack = Stack.of(model, region)
                yield Pair(f"{name}, scaling by {1 - b}", stack, points[0], points[0], points[1], about)

    def draw(rng: random.Random) -> Pair:
        d, depth, causal = rng.randint(1, 2), rng.randint(1, 2), rng.random() < 0.5
        norm: Norm = rng.choice(["max", "frobenius"])
        here = Region(fmpq(1), fmpq(1), rng.randint(1, 2), rng.randint(1, 2))
        size = fmpq(1, rng.choice([2, 4])) if causal else fmpq(1, rng.choice([8, 16]))
        stack = contractive_stack(rng, d, here, norm, depth=depth, attention=size, mlp=size, causal=causal)
        P = random_matrix(rng, d, here.prompt_length, size=5, denominator=8)
        X, other = (random_matrix(rng, d, here.input_length, size=5, denominator=8) for _ in range(2))
        return Pair(f"random, d = {d}, {depth} layers{', a mask' if causal else ''}, {norm}", stack, P, X, other)

    def vary(rng: random.Random, best: Pair) -> Pair:
        step = random_matrix(rng, best.X.shape[0], best.X.shape[1], size=2, denominator=16)
        moved = RationalMatrix(best.other.mat + step.mat)
        inside = best.stack.region.contains(best.P.hstack(moved))
        return Pair(best.what, best.stack, best.P, best.X, moved) if inside else best

    return in_turn(
        (_judge_pair(search, one) for one in structured()),
        explore(search, lambda one: _judge_pair(search, one), draw=draw, vary=vary),
    )


def _folds(search: Search) -> Iterator[Trial]:
    """One layer, prompt token 0, input token x (d = 1): the output rises and falls again as x leaves the region."""
    one = RationalMatrix.identity(1)
    layer = Layer(Attention((Head(one, one, RationalMatrix.of([["-9/10"]])),)), FeedForward.none(1))
    stack = Stack.of(Transformer((layer,)), Region(fmpq(1, 5), fmpq(1, 5), 1, 1))
    assert stack.failing("input") is None
    reach, steps = fmpq(1, 5) if search.keeps(REGION) else fmpq(3), 12
    inputs = [RationalMatrix.of([[reach * i / steps]]) for i in range(steps + 1)]
    zero = RationalMatrix.zeros(1, 1)
    with flint.ctx.workprec(PRECISION):
        heights = [image(stack.model, zero.hstack(X))[0, 1] for X in inputs]
        found = [i for i in range(1, steps) if heights[0] < heights[i] < heights[i - 1]]
    what = f"one layer, inputs up to {reach}"
    if not found:
        yield Trial(what)
        return
    i = found[0]
    sentence = f"{what}: the outputs rise and fall again, so two inputs have one output"
    parts = _parts(stack, P=zero, rising=[inputs[0], inputs[i - 1]], falling=[inputs[i - 1], inputs[i]])
    yield Trial(what, None, Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED))


def trials(search: Search) -> Iterator[Trial]:
    return in_turn(_collapses(search), _pairs(search), _folds(search))


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        PRODUCT: "Π (1 + a_l)(1 + b_l) < 2; dropped: all a_l, b_l < 1 is enough",
        PATH: "layer by layer only with one layer, or a causal mask and the prompt in front",
        LAYERS: "layer by layer only where all constants are below 1",
        REGION: "prompt and inputs lie in the region of the constants",
        SAME: "both inputs have the same prompt",
    },
    constants={
        TWO: "what Π (1 + a_l)(1 + b_l) has to be below",
        ONE: "what the constants have to be below, layer by layer",
        FLOOR: "‖Y − Y'‖ ≥ (2 − Π) ‖X − X'‖",
        KEPT: "‖Y − Y'‖ ≥ Π (1 − a_l)(1 − b_l) ‖X − X'‖, layer by layer",
        HALF: "of two inputs with one target, one has at least half of that as its error",
    },
    raised=frozenset({TWO, ONE, FLOOR, KEPT, HALF}),
    budget=60,
)
