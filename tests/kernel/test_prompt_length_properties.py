"""Claims prompt-length-bound and low-rank-memorization: what the checks are for, tried with actual prompts and weights;
mutated certificates against the oracle."""

import random
from collections import Counter
from fractions import Fraction
from typing import Any

import kernel_certificates as make
import length_oracle as oracle
import limits
import mpmath
import pytest
from expsum import ExpSum
from fractions_of_sums import Fractions, constant
from independence import contribution
from kernel_certificates import changed, places
from kernel_oracle import UnsureError, values
from length_cases import MAKERS, true, uniform_of_size, wanting
from length_makers import Problem, at_point, cut, found_tree, leaf, too_short, value
from prompt_law_makers import sealed_verdict
from rational import Vector
from several_heads_makers import Head, Row, number, plus

Json = Any


# --- independence ----------------------------------------------------------------------------------------------


def numbers(rng: random.Random, count: int, size: int = 6) -> Row:
    return [Fraction(rng.randint(-size, size), rng.choice([1, 2, 3])) for _ in range(count)]


def matrix(rng: random.Random, height: int, width: int, size: int = 3) -> list[Row]:
    return [numbers(rng, width, size) for _ in range(height)]


def wants(data: oracle.Data) -> list[Any]:
    """The attention outputs asked for, without an MLP."""
    return [
        ([oracle.constant(y - x) for y, x in zip(target, token, strict=True)], oracle.UNIT)
        for target, token in zip(data.targets, data.tokens, strict=True)
    ]


def data_of(problem: Problem) -> oracle.Data:
    return oracle.Data({"layer": problem.layer, "queries": problem.queries})


@pytest.mark.parametrize("name", ["logits, cut", "heads", "boundary", "turning", "collinear, at 0"])
def test_the_contributions_are_independent(name: str) -> None:
    """At random points of the open cube: the smallest singular value is not 0."""
    rng, instance = random.Random(name), true(name)["instance"]
    data = oracle.Data(instance)
    vectors = [oracle.vectors(data, k, a) for k, a in enumerate(wants(data))]
    for _ in range(20):
        weights = [Fraction(rng.randint(1, 99), 100) for _ in range(len(vectors) * len(data.heads))]
        columns = at_point(vectors, weights)
        assert mpmath.det(columns.T * columns) > mpmath.mpf(10) ** -12


def test_what_short_prompts_do_is_not_excluded() -> None:
    """Heads without logits give rational outputs. Targets that a prompt of N tokens meets, for more than N queries."""
    rng = random.Random(3)
    for _ in range(25):
        d, tokens, h = 3, rng.choice([1, 2]), rng.choice([1, 2])
        heads = [Head(make.zeros(1, d), make.zeros(1, d), matrix(rng, 1, d), matrix(rng, d, 1)) for _ in range(h)]
        if tokens == 2:
            heads, h = [uniform_of_size(d)], 1
        n = tokens * h + 1
        contexts = [matrix(rng, rng.choice([1, 2]), d) for _ in range(n)]
        prompt = matrix(rng, tokens, d)
        targets = []
        for context in contexts:
            everything = [*prompt, *context]
            mean = [sum(column) / len(everything) for column in zip(*everything, strict=True)]
            a = [Fraction(0)] * d
            for head in heads:
                a = plus(a, [sum(x * y for x, y in zip(r, mean, strict=True)) for r in head.V])
            targets.append(plus(a, context[-1]))
        problem = Problem(heads, contexts, targets)
        data = data_of(problem)
        tree = found_tree(data, wants(data), 3)
        assert sealed_verdict(too_short(problem, tree, length=tokens))[0] == "false"


@pytest.mark.parametrize("seed", range(6))
def test_random_leaves(seed: int) -> None:
    """Kernel and oracle agree on leaves in random boxes; about half of these are true."""
    rng, found = random.Random(seed), Counter()
    for _ in range(12):
        h, d = rng.choice([(1, 2), (1, 3), (2, 3)])
        n = h + 1
        small = [numbers(rng, d, 1) for _ in range(h)]
        heads = [
            Head([[x / 4 for x in q]], matrix(rng, 1, d, 2), matrix(rng, 1, d, 1), matrix(rng, d, 1, 1)) for q in small
        ]
        contexts = [matrix(rng, rng.choice([1, 2]), d, 2) for _ in range(n)]
        targets, size = [numbers(rng, d, 2) for _ in range(n)], rng.choice([1, 3, 8])
        targets = [plus(y, [size * (c == k) for c in range(d)]) for k, y in enumerate(targets)]
        problem = Problem(heads, contexts, targets)
        data = data_of(problem)
        if rng.random() < 0.7:
            tree = found_tree(data, wants(data), rng.choice([0, 2]))
        else:
            tree = leaf(make.identity(d)[:n], [rng.choice([1, 2, 3]) for _ in range(n)])
        value = too_short(problem, tree, length=1)
        verdict, text = sealed_verdict(value)
        assert verdict == ("true" if oracle.holds(value) else "false"), text
        found[verdict] += 1
    assert min(found["true"], found["false"]) > 0, found


@pytest.mark.parametrize("at", [-1, 0, "1/3", 1, 2])
def test_halves(at: Json) -> None:
    """The least value is 0 where the other coordinate is 1: whatever the cut, the open cube has no such point."""
    problem = wanting([uniform_of_size(2)], [([1, 1], [0, 1], [0, 1]), ([0, 1], [0, 0], [1, 0])])
    part = leaf([[0, 1], [1, 0]])
    value = too_short(problem, cut(1, at, part, part), length=1)
    assert sealed_verdict(value)[0] == "true"
    assert oracle.holds(value)


def test_terms_are_counted_for_all_contributions_together(monkeypatch: pytest.MonkeyPatch) -> None:
    mass = ExpSum(dict.fromkeys(range(10), 1), 1, 1)
    average = Fractions((mass, mass), mass)
    a = constant(Vector((1, 2), 1))
    spent = limits.MAX_TOTAL_BITS - _left_after(contribution, a, [average])
    monkeypatch.setattr(limits, "MAX_TOTAL_BITS", spent * 3 // 2)
    budget = limits.Budget()
    contribution(a, [average], budget)
    with pytest.raises(limits.OverLimits):
        contribution(a, [average], budget)


def _left_after(function: Any, *arguments: Any) -> int:
    budget = limits.Budget()
    function(*arguments, budget)
    return budget._left


# --- low rank --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["steps", "steps, mixed", "steps, exponential"])
def test_weights_that_solve_exist(name: str) -> None:
    """W_2' by mpmath: only the columns of the neurons change, and every target is met."""
    instance, witness = true(name)["instance"], true(name)["witness"]
    data, net = oracle.Data(instance), {key: values(x) for key, x in instance["layer"]["mlp"].items()}
    W_1, b_1 = values(witness["W_1"]), values(witness["b_1"])
    features, hidden = [], []
    for k in range(len(data.tokens)):
        F, S = data.feature(k)
        features.append([value(f) / value(S) for f in F])
        signed = [value(oracle.activation((F, S), r, b)) / value(S) for r, b in zip(W_1, b_1, strict=True)]
        hidden.append([max(u, mpmath.mpf(0)) for u in signed])
    neurons = witness["neurons"]
    W_2 = mpmath.matrix([list(map(number, r)) for r in net["W_2"]])
    system = mpmath.matrix([[u[l] for l in neurons] for u in hidden])
    b_2 = list(map(number, net["b_2"]))
    for c in range(data.d):
        others = [l for l in range(len(b_1)) if l not in neurons]
        wanted = [
            mpmath.mpf(y[c].numerator) / y[c].denominator
            - f[c]
            - b_2[c]
            - mpmath.fsum(W_2[c, l] * u[l] for l in others)
            for y, f, u in zip(data.targets, features, hidden, strict=True)
        ]
        for l, x in zip(neurons, mpmath.lu_solve(system, mpmath.matrix(wanted)), strict=True):
            W_2[c, l] = x
    for y, f, u in zip(data.targets, features, hidden, strict=True):
        for c in range(data.d):
            output = f[c] + b_2[c] + mpmath.fsum(W_2[c, l] * u[l] for l in range(len(b_1)))
            assert abs(output - number(y[c])) < mpmath.mpf(10) ** -40


# --- mutations -------------------------------------------------------------------------------------------------

WORDS = ("kind", "leaf")


def mutate(value: Json, rng: random.Random) -> Json:
    """One number, or one part, changed into something else of the same kind."""
    roots = [(), ("layer", "heads"), ("layer", "mlp")]
    root = rng.choice([("witness",)] * 3 + [("instance", *end) for end in roots])
    inside = value
    for key in root:
        inside = inside[key]
    path = rng.choice([path for path in places(inside) if path])
    old = inside
    for key in path:
        old = old[key]
    new: Json = None
    if isinstance(old, list) and len(old) > 1 and rng.random() < 0.7:
        i, j = rng.sample(range(len(old)), 2)
        new = list(old)
        new[i], new[j] = new[j], new[i]
    elif isinstance(old, dict) and "below" in old:
        new = old[rng.choice(["below", "above"])]
    elif isinstance(old, int | str) and not isinstance(old, bool) and path[-1] not in WORDS:
        n = old if isinstance(old, int) else int(old, 16)
        new = make.integer(rng.choice([n + 1, n - 1, -n, 0, 2 * n, n + (n >> 10), n - (n >> 20)]))
    return changed(value, (*root, *path), new)


@pytest.mark.parametrize("name", MAKERS)
def test_mutations(name: str) -> None:
    """What the kernel believes holds for the oracle, and the other way round (where no part of a box is empty)."""
    rng, verdicts = random.Random(name), Counter()
    budget = 30
    for _ in range(budget):
        value = mutate(true(name), rng)
        verdict, text = sealed_verdict(value)
        assert "the kernel failed" not in text, text
        verdicts[verdict] += 1
        try:
            if verdict == "true":
                assert oracle.holds(value), text
            elif verdict == "false" and '"pair"' not in make.canonical(value):
                assert not oracle.holds(value), text
        except UnsureError:
            verdicts["unsure"] += 1
    assert verdicts["false"] + verdicts["not a certificate"] >= budget // 4, verdicts
    assert verdicts["unsure"] == 0
