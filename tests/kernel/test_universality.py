"""Claims quantisation and contextual-mapping: certificates that hold, and each condition violated in turn."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import kernel_certificates as make
import limits
import pytest
import universality
import universality_makers as makers
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_certificates import changed
from limits import OverLimits, Refuted
from mpmath import mp, mpf
from prompt_law_makers import sealed_verdict
from rational import Scalar
from universality import ContextualMap, Grid, against_root, contextual_map, power
from universality_makers import Numbers

Json = Any
Judge = Callable[[bytes], tuple[str, str]]

I, W = ("instance",), ("witness",)
ALL_ONES, ONE_ZERO = (1,) * 10, (1, 1, 1, 1, 1, 1, 1, 0, 1, 1)
COLLISION = makers.collision(1, 2, 2, 2**11, [(ONE_ZERO, 8), (ALL_ONES, 9)])
ENOUGH = 1024 * (9 * 2 + 2)  # the bound on G for (d, m, k) = (1, 2, 2)

TRUE: dict[str, Json] = {
    "error": makers.quantisation(1, 1, 80, 1, 2),
    "error, fractions": makers.quantisation(2, 3, 5, "3/2", "7/3"),
    "error, p = 1": makers.quantisation(1, 1, 2, "1/3", 1),
    "error, L = 0": makers.quantisation(3, 1, 4, 0, 3),
    "error, larger than needed": makers.quantisation(1, 2, 2, 1, 2, slack=1),
    "error, d = 50": makers.quantisation(50, 7, 10**9, 1, 2),
    "error, exact roots": changed(
        changed(makers.quantisation(2, 2, 2, 1, 1), (*W, "roots"), [make.scalar(4), make.scalar(2)]),
        (*I, "bound"),
        make.scalar("3/2"),
    ),
    "error, p not in lowest terms": changed(
        makers.quantisation(1, 2, 2, 1, "3/2"), (*I, "p"), {"den": 2 * 10**9, "num": 3 * 10**9}
    ),
    "ids": makers.distinct(1, 1, 2, 0, "bound"),
    "ids, k = 80": makers.distinct(1, 1, 80, 0, "bound"),
    "ids, m = 2": makers.distinct(1, 2, 2, ENOUGH, "bound"),
    "ids, m = 1 and shift": makers.distinct(1, 1, 2, 8 * (2 * 2 + 2), "bound"),
    "ids, d = m = 2": makers.distinct(2, 2, 3, Numbers(2, 2, 3).enough(), "bound"),
    "ids, enumerated": makers.distinct(1, 1, 2, 0, "enumeration"),
    "ids, enumerated, m = 1 and shift": makers.distinct(1, 1, 3, 7, "enumeration"),
    "ids, enumerated, d = 2": makers.distinct(2, 1, 2, 0, "enumeration"),
    "ids, enumerated, m = 2": makers.distinct(1, 2, 2, ENOUGH - 1, "enumeration"),
    "ids, enumerated, no shift": makers.distinct(1, 2, 2, 0, "enumeration"),
    "collision": COLLISION,
    "collision, exchanged": makers.collision(1, 2, 2, 2**11, [(ALL_ONES, 9), (ONE_ZERO, 8)]),
}


@pytest.fixture(autouse=True)
def time_to_spare() -> None:
    """For tests that call the kernel's functions themselves."""
    limits.DEADLINE.start()


@pytest.mark.parametrize("name", TRUE)
def test_true(name: str, judge: Judge) -> None:
    verdict, text = judge(make.seal(TRUE[name]))
    assert verdict == "true", text
    assert text.startswith(TRUE[name]["claim"] + ": ")


def test_sentences() -> None:
    """What has been proved, in words."""
    assert sealed_verdict(TRUE["error, fractions"])[1] == (
        "quantisation: every L-Lipschitz function is within the stated bound of its grid values on the cells, in d_p "
        "(d = 2, m = 3, k = 5)"
    )
    assert sealed_verdict(TRUE["ids, m = 2"])[1] == (
        "contextual-mapping: no column fires twice in the sweep, and after the shift by G the ids of all read columns "
        "of all contexts are different (d = 1, m = 2, k = 2, columns: 10, codes of each: 2, by the bound on G)"
    )
    assert sealed_verdict(TRUE["ids, enumerated, d = 2"])[1].endswith("columns: 5, codes of each: 4, by enumeration)")
    assert sealed_verdict(COLLISION)[1] == (
        "contextual-mapping: after the shift by G two different read columns have the same id (d = 1, m = 2, k = 2, "
        "columns: 10, codes of each: 2)"
    )


def edited(name: str, *edits: tuple[tuple[Any, ...], Json]) -> Json:
    value = TRUE[name]
    for path, new in edits:
        value = changed(value, path, new)
    return value


def plus(step: str) -> Callable[[Json], Json]:
    """Adds a number to a scalar."""
    return lambda old: make.scalar(Fraction(int(str(old["num"]), 0), int(str(old["den"]), 0)) + Fraction(step))


FALSE: dict[str, tuple[Json, str]] = {
    # quantisation
    "bound too small": (edited("error", ((*I, "bound"), plus("-1/1000000000000"))), "the bound is not shown"),
    "bound negative": (edited("error", ((*I, "bound"), make.scalar(-1))), "the bound is not shown"),
    "larger L": (edited("error", ((*I, "L"), plus("1/1000000000000"))), "the bound is not shown"),
    "smaller k": (edited("error", ((*I, "k"), 79)), "the bound is not shown"),
    "first root too small": (
        edited("error, fractions", ((*W, "roots", 0), plus("-1/1000000000"))),
        "the first root is below (dm)^(1/p)",
    ),
    "second root too large": (
        edited("error, fractions", ((*W, "roots", 1), plus("1/1000000000"))),
        "the second root is above (p+1)^(1/p)",
    ),
    "exact roots, first a little smaller": (
        edited("error, exact roots", ((*W, "roots", 0), plus("-1/1000000000"))),
        "the first root",
    ),
    "exact roots, second a little larger": (
        edited("error, exact roots", ((*W, "roots", 1), plus("1/1000000000"))),
        "the second root",
    ),
    "roots exchanged": (edited("error, fractions", ((*W, "roots"), lambda old: old[::-1])), "the first root is below"),
    "first root 0": (edited("error", ((*W, "roots", 0), make.scalar(0))), "the first root is not positive"),
    "first root negative": (edited("error", ((*W, "roots", 0), make.scalar(-9))), "the first root is not positive"),
    "second root 0": (edited("error", ((*W, "roots", 1), make.scalar(0))), "the second root is not positive"),
    "second root negative": (edited("error", ((*W, "roots", 1), make.scalar(-1))), "the second root is not positive"),
    "more entries": (edited("error", ((*I, "d"), 2)), "the first root is below"),
    "smaller p": (edited("error, fractions", ((*I, "p"), plus("-1/3"))), "the first root is below"),
    "larger p": (edited("error, fractions", ((*I, "p"), plus("2/3"))), "the second root is above"),
    # distinct ids
    "G one below the bound": (edited("ids, m = 2", ((*I, "G"), ENOUGH - 1)), "not shown to separate the ids"),
    "G one below the bound, m = 1": (edited("ids, m = 1 and shift", ((*I, "G"), 47)), "not shown to separate the ids"),
    "G = 0, m = 2": (edited("ids, m = 2", ((*I, "G"), 0)), "not shown to separate the ids"),
    "G for a smaller grid": (edited("ids, m = 2", ((*I, "k"), 3)), "not shown to separate the ids"),
    "G collides": (makers.distinct(1, 2, 2, 2**11, "enumeration"), "of 2048 ids only 2047 are different"),
    "G collides often": (makers.distinct(1, 2, 2, 5, "enumeration"), "of 2048 ids only 2021 are different"),
    # collision
    "no collision": (edited("collision", ((*I, "G"), 2**11 + 3)), "the ids are different"),
    "no collision, no shift": (edited("collision", ((*I, "G"), 0)), "the ids are different"),
    "another column": (edited("collision", ((*W, "columns"), [9, 9])), "the ids are different"),
    "another code": (edited("collision", ((*W, "contexts", 0, 0), 0)), "the ids are different"),
    "another code at the end": (edited("collision", ((*W, "contexts", 1, 9), 0)), "the ids are different"),
    "columns of one context": (edited("collision", ((*W, "contexts", 0), list(ALL_ONES))), "the ids are different"),
    "the same pair": (
        makers.collision(1, 2, 2, 2**11, [(ALL_ONES, 9), (ALL_ONES, 9)]),
        "the two contexts and columns are the same",
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str, judge: Judge) -> None:
    value, expected = FALSE[name]
    verdict, text = judge(make.seal(value))
    assert (verdict, expected in text) == ("false", True), text


def test_another_number_of_collisions() -> None:
    """The count that a message above states, by the oracle."""
    assert len(Numbers(1, 2, 2).read_ids(5)) == 2021


INTEGER = "expected an integer below 2^53"
MALFORMED: dict[str, tuple[Json, str]] = {
    "p < 1": (edited("error", ((*I, "p"), make.scalar("999/1000"))), "instance.p: expected a number of at least 1"),
    "p = 0": (edited("error", ((*I, "p"), make.scalar(0))), "instance.p: expected a number of at least 1"),
    "p negative": (edited("error", ((*I, "p"), make.scalar(-2))), "instance.p: expected a number of at least 1"),
    "L negative": (edited("error", ((*I, "L"), make.scalar("-1/9"))), "instance.L: expected a number of at least 0"),
    "k = 1": (edited("error", ((*I, "k"), 1)), "instance.k: expected an integer of at least 2, found 1"),
    "d = 0": (edited("error", ((*I, "d"), 0)), "instance.d: expected an integer of at least 1, found 0"),
    "m = 0": (edited("error", ((*I, "m"), 0)), "instance.m: expected an integer of at least 1, found 0"),
    "m negative": (edited("error", ((*I, "m"), -1)), "instance.m: expected an integer of at least 1, found -1"),
    "d is true": (edited("error", ((*I, "d"), True)), "instance.d: " + INTEGER),
    "k is a scalar": (edited("error", ((*I, "k"), make.scalar(2))), "instance.k: " + INTEGER),
    "one root": (edited("error", ((*W, "roots"), lambda old: old[:1])), "witness.roots: expected a list of length 2"),
    "root is an integer": (edited("error", ((*W, "roots", 0), 2)), "witness.roots[0]: expected an object"),
    "no bound": (edited("error", (I, lambda old: {**old, "bound": None})), "instance.bound: expected an object"),
    "relation": (edited("error", (("relation",), "for-all")), 'relation: expected "error-bound"'),
    "evidence": (edited("error", (("evidence",), "enclosed")), 'evidence: expected "exact"'),
    "additional field": (edited("error", (I, lambda old: {**old, "G": 0})), "instance: expected an object with fields"),
    "ids, k = 1": (edited("ids", ((*I, "k"), 1)), "instance.k: expected an integer of at least 2"),
    "G negative": (edited("ids", ((*I, "G"), -1)), "instance.G: expected an integer of at least 0, found -1"),
    "G is a scalar": (edited("ids", ((*I, "G"), make.scalar(0))), "instance.G: " + INTEGER),
    "by": (edited("ids", ((*W, "by"), "guess")), 'witness.by: expected "bound" or "enumeration", found "guess"'),
    "by is null": (edited("ids", ((*W, "by"), None)), 'witness.by: expected "bound" or "enumeration", found null'),
    "ids, witness of a collision": (edited("ids", (W, COLLISION["witness"])), "witness: expected an object"),
    "ids, relation": (edited("ids", (("relation",), "for-all")), 'relation: expected "distinct-ids" or "collision"'),
    "ids, evidence": (edited("ids", (("evidence",), "enclosed")), 'evidence: expected "exact"'),
    "no codes": (edited("collision", ((*W, "contexts", 0), [])), "witness.contexts[0]: expected a list of integers of"),
    "codes missing": (edited("collision", ((*W, "contexts", 1), [1] * 9)), "witness.contexts[1]: expected a list"),
    "too many codes": (edited("collision", ((*W, "contexts", 1), [1] * 11)), "witness.contexts[1]: expected a list"),
    "code c": (edited("collision", ((*W, "contexts", 1, 4), 2)), "witness.contexts[1]: expected integers from 0 to 1"),
    "code negative": (edited("collision", ((*W, "contexts", 0, 4), -1)), "witness.contexts[0]: expected integers"),
    "three contexts": (edited("collision", ((*W, "contexts"), lambda old: [*old, old[0]])), "witness.contexts: exp"),
    "one column": (edited("collision", ((*W, "columns"), [9])), "witness.columns: expected a list of length 2"),
    "column n": (edited("collision", ((*W, "columns", 1), 10)), "witness.columns[1]: expected an integer from 0 to 9"),
    "column of the prompt": (
        edited("collision", ((*W, "columns", 0), 7)),
        "witness.columns[0]: expected one of the last 2 columns, numbered from 0 to 9, found 7",
    ),
    "column negative": (edited("collision", ((*W, "columns", 0), -1)), "witness.columns[0]: expected an integer"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str, judge: Judge) -> None:
    value, expected = MALFORMED[name]
    verdict, text = judge(make.seal(value))
    assert (verdict, expected in text) == ("not a certificate", True), text


LONG = hex(10**6000)
OVER: dict[str, tuple[Json, str]] = {
    "k = 2^53": (edited("error", ((*I, "k"), hex(2**53))), "instance.k: a grid with a number of more than 53 bits"),
    "d long": (edited("error", ((*I, "d"), LONG)), "instance.d: a grid with a number of more than 53 bits"),
    "m long": (edited("ids", ((*I, "m"), LONG)), "instance.m: a grid with a number of more than 53 bits"),
    "p long": (edited("error", ((*I, "p"), make.scalar(2**40))), "a power is too long"),
    "p of long parts": (edited("error", ((*I, "p"), make.scalar(Fraction(2**40 + 1, 2**40)))), "a power is too long"),
    "d = 2^52": (edited("ids", ((*I, "d"), 2**52)), "c^n has more than 4194304 bits"),
    "m = 24": (edited("ids", ((*I, "m"), 24)), "c^n has more than 4194304 bits"),
    "m = 18": (edited("ids", ((*I, "m"), 18)), "c^n has more than 4194304 bits"),
    "k = 10^6": (edited("ids", ((*I, "k"), 10**6)), "c^n has more than 4194304 bits"),
    "k = 240000": (edited("ids", ((*I, "k"), 240000)), "c^n has more than 4194304 bits"),
    "collision, k": (edited("collision", ((*I, "k"), 10**6)), "c^n has more than 4194304 bits"),
    "enumeration": (makers.distinct(1, 1, 7, 0, "enumeration"), "an enumeration of more than 1048576 contexts"),
    "enumeration, m = 2": (makers.distinct(1, 2, 3, 2**90, "enumeration"), "an enumeration of more than 1048576"),
    "enumeration, long G": (makers.distinct(1, 2, 2, 2**200000, "enumeration"), "numbers of an intermediate result"),
}


@pytest.mark.parametrize("name", OVER)
def test_over_limits(name: str, judge: Judge) -> None:
    value, expected = OVER[name]
    verdict, text = judge(make.seal(value))
    assert (verdict, expected in text) == ("over limits", True), text


def test_largest_contexts(judge: Judge) -> None:
    """c^n of just less than 2^22 bits is allowed; its ids are more than can be computed in a moment."""
    k = 235000
    assert (k ** (k + 1)).bit_length() <= 2**22 < (k + 1) * k.bit_length()
    assert judge(make.seal(makers.distinct(1, 1, k, 0, "bound")))[0] == "true"


def test_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enumerations and powers ask for the time."""
    monkeypatch.setattr(limits, "MAX_SECONDS", -1)
    for name in ("error", "ids, enumerated", "collision"):
        assert sealed_verdict(TRUE[name])[0] == "over limits"
    monkeypatch.undo()
    limits.DEADLINE.start()


# -- conditions that no instance violates ------------------------------------------------------------------------------


def bare(d: int, k: int, n: int) -> ContextualMap:
    """A map with any number of columns."""
    c = k**d
    return ContextualMap(Grid(d, 1, k), 0, c, n, (c - 1) // (k - 1), c**n)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_two_columns_fire_twice(k: int) -> None:
    """With d = 1 and n = 2 one context has a column that is lifted twice; n = m (k^{dm} + 1) is at least 3."""
    with pytest.raises(Refuted, match="a column may fire twice"):
        bare(1, k, 2).demand_one_firing()
    numbers = Numbers(1, 1, k)
    twice = [codes for codes in product(range(k), repeat=2) if numbers.simulated(codes)[1] > 2]
    assert twice == [(k - 1, 0)]


def test_two_columns_are_refused() -> None:
    """Also where the inequality holds (d = 2)."""
    with pytest.raises(Refuted, match="a column may fire twice"):
        bare(2, 2, 2).demand_one_firing()


def test_three_columns_fire_once() -> None:
    for d, k, n in product(range(1, 5), range(2, 9), range(3, 6)):
        bare(d, k, n).demand_one_firing()


# -- the same once more, by other means --------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "m", "k"), [(1, 1, 2), (1, 1, 3), (1, 1, 4), (2, 1, 2), (1, 2, 2)])
def test_ids_are_those_of_the_sweep(d: int, m: int, k: int) -> None:
    """The kernel's integers, the recurrence in fractions, and the sweep layer by layer, in all contexts."""
    numbers = Numbers(d, m, k)
    for G in (0, 7):
        map_ = contextual_map(Grid(d, m, k), G)
        assert (map_.c, map_.n, map_.unit, map_.contexts) == (numbers.c, numbers.n, numbers.U, numbers.c**numbers.n)
        for codes in numbers.contexts():
            swept = numbers.swept(codes)
            if not G:
                assert numbers.simulated(codes) == (swept, numbers.n)
                assert all(x < y for x, y in pairwise(swept))
                assert 0 < swept[0] < swept[-1] < map_.id_bound() * numbers.delta
            assert [x * numbers.delta for x in map_.read_ids(codes)] == numbers.final(codes, G)[-m:]


@pytest.mark.parametrize(("d", "m", "k"), [(1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 2, 2)])
@pytest.mark.parametrize("G", [0, 1, 5, 20, 61, 2**11 - 1, 2**11, 2**11 + 1, 2**11 + 3, 2**12, ENOUGH - 1, ENOUGH])
def test_enumeration(d: int, m: int, k: int, G: int) -> None:
    """The verdict is that of the enumeration in fractions; each collision is a certificate."""
    collisions = makers.collisions(d, m, k, G)
    expected = "false" if collisions else "true"
    assert sealed_verdict(makers.distinct(d, m, k, G, "enumeration"))[0] == expected
    if m == 1 or G >= ENOUGH:
        assert not collisions
    for places in collisions[:3]:
        assert sealed_verdict(makers.collision(d, m, k, G, places[:2]))[0] == "true"


def test_stated_collision() -> None:
    assert makers.collisions(1, 2, 2, 2**11) == [[(ONE_ZERO, 8), (ALL_ONES, 9)]]


@settings(max_examples=settings.default.max_examples, deadline=None, derandomize=True)
@given(
    st.fractions(Fraction(1, 9), 9, max_denominator=50),
    st.fractions(Fraction(1, 9), 9, max_denominator=50),
    st.fractions(1, 5, max_denominator=9),
)
def test_roots(root: Fraction, number: Fraction, p: Fraction) -> None:
    """The sign of root - number^{1/p}; equality where the number is the power itself."""

    def scalar(x: Fraction) -> Scalar:
        return Scalar(x.numerator, x.denominator)

    with mp.workdps(60):
        difference = mpf(root.numerator) / root.denominator - mp.power(
            mpf(number.numerator) / number.denominator, mpf(p.denominator) / p.numerator
        )
        if abs(difference) > mpf(10) ** -50:
            assert against_root(scalar(root), scalar(number), scalar(p)) == mp.sign(difference)
    a, b = p.numerator, p.denominator
    assert against_root(scalar(root**b), scalar(root**a), scalar(p)) == 0


def test_powers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_COMPUTED_BITS", 20)
    assert power(3, 10) == 59049
    with pytest.raises(OverLimits, match="a power is too long"):
        power(3, 11)


@pytest.mark.parametrize(("L", "p"), [("1", "1"), ("2", "2"), ("1/2", "3"), ("3", "5/2")])
def test_saw_teeth_are_within_the_bound(L: str, p: str) -> None:
    """d = m = 1, k = 3: functions with the least or the largest values at the centres, their errors integrated."""
    k, steps = 3, 3000
    slope, exponent = Fraction(L), Fraction(p)
    bound = float(makers.error(k, slope, makers.roots(1, 1, exponent)))
    for offset, sign in ((0.0, 1), (1 / 3, 1), (0.34, 1), (0.5, -1), (2 / 3, 1), (0.999, -1), (1.0, -1)):
        grid = (min(int(k * offset), k - 1) + 0.5) / k
        total = 0.0
        for i in range(steps):
            x = (i + 0.5) / steps
            centre = (int(k * x) + 0.5) / k
            f = min(1.0, max(0.0, offset + sign * float(slope) * abs(x - centre)))
            total += abs(f - grid) ** float(exponent) / steps
        assert total ** (1 / float(exponent)) <= bound


def test_modules_are_registered() -> None:
    import verdict

    for claim in ("quantisation", "contextual-mapping", "universality-hardmax", "universality-softmax"):
        assert claim in verdict.READERS
        assert verdict.reader(claim).__module__ in ("quantisation", "contextual_mapping", "universality_networks")
    assert universality.MAX_CONTEXT_BITS == 2**22
