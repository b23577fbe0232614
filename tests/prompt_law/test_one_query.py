"""The decision for one logit vector: data made from prompts, exact solutions, boundaries, arguments and infimum."""

from __future__ import annotations

import flint
import pytest
from flint import arb, fmpq
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from law_instances import (
    KINDS,
    Instance,
    attention_outputs,
    consistent,
    instance_of,
    model_loss,
    random_instance,
)
from memorizable_data import memorizable

from constructions.data import Dataset, Example
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.curve import loss_curve
from constructions.single_layer.decide import decide
from constructions.single_layer.explicit_prompt import explicit_prompt, prompt_box
from constructions.single_layer.one_query import Possible, decide_one_query, infimum_is_zero
from constructions.transformer import Transformer
from constructions.verdict import Memorization

I2 = RationalMatrix.identity(2)
FEW = max(4, settings.default.max_examples // 2)
ARGUMENTS = {"range", "sign", "masses", "entropy", "integer", "length"}


def boxed(P: RationalMatrix, radius: fmpq) -> BallMatrix:
    """The box around P as balls."""
    rows, columns = P.shape
    return BallMatrix(
        flint.arb_mat([[arb(P[i, j]) + arb(0, arb(radius)) for j in range(columns)] for i in range(rows)])
    )


def demand_prompt(instance: Instance, possible: Possible) -> None:
    """The explicit prompt: so many tokens; a narrow box whose outputs, by the model, contain a solution, and whose
    centre misses the targets by no more than the box is wide as the attention sees it."""
    problem = instance.problem
    with flint.ctx.workprec(512):
        prompt = explicit_prompt(problem, possible)
        assert prompt.length == possible.length
        if possible.length > 200:
            return
        box = prompt_box(prompt)
        assert box is not None
        assert box.P.shape == (instance.model.width, possible.length)
        assert 0 <= box.radius < fmpq(1, 2**64)
        targets = [points[i] for points, i in zip(problem.shifted, possible.choice, strict=True)]
        around = attention_outputs(instance, boxed(box.P, box.radius))
        centre = attention_outputs(instance, box.P)
        for output, middle, target in zip(around, centre, targets, strict=True):
            for x, y, a in zip(output, middle, target, strict=True):
                assert x.contains(a)
                assert abs(y - arb(a)) <= 2 * x.rad()
        assert model_loss(instance, boxed(box.P, box.radius), 512).contains(0)


# -- data made from a prompt ------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
@settings(max_examples=4 * FEW)
def test_data_of_a_prompt_are_never_unmemorizable(seed: int) -> None:
    """Also not with the prompt's length as the limit; one query then needs no more tokens than the prompt has."""
    made = memorizable(seed)
    m_p = made.prompt.shape[1]
    for limit in (None, m_p):
        decision = decide(made.model, made.data, limit)
        assert decision.verdict is not Memorization.UNMEMORIZABLE
        if decision.argument == "one-query":
            assert decision.minimal_prompt_length is not None
            assert decision.minimal_prompt_length <= m_p
            assert decision.infimum == "zero"


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=2 * FEW)
def test_equal_scores(seed: int, m_p: int, n: int) -> None:
    """Tokens and contexts across q: all outputs are rational, e^H = m_p exactly, the least length ≤ m_p."""
    import random

    from verify.instances import random_full_rank, random_matrix

    rng = random.Random(seed)
    d = rng.randint(2, 4)
    V = random_full_rank(rng, d, d, size=2)
    q = random_matrix(rng, d, 1, size=2).column(0)
    assume(any(x != 0 for x in q))
    across = RationalMatrix.of([q]).nullspace()
    token = random_matrix(rng, d, 1).column(0)

    def near() -> list[fmpq]:
        z = token
        for e in across:
            c = fmpq(rng.randint(-2, 2), 2)
            z = [x + c * y for x, y in zip(z, e, strict=True)]
        return z

    P = RationalMatrix.of_columns([near() for _ in range(m_p)])
    contexts = [RationalMatrix.of_columns([near() for _ in range(rng.randint(0, 3))] + [token]) for _ in range(n)]
    instance = instance_of(q, V, contexts, [[0] * d] * n)
    examples = []
    for X in contexts:
        output = instance.model.layers[0].output(P.hstack(X), m_p + X.shape[1] - 1).as_rational()  # type: ignore[attr-defined]
        assert output is not None
        examples.append(Example(X, output))
    made = Instance("equal scores", instance.model, Dataset(tuple(examples)))
    decision = decide_one_query(made.problem)
    assert decision.undecided is None
    assert decision.possible is not None
    assert decision.possible.length <= m_p
    assert decide_one_query(made.problem, m_p).memorizable
    demand_prompt(made, decision.possible)
    if decision.possible.equation is not None:  # the mass is that of the prompt, hence so is e^H, to the integer
        assert decision.possible.length == m_p
        if m_p > 1:
            shorter = decide_one_query(made.problem, m_p - 1)
            assert [reason.argument for reason in shorter.impossible] == ["entropy"]


# -- solutions constructed exactly ------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 3))
@settings(max_examples=3 * FEW)
def test_two_and_more_examples_solved_exactly(seed: int, n: int, d: int) -> None:
    """Mass c e^r and output u with g·u = x solve all equations, and nothing else: ⌈c e^{r−x}⌉ tokens, or none."""
    made = consistent(seed, n=n, d=d)
    problem = made.instance.problem
    assume(any(a != problem.shifted[0] for a in problem.shifted))
    ratio = arb(made.r - made.x).exp() * arb(made.c)
    decision = decide_one_query(problem)
    assert decision.undecided is None
    whole = made.r == made.x and made.c.q == 1
    if (made.r == made.x and made.c < 1) or (made.r != made.x and ratio < 1):
        assert [reason.argument for reason in decision.impossible] == ["entropy"]
        assert not infimum_is_zero(problem, None)
        assert next(loss_curve(problem, [None])).lower > 0
        return
    expected = int(made.c.p) if whole else int(ratio.ceil().unique_fmpz())  # type: ignore[arg-type]
    assert decision.possible is not None
    assert decision.possible.length == expected
    demand_prompt(made.instance, decision.possible)
    if expected > 1:
        shorter = decide_one_query(problem, expected - 1)
        assert [reason.argument for reason in shorter.impossible] == ["entropy"]
        assert not infimum_is_zero(problem, expected - 1)
    assert decide_one_query(problem, expected).memorizable


@pytest.mark.parametrize("N", [1, 2, 3, 7, 60])
def test_a_whole_number_on_the_spot(N: int) -> None:
    """e^H = N exactly: N equal tokens are needed and enough; one part in 10^30 more, and they are not."""
    exactly, more, less = (
        consistent(1, n=2, d=2, c=fmpq(N) + change, drop=fmpq(0)).instance
        for change in (fmpq(0), fmpq(1, 10**30), -fmpq(1, 10**30))
    )
    for instance, length in ((exactly, N), (more, N + 1), (less, N)):
        if N == 1 and instance is less:  # e^H < 1
            assert not decide_one_query(instance.problem).memorizable
            continue
        possible = decide_one_query(instance.problem).possible
        assert possible is not None
        assert possible.equation is not None
        assert possible.length == length
        demand_prompt(instance, possible)


def test_a_prompt_of_almost_equal_tokens() -> None:
    """e^H = 3 − 10^{−130}: the tokens differ by about 10^{−65}, and the box must contain them all the same."""
    made = consistent(1, n=2, d=2, c=fmpq(3) - fmpq(1, 10**130), drop=fmpq(0))
    problem = made.instance.problem
    possible = decide_one_query(problem).possible
    assert possible is not None
    assert possible.length == 3
    with flint.ctx.workprec(2048):
        prompt = explicit_prompt(problem, possible, precision=64)
        assert prompt.counts == (1, 2)
        difference = abs(prompt.tokens[0, 0] - prompt.tokens[0, 1]) + abs(prompt.tokens[1, 0] - prompt.tokens[1, 1])
        assert difference > arb(fmpq(1, 10**70))
        assert difference < arb(fmpq(1, 10**60))


@given(st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_any_change_of_the_targets_spoils_it(seed: int) -> None:
    """Negative control: d ≥ 2 equations in one unknown; a target moved across the line of the others has no
    solution."""
    made = consistent(seed, n=2, d=3)
    examples = list(made.instance.data.examples)
    problem = made.instance.problem
    delta = [x - y for x, y in zip(problem.shifted[0][0], problem.shifted[1][0], strict=True)]
    across = next(e for e in RationalMatrix.of([delta]).nullspace())
    moved = [x + y / 8 for x, y in zip(examples[0].targets.column(0), across, strict=True)]
    examples[0] = Example(examples[0].X, RationalMatrix.of_columns([moved]))
    changed = Instance("spoiled", made.instance.model, Dataset(tuple(examples))).problem
    decision = decide_one_query(changed)
    assume(any(x != 0 for x in delta))
    assert not decision.memorizable
    assert {reason.argument for reason in decision.impossible} <= {"sign", "masses"}


# -- consistency of decision, infimum and curve -----------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(KINDS), st.sampled_from([1, 2, 5, None]))
@settings(max_examples=3 * FEW)
@example(0, "outside-row-space", 1)
@example(0, "zero-query", 2)
@example(1, "one-query", None)
@example(3, "folded", None)
def test_decision_infimum_and_curve_agree(seed: int, kind: str, length: int | None) -> None:
    instance = random_instance(seed, kind)
    problem = instance.problem
    decision = decide_one_query(problem, length)
    assert decision.undecided is None
    assert {reason.argument for reason in decision.impossible} <= ARGUMENTS
    bounds = next(loss_curve(problem, [length]))
    if decision.possible is not None:
        assert length is None or decision.possible.length <= length
        assert bounds.lower == 0
        demand_prompt(instance, decision.possible)
    elif infimum_is_zero(problem, length):
        assert bounds.lower == 0
        assert bounds.upper < fmpq(1, 10**9)
    else:
        assert len(decision.impossible) == len(list(problem.combinations()))
        assert bounds.lower > 0 or bounds.upper < fmpq(1, 10**9)


@given(st.integers(0, 10**6))
@settings(max_examples=2 * FEW)
def test_longer_prompts_can_do_what_shorter_ones_can(seed: int) -> None:
    problem = random_instance(seed, "one-query").problem
    least = decide_one_query(problem).possible
    for length in range(1, 6):
        decision = decide_one_query(problem, length)
        assert decision.memorizable is (least is not None and least.length <= length)


def fields(instance: Instance, length: int | None = None) -> tuple[object, ...]:
    decision = decide(instance.model, instance.data, length)
    return decision.verdict.value, decision.argument, decision.infimum, decision.minimal_prompt_length


def test_argument_names_and_infimum() -> None:
    X, Y = RationalMatrix.of([[1, 1], [2, 0]]), RationalMatrix.of([[0, 1], [-1, 0]])
    equal = instance_of([1, 1], I2, [X, Y], [[1, 1], [1, 1]])
    assert fields(equal) == ("unmemorizable", "closeness", "zero", None)
    assert fields(equal, 5) == ("unmemorizable", "closeness", "positive", None)
    made = consistent(1, n=2, d=3, c=fmpq(5, 2), drop=fmpq(0)).instance
    assert fields(made) == ("memorizable", "one-query", "zero", 3)
    assert fields(made, 2) == ("unmemorizable", "one-query", "positive", 3)
    assert fields(made, 3) == ("memorizable", "one-query", "zero", 3)
    zero = RationalMatrix.zeros
    small = instance_of([1, 0], I2, [zero(2, 2), zero(2, 3)], [[0, 3], [0, 2]])
    assert fields(small)[0] == "unmemorizable"
    assert fields(small)[2] == "zero"
    outside = instance_of([1, 0], RationalMatrix.of([[1, 0], [0, 0]]), [X], [[1, 2]])
    assert fields(outside) == ("unmemorizable", "one-query", "positive", None)


def test_infinite_or_hardmax_or_deep_is_not_decided_by_one_query() -> None:
    made = consistent(1).instance
    layer = made.model.layers[0]
    deep = Transformer((layer, layer))
    assert decide(deep, made.data).verdict is Memorization.UNDECIDED


def test_huge_least_length() -> None:
    """c e^{r−x} with r − x = 60: a number of tokens with 27 digits, exactly."""
    made = consistent(1, n=2, d=2, c=fmpq(3), drop=fmpq(60))
    possible = decide_one_query(made.instance.problem).possible
    assert possible is not None
    with flint.ctx.workprec(256):
        assert possible.length == (arb(60).exp() * 3).ceil().unique_fmpz()
    prompt = explicit_prompt(made.instance.problem, possible)
    assert prompt.length == possible.length
    assert prompt_box(prompt) is None
    with flint.ctx.workprec(512):
        again = made.instance.problem.loss_at(prompt.rounded(256), prompt.counts)
        assert midpoint(again.upper()) < fmpq(1, 10**20)
