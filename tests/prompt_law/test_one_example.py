"""One example: the least length is max(1, ⌈e |c| e^{−g·a}⌉), against two searches that know nothing of the formula."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from flint import arb, fmpq
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from law_instances import Instance, exact_prompt, instance_of, model_loss, random_instance, top
from scipy.optimize import minimize_scalar
from test_one_query import demand_prompt

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.curve import loss_curve
from constructions.single_layer.decide import decide
from constructions.single_layer.explicit_prompt import explicit_prompt
from constructions.single_layer.one_query import Combination, decide_one_query
from verify.search import adversary

FEW = max(4, settings.default.max_examples // 2)
I1 = RationalMatrix.identity(1)


def needs(wanted: float) -> Instance:
    """d = 1, V = 1, q = 1, context (3, 0), a = −t from −3 on: the first t whose formula gives ``wanted`` tokens."""
    t = -3.0
    while formula(one(t)) < wanted:
        t += 1 / 64
    return one(t)


def one(t: float) -> Instance:
    return instance_of([1], I1, [RationalMatrix.of([[3, 0]])], [[-fmpq(int(t * 64), 64)]])


def formula(instance: Instance) -> float:
    """max(1, e |c| e^{−g·a}), or 1 for c ≥ 0, in floats; with c = S g·(a − A)."""
    problem = instance.problem
    view = problem.views[0]
    g = np.array([float(x) for x in problem.g or ()])
    S = float(view.mass.enclosure())
    A = np.array([float(x.enclosure()) for x in view.output.column(0)])
    a = np.array([float(x) for x in problem.shifted[0][0]])
    c = S * g @ (a - A)
    return 1.0 if c >= 0 else max(1.0, float(np.e * -c * np.exp(-g @ a)))


def least_entropy(instance: Instance) -> float:
    """The least H over all masses that solve the equation, by a search over s: H = log s − g·u, u = a + (a − A) S/s."""
    problem = instance.problem
    view = problem.views[0]
    g = np.array([float(x) for x in problem.g or ()])
    S = float(view.mass.enclosure())
    A = np.array([float(x.enclosure()) for x in view.output.column(0)])
    a = np.array([float(x) for x in problem.shifted[0][0]])

    def entropy(sigma: float) -> float:
        return float(sigma - g @ (a + (a - A) * S / np.exp(sigma)))

    grid = np.linspace(-20, 20, 4001)
    start = grid[np.argmin([entropy(x) for x in grid])]
    run = minimize_scalar(entropy, bounds=(start - 0.02, start + 0.02), method="bounded", options={"xatol": 1e-12})
    return float(min(run.fun, entropy(grid[0])))


@given(st.integers(0, 10**6))
@settings(max_examples=4 * FEW)
@example(5)
def test_formula_against_a_search_over_masses(seed: int) -> None:
    instance = random_instance(seed, "one-query")
    problem = instance.problem
    assume(problem.g is not None)
    possible = decide_one_query(problem).possible
    assert possible is not None
    entropy = least_entropy(instance)
    if entropy < 0:  # then H = 0 is reached
        assert possible.length == 1
    else:
        number = np.exp(entropy)
        assume(abs(number - round(number)) > 1e-6 * number)  # the search cannot tell the sides of an integer
        assert possible.length == max(1, int(np.ceil(number)))
    number = formula(instance)
    assume(number == 1 or abs(number - round(number)) > 1e-9 * number)
    assert possible.length == int(np.ceil(number))
    demand_prompt(instance, possible)


@pytest.mark.parametrize("wanted", [1.5, 2.5, 5, 11, 23, 41, 59])
def test_lengths_up_to_sixty_against_the_curve(wanted: float) -> None:
    """One token fewer: a certified positive loss, and unmemorizable; with all of them memorizable, and loss 0."""
    instance = needs(wanted)
    problem = instance.problem
    possible = decide_one_query(problem).possible
    assert possible is not None
    length = possible.length
    assert wanted <= length <= 1.2 * wanted + 2
    shorter, enough = loss_curve(problem, [length - 1, length])
    assert shorter.lower > 0
    assert enough.lower == 0
    assert [reason.argument for reason in decide_one_query(problem, length - 1).impossible] == ["length"]
    assert decide_one_query(problem, length).memorizable
    answer = decide(instance.model, instance.data, length - 1)
    assert (answer.verdict.value, answer.infimum, answer.minimal_prompt_length) == ("unmemorizable", "positive", length)
    demand_prompt(instance, possible)


@pytest.mark.parametrize("wanted", [2.5, 7, 17])
def test_gradient_descent_stops_at_the_same_length(wanted: float) -> None:
    """Descent cannot pass the certified loss of one token fewer, and comes far below it with all of them."""
    instance = needs(wanted)
    length = decide_one_query(instance.problem).possible.length  # type: ignore[union-attr]
    (shorter,) = loss_curve(instance.problem, [length - 1])
    short = adversary(instance.model, instance.data, lengths=[length - 1], restarts=12, max_iterations=3000)
    assert top(model_loss(instance, exact_prompt(short.prompt))) >= shorter.lower
    full = adversary(instance.model, instance.data, lengths=[length], restarts=12, max_iterations=3000)
    assert top(model_loss(instance, exact_prompt(full.prompt))) < shorter.lower


@given(st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_the_least_factor_is_never_a_whole_number(seed: int) -> None:
    """e |c| e^{−g·a} = N would need ``g·C = Σ e^z (z − g·a)`` to be N e^{g·a−1}, but there that term has a coefficient
    of at most 0: so an explicit prompt for one example with c < 0 and two tokens or more never has equal tokens."""
    instance = random_instance(seed, "one-query")
    problem = instance.problem
    possible = decide_one_query(problem).possible
    assert possible is not None
    if problem.g is not None:
        combination = Combination(problem, possible.choice)
        exponent = sum((x * y for x, y in zip(problem.g, combination.a[0], strict=True)), fmpq(0)) - 1
        assert combination.along(list(problem.g), 0).terms.get(exponent, fmpq(0)) <= 0
        assert not combination.needs_equal_tokens(possible)


def test_a_vanishing_c() -> None:
    """c = 0: every mass with log s = g·a, one token; and the token is found though no ball shows c = 0."""
    instance = instance_of([1], I1, [RationalMatrix.of([[2, 2]])], [[4]])
    problem = instance.problem
    possible = decide_one_query(problem).possible
    assert possible is not None
    assert possible.length == 1
    with flint.ctx.workprec(256):
        prompt = explicit_prompt(problem, possible)
        assert prompt.tokens[0, 0].contains(2)
    demand_prompt(instance, possible)


def test_least_lengths_grow_without_bound() -> None:
    """a = −t: the least length is at least e^t."""
    lengths = []
    for t in (1, 2, 4, 8, 16, 32, 64):
        possible = decide_one_query(one(t).problem).possible
        assert possible is not None
        lengths.append(possible.length)
        with flint.ctx.workprec(256):
            assert possible.length >= int(arb(t).exp().floor().unique_fmpz())  # type: ignore[arg-type]
    assert lengths == sorted(lengths)
