"""Falsifier of attention's Lipschitz constants: slopes at points and in directions where they come near the constants.

Where the constants are attained: uniform attention (no logits) moves by as much as all its tokens; a query bias, or
logits, across tokens that lie on both sides of the mean attain the parts of the max norm's constant that grow with
them. Elsewhere a climb in floats proposes a point and a direction. Every slope is enclosed in balls, by a formula for
the directional derivative that shares nothing with the one the constants' own tests use. Source: THEORY section 7.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import flint
from flint import arb, fmpq

from constructions.depth.constants import HeadNorms, Kind, LayerNorms, Norm, Region
from constructions.depth.slack import steep
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import root_above
from constructions.transformer import Attention, FeedForward, Head, Layer
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.instances import random_full_rank, random_matrix

SLUG = "attention-lipschitz"
BALL, SUM, MASK, BIAS = "tokens in the balls", "heads add up", "κ under a mask", "the query bias counts"
FIXED, SOFT = "the prompt is fixed", "softmax"
WHOLE: dict[Norm, str] = {"max": "max", "frobenius": "Frobenius"}
ONE, COVARIANCE, LOGITS = "max: 1", "max: ‖A‖R²", "max: R(‖A‖ρ + |c|)"
ROOT, MEAN, MASKED, HALVES = "Frobenius: √n", "Frobenius: κ = 1", "Frobenius: κ = 2 under a mask", "Frobenius: 3/2"
PRECISION = 96


@dataclass(frozen=True)
class Instance:
    """A layer's attention on a region, a point Z of it and a direction (both d×M); ``about`` names the part of the
    constant that it is to attain, the whole one if None."""

    what: str
    layer: Layer
    region: Region
    norm: Norm
    kind: Kind
    Z: RationalMatrix
    direction: RationalMatrix
    about: str | None = None


@dataclass(frozen=True)
class Form:
    """A constant of one head divided by the norm of its values, as a sum of named parts."""

    parts: dict[str, fmpq]

    @property
    def value(self) -> fmpq:
        return sum(self.parts.values(), fmpq(0))


def forms(search: Search, head: HeadNorms, layer: Layer, region: Region, norm: Norm, kind: Kind) -> list[Form]:
    """What the claim says of a head, each form a bound on its own, with the search's flaw in it."""
    R, M, alpha = region.radius, region.length, head.bilinear.bound
    n = M if kind == "joint" else region.input_length
    c = head.bias if search.keeps(BIAS) else fmpq(0)
    q = alpha * (R if kind == "joint" else region.input_radius) + c
    if norm == "max":
        parts = {ONE: fmpq(1), COVARIANCE: alpha * R**2, LOGITS: R * q}
        return [Form({name: search.factor(name) * part for name, part in parts.items()})]
    D2 = region.prompt_length * region.prompt_radius**2 + region.input_length * region.input_radius**2
    mean, kappa = (MASKED, 2) if layer.attention.causal and search.keeps(MASK) else (MEAN, 1)
    return [
        Form({ROOT: search.factor(ROOT) * root_above(fmpq(n)) * (1 + R * q), "": alpha * R**2}),
        Form(
            {
                mean: search.factor(mean) * kappa,
                HALVES: search.factor(HALVES) * 3 * alpha * D2 / 2,
                "": root_above(M * D2) * c,
            }
        ),
    ]


def constant(search: Search, layer: Layer, region: Region, norm: Norm, kind: Kind) -> fmpq:
    """The claim's constant (rounded upwards), from proved norms and with the search's flaw in it."""
    norms = LayerNorms.of(layer)
    slopes = [min(one.value for one in forms(search, head, layer, region, norm, kind)) for head in norms.heads]
    each = [head.value.bound * slope for head, slope in zip(norms.heads, slopes, strict=True)]
    if not search.keeps(SUM):
        return search.factor(WHOLE[norm]) * root_above(sum((x * x for x in each), fmpq(0)))
    total = sum(each, fmpq(0))
    if norms.joined is not None:
        squares = ((W_v.bound * slope) ** 2 for W_v, slope in zip(norms.joined.W_v, slopes, strict=True))
        total = min(total, norms.joined.output.bound * root_above(sum(squares, fmpq(0))))
    return search.factor(WHOLE[norm]) * total


def _room(search: Search, one: Instance, kind: Kind, slope: fmpq, allowed: fmpq) -> tuple[str, fmpq | None]:
    """By what share the constant that the instance is about could fall: the whole one, or (one head) a part of it."""
    if one.about is None:
        return WHOLE[one.norm], 1 - slope / allowed if allowed else None
    (head,) = LayerNorms.of(one.layer).heads
    for form in forms(search, head, one.layer, one.region, one.norm, kind):
        part = form.parts.get(one.about)
        if part is not None:
            return one.about, (form.value - slope / head.value.bound) / part if part else None
    raise ValueError(f"{one.what}: no form has the part {one.about}")


def moved(attention: Attention, Z: RationalMatrix, direction: RationalMatrix, j: int) -> list[arb]:
    """The derivative of attention's output at token j when all tokens move along ``direction``, enclosed.

    With scores ℓ_k and their derivatives ℓ'_k the weights change by s_k (ℓ'_k − Σ s ℓ').

    >>> one = RationalMatrix.of([[1]])
    >>> float(moved(Attention((Head(one, one, one),)), RationalMatrix.of([[1, 1]]), RationalMatrix.of([[2, 4]]), 1)[0])
    3.0
    """
    d, seen = Z.shape[0], j + 1 if attention.causal else Z.shape[1]
    tokens, steps = ([W.column(k) for k in range(seen)] for W in (Z, direction))
    total = [arb(0)] * d
    for head in attention.heads:
        A, bias = head.bilinear, head.W_k.T.times(head.b_q).column(0)
        q = [x + c for x, c in zip(A.apply(tokens[j]), bias, strict=True)]
        dq = A.apply(steps[j])
        scores = [_dot(q, z) for z in tokens]
        slopes = [_dot(dq, z) + _dot(q, step) for z, step in zip(tokens, steps, strict=True)]
        top = max(scores)
        weights = [arb(score - top).exp() for score in scores]
        mass = sum(weights, arb(0))
        weights = [w / mass for w in weights]
        mean = sum((w * slope for w, slope in zip(weights, slopes, strict=True)), arb(0))
        inner = [arb(0)] * d
        for w, slope, z, step in zip(weights, slopes, tokens, steps, strict=True):
            inner = [x + w * (step[i] + (slope - mean) * z[i]) for i, x in enumerate(inner)]
        V = head.V
        total = [x + sum((V[i, l] * inner[l] for l in range(d)), arb(0)) for i, x in enumerate(total)]
    return total


def _dot(x: list[fmpq], y: list[fmpq]) -> fmpq:
    return sum((a * b for a, b in zip(x, y, strict=True)), fmpq(0))


def _judge(search: Search, one: Instance) -> Trial:
    """The slope at the point, against the constant."""
    layer, region, norm = one.layer, one.region, one.norm
    kind: Kind = one.kind if search.keeps(FIXED) else "input"
    if search.keeps(BALL) and not region.contains(one.Z):
        raise ValueError(f"{one.what}: expected tokens within the region")
    first = region.prompt_length if one.kind == "input" else 0
    if any(x != 0 for k in range(first) for x in one.direction.column(k)):
        raise ValueError(f"{one.what}: expected a direction that leaves the prompt alone")
    allowed = constant(search, layer, region, norm, kind)
    lengths = [_dot(column, column) for column in (one.direction.column(k) for k in range(region.length))]
    with flint.ctx.workprec(PRECISION):
        squares = [
            sum((x * x for x in moved(layer.attention, one.Z, one.direction, j)), arb(0))
            for j in (range(first, region.length) if region.length < 50 else [first])
        ]
        if norm == "max":
            ratio = max(squares, key=lambda x: float(x.mid())) / arb(max(lengths))
        else:
            ratio = sum(squares, arb(0)) / arb(sum(lengths, fmpq(0)))
        broken = bool(ratio > arb(allowed * allowed))
        lowest = midpoint(ratio.sqrt().lower()) if ratio.is_finite() else fmpq(0)
    name, slack = _room(search, one, kind, lowest, allowed)
    if not broken:
        return Trial(one.what, None if slack is None else max(slack, fmpq(0)), constant=name)
    reached = midpoint(ratio.mid())
    sentence = f"{one.what}: a slope whose square is {float(reached):.6g}, above the square of {float(allowed):.6g}"
    parts = {
        "layer": layer,
        "prompt_length": region.prompt_length,
        "radii": [region.prompt_radius, region.input_radius],
        "norm": norm,
        "kind": kind,
        "Z": one.Z,
        "direction": one.direction,
        "constant": allowed,
    }
    return Trial(one.what, slack, Counterexample(SLUG, sentence, parts, Evidence.ENCLOSED), name)


# -- where the constants are attained ---------------------------------------------------------------------------------


def _layer(*heads: Head, causal: bool = False) -> Layer:
    return Layer(Attention(heads, causal=causal), FeedForward.none(heads[0].width))


def _silent(d: int, c: fmpq | None = None) -> Head:
    """W_q = 0, W_v = I; with c, the query bias makes every logit vector (0, …, c)."""
    zeros, one = RationalMatrix.zeros(d, d), RationalMatrix.identity(d)
    bias = RationalMatrix.of([[c if i == d - 1 and c is not None else 0] for i in range(d)])
    return Head(zeros, one, one, one, bias)


def uniform(norm: Norm, M: int, about: str | None = None, *, heads: int = 1, causal: bool = False) -> Instance:
    """No logits, all tokens move alike; under a mask as for the largest norm of the map of cumulative means."""
    ones = RationalMatrix.of([[1] * M])
    if causal:
        ones = RationalMatrix.of([cesaro_direction(M)])
    region = Region(fmpq(1), fmpq(1), 0, M)
    what = f"uniform attention, {M} tokens, {heads} heads{', a mask' if causal else ''}, {norm}"
    layer = _layer(*[_silent(1)] * heads, causal=causal)
    return Instance(what, layer, region, norm, "joint", RationalMatrix.zeros(1, M), ones, about)


def cesaro_direction(M: int) -> list[fmpq]:
    """Nearly the leading direction of the map of cumulative means of M numbers, by power iteration."""
    x = [1.0] * M
    for _ in range(60):
        means, total = [], 0.0
        for j, value in enumerate(x):
            total += value
            means.append(total / (j + 1))
        tail, back = 0.0, []
        for j in reversed(range(M)):
            tail += means[j] / (j + 1)
            back.append(tail)
        x = [value / back[-1] for value in reversed(back)]
    return [fmpq(round(value * 2**20), 2**20) for value in x]


def biased(norm: Norm, size: int, about: str | None = None) -> Instance:
    """Two tokens ±e_1 and a query bias along e_2: when they move apart along e_2, the mean moves along e_1."""
    Z, direction = RationalMatrix.of([[1, -1], [0, 0]]), RationalMatrix.of([[0, 0], [1, -1]])
    region = Region(fmpq(1), fmpq(1), 0, 2)
    return Instance(
        f"a query bias of {size}, {norm}", _layer(_silent(2, fmpq(size))), region, norm, "joint", Z, direction, about
    )


def turned(copies: int, size: int, *, extra: bool = False) -> Instance:
    """``copies`` tokens at e_1 and as many at −e_1; W_k^T W_q = size · (a quarter turn). All logits vanish, the
    covariance is 1, and the first token's logit vector is across: both parts of the constant that grow with ‖A‖ are
    attained but for 1/copies. With ``extra``, these are the prompt, and there is one input token at 0."""
    signs = [1] * copies + [-1] * copies + [0] * extra
    Z = RationalMatrix.of([signs, [0] * len(signs)])
    # the first token moves against the others, to turn its logit vector towards e_1
    steps = [[0] * len(signs), [-1, *signs[1:]]]
    W_q, one = RationalMatrix.of([[0, -size], [size, 0]]), RationalMatrix.identity(2)
    radius = fmpq(1, 100) if extra else fmpq(1)
    region = Region(fmpq(1), radius, 2 * copies, 1) if extra else Region(fmpq(1), radius, 0, 2 * copies)
    what = f"{len(signs)} tokens on both sides, ‖A‖ = {size}, max"
    layer = _layer(Head(W_q, one, one))
    return Instance(what, layer, region, "max", "joint", Z, RationalMatrix.of(steps), COVARIANCE)


def _structured(search: Search) -> Iterator[Instance]:
    yield uniform("max", 3, ONE)
    yield biased("max", 1000, LOGITS)
    yield turned(200, 1000)
    yield uniform("frobenius", 1, ROOT)
    yield uniform("frobenius", 3, MEAN)
    norms: tuple[Norm, ...] = ("max", "frobenius")
    for norm in norms:
        yield uniform(norm, 2, heads=2)
    yield turned(3, 10, extra=True)
    for M in (2, 40):
        yield uniform("frobenius", M, MASKED if search.keeps(MASK) else None, causal=True)
    for norm in norms:
        yield uniform(norm, 1)
        yield biased(norm, 1000)
    if not search.keeps(BALL):
        far = turned(3, 10)
        yield replace(far, region=Region(fmpq(1, 4), fmpq(1, 4), 0, 6))


def _drawn(search: Search, rng: random.Random) -> Instance:
    """A random layer; a climb in floats finds point and direction."""
    d, heads, causal = rng.randint(1, 3), rng.randint(1, 2), rng.random() < 0.3
    norm: Norm = rng.choice(["max", "frobenius"])
    kind: Kind = rng.choice(["joint", "input"])
    scale = fmpq(1, rng.choice([2, 4, 16]))

    def head() -> Head:
        W_q, W_k, W_v = (random_full_rank(rng, d, d).scaled(scale) for _ in range(3))
        b_q = random_matrix(rng, d, 1, denominator=4) if rng.random() < 0.5 else RationalMatrix.zeros(d, 1)
        return Head(W_q, W_k, W_v, RationalMatrix.identity(d), b_q)

    layer = _layer(*(head() for _ in range(heads)), causal=causal)
    region = Region(fmpq(rng.randint(1, 4), 4), fmpq(rng.randint(1, 4), 4), rng.randint(0, 2), rng.randint(1, 2))
    found = steep(layer, region, norm, kind, seed=rng.randrange(1 << 30), starts=1, steps=60)
    what = f"random, d = {d}, {heads} heads, {region.length} tokens{', a mask' if causal else ''}, {norm}, {kind}"
    return Instance(what, layer, region, norm, kind, found.Z, found.direction)


def _jumps(search: Search) -> Iterator[Trial]:
    """Without softmax: hardmax at two points on both sides of a tie, exactly."""
    one = RationalMatrix.identity(1)
    layer = Layer(Attention((Head(one, one, one),), "hardmax"), FeedForward.none(1))
    region = Region(fmpq(1), fmpq(1), 0, 3)
    allowed = constant(search, _layer(*layer.attention.heads), region, "max", "joint")
    for bits in (1, 10, 20):
        x = fmpq(1, 2**bits)
        points = [RationalMatrix.of([[sign * x, 1, -1]]) for sign in (1, -1)]
        above, below = (layer.attention(Z, Z) for Z in points)
        assert isinstance(above, RationalMatrix)
        assert isinstance(below, RationalMatrix)
        quotient = abs(above[0, 0] - below[0, 0]) / (2 * x)
        what = f"hardmax, tokens {x} and −{x}"
        found = None
        if quotient > allowed:
            sentence = f"{what}: outputs differ {quotient} times as much as the tokens, above {float(allowed):.6g}"
            found = Counterexample(SLUG, sentence, {"layer": layer, "Z": points[0], "other": points[1]})
        yield Trial(what, None, found)


def trials(search: Search) -> Iterator[Trial]:
    walk = explore(
        search,
        lambda one: _judge(search, one),
        draw=lambda rng: _drawn(search, rng),
        structured=_structured(search),
    )
    return walk if search.keeps(SOFT) else in_turn(_jumps(search), walk)


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        BALL: "|z_j| ≤ R; dropped: tokens at 4R",
        SUM: "the constants of the heads are added; dropped: the root of the sum of their squares",
        MASK: "κ = 2 under a causal mask; dropped: κ = 1",
        BIAS: "|c| = |W_k^T b_q| is part of the constant",
        FIXED: "the constants of kind input are for a fixed prompt; dropped: the prompt moves, its outputs count",
        SOFT: "attention is softmax; dropped: hardmax",
    },
    constants={
        "max": "‖V‖ (1 + ‖A‖R² + R(‖A‖ρ + |c|))",
        "Frobenius": "‖V‖ min(√n (1 + R(‖A‖ρ + |c|)) + ‖A‖R², κ + (3/2)‖A‖D² + √M D|c|)",
        ONE: "its 1",
        COVARIANCE: "its ‖A‖R²",
        LOGITS: "its R(‖A‖ρ + |c|)",
        ROOT: "√n in the form for balls",
        MEAN: "κ = 1 in the form for ‖Z‖_F ≤ D, without mask",
        MASKED: "κ = 2 there, with a mask",
        HALVES: "3/2 there",
    },
    unfindable={
        MASKED: (
            "the claim stays true for all lengths that can be run: κ_M, the norm of the map of cumulative means of M "
            "tokens, grows to 2 like 2 − 4π²/ln² M (finite sections of Hardy's inequality, Wilf 1970); it is 1.893 "
            "for a million tokens and exceeds 1.98 from about 10^17 on"
        ),
        HALVES: (
            "the claim stays true for up to 100 tokens: the weights are S = S_0 + E, S_0 uniform, where E has the norm "
            "e ≤ (‖A‖D² + √M D|c|)/2 at most; without mask ‖S‖² ≤ 1 + e², as the columns of E sum to 0, and with one "
            "‖S‖ ≤ κ_100 + e and κ_100 < 1.7; for large ‖A‖D² moreover ‖S‖ ≤ 10"
        ),
    },
    budget=40,
)
