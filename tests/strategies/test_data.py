"""What the strategies for data and targets promise: exact memorization, Lipschitz constants that are attained."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from flint import arb, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from occurrence import first

from constructions.data import Dataset
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward
from constructions.universality.lipschitz import SteepPair, check_range, lipschitz_bound
from constructions.universality.piecewise_linear import PiecewiseLinearTarget, Polyline
from constructions.universality.target import lower, upper
from verify.strategies import (
    Memorizable,
    lipschitz_targets,
    memorizable_datasets,
    mlps,
    rationals,
    shared_token_datasets,
    smallest,
)
from verify.strategies.memorizable import FAMILIES, floor

FEW = settings(max_examples=max(8, settings.default.max_examples // 3))  # type: ignore[attr-defined]


# --- shared tokens ---------------------------------------------------------------------------------------------------


@given(shared_token_datasets(distinct_targets=True, max_examples=4, elements=st.integers(0, 1)))
def test_shared_tokens(data: Dataset) -> None:
    inputs = [example.X for example in data.examples]
    assert 2 <= len(inputs) <= 4
    assert len({tuple(X.column(X.shape[1] - 1)) for X in inputs}) == 1
    assert len(set(inputs)) == len(inputs)
    assert len({tuple(example.targets.column(0)) for example in data.examples}) == len(inputs)
    assert all(
        2 <= X.shape[1] <= 3 and example.targets.shape[1] == 1 for X, example in zip(inputs, data.examples, strict=True)
    )


FLAT = FeedForward(
    RationalMatrix.of([[1]]), RationalMatrix.of([[0]]), RationalMatrix.of([[-1]]), RationalMatrix.of([[0]])
)  # min(z, 0)


@given(shared_token_datasets(mlp=FLAT, distinct_targets=True))
def test_targets_in_the_range_of_an_mlp(data: Dataset) -> None:
    targets = [example.targets[0, 0] for example in data.examples]
    assert all(y <= 0 for y in targets)
    assert len(set(targets)) == len(targets)


@given(mlps(2).flatmap(lambda mlp: st.tuples(st.just(mlp), shared_token_datasets(mlp=mlp))))
def test_datasets_take_the_width_of_the_mlp(case: tuple[FeedForward, Dataset]) -> None:
    assert case[1].width == 2


# --- memorizable data ------------------------------------------------------------------------------------------------


def memorizes(case: Memorizable) -> bool:
    """Outputs one by one where there is one layer: those at other tokens may be irrational, and long."""
    for one in case.data.examples:
        m, n = one.X.shape[1], one.targets.shape[1]
        if len(case.model.layers) > 1:
            outputs = case.model.with_prompt(case.prompt, one.X).columns(m - n, m)
            if outputs != one.targets:
                return False
        else:
            tokens, end = case.prompt.hstack(one.X), case.prompt.shape[1] + m
            for k in range(n):
                if case.model.layers[0].output(tokens, end - n + k) != one.targets.columns(k, k + 1):
                    return False
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_memorizes(family: str) -> None:
    @FEW
    @given(memorizable_datasets(families=[family], d=st.integers(2, 3)))
    def holds(case: Memorizable) -> None:
        assert case.family == family
        assert memorizes(case)

    holds()


@given(memorizable_datasets(attention="hardmax", depth=st.integers(1, 2), causal=True))
def test_the_prompt_memorizes_with_hardmax(case: Memorizable) -> None:
    assert memorizes(case)


@FEW
@given(memorizable_datasets(families=["no-query"], depth=2))
def test_the_prompt_memorizes_at_depth(case: Memorizable) -> None:
    assert len(case.model.layers) == 2
    assert memorizes(case)


@FEW
@given(memorizable_datasets(families=["equal-scores", "balanced"], causal=True, min_examples=2, min_tokens=2))
def test_sizes_are_kept(case: Memorizable) -> None:
    assert 2 <= len(case.data.examples) <= 3
    assert 2 <= case.prompt.shape[1] <= 3
    assert case.model.causal
    assert memorizes(case)


def masses(case: Memorizable) -> list[ExpSum]:
    """The masses of the prompt at the last tokens, first head."""
    head = case.model.layers[0].attention.heads[0]
    found = []
    for one in case.data.examples:
        q = head.logit_vectors(one.X.columns(one.X.shape[1] - 1, one.X.shape[1]))
        scores = q.T.times(case.prompt).rows()[0]
        found.append(ExpSum.weighted([fmpq(1)] * len(scores), scores))
    return found


@pytest.mark.parametrize("family", ["balanced", "plateau"])
def test_irrational_masses_come_up(family: str) -> None:
    """And different targets with them."""

    def wanted(case: Memorizable) -> bool:
        targets = {example_.targets for example_ in case.data.examples}
        return len(targets) > 1 and all(mass.as_rational() is None for mass in masses(case))

    first(memorizable_datasets(2, families=[family]), wanted)


def test_targets_for_all_tokens_come_up() -> None:
    first(
        memorizable_datasets(2, families=["no-query"]),
        lambda case: case.data.examples[0].targets.shape[1] == 2,
    )


@pytest.mark.parametrize("number", [fmpq(-1, 2), fmpq(3), fmpq(0)])
def test_floor_of_rationals(number: fmpq) -> None:
    assert floor(number) == int(number.floor())


@pytest.mark.parametrize(("exponent", "expected"), [("0", 1), ("1", 2), ("-1", 0), ("5", 148)])
def test_floor_of_exponentials(exponent: str, expected: int) -> None:
    assert floor(ExpFraction(ExpSum.exp(exponent))) == expected
    assert floor(ExpFraction(-ExpSum.exp(exponent))) == (-expected if exponent == "0" else -expected - 1)


# --- Lipschitz targets -----------------------------------------------------------------------------------------------


def norm_power(values: list[fmpq], p: int) -> fmpq:
    return sum((abs(x) ** p for x in values), fmpq(0))


def cube(f: PiecewiseLinearTarget, steps: int) -> list[tuple[fmpq, ...]]:
    return list(product([fmpq(i, steps) for i in range(steps + 1)], repeat=f.d * f.m))


@given(st.integers(1, 2), st.data())
def test_targets_have_exactly_their_constant(p: int, data: st.DataObject) -> None:
    f: PiecewiseLinearTarget = data.draw(lipschitz_targets(p=p))
    x, y = f.attained
    change = [a - b for a, b in zip(f(x), f(y), strict=True)]
    step = [a - b for a, b in zip(x, y, strict=True)]
    assert x != y
    assert norm_power(change, p) == f.constant**p * norm_power(step, p)
    points = data.draw(st.lists(st.sampled_from(cube(f, 4 if f.d * f.m < 3 else 2)), min_size=2, max_size=6))
    values = [f(point) for point in points]
    assert all(0 <= v <= 1 for value in values for v in value)
    for (a, u), (b, v) in product(zip(points, values, strict=True), repeat=2):
        far = [s - t for s, t in zip(a, b, strict=True)]
        apart = [s - t for s, t in zip(u, v, strict=True)]
        assert norm_power(apart, p) <= f.constant**p * norm_power(far, p)


@FEW
@given(lipschitz_targets(1, 1, constant=rationals("1/2", 2)))
def test_the_certified_bound_agrees(f: PiecewiseLinearTarget) -> None:
    """Branch and bound in balls, which knows the expressions only: the constant is certified, 1 % less is refuted.
    (With two variables, values touch 0 and 1 along lines, which bisection does not settle.)"""
    check_range(f.target)
    assert not isinstance(lipschitz_bound(f.target, f.p, f.constant), SteepPair)
    assert isinstance(lipschitz_bound(f.target, f.p, f.constant * fmpq(99, 100)), SteepPair)


@given(lipschitz_targets(), st.data())
def test_expressions_are_the_function(f: PiecewiseLinearTarget, data: st.DataObject) -> None:
    point = data.draw(st.sampled_from(cube(f, 3)))
    for ball, value in zip(f.target.values([arb(x) for x in point]), f(point), strict=True):
        assert lower(ball) <= value <= upper(ball)
        assert upper(ball) - lower(ball) < fmpq(1, 10**9)


@given(rationals(0, 40, max_denominator=7), st.integers(1, 4), st.data())
def test_any_constant_can_be_asked_for(constant: fmpq, pieces: int, data: st.DataObject) -> None:
    f = data.draw(lipschitz_targets(1, 1, constant=constant, max_pieces=pieces))
    shape = f.entries[0].shape
    assert shape.lipschitz == f.constant == constant
    assert shape.pieces <= max(1, constant.ceil()) + pieces - 1


def test_mixed_targets_come_up() -> None:
    f = first(lipschitz_targets(2, 1, constant=1), lambda f: sum(w != 0 for w in f.entries[1].weights) == 2)
    assert f.entries[0].shape == f.entries[1].shape


def test_polylines_refuse_points_outside() -> None:
    line = Polyline((fmpq(0), fmpq(1)))
    with pytest.raises(ValueError, match=r"expected a number in \[0, 1\], found 3/2"):
        line(fmpq(3, 2))
    with pytest.raises(ValueError, match="heights: expected at least 2, found 1"):
        Polyline((fmpq(0),))


BAD: dict[str, Callable[[], object]] = {
    "families: expected some of no-query, equal-scores, balanced, plateau, found ['easy']": lambda: (
        memorizable_datasets(families=["easy"])
    ),
    "families: expected one that exists at width 1 and depth 1, found ('balanced',)": lambda: smallest(
        memorizable_datasets(1, families=["balanced"])
    ),
    "families: expected one that exists at width 2 and depth 2, found ('plateau',)": lambda: smallest(
        memorizable_datasets(2, families=["plateau"], depth=2)
    ),
    "attention: expected 'softmax' or 'hardmax', found None": lambda: memorizable_datasets(attention=None),
    "p: expected at least 1, found '1/2'": lambda: lipschitz_targets(p="1/2"),
    "constant: expected at least 0, found -1": lambda: lipschitz_targets(constant=-1),
    "constant (drawn): expected at least 0, found -1": lambda: smallest(lipschitz_targets(constant=st.just(-1))),
    "d: expected at most 9, found 10": lambda: lipschitz_targets(10),
    "d: expected the width 1 of the MLP, found 2": lambda: shared_token_datasets(2, mlp=FLAT),
    "max_context: expected a whole number of at least 1, found 0": lambda: shared_token_datasets(max_context=0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        BAD[message]()
    assert str(error.value) == message
