"""What the constructions find, the kernel accepts: loss bounds of every kind, decisions, and the audit of the claim."""

from __future__ import annotations

from pathlib import Path

import pytest
from flint import fmpq
from hypothesis import settings
from law_instances import KINDS, Instance, consistent, random_instance
from layer_instances import demand_all_true
from test_one_example import needs

from constructions.single_layer.curve import loss_curve
from constructions.single_layer.one_query import decide_one_query
from constructions.verdict import Evidence, Verdict
from verify.audit import audit
from verify.certificate import Certificate
from verify.claims import Settings
from verify.claims.prompt_law import impossible_certificate, loss_certificate, memorizable_certificate
from verify.claims.registry import REGISTRY

SEEDS = range(max(2, settings.default.max_examples // 10))


def decision_certificates(instance: Instance, length: int | None) -> list[Certificate]:
    """The certificate of the decision, and the one that a token fewer is not enough."""
    problem = instance.problem
    decision = decide_one_query(problem, length)
    assert decision.undecided is None
    if decision.possible is None:
        return [impossible_certificate(instance.model, problem, length, decision.impossible)]
    found = [memorizable_certificate(instance.model, problem, decision.possible)]
    if (decision.possible.written_length or 1) > 1:
        fewer = decision.possible.length - 1
        shorter = decide_one_query(problem, fewer)
        assert shorter.possible is None
        found.append(impossible_certificate(instance.model, problem, fewer, shorter.impossible))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_and_decisions_are_accepted(kind: str, tmp_path: Path) -> None:
    certificates = []
    for seed in SEEDS:
        instance = random_instance(seed, kind)
        certificates += [loss_certificate(instance.model, x) for x in loss_curve(instance.problem, [1, 3, None])]
        for length in (1, None):
            certificates += decision_certificates(instance, length)
    demand_all_true(tmp_path, certificates)


def test_exact_solutions_are_accepted(tmp_path: Path) -> None:
    """Two to four examples solved by construction; e^H an integer to the digit; long single examples."""
    certificates = []
    for seed in range(8):
        certificates += decision_certificates(consistent(seed, n=2 + seed % 3, d=2 + seed % 2).instance, None)
    for c in (fmpq(1), fmpq(3), fmpq(3) + fmpq(1, 10**30), fmpq(3) - fmpq(1, 10**30)):
        certificates += decision_certificates(consistent(1, n=2, d=2, c=c, drop=fmpq(0)).instance, None)
    for wanted in (2.5, 41, 1e6):
        certificates += decision_certificates(needs(wanted), None)
    demand_all_true(tmp_path, certificates)


def test_large_bounds_are_accepted(tmp_path: Path) -> None:
    instance = random_instance(7, "plain", d=8, n=8)
    demand_all_true(tmp_path, [loss_certificate(instance.model, x) for x in loss_curve(instance.problem, [16])])


def test_audit_covers_the_claim(tmp_path: Path) -> None:
    """Every case proved, each certificate accepted; the findings point at cases."""
    report = audit([REGISTRY["prompt-law"]], Settings(), out=tmp_path)
    assert report["as_expected"]
    (claim,) = report["claims"]
    assert claim["verdict"] == Verdict.PROVED.value
    assert claim["evidence"] in (Evidence.EXACT.value, Evidence.ENCLOSED.value)
    cases = {case["name"]: case for case in claim["cases"]}
    assert len(cases) >= 9
    for case in cases.values():
        assert case["verdict"] == Verdict.PROVED.value
        assert case["kernel"].startswith("prompt-law: ")
        assert (tmp_path / case["certificate"]).is_file()
        measured = case["sampled"]
        if "gradient_descent_loss" in measured:  # rounded to six digits when it was recorded
            assert measured["gradient_descent_loss"] >= measured["lower"] * (1 - 1e-5)
    assert {finding["case"] for finding in claim["findings"]} <= set(cases)
