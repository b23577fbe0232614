"""Claim: conditions under which the MLP has at most one preimage (THEORY section 2, "Preimages")."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from flint import fmpq

from constructions.numbers.definite import norm_product_below_one, positive_definite_factor
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.preimage import Complementarity, preimage
from constructions.transformer import FeedForward
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.mlp_injectivity import FALSIFIER
from verify.instances import random_matrix, random_mlp

SLUG = "mlp-injectivity"


def certify(mlp: FeedForward, y: list[fmpq], relation: str) -> CaseResult:
    """Certify that ``mlp`` is injective by ``relation`` ("norm-product" or "monotone"), with the only preimage of y
    (d numbers)."""
    undecided = CaseResult(Verdict.UNDECIDED, Evidence.EXACT, f"no {relation} proof found")
    witness: dict[str, object]
    if relation == "norm-product":
        bounds = norm_product_below_one(mlp.W_1.mat, mlp.W_2.mat)
        if bounds is None:
            return undecided
        witness = {
            "bounds": [write.scalar(bound.square) for bound in bounds],
            "factors": [write.matrix(RationalMatrix(bound.factor)) for bound in bounds],
        }
    else:
        M = Complementarity.of(mlp, y).M.mat
        factor = positive_definite_factor(M + M.transpose())
        if factor is None:
            return undecided
        witness = {"factor": write.matrix(RationalMatrix(factor))}
    found = preimage(mlp, y)
    if found.points is None or len(found.points) != 1:
        raise AssertionError(f"{relation} proves one preimage, the enumeration found {found.points}")
    z = list(found.points[0])
    if mlp(column_vector(z)) != column_vector(y):
        raise AssertionError("the preimage is not mapped to its target")
    instance = {"mlp": write.mlp(mlp), "y": write.vector(y)}
    proof = Certificate(SLUG, relation, Evidence.EXACT, instance, {**witness, "z": write.vector(z)})
    return CaseResult(
        Verdict.PROVED, Evidence.EXACT, f"injective ({relation}), r = {mlp.hidden}, the only preimage found", proof
    )


def paper_example_1(d: int, r: int) -> FeedForward:
    """W_1 = 1^{r×d}, W_2 = 1^{d×r}, no biases: Example 1 of the paper."""
    ones_1, ones_2 = RationalMatrix.of([[1] * d] * r), RationalMatrix.of([[1] * r] * d)
    return FeedForward(ones_1, RationalMatrix.zeros(r, 1), ones_2, RationalMatrix.zeros(d, 1))


def _random_case(seed: int, d: int, r: int, relation: str) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{r}/{relation}")
    mlp = random_mlp(rng, d, r, contractive=True)
    return certify(mlp, random_matrix(rng, d, 1).column(0), relation)


def _example_1(sign: int) -> CaseResult:
    """``1·y > 0`` has z = (W_2 W_1 + I)^{-1} y, ``1·y ≤ 0`` has z = y: one preimage either way."""
    mlp = paper_example_1(3, 4)
    y = [fmpq(sign), fmpq(2 * sign), fmpq(0)]
    expected = y
    if sign > 0:
        expected = RationalMatrix(RationalMatrix.identity(3).mat + mlp.W_2.times(mlp.W_1).mat).inverse().apply(y)
    points = preimage(mlp, y).points
    if points != [tuple(expected)]:
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"expected the one preimage {expected}, found {points}")
    if sign > 0:
        constant = Constant("preimages of a target in Example 1", "2", "exactly 1", "half as many")
    else:
        product = mlp.width * mlp.hidden  # both norms are √(dr)
        slack = f"{product} times what the condition allows"
        constant = Constant("‖W_1‖‖W_2‖ of an injective MLP", "below 1", f"{product} (Example 1)", slack)
    return replace(certify(mlp, y, "monotone"), constants=(constant,))


def cases(settings: Settings) -> list[Case]:
    found = [
        Case("paper-example-1-positive", partial(_example_1, 1)),
        Case("paper-example-1-negative", partial(_example_1, -1)),
    ]
    sizes = [(3, 4), (4, 2)] + ([(d, r) for d in (2, 5, 8) for r in (1, 4, 9)] if settings.thorough else [])
    for d, r in sizes:
        for relation in ("norm-product", "monotone"):
            found.append(Case(f"{relation}-d{d}-r{r}", partial(_random_case, settings.seed, d, r, relation)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Injective MLP",
    statement=(
        "z ↦ z + W_2 ReLU(W_1 z + b_1) + b_2 is injective if ‖W_1‖‖W_2‖ < 1, "
        "and if M + M^T is positive definite for M = I + W_1 W_2."
    ),
    source="THEORY section 2; cf. Wang et al. 2023, Lemma 4 (the second condition ours)",
    scope="injectivity of this MLP, and the only preimage of one target",
    cases=cases,
    findings=(
        Finding(
            "The paper's Example 1 has exactly one preimage for every target, not two; its MLP is injective.",
            "paper-example-1-positive",
        ),
        Finding(
            "‖W_1‖‖W_2‖ < 1 is not needed: Example 1 has norm product d·r and is injective.", "paper-example-1-negative"
        ),
    ),
    falsifier=FALSIFIER,
)
