"""Direction lemma, both ways: the closed form attains A; what breaks its condition is refused by name; and for an
invertible V it is the only token."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from flint import arb, ctx, fmpq
from hypothesis import assume, example, given
from hypothesis import strategies as st
from layer_instances import Draw, demand_all_true, heads, integers, rationals, vectors

from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.direction import DirectionError, context_token, required_score
from constructions.transformer import Attention, Head
from constructions.verdict import Verdict
from verify.claims.direction_lemma import attainable_output, certify
from verify.instances import random_head, random_matrix

exponents = st.one_of(st.just(fmpq(0)), rationals)


@dataclass(frozen=True)
class DirectionCase:
    head: Head
    token: list[fmpq]
    across: list[fmpq]
    rho: fmpq


@st.composite
def direction_cases(draw: Draw) -> DirectionCase:
    d = draw(st.integers(1, 3))
    return DirectionCase(draw(heads(d)), draw(vectors(d, integers)), draw(vectors(d, integers)), draw(exponents))


I2, ZERO2 = RationalMatrix.identity(2), RationalMatrix.zeros(2, 2)
SWAP = RationalMatrix.of([[0, 1], [1, 0]])
PROJECTION = RationalMatrix.of([[1, 0], [0, 0]])


def case(head: Head, token: list[int], across: list[int], rho: fmpq | int = 0) -> DirectionCase:
    return DirectionCase(head, [fmpq(x) for x in token], [fmpq(x) for x in across], fmpq(rho))


PLAIN = case(Head(I2, I2, I2), [1, 2], [3, 4])
SCORE_ZERO = case(Head(RationalMatrix.of([[0, 1], [-1, 0]]), I2, SWAP), [1, 2], [1, 1])  # s_0 = 0: A across g
KAPPA_E = case(Head(I2, I2, SWAP), [1, -1], [0, 2], fmpq(1))
KAPPA_SMALL = case(Head(I2, I2, I2), [1, 0], [0, 1], fmpq(-7, 3))
SINGULAR_FREE = case(Head(SWAP, I2, PROJECTION), [1, 0], [2, 2])  # q = e_2 outside row(V): every A in the range
SINGULAR_TIED = case(Head(I2, I2, PROJECTION), [1, 0], [2, 2])  # q = e_1 in row(V)
NO_LOGITS = case(Head(ZERO2, I2, I2), [1, 0], [2, 2])  # q = 0: the scores agree, and ρ must be 0
NO_VALUES = case(Head(I2, I2, ZERO2), [1, 1], [0, 0])
EDGES = (PLAIN, SCORE_ZERO, KAPPA_E, KAPPA_SMALL, SINGULAR_FREE, SINGULAR_TIED, NO_VALUES)


def logit_vector(c: DirectionCase) -> list[fmpq]:
    return c.head.logit_vectors(column_vector(c.token)).column(0)


def score(q: list[fmpq], x: ExpMatrix) -> ExpFraction:
    total = ExpFraction(ExpSum({}))
    for weight, entry in zip(q, x.column(0), strict=True):
        total = total + entry * weight
    return total


def demand_attains(c: DirectionCase, A: ExpMatrix, x_1: ExpMatrix) -> None:
    """Att(x_0, [x_1, x_0]) = A with weight 1/(1+κ) on x_1, from the definition: the score difference is ρ, and the
    weighted mean of the values is A. Where x_1 is rational also by the model, else also by balls."""
    q = logit_vector(c)
    assert score(q, x_1) == ExpFraction.of(dot(q, c.token) - c.rho)
    kappa = ExpSum.exp(c.rho)
    old = c.head.V.apply(c.token)
    new = c.head.V @ x_1
    assert isinstance(new, ExpMatrix)
    for a, u, v in zip(A.column(0), new.column(0), old, strict=True):
        assert u + ExpFraction(kappa * v) == a * (kappa + 1)
    rational = x_1.as_rational()
    if rational is not None:
        assert Attention((c.head,))(column_vector(c.token), rational.hstack(column_vector(c.token))) == A
        return
    with ctx.workprec(300):
        scores = [sum((arb(a) * b.enclosure() for a, b in zip(q, x_1.column(0), strict=True)), arb(0)),
                  arb(dot(q, c.token))]  # fmt: skip
        weights = [x.exp() for x in scores]
        for a, u, v in zip(A.column(0), new.column(0), old, strict=True):
            mean = (weights[0] * u.enclosure() + weights[1] * arb(v)) / (weights[0] + weights[1])
            difference = mean - a.enclosure()
            assert difference.contains(0)
            assert difference.rad() < 1e-30


@given(direction_cases())
@example(PLAIN)
@example(SCORE_ZERO)
@example(KAPPA_E)
@example(KAPPA_SMALL)
@example(SINGULAR_FREE)
@example(SINGULAR_TIED)
@example(NO_VALUES)
def test_the_closed_form_attains_the_output(c: DirectionCase) -> None:
    assume(any(x != 0 for x in logit_vector(c)))
    A = attainable_output(c.head, c.token, c.across, c.rho)
    demand_attains(c, A, context_token(c.head, c.token, A, c.rho))


@given(direction_cases(), vectors(3, rationals))
@example(PLAIN, [fmpq(1), fmpq(0), fmpq(0)])
@example(SCORE_ZERO, [fmpq(1), fmpq(0), fmpq(0)])
@example(NO_LOGITS, [fmpq(1), fmpq(0), fmpq(0)])
@example(SINGULAR_TIED, [fmpq(1), fmpq(5), fmpq(0)])
@example(NO_VALUES, [fmpq(0), fmpq(0), fmpq(0)])
def test_every_token_is_recovered_from_its_output(c: DirectionCase, entries: list[fmpq]) -> None:
    """The other direction and uniqueness: any token x gives some output A at some ρ; the closed form returns a token
    with that output and ρ, and for invertible V it returns x itself."""
    d = len(c.token)
    x = entries[:d]
    q = logit_vector(c)
    A = Attention((c.head,))(column_vector(c.token), column_vector(x).hstack(column_vector(c.token)))
    assert isinstance(A, ExpMatrix)
    rho = dot(q, c.token) - dot(q, x)
    found = context_token(c.head, c.token, A, rho)
    demand_attains(DirectionCase(c.head, c.token, x, rho), A, found)
    if c.head.V.rank() == d:
        assert found == ExpMatrix.embed(column_vector(x))


def solvable(c: DirectionCase, A: list[fmpq]) -> bool:
    """Whether V z = A, q·z = s_0 − ρ/(1+e^ρ) has a solution, for rational A, by ranks: with ρ ≠ 0 the last right-hand
    side is irrational, so q must then be free on the solutions of the first equation."""
    q, V = logit_vector(c), c.head.V
    both = RationalMatrix.of([*V.rows(), q])
    if V.hstack(column_vector(A)).rank() > V.rank():
        return False
    if both.rank() > V.rank():
        return True
    if c.rho != 0:
        return False
    return both.hstack(column_vector([*A, dot(q, c.token)])).rank() == both.rank()


@given(direction_cases(), vectors(3, integers))
@example(PLAIN, [fmpq(1), fmpq(2), fmpq(0)])
@example(PLAIN, [fmpq(1), fmpq(1), fmpq(0)])
@example(SINGULAR_FREE, [fmpq(1), fmpq(0), fmpq(0)])
@example(SINGULAR_FREE, [fmpq(1), fmpq(1), fmpq(0)])
@example(SINGULAR_TIED, [fmpq(1), fmpq(0), fmpq(0)])
@example(SINGULAR_TIED, [fmpq(2), fmpq(0), fmpq(0)])
@example(NO_LOGITS, [fmpq(1), fmpq(1), fmpq(0)])
@example(NO_VALUES, [fmpq(1), fmpq(1), fmpq(0)])
@example(KAPPA_E, [fmpq(1), fmpq(1), fmpq(0)])
def test_a_rational_output_is_attained_or_refused_by_name(c: DirectionCase, entries: list[fmpq]) -> None:
    """Refused exactly when the linear system has no solution, and by the condition that fails."""
    A = entries[: len(c.token)]
    goal = column_vector(A)
    if solvable(c, A):
        demand_attains(c, ExpMatrix.embed(goal), context_token(c.head, c.token, goal, c.rho))
        return
    V = c.head.V
    in_range = V.hstack(goal).rank() == V.rank()
    reason = "q·z = s_0" if in_range else "range of V"
    with pytest.raises(DirectionError, match=reason):
        context_token(c.head, c.token, goal, c.rho)


@given(direction_cases(), rationals)
@example(PLAIN, fmpq(1))
@example(SCORE_ZERO, fmpq(-1))
@example(KAPPA_E, fmpq(1, 3))
def test_a_wrong_score_is_refused(c: DirectionCase, step: fmpq) -> None:
    """With invertible V: A + V q·step has g·A off by step·|q|², and is refused for any step ≠ 0."""
    q = logit_vector(c)
    assume(step != 0 and any(x != 0 for x in q) and c.head.V.rank() == len(q))
    A = attainable_output(c.head, c.token, c.across, c.rho)
    g = c.head.V.T.inverse().apply(q)
    assert score(g, A) == required_score(c.head, c.token, c.rho)
    moved = A + column_vector([step * x for x in c.head.V.apply(q)])
    assert isinstance(moved, ExpMatrix)
    with pytest.raises(DirectionError, match=r"q·z = s_0 − ρ/\(1\+e\^ρ\)"):
        context_token(c.head, c.token, moved, c.rho)


@given(direction_cases(), vectors(3, integers))
@example(SINGULAR_FREE, [fmpq(0), fmpq(1), fmpq(0)])
@example(NO_VALUES, [fmpq(0), fmpq(1), fmpq(0)])
def test_an_output_outside_the_range_is_refused(c: DirectionCase, entries: list[fmpq]) -> None:
    off = column_vector(entries[: len(c.token)])
    V = c.head.V
    assume(V.hstack(off).rank() > V.rank())
    assume(any(x != 0 for x in logit_vector(c)))
    moved = attainable_output(c.head, c.token, c.across, c.rho) + off
    assert isinstance(moved, ExpMatrix)
    with pytest.raises(DirectionError, match="range of V"):
        context_token(c.head, c.token, moved, c.rho)


def test_without_logits_only_equal_weights_exist() -> None:
    """q = 0: every token weighs the same, so ρ = 0 works for every A and ρ ≠ 0 for none."""
    A = RationalMatrix.of([[5], [7]])
    assert context_token(NO_LOGITS.head, NO_LOGITS.token, A).as_rational() == RationalMatrix.of([[9], [14]])
    with pytest.raises(DirectionError, match="q·z"):
        context_token(NO_LOGITS.head, NO_LOGITS.token, A, fmpq(1))


@pytest.mark.parametrize("rho", [fmpq(0), fmpq(1), fmpq(-40), fmpq(40), fmpq(1278464543, 10**9)])
def test_required_score_is_between_its_limits(rho: fmpq) -> None:
    """s_0 − ρ/(1+e^ρ) is at least s_0 − W(1/e), W(1/e) = 0.27846454276107…, and s_0 itself at ρ = 0."""
    value = required_score(PLAIN.head, PLAIN.token, rho)
    assert value > fmpq(5) - fmpq(278464542762, 10**12)
    if rho == 0:
        assert value.as_rational() == 5
    if rho == fmpq(1278464543, 10**9):
        assert value < fmpq(5) - fmpq(278464542760, 10**12)


def test_certificates_are_accepted(tmp_path: Path) -> None:
    certificates = []
    for k in range(40):
        rng = random.Random(f"direction-lemma/{k}")
        d = rng.randint(1, 5)
        head = random_head(rng, d, rng.randint(1, d))
        token, across = (random_matrix(rng, d, 1, denominator=2).column(0) for _ in range(2))
        if all(x == 0 for x in head.logit_vectors(column_vector(token)).column(0)):
            continue
        rho = fmpq(rng.randint(-4, 4), rng.randint(1, 3)) if k % 2 else fmpq(0)
        result = certify(head, token, attainable_output(head, token, across, rho), rho)
        assert result.verdict is Verdict.PROVED
        assert result.certificate is not None
        certificates.append(result.certificate)
    demand_all_true(tmp_path, certificates)
