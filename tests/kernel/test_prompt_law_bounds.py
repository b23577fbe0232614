"""Relation loss-bounds: certificates that hold, each condition violated in turn, and brute force over prompts."""

from collections.abc import Callable
from fractions import Fraction
from math import log
from typing import Any

import finite_preimage
import kernel_certificates as make
import limits
import loss_bounds
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from kernel_certificates import changed
from prompt_law_makers import (
    Problem,
    above,
    best_lower,
    bounds,
    cover,
    curve_certificate,
    dot,
    law_point,
    prompt,
    row,
    sealed_verdict,
)
from scipy.optimize import minimize

Json = Any


def plain(length: int | None = 2) -> Problem:
    """Two queries, V = 1, g = q = (1, -1/2)."""
    q = row([1, "-1/2"])
    contexts = [[row([1, 0]), row(["1/2", 1])], [row([-1, 2]), row(["1/2", 1])]]
    return Problem(q, contexts, [[row([-2, 1])], [row([1, -2])]], length, g=q, reference=Fraction(1, 2))


def uncoupled() -> Problem:
    """V = diag(2, 0) does not see e_2, and q has a part along it; targets have parts off the range of V."""
    problem = Problem(
        row([1, 1]),
        [[row([1, 0]), row([0, 0])], [row([-1, 1]), row([0, 0])]],
        [[row([3, 1])], [row([-1, 2])]],
        3,
        V=[row([2, 0]), row([0, 0])],
    )
    problem.orthogonal = [[row([0, 1])], [row([0, 2])]]
    return problem


def singular() -> Problem:
    """V = diag(2, 0), q = (1, 0) = V^T (1/2, 0)."""
    problem = uncoupled()
    problem.q, problem.g = row([1, 0]), row(["1/2", 0])
    return problem


def integers(length: int | None) -> Problem:
    """q = 0: the mass is the number of tokens."""
    contexts = [[row(["7/2", 0]), row([0, 0])], [row([0, "7/2"]), row([0, 0])]]
    return Problem(row([0, 0]), contexts, [[row([1, 0])], [row([0, 1])]], length)


def bent(length: int | None = 2) -> Problem:
    """MLP(z) = z - 2 ReLU(z_1 - 10) e_1: each target y has the preimages (20 - y_1, y_2) and y."""
    problem = plain(length)
    problem.mlp = make.mlp(2, W_1=[[1, 0]], W_2=[[-2], [0]], b_1=[-10])
    problem.targets = [row([8, 0]), row([9, "3/2"])]
    problem.points = [[[20 - y[0], y[1]], y] for y in problem.targets]
    active, inactive = ([["-2"], ["2"]], [[0], [0]]), ([[0], [0]], [[0], [0]])
    problem.proofs = [
        {
            **make.tree(make.branch(0, make.PIECE, make.PIECE)),
            "points": [
                {"z": make.vector(z), "multipliers": [[make.vector(v) for v in pair] for pair in multipliers]}
                for z, multipliers in zip(points, (active, inactive), strict=True)
            ],
        }
        for points in problem.points
    ]
    return problem


def best_prompt(problem: Problem) -> tuple[list[list[Fraction]], Json]:
    """One token at the least loss of prompts of one token, and its loss as an upper bound, rounded up."""

    def loss(p: np.ndarray) -> float:
        return float_loss(problem, p.reshape(1, -1))

    best = min((minimize(loss, start, method="BFGS") for start in np.eye(2) * 3 - 1), key=lambda run: run.fun)
    tokens = [[Fraction(round(x * 2**20), 2**20) for x in best.x]]
    value = problem.loss(tokens, [1])
    return tokens, above(value, 20)


def float_loss(problem: Problem, tokens: np.ndarray) -> float:
    V, q = np.array(problem.matrix, float), np.array(problem.q, float)
    total = 0.0
    for columns, points in zip(problem.contexts, problem.points, strict=True):
        everything = np.vstack([tokens, np.array(columns, float)])
        scores = everything @ q
        weights = np.exp(scores - scores.max())
        out = V @ (weights @ everything / weights.sum())
        total += min(float(((out - np.array(z, float) + np.array(columns[-1], float)) ** 2).sum()) for z in points)
    return total


def certified(problem: Problem, **others: Json) -> Json:
    return curve_certificate(problem, best_lower(problem)[0], **others)


def integer_certificate(length: int | None, count: int, **others: Json) -> Json:
    problem = integers(length)
    lower, _ = integer_lower(problem)
    more = length is None or length > count
    breakpoints = problem.curve((0, 0)).cover(float(lower), round(log(count + 1) - 1e-9, 12), 20) if more else []
    return bounds(problem, lower, [cover(breakpoints, count)], **others)


def integer_lower(problem: Problem) -> tuple[Fraction, float]:
    curve = problem.curve((0, 0))
    least = min(curve(log(m)) for m in range(1, (problem.length or 40) + 1))
    return Fraction(round(least * (1 - 1e-4) * 10**12), 10**12), least


MAKERS: dict[str, Callable[[], Json]] = {
    "two tokens": lambda: certified(plain()),
    "one token": lambda: certified(plain(1)),
    "any length": lambda: certified(plain(None)),
    "no slab": lambda: slabless(),
    "uncoupled": lambda: certified(uncoupled()),
    "singular": lambda: certified(singular()),
    "two preimages": lambda: certified(bent()),
    "integers, any": lambda: integer_certificate(None, 4),
    "integers, all": lambda: integer_certificate(3, 5),
    "integers, from the first": lambda: integer_certificate(7, 2),
}


def slabless() -> Json:
    problem = plain()
    problem.g = None
    return certified(problem)


@pytest.fixture(scope="module")
def good() -> dict[str, Json]:
    return {name: maker() for name, maker in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_true(name: str, good: dict[str, Json]) -> None:
    answer = sealed_verdict(good[name])
    assert answer[0] == "true", answer
    assert "is at least the lower bound (one head, d = 2, queries: 2" in answer[1]


LEAST: dict[str, Callable[[], float]] = {
    "two tokens": lambda: best_lower(plain())[1],
    "one token": lambda: best_lower(plain(1))[1],
    "any length": lambda: best_lower(plain(None))[1],
    "uncoupled": lambda: best_lower(uncoupled())[1],
    "singular": lambda: best_lower(singular())[1],
    "two preimages": lambda: best_lower(bent())[1],
    "integers, all": lambda: integer_lower(integers(3))[1],
    "integers, from the first": lambda: integer_lower(integers(7))[1],
}


@pytest.mark.parametrize("name", LEAST)
def test_lower_bound_above_the_optimum(name: str, good: dict[str, Json]) -> None:
    """By 10^-9 of it, with a cover that is fine enough for one below by 10^-4."""
    value = Fraction(LEAST[name]()) * (1 + Fraction(1, 10**9))
    answer = sealed_verdict(changed(good[name], ("witness", "lower", "value"), make.scalar(value)))
    assert answer[0] == "false", answer
    assert "the bound fails" in answer[1]


def test_lower_bound_of_nothing(good: dict[str, Json]) -> None:
    """What is below the constant part needs no curve."""
    for value in (0, -1, 4):
        lowered = changed(good["uncoupled"], ("witness", "lower", "value"), make.scalar(value))
        assert sealed_verdict(lowered)[0] == "true"


def test_one_wide_part() -> None:
    """A bound far below the optimum is shown plainly; the left end then has to be low enough for g."""
    problem = plain()
    assert sealed_verdict(bounds(problem, "1/1000", [cover([-9, -8, -7, 9, 10])]))[0] == "false"
    problem.g = None
    few = bounds(problem, "1/1000", [cover([Fraction(k, 4) for k in range(-40, 41)])])
    assert sealed_verdict(few)[0] == "true"


@settings(max_examples=20, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_no_prompt_goes_below(data: st.DataObject) -> None:
    """Random layers and queries: a bound close to the optimum of the curve is accepted, and prompts stay above it."""
    d, n = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    numbers = st.fractions(-2, 2, max_denominator=4)
    vectors = st.lists(numbers, min_size=d, max_size=d)
    q, V = data.draw(vectors), data.draw(st.lists(vectors, min_size=d, max_size=d))
    token = data.draw(vectors)
    contexts = [[*data.draw(st.lists(vectors, max_size=2)), token] for _ in range(n)]
    N = data.draw(st.sampled_from([1, 2, 3, None]))
    points = [[data.draw(vectors)] for _ in range(n)]
    g = data.draw(vectors) if data.draw(st.booleans()) else None
    if g is not None and any(g):  # make it the slab
        q = [dot(column, g) for column in zip(*V, strict=True)]
    problem = Problem(q, contexts, points, N, V=V, g=g if g is not None and any(g) else None)
    lower, least = best_lower(problem, 1e-3)
    if not 1e-2 < least < 50 or abs(problem.curve((0,) * n).minimum()[0]) > 12:
        return
    for care in (4.0, 40.0):  # floats guess how fine a cover must be
        answer = sealed_verdict(curve_certificate(problem, lower, -26.0, 26.0, care))
        if answer[0] == "true":
            break
    assert answer[0] == "true", answer
    rng = np.random.default_rng(7)
    for count in range(1, (N or 3) + 1):
        start = rng.normal(size=(count, d)) * 3
        run = minimize(
            lambda p, c=count: float_loss(problem, p.reshape(c, d)),
            start.ravel(),
            method="Nelder-Mead",
            options={"maxiter": 400},
        )
        assert run.fun >= float(lower) - 1e-12, (run.x, run.fun)


ANY = cover([-3])  # with the lower bound 0


# --- the upper bound -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "bent", "integers"])
def test_upper(name: str) -> None:
    problem = {"plain": plain, "bent": bent, "integers": integers}[name](1)
    tokens, value = best_prompt(problem)
    lower = [ANY] * 4 if name == "bent" else [ANY]
    holds = bounds(problem, 0, lower, prompt(value, tokens, [1]))
    answer = sealed_verdict(holds)
    assert answer[0] == "true", answer
    assert "that of the stated one at most the upper bound" in answer[1]
    below = changed(holds, ("witness", "upper", "value"), make.scalar(value - Fraction(2, 10**20)))
    assert sealed_verdict(below) == ("false", "the loss of the prompt is above the upper bound")
    moved = [[tokens[0][0] + Fraction(1, 100), tokens[0][1]]]
    assert sealed_verdict(bounds(problem, 0, lower, prompt(value, moved, [1])))[0] == "false"


def test_upper_end_of_the_loss() -> None:
    """It is the upper end of the enclosure that counts: with few bits that is further away."""
    problem, tokens = plain(1), [row([1, "1/3"])]
    upper = prompt(above(problem.loss(tokens, [1]), 18), tokens, [1])
    assert sealed_verdict(bounds(problem, 0, [ANY], upper))[0] == "true"
    assert sealed_verdict(bounds(problem, 0, [ANY], upper, precision=32))[0] == "false"


def test_upper_with_counts() -> None:
    """A token may stand more often than anybody could write down."""
    problem = plain(None)
    tokens, counts = [row([-300, 4]), row([2, 1])], [10**40, 7]
    value = problem.loss(tokens, counts, 400)
    rounded = above(value, 18)
    holds = bounds(problem, 0, [ANY], prompt(rounded, tokens, counts))
    assert sealed_verdict(holds)[0] == "true"
    lower = changed(holds, ("witness", "upper", "value"), make.scalar(rounded - Fraction(2, 10**18)))
    assert sealed_verdict(lower)[0] == "false"
    problem.length = 10**40 + 7
    assert sealed_verdict(bounds(problem, 0, [ANY], prompt(rounded, tokens, counts)))[0] == "true"
    problem.length -= 1
    answer = sealed_verdict(bounds(problem, 0, [ANY], prompt(rounded, tokens, counts)))
    assert answer == ("false", "the prompt is too long")


def test_exact_zero() -> None:
    """q = 0 keeps all masses exact: a prompt that meets the query exactly has the upper bound 0."""
    problem = integers(1)
    problem.contexts, problem.points = [problem.contexts[0]], [[row([1, "1/3"])]]
    problem.contexts[0][0] = row(["1/7", 0])
    token = row([3 - Fraction(1, 7), 1])  # (1/7 + p)/3 = 1
    holds = bounds(problem, 0, [cover([], 1)], prompt(0, [token], [1]))
    assert sealed_verdict(holds)[0] == "true"


def test_fixed_length() -> None:
    """With E the prompt has exactly the length; the tokens of the queries have E added to them."""
    problem = plain(3)
    value = bounds(problem, 0, [ANY])
    E = make.matrix([[9, 9, 9, 0, "1/2"], [9, 9, 9, 1, 0]])
    value = changed(value, ("instance", "layer", "E"), E)
    assert sealed_verdict(value)[0] == "true"
    tokens = [row([1, 1]), row([2, 0])]
    for counts, verdict in (([2, 1], "true"), ([1, 1], "false"), ([2, 2], "false")):
        upper = changed(value, ("witness", "upper"), prompt(100, tokens, counts))
        assert sealed_verdict(upper)[0] == verdict, counts
    shorter = changed(value, ("instance", "length"), 2)
    assert sealed_verdict(shorter) == (
        "not a certificate",
        "instance.length: expected the prompt length 3 that E fixes, found 2",
    )


@pytest.mark.parametrize("sigma", [3, -1, 40000, -9])
def test_law_point(sigma: int) -> None:
    problem = plain(None)
    mean = row([sigma - 3, 0])
    value = problem.loss_at(Fraction(1, 2) + sigma, mean)
    rounded = above(value, 18)
    upper = law_point(rounded, mean, sigma)
    holds = bounds(problem, 0, [ANY], upper)
    assert sealed_verdict(holds)[0] == "true"
    lower = changed(holds, ("witness", "upper", "value"), make.scalar(rounded - Fraction(2, 10**18)))
    assert sealed_verdict(lower)[0] == "false"
    for mean_1, verdict in ((sigma + Fraction(1, 2), "false"), (sigma + Fraction(49, 100), "true")):
        shifted = law_point(10**12, row([mean_1, 0]), sigma)
        assert sealed_verdict(changed(holds, ("witness", "upper"), shifted))[0] == verdict
    bounded = bounds(plain(10**6), 0, [ANY], upper)
    assert sealed_verdict(bounded) == ("false", "a mean and a mass are no prompt of bounded length")
    no_slab = bounds(integers(None), 0, [ANY], law_point(10**12, row([0, 0]), 1))
    assert sealed_verdict(no_slab) == ("false", "a mean and a mass are no prompt where the logit vector is zero")


# --- conditions, one by one --------------------------------------------------------------------------------------

WITNESS = ("witness",)
BREAKPOINTS = ("witness", "lower", "covers", 0, "breakpoints")


def wrong(name: str, path: tuple[Json, ...], new: Json, reason: str) -> Any:
    return pytest.param(name, path, new, reason, id=f"{name}: {reason[:60]}")


def without(k: int) -> Callable[[Json], Json]:
    """One breakpoint missing."""
    return lambda old: {**old, "num": [*old["num"][:k], *old["num"][k + 1 :]]}


def swapped(old: Json) -> Json:
    num = list(old["num"])
    num[3], num[4] = num[4], num[3]
    return {**old, "num": num}


def repeated(old: Json) -> Json:
    return {**old, "num": [old["num"][0], *old["num"]]}


@pytest.mark.parametrize(
    ("name", "path", "new", "reason"),
    [
        wrong("two tokens", BREAKPOINTS, swapped, "cover 0: breakpoint 3 is not below the next"),
        wrong("two tokens", BREAKPOINTS, repeated, "cover 0: breakpoint 0 is not below the next"),
        wrong("two tokens", BREAKPOINTS, make.vector([-20]), "cover 0: the bound fails at the right end"),
        wrong("two tokens", BREAKPOINTS, make.vector([20]), "the left end reaches above mass 1/e"),
        wrong("two tokens", BREAKPOINTS, make.vector(["-3/2", 20]), "cover 0: the bound fails at the left end"),
        wrong("two tokens", BREAKPOINTS, make.vector(["-7/5", 20]), "the left end reaches above mass 1/e"),
        wrong("no slab", BREAKPOINTS, make.vector([20]), "cover 0: the bound fails at the left end"),
        wrong("two tokens", ("witness", "reference"), make.scalar(19), "cover 0: the bound fails"),
        wrong("two tokens", ("witness", "reference"), make.scalar(20), "the left end reaches above mass 1/e"),
        wrong("two tokens", ("witness", "reference"), make.scalar(200), "the precision is too low"),
        wrong("two tokens", ("witness", "g"), make.vector([1, "1/2"]), "V^T g is not the logit vector"),
        wrong("two tokens", ("witness", "g"), make.vector([0, 0]), "g is zero"),
        wrong("two tokens", ("witness", "log_length"), [make.scalar("7/10"), make.scalar(1)], "log_length begins"),
        wrong("two tokens", ("witness", "log_length"), [make.scalar(0), make.scalar("69/100")], "log_length ends"),
        wrong("two tokens", ("witness", "orthogonal", 1, 0), make.vector([0, 1]), "query 1: V^T r is not zero"),
        wrong("uncoupled", ("witness", "orthogonal", 1, 0), make.vector([0, 1]), "query 1: r is not orthogonal"),
        wrong("uncoupled", ("witness", "orthogonal", 0, 0), make.vector([0, 0]), "cover 0: the bound fails"),
        wrong("two tokens", ("witness", "lower", "covers", 0, "integers"), 0, "cover 0: integer masses, though"),
        wrong(
            "integers, any", ("witness", "lower", "covers", 0, "integers"), 3, "cover 0: the breakpoints begin above"
        ),
        wrong("integers, from the first", ("instance", "length"), 2, "cover 0: breakpoints are for the masses"),
        wrong("integers, all", ("instance", "length"), 6, "cover 0: breakpoints are for the masses"),
        wrong("integers, all", ("instance", "length"), None, "cover 0: breakpoints are for the masses"),
        wrong("two tokens", ("witness", "preimages", 0, "z"), make.vector([3, 1]), "preimages[0]: MLP(z) is not"),
        wrong(
            "two preimages",
            ("witness", "preimages", 1, "points", 0, "z"),
            make.vector([9, "3/2"]),
            "preimages[1]: piece 0",
        ),
        wrong(
            "two preimages",
            ("witness", "preimages", 0, "points", 0, "multipliers", 0, 0),
            make.vector([-3]),
            "preimages[0]: piece 0, coordinate 0: the bound from above is not the coordinate",
        ),
        wrong(
            "two preimages",
            ("witness", "preimages", 0, "points", 0, "multipliers", 0, 1),
            make.vector([1]),
            "preimages[0]: piece 0, coordinate 0: the bound from below is not the coordinate",
        ),
        wrong(
            "two preimages",
            ("witness", "preimages", 0, "points", 1, "multipliers", 1, 1),
            make.vector([1]),
            "multiplier 0 is positive",
        ),
    ],
)
def test_wrong(name: str, path: tuple[Json, ...], new: Json, reason: str, good: dict[str, Json]) -> None:
    answer = sealed_verdict(changed(good[name], path, new))
    assert answer[0] == "false", answer
    assert reason in answer[1]


def test_missing_part(good: dict[str, Json]) -> None:
    """Without the breakpoints around the optimum the bound fails: the parts leave no gap."""
    problem = plain()
    curve, lower = problem.curve((0, 0)), best_lower(problem)[0]
    best = curve.minimum()[0]
    breakpoints = curve.cover(float(lower), -20, 20)
    k = sum(x < best for x in breakpoints)
    for width in (4, 8, 16):
        fewer = breakpoints[: k - width] + breakpoints[k + width :]
        answer = sealed_verdict(bounds(problem, lower, [cover(fewer)]))
        assert answer == ("false", f"cover 0: the bound fails on part {k - width - 1}")


def test_different_logit_vectors(good: dict[str, Json]) -> None:
    value = changed(good["two tokens"], ("instance", "layer", "heads", 0, "W_q"), make.matrix([[1, 0], [0, 1]]))
    value = changed(value, ("instance", "queries", 0, "column"), 0)
    assert sealed_verdict(value) == ("false", "query 1 has another logit vector")


def test_no_preimage() -> None:
    """A target out of the range of the MLP has no nearest preimage, hence no loss."""
    problem = plain(1)
    problem.q, problem.g, problem.contexts = row([1]), row([1]), [[row([1])]]
    problem.mlp, problem.targets, problem.points = make.folded(), [row([1])], [[]]
    problem.proofs = [{**make.tree(make.empty([-1])), "points": []}]
    value = bounds(problem, 5, [])
    assert sealed_verdict(value) == ("false", "query 0 has no preimage, hence no loss")
    value = changed(value, ("witness", "preimages", 0, "tree", "multipliers"), make.vector([0]))
    assert sealed_verdict(value)[1] == "preimages[0]: empty leaf 0: the bound is not negative"


def test_factors() -> None:
    """Point proofs with an MLP: each query's factor is checked, once if it is repeated."""
    problem = plain(1)
    problem.mlp = make.mlp(2, W_1=[["1/2", 0]], W_2=[["1/2"], [0]], b_1=[0])
    problem.targets = [row([-2, 1]), row(["5/4", -2])]
    problem.proofs = [make.point(points[0], [["1/2"]]) for points in problem.points]
    value = bounds(problem, 0, [ANY])
    assert sealed_verdict(value)[0] == "true"
    other = changed(value, ("witness", "preimages", 1, "factor"), make.matrix([[2]]))
    assert "preimages[1]: M + M^T is not shown" in sealed_verdict(other)[1]
    other = changed(value, ("witness", "preimages", 0, "factor"), make.matrix([[2]]))
    assert "preimages[0]: M + M^T is not shown" in sealed_verdict(other)[1]


# --- reading and limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "new", "found"),
    [
        (("instance", "length"), 0, "instance.length: expected a positive integer or null"),
        (("instance", "length"), "0x-1", "instance.length: expected an integer"),
        (("instance", "length"), None, "witness.log_length: expected two scalars if g and the length are given"),
        (("instance", "queries"), [], "instance.queries: expected at least one query"),
        (("instance", "layer", "heads"), lambda old: old * 2, "instance.layer: expected exactly one head, found 2"),
        (("witness", "g"), None, "witness.log_length: expected two scalars if g and the length are given"),
        (("witness", "log_length"), None, "witness.log_length: expected two scalars if g and the length are given"),
        (("witness", "precision"), 31, "witness.precision: expected an integer from 32 to 4096"),
        (("witness", "precision"), 4097, "witness.precision: expected an integer from 32 to 4096"),
        (("witness", "lower", "covers"), [], "witness.lower.covers: expected a list of length 1"),
        (("witness", "lower", "covers", 0, "integers"), -1, "integers: expected an integer from 0 on, or null"),
        (BREAKPOINTS, make.vector([]), "breakpoints: expected at least one breakpoint"),
        (("witness", "orthogonal", 0), [], "witness.orthogonal[0]: expected a list of length 1"),
        (("witness", "upper"), prompt(1, [row([1, 1])], [0]), "witness.upper.counts: expected positive integers"),
        (("witness", "upper"), {"value": 1, "mean": 2}, "witness.upper: expected an object with fields"),
        (("witness", "preimages", 0), make.tree(make.PIECE), 'expected an object with the field "points"'),
        (("relation",), "loss", 'relation: expected "loss-bounds" or "memorizable" or'),
        (("evidence",), "exact", 'evidence: expected "enclosed"'),
    ],
)
def test_not_a_certificate(path: tuple[Json, ...], new: Json, found: str, good: dict[str, Json]) -> None:
    answer = sealed_verdict(changed(good["two tokens"], path, new))
    assert answer[0] == "not a certificate", answer
    assert found in answer[1]


def test_limits(good: dict[str, Json], monkeypatch: pytest.MonkeyPatch) -> None:
    value = good["integers, from the first"]
    for count, length in ((10**6, None), (10**6, 10**9), (100_001, 2**60)):
        many = changed(
            changed(value, ("witness", "lower", "covers", 0, "integers"), count),
            ("instance", "length"),
            length and make.integer(length),
        )
        assert sealed_verdict(many) == ("over limits", "more than 100000 parts of the axis")
    with monkeypatch.context() as patch:
        patch.setattr(loss_bounds, "MAX_PARTS", 10)
        assert sealed_verdict(good["two tokens"])[0] == "over limits"
    with monkeypatch.context() as patch:
        patch.setattr(finite_preimage, "MAX_COMBINATIONS", 3)
        assert sealed_verdict(good["two preimages"]) == (
            "over limits",
            "more than 3 combinations of preimage points",
        )
    far = changed(good["two tokens"], BREAKPOINTS, make.vector([-(10**9)]))
    assert sealed_verdict(far)[0] == "over limits"
    long = changed(good["two tokens"], ("instance", "length"), hex(1 << (1 << 20)))
    assert sealed_verdict(long)[0] in ("false", "over limits")
    small = changed(good["two tokens"], ("witness", "upper"), prompt(1, [row([-(10**6), 0])], [1]))
    assert sealed_verdict(small) == ("over limits", "the prompt has tokens of too small a mass")


def test_deadline(good: dict[str, Json], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 0)
    for value in good.values():
        assert sealed_verdict(value) == ("over limits", "more than 0 seconds")


def test_huge_rationals(good: dict[str, Json]) -> None:
    """Long numbers are slow, not wrong."""
    tiny = Fraction(1, 1 << 20000)
    value = changed(good["two tokens"], ("witness", "lower", "value"), make.scalar(tiny))
    assert sealed_verdict(value)[0] == "true"
    value = changed(good["no slab"], ("witness", "reference"), make.scalar(Fraction(1, 2) + tiny))
    assert sealed_verdict(value)[0] == "true"


def test_mass_that_rounds_to_nothing() -> None:
    """A prompt and contexts of mass below the precision: no loss is enclosed."""
    problem = plain(None)
    value = bounds(problem, 0, [ANY], prompt(1, [row([1, 1])], [1]), precision=32)
    value = changed(value, ("witness", "reference"), make.scalar(-900))
    assert sealed_verdict(value)[0] in ("false", "true")


def test_large_counts_cost_nothing(good: dict[str, Json]) -> None:
    upper = prompt(10**9, [row([1, 1])], [1 << 100_000])
    value = changed(changed(good["any length"], ("witness", "upper"), upper), BREAKPOINTS, make.vector([-3]))
    assert sealed_verdict(changed(value, ("witness", "lower", "value"), make.scalar(0)))[0] == "true"
