"""Claim: one softmax/ReLU network, and a prompt for every Lipschitz function (THEORY section 6)."""

from __future__ import annotations

from functools import partial

from flint import fmpq

from constructions.universality.for_all import Budget, budget
from constructions.universality.grid import Grid
from constructions.universality.quantisation import textbook_grid
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Settings
from verify.claims.quantisation import write_roots
from verify.claims.universality_hardmax import instance
from verify.falsifiers.universality_softmax import FALSIFIER

SLUG = "universality-softmax"


def certificate(found: Budget) -> Certificate:
    """Every L-Lipschitz function has a prompt: temperature, ramps and shares of ε."""
    witness = {
        "roots": write_roots(found.roots),
        "root_m": write.scalar(found.root_m),
        "t": write.scalar(found.t),
        "eta": write.scalar(found.eta),
        "epsilon_s": write.scalar(found.epsilon_s),
        "epsilon_r": write.scalar(found.epsilon_r),
    }
    return Certificate(SLUG, "for-all", Evidence.EXACT, instance(found), witness)


def _for_all(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq) -> CaseResult:
    found = budget(d, m, L, p, epsilon)
    if not found.holds():
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "the parameters do not satisfy the inequality")
    grid = found.grid
    summary = (
        f"d = {d}, m = {m}, L = {L}, p = {p}, ε = {epsilon}: k = {grid.k}, a prompt of {grid.prompt_length} tokens for "
        f"every f, at inverse temperature {found.t}"
    )
    usual = Grid(d, m, textbook_grid(d, m, L, p, epsilon)).prompt_length
    constant = Constant(
        f"prompt tokens, d = {d}, m = {m}, L = {L}, p = {p}, ε = {epsilon}",
        f"{usual}, by (L+1)(dm)^{{1/p}} δ ≤ ε/2",
        f"{grid.prompt_length}",
        f"{usual / grid.prompt_length:.3g} times fewer",
    )
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, certificate(found), constants=(constant,))


def cases(settings: Settings) -> list[Case]:
    one = fmpq(1)
    sizes: list[tuple[str, int, int, fmpq, fmpq, fmpq]] = [
        ("d1-m1-eps1over10-p1", 1, 1, one, one, fmpq(1, 10)),
        ("d1-m1-eps1over100", 1, 1, one, fmpq(2), fmpq(1, 100)),
        ("d2-m1-eps1over2", 2, 1, one, fmpq(2), fmpq(1, 2)),
        ("d1-m2-eps1over4", 1, 2, one, fmpq(3, 2), fmpq(1, 4)),
    ]
    if settings.thorough:
        sizes.append(("d2-m2-eps1over2", 2, 2, one, fmpq(2), fmpq(1, 2)))
        sizes.append(("lipschitz5-p3", 1, 1, fmpq(5), fmpq(3), fmpq(1, 100)))
    return [Case(f"for-all-{name}", partial(_for_all, d, m, L, p, epsilon)) for name, d, m, L, p, epsilon in sizes]


CLAIM = Claim(
    slug=SLUG,
    title="Universality, softmax",
    statement=(
        "One softmax network of class T^{2,1,4} with query biases: for every L-Lipschitz f a prompt with which it is "
        "within ε of f in d_p, by an explicit temperature and ramp width."
    ),
    source="Theorem 1 of the paper; THEORY section 6 (the certificate: ours)",
    scope="the inequality for every f at once",
    cases=cases,
    depends=("universality-hardmax",),
    falsifier=FALSIFIER,
)
