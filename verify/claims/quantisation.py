"""Claim: how far a Lipschitz function is from its table on the grid (THEORY section 6, "Quantisation")."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from flint import fmpq

from constructions.numbers.digits import decimal_bound
from constructions.numbers.rational import RationalMatrix
from constructions.universality.grid import Grid
from constructions.universality.quantisation import Roots, quantisation_bound, roots
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.quantisation import FALSIFIER

SLUG = "quantisation"


def write_roots(found: Roots) -> list[dict[str, Any]]:
    return [write.scalar(found.above), write.scalar(found.below)]


def certificate(d: int, m: int, k: int, L: fmpq, p: fmpq) -> Certificate:
    """The error bound of one grid."""
    found = roots(d, m, p)
    instance = {
        "d": d,
        "m": m,
        "k": k,
        "L": write.scalar(L),
        "p": write.scalar(p),
        "bound": write.scalar(quantisation_bound(k, L, found)),
    }
    return Certificate(SLUG, "error-bound", Evidence.EXACT, instance, {"roots": write_roots(found)})


def _case(d: int, m: int, k: int, L: fmpq, p: fmpq, seed: int) -> CaseResult:
    bound = quantisation_bound(k, L, roots(d, m, p))
    worst = _sampled(Grid(d, m, k), L, p, seed)
    measured = {"largest_sampled_error": float(f"{worst:.6g}"), "bound": float(f"{float(bound):.6g}")}
    if not worst <= float(bound) * (1 + 1e-6):
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"a function with error {worst} above {bound}")
    summary = (
        f"d = {d}, m = {m}, k = {k}, L = {L}, p = {p}: every L-Lipschitz f is within {float(bound):.6g} of its table"
    )
    textbook = (L + 1) * roots(d, m, p).above / k
    constant = Constant(
        f"error of the table, d = {d}, m = {m}, k = {k}, L = {L}, p = {p}",
        f"(L+1)(dm)^{{1/p}} δ ≈ {float(textbook):.4g}",
        f"at most {decimal_bound(bound, True, 4)}",
        f"{float(textbook / bound):.3g} times smaller",
    )
    proof = certificate(d, m, k, L, p)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof, measured, constants=(constant,))


def _sampled(grid: Grid, L: fmpq, p: fmpq, seed: int, points: int = 400) -> float:
    """The largest distance in d_p from the table, over a few L-Lipschitz functions, estimated at random points: a
    hat, a constant at the edge of a grid interval, and clamped linear functions."""
    rng = random.Random(seed)
    worst, power = 0.0, float(p)

    def hat(X: RationalMatrix) -> RationalMatrix:
        # every entry moves with its own input, at slope L at most: L-Lipschitz in every entrywise norm
        return RationalMatrix.of([[min(fmpq(1), L * abs(x - fmpq(1, 2))) for x in row] for row in X.rows()])

    def edge(X: RationalMatrix) -> RationalMatrix:
        return RationalMatrix.of([[fmpq(1) for _ in row] for row in X.rows()])

    for f in (hat, edge):
        table = grid.table(f)
        total = 0.0
        for _ in range(points):
            X = RationalMatrix.of(
                [[fmpq(rng.randrange(1 << 20), 1 << 20) for _ in range(grid.m)] for _ in range(grid.d)]
            )
            difference = f(X).mat - grid.target(table, grid.cell_of(X)).mat
            total += sum(abs(float(x)) ** power for x in difference.entries())
        worst = max(worst, (total / points) ** (1 / power))
    return worst


def cases(settings: Settings) -> list[Case]:
    sizes = [
        (1, 1, 2, fmpq(1), fmpq(1)),
        (1, 1, 79, fmpq(1), fmpq(2)),
        (2, 1, 3, fmpq(3, 2), fmpq(3)),
        (2, 2, 2, fmpq(1), fmpq(5, 2)),
    ]
    if settings.thorough:
        sizes += [(d, m, k, fmpq(L), fmpq(p)) for d, m, k in ((1, 2, 5), (3, 1, 2)) for L in (0, 4) for p in (1, 2, 4)]
    return [
        Case(f"d{d}-m{m}-k{k}-lipschitz{L}-p{p}".replace("/", "over"), partial(_case, d, m, k, L, p, settings.seed))
        for d, m, k, L, p in sizes
    ]


CLAIM = Claim(
    slug=SLUG,
    title="Quantisation",
    statement=(
        "An L-Lipschitz function is within (dm)^{1/p} (δ/2)(L/(p+1)^{1/p} + 1) of its table on a grid of mesh δ."
    ),
    source="THEORY section 6 (ours; the paper uses (L+1)(dm)^{1/p} δ ≤ ε/2)",
    scope="the error bound for every L-Lipschitz function at once",
    cases=cases,
    findings=(Finding("A grid at least twice as coarse as the textbook's is enough.", "d1-m1-k79-lipschitz1-p2"),),
    falsifier=FALSIFIER,
)
