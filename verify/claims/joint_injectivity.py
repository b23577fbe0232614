"""Claim: layers that are the identity plus a contraction are injective on prompt and input together (THEORY 7)."""

from __future__ import annotations

import random
from functools import partial

from flint import fmpq

from constructions.depth.collapse import collapse
from constructions.depth.constants import Norm, Region, Stack
from constructions.depth.inverse import Inverse, round_trip
from constructions.numbers.rational import RationalMatrix
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims import depth_parts
from verify.claims.claim import Case, CaseResult, Claim, Settings
from verify.falsifiers.joint_injectivity import FALSIFIER
from verify.instances import contractive_stack, random_matrix

SLUG = "joint-injectivity"
PRECISION = 160


def injective_certificate(stack: Stack) -> Certificate:
    """The map of all tokens to all outputs is injective on the region. Raises ValueError when a layer fails."""
    failed = stack.failing()
    if failed is not None:
        raise ValueError(f"layer {failed[0]}: the constant of its {failed[1]} is not below 1: {float(failed[2]):.6g}")
    instance = {"stack": depth_parts.stack(stack.model, stack.region, stack.norm)}
    return Certificate(SLUG, "injective", Evidence.EXACT, instance, depth_parts.proofs(stack))


def inverse_certificate(found: Inverse) -> Certificate:
    """Whatever tokens of the region are mapped to Y are near Z."""
    stack = found.stack
    instance = {
        "stack": depth_parts.stack(stack.model, stack.region, stack.norm),
        "Y": write.matrix(found.Y),
        "Z": write.matrix(found.Z),
        "error": write.scalar(2 * found.error),  # room for another arithmetic
    }
    witness = {**depth_parts.proofs(stack), "precision": PRECISION}
    return Certificate(SLUG, "inverse", Evidence.ENCLOSED, instance, witness)


def _injective(d: int, depth: int, heads: int, norm: Norm, causal: bool, seed: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{depth}/{heads}/{norm}/{causal}")
    region = Region(fmpq(1, 2), fmpq(1), 2, 2)
    stack = contractive_stack(rng, d, region, norm, depth=depth, heads=heads, causal=causal, attention=fmpq(9, 10))
    shown = ", ".join(f"{float(layer.joint):.3g} and {float(layer.mlp):.3g}" for layer in stack.layers)
    summary = f"constants of attention and MLP, layer by layer: {shown}"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, injective_certificate(stack))


def _inverse(d: int, depth: int, norm: Norm, seed: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/inverse/{d}/{depth}/{norm}")
    region = Region(fmpq(1), fmpq(1), 1, 1)
    stack = contractive_stack(rng, d, region, norm, depth=depth)
    Z = random_matrix(rng, d, 2, size=2, denominator=8)
    return _there_and_back(stack, Z)


def _collapse_inverse(seed: int) -> CaseResult:
    """The collapse forgets the input at its own place, but [p, x] can be read off all outputs."""
    rng = random.Random(f"{SLUG}/{seed}/collapse")
    stack = Stack.of(collapse(), Region(fmpq(2), fmpq(2), 1, 1))
    return _there_and_back(stack, random_matrix(rng, 2, 2, size=4, denominator=4))


def _there_and_back(stack: Stack, Z: RationalMatrix) -> CaseResult:
    found = round_trip(stack, Z)
    distance = max((abs(x) for x in (found.Z - Z).mat.entries()), default=fmpq(0))
    if distance > 2 * found.error + fmpq(1, 2**100):
        return CaseResult(
            Verdict.REFUTED, Evidence.ENCLOSED, f"the inverse is {float(distance):.3g} away from where it began"
        )
    summary = f"back from the outputs to the tokens, enclosed within {float(found.error):.2g}"
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, inverse_certificate(found))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    norms: tuple[Norm, ...] = ("max", "frobenius")
    shapes: list[tuple[int, int, int, Norm, bool]] = [
        (2, 2, 1, "max", False),
        (3, 3, 2, "max", False),
        (2, 2, 2, "frobenius", False),
        (2, 2, 1, "frobenius", True),
    ]
    found = [
        Case(
            f"injective-d{d}-depth{depth}-heads{heads}-{norm}{'-causal' if causal else ''}",
            partial(_injective, d, depth, heads, norm, causal, seed),
        )
        for d, depth, heads, norm, causal in shapes
    ]
    found += [
        Case(f"inverse-d2-depth{depth}-{norm}", partial(_inverse, 2, depth, norm, seed))
        for depth, norm in zip((1, 3), norms, strict=True)
    ]
    found.append(Case("inverse-of-the-collapse", partial(_collapse_inverse, seed)))
    if settings.thorough:
        found.append(Case("injective-d8-depth6", partial(_injective, 8, 6, 2, "max", False, seed)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Joint injectivity",
    statement=(
        "If in every layer attention has a constant below 1 on its region and ‖W_1‖‖W_2‖ < 1, then the map of prompt "
        "and input together to all outputs is injective on the region, with an inverse that can be enclosed."
    ),
    source="THEORY section 7 (cf. Theorem 5 of the paper)",
    scope="that this stack is injective on this region, or where the preimage of one output lies",
    cases=cases,
    depends=("attention-lipschitz",),
    falsifier=FALSIFIER,
)
