"""Claim: one hardmax network, and a prompt for every Lipschitz function (THEORY section 6)."""

from __future__ import annotations

import random
from functools import partial

from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.universality.bias_free import BiasFreeNetwork
from constructions.universality.for_all import Budget, Size, budget
from constructions.universality.grid import Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.claims.quantisation import write_roots
from verify.falsifiers.universality_hardmax import FALSIFIER

SLUG = "universality-hardmax"


def instance(found: Budget) -> dict[str, object]:
    grid = found.grid
    return {
        "d": grid.d,
        "m": grid.m,
        "k": grid.k,
        "G": write.integer(found.G),
        "L": write.scalar(found.L),
        "p": write.scalar(found.p),
        "epsilon": write.scalar(found.epsilon),
    }


def certificate(found: Budget) -> Certificate:
    """Every L-Lipschitz function has a prompt."""
    witness = {"roots": write_roots(found.roots)}
    return Certificate(SLUG, "for-all", Evidence.EXACT, instance(found), witness)


def _for_all(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq) -> CaseResult:
    found = budget(d, m, L, p, epsilon)
    grid = found.grid
    network = HardmaxNetwork.of(grid, found.G)
    facts = (network.map.fires_once(), network.map.ids_differ(), network.map.values_stay())
    if not all(fact.holds for fact in facts):
        failed = next(fact for fact in facts if not fact.holds)
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"{failed}")
    summary = f"d = {d}, m = {m}, L = {L}, p = {p}, ε = {epsilon}: a prompt of {grid.prompt_length} tokens for every f"
    measured = {"log10_layers": float(f"{Size.of(network.layer_count).log10:.6g}")}
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, certificate(found), measured)


def _layers(d: int, m: int, k: int, seed: int) -> CaseResult:
    """All layers are run on random tables and inputs, with query biases and without; the output is the table's block,
    exactly."""
    rng = random.Random(f"{SLUG}/{seed}/{d}/{m}/{k}")
    grid = Grid(d, m, k)
    network = HardmaxNetwork.of(grid)
    bias_free = BiasFreeNetwork.of(grid).transformer()
    if not bias_free.class_membership(1, 1, 1, modified=True).holds:
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, "the network without query biases is not of its class")
    model = network.transformer()
    for _ in range(3):
        table = [tuple(tuple(rng.randrange(k) for _ in range(m)) for _ in range(d)) for _ in range(grid.cells)]
        X = RationalMatrix.of([[fmpq(rng.randrange(997), 997) for _ in range(m)] for _ in range(d)])
        P = grid.prompt(table)
        wanted = network.evaluate(P, X)
        if model.with_prompt(P, X) != wanted or bias_free.with_prompt(P, X) != wanted:
            return CaseResult(
                Verdict.REFUTED, Evidence.EXACT, "the layers and the proved action of the stages disagree"
            )
    found = budget(d, m, fmpq(0), fmpq(1), grid.delta, k=k)
    summary = f"d = {d}, m = {m}, k = {k}: all {network.layer_count} layers run on 3 prompts give the tables' values"
    where = f"heads of the selective shift, d = {d}, m = {m}, k = {k}"
    constant = Constant(where, "2, with a query bias", "1, without", "half as many; twice as many layers")
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, certificate(found), constants=(constant,))


def cases(settings: Settings) -> list[Case]:
    found = [
        Case("layers-d1-m1-k2", partial(_layers, 1, 1, 2, settings.seed)),
        Case("layers-d2-m1-k2", partial(_layers, 2, 1, 2, settings.seed)),
        Case("for-all-d1-m1-eps1over100", partial(_for_all, 1, 1, fmpq(1), fmpq(2), fmpq(1, 100))),
        Case("for-all-d2-m2-eps1over2", partial(_for_all, 2, 2, fmpq(1), fmpq(2), fmpq(1, 2))),
    ]
    if settings.thorough:
        found += [
            Case("layers-d1-m2-k2", partial(_layers, 1, 2, 2, settings.seed)),
            Case("layers-d1-m1-k3", partial(_layers, 1, 1, 3, settings.seed)),
        ]
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Universality, hardmax",
    statement=(
        "One hardmax network of class T̄^{2,1,1} with a query bias: for every L-Lipschitz f a prompt, the table of f, "
        "with which it is within ε of f in d_p."
    ),
    source="Theorem 1 of the paper; THEORY section 6",
    scope="the inequality for every f at once, or the network run layer by layer",
    cases=cases,
    depends=("quantisation", "contextual-mapping"),
    findings=(
        Finding(
            "The selective shift needs no query bias: two layers with one head each do without, in T̄^{1,1,1}.",
            "layers-d1-m1-k2",
        ),
    ),
    falsifier=FALSIFIER,
)
