"""The converse, run: laws with given entropies and divergences, prompts with given masses and means, and back."""

from __future__ import annotations

import random

import flint
import mpmath
import pytest
from flint import arb, arb_mat, fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from query_instances import attention_gaps, divergence, entropy, law

from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.converse import (
    ALPHABETS,
    Laws,
    Numbers,
    means_with,
    numbers_of,
    realize_laws,
    realize_prompt,
    summaries,
    worst_residual,
)
from constructions.single_layer.decide_several import decide_several
from constructions.single_layer.prompt_law import ClusteredPrompt, UnreachableError
from constructions.verdict import Undecided
from verify.claims.several_queries import random_data, several_queries
from verify.instances import random_full_rank, random_matrix

SMALL = 1e-25
FEW = settings(max_examples=max(6, settings.default.max_examples // 4))  # type: ignore[attr-defined]

positive = st.fractions("1/8", 4, max_denominator=64).map(lambda x: fmpq(x.numerator, x.denominator))


@st.composite
def numbers(draw: st.DrawFn, n: int | None = None) -> Numbers:
    size = draw(st.sampled_from([2, 2, 3])) if n is None else n
    row = st.lists(positive, min_size=size, max_size=size)
    return Numbers.of(draw(row), draw(st.lists(row, min_size=size, max_size=size)))


def equal(n: int, H: fmpq, D: fmpq) -> Numbers:
    return Numbers.of([H] * n, [[D] * n] * n)


TINY, HUGE = fmpq(1, 10**6), fmpq(300)


def holds(laws: Laws, target: Numbers) -> None:
    """Sum 1, the entropies and divergences by their definitions, narrow and around the targets; independence."""
    with flint.ctx.workprec(320):
        n, kinds = laws.n, len(laws.counts)
        for i in range(n):
            total = sum((laws.totals[i, j] for j in range(kinds)), arb(0))
            assert total.contains(1)
            assert all(laws.totals[i, j] > 0 for j in range(kinds))
            pairs = [(laws.entropy(i), target.entropies[i])]
            pairs += [(laws.divergence(i, k), target.divergences[i][k]) for k in range(n)]
            for found, wanted in pairs:
                assert found.contains(wanted)
                assert found.rad() < SMALL
        assert (laws.totals * laws.totals.transpose()).det() > 0


@FEW
@given(numbers())
@example(equal(2, TINY, TINY))
@example(equal(3, HUGE, HUGE))
@example(equal(3, fmpq(1, 20), fmpq(5)))  # entropies that the gadgets for divergences nearly use up
@example(equal(2, fmpq(4), fmpq(1, 10)))  # laws that are close and spread: long alphabets
def test_laws_with_given_numbers(target: Numbers) -> None:
    holds(realize_laws(target), target)


@FEW
@given(numbers(n=2))
@example(equal(2, TINY, TINY))
@example(equal(2, fmpq(20), fmpq(30)))
@example(equal(3, fmpq(1), fmpq(1)))
def test_laws_on_products(target: Numbers) -> None:
    laws = realize_laws(target, alphabet="product")
    assert len(laws.counts) == 2 ** (target.n**2)
    holds(laws, target)


@st.composite
def asked(draw: st.DrawFn) -> tuple[RationalMatrix, list[fmpq], RationalMatrix]:
    """Independent logit vectors, log masses, and means with positive numbers, moved at random across the span."""
    target = draw(numbers())
    n = target.n
    d = n + draw(st.integers(0, 2))
    rng = random.Random(draw(st.integers(0, 10**6)))
    Q = random_full_rank(rng, n, d).scaled("1/2")
    log_masses = random_matrix(rng, n, 1, size=6, denominator=2).column(0)
    means = means_with(Q, log_masses, target).mat
    across = Q.nullspace()
    if across:
        moves = random_matrix(rng, len(across), n, denominator=2)
        means = means + RationalMatrix.of_columns(across).times(moves).mat
    return Q, log_masses, RationalMatrix(means)


def by_definition(Q: RationalMatrix, prompt: ClusteredPrompt) -> list[list[mpmath.mpf]]:
    """log S and p̄ at each row of Q, in mpmath, of the midpoints of the tokens."""
    d, kinds = prompt.tokens.shape
    with mpmath.workdps(60):

        def real(x: fmpq) -> mpmath.mpf:
            return mpmath.mpf(int(x.p)) / int(x.q)

        tokens = [[real(midpoint(prompt.tokens[c, j])) for c in range(d)] for j in range(kinds)]
        found = []
        for row in Q.rows():
            q = [real(x) for x in row]
            parts = [n * mpmath.exp(mpmath.fdot(q, t)) for n, t in zip(prompt.counts, tokens, strict=True)]
            mass = mpmath.fsum(parts)
            means = [mpmath.fdot(parts, [t[c] for t in tokens]) / mass for c in range(d)]
            found.append([mpmath.log(mass), *means])
        return found


@FEW
@given(asked())
def test_prompts_with_given_masses_and_means(case: tuple[RationalMatrix, list[fmpq], RationalMatrix]) -> None:
    """There and back, in balls and in mpmath: equal to 25 digits."""
    Q, log_masses, means = case
    prompt = realize_prompt(Q, log_masses, means)
    assert worst_residual(Q, log_masses, means, prompt) < SMALL
    with flint.ctx.workprec(320):
        for i, (log_mass, mean) in enumerate(summaries(Q, prompt)):
            assert log_mass.contains(log_masses[i])
            assert all(x.contains(means[c, i]) for c, x in enumerate(mean))
    for i, row in enumerate(by_definition(Q, prompt)):
        wanted = [log_masses[i], *means.column(i)]
        with mpmath.workdps(60):
            assert all(abs(x - mpmath.mpf(int(y.p)) / int(y.q)) < SMALL for x, y in zip(row, wanted, strict=True))


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize(("H", "D"), [(TINY, TINY), (fmpq(2), fmpq(1)), (fmpq(40), fmpq(50))])
def test_extreme_prompts(alphabet: str, H: fmpq, D: fmpq) -> None:
    Q = RationalMatrix.of([[1, 0, 2], [0, "1/3", -1]])
    log_masses = [fmpq(-3), fmpq(5, 2)]
    means = means_with(Q, log_masses, equal(2, H, D))
    prompt = realize_prompt(Q, log_masses, means, alphabet=alphabet)
    assert worst_residual(Q, log_masses, means, prompt) < SMALL


def test_the_precision_that_is_asked_for() -> None:
    Q = RationalMatrix.identity(2)
    means = means_with(Q, [fmpq(0), fmpq(1)], equal(2, fmpq(1), fmpq(1)))
    for precision in (64, 400):
        prompt = realize_prompt(Q, [fmpq(0), fmpq(1)], means, precision=precision)
        assert worst_residual(Q, [fmpq(0), fmpq(1)], means, prompt, precision) < 2.0 ** (16 - precision)


def test_numbers_of_real_prompts_are_realized_by_other_ones() -> None:
    """(σ, p̄) of a random prompt, rounded to 40 digits: another prompt has them; the numbers are its entropies and
    divergences."""
    for seed in range(6):
        rng = random.Random(seed)
        n = 2 + seed % 2
        Q = random_full_rank(rng, n, 3).scaled("1/2")
        P = random_matrix(rng, 3, 5, size=4, denominator=2)
        with flint.ctx.workprec(256):
            laws = [law(row, P) for row in Q.rows()]
            log_masses = [rounded(found.log_mass) for found in laws]
            means = RationalMatrix.of_columns([[rounded(x) for x in found.mean] for found in laws])
            target = numbers_of(Q, log_masses, means)
            for i, found in enumerate(laws):
                assert abs(entropy(found.weights) - target.entropies[i]) < 1e-30
                for k, other in enumerate(laws):
                    assert abs(divergence(found.weights, other.weights) - target.divergences[i][k]) < 1e-30
        prompt = realize_prompt(Q, log_masses, means)
        assert worst_residual(Q, log_masses, means, prompt) < SMALL


def rounded(x: arb) -> fmpq:
    return fmpq((midpoint(x) * 2**140).floor(), 2**140)


def test_memorizable_data_are_memorized_by_the_prompt() -> None:
    """From the decision to the answers of the layer: at the point that makes data memorizable the converse gives a
    prompt, and with it attention meets every target."""
    met = 0
    for seed in range(12):
        d, n = 3 + seed % 2, 2 + seed % 2
        model, data = random_data(random.Random(f"end to end/{seed}"), d, n)
        decision = decide_several(several_queries(model, data))
        if decision.possible is None:
            continue
        try:
            gaps = attention_gaps(model, data, *decision.possible)
        except Undecided:  # an alphabet beyond the sizes that are tried
            continue
        assert max(gaps) < SMALL
        met += 1
    assert met >= 3


def test_what_no_prompt_has_is_refused() -> None:
    one = RationalMatrix.identity(2)
    good = means_with(one, [fmpq(0)] * 2, equal(2, fmpq(1), fmpq(1)))
    for H, D in ((fmpq(0), fmpq(1)), (fmpq(1), fmpq(0)), (fmpq(-1), fmpq(1)), (fmpq(1), fmpq(-1))):
        with pytest.raises(UnreachableError, match="not positive"):
            equal(2, H, D)
    with pytest.raises(UnreachableError, match="H_0"):
        realize_prompt(one, [fmpq(-1), fmpq(0)], good)
    with pytest.raises(UnreachableError, match="D_0,1"):
        realize_prompt(one, [fmpq(1), fmpq(0)], good)
    with pytest.raises(ValueError, match="dependent"):
        realize_prompt(RationalMatrix.of([[1, 2], [2, 4]]), [fmpq(0)] * 2, good)
    with pytest.raises(ValueError, match="log masses"):
        numbers_of(one, [fmpq(0)], good)
    with pytest.raises(ValueError, match="2×2"):
        Numbers.of([fmpq(1)] * 2, [[fmpq(1)] * 2])
    with pytest.raises(ValueError, match="alphabet"):
        realize_laws(equal(2, fmpq(1), fmpq(1)), alphabet="sum")
    with pytest.raises(Undecided):
        realize_laws(equal(2, fmpq(10**5), fmpq(1, 10**5)))


def test_wrong_laws_and_prompts_are_noticed() -> None:
    """Negative controls of the checks above: one weight, one token moved a little."""
    target = equal(2, fmpq(1), fmpq(2))
    laws = realize_laws(target)
    moved = arb_mat(laws.log_weights)
    moved[0, 1] += arb("1e-20")
    with pytest.raises(AssertionError):
        holds(Laws(moved, laws.counts), target)
    one = RationalMatrix.identity(2)
    means = means_with(one, [fmpq(0)] * 2, target)
    prompt = realize_prompt(one, [fmpq(0)] * 2, means)
    prompt.tokens.mat[1, 2] += arb("1e-20")
    assert worst_residual(one, [fmpq(0)] * 2, means, prompt) > SMALL
