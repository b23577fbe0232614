"""Claim several-queries: the parts of the check against floats and balls, and mutated certificates."""

import random
from collections import Counter
from fractions import Fraction
from math import exp, inf, log
from typing import Any

import criterion
import kernel_certificates as make
import mpmath
import numpy as np
import pytest
import several_queries_oracle as oracle
from curve import NOTHING, Curve
from expsum import ExpSum, exp_sum, exponential
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kernel_certificates import changed, places
from kernel_oracle import UnsureError, values
from limits import Refuted
from mass_equation import wish
from multipliers import Multipliers
from prompt_law_makers import sealed_verdict
from prompt_setting import read_setting
from query_groups import groups_of, vectors_by_member
from rational import Matrix, Scalar, Vector, read_vector
from reading import Field
from several_queries_cases import MAKERS, scattered, tokens, true
from several_queries_makers import Several, aimed_at, invert, memorizable, number

Json = Any
NUMBERS = st.fractions(-6, 6, max_denominator=8)


def scalar(x: Fraction) -> Scalar:
    return Scalar(x.numerator, x.denominator)


def enclosed(value: ExpSum) -> Any:
    """Many digits."""
    with mpmath.workdps(60):
        den = mpmath.mpf(value.exponent_den)
        return mpmath.fsum(c * mpmath.exp(e / den) for e, c in value.terms.items()) / value.coefficient_den


# --- one leaf, one group ---------------------------------------------------------------------------------------

FOUND: Counter[str] = Counter()


@settings(max_examples=8 * settings.default.max_examples, deadline=None)
@given(
    st.tuples(NUMBERS, NUMBERS),
    st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3),
    st.tuples(st.none() | NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS),
    st.booleans(),
)
def test_upper_bounds(line: Any, terms: Any, ends: Any, flat: bool) -> None:
    """Never below a value between the ends; the largest value where the function is convex; refused where the function
    is not bounded, and nowhere else without a tangent."""
    (A, b), (low, high, tangent) = line, ends
    A = Fraction(0) if flat else A
    assume(low is None or high is None or low <= high)
    gamma = exp_sum(Vector((), 1), Vector((), 1))
    for c, e in terms:
        gamma += exponential(scalar(c), scalar(e))
    curve = Curve(scalar(A), scalar(b), gamma)
    box = None if low is None else scalar(low), None if high is None else scalar(high)
    decay = float(enclosed(gamma))

    def h(s: float) -> float:
        return float(A) * s + float(b) + decay * exp(-s)

    left, right = -40.0 if low is None else float(low), 40.0 if high is None else float(high)
    sampled = max(h(left + (right - left) * k / 400) for k in range(401))
    unbounded = (high is None and A > 0) or (low is None and (decay > 0 or (decay == 0 and A < 0)))
    try:
        upper = float(enclosed(curve.upper(box, None if tangent is None else scalar(tangent), "here")))
    except Refuted:
        FOUND["refused"] += 1
        upper = None
    if upper is None and tangent is None:  # a concave function may be bounded though neither of its two parts is
        assert unbounded or (decay < 0 and low is None and A < 0)
        return
    if upper is None:
        fitting = decay < 0 and (low is not None or high is not None)
        slope = float(A) - decay * exp(-float(tangent))
        assert not fitting or (slope >= 0 and high is None) or (slope <= 0 and low is None)
        return
    assert not unbounded
    assert upper >= sampled - 1e-9 * (1 + abs(sampled))
    FOUND["tangent" if tangent is not None else "convex" if decay >= 0 else "parts"] += 1
    if tangent is None and decay >= 0 and (low is not None or A == 0):
        assert upper <= sampled + 1e-9 * (1 + abs(sampled))
    if tangent is None and low == high and low is not None:
        assert upper == pytest.approx(h(float(low)), rel=1e-9, abs=1e-9)


def test_all_kinds_of_bounds_were_found() -> None:
    """The property above is not empty (it has run before, in the same process, or nothing is known)."""
    assert not FOUND or min(FOUND[kind] for kind in ("refused", "tangent", "convex", "parts")) >= 5, FOUND


def test_values_that_are_equal_are_not_below_each_other() -> None:
    """h = s - 1 + 0 e^{-s} on [0, 1] has the largest value 0 exactly, which is not negative."""
    curve = Curve(Scalar(1, 1), Scalar(-1, 1), NOTHING)
    assert curve.upper((Scalar(0, 1), Scalar(1, 1)), None, "").sign() == 0
    e = Curve(Scalar(0, 1), Scalar(-1, 1), exponential(Scalar(1, 1), Scalar(2, 1)))
    assert e.upper((Scalar(2, 1), None), None, "").sign() == 0  # e^{2 - s} - 1 at s = 2


# --- the inequalities ------------------------------------------------------------------------------------------


def inequalities(problem: Several) -> tuple[criterion.Criterion, list[Any]]:
    setting = read_setting(Field(problem.instance(), "instance"))
    groups = groups_of(setting)
    rows = invert(problem.V)
    den = int(np.lcm.reduce([x.denominator for r in rows for x in r]))
    inverse = Matrix(tuple(tuple(int(x * den) for x in r) for r in rows), den, problem.d)
    points = [read_vector(Field(make.vector(z), "")) for (z,) in problem.points]
    wishes = [wish(setting, k, q, z) for k, (q, z) in enumerate(zip(vectors_by_member(groups), points, strict=True))]
    return criterion.criterion(setting, groups, inverse, wishes, Scalar(7, 2)), list(groups)


@pytest.mark.parametrize(("seed", "d", "n"), [(1, 2, 2), (4, 3, 3), (9, 2, 4), (12, 4, 2)])
def test_the_inequalities_are_entropies_and_divergences(seed: int, d: int, n: int) -> None:
    """For a prompt that meets the queries: of its weights, computed from the weights."""
    prompt = tokens(seed + 100, d, 6)
    problem = aimed_at(scattered(seed, d, n, 3), prompt, 150)
    found, groups = inequalities(problem)
    q = [[number(x) for x in problem.q(group.members[0])] for group in groups]
    scores = [[mpmath.fdot(v, [number(x) for x in t]) for t in prompt] for v in q]
    sigma = [mpmath.log(mpmath.fsum(map(mpmath.exp, s))) for s in scores]
    laws = [[mpmath.exp(x - total) for x in s] for s, total in zip(scores, sigma, strict=True)]
    G = len(groups)

    def combination(entropy: list[int], divergence: list[list[int]], length: list[int]) -> Any:
        """The value of the combination at sigma, read from the curves that the leaf check uses."""
        total = mpmath.mpf(0)
        original = Curve.upper

        def at_sigma(curve: Curve, ends: Any, tangent: Any, where: str) -> ExpSum:
            nonlocal total
            g = int(where.rsplit(" ", 1)[-1])
            A, b = (mpmath.mpf(x.num) / x.den for x in (curve.A, curve.b))
            total += A * sigma[g] + b + enclosed(curve.gamma) * mpmath.exp(-sigma[g])
            return exponential(Scalar(-1, 1), Scalar(0, 1))

        Curve.upper = at_sigma  # type: ignore[method-assign]
        try:
            multipliers = Multipliers(
                Vector(tuple(entropy), 2), Matrix(tuple(map(tuple, divergence)), 3, G), Vector(tuple(length), 5)
            )
            found.demand_refuted(multipliers, [(None, None)] * G, [None] * G, "x")
        finally:
            Curve.upper = original  # type: ignore[method-assign]
        return total

    rng = random.Random(seed)
    for _ in range(6):
        entropy, length = ([rng.randint(0, 3) for _ in range(G)] for _ in range(2))
        divergence = [[rng.randint(0, 2) * (g != k) for k in range(G)] for g in range(G)]
        expected = mpmath.mpf(0)
        for g in range(G):
            H = -mpmath.fsum(w * mpmath.log(w) for w in laws[g])
            expected += mpmath.mpf(entropy[g]) / 2 * H + mpmath.mpf(length[g]) / 5 * (mpmath.mpf(7) / 2 - H)
            for k in range(G):
                D = mpmath.fsum(w * mpmath.log(w / v) for w, v in zip(laws[g], laws[k], strict=True))
                expected += mpmath.mpf(divergence[g][k]) / 3 * D
        assert abs(combination(entropy, divergence, length) - expected) < mpmath.mpf(10) ** -20


def test_no_prompt_that_comes_close_is_refuted() -> None:
    """Targets that some prompt of 5 tokens meets up to 2^-60: trees of other data, put to them, fail."""
    for name in ("tree", "tree, length", "cycle"):
        for seed in range(4):
            problem = aimed_at(scattered(seed, 2, 2), tokens(seed + 50, 2, 5))
            problem.length = None if name != "tree, length" else 5
            witness = {**true(name)["witness"], "preimages": problem.preimages()}
            witness["inverse"] = make.matrix(invert(problem.V))
            if problem.length is not None:
                witness["log_length"] = [make.scalar(Fraction(8, 5)), make.scalar(Fraction(81, 50))]
            verdict, text = sealed_verdict(problem.certificate("no-prompt-memorizes", witness))
            assert verdict == "false", text
            assert "leaf" in text


def test_random_prompts_do_not_meet_what_is_refuted() -> None:
    """Many prompts, and descent from some of them: attention stays away from the targets of the trees."""
    from scipy.optimize import minimize

    for name, count in (("tree", 6), ("tree, length", 2), ("cycle", 6), ("tree, dependent", 2)):
        data = oracle.Data(true(name)["instance"])
        data.choose([values(p["z"]) for p in true(name)["witness"]["preimages"]])
        V = np.array(data.V, float)
        q, a = np.array(data.q, float), np.array(data.a, float)
        contexts = [np.array(c, float) for c in data.contexts]
        d = len(V)

        def loss(flat: Any, N: int = 0) -> float:
            P, total = flat.reshape(-1, d), 0.0  # noqa: B023
            for q_k, a_k, context in zip(q, a, contexts, strict=True):  # noqa: B023
                everything = np.vstack([P, context])
                scores = everything @ q_k
                weights = np.exp(scores - scores.max())
                total += float(((V @ (weights @ everything / weights.sum()) - a_k) ** 2).sum())  # noqa: B023
            return total

        rng = np.random.default_rng(3)
        least = inf
        for k in range(40):
            start = rng.normal(size=count * d) * (1 + k % 4)
            least = min(least, loss(start), minimize(loss, start).fun if k < 8 else inf)
        assert least > 1e-6, (name, least)


# --- mutations -------------------------------------------------------------------------------------------------


WORDS = ("argument", "kind", "leaf")


def mutate(value: Json, rng: random.Random) -> Json:
    """One number, or one part, changed into something else of the same kind."""
    roots = [("witness",)] * 4 + [("instance", "queries"), ("instance", "layer", "heads", 0)]
    root = rng.choice(roots)
    inside = value
    for key in root:
        inside = inside[key]
    paths = [path for path in places(inside) if path]
    path = rng.choice(paths)
    old = inside
    for key in path:
        old = old[key]
    if isinstance(old, list) and len(old) > 1 and rng.random() < 0.7:
        i, j = rng.sample(range(len(old)), 2)
        new: Json = list(old)
        new[i], new[j] = new[j], new[i]
    elif isinstance(old, dict) and "below" in old:
        new = old[rng.choice(["below", "above"])]
    elif isinstance(old, dict) and "num" in old:
        factor = Fraction(rng.choice([-1, 0, 2, "1/2", "99/100", "1001/1000"]))

        def scaled(x: Any) -> Any:
            return [scaled(y) for y in x] if isinstance(x, list) else x * factor

        x = scaled(values(old))
        if not isinstance(x, list):
            new = make.scalar(x)
        else:
            new = make.matrix(x) if x and isinstance(x[0], list) else make.vector(x)
    elif isinstance(old, int | str) and not isinstance(old, bool) and path[-1] not in WORDS:
        n = old if isinstance(old, int) else int(old, 16)
        new = make.integer(rng.choice([n + 1, n - 1, -n, 0, 2 * n, n + (n >> 10), n - (n >> 20)]))
    else:
        new = None
    return changed(value, (*root, *path), new)


@pytest.mark.parametrize("name", MAKERS)
def test_mutations(name: str) -> None:
    """What the kernel believes holds for the oracle; much is not believed."""
    rng, verdicts = random.Random(name), Counter()
    budget = 8 if "three" in name and "prompt" in name else 60
    for _ in range(budget):
        value = mutate(true(name), rng)
        verdict, text = sealed_verdict(value)
        assert "the kernel failed" not in text, text
        verdicts[verdict] += 1
        if verdict == "true":
            try:
                assert oracle.holds(value), text
            except UnsureError:
                verdicts["unsure"] += 1
    assert verdicts["false"] + verdicts["not a certificate"] >= budget // 4, verdicts
    assert verdicts["unsure"] == 0


# --- random data -----------------------------------------------------------------------------------------------


@settings(max_examples=settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(2, 3), st.integers(1, 3), st.booleans())
def test_random_boxes_of_points(seed: int, d: int, n: int, aimed: bool) -> None:
    """Both answers agree with the oracle where the box is a point."""
    rng = random.Random(seed)
    problem = scattered(seed, d, min(n, d))
    try:
        if aimed:
            prompt = tokens(seed, d, 5)
            problem = aimed_at(problem, prompt)
            sigma = [
                log(sum(exp(float(sum(x * y for x, y in zip(problem.q(g[0]), t, strict=True)))) for t in prompt))
                for g in problem.groups
            ]
        else:
            sigma = [rng.uniform(-3, 5) for _ in problem.groups]
        value = memorizable(problem, [[Fraction(s).limit_denominator(1000)] * 2 for s in sigma])
    except StopIteration:  # dependent logit vectors have no dual
        assume(False)
    verdict, text = sealed_verdict(value)
    assert verdict == ("true" if oracle.holds(value) else "false"), text
    RANDOM[verdict] += 1


RANDOM: Counter[str] = Counter()


def test_both_answers_were_found() -> None:
    """The property above is not empty (it has run before, in the same process, or nothing is known)."""
    assert not RANDOM or (RANDOM["true"] >= 3 and RANDOM["false"] >= 3), RANDOM
