"""Claim: a prompt mixes its own attention output with the context's, head by head (THEORY section 1)."""

from __future__ import annotations

import random
from functools import partial

from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.attention_split import split
from constructions.transformer import Attention, Head
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Settings
from verify.falsifiers.attention_split import FALSIFIER
from verify.instances import random_head, random_matrix

SLUG = "attention-split"


def certify(attention: Attention, token: RationalMatrix, X: RationalMatrix, P: RationalMatrix) -> CaseResult:
    """Check the split of every head at ``token`` (d×1) for context X (d×m) and prompt P (d×m_p), against the model
    itself."""
    x = token.column(0)
    splits = [split(head, x, X, P) for head in attention.heads]
    # Head by head, which is more than their sum and far cheaper: the sum multiplies all denominators.
    holds = all(
        Attention((head,))(token, P.hstack(X)) == part.mixture
        for head, part in zip(attention.heads, splits, strict=True)
    )
    instance = {
        "heads": [write.head(head) for head in attention.heads],
        "token": write.vector(x),
        "X": write.matrix(X),
        "P": write.matrix(P),
    }
    witness = {"fractions": [write.exp_fractions([part.fraction]) for part in splits]}
    proof = Certificate(SLUG, "splits", Evidence.EXACT, instance, witness)
    return CaseResult(
        Verdict.PROVED if holds else Verdict.REFUTED,
        Evidence.EXACT,
        f"{len(splits)} heads, {X.shape[1]} context and {P.shape[1]} prompt tokens: attention equals the mixture",
        proof if holds else None,
    )


def _random_case(seed: int, d: int, s: int, heads: int, m: int, m_p: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{s}/{heads}")
    attention = Attention(tuple(random_head(rng, d, s) for _ in range(heads)))
    draw = partial(random_matrix, rng, d, denominator=2)
    return certify(attention, draw(1), draw(m), draw(m_p))


def _zero_weights() -> CaseResult:
    """All scores equal: attention is the plain mean."""
    zero = RationalMatrix.zeros(2, 2)
    head = Head(zero, zero, RationalMatrix.identity(2))
    return certify(
        Attention((head,)), column_vector([1, 2]), RationalMatrix.of([[1, 2], [3, 4]]), RationalMatrix.of([[5], [6]])
    )


def cases(settings: Settings) -> list[Case]:
    sizes = [(2, 2, 1, 3, 2), (3, 2, 2, 2, 3), (4, 1, 3, 2, 2)]
    if settings.thorough:
        sizes += [(d, s, h, 3, 4) for d in (2, 3, 5) for s in (1, d) for h in (1, 2, 3)]
    found = [Case("zero-weights", _zero_weights)]
    for d, s, heads, m, m_p in sizes:
        name = f"d{d}-s{s}-heads{heads}-m{m}-prompt{m_p}"
        found.append(Case(name, partial(_random_case, settings.seed, d, s, heads, m, m_p)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Attention split",
    statement=(
        "Att(x, [P, X]) = λ Att(x, X) + (1−λ) Att(x, P) for each head, with λ = S(X,x) / (S(X,x) + S(P,x)) in (0, 1)."
    ),
    source="THEORY section 1; cf. Wang et al. 2023, proof of Theorem 2",
    scope="the identity for this head, token, context and prompt, in Frac(Q[e^q])",
    cases=cases,
    falsifier=FALSIFIER,
)
