"""Claim: certified Lipschitz constants of attention (THEORY section 7), with their slack from both sides."""

from __future__ import annotations

import random
from functools import partial
from math import sqrt

from flint import fmpq

from constructions.depth.constants import Kind, LayerNorms, Norm, Region, attention_only
from constructions.depth.slack import BoxCover, Steep, box_cover, steep
from constructions.numbers.digits import decimal_bound
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import above
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims import depth_parts
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.attention_lipschitz import FALSIFIER
from verify.instances import random_full_rank, random_matrix

SLUG = "attention-lipschitz"
ROOM = fmpq(1, 2**64)
"""Relative room between a constant and the stated bound: square roots are rounded anew by whoever checks."""
PRECISION = 192


def bound_certificate(layer: Layer, norms: LayerNorms, region: Region, norm: Norm, kind: Kind) -> Certificate:
    """The attention of the layer has the constant ``norms.attention(…)`` on the region."""
    bound = above(norms.attention(region, norm, kind) * (1 + ROOM))
    instance = {
        "stack": depth_parts.single(attention_only(layer), region, norm),
        "kind": kind,
        "bound": write.scalar(bound),
    }
    witness = {"layer": {**depth_parts.layer_proof(norms), "W_1": None, "W_2": None}}
    return Certificate(SLUG, "bound", Evidence.EXACT, instance, witness)


def slope_certificate(layer: Layer, found: Steep, region: Region, norm: Norm, kind: Kind) -> Certificate:
    """No constant of the attention on the region is below ``found.bound``."""
    m_p = region.prompt_length
    instance = {
        "stack": depth_parts.single(attention_only(layer), region, norm),
        "kind": kind,
        "bound": write.scalar(found.bound),
    }
    witness = {
        "P": write.matrix(found.Z.columns(0, m_p)),
        "X": write.matrix(found.Z.columns(m_p, region.length)),
        "direction": write.matrix(found.direction),
    }
    return Certificate(SLUG, "slope", Evidence.ENCLOSED, instance, witness)


def box_certificate(found: BoxCover) -> Certificate:
    """A constant of the attention on a box of tokens."""
    m_p, M = found.prompt_length, found.Z.shape[1]
    (layer,) = depth_parts.layers(Transformer((attention_only(found.layer),)))
    instance = {
        "layer": layer,
        "norm": found.norm,
        "kind": found.kind,
        "P": write.matrix(found.Z.columns(0, m_p)),
        "X": write.matrix(found.Z.columns(m_p, M)),
        "half_width": write.scalar(found.half_width),
        "bound": write.scalar(found.bound),
    }
    return Certificate(SLUG, "box", Evidence.ENCLOSED, instance, {"tree": found.tree, "precision": PRECISION})


def random_attention(rng: random.Random, d: int, *, heads: int = 1, causal: bool = False, bias: bool = False) -> Layer:
    """A layer without MLP; heads of size d, of full rank, whose entries are quarters."""

    def matrix() -> RationalMatrix:
        return random_full_rank(rng, d, d).scaled(fmpq(1, 4))

    def head() -> Head:
        b_q = random_matrix(rng, d, 1, denominator=4) if bias else RationalMatrix.zeros(d, 1)
        return Head(matrix(), matrix(), matrix(), RationalMatrix.identity(d), b_q)

    return Layer(Attention(tuple(head() for _ in range(heads)), causal=causal), FeedForward.none(d))


def _slope_below_bound(layer: Layer, region: Region, norm: Norm, kind: Kind, seed: int, which: str) -> CaseResult:
    norms = LayerNorms.of(layer)
    bound = norms.attention(region, norm, kind)
    found = steep(layer, region, norm, kind, seed=seed)
    if found.bound > bound:
        return CaseResult(
            Verdict.REFUTED, Evidence.ENCLOSED, f"a slope of {float(found.bound):.6g} above {float(bound):.6g}"
        )
    summary = (
        f"norm {norm}, {kind}: the constant is at most {float(bound):.4g} and at least {float(found.bound):.4g} "
        f"({float(found.bound / bound):.0%} of it)"
    )
    measured = {"bound": float(f"{float(bound):.6g}"), "slope": float(f"{float(found.bound):.6g}")}
    if which == "bound":
        certificate = bound_certificate(layer, norms, region, norm, kind)
        constants = (
            () if layer.attention.causal or norm == "max" else (_against_literature(norms, region, bound, found),)
        )
        return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, certificate, measured, constants=constants)
    certificate = slope_certificate(layer, found, region, norm, kind)
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, certificate, measured)


def _against_literature(norms: LayerNorms, region: Region, bound: fmpq, found: Steep) -> Constant:
    """The form (1 + 8√M D²‖A‖)‖V‖ of the literature, summed over the heads; D² bounds the sum of squared tokens."""
    square = region.prompt_length * region.prompt_radius**2 + region.input_length * region.input_radius**2
    stated = sum(
        float(head.value.bound) * (1 + 8 * sqrt(region.length) * float(square * head.bilinear.bound))
        for head in norms.heads
    )
    return Constant(
        f"Lipschitz constant of attention, Frobenius norm, heads: {len(norms.heads)}, M = {region.length}",
        f"(1 + 8√M D²‖A‖)‖V‖ ≈ {stated:.4g}",
        f"at most {decimal_bound(bound, True, 4)}, at least {decimal_bound(found.bound, False, 4)}",
        f"{stated / float(bound):.3g} times smaller; {float(found.bound / bound):.0%} of it is reached",
    )


def _random(d: int, heads: int, causal: bool, norm: Norm, kind: Kind, which: str, seed: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{heads}/{causal}")
    layer = random_attention(rng, d, heads=heads, causal=causal, bias=causal)
    return _slope_below_bound(layer, Region(fmpq(1, 2), fmpq(1), 1, 2), norm, kind, seed, which)


def _box(d: int, norm: Norm, seed: int) -> CaseResult:
    """On a small box: a cover from above, and from below the slope at its centre."""
    layer = random_attention(random.Random(f"{SLUG}/{seed}/box/{d}"), d)
    Z = RationalMatrix.of([[fmpq(j + c + 1, 4) for j in range(2)] for c in range(d)])
    cover = box_cover(layer, Z, fmpq(1, 256), norm, "joint", 1, max_leaves=64)
    summary = f"d = {d}, norm {norm}: at most {float(cover.bound):.6g} on the box, by {cover.leaves} leaves"
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, box_certificate(cover))


def equal_heads() -> tuple[Layer, Region]:
    """Two equal heads that average: the constant is 2, more than the root √2 of the sum of their squares."""
    zero, one = RationalMatrix.zeros(1, 1), RationalMatrix.identity(1)
    head = Head(zero, zero, one)
    return Layer(Attention((head, head)), FeedForward.none(1)), Region(fmpq(1), fmpq(1), 1, 1)


def _equal_heads() -> CaseResult:
    layer, region = equal_heads()
    ones = RationalMatrix.of([[1, 1]])
    found = Steep(RationalMatrix.of([["1/2", "1/4"]]), ones, fmpq(2) - fmpq(1, 2**40))
    summary = "two equal heads, each of constant 1: together 2, above √2"
    constant = Constant(
        "Lipschitz constant of two equal heads", "√(Σ L_i²) ≈ 1.414", "at least 2 − 2^{−40}", "too small by √2"
    )
    proof = slope_certificate(layer, found, region, "max", "joint")
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, proof, constants=(constant,))


def masked_mean() -> tuple[Layer, Region, RationalMatrix]:
    """Two tokens, causal, no logits: attention is the map of cumulative means, whose norm is (about) 1.144 > 1. The
    direction is near its leading one."""
    zero, one = RationalMatrix.zeros(1, 1), RationalMatrix.identity(1)
    layer = Layer(Attention((Head(zero, zero, one),), causal=True), FeedForward.none(1))
    return layer, Region(fmpq(1), fmpq(1), 0, 2), RationalMatrix.of([["0.9732", "0.2298"]])


def _masked_mean() -> CaseResult:
    layer, region, direction = masked_mean()
    found = Steep(RationalMatrix.of([["1/2", "1/4"]]), direction, fmpq(1144, 1000))
    summary = "a causal mask without logits: 1.144 in the Frobenius norm, where the unmasked form says 1"
    constant = Constant(
        "Lipschitz constant of attention without logits, causal mask, M = 2",
        "‖V‖ = 1 (the form without κ)",
        f"at least {decimal_bound(found.bound, False, 4)}",
        f"too small by {float(found.bound) - 1:.1%}",
    )
    proof = slope_certificate(layer, found, region, "frobenius", "joint")
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, proof, constants=(constant,))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    shapes: list[tuple[int, int, bool]] = [(1, 1, False), (2, 2, False), (3, 2, True)]
    norms: tuple[Norm, ...] = ("max", "frobenius")
    found = []
    for d, heads, causal in shapes:
        for norm in norms:
            kind: Kind = "input" if causal else "joint"
            name = f"d{d}-heads{heads}{'-causal' if causal else ''}-{norm}"
            found += [
                Case(f"{which}-{name}", partial(_random, d, heads, causal, norm, kind, which, seed))
                for which in ("bound", "slope")
            ]
    found += [Case(f"box-d{d}-{norm}", partial(_box, d, norm, seed)) for d in (1, 2) for norm in norms]
    found += [Case("two-equal-heads", _equal_heads), Case("masked-mean", _masked_mean)]
    if settings.thorough:
        found += [
            Case(f"bound-d8-heads2-{norm}", partial(_random, 8, 2, False, norm, "joint", "bound", seed))
            for norm in norms
        ]
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Lipschitz constants of attention",
    statement=(
        "On tokens in balls, softmax attention has the stated Lipschitz constant in the norm of the largest token and "
        "in the Frobenius norm: one head or several, a query bias, a causal mask, a prompt that varies or is fixed."
    ),
    source="THEORY section 7 (constants: ours; cf. Theorem 5 of the paper)",
    scope="a constant of this layer on this region, or that none is smaller than stated",
    cases=cases,
    findings=(
        Finding("The root of the sum of squares over the heads is not a Lipschitz constant.", "two-equal-heads"),
        Finding("Under a causal mask the form for a ball of the spectral norm fails without κ.", "masked-mean"),
    ),
    falsifier=FALSIFIER,
)
