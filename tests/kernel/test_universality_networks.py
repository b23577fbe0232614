"""Claims universality-hardmax and universality-softmax: certificates that hold, and each condition violated in turn."""

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import expsum
import kernel_certificates as make
import limits
import pytest
import universality_makers as makers
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_certificates import changed
from limits import OverLimits
from mpmath import mp, mpf
from prompt_law_makers import sealed_verdict
from rational import Scalar
from universality_makers import Numbers
from universality_networks import at_most_exponential

Json = Any
Judge = Callable[[bytes], tuple[str, str]]

I, W = ("instance",), ("witness",)
ENOUGH = Numbers(1, 2, 2).enough()

TRUE: dict[str, Json] = {
    "hardmax": makers.hardmax(1, 1, 2, 1, 1),
    "hardmax, m = 2": makers.hardmax(1, 2, 2, "3/2", 2),
    "hardmax, d = 2": makers.hardmax(2, 1, 3, 1, "7/3", slack="1/5"),
    "hardmax, k = 80": makers.hardmax(1, 1, 80, 1, 2),
    "hardmax, L = 0": makers.hardmax(2, 2, 2, 0, 1),
    "softmax": makers.softmax(1, 1, 2, 1, 1),
    "softmax, m = 2": makers.softmax(1, 2, 2, "3/2", 2),
    "softmax, m = 2, larger G": makers.softmax(1, 2, 2, "3/2", 2, G=ENOUGH**3),
    "softmax, m = 1 and shift": makers.softmax(1, 1, 2, 1, 2, G=Numbers(1, 1, 2).enough()),
    "softmax, d = 2": makers.softmax(2, 1, 2, 1, "7/3", slack="1/5"),
    "softmax, k = 80": makers.softmax(1, 1, 80, 1, 2),
    "softmax, n = 130": makers.softmax(1, 2, 8, 1, 2),
    "softmax, d = m = 2": makers.softmax(2, 2, 2, 1, 3, "1/7", "1/9"),
    "softmax, small shares": makers.softmax(1, 1, 3, 1, 1, Fraction(1, 10**30), Fraction(1, 10**12)),
    "softmax, large shares": makers.softmax(1, 1, 2, 1, 1, 1, 1),
    "softmax, t = 10^1000": makers.softmax(1, 2, 2, 1, 2, t=Fraction(10**1000)),
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
    for kind in ("hardmax", "softmax"):
        assert sealed_verdict(TRUE[f"{kind}, m = 2"])[1] == (
            f"universality-{kind}: for every L-Lipschitz function a prompt of 8 tokens makes the {kind} network "
            "approximate it within epsilon in d_p (d = 1, m = 2, k = 2)"
        )


def test_hundred_thousands(judge: Judge) -> None:
    """d = 1, m = 2, k = 80: n = 12802, and x is about 200,000. The kernel needs a moment, at both sides of the least t.

    (t is a multiple of 1/8, and x grows with t/12800.)
    """
    value = makers.softmax(1, 2, 80, 1, 2)
    start = time.monotonic()
    assert judge(make.seal(value))[0] == "true"
    smaller = changed(value, (*W, "t"), lambda old: make.scalar(fraction(old) - Fraction(1, 8)))
    assert judge(make.seal(smaller))[0] == "false"
    assert time.monotonic() - start < 60
    assert 100_000 < fraction(value["witness"]["t"]) / (2 * 80**2) < 300_000


def fraction(value: Json) -> Fraction:
    return Fraction(int(str(value["num"]), 0), int(str(value["den"]), 0))


def times(factor: Json) -> Callable[[Json], Json]:
    return lambda old: make.scalar(fraction(old) * Fraction(factor))


def plus(step: Json) -> Callable[[Json], Json]:
    return lambda old: make.scalar(fraction(old) + Fraction(step))


def edited(name: str, *edits: tuple[tuple[Any, ...], Json]) -> Json:
    value = TRUE[name]
    for path, new in edits:
        value = changed(value, path, new)
    return value


SHIFT = "the shift by G is not shown to separate the ids"
SHARP = "t is not shown to be large enough"
SUM = "the shares of the error sum up to more than epsilon"
TINY = Fraction(1, 10**12)
FALSE: dict[str, tuple[Json, str]] = {
    # hardmax
    "epsilon": (edited("hardmax", ((*I, "epsilon"), plus(-TINY))), "the error by quantisation is above epsilon"),
    "hardmax, G one below": (edited("hardmax, m = 2", ((*I, "G"), ENOUGH - 1)), SHIFT),
    "hardmax, G = 0": (edited("hardmax, m = 2", ((*I, "G"), 0)), SHIFT),
    "hardmax, G = 1": (edited("hardmax", ((*I, "G"), 1)), SHIFT),
    "hardmax, G that collides": (edited("hardmax, m = 2", ((*I, "G"), 2**11)), SHIFT),
    "hardmax, larger L": (edited("hardmax", ((*I, "L"), plus(TINY))), "the error by quantisation"),
    "hardmax, smaller k": (edited("hardmax, k = 80", ((*I, "k"), 79)), "the error by quantisation"),
    "hardmax, first root": (edited("hardmax, m = 2", ((*W, "roots", 0), times("99/100"))), "the first root is below"),
    "hardmax, second root": (edited("hardmax, m = 2", ((*W, "roots", 1), times("101/100"))), "the second root"),
    # softmax
    "softmax, G one below": (edited("softmax, m = 2", ((*I, "G"), ENOUGH - 1)), SHIFT),
    "softmax, G = 0": (edited("softmax, m = 2", ((*I, "G"), 0)), SHIFT),
    "softmax, first root": (edited("softmax, m = 2", ((*W, "roots", 0), times("99/100"))), "the first root is below"),
    "softmax, second root": (edited("softmax, m = 2", ((*W, "roots", 1), times("101/100"))), "the second root"),
    "root_m": (edited("softmax, m = 2", ((*W, "root_m"), times("999999/1000000"))), "root_m is below m^(1/p)"),
    "root_m of m = 1": (edited("softmax", ((*W, "root_m"), plus(-TINY))), "root_m is below m^(1/p)"),
    "root_m too large": (edited("softmax, m = 2", ((*W, "root_m"), times("1000001/1000000"))), SUM),
    "softmax, epsilon": (edited("softmax", ((*I, "epsilon"), plus(-TINY))), SUM),
    "epsilon_s twice": (edited("softmax, m = 2", ((*W, "epsilon_s"), times(2))), SUM),
    "epsilon_s a tenth": (edited("softmax, m = 2", ((*W, "epsilon_s"), times("1/10"))), SHARP),
    "epsilon_s far smaller, k = 80": (
        edited("softmax, k = 80", ((*W, "epsilon_s"), times(Fraction(1, 10**200)))),
        SHARP,
    ),
    "epsilon_r twice": (edited("softmax, m = 2", ((*W, "epsilon_r"), times(2))), SUM),
    "epsilon_r half": (edited("softmax, m = 2", ((*W, "epsilon_r"), times("1/2"))), "epsilon_r is too small for eta"),
    "eta twice": (edited("softmax, m = 2", ((*W, "eta"), times(2))), "epsilon_r is too small for eta"),
    "eta a little larger": (
        edited("softmax", ((*W, "eta"), make.scalar(Fraction(1, 2000) + TINY))),
        "epsilon_r is too small for eta",
    ),
    "eta = 3 delta/4": (edited("softmax, large shares", ((*W, "eta"), make.scalar("3/8"))), "eta is not below 3 del"),
    "eta = delta": (edited("softmax, large shares", ((*W, "eta"), make.scalar("1/2"))), "eta is not below 3 delta/4"),
    "t half": (edited("softmax", ((*W, "t"), times("1/2"))), SHARP),
    "t half, m = 2": (edited("softmax, m = 2", ((*W, "t"), times("1/2"))), SHARP),
    "t half, k = 80": (edited("softmax, k = 80", ((*W, "t"), times("1/2"))), SHARP),
    "t less by 1/8": (edited("softmax", ((*W, "t"), plus("-1/8"))), SHARP),
    "t less by 1/8, m = 2": (edited("softmax, m = 2", ((*W, "t"), plus("-1/8"))), SHARP),
    "t less by 1/8, k = 80": (edited("softmax, k = 80", ((*W, "t"), plus("-1/8"))), SHARP),
    "t less by 1/8, n = 130": (edited("softmax, n = 130", ((*W, "t"), plus("-1/8"))), SHARP),
    "t small": (edited("softmax", ((*W, "t"), make.scalar("1/1000"))), SHARP),
    **{
        f"{name} {word}": (edited("softmax", ((*W, name), make.scalar(number))), f"{name} is not positive")
        for name in ("root_m", "t", "eta", "epsilon_s", "epsilon_r")
        for word, number in (("0", 0), ("negative", -1))
    },
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str, judge: Judge) -> None:
    value, expected = FALSE[name]
    verdict, text = judge(make.seal(value))
    assert (verdict, expected in text) == ("false", True), text


def test_a_smaller_share_may_need_a_smaller_t() -> None:
    """At k = 80, where epsilon_s = 1/1000 is 8% of delta, a tenth of it widens the margins by more than it asks for."""
    assert sealed_verdict(edited("softmax, k = 80", ((*W, "epsilon_s"), times("1/10"))))[0] == "true"
    assert makers.least_t(1, 1, 80, 0, Fraction(1, 10000)) < makers.least_t(1, 1, 80, 0, Fraction(1, 1000))


def test_ramps_up_to_the_limit() -> None:
    """eta exactly as large as epsilon_r allows, and just below 3 delta/4."""
    assert sealed_verdict(edited("softmax", ((*W, "eta"), make.scalar("1/2000"))))[0] == "true"
    value = edited("softmax, large shares", ((*W, "eta"), make.scalar(Fraction(3, 8) - TINY)))
    assert sealed_verdict(value)[0] == "true"


MALFORMED: dict[str, tuple[Json, str]] = {
    "epsilon 0": (edited("hardmax", ((*I, "epsilon"), make.scalar(0))), "instance.epsilon: expected a positive number"),
    "epsilon negative": (
        edited("softmax", ((*I, "epsilon"), make.scalar(-1))),
        "instance.epsilon: expected a positive",
    ),
    "p < 1": (edited("softmax", ((*I, "p"), make.scalar("1/2"))), "instance.p: expected a number of at least 1"),
    "L negative": (edited("softmax", ((*I, "L"), make.scalar(-1))), "instance.L: expected a number of at least 0"),
    "k = 1": (edited("hardmax", ((*I, "k"), 1)), "instance.k: expected an integer of at least 2"),
    "G negative": (edited("softmax", ((*I, "G"), -1)), "instance.G: expected an integer of at least 0"),
    "relation": (edited("hardmax", (("relation",), "error-bound")), 'relation: expected "for-all"'),
    "softmax, relation": (edited("softmax", (("relation",), "exists")), 'relation: expected "for-all"'),
    "evidence": (edited("hardmax", (("evidence",), "enclosed")), 'evidence: expected "exact"'),
    "softmax, evidence": (edited("softmax", (("evidence",), "enclosed")), 'evidence: expected "exact"'),
    "hardmax with t": (edited("hardmax", ((*W,), TRUE["softmax"]["witness"])), "witness: expected an object"),
    "softmax without t": (edited("softmax", ((*W,), TRUE["hardmax"]["witness"])), "witness: expected an object"),
    "t is an integer": (edited("softmax", ((*W, "t"), 1000)), "witness.t: expected an object"),
    "denominator 0": (edited("softmax", ((*W, "eta"), {"den": 0, "num": 1})), "witness.eta.den: expected a positive"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str, judge: Judge) -> None:
    value, expected = MALFORMED[name]
    verdict, text = judge(make.seal(value))
    assert (verdict, expected in text) == ("not a certificate", True), text


@pytest.mark.parametrize("name", ["hardmax", "softmax"])
def test_over_limits(name: str) -> None:
    verdict, text = sealed_verdict(edited(name, ((*I, "k"), 10**6)))
    assert (verdict, text) == ("over limits", "c^n has more than 4194304 bits")


# -- the inequality ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "m", "k", "G"), [(1, 1, 2, 0), (1, 1, 2, 48), (1, 1, 5, 0), (2, 1, 2, 0), (1, 2, 2, ENOUGH), (1, 1, 80, 0)]
)
@pytest.mark.parametrize("epsilon_s", ["1/1000000", "1/1000", "1/8", "3"])
def test_least_t(d: int, m: int, k: int, G: int, epsilon_s: str) -> None:
    """The kernel decides as the logarithms do, on both sides of the least t."""
    least = makers.least_t(d, m, k, G, Fraction(epsilon_s))
    assert least * Fraction(1, 2 * k * k) > 1  # the geometric tail is used
    for t, expected in ((least, "true"), (least - Fraction(1, 8), "false"), (least / 2, "false")):
        value = makers.softmax(d, m, k, 1, 2, epsilon_s, "1/10", G=G, t=t)
        assert sealed_verdict(value)[0] == expected


@pytest.mark.parametrize(("d", "m", "k"), [(1, 1, 2), (1, 1, 3), (1, 2, 2)])
@pytest.mark.parametrize("epsilon_s", [Fraction(1, 10**6), Fraction(1, 100), Fraction(1, 4)])
def test_softmax_network(d: int, m: int, k: int, epsilon_s: Fraction) -> None:
    """The ids of the network itself, layer by layer: within min(delta/4, epsilon_s) of the ideal ones."""
    numbers = Numbers(d, m, k)
    G = 0 if m == 1 else numbers.enough()
    t = makers.least_t(d, m, k, G, epsilon_s)
    contexts = list(numbers.contexts())
    with mp.workdps(40):
        share = min(numbers.delta / 4, epsilon_s)
        for codes in contexts[:: max(1, len(contexts) // 12)]:
            found, ideal = makers.softmax_ids(d, m, k, G, t, codes), numbers.final(codes, G)
            errors = [abs(x - mpf(y.numerator) / y.denominator) for x, y in zip(found, ideal, strict=True)]
            assert max(errors) <= mpf(share.numerator) / share.denominator


def test_half_of_t_is_too_small() -> None:
    """At (1, 1, 2) with epsilon_s = 10^-6 half of the least t does not keep the ids of the network within epsilon_s."""
    numbers, epsilon_s = Numbers(1, 1, 2), Fraction(1, 10**6)
    t = makers.least_t(1, 1, 2, 0, epsilon_s) / 2
    worst = mpf(0)
    with mp.workdps(60):
        for codes in numbers.contexts():
            found = makers.softmax_ids(1, 1, 2, 0, t, codes)[-1]
            worst = max(worst, abs(found - mpf(float(numbers.final(codes, 0)[-1]))))
    assert worst > mpf(10) ** -6


@settings(max_examples=settings.default.max_examples, deadline=None, derandomize=True)
@given(st.fractions(Fraction(1, 1000), 20000, max_denominator=1000), st.integers(-70, 70), st.booleans())
def test_exponentials(x: Fraction, bits: int, close: bool) -> None:
    """number <= e^x for numbers close to e^x and far from it."""
    with mp.workprec(30_000):
        exact = mp.exp(mpf(x.numerator) / x.denominator)
        factor = 1 + mp.sign(bits) * mpf(2) ** -abs(bits) if close else mpf(2) ** bits
        scaled = int(exact * factor * 2**200)
        expected = mpf(scaled) <= exact * 2**200
    assert at_most_exponential(Scalar(scaled, 2**200), Scalar(x.numerator, x.denominator)) is bool(expected)


def test_exponentials_that_are_long() -> None:
    """Far apart: decided by lengths; otherwise by a power of an enclosure, while that is short enough."""
    assert at_most_exponential(Scalar(1 << 1000, 1), Scalar(10**9000, 1))
    assert at_most_exponential(Scalar(1, 1 << 99), Scalar(1, 10**9))
    assert not at_most_exponential(Scalar(1 << 2_000_000, 1), Scalar(1_386_294, 1))
    assert at_most_exponential(Scalar(1 << 2_000_000, 1), Scalar(1_386_295, 1))
    with pytest.raises(OverLimits, match="too long, or too close, to be compared"):
        at_most_exponential(Scalar(1 << 17_000_000, 1), Scalar(12_000_000, 1))


def test_exponentials_that_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that agrees with e in 200 bits needs 256; with 128 allowed nothing is decided."""
    low, _ = expsum.enclose_exp(1, 1, 300)
    for number, expected in ((Scalar(low >> 100, 1 << 200), True), (Scalar((low >> 100) + 1, 1 << 200), False)):
        assert at_most_exponential(number, Scalar(1, 1)) is expected
        monkeypatch.setattr(limits, "MAX_PRECISION", 128)
        with pytest.raises(OverLimits, match="too long, or too close, to be compared"):
            at_most_exponential(number, Scalar(1, 1))
        monkeypatch.undo()
