"""Falsifier of joint injectivity: pairs of inputs that come close or together, and inverses that end too far away.

Pairs are run in balls (exactly where no logits are met) and compared with what the layers' constants guarantee; layers
at the edge of the conditions, where two inputs have one output, are run exactly. Source: THEORY section 7;
docs/theory/depth.md, "Joint injectivity and the inverse".
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import flint
from flint import arb, arb_mat, fmpq

from constructions.depth.collapse import collapse, outputs
from constructions.depth.constants import Norm, Region, Stack
from constructions.depth.jacobian import square_length
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.instances import contractive_stack, random_matrix

SLUG = "joint-injectivity"
ATTENTION, MLP, REGION, FULL = "attention below 1", "MLP below 1", "tokens in the region", "all outputs count"
ATTENTION_ONE, MLP_ONE = "attention's 1", "the MLP's 1"
SHRINK, AFTER = "Π (1 − a_l)(1 − b_l)", "L/(1 − L)"
PRECISION = 128


def scaling(value: fmpq, *, mlp: fmpq | None = None) -> Transformer:
    """One layer of width 1 without logits: z ↦ (1 − value)·z for a single token, and then (1 − mlp)·z where z > 0."""
    zero, one = RationalMatrix.zeros(1, 1), RationalMatrix.identity(1)
    units = FeedForward.none(1) if mlp is None else FeedForward(one, zero, RationalMatrix.of([[-mlp]]), zero)
    return Transformer((Layer(Attention((Head(zero, zero, RationalMatrix.of([[-value]])),)), units),))


def ball_length(difference: arb_mat, norm: Norm) -> arb:
    """The norm of a matrix of tokens, enclosed."""
    columns = [[difference[i, j] for i in range(difference.nrows())] for j in range(difference.ncols())]
    squares = [square_length(column) for column in columns]
    if norm == "frobenius":
        return sum(squares, arb(0)).sqrt()
    longest = squares[0]
    for square in squares[1:]:
        longest = longest.max(square)
    return longest.sqrt()


def image(model: Transformer, Z: RationalMatrix) -> arb_mat:
    """The model on all tokens, in balls."""
    found = model(BallMatrix.embed(Z))
    assert isinstance(found, BallMatrix)
    return found.mat


def _parts(stack: Stack, **more: object) -> dict[str, object]:
    region = stack.region
    radii = [region.prompt_radius, region.input_radius]
    return {"model": stack.model, "norm": stack.norm, "prompt_length": region.prompt_length, "radii": radii, **more}


# -- distances shrink by no more than Π (1 − a_l)(1 − b_l) ------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    what: str
    stack: Stack
    Z: RationalMatrix
    other: RationalMatrix


def _apart(search: Search, one: Pair) -> Trial:
    stack = one.stack
    least = stack.injectivity() * search.factor(SHRINK)
    with flint.ctx.workprec(PRECISION):
        before = ball_length(arb_mat((one.Z - one.other).mat), stack.norm)
        after = ball_length(image(stack.model, one.Z) - image(stack.model, one.other), stack.norm)
        if not before > 0:
            return Trial(one.what)
        share = after / (arb(least) * before)
        slack = midpoint((1 - 1 / share).upper()) if share > 0 else None
        broken = share < 1
    if not broken:
        return Trial(one.what, None if slack is None else max(slack, fmpq(0)), constant=SHRINK)
    sentence = f"{one.what}: the distance of two outputs is {float(share.mid()):.6g} of what is guaranteed"
    parts = _parts(stack, Z=one.Z, other=one.other, factor=least)
    return Trial(one.what, slack, Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED), SHRINK)


def _pairs(search: Search) -> Iterator[Trial]:
    """Scalings, which attain the factor, beside random stacks and pairs that come closer."""
    single = Region(fmpq(1), fmpq(1), 0, 1)
    points = [RationalMatrix.of([[x]]) for x in ("1/2", "1/4")]

    def structured() -> Iterator[Pair]:
        for value, mlp in ((fmpq(1, 2), fmpq(0)), (fmpq(0), fmpq(1, 2)), (fmpq(9, 10), fmpq(9, 10))):
            stack = Stack.of(scaling(value, mlp=mlp), single)
            yield Pair(f"scaling by {1 - value} and {1 - mlp}", stack, points[0], points[1])

    def draw(rng: random.Random) -> Pair:
        d, depth = rng.randint(1, 2), rng.randint(1, 2)
        norm: Norm = rng.choice(["max", "frobenius"])
        region = Region(fmpq(1), fmpq(1), rng.randint(0, 1), rng.randint(1, 2))
        sizes = [fmpq(rng.choice([1, 5, 9]), 10) for _ in range(2)]
        stack = contractive_stack(
            rng, d, region, norm, depth=depth, attention=sizes[0], mlp=sizes[1], causal=rng.random() < 0.3
        )
        tokens = [random_matrix(rng, d, region.length, size=5, denominator=8) for _ in range(2)]
        return Pair(f"random, d = {d}, {depth} layers, {region.length} tokens, {norm}", stack, *tokens)

    def vary(rng: random.Random, best: Pair) -> Pair:
        step = random_matrix(rng, best.Z.shape[0], best.Z.shape[1], size=2, denominator=16)
        moved = RationalMatrix(best.other.mat + step.mat)
        return Pair(best.what, best.stack, best.Z, moved) if best.stack.region.contains(moved) else best

    return in_turn(
        (_apart(search, one) for one in structured()),
        explore(search, lambda one: _apart(search, one), draw=draw, vary=vary),
    )


# -- layers at the edge, with two inputs and one output ---------------------------------------------------------------


def _edges(search: Search) -> Iterator[Trial]:
    """z ↦ z − z by attention, z ↦ z − ReLU(z) by the MLP, and products of norms a little above 1."""
    region = Region(fmpq(1), fmpq(1), 0, 1)
    for name, one, model in (
        (ATTENTION, ATTENTION_ONE, scaling(fmpq(1))),
        (MLP, MLP_ONE, scaling(fmpq(0), mlp=fmpq(1))),
    ):
        stack = Stack.of(model, region)
        layer = stack.layers[0]
        reached = layer.joint if name == ATTENTION else layer.mlp
        what = f"{name}: a constant of {float(reached):.6g}"
        slack = 1 - search.factor(one) / reached
        points = [RationalMatrix.of([[x]]) for x in ("1/2", "1/4")]
        empty = RationalMatrix.zeros(1, 0)
        same = outputs(model, empty, points[0]) == outputs(model, empty, points[1])
        if not same or (slack >= 0 and search.keeps(name)):
            yield Trial(what, slack, constant=one)
            continue
        parts = _parts(stack, Z=points[0], other=points[1])
        yield Trial(what, slack, Counterexample(SLUG, f"{what}; two inputs have one output", parts), one)


def _forgotten(search: Search) -> Iterator[Trial]:
    """The collapse: two inputs with the same prompt, all outputs or only those at the input's place."""
    model, rng = collapse(), search.rng
    stack = Stack.of(model, Region(fmpq(1), fmpq(1), 1, 1))
    for _ in range(3):
        P, X, other = (random_matrix(rng, 2, 1, size=5, denominator=8) for _ in range(3))
        skipped = 1 if not search.keeps(FULL) else 0
        # as inputs without prompt, all outputs are kept
        empty = RationalMatrix.zeros(2, 0)
        first, second = (outputs(model, empty, P.hstack(W)).columns(skipped, 2) for W in (X, other))
        found = None
        if first == second and other != X:
            sentence = "the collapse: two inputs with the same prompt have one output"
            found = Counterexample(SLUG, sentence, _parts(stack, P=P, X=X, other=other))
        yield Trial("the collapse", None, found)


def _folds(search: Search) -> Iterator[Trial]:
    """Two tokens z and −z (d = 1): their outputs are h(z) and −h(z). Where h rises and falls, two inputs have one
    output. The constant of attention is below 1 near 0 only."""
    one = RationalMatrix.identity(1)
    layer = Layer(Attention((Head(one, one, RationalMatrix.of([["-9/10"]])),)), FeedForward.none(1))
    stack = Stack.of(Transformer((layer,)), Region(fmpq(1), fmpq(1, 5), 0, 2))
    assert stack.failing() is None
    reach = fmpq(1, 5) if search.keeps(REGION) else fmpq(2)
    steps = 12
    with flint.ctx.workprec(PRECISION):
        points = [RationalMatrix.of([[x := reach * i / steps, -x]]) for i in range(steps + 1)]
        heights = [image(stack.model, Z)[0, 0] for Z in points]
        low = [i for i in range(1, steps) if heights[i - 1] > heights[i] and heights[0] < heights[i]]
    what = f"tokens z and −z up to {reach}"
    if not low:
        yield Trial(what)
        return
    i = low[0]
    sentence = f"{what}: the outputs rise and fall again, so two inputs have one output"
    parts = _parts(stack, rising=[points[0], points[i - 1]], falling=[points[i - 1], points[i]])
    yield Trial(what, None, Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED))


# -- the inverse ------------------------------------------------------------------------------------------------------


def _inverses(search: Search) -> Iterator[Trial]:
    """One layer of attention, z ← y − Att(z): how far the last step is from the preimage, against L/(1 − L) times its
    length."""
    yield _inverse(search, "scaling by 1/2", Stack.of(scaling(fmpq(1, 2)), Region(fmpq(4), fmpq(4), 0, 1)), fmpq(1))
    while True:
        rng = search.rng
        d = rng.randint(1, 2)
        norm: Norm = rng.choice(["max", "frobenius"])
        region = Region(fmpq(4), fmpq(4), 1, 1)
        stack = contractive_stack(rng, d, region, norm, depth=1, hidden=0, attention=fmpq(rng.choice([1, 5, 9]), 10))
        yield _inverse(search, f"random, d = {d}, {norm}", stack, fmpq(rng.randint(1, 8), 8))


def _inverse(search: Search, what: str, stack: Stack, size: fmpq) -> Trial:
    layer, region = stack.model.layers[0], stack.region
    L = stack.layers[0].joint
    allowed = search.factor(AFTER) * L / (1 - L)
    Z = random_matrix(search.rng, layer.width, region.length, size=4, denominator=8).scaled(size)
    if Z.mat == RationalMatrix.zeros(*Z.shape).mat:
        Z = RationalMatrix.of([[size] * region.length] * layer.width)
    with flint.ctx.workprec(PRECISION):
        Y = image(stack.model, Z)
        steps = [BallMatrix(Y)]
        for _ in range(3):
            inner = layer.attention(steps[-1], steps[-1])
            assert isinstance(inner, BallMatrix)
            steps.append(BallMatrix(Y - inner.mat))
        inside = all(_within(step, region) for step in steps)
        last = ball_length(steps[-1].mat - steps[-2].mat, stack.norm)
        away = ball_length(steps[-1].mat - arb_mat(Z.mat), stack.norm)
        if not inside or not last > 0:
            return Trial(f"inverse, {what}")
        share = away / (arb(allowed) * last)
        slack = midpoint((1 - share).upper())
        broken = share > 1
    if not broken:
        return Trial(f"inverse, {what}", max(slack, fmpq(0)), constant=AFTER)
    sentence = f"inverse, {what}: the third step is {float(share.mid()):.6g} of the stated bound away from the preimage"
    parts = _parts(stack, Z=Z, steps=3, bound=allowed)
    return Trial(f"inverse, {what}", slack, Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED), AFTER)


def _within(Z: BallMatrix, region: Region) -> bool:
    radii = [region.prompt_radius] * region.prompt_length + [region.input_radius] * region.input_length
    return all(square_length(Z.column(j)) <= arb(radius * radius) for j, radius in enumerate(radii))


def trials(search: Search) -> Iterator[Trial]:
    return in_turn(_edges(search), _folds(search), _forgotten(search), _pairs(search), _inverses(search))


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        ATTENTION: "the constant of every layer's attention is below 1",
        MLP: "‖W_1‖ ‖W_2‖ < 1 in every layer",
        REGION: "both inputs lie in the region of the constants",
        FULL: "the outputs at all places are compared; dropped: those at the input's places",
    },
    constants={
        ATTENTION_ONE: "what the constant of attention has to be below",
        MLP_ONE: "what ‖W_1‖ ‖W_2‖ has to be below",
        SHRINK: "the least share of a distance that is kept; 1/Π is the inverse's bound on ‖Z − Z*‖ / ‖T(Z) − Y‖",
        AFTER: "the distance to the preimage, as a multiple of the last step of the iteration",
    },
    raised=frozenset({ATTENTION_ONE, MLP_ONE, SHRINK}),
    budget=60,
)
