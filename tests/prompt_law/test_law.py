"""The reachable set: tokens to (p̄, S) and back, exactly where the mean is rational and in balls everywhere."""

from __future__ import annotations

from math import exp

import flint
import pytest
from flint import arb, fmpq
from hypothesis import assume, example, given
from hypothesis import strategies as st

from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.prompt_law import (
    ClusteredPrompt,
    UnreachableError,
    reaches,
    realize,
    realize_uniform,
    round_to_integer,
    shortest_length,
    summarize,
)
from constructions.verdict import Undecided

rationals = st.fractions(-3, 3, max_denominator=4).map(lambda x: fmpq(x.numerator, x.denominator))
positive = st.fractions("1/64", 1, max_denominator=64).map(lambda x: fmpq(x.numerator, x.denominator))


def vectors(d: int) -> st.SearchStrategy[list[fmpq]]:
    return st.lists(rationals, min_size=d, max_size=d)


@st.composite
def prompts(draw: st.DrawFn, most: int = 5) -> tuple[list[fmpq], RationalMatrix]:
    d = draw(st.integers(1, 4))
    tokens = draw(st.lists(vectors(d), min_size=1, max_size=most))
    return draw(vectors(d)), RationalMatrix.of_columns(tokens)


def one_score(q: list[fmpq], tokens: RationalMatrix) -> RationalMatrix:
    """The tokens moved along q to the score of the first."""
    square = dot(q, q)
    if square == 0:
        return tokens
    first = dot(q, tokens.column(0))
    columns = []
    for j in range(tokens.shape[1]):
        z = tokens.column(j)
        step = (first - dot(q, z)) / square
        columns.append([x + step * y for x, y in zip(z, q, strict=True)])
    return RationalMatrix.of_columns(columns)


def balls_of(q: list[fmpq], prompt: ClusteredPrompt) -> tuple[list[arb], arb]:
    """(p̄, S) of a prompt in balls, from the definition."""
    columns = [prompt.tokens.column(j) for j in range(len(prompt.counts))]
    weights = [
        arb(n) * sum((arb(x) * y for x, y in zip(q, z, strict=True)), arb(0)).exp()
        for n, z in zip(prompt.counts, columns, strict=True)
    ]
    mass = sum(weights, arb(0))
    mean = [sum((w * z[i] for w, z in zip(weights, columns, strict=True)), arb(0)) / mass for i in range(len(q))]
    return mean, mass


@given(prompts())
def test_entropy_is_between_zero_and_the_logarithm_of_the_length(case: tuple[list[fmpq], RationalMatrix]) -> None:
    """H = 0 for one token, 0 < H < log m for several scores, H = log m exactly for one score."""
    q, tokens = case
    m = tokens.shape[1]
    found = summarize(q, tokens)
    scores = {str(dot(q, tokens.column(j))) for j in range(m)}
    entropy = found.entropy(q)
    if len(scores) == 1:
        exact = sum((x * y.as_rational() for x, y in zip(q, found.mean.column(0), strict=True)), fmpq(0))
        assert found.mass * ExpSum.exp(-exact) == ExpSum.of(m)
        assert (entropy - arb(m).log()).contains(0)
    else:
        assert entropy > 0
        assert entropy < arb(m).log()


@given(prompts())
def test_tokens_of_one_score_and_back(case: tuple[list[fmpq], RationalMatrix]) -> None:
    """Mean rational, mass m e^score: exactly what m tokens reach at the top of the law; m equal tokens return it."""
    q, tokens = case
    tokens = one_score(q, tokens)
    m = tokens.shape[1]
    found = summarize(q, tokens)
    mean = [x.as_rational() for x in found.mean.column(0)]
    assert None not in mean
    assert reaches(q, mean, found.mass, m)
    zero = all(x == 0 for x in q)
    assert reaches(q, mean, found.mass, m + 1) is (m > 1 and not zero)  # H = 0 is for one token only
    assert not (m > 1 and reaches(q, mean, found.mass, m - 1))
    again = summarize(q, RationalMatrix.of_columns([mean]), [m])
    assert again.mass == found.mass
    assert again.mean == found.mean
    back = realize_uniform(q, [arb(x) for x in mean], found.mass.enclosure().log(), m)
    assert back.counts == (m,)
    assert back.tokens.contains(RationalMatrix.of_columns([mean]))


@given(prompts(), st.integers(2, 9), positive, rationals)
def test_reaches_is_the_law(case: tuple[list[fmpq], RationalMatrix], m: int, factor: fmpq, shift: fmpq) -> None:
    """S = f·m·e^{q·p̄ + shift}: e^H = f·m·e^shift, compared with 1 and m in floats away from equality."""
    q, tokens = case
    mean = tokens.column(0)
    mass = ExpSum.exp(dot(q, mean) + shift) * (factor * m)
    if all(x == 0 for x in q):
        assert reaches(q, mean, mass, m) is (shift == 0 and factor == 1)
        return
    ratio = float(factor * m) * exp(float(shift))
    if shift == 0:
        assert reaches(q, mean, mass, m) is (factor * m > 1)
    else:  # e^shift is irrational: never equal
        assume(abs(ratio - 1) > 1e-9 and abs(ratio - m) > 1e-9)
        assert reaches(q, mean, mass, m) is (1 < ratio <= m)
    assert reaches(q, mean, mass, 1) is (shift == 0 and factor * m == 1)


@given(prompts(1), st.integers(2, 40), positive)
@example(([fmpq(1)], RationalMatrix.of([[2]])), 2, fmpq(1, 64))
@example(([fmpq(3), fmpq(-1)], RationalMatrix.of([[1], [0]])), 40, fmpq(63, 64))
def test_pairs_inside_the_law_and_back(case: tuple[list[fmpq], RationalMatrix], m: int, share: fmpq) -> None:
    """(p̄, S) with H = share·log m, to tokens, and back to balls that contain p̄ and S."""
    q, tokens = case
    assume(any(x != 0 for x in q) and share < 1)
    mean = tokens.column(0)
    with flint.ctx.workprec(128):
        log_mass = arb(dot(q, mean)) + arb(share) * arb(m).log()
        made = realize(q, [arb(x) for x in mean], log_mass, m)
        assert made.counts == (1, m - 1)
        assert made.length == m
        mean_again, mass = balls_of(q, made)
        assert all(y.contains(x) for x, y in zip(mean, mean_again, strict=True))
        assert mass.overlaps(log_mass.exp())
        assert mass.rel_accuracy_bits() > 32
    rounded = made.rounded(64)
    for i in range(len(q)):
        for j in range(2):
            assert abs(rounded[i, j] - midpoint(made.tokens[i, j])) <= fmpq(1, 2**65)
    # The rounded tokens are a prompt like any other; two different scores: strictly inside the law.
    entropy = summarize(q, rounded, made.counts).entropy(q)
    assert entropy > 0
    assert entropy < arb(m).log()


@given(prompts(4))
def test_tokens_to_pair_to_tokens(case: tuple[list[fmpq], RationalMatrix]) -> None:
    """Any tokens: the two-cluster prompt with their mean and mass has the same length, and balls that contain both."""
    q, tokens = case
    m = tokens.shape[1]
    scores = {str(dot(q, tokens.column(j))) for j in range(m)}
    assume(len(scores) > 1)
    with flint.ctx.workprec(128):
        found = summarize(q, tokens)
        mean = [x.enclosure() for x in found.mean.column(0)]
        log_mass = found.mass.enclosure().log()
        made = realize(q, mean, log_mass, m)
        mean_again, mass = balls_of(q, made)
        assert all(x.overlaps(y) for x, y in zip(mean, mean_again, strict=True))
        assert mass.overlaps(found.mass.enclosure())


@pytest.mark.parametrize(("entropy", "length"), [("-1/2", 3), ("-1/2", 1), ("1/2", 1), (2, 7), (3, 20)])
def test_pairs_outside_the_law(entropy: object, length: int) -> None:
    q, mean = [fmpq(2)], [arb(1)]
    with pytest.raises(UnreachableError):
        realize(q, mean, 2 + arb(fmpq(*map(int, str(entropy).split("/")))), length)


def test_boundaries_in_balls_are_not_guessed() -> None:
    """H = log m and H = 0 exactly: the balls cannot tell, and say so; m equal tokens are asked for by name."""
    q, mean = [fmpq(2)], [arb(1)]
    for entropy in (arb(3).log(), arb(2).log() - arb(2).log()):
        with pytest.raises((Undecided, UnreachableError)):
            realize(q, mean, 2 + entropy, 3)
    assert realize_uniform(q, mean, 2 + arb(3).log(), 3).counts == (3,)


def test_zero_logit_vector() -> None:
    """S = m, and p̄ is free."""
    q = [fmpq(0), fmpq(0)]
    mean = [fmpq(5), fmpq(-7)]
    assert [reaches(q, mean, ExpSum.of(3), m) for m in (2, 3, 4)] == [False, True, False]
    assert not reaches(q, mean, ExpSum.of(fmpq(3, 2)), 1)
    made = realize(q, [arb(x) for x in mean], arb(3).log(), 3)
    assert made.counts == (3,)
    with pytest.raises(UnreachableError):
        realize(q, [arb(x) for x in mean], arb(fmpq(3, 2)).log(), 1)
    with pytest.raises(ValueError, match="at least 1"):
        realize(q, [arb(x) for x in mean], arb(0), 0)


@given(st.integers(1, 10**6), rationals)
def test_shortest_length(number: int, exponent: fmpq) -> None:
    """⌈e^H⌉, with integers exactly on the spot."""
    assert shortest_length(ExpFraction(number)) == number
    value = ExpFraction(ExpSum.exp(exponent) * number)
    if exponent > 0:
        expected = (arb(exponent).exp() * number).ceil().unique_fmpz()
        assert expected is not None
        assert shortest_length(value) == expected
        assert shortest_length(value - value + number) == number


def test_shortest_length_near_an_integer() -> None:
    """e^H one part in 2^200 below and above 7."""
    tiny = fmpq(1, 2**200)
    assert shortest_length(ExpFraction(7 - tiny)) == 7
    assert shortest_length(ExpFraction(7 + tiny)) == 8
    with flint.ctx.workprec(400):
        near = midpoint(arb(7).log())
    above = near + fmpq(1, 2**300)
    assert shortest_length(ExpFraction(ExpSum.exp(above))) == 8
    assert shortest_length(ExpFraction(ExpSum.exp(near - fmpq(1, 2**300)))) == 7


def test_round_to_integer() -> None:
    assert round_to_integer(arb("2.6")) == 3
    with pytest.raises(Undecided):
        round_to_integer(arb("2.5", "0.5"))
