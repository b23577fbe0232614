"""Relations memorizable and no-prompt-memorizes: certificates that hold, and each condition violated."""

from fractions import Fraction
from typing import Any

import kernel_certificates as make
import limits
import mpmath
import pytest
from expsum import ExpSum, exponential
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from kernel_certificates import changed
from mass_equation import Equation, Wish, Wishes
from prompt_law_makers import Problem, memorizable, no_prompt, row, sealed_verdict
from rational import Scalar, Vector

Json = Any


def one(length: int | None) -> Problem:
    """d = 1, all weights 1, context outputs such that ceil(e * 2e^3 * e^{-1}) = 41 tokens are needed."""
    return Problem(row([1]), [[row([3]), row([1])]], [[row([2])]], length)


def needs(length: int | None) -> Json:
    return memorizable(one(length), [[1]], g=[1])


def too_short(length: int | None) -> Json:
    return no_prompt(one(length), {"argument": "length"}, g=[1])


def free_length(length: int | None = 1) -> Problem:
    """c >= 0: every length is enough."""
    return Problem(row([1]), [[row([-1]), row([0])]], [[row([2])]], length)


def twins(length: int | None, q: list[Json], masses: tuple[Json, Json] = ("7/2", "7/2")) -> Problem:
    """Contexts p e_1, 0 and p' e_2, 0; targets e_1, e_2. With q = 0 the equation asks for s = p - 2."""
    contexts = [[row([masses[0], 0]), row([0, 0])], [row([0, masses[1]]), row([0, 0])]]
    return Problem(row(q), contexts, [[row([1, 0])], [row([0, 1])]], length)


def whole(length: int | None, p: Json = 5) -> Json:
    """q = 0 and s = p - 2: u = a + C/s is 0."""
    return memorizable(twins(length, [0, 0], (p, p)), [[1, 0], [0, 1]], equation=[0, 1, 0])


def placed(height: Json, length: int | None, mass: Json = 3) -> Problem:
    """q = e_3, scores 0: only s = mass and u = (0, 0, height) will do, which takes mass e^{-height} tokens."""
    s, h = Fraction(mass), Fraction(height)
    contexts = [[[s + 2, 0, 0], row([0, 0, 0])], [[0, s + 2, 0], row([0, 0, 0])]]
    a = s * h / (2 + s)
    return Problem(
        row([0, 0, 1]),
        [[row(t) for t in columns] for columns in contexts],
        [[row([1, 0, a])], [row([0, 1, a])]],
        length,
    )


def met(problem: Problem) -> Json:
    sources = [z[0] for z in problem.points]
    return memorizable(problem, sources, g=problem.q, equation=[0, 1, 1])


def entropy(problem: Problem, place: Json = (0, 1, 1)) -> Json:
    return no_prompt(problem, {"argument": "entropy", "equation": list(place)}, g=problem.q)


def irrational(length: int | None) -> Problem:
    """Tokens (1, 4 e_k) and 0, scores 1 and 0; targets (1, e_k): s = 3e - 1 and x = 1 + 1/s are irrational."""
    contexts = [[row([1, 4, 0]), row([0, 0, 0])], [row([1, 0, 4]), row([0, 0, 0])]]
    return Problem(row([1, 0, 0]), contexts, [[row([1, 1, 0])], [row([1, 0, 1])]], length)


def irrational_tokens() -> float:
    s = 3 * mpmath.e - 1
    return float(s * mpmath.exp(-(1 + 1 / s)))


CORES: dict[str, Json] = {
    "one example": needs(41),
    "one example, any length": needs(None),
    "one token": memorizable(free_length(), [[2]], g=[1]),
    "one token too few": too_short(40),
    "integer": whole(3),
    "integer, any length": whole(None),
    "single query, q = 0": memorizable(Problem(row([0]), [[row([1])]], [[row([5])]], 1), [[4]]),
    "rational, one token": met(placed(0, 3)),
    "irrational": met(irrational(3)),
    "irrational, any length": met(irrational(None)),
    "too long, rational": entropy(placed(0, 2)),
    "too long, irrational": entropy(irrational(2)),
    "too small": entropy(placed(2, None)),
}


@pytest.mark.parametrize("name", CORES)
def test_true(name: str) -> None:
    answer = sealed_verdict(CORES[name])
    assert answer[0] == "true", answer
    word = "some of all" if CORES[name]["relation"] == "memorizable" else "none of all"
    assert f"prompt-law: {word} prompts of" in answer[1]


def test_the_boundary() -> None:
    """Numbers of tokens around what is needed; an exact tie is decided where x is rational."""
    assert 2 < irrational_tokens() < 3
    for length in (1, 2, 3, 40, 41, 42):
        assert sealed_verdict(needs(length))[0] == ("true" if length >= 41 else "false")
        assert sealed_verdict(too_short(length))[0] == ("false" if length >= 41 else "true")
        assert sealed_verdict(met(irrational(length)))[0] == ("true" if length >= 3 else "false")
        assert sealed_verdict(entropy(irrational(length)))[0] == ("false" if length >= 3 else "true")
        assert sealed_verdict(met(placed(0, length)))[0] == ("true" if length >= 3 else "false")
        assert sealed_verdict(entropy(placed(0, length)))[0] == ("false" if length >= 3 else "true")
        assert sealed_verdict(whole(length))[0] == ("true" if length >= 3 else "false")
    # one token: s e^{-x} = 1 exactly for s = 1 and x = 0
    assert sealed_verdict(met(placed(0, 1, 1)))[0] == "true"
    assert sealed_verdict(entropy(placed(0, None, 1)))[0] == "false"
    assert sealed_verdict(entropy(placed(0, 1, 1)))[0] == "false"
    assert sealed_verdict(entropy(placed("1/1000000", None, 1)))[0] == "true"
    assert sealed_verdict(met(placed("1/1000000", None, 1)))[0] == "false"
    assert sealed_verdict(met(placed("-1/1000000", 1, 1)))[0] == "false"
    assert sealed_verdict(met(placed("-1/1000000", 2, 1)))[0] == "true"
    assert sealed_verdict(too_short(None)) == ("false", "combination 0: the length is not bounded")


def test_no_slab() -> None:
    """kappa = e_2: any mass by one token; without it the same data need g, which there is none of."""
    V = [row([1, 0, 0]), row([0, 1, 0]), row([0, 0, 0])]
    problem = placed(0, 1)
    problem.V = V
    sources = [[1, 0, 9], [0, 1, 0]]
    holds = memorizable(problem, sources, free=[0, 0, 2], equation=[0, 1, 0])
    assert sealed_verdict(holds)[0] == "true"
    for free, reason in (([0, 1, 2], "V kappa is not zero"), ([0, 0, 0], "q.kappa is zero")):
        answer = sealed_verdict(changed(holds, ("witness", "free"), make.vector(free)))
        assert answer == ("false", reason)
    answer = sealed_verdict(changed(holds, ("witness", "free"), None))
    assert answer == ("false", "neither kappa nor g is given, and the logit vector is not zero")
    assert sealed_verdict(changed(holds, ("witness", "g"), make.vector([0, 0, 1])))[1] == (
        "V^T g is not the logit vector"
    )
    # a target off the range of V
    problem.points[1] = [row([0, 1, 3])]
    away = no_prompt(problem, {"argument": "range", "query": 1, "w": make.vector([0, 0, 1])})
    assert sealed_verdict(away)[0] == "true"
    for k, w, reason in ((0, [0, 0, 1], "w.a is zero"), (1, [0, 1, 1], "w^T V is not zero")):
        answer = sealed_verdict(no_prompt(problem, {"argument": "range", "query": k, "w": make.vector(w)}))
        assert answer == ("false", f"combination 0: {reason}")
    assert sealed_verdict(memorizable(problem, sources, free=[0, 0, 2], equation=[0, 1, 0]))[1] == (
        "query 1: V source is not z - x"
    )


@pytest.mark.parametrize(
    ("value", "path", "new", "reason"),
    [
        (needs(41), ("witness", "points", 0), make.vector([3]), "query 0: MLP(z) is not the target"),
        (needs(41), ("witness", "sources", 0), make.vector([2]), "query 0: V source is not z - x"),
        (needs(41), ("witness", "g"), make.vector([2]), "V^T g is not the logit vector"),
        (needs(41), ("witness", "g"), None, "neither kappa nor g is given"),
        (needs(41), ("witness", "equation"), [0, 0, 0], "equation: delta is zero"),
        (needs(41), ("instance", "length"), 40, "all masses need too long a prompt"),
        (whole(3), ("witness", "equation"), None, "equation: query 1 asks for another a"),
        (whole(3), ("instance", "length"), 2, "the mass is above the length"),
        (whole(3, "7/2"), ("instance", "length"), 3, "the mass is not an integer"),
        (whole(3, "7/2"), ("instance", "length"), None, "the mass is not an integer"),
        (whole(3, 1), ("instance", "length"), None, "equation: the mass is not positive"),
        (met(irrational(3)), ("instance", "length"), 2, "the mass needs too long a prompt"),
        (met(placed(2, None)), ("instance", "length"), 2, "the mass is too small for any prompt"),
        (too_short(40), ("instance", "length"), 41, "combination 0: the length is enough"),
        (too_short(40), ("witness", "g"), None, "combination 0: there is no g"),
        (too_short(40), ("witness", "g"), make.vector([2]), "V^T g is not the logit vector"),
        (too_short(40), ("witness", "preimages", 0, "z"), make.vector([1]), "preimages[0]: MLP(z) is not the target"),
    ],
)
def test_false(value: Json, path: tuple[Json, ...], new: Json, reason: str) -> None:
    answer = sealed_verdict(changed(value, path, new))
    assert answer[0] == "false", answer
    assert reason in answer[1]


def test_free_mass_of_two_queries() -> None:
    """Equal a and C; with another C (or a) the mass is not free."""
    problem = free_length(None)
    problem.contexts *= 2
    problem.points *= 2
    assert sealed_verdict(memorizable(problem, [[2], [2]], g=[1]))[0] == "true"
    short = one(40)
    short.contexts *= 2
    short.points *= 2
    assert sealed_verdict(no_prompt(short, {"argument": "length"}, g=[1]))[0] == "true"
    short.contexts[1:] = [[row([4]), row([1])]]
    answer = sealed_verdict(no_prompt(short, {"argument": "length"}, g=[1]))
    assert answer == ("false", "combination 0: query 1 asks for another C")
    short.points[1:] = [[row([3])]]
    answer = sealed_verdict(no_prompt(short, {"argument": "length"}, g=[1]))
    assert answer == ("false", "combination 0: query 1 asks for another a")
    zero = no_prompt(Problem(row([0]), [[row([1])]], [[row([5])]], 1), {"argument": "length"}, g=[0])
    assert sealed_verdict(zero) == ("false", "combination 0: the logit vector is zero")
    enough = no_prompt(free_length(), {"argument": "length"}, g=[1])
    assert sealed_verdict(enough) == ("false", "combination 0: the length is enough")


def sign(problem: Problem, place: list[int]) -> tuple[str, str]:
    return sealed_verdict(no_prompt(problem, {"argument": "sign", "equation": place}))


def masses(problem: Problem, first: list[int], second: list[int]) -> tuple[str, str]:
    return sealed_verdict(no_prompt(problem, {"argument": "masses", "equations": [first, second]}))


def test_signs_and_masses() -> None:
    negative = twins(None, [0, 0], (1, 1))  # s = -1
    assert sign(negative, [0, 1, 0])[0] == "true"
    assert sign(twins(None, [0, 0], (2, 2)), [0, 1, 1])[0] == "true"  # s = 0
    assert sign(twins(None, [0, 0]), [0, 1, 0]) == ("false", "combination 0: the mass is positive")
    assert sign(negative, [1, 1, 0]) == ("false", "combination 0: delta and gamma are zero")
    equal = twins(None, [1, 0])
    equal.points = [[row([1, 1])], [row([1, 1])]]  # delta = 0, different contexts
    assert sign(equal, [0, 1, 0])[0] == "true"
    two = twins(None, [0, 0], ("7/2", 4))
    assert masses(two, [0, 1, 0], [0, 1, 1])[0] == "true"
    assert masses(two, [0, 1, 0], [1, 0, 0]) == ("false", "combination 0: the two masses are equal")
    assert masses(two, [0, 0, 0], [0, 1, 1]) == ("false", "combination 0: delta is zero")
    # and such data are not memorizable either
    answer = sealed_verdict(memorizable(two, [[1, 0], [0, 1]], equation=[0, 1, 1]))
    assert answer == ("false", "equation: the mass does not solve the equation of query 1, coordinate 0")


def test_numbers_of_tokens() -> None:
    def integer(length: int | None, p: Json, q: list[Json] | None = None, place: Json = (0, 1, 0)) -> tuple[str, str]:
        return sealed_verdict(
            no_prompt(twins(length, q or [0, 0], (p, p)), {"argument": "integer", "equation": list(place)})
        )

    assert integer(None, "7/2")[0] == "true"
    assert integer(2, 5)[0] == "true"
    assert integer(3, 5) == ("false", "combination 0: the mass is a number of tokens")
    assert integer(None, 5) == ("false", "combination 0: the mass is a number of tokens")
    assert integer(None, 1) == ("false", "combination 0: the mass is not positive")
    assert integer(None, "7/2", place=(0, 0, 0)) == ("false", "combination 0: delta is zero")
    assert integer(None, "7/2", [1, 0]) == ("false", "combination 0: the logit vector is not zero")
    with pytest.raises(ValueError, match="not rational"):
        Equation(Scalar(1, 1), exponential(Scalar(1, 1), Scalar(1, 2))).whole_mass()


def test_entropy_conditions() -> None:
    good = entropy(placed(0, 2))
    assert sealed_verdict(changed(good, ("witness", "g"), None)) == ("false", "combination 0: there is no g")
    assert sealed_verdict(changed(good, ("instance", "length"), None)) == (
        "false",
        "combination 0: the prompt law allows the mass",
    )
    zero = no_prompt(twins(1, [0, 0]), {"argument": "entropy", "equation": [0, 1, 0]}, g=[0, 0])
    assert sealed_verdict(zero) == ("false", "combination 0: the logit vector is zero")
    negative = no_prompt(twins(1, [1, 0], (0, 0)), {"argument": "entropy", "equation": [0, 1, 1]}, g=[1, 0])
    assert sealed_verdict(negative) == ("false", "combination 0: the mass is not positive")
    none = no_prompt(twins(1, [1, 0]), {"argument": "entropy", "equation": [1, 1, 0]}, g=[1, 0])
    assert sealed_verdict(none) == ("false", "combination 0: delta is zero")


def bent() -> Problem:
    """MLP(z) = z - 2 ReLU(z - 10) in one dimension; two queries, each with the preimages 20 - y and y."""
    problem = Problem(row([0]), [[row([1])], [row([1])]], [], None)
    problem.mlp = make.mlp(1, W_1=[[1]], W_2=[[-2]], b_1=[-10])
    problem.targets = [row([8]), row([9])]
    problem.points = [[[20 - y[0]], y] for y in problem.targets]
    tree = make.tree(make.branch(0, make.PIECE, make.PIECE))
    problem.proofs = [
        {
            **tree,
            "points": [
                {"z": make.vector(z), "multipliers": [[make.vector([m]), make.vector([-m])]]}
                for z, m in zip(points, (-2, 0), strict=True)
            ],
        }
        for points in problem.points
    ]
    return problem


def test_combinations() -> None:
    """Equal contexts with different a: delta is not 0 and gamma/delta = -1 for each of the four combinations."""
    problem = bent()
    argument = {"argument": "sign", "equation": [0, 1, 0]}
    holds = no_prompt(problem, *[argument] * 4)
    answer = sealed_verdict(holds)
    assert answer[0] == "true"
    assert "combinations of preimages: 4" in answer[1]
    for k in range(4):
        wrong = changed(holds, ("witness", "combinations", k, "equation"), [0, 0, 0])
        assert sealed_verdict(wrong) == ("false", f"combination {k}: delta and gamma are zero")
    missing = changed(holds, ("witness", "combinations"), [argument] * 3)
    assert sealed_verdict(missing)[0] == "not a certificate"
    # the second point of a query left out: the tree must then have that leaf empty
    node = holds["witness"]["preimages"][0]
    fewer = {**make.tree(make.branch(0, make.PIECE, make.empty([-1]))), "points": node["points"][:1]}
    shorter = changed(changed(holds, ("witness", "preimages", 0), fewer), ("witness", "combinations"), [argument] * 2)
    assert sealed_verdict(shorter)[0] == "false"


@pytest.mark.parametrize(("difference", "positive"), [(2, 1), (-2, 2)])
def test_the_last_choice_runs_fastest(difference: int, positive: int) -> None:
    """s = difference / (z_1 - z_2 - difference) - 1, and z_1 - z_2 is 1, 3, -3, -1 in the four combinations."""
    problem = bent()
    problem.contexts = [[row([difference])], [row([0])]]
    answer = sealed_verdict(no_prompt(problem, *[{"argument": "sign", "equation": [0, 1, 0]}] * 4))
    assert answer == ("false", f"combination {positive}: the mass is positive")


def test_nothing_to_choose() -> None:
    """A target out of range leaves no combination, and no argument is needed."""
    problem = Problem(row([1]), [[row([1])]], [[]], None)
    problem.mlp, problem.targets = make.folded(), [row([1])]
    problem.proofs = [{**make.tree(make.empty([-1])), "points": []}]
    assert sealed_verdict(no_prompt(problem))[0] == "true"
    problem.proofs = [{**make.tree(make.empty([0])), "points": []}]
    assert sealed_verdict(no_prompt(problem)) == ("false", "preimages[0]: empty leaf 0: the bound is not negative")


@pytest.mark.parametrize(
    ("value", "path", "new", "found"),
    [
        (too_short(40), ("witness", "combinations", 0), {"argument": "none"}, 'names like "range"'),
        (too_short(40), ("witness", "combinations", 0), {"claim": 1}, 'an object with the field "argument"'),
        (too_short(40), ("witness", "combinations", 0), [1], 'an object with the field "argument"'),
        (too_short(40), ("witness", "combinations", 0), {"argument": "length", "g": 1}, "expected an object with"),
        (too_short(40), ("witness", "combinations", 0), {"argument": "sign"}, "expected an object with"),
        (entropy(placed(0, 2)), ("witness", "combinations", 0, "equation", 2), 3, "expected an integer from 0 to 2"),
        (entropy(placed(0, 2)), ("witness", "combinations", 0, "equation", 1), 2, "expected an integer from 0 to 1"),
        (entropy(placed(0, 2)), ("witness", "combinations", 0, "equation"), [0, 1], "expected a list of length 3"),
        (needs(41), ("witness", "points"), [], "witness.points: expected a list of length 1"),
        (needs(41), ("witness", "sources"), [], "witness.sources: expected a list of length 1"),
        (needs(41), ("instance", "layer", "E"), make.matrix([[0] * 43]), "instance: expected a layer without E"),
        (needs(41), ("evidence",), "enclosed", 'evidence: expected "exact"'),
    ],
)
def test_not_a_certificate(value: Json, path: tuple[Json, ...], new: Json, found: str) -> None:
    answer = sealed_verdict(changed(value, path, new))
    assert answer[0] == "not a certificate", answer
    assert found in answer[1]


# --- the comparison with e^x, against many digits -------------------------------------------------------------------

small = st.fractions(-3, 3, max_denominator=4)
sums = st.dictionaries(st.fractions(-2, 2, max_denominator=2), st.fractions(-4, 4, max_denominator=3), max_size=3)


def exp_sum(terms: dict[Fraction, Fraction]) -> ExpSum:
    total = ExpSum({}, 1, 1)
    for exponent, coefficient in terms.items():
        total += exponential(
            Scalar(coefficient.numerator, coefficient.denominator), Scalar(exponent.numerator, exponent.denominator)
        )
    return total


def value_of(terms: dict[Fraction, Fraction]) -> mpmath.mpf:
    return sum(
        (mpmath.mpf(c.numerator) / c.denominator * mpmath.exp(mpmath.mpf(q.numerator) / q.denominator))
        for q, c in terms.items()
    ) + mpmath.mpf(0)


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(sums, small.filter(bool), sums, small, small, st.sampled_from([1, 2, 5, 10**30]), st.booleans())
def test_tokens_against(
    gamma: dict[Fraction, Fraction],
    delta: Fraction,
    C: dict[Fraction, Fraction],
    a: Fraction,
    g: Fraction,
    count: int,
    multiple: bool,
) -> None:
    if multiple:  # x is rational
        C = {q: c * 3 for q, c in gamma.items()}
    with mpmath.workdps(80):
        s = value_of(gamma) / (mpmath.mpf(delta.numerator) / delta.denominator)
        if s <= 0:
            return
        number = lambda x: mpmath.mpf(x.numerator) / x.denominator  # noqa: E731
        x = number(g) * number(a) - number(g) * value_of(C) / s
        difference = mpmath.log(s) - x - mpmath.log(count)
        expected = 0 if abs(difference) < mpmath.mpf(10) ** -60 else 1 if difference > 0 else -1
    wishes = Wishes((Wish(Vector((a.numerator,), a.denominator), (exp_sum(C),)),), None, None)
    equation = Equation(Scalar(delta.numerator, delta.denominator), exp_sum(gamma))
    vector = Vector((g.numerator,), g.denominator)
    assert equation.mass_sign() == 1
    try:
        assert wishes.tokens_against(equation, 0, count, vector) == expected
    except limits.OverLimits:
        assert abs(x) > 10_000


def test_undecided_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bits than allowed would be needed: over limits, in either relation."""
    monkeypatch.setattr(limits, "MAX_PRECISION", 32)
    for value in (met(irrational(3)), entropy(irrational(2))):
        assert sealed_verdict(value)[0] == "over limits"


@pytest.mark.parametrize(("up", "expected"), [(0, -1), (1, 1)])
def test_close_to_the_boundary(up: int, expected: int) -> None:
    """s near e and x = e/s: s e^{-x} differs from 1 by 2^-100 only, which takes more than the first precision."""
    with mpmath.workprec(300):
        s = Fraction(int(mpmath.floor(mpmath.e * 2**100)) + up, 2**100)
    equation = Equation(Scalar(1, 1), exp_sum({Fraction(0): s}))
    wishes = Wishes((Wish(Vector((0,), 1), (exp_sum({Fraction(1): Fraction(-1)}),)),), None, None)
    assert wishes.tokens_against(equation, 0, 1, Vector((1,), 1)) == expected


@pytest.mark.parametrize("side", [-1, 1])
def test_a_wide_enclosure_of_the_mass(side: int) -> None:
    """s = 2^60 (e^{2^-60} - 1) is known to a few digits at first, and x = +-2^-50 + 2^-70 e/s much better."""
    small = Fraction(1, 2**60)
    equation = Equation(Scalar(1, 1), exp_sum({small: Fraction(2**60), Fraction(0): Fraction(-(2**60))}))
    wishes = Wishes((Wish(Vector((side,), 2**50), (exp_sum({Fraction(1): -Fraction(1, 2**70)}),)),), None, None)
    assert wishes.tokens_against(equation, 0, 1, Vector((1,), 1)) == -side


def test_mass_close_to_zero() -> None:
    """s = e^{2^-90} - 1 is not told from 0 at first, and x = 1/s is then too large to be compared: over limits."""
    tiny = Fraction(1, 2**90)
    gamma = exp_sum({tiny: Fraction(1), Fraction(0): Fraction(-1)})
    equation = Equation(Scalar(1, 1), gamma)
    for C, expected in ((Fraction(1), 1), (tiny, None)):
        wishes = Wishes((Wish(Vector((0,), 1), (exp_sum({Fraction(0): C}),)),), None, None)
        if expected is None:  # x = -tiny/s is near -1, s near 0
            assert wishes.tokens_against(equation, 0, 1, Vector((1,), 1)) == -1
        else:  # x is near -2^90: e^x is near 0
            assert wishes.tokens_against(equation, 0, 1, Vector((1,), 1)) == expected
    wishes = Wishes((Wish(Vector((0,), 1), (exp_sum({Fraction(0): Fraction(-1)}),)),), None, None)
    with pytest.raises(limits.OverLimits, match="the boundary of the prompt law does not show"):
        wishes.tokens_against(equation, 0, 1, Vector((1,), 1))


@settings(max_examples=settings.default.max_examples, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_memorizable_by_a_prompt(data: st.DataObject) -> None:
    """Data made from a prompt: it is memorizable at its length, so no argument against it is ever accepted.

    q = 0, so that attention is rational: the mass is the number of tokens.
    """
    d, count = 2, data.draw(st.integers(1, 3))
    vectors = st.lists(st.fractions(-3, 3, max_denominator=2), min_size=d, max_size=d)
    prompt = [data.draw(vectors) for _ in range(count)]
    contexts = [data.draw(st.lists(vectors, min_size=1, max_size=3)) for _ in range(2)]
    points = []
    for columns in contexts:
        everything = prompt + columns
        mean = [sum((t[c] for t in everything), Fraction(0)) / len(everything) for c in range(d)]
        points.append([[m + x for m, x in zip(mean, columns[-1], strict=True)]])
    problem = Problem([Fraction(0)] * d, contexts, points, count)
    a = [[z - x for z, x in zip(z_[0], columns[-1], strict=True)] for z_, columns in zip(points, contexts, strict=True)]
    equation = next(([0, 1, c] for c in range(d) if a[0][c] != a[1][c]), None)
    answer = sealed_verdict(memorizable(problem, a, equation=equation))
    if equation is None:
        assert answer[0] in ("true", "false")  # any mass, or different contexts that only this mass meets
    else:
        assert answer[0] == "true", answer
    for c in range(d):
        assert sign(problem, [0, 1, c])[0] == "false" or equation is None
        assert masses(problem, [0, 1, c], [0, 1, 1 - c])[0] == "false"
        argument = {"argument": "integer", "equation": [0, 1, c]}
        assert sealed_verdict(no_prompt(problem, argument))[0] == "false"
    argument = {"argument": "range", "query": 0, "w": make.vector([1, 0])}
    assert sealed_verdict(no_prompt(problem, argument))[0] == "false"


def test_the_prompt_of_the_boundary() -> None:
    """The data are what their maker says: three tokens of score 0 meet both queries."""
    assert abs(placed(0, 3).loss([row([0, 0, 0])], [3])) < mpmath.mpf(10) ** -50
