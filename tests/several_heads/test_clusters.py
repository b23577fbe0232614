"""The prompts in the proof of Theorem B, evaluated: clusters of e^x tokens, x kept as it is."""

from __future__ import annotations

import random
from functools import cache

import flint
import pytest
from flint import arb, fmpq, fmpz
from head_instances import (
    PRECISION,
    head_output,
    in_range,
    layer_with,
    pairs_of,
    random_model,
    random_tokens,
    single,
)

from constructions.data import Dataset
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import dot
from constructions.single_layer.decide_heads import PeeledData, answer_heads, memorized
from constructions.single_layer.heads_prompt import ClusterPrompt, cluster_prompt
from constructions.single_layer.several_heads import SeveralHeads
from constructions.transformer import Transformer

Row = list[fmpq]
SHAPES = {  # d, head size, heads, queries
    "one small head": (3, 1, 1, 3),
    "two heads, one query": (2, 1, 2, 1),
    "two heads": (4, 2, 2, 2),
    "two heads, overlapping": (3, 2, 2, 1),
    "three heads": (4, 1, 3, 2),
    "one pair": (2, 2, 1, 1),
}


@cache
def case(name: str) -> tuple[Transformer, SeveralHeads, PeeledData, ClusterPrompt]:
    """A layer with data that are peeled, and its cluster prompt; the first random layer for which there is one."""
    for seed in range(50):
        rng = random.Random(f"clusters/{name}/{seed}")
        if name == "a head that gives nothing":
            layer, tokens = layer_with(
                [[[1, 0, 2], [0, 1, 0]], [[0, 2, 1], [1, 1, 1]]], [[[0] * 3] * 3, [[1, 0, 0]] * 3]
            )
            model, inputs = Transformer((layer,)), [tokens.columns(i, i + 1) for i in range(2)]
        else:
            d, s, h, n = SHAPES[name]
            model = random_model(rng, d, s, h)
            inputs = [random_tokens(rng, d, 2) for _ in range(n)]
        data: Dataset = in_range(model, inputs, rng)
        pairs = pairs_of(model, data)
        if not pairs.pairs.distinct:
            continue
        found = memorized(pairs)
        if isinstance(found, PeeledData):
            prompt = cluster_prompt(pairs, found.inputs, found.peeled)
            assert prompt is not None
            return model, pairs, found, prompt
    raise AssertionError(name)


NAMES = [*SHAPES, "a head that gives nothing"]


def exponents(pairs: SeveralHeads, found: PeeledData, t: fmpq) -> list[fmpq]:
    """t (σ_α − q_α·k_α), all σ lifted so that σ_α ≥ 1 and σ_α − q_α·k_α ≥ 1, one of these 2N with equality unless
    they were above before."""
    heights, directions = found.peeled.heights, found.peeled.directions
    low = min(fmpq(0), *heights, *(s - dot(q, k) for q, s, k in zip(pairs.pairs.q, heights, directions, strict=True)))
    return [t * (s - low + 1 - dot(q, k)) for q, s, k in zip(pairs.pairs.q, heights, directions, strict=True)]


def log_count(x: fmpq) -> tuple[arb, fmpz | None]:
    """log ⌈e^x⌉, and the number itself where it has less than 4000 digits."""
    if x > 9000:
        return arb(x) + arb(0, 1) * arb(-x).exp(), None  # e^x ≤ ⌈e^x⌉ < e^x + 1
    with flint.ctx.workprec(64 + 2 * int(x.ceil())):
        number = arb(x).exp().ceil().unique_fmpz()
    assert number is not None
    return arb(number).log(), number


def prompt_of(
    pairs: SeveralHeads, found: PeeledData, t: fmpq, moved: list[Row] | None = None
) -> list[tuple[arb, list[arb]]]:
    """Tokens u + t k, with u moved so that its output moves as said."""
    prompt = []
    for a, (u, k, x) in enumerate(zip(found.inputs, found.peeled.directions, exponents(pairs, found, t), strict=True)):
        step = None if moved is None else pairs.pairs.V[pairs.pairs.head(a)].solve(moved[a])
        assert step is not None or moved is None
        token = [arb(y + t * z + w) for y, z, w in zip(u, k, step or [fmpq(0)] * len(u), strict=True)]
        prompt.append((log_count(x)[0], token))
    return prompt


def gaps(
    model: Transformer, pairs: SeveralHeads, found: PeeledData, t: fmpq, moved: list[Row] | None = None
) -> list[list[arb]]:
    """For each pair what its head gives, with the context behind the prompt, less what it gives to its own cluster."""
    prompt, heads, result = prompt_of(pairs, found, t, moved), model.layers[0].attention.heads, []
    for a, u in enumerate(found.inputs):
        query, head = pairs.queries[a // len(heads)], heads[a % len(heads)]
        given = head_output(head, query.token, [*prompt, *single(query.context)])
        wanted = head.V.apply(list(u))
        shift = [fmpq(0)] * len(u) if moved is None else moved[a]
        result.append([x - arb(y + z) for x, y, z in zip(given, wanted, shift, strict=True)])
    return result


def largest(values: list[list[arb]]) -> float:
    return max(float(x.abs_upper()) for row in values for x in row)


@pytest.mark.parametrize("name", NAMES)
def test_all_outputs_are_within_the_radius(name: str) -> None:
    """At the outputs asked for and at outputs moved by up to the radius, in the range of each head."""
    model, pairs, found, prompt = case(name)
    rng = random.Random(f"moved/{name}")
    with flint.ctx.workprec(PRECISION):
        assert largest(gaps(model, pairs, found, prompt.t)) < float(prompt.radius)
        for _ in range(4):
            moved = []
            for a in range(len(pairs.pairs)):
                V = pairs.pairs.V[pairs.pairs.head(a)]
                y = V.apply([fmpq(rng.randint(-9, 9)) for _ in range(model.width)])
                size = max(*(abs(x) for x in y), fmpq(1, 100))
                moved.append([x * prompt.radius / size for x in y])
            assert largest(gaps(model, pairs, found, prompt.t, moved)) < float(prompt.radius)


@pytest.mark.parametrize("name", NAMES)
def test_the_length_is_the_sum_of_the_counts(name: str) -> None:
    """Rounded up: 10^length is at least the sum and at most one token for each cluster more."""
    _, pairs, found, prompt = case(name)
    found_exponents = exponents(pairs, found, prompt.t)
    assert min(found_exponents) >= prompt.t
    with flint.ctx.workprec(PRECISION):
        total = sum((log_count(x)[0].exp() for x in found_exponents), arb(0))
        low, high = (float(x.log() / arb(10).log()) for x in (total, total + len(found_exponents)))
    assert low - 1e-9 * (1 + low) <= prompt.log10_length <= high + 1e-9 * (1 + high)


def test_small_counts_are_whole_numbers() -> None:
    """Where all counts are written down: the sum to the last token."""
    seen = 0
    for name in NAMES:
        _, pairs, found, prompt = case(name)
        numbers = [log_count(x)[1] for x in exponents(pairs, found, prompt.t)]
        if all(n is not None and n < 10**12 for n in numbers):
            total = sum(int(n) for n in numbers)
            assert total <= 10**prompt.log10_length * (1 + 1e-9)
            assert 10**prompt.log10_length <= (total + len(numbers)) * (1 + 1e-9)
            seen += 1
    assert seen >= 2


@pytest.mark.parametrize("name", NAMES)
def test_the_gap_vanishes_like_an_exponential(name: str) -> None:
    """For growing t; and far below the t of the proof it is no longer within the radius, unless nothing disturbs."""
    model, pairs, found, prompt = case(name)
    with flint.ctx.workprec(1024):
        one, two, four = (largest(gaps(model, pairs, found, prompt.t * k)) for k in (1, 2, 4))
    assert two <= one
    assert four <= max(two / 2, 1e-290)


def test_far_below_the_outputs_are_something_else() -> None:
    """The negative control of the evaluation."""
    with flint.ctx.workprec(PRECISION):
        found = [largest(gaps(*case(name)[:3], case(name)[3].t / 256)) > 0.25 for name in NAMES]
    assert sum(found) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_some_moved_clusters_give_exactly_what_is_asked(name: str) -> None:
    """Brouwer's fixed point, found by iteration: y ← y − (outputs − o), which contracts for larger t."""
    model, pairs, found, prompt = case(name)
    d = model.width
    with flint.ctx.workprec(PRECISION):
        moved = [[fmpq(0)] * d for _ in found.inputs]
        for _ in range(60):
            off = gaps(model, pairs, found, 4 * prompt.t, moved)
            moved = [_in_range(pairs, a, [-midpoint(x) for x in row]) for a, row in enumerate(off)]
        off = gaps(model, pairs, found, 4 * prompt.t, moved)
        error = max(
            float((x + arb(y)).abs_upper()) for u, v in zip(off, moved, strict=True) for x, y in zip(u, v, strict=True)
        )
        assert error < 1e-30
        assert max(abs(x) for row in moved for x in row) <= prompt.radius


def _in_range(pairs: SeveralHeads, a: int, y: Row) -> Row:
    """Rounded to the range of the head of pair a."""
    V = pairs.pairs.V[pairs.pairs.head(a)]
    gram = V.T.times(V)
    solution = gram.solve(V.T.apply(y))
    assert solution is not None
    power = fmpq(2) ** 200
    return V.apply([fmpq((x * power).floor()) / power for x in solution])


def test_the_radius_bounds_what_is_said_of_an_answer() -> None:
    """An answer by peeling carries the cluster prompt of its own inputs."""
    _, pairs, found, prompt = case("two heads")
    answer = answer_heads(pairs)
    assert answer.peeled == found
    assert answer.clusters == prompt
    assert prompt.t.q == 1 or prompt.t.p == 1  # a power of two, or of a half
    assert int(max(prompt.t.p, prompt.t.q)).bit_count() == 1
