"""Curves whose value is known: ends of the axis, singular V, no logit vector, extreme factors, several preimages."""

from __future__ import annotations

import pytest
from flint import arb, fmpq
from law_instances import Instance, exact_prompt, fold, instance_of, model_loss, random_instance, top
from test_curve import curve, demand_curve, demand_reached

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.curve import LawPoint, RationalPrompt, loss_curve
from constructions.single_layer.loss_problem import NoLossProblemError, OneCombination
from constructions.single_layer.one_query import decide_one_query, infimum_is_zero
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided
from verify.search import adversary

GAP = fmpq(1, 10**9)
I1, I2 = RationalMatrix.identity(1), RationalMatrix.identity(2)
zeros = RationalMatrix.zeros


def demand_value(instance: Instance, length: int | None, value: fmpq, relative: fmpq = 100 * GAP) -> None:
    """The infimum at this length lies between the bounds, and they are close."""
    bounds = next(loss_curve(instance.problem, [length]))
    assert bounds.lower <= value <= bounds.upper
    assert bounds.upper - bounds.lower <= max(GAP, value * relative)
    demand_reached(instance, bounds)


def two_masses(targets: list[list[int]], masses: tuple[int, int] = (2, 3)) -> Instance:
    """S = masses, A = 0, g = e_1, at the query token 0."""
    return instance_of([1, 0], I2, [zeros(2, masses[0]), zeros(2, masses[1])], targets)


def test_the_limit_at_vanishing_mass_is_not_the_loss_without_a_prompt() -> None:
    """13 without a prompt, infimum 0 at every length, never attained."""
    instance = two_masses([[0, 3], [0, 2]])
    no_prompt = sum(x * x for target in ((0, 3), (0, 2)) for x in target)
    assert no_prompt == 13
    for length in (1, 2, 5, None):
        demand_value(instance, length, fmpq(0))
        decision = decide_one_query(instance.problem, length)
        assert [reason.argument for reason in decision.impossible] == ["sign"]
        assert infimum_is_zero(instance.problem, length)


def test_vanishing_mass_with_a_component_along_g() -> None:
    """v = −C has g·v = 6 > 0: as s → 0 no v with g·v ≤ 0 does better than leaving that component out.

    With g·v = 0 the limit is 3² + 2² = 13; some mass in between does better, so the infimum is below and positive.
    """
    instance = two_masses([[3, 0], [2, 0]])
    assert not infimum_is_zero(instance.problem, None)
    bounds = next(loss_curve(instance.problem, [None]))
    assert 0 < bounds.lower <= bounds.upper < 13
    demand_reached(instance, bounds)


def test_vanishing_mass_against_g() -> None:
    """g·v = −6: the limit is 0 for any length and needs ever more tokens; a bounded length leaves a positive loss."""
    instance = two_masses([[-3, 0], [-2, 0]])
    assert infimum_is_zero(instance.problem, None)
    assert not infimum_is_zero(instance.problem, 7)
    demand_value(instance, None, fmpq(0))
    found = curve(instance, (1, 4, 64, None))
    demand_curve(instance, found)
    assert found[64].lower > 0
    assert found[1].lower > found[4].upper > found[64].upper


def test_growing_mass() -> None:
    """Equal targets, different contexts: 0 as s → ∞ for any length, positive for every bounded one."""
    X, Y = RationalMatrix.of([[1, 1], [2, 0]]), RationalMatrix.of([[0, 1], [-1, 0]])
    instance = instance_of([1, 1], I2, [X, Y], [[1, 1], [1, 1]])
    demand_value(instance, None, fmpq(0))
    found = curve(instance, (1, 2, 16, None))
    demand_curve(instance, found)
    assert found[16].lower > 0


def test_growing_mass_of_different_targets() -> None:
    """One context twice, targets a and −a: the best is their mean, loss 2·|a|², at every length.

    The loss is the same for a whole range of masses: nothing to gain from small parts, hence the wider gap.
    """
    X = RationalMatrix.of([[0, 0], [0, 0]])
    instance = instance_of([0, 1], I2, [X, X], [[3, 0], [-3, 0]])
    for length in (1, 2, None):
        demand_value(instance, length, fmpq(18), fmpq(1, 10**5))


def test_a_mass_of_one_and_a_half_tokens() -> None:
    """q = 0, S = (2, 2), a = e_1, e_2: solved by s = 3/2 alone, which no number of tokens is."""
    first = RationalMatrix.of([["7/2", 0], [0, 0]])
    second = RationalMatrix.of([[0, 0], ["7/2", 0]])
    instance = instance_of([0, 0], I2, [first, second], [[1, 0], [0, 1]])
    decision = decide_one_query(instance.problem)
    assert not decision.memorizable
    assert [reason.argument for reason in decision.impossible] == ["integer"]
    # |s δ − Γ|² / (2 (2+s)²) with |δ|² = 2, Γ = 3/2 δ: 1/36 for one token, 1/64 for two, more from three on
    for length, value in ((1, fmpq(1, 36)), (2, fmpq(1, 64)), (3, fmpq(1, 64)), (9, fmpq(1, 64)), (None, fmpq(1, 64))):
        demand_value(instance, length, value)


def test_the_same_mass_where_a_direction_is_unseen() -> None:
    """The data of 3/2 tokens with a third coordinate that carries the logits alone: one token has mass 3/2."""
    V = RationalMatrix.of([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    first = RationalMatrix.of([["7/2", 0], [0, 0], [0, 0]])
    second = RationalMatrix.of([[0, 0], ["7/2", 0], [0, 0]])
    instance = instance_of([0, 0, 1], V, [first, second], [[1, 0, 0], [0, 1, 0]])
    assert instance.problem.g is None
    decision = decide_one_query(instance.problem)
    assert decision.possible is not None
    assert decision.possible.length == 1
    demand_value(instance, 1, fmpq(0))


def test_what_no_output_reaches_is_a_constant() -> None:
    """V = diag(1, 0): a = (1, 2) costs 4 whatever the prompt, for q in the row space, outside it, and zero."""
    V = RationalMatrix.of([[1, 0], [0, 0]])
    for q, length in (([1, 0], 1), ([0, 1], 1), ([0, 0], 1), ([1, 1], None)):
        instance = instance_of(q, V, [RationalMatrix.of([[1, 0], [1, 0]])], [[1, 2]])
        demand_value(instance, length, fmpq(4))
        decision = decide_one_query(instance.problem, length)
        assert [reason.argument for reason in decision.impossible] == ["range"]


def test_a_head_without_values() -> None:
    """V = 0: outputs are 0, every prompt costs |a|² and none less."""
    instance = instance_of([1, 2], zeros(2, 2), [RationalMatrix.of([[1, 0], [1, 0]])], [[1, 2]])
    demand_value(instance, 1, fmpq(5))
    demand_value(instance, None, fmpq(5))


@pytest.mark.parametrize("factor", ["1000", "1/1000"])
@pytest.mark.parametrize("seed", range(3))
def test_steep_and_flat_logits(seed: int, factor: str) -> None:
    """W_q scaled by 10^3 and 10^-3."""
    plain = random_instance(seed, "plain", d=2, n=2)
    head = plain.model.layers[0].attention.heads[0]
    scaled = Head(head.W_q, head.W_k, head.W_v, head.W_o, head.b_q.scaled(factor))
    model = Transformer((Layer(Attention((scaled,)), FeedForward.none(2)),))
    contexts = [example.X for example in plain.data.examples]
    if factor == "1000":  # contexts of one score: masses e^{1000·…} of one size
        contexts = [RationalMatrix.of_columns([X.column(X.shape[1] - 1)] * (2 + k)) for k, X in enumerate(contexts)]
    examples = [Example(X, example.targets) for X, example in zip(contexts, plain.data.examples, strict=True)]
    instance = Instance(f"scaled by {factor}", model, Dataset(tuple(examples)))
    found = curve(instance, (1, 3, None))
    demand_curve(instance, found)
    for bounds in found.values():
        demand_reached(instance, bounds)
    attack = adversary(model, instance.data, lengths=[3], restarts=4, max_iterations=200)
    assert top(model_loss(instance, exact_prompt(attack.prompt), 4096)) >= found[3].lower


def test_several_preimages() -> None:
    """−|z|: the target −2 has the preimages 2 and −2, four combinations, and one token meets the right one.

    With x = 0, q = 0, S = 1 and no value in the context one token p gives p/2: both queries want ±2 of the same p.
    """
    instance = instance_of([0], I1, [zeros(1, 1)] * 2, [[-2], [-2]], mlp=fold(1))
    assert len(list(instance.problem.combinations())) == 4
    demand_value(instance, 1, fmpq(0))
    other = instance_of([0], I1, [zeros(1, 1), zeros(1, 2)], [[-2], [-3]], mlp=fold(1))
    # p/2 against ±2 and p/3 against ±3: least of (p/2 − 2)² + (p/3 − 3)² for one token
    demand_value(other, 1, fmpq(25, 13))
    bounds = next(loss_curve(other.problem, [1]))
    assert len(bounds.covers) == 4


def test_several_preimages_are_all_needed() -> None:
    """A query that asks for 2 or −2 beside one that asks for −1 alone (target 0 plus a shift): signs matter."""
    shifted = FeedForward(
        RationalMatrix.of([[1]]), zeros(1, 1), RationalMatrix.of([[-2]]), zeros(1, 1)
    )  # fmt: skip
    instance = instance_of([0], I1, [zeros(1, 1), zeros(1, 1)], [[-2], [-1]], mlp=shifted)
    # preimages ±2 and ±1 of one and the same output p/2: closest are 2 and 1, loss 2·(1/2)²
    demand_value(instance, 1, fmpq(1, 2))


def test_infinitely_many_preimages_are_refused() -> None:
    """z − ReLU(z) is 0 on a half-line."""
    mlp = FeedForward(RationalMatrix.of([[1]]), zeros(1, 1), RationalMatrix.of([[-1]]), zeros(1, 1))
    instance = instance_of([1], I1, [zeros(1, 2)], [[0]], mlp=mlp)
    with pytest.raises(NoLossProblemError, match="infinitely many"):
        instance.problem.combinations()


def test_a_prompt_too_long_for_counts() -> None:
    """g·v < 0 and a small loss wanted: the explicit prompt may need e^10000 tokens, and is then a point of the law."""
    instance = two_masses([[-300, 0], [-200, 0]])
    bounds = next(loss_curve(instance.problem, [None]))
    assert bounds.upper < GAP
    prompt = bounds.prompt
    if isinstance(prompt, LawPoint):
        q_mean = prompt.mean[0]
        assert q_mean < instance.problem.reference + prompt.sigma
    else:
        assert prompt.length > 10**6


@pytest.mark.parametrize("length", [1, 2, 5])
def test_an_embedding_fixes_the_length(length: int) -> None:
    """With E the prompt has exactly its tokens; the prompt written down is what E is added to."""
    plain = random_instance(5, "plain", d=2, n=2)
    contexts = [RationalMatrix.of([[1, 0], [1, "1/2"]]), RationalMatrix.of([[0, 0], [1, "1/2"]])]
    E = RationalMatrix.of([[k, 1 - k] for k in range(length + 2)]).T
    model = Transformer(plain.model.layers, E)
    data = Dataset(tuple(Example(X, e.targets) for X, e in zip(contexts, plain.data.examples, strict=True)))
    queries = list(data.queries(model))
    with_E = Instance("embedded", model, data)
    (bounds,) = loss_curve(with_E.problem, [length], exact_length=True)
    assert isinstance(bounds.prompt, RationalPrompt)
    assert bounds.prompt.length == length
    shifted = [query.context for query in queries]
    without = Instance(
        "its contexts",
        Transformer(model.layers),
        Dataset(
            tuple(Example(X, column_vector(list(query.target))) for X, query in zip(shifted, queries, strict=True))
        ),
    )
    (free,) = loss_curve(without.problem, [length])
    assert free.lower <= bounds.upper
    assert bounds.lower <= free.upper
    demand_reached(without, bounds)


def test_an_embedding_without_logits() -> None:
    """q = 0 and five tokens: the mass is 5, though 1 would do better. The lower bound is about at most five."""
    instance = instance_of([0, 0], I2, [zeros(2, 1)] * 2, [[1, 0], [-1, 0]])
    other = instance_of(
        [0, 0], I2, [RationalMatrix.of([[1, 0], [0, 0]]), RationalMatrix.of([[-1, 0], [0, 0]])], [[1, 0], [-1, 0]]
    )
    for case in (instance, other):
        (bounds,) = loss_curve(case.problem, [5], exact_length=True)
        assert isinstance(bounds.prompt, RationalPrompt)
        assert bounds.prompt.length == 5
        (free,) = loss_curve(case.problem, [5])
        assert bounds.lower <= free.upper
        demand_reached(case, bounds)


@pytest.mark.parametrize("ball", ["nan", "inf", "1 +/- inf"])
def test_an_output_that_is_not_enclosed_is_undecided(ball: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an error of the input, and no prompt."""
    instance = random_instance(0, "plain")
    d = instance.problem.V.shape[0]
    monkeypatch.setattr(OneCombination, "best_output", lambda self, sigma, log_length: [arb(ball)] * d)
    with pytest.raises(Undecided, match="left the range of balls"):
        next(loss_curve(instance.problem, [3]))
