"""Claim: which outputs a two-token context can give, in closed form (THEORY section 2, direction lemma)."""

from __future__ import annotations

import random
from functools import partial

from flint import fmpq

from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.direction import context_token, required_score
from constructions.transformer import Attention, Head
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Settings
from verify.falsifiers.direction_lemma import FALSIFIER
from verify.instances import random_full_rank, random_head, random_matrix

SLUG = "direction-lemma"


def certify(head: Head, token: list[fmpq], A: ExpMatrix, rho: fmpq) -> CaseResult:
    """Check that ``context_token`` gives exactly the output A (d×1) at x_0 = ``token`` with weight 1/(1+e^ρ)."""
    x_1 = context_token(head, token, A, rho)
    rational = x_1.as_rational()
    if rational is None:
        holds = True  # an exponential token cannot be scored by the model's code; the kernel checks the identities
    else:
        context = rational.hstack(column_vector(token))
        holds = Attention((head,))(column_vector(token), context) == A
    instance = {
        "head": write.head(head),
        "token": write.vector(token),
        "rho": write.scalar(rho),
        "output": write.exp_column(A),
    }
    proof = Certificate(SLUG, "attains", Evidence.EXACT, instance, {"x_1": write.exp_column(x_1)})
    return CaseResult(
        Verdict.PROVED if holds else Verdict.REFUTED,
        Evidence.EXACT,
        f"Att(x_0, [x_1, x_0]) = A exactly, κ = e^({rho})",
        proof if holds else None,
    )


def attainable_output(head: Head, token: list[fmpq], across: list[fmpq], rho: fmpq) -> ExpMatrix:
    """``V z`` for the z with the required score that differs from ``across`` only along the logit vector q (q ≠ 0)."""
    q = head.logit_vectors(column_vector(token)).column(0)
    need = required_score(head, token, rho) - dot(q, across)
    square = dot(q, q)
    z = ExpMatrix([[ExpFraction(ExpSum.of(a)) + need * (x / square)] for a, x in zip(across, q, strict=True)], 1)
    output = head.V @ z
    assert isinstance(output, ExpMatrix)
    return output


def _random_case(seed: int, d: int, s: int, rho: fmpq) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{s}/{rho}")
    while True:
        head = random_head(rng, d, s)
        token = random_matrix(rng, d, 1).column(0)
        q = head.logit_vectors(column_vector(token)).column(0)
        if any(x != 0 for x in q):
            return certify(head, token, attainable_output(head, token, random_matrix(rng, d, 1).column(0), rho), rho)


def _zero_score(seed: int) -> CaseResult:
    """s_0 = 0 with κ = 1: the outputs are exactly those across g."""
    rng = random.Random(f"{SLUG}/{seed}/zero")
    J = RationalMatrix.of([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    head = Head(J, RationalMatrix.identity(3), random_full_rank(rng, 3, 3))
    token = [fmpq(1), fmpq(2), fmpq(0)]  # J is skew, so x·Jx = 0
    return certify(head, token, attainable_output(head, token, [fmpq(1), fmpq(1), fmpq(1)], fmpq(0)), fmpq(0))


def cases(settings: Settings) -> list[Case]:
    sizes = [(3, 3, fmpq(0)), (2, 2, fmpq(1)), (4, 2, fmpq(0)), (3, 2, fmpq(-3, 2))]
    if settings.thorough:
        sizes += [(d, s, rho) for d in (2, 4, 6) for s in (d // 2, d) for rho in (fmpq(0), fmpq(1, 3), fmpq(-2))]
    found = [Case("zero-score", partial(_zero_score, settings.seed))]
    for d, s, rho in dict.fromkeys(sizes):
        name = f"d{d}-s{s}-rho{rho.p}_{rho.q}".replace("-rho-", "-rho-minus")
        found.append(Case(name, partial(_random_case, settings.seed, d, s, rho)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Direction lemma",
    statement=(
        "Att(x_0, [x_1, x_0]) = A with weight 1/(1+κ) on x_1 iff x_1 = (1+κ) z − κ x_0 "
        "with V z = A and q·z = q·x_0 − ln κ/(1+κ)."
    ),
    source="THEORY section 2; cf. Wang et al. 2023, Lemma 7 (closed form ours)",
    scope="the output A is attained exactly by the token x_1 of the closed form, for this head",
    cases=cases,
    depends=("attention-split",),
    falsifier=FALSIFIER,
)
