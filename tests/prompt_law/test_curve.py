"""The certified curve: no prompt is below it, the explicit prompt is on it, by the model's own attention in balls."""

from __future__ import annotations

import flint
from flint import fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from law_instances import (
    KINDS,
    Instance,
    exact_prompt,
    model_loss,
    random_instance,
    random_prompts,
    top,
)

from constructions.single_layer.curve import LossBounds, RationalPrompt, loss_curve
from verify.search import adversary

LENGTHS = (1, 2, 3, 7)
FEW = max(4, settings.default.max_examples // 2)
WIDTH = fmpq(1, 10**4)
"""The widest relative gap between the bounds that these instances are held to (the usual one is 1e-8)."""


def curve(instance: Instance, lengths: tuple[int | None, ...] = (*LENGTHS, None)) -> dict[int | None, LossBounds]:
    return dict(zip(lengths, loss_curve(instance.problem, lengths), strict=True))


def demand_not_below(instance: Instance, bounds: LossBounds, prompt: object) -> None:
    """The loss of a prompt, by the model in balls, is not certainly below the certified lower bound."""
    assert top(model_loss(instance, prompt)) >= bounds.lower  # type: ignore[arg-type]


def demand_reached(instance: Instance, bounds: LossBounds) -> None:
    """The explicit prompt, written out, has at most the asked length, and its loss by the model is below the upper
    bound and not below the lower one."""
    prompt = bounds.prompt
    if not isinstance(prompt, RationalPrompt):
        assert bounds.length is None
        return
    assert bounds.length is None or prompt.length <= bounds.length
    with flint.ctx.workprec(bounds.precision + 64):
        assert top(bounds.problem.loss_at(prompt.tokens, prompt.counts)) <= bounds.upper
    tokens = prompt.expanded(64)
    if tokens is None:
        assert prompt.length > 64
        return
    assert tokens.shape[1] == prompt.length
    # precise enough for outputs of the size that vanishing masses need
    largest = max(abs(x) for x in tokens.mat.entries())
    loss = model_loss(instance, tokens, 256 + 64 * int(largest.ceil()).bit_length())
    assert bounds.lower <= top(loss) <= bounds.upper


def demand_curve(instance: Instance, found: dict[int | None, LossBounds]) -> None:
    """Bounds in order, close together, and no length worse than a shorter one; any length below all."""
    lengths = [*sorted(m for m in found if m is not None), *([None] if None in found else [])]
    for bounds in found.values():
        assert 0 <= bounds.lower <= bounds.upper
        assert bounds.upper - bounds.lower <= max(fmpq(1, 10**9), bounds.upper * WIDTH)
    for k, shorter in enumerate(lengths):
        for longer in lengths[k:]:
            assert found[longer].lower <= found[shorter].upper


@given(st.integers(0, 10**6), st.sampled_from(KINDS))
@settings(max_examples=2 * FEW)
@example(0, "steep")
@example(1, "flat")
@example(2, "outside-row-space")
@example(3, "folded")
def test_bounds_of_random_instances(seed: int, kind: str) -> None:
    instance = random_instance(seed, kind)
    found = curve(instance)
    demand_curve(instance, found)
    for bounds in found.values():
        demand_reached(instance, bounds)
    for m, prompt in zip(LENGTHS, random_prompts(instance, seed, LENGTHS), strict=True):
        demand_not_below(instance, found[m], prompt)
        demand_not_below(instance, found[None], prompt)


@given(st.integers(0, 10**6), st.sampled_from([kind for kind in KINDS if kind not in ("folded", "mlp")]))
@settings(max_examples=FEW // 2)
def test_gradient_descent_is_never_below(seed: int, kind: str) -> None:
    """What L-BFGS finds, taken as the exact prompt that its floats are."""
    instance = random_instance(seed, kind)
    found = curve(instance, (1, 3, None))
    for m in (1, 3):
        attack = adversary(instance.model, instance.data, lengths=[m], restarts=3, max_iterations=150, seed=seed)
        prompt = exact_prompt(attack.prompt)
        demand_not_below(instance, found[m], prompt)
        demand_not_below(instance, found[None], prompt)


@given(st.integers(0, 10**6))
@settings(max_examples=FEW // 3)
def test_gradient_descent_through_an_mlp(seed: int) -> None:
    """Before the MLP: the searched problem is the layer without it, with the preimages as targets."""
    instance = random_instance(seed, "mlp")
    problem = instance.problem
    bounds = next(loss_curve(problem, [2]))
    attack = adversary(*problem.attention_only(), lengths=[2], restarts=2, max_iterations=150, seed=seed)
    prompt = exact_prompt(attack.prompt)
    demand_not_below(instance, bounds, prompt)
    model, data = problem.attention_only()
    without = Instance("attention only", model, data)
    assert model_loss(without, prompt).overlaps(model_loss(instance, prompt))


@given(st.integers(0, 10**6))
@settings(max_examples=FEW)
def test_the_curve_does_not_rise(seed: int) -> None:
    """Lengths 1 to 8: an upper bound rises by no more than the gap that is left."""
    instance = random_instance(seed, None)
    lengths = tuple(range(1, 9))
    found = curve(instance, (*lengths, None))
    demand_curve(instance, found)
    for m in lengths[:-1]:
        assert found[m + 1].upper <= found[m].upper + (found[m + 1].upper - found[m + 1].lower)
    assert all(found[None].lower <= found[m].upper for m in lengths)


@given(st.integers(0, 10**6))
@settings(max_examples=max(2, FEW // 4))
def test_a_fixed_prompt_length(seed: int) -> None:
    """``exact_length``: the prompt has all its tokens, and its loss is the same infimum."""
    instance = random_instance(seed, "plain")
    free = next(loss_curve(instance.problem, [3]))
    fixed = next(loss_curve(instance.problem, [3], exact_length=True))
    assert isinstance(fixed.prompt, RationalPrompt)
    assert fixed.prompt.length == 3
    demand_reached(instance, fixed)
    assert fixed.lower <= free.upper
    assert free.lower <= fixed.upper


@given(st.integers(0, 10**6), st.sampled_from(["plain", "folded", "outside-row-space", "zero-query"]))
@settings(max_examples=max(2, FEW // 4))
def test_the_order_of_queries_and_their_repetition(seed: int, kind: str) -> None:
    """Queries in another order: the same problem. All of them twice: twice the loss."""
    from constructions.data import Dataset

    instance = random_instance(seed, kind)
    examples = instance.data.examples
    (once,) = loss_curve(instance.problem, [2])
    (turned,) = loss_curve(Instance(kind, instance.model, Dataset(examples[::-1])).problem, [2])
    assert once.lower <= turned.upper
    assert turned.lower <= once.upper
    if len(examples) < 3:
        (twice,) = loss_curve(Instance(kind, instance.model, Dataset(examples * 2)).problem, [2])
        assert 2 * once.lower <= twice.upper
        assert twice.lower <= 2 * once.upper
