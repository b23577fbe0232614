"""Claim: invertible layers do not limit prompts by themselves (THEORY section 7): the collapse."""

from __future__ import annotations

import random
from typing import Any

from flint import fmpq

from constructions.depth.collapse import collapse, outputs
from constructions.numbers.definite import positive_definite_factor
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Transformer
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Finding, Settings
from verify.instances import random_matrix

SLUG = "prompted-injectivity"


def collapse_certificate(model: Transformer, prompt_length: int) -> Certificate:
    """Invertible layers whose output at the input token forgets the input.

    Raises ValueError for a layer whose value map has a norm of 1 or more.
    """
    factors = []
    for i, layer in enumerate(model.layers):
        V = layer.attention.heads[0].V
        rest = RationalMatrix.identity(V.shape[0]).mat - V.T.times(V).mat
        factor = positive_definite_factor(rest)
        if factor is None:
            raise ValueError(f"layer {i}: expected a value map of norm below 1")
        factors.append(write.matrix(RationalMatrix(factor)))
    layers: list[dict[str, Any]] = [write.layer(Transformer((layer,))) for layer in model.layers]
    instance = {"layers": layers, "prompt_length": prompt_length}
    return Certificate(SLUG, "collapse", Evidence.EXACT, instance, {"factors": factors})


def _collapse(seed: int) -> CaseResult:
    model, rng = collapse(), random.Random(f"{SLUG}/{seed}")
    for _ in range(1000):
        P, X = (random_matrix(rng, 2, 1, size=999, denominator=rng.randint(1, 99)) for _ in range(2))
        if outputs(model, P, X) != P.scaled(fmpq(-1)):
            return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"the output at {X} with prompt {P} is not −p")
    summary = "four invertible layers: with every prompt p every input comes out as −p (1,000 run exactly)"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, collapse_certificate(model, 1))


def cases(settings: Settings) -> list[Case]:
    return [Case("collapse", lambda: _collapse(settings.seed))]


CLAIM = Claim(
    slug=SLUG,
    title="Prompted injectivity",
    statement=(
        "Layers that are invertible on prompt and input together can still map all inputs to one output: joint "
        "injectivity does not limit what prompts do."
    ),
    source="THEORY section 7 (ours; cf. Theorem 5 of the paper)",
    scope="that this stack is invertible and forgets its input",
    cases=cases,
    findings=(
        Finding("An invertible transformer of four layers memorizes a constant dataset, by every prompt.", "collapse"),
    ),
)
