"""Attention split: the model on [P, X] equals, head by head, the mixture of prompt and context, exactly."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from flint import fmpq
from hypothesis import example, given
from hypothesis import strategies as st
from layer_instances import Draw, demand_all_true, fraction, fractions, heads, integers, matrices, rows

from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.attention_split import split
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Verdict
from verify.claims.attention_split import certify
from verify.instances import random_head, random_matrix

Sum = dict[Fraction, Fraction]  # exponent -> coefficient


@dataclass(frozen=True)
class SplitCase:
    attention: tuple[Head, ...]
    P: RationalMatrix
    X: RationalMatrix


@st.composite
def split_cases(draw: Draw) -> SplitCase:
    d = draw(st.integers(1, 3))
    count = draw(st.sampled_from([1, 1, 1, 2, 2, 3]))
    longest = 4 - count  # the exact comparison multiplies the heads' denominators
    return SplitCase(
        tuple(draw(heads(d)) for _ in range(count)),
        draw(matrices(d, draw(st.integers(1, longest)), integers)),
        draw(matrices(d, draw(st.integers(1, longest)), integers)),
    )


def of(*rows_: list[Any]) -> RationalMatrix:
    return RationalMatrix.of(rows_)


I2, ZERO2 = RationalMatrix.identity(2), RationalMatrix.zeros(2, 2)
EQUAL_LOGITS = SplitCase((Head(ZERO2, I2, I2),), of([1, 2, 3], [0, 5, 1]), of([4, 7], [1, 1]))
ZERO_WEIGHTS = SplitCase((Head(ZERO2, ZERO2, ZERO2, ZERO2),) * 2, of([1], [2]), of([3], [4]))
ONE_TOKEN = SplitCase((Head(I2, I2, I2),), of([1], ["1/2"]), of(["-1/3"], [2]))
EQUAL_TOKENS = SplitCase((Head(I2, I2, I2),), of([1, 1], [2, 2]), of([1, 1], [2, 2]))
VALUES_SINGULAR = SplitCase((Head(I2, I2, of([1, 1], [1, 1])),), of([1, 0], [2, -1]), of([1, 0], [0, 1]))


def layer_of(case: SplitCase, causal: bool = False) -> Layer:
    return Layer(Attention(case.attention, causal=causal), FeedForward.none(case.X.shape[0]))


def mixtures(case: SplitCase, token: list[fmpq], X: RationalMatrix) -> ExpMatrix:
    """Token plus the sum of the heads' mixtures: what the layer without hidden units gives."""
    total: Any = ExpMatrix.embed(column_vector(token))
    for head in case.attention:
        total = total + split(head, token, X, case.P).mixture
    return total


@given(split_cases())
@example(EQUAL_LOGITS)
@example(ZERO_WEIGHTS)
@example(ONE_TOKEN)
@example(EQUAL_TOKENS)
@example(VALUES_SINGULAR)
def test_every_output_column_is_the_mixture(case: SplitCase) -> None:
    """Without a mask every token of X sees prompt and context."""
    output = Transformer((layer_of(case),)).with_prompt(case.P, case.X)
    for j in range(case.X.shape[1]):
        assert mixtures(case, case.X.column(j), case.X) == output.columns(j, j + 1)


@given(split_cases())
@example(EQUAL_LOGITS)
@example(ZERO_WEIGHTS)
@example(ONE_TOKEN)
def test_causal_columns_are_mixtures_with_what_they_see(case: SplitCase) -> None:
    """With a causal mask column j sees the whole prompt and X up to j; the last column sees all."""
    layer = layer_of(case, causal=True)
    m_p, m = case.P.shape[1], case.X.shape[1]
    joined = case.P.hstack(case.X)
    for j in range(m):
        assert mixtures(case, case.X.column(j), case.X.columns(0, j + 1)) == layer.output(joined, m_p + j)
    unmasked = layer_of(case).output(joined, m_p + m - 1)
    assert layer.output(joined, m_p + m - 1) == unmasked


def weighted(head: Head, token: list[fmpq], tokens: RationalMatrix) -> tuple[Sum, list[Sum]]:
    """(S, B) by plain fractions: S = Σ e^{q·z}, B = Σ e^{q·z} V z."""
    x, columns = fractions(token), list(zip(*rows(tokens), strict=True))
    keys, queries = rows(head.W_k), rows(head.W_q)
    hidden = [sum((a * b for a, b in zip(row, x, strict=True)), fraction(bias))
              for row, bias in zip(queries, head.b_q.column(0), strict=True)]  # fmt: skip
    mass: Sum = defaultdict(Fraction)
    values: list[Sum] = [defaultdict(Fraction) for _ in x]
    for z in columns:
        key = [sum((a * b for a, b in zip(row, z, strict=True)), Fraction(0)) for row in keys]
        score = sum((a * b for a, b in zip(key, hidden, strict=True)), Fraction(0))
        inner = [sum((a * b for a, b in zip(row, z, strict=True)), Fraction(0)) for row in rows(head.W_v)]
        mass[score] += 1
        for i, row in enumerate(rows(head.W_o)):
            values[i][score] += sum((a * b for a, b in zip(row, inner, strict=True)), Fraction(0))
    return mass, values


def as_exp_sum(terms: Sum) -> ExpSum:
    return ExpSum({fmpq(q.numerator, q.denominator): fmpq(c.numerator, c.denominator) for q, c in terms.items()})


@given(split_cases())
@example(EQUAL_LOGITS)
@example(ONE_TOKEN)
@example(VALUES_SINGULAR)
def test_parts_agree_with_a_second_evaluation(case: SplitCase) -> None:
    """λ = S_X/(S_X + S_P) in (0, 1), and both outputs, against sums of plain fractions."""
    token = case.X.column(case.X.shape[1] - 1)
    for head in case.attention:
        found = split(head, token, case.X, case.P)
        S_X, B_X = weighted(head, token, case.X)
        S_P, B_P = weighted(head, token, case.P)
        assert found.fraction == ExpFraction(as_exp_sum(S_X), as_exp_sum(S_X) + as_exp_sum(S_P))
        assert found.fraction > 0
        assert found.fraction < 1
        for sums, mass, output in ((B_X, S_X, found.on_context), (B_P, S_P, found.on_prompt)):
            assert output.column(0) == [ExpFraction(as_exp_sum(b), as_exp_sum(mass)) for b in sums]


def test_equal_logits_give_the_plain_mean() -> None:
    found = split(EQUAL_LOGITS.attention[0], [fmpq(4), fmpq(1)], EQUAL_LOGITS.X, EQUAL_LOGITS.P)
    assert found.fraction.as_rational() == fmpq(2, 5)
    assert found.mixture.as_rational() == of([fmpq(17, 5)], [fmpq(8, 5)])


def test_one_shared_fraction_for_several_heads_is_wrong() -> None:
    """Negative control: with several heads the mixture by the first head's λ alone is not what the model gives."""
    case = SplitCase((Head(I2, I2, I2), Head(ZERO2, I2, I2)), of([1], [0]), of([0, 1], [1, 1]))
    token = case.X.column(1)
    parts = [split(head, token, case.X, case.P) for head in case.attention]
    wrong: Any = ExpMatrix.embed(column_vector(token))
    for part in parts:
        pairs = zip(part.on_context.column(0), part.on_prompt.column(0), strict=True)
        share = parts[0].fraction
        wrong = wrong + ExpMatrix([[share * a + (1 - share) * u] for a, u in pairs], 1)
    output = Transformer((layer_of(case),)).with_prompt(case.P, case.X).columns(1, 2)
    assert wrong != output
    assert mixtures(case, token, case.X) == output


def test_certificates_are_accepted(tmp_path: Path) -> None:
    certificates = []
    for k in range(12):
        rng = random.Random(f"attention-split/{k}")
        d, count = rng.randint(1, 4), rng.randint(1, 2)
        attention = Attention(tuple(random_head(rng, d, rng.randint(1, d)) for _ in range(count)))
        x, X, P = (random_matrix(rng, d, n, denominator=2) for n in (1, rng.randint(1, 2), rng.randint(1, 2)))
        result = certify(attention, x, X, P)
        assert result.verdict is Verdict.PROVED
        assert result.certificate is not None
        certificates.append(result.certificate)
    demand_all_true(tmp_path, certificates)
