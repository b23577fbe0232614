"""Dependent queries: numbers that are positive in every inequality, and that no prompt has.

Logit vectors q_0 = 0, q_1 = r, q_2 = 2r, masses S_0, S_1, S_2. The weights of any prompt have ``w_1j/w_2j = x_j`` with
``Σ_j w_2j x_j = 1``, ``Σ_j w_2j x_j² = Σ_j w_1j²/w_2j = S_0 S_2/S_1²`` (each term is S_2/S_1², there are S_0 terms),
``Σ_j w_2j x_j log x_j = D_12``, ``Σ_j w_2j log x_j = −D_21``. For all x > 0

    h(x) = (x − 1)²/8 + 2 (x − 1) − (1 + x) log x ≥ 0,

since h(1) = h'(1) = 0 and h''(x) = (1/x − 1/2)² ≥ 0. The mean of h(x_j) under w_2 is therefore

    (S_0 S_2/S_1² − 1)/8 − D_12 + D_21 ≥ 0,    S_0 S_2/S_1² = e^{D_10 + D_12}:

D_21 is not free, as it would be for independent queries. The same holds for q_0, q_0 + r, q_0 + 2r.
"""

from __future__ import annotations

import random
from contextlib import suppress

import flint
import pytest
from flint import arb, fmpq
from hypothesis import given
from hypothesis import strategies as st
from query_instances import divergence, law, prompted, values_at

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.criterion_search import CriterionSearch, FeasiblePoint
from constructions.single_layer.decide_several import SeveralQueries, answer_several, decide_several
from constructions.single_layer.several_queries import System
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided
from verify.claims.several_queries import several_queries
from verify.instances import random_matrix

Row = list[fmpq]


def excess(D_10: arb, D_12: arb, D_21: arb) -> arb:
    """What is not negative for any prompt at q_0, q_0 + r, q_0 + 2r."""
    return ((D_10 + D_12).exp() - 1) / 8 - D_12 + D_21


def with_masses(masses: list[int], means: list[fmpq]) -> SeveralQueries:
    """Data that ask for these masses and means (first coordinates) at q = 0, r, 2r, r = e_1; V = I.

    Tokens are (0, i) with the logit vector i e_1, so that all scores of a context are zero. Each query is there with
    two contexts; ``(S(X) + s) a = Σ z + s u`` for both fixes s, as the second coordinates of their outputs differ.
    """
    one = RationalMatrix.identity(2)
    W_q = RationalMatrix.of([[0, 1], [0, 0]])
    model = Transformer((Layer(Attention((Head(W_q, one, one),)), FeedForward.none(2)),))
    examples = []
    for i, (s, mean) in enumerate(zip(masses, means, strict=True)):
        u = [mean, fmpq(1)]
        for others in ([], [[fmpq(0), fmpq(5)]]):
            columns = [*others, [fmpq(0), fmpq(i)]]
            sums = [sum((z[c] for z in columns), fmpq(0)) for c in range(2)]
            a = [(x + s * y) / (len(columns) + s) for x, y in zip(sums, u, strict=True)]
            target = [x + z for x, z in zip(a, columns[-1], strict=True)]
            examples.append(Example(RationalMatrix.of_columns(columns), column_vector(target)))
    return several_queries(model, Dataset(tuple(examples)))


def system_of(data: SeveralQueries) -> System:
    system = data.system(data.combinations()[0], None)
    assert isinstance(system, System)
    assert not system.independent
    return system


MASSES, MEANS = [20, 7, 20], [fmpq(-2), fmpq(0), fmpq(11, 10)]


def test_positive_numbers_that_no_prompt_has_are_undecided() -> None:
    """S = 20, 7, 20 and r·p̄ = −2, 0, 1.1. All H and D are positive, D_21 = 1.1 − log(20/7) = 0.050; every prompt has
    D_21 ≥ D_12 − (400/49 − 1)/8 = 0.154. The tool knows the masses, and says neither memorizable nor the contrary."""
    data = with_masses(MASSES, MEANS)
    system = system_of(data)
    with flint.ctx.workprec(128):
        log_masses = [arb(s).log() for s in MASSES]
        assert all(b is not None and b[0] <= s <= b[1] for b, s in zip(system.brackets, log_masses, strict=True))
        found = values_at(system, log_masses)
        assert all(value > 0.04 for value in found.values())
        assert len(found) == 9
        D = {(g, k): value for (kind, g, k), value in found.items() if kind == "divergence"}
        assert abs(D[2, 1] - (arb(11) / 10 - (arb(20) / 7).log())) < 1e-30
        assert excess(D[1, 0], D[1, 2], D[2, 1]) < -0.1
    brackets = [b for b in system.brackets if b is not None]
    assert system.holds_strictly(brackets)
    assert isinstance(CriterionSearch(system).find_point(), FeasiblePoint)  # of the inequalities, not of a prompt
    with pytest.raises(Undecided):
        decide_several(data)
    for length in (None, 20, 10**6):
        with pytest.raises(Undecided):
            answer_several(data, length, explicit=True)


@pytest.mark.parametrize(("seed", "n"), [(0, 3), (1, 3), (2, 4)])
def test_dependent_data_of_a_prompt_are_not_refuted(seed: int, n: int) -> None:
    """More queries than dimensions, targets of a prompt (rounded): no tree, for any length and for that of the
    prompt."""
    instance = prompted(seed, 2, n, 5)
    for length in (None, 5):
        system = instance.grouped.system([0] * n, length)
        assert isinstance(system, System)
        assert not system.independent
        with suppress(Undecided):
            assert isinstance(CriterionSearch(system, max_nodes=25).refute(), FeasiblePoint)


def test_fewer_inequalities_violated_are_refuted() -> None:
    """Negative control: D_21 negative instead, and there is a tree."""
    decision = decide_several(with_masses(MASSES, [fmpq(-2), fmpq(0), fmpq(1)]))
    assert decision.possible is None
    assert len(decision.against) == 1


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6), st.sampled_from([1, 4, 20]))
def test_no_prompt_violates_the_inequality(seed: int, d: int, m: int, denominator: int) -> None:
    """Random prompts, from nearly equal tokens to far ones, at q_0, q_0 + r, q_0 + 2r and in the other direction."""
    rng = random.Random(seed)
    P = random_matrix(rng, d, m, size=12, denominator=denominator)
    q, r = (random_matrix(rng, d, 1, size=3, denominator=2).column(0) for _ in range(2))
    with flint.ctx.workprec(192):
        w = [law([x + i * y for x, y in zip(q, r, strict=True)], P).weights for i in range(3)]
        for first, last in ((0, 2), (2, 0)):
            numbers = [divergence(w[1], w[first]), divergence(w[1], w[last]), divergence(w[last], w[1])]
            assert not excess(*numbers) < 0


@given(st.fractions("1/1000", 1000))
def test_the_function_behind_it_is_not_negative(x: object) -> None:
    value = arb(fmpq(x.numerator, x.denominator))  # type: ignore[attr-defined]
    with flint.ctx.workprec(192):
        assert not (value - 1) ** 2 / 8 + 2 * (value - 1) - (1 + value) * value.log() < 0
