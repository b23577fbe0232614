"""Claim several-heads: what the checks are for, tried with actual prompts; mutated certificates against the oracle."""

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import heads_refuted
import kernel_certificates as make
import mpmath
import pytest
import several_heads_oracle as oracle
from kernel_certificates import changed, places
from kernel_oracle import UnsureError, apply, dot, minus, transposed, values
from limits import Refuted
from multipliers import Multipliers
from prompt_law_makers import sealed_verdict
from rational import Matrix, Scalar, Vector
from reading import load
from several_heads import read
from several_heads_cases import FLOW, MAKERS, crossed, crossed_leaf, general, rows, true
from several_heads_makers import Problem, leaf, number, outputs, plus, prompt, refuted, rounded

Json = Any


# --- clusters --------------------------------------------------------------------------------------------------


def given(data: oracle.Data, prompt: Any) -> list[Any]:
    """The outputs of all pairs, for a prompt of (weight at q = 0, token) with real weights."""
    result = []
    for alpha, q in enumerate(data.q):
        everything = prompt + [(1, list(map(oracle.real, z))) for z in data.contexts[alpha // data.h]]
        scores = [mpmath.fdot(map(oracle.real, q), t) for _, t in everything]
        weights = [w * mpmath.exp(x) for (w, _), x in zip(everything, scores, strict=True)]
        columns = zip(*(t for _, t in everything), strict=True)
        mean = [mpmath.fdot(weights, column) / mpmath.fsum(weights) for column in columns]
        result.append([mpmath.fdot(map(oracle.real, r), mean) for r in data.V[alpha % data.h]])
    return result


def close(found: Any, expected: Any, error: Any) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(abs(x - oracle.real(y)) < error for u, v in pairs for x, y in zip(u, v, strict=True))


@pytest.mark.parametrize("name", ["singular", "bent", "planar", "lone"])
def test_clusters_come_close_to_what_is_memorizable(name: str) -> None:
    """Clusters at u + t k of e^{t (sigma - q.k)} tokens, for growing t; the number is not rounded."""
    witness, data = true(name)["witness"], oracle.Data(true(name)["instance"])
    inputs, heights, directions = (
        list(map(values, witness["inputs"])),
        *(values(witness[field]) for field in ("heights", "directions")),
    )
    errors = []
    expected = data.outputs(witness)
    for t in (100, 200):
        prompt = []
        for q, u, sigma, k in zip(data.q, inputs, heights, directions, strict=True):
            height = sigma - min(heights) + 1 - dot(q, k)
            prompt.append(
                (mpmath.exp(t * oracle.real(height)), [oracle.real(x + t * y) for x, y in zip(u, k, strict=True)])
            )
        found = given(data, prompt)
        assert close(found, expected, mpmath.mpf(10) ** (-t // 20)), name
        errors.append(
            max(
                abs(x - oracle.real(y)) for u, v in zip(found, expected, strict=True) for x, y in zip(u, v, strict=True)
            )
        )
    assert errors[1] < errors[0]


@pytest.mark.parametrize(("name", "mass"), [("mass", 2 * mpmath.e), ("mass, rational", 2), ("two heads shared", None)])
def test_single_tokens_come_close_to_what_is_memorizable_and_shared(name: str, mass: Any) -> None:
    """One token for each group: values and scores that the outputs ask for at the masses; others -t."""
    witness, data = true(name)["witness"], oracle.Data(true(name)["instance"])
    expected, t, prompt = data.outputs(witness), mpmath.mpf(80), []
    for g, group in enumerate(data.groups):
        alpha, place = group[0], witness["equations"][g]
        s = mpmath.mpf(1)
        if place is not None:
            i, j, c = place
            delta = oracle.real(expected[i][c] - expected[j][c])
            C_i, C_j = data.C(i, expected[i])[c], data.C(j, expected[j])[c]
            s = (sum_of(C_i) - sum_of(C_j)) / delta
            assert mass is None or abs(s - mass) < 1e-40
        V, dual = data.V[alpha % data.h], values(witness["duals"][alpha % data.h])
        C = data.C(alpha, expected[alpha])
        want = [oracle.real(o) - sum_of(c) / s for o, c in zip(expected[alpha], C, strict=True)]
        token = [mpmath.fdot(column, want) for column in transposed([list(map(oracle.real, r)) for r in V])]
        for k, direction in enumerate(dual):  # V V^T is the projection onto the range here
            q = data.q[data.groups[k][0]]
            step = (mpmath.log(s) if k == g else -t) - mpmath.fdot(map(oracle.real, q), token)
            token = [x + step * oracle.real(y) for x, y in zip(token, direction, strict=True)]
        prompt.append((mpmath.mpf(1), token))
    assert close(given(data, prompt), expected, mpmath.mpf(10) ** -30)


def sum_of(terms: Any) -> Any:
    return mpmath.fsum(oracle.real(c) * mpmath.exp(oracle.real(e)) for e, c in terms.items())


# --- what every prompt obeys -----------------------------------------------------------------------------------


def tokens(rng: random.Random, d: int, count: int, spread: int = 2) -> list[list[Fraction]]:
    return [[Fraction(rng.randint(-8, 8) * spread, 4) for _ in range(d)] for _ in range(count)]


@pytest.mark.parametrize("name", ["stuck", "stuck, line"])
def test_no_prompt_does_what_is_stuck(name: str) -> None:
    """Random prompts of all sizes, read alone; some come close to the bound."""
    data, eta = oracle.Data(true(name)["instance"]), values(true(name)["instance"]["values"])
    data.contexts = [[] for _ in data.tokens]
    rng, totals = random.Random(1), []
    for k in range(200):
        prompt = [(1, list(map(oracle.real, t))) for t in tokens(rng, len(eta[0]), 1 + k % 7, 1 + k % 4)]
        found = given(data, prompt)
        totals.append(
            mpmath.fsum(oracle.real(x) * y for u, v in zip(eta, found, strict=True) for x, y in zip(u, v, strict=True))
        )
    assert max(totals) < 1e-40
    assert min(totals) < -1


def balanced(
    rng: random.Random, problem: Problem
) -> tuple[list[int], list[list[int]], list[int], list[list[Fraction]]]:
    """Multipliers of the crossed layer that some y balance: what goes to the two pairs of the other head is equal."""
    q = [problem.q(alpha) for alpha in range(4)]
    entropy, length = ([rng.randint(0, 3) for _ in range(4)] for _ in range(2))
    divergence = make.zeros(4, 4)
    for g in range(4):
        divergence[g][(g + 1) % 4] = divergence[g][(g + 3) % 4] = rng.randint(0, 2)
        divergence[g][(g + 2) % 4] = rng.randint(0, 2)
    y = []
    for g in range(4):
        rest = [(length[g] - entropy[g]) * x for x in q[g]]
        for k in range(4):
            rest = plus(rest, [divergence[g][k] * x for x in minus(q[g], q[k])])
        y.append([rest[1], Fraction(0)] if g % 2 == 0 else [Fraction(0), rest[0]])
        assert apply(transposed(problem.heads[g % 2].V), y[-1]) == rest
    return entropy, divergence, length, y


def curves(problem: Problem, multipliers: Multipliers, y: Any) -> list[Any]:
    """Those of the kernel, with log N below 7/2."""
    part = leaf(problem, y)
    envelope = load(make.seal(refuted(problem, [part], [3, "7/2"])))
    statement = read(envelope)
    assert isinstance(statement, heads_refuted.HeadsRefuted)
    (argument,) = statement.arguments
    assert isinstance(argument, tuple)
    asked = [one for i, p in enumerate(statement.preimages) for one in statement._asked(i, p.points[0])]
    return list(statement._curves(replace(argument[0], multipliers=multipliers), asked, "x"))


def test_the_combination_is_one_of_entropies_and_divergences() -> None:
    """For a prompt that meets the queries: of its weights, computed from the weights."""
    rng = random.Random(3)
    problem = replace(crossed(), contexts=[rows([["1/2", -1], [1, "3/4"]]), rows([[2, 1], [0, 1], [-1, "1/3"]])])
    prompt_tokens = tokens(rng, 2, 6, 1)
    exact = outputs(problem, [[number(x) for x in t] for t in prompt_tokens], [1] * 6)
    points = [[plus([rounded(x, 150) for x in exact[2 * i : 2 * i + 2]], problem.token(i))] for i in range(2)]
    problem = replace(problem, points=points, length=30)
    scores = [[oracle.real(dot(problem.q(a), t)) for t in prompt_tokens] for a in range(4)]
    sigma = [mpmath.log(mpmath.fsum(map(mpmath.exp, s))) for s in scores]
    laws = [[mpmath.exp(x - total) for x in s] for s, total in zip(scores, sigma, strict=True)]
    for _ in range(8):
        entropy, divergence, length, y = balanced(rng, problem)
        multipliers = Multipliers(
            Vector(tuple(entropy), 1), Matrix(tuple(map(tuple, divergence)), 1, 4), Vector(tuple(length), 1)
        )
        found = mpmath.mpf(0)
        for g, curve in enumerate(curves(problem, multipliers, y)):
            gamma = mpmath.fsum(
                c * mpmath.exp(mpmath.mpf(e) / curve.gamma.exponent_den) for e, c in curve.gamma.terms.items()
            )
            A, b = (mpmath.mpf(x.num) / x.den for x in (curve.A, curve.b))
            found += A * sigma[g] + b + gamma / curve.gamma.coefficient_den * mpmath.exp(-sigma[g])
        expected = mpmath.mpf(0)
        for g in range(4):
            H = -mpmath.fsum(w * mpmath.log(w) for w in laws[g])
            expected += entropy[g] * H + length[g] * (mpmath.mpf(7) / 2 - H)
            for k in range(4):
                D = mpmath.fsum(w * mpmath.log(w / v) for w, v in zip(laws[g], laws[k], strict=True))
                expected += divergence[g][k] * D
        assert abs(found - expected) < mpmath.mpf(10) ** -30


def test_unbalanced_multipliers_are_refused() -> None:
    problem = replace(crossed(), length=30)
    entropy, divergence, length, y = balanced(random.Random(5), problem)
    y[2][0] += Fraction(1, 10**9)
    multipliers = Multipliers(
        Vector(tuple(entropy), 1), Matrix(tuple(map(tuple, divergence)), 1, 4), Vector(tuple(length), 1)
    )
    with pytest.raises(Refuted, match="group 2: the means do not cancel"):
        curves(problem, multipliers, y)


def test_what_prompts_do_is_not_refuted() -> None:
    """Targets of random prompts: the flow of the crossed layer does not refute them."""
    rng = random.Random(7)
    for _ in range(30):
        problem = crossed()
        exact = outputs(problem, [[number(x) for x in t] for t in tokens(rng, 2, 4)], [1] * 4)
        points = [[plus([rounded(x) for x in exact[2 * i : 2 * i + 2]], problem.token(i))] for i in range(2)]
        problem = replace(problem, points=points)
        assert sealed_verdict(refuted(problem, [crossed_leaf(problem)]))[0] == "false"
    assert sum(map(sum, FLOW)) == 8


def test_random_prompts_are_certified() -> None:
    """Two queries, several counts; the residual of the statement is small at the centre."""
    rng = random.Random(11)
    for k in range(6):
        count = 2 + k % 3
        unknowns = [(r, j) for j in range(2) for r in range(2)]
        value = prompt(general(), tokens(rng, 2, count, 1), [1 + (k + j) % 3 for j in range(count)], unknowns)
        verdict, text = sealed_verdict(value)
        assert verdict == "true", text
        assert oracle.holds(value)


# --- mutations -------------------------------------------------------------------------------------------------

WORDS = ("kind", "leaf")


def mutate(value: Json, rng: random.Random) -> Json:
    """One number, or one part, changed into something else of the same kind."""
    data = (
        [("instance", "values"), ("instance", "tokens")] if value["relation"] == "stuck" else [("instance", "queries")]
    )
    root = rng.choice([("witness",)] * 3 + data + [("instance", "layer", "heads")])
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
    elif isinstance(old, dict) and "num" in old:
        factor = Fraction(rng.choice([-1, 0, 2, "1/2", "99/100", "1001/1000"]))

        def scaled(x: Any) -> Any:
            return [scaled(y) for y in x] if isinstance(x, list) else x * factor

        x = scaled(values(old))
        new = (
            make.scalar(x)
            if not isinstance(x, list)
            else make.matrix(x)
            if x and isinstance(x[0], list)
            else make.vector(x)
        )
    elif isinstance(old, int | str) and not isinstance(old, bool) and path[-1] not in WORDS:
        n = old if isinstance(old, int) else int(old, 16)
        new = make.integer(rng.choice([n + 1, n - 1, -n, 0, 2 * n, n + (n >> 10), n - (n >> 20)]))
    return changed(value, (*root, *path), new)


DECIDED = ("memorizable", "memorizable-shared", "stuck")


@pytest.mark.parametrize("name", MAKERS)
def test_mutations(name: str) -> None:
    """What the kernel believes holds for the oracle, and for the relations without a leaf rule the other way round."""
    rng, verdicts = random.Random(name), Counter()
    budget = 25 if name.startswith("prompt") else 50
    for _ in range(budget):
        value = mutate(true(name), rng)
        verdict, text = sealed_verdict(value)
        assert "the kernel failed" not in text, text
        verdicts[verdict] += 1
        try:
            if verdict == "true":
                assert oracle.holds(value), text
            elif verdict == "false" and value["relation"] in DECIDED:
                assert not oracle.holds(value), text
        except UnsureError:
            verdicts["unsure"] += 1
    assert verdicts["false"] + verdicts["not a certificate"] >= budget // 4, verdicts
    assert verdicts["unsure"] == 0


def test_scalars_are_added_over_a_common_denominator() -> None:
    from vectors import sum_of as added

    assert added([Scalar(1, 6), Scalar(1, 6), Scalar(-1, 4)]) == Scalar(1, 12)
    assert added([]) == Scalar(0, 1)
