"""Enclosed zeros of increasing functions."""

from __future__ import annotations

from collections.abc import Callable

import flint
import pytest
from flint import arb, fmpq
from hypothesis import example, given
from hypothesis import strategies as st

from constructions.numbers.exponential import midpoint
from constructions.numbers.roots import enclosed_root
from constructions.verdict import Undecided
from verify.strategies import rationals

BITS = st.sampled_from([64, 100, 256, 1000])
POSITIVE = rationals("1/1000000", 1000000, max_denominator=10**6)
EXPONENTS = st.integers(-20_000, 20_000)


def narrow(ball: arb, bits: int) -> bool:
    return bool(ball.rad() <= abs(ball).lower() * arb(2) ** (16 - bits))


@given(POSITIVE, EXPONENTS, st.integers(1, 5), BITS)
@example(fmpq(1), 0, 1, 64)
@example(fmpq(1), 20_000, 5, 64)
@example(fmpq(1), -20_000, 5, 1000)
def test_roots_of_every_size(c: fmpq, exponent: int, k: int, bits: int) -> None:
    with flint.ctx.workprec(bits):
        goal = arb(c) * arb(2) ** exponent
        root = enclosed_root(lambda x: (x**k - goal, k * x ** (k - 1)), fmpq(0))
        assert narrow(root, bits)
    with flint.ctx.workprec(2 * bits):
        low, high = arb(midpoint(root.lower())), arb(midpoint(root.upper()))
        exact = arb(c) * arb(2) ** exponent
        assert low**k <= exact
        assert exact <= high**k


@given(st.integers(-30_000, 30_000), BITS)
@example(0, 64)
def test_a_logarithm_has_no_value_at_the_start(c: int, bits: int) -> None:
    with flint.ctx.workprec(bits):
        root = enclosed_root(lambda x: (x.log() - c, 1 / x), fmpq(0))
        assert root.overlaps(arb(c).exp())
        assert root > 0
        assert narrow(root, bits - 16)  # the logarithm of e^c has fewer bits left behind the point


@given(POSITIVE, POSITIVE, BITS)
def test_a_start_above_zero(start: fmpq, beyond: fmpq, bits: int) -> None:
    zero = start + beyond
    with flint.ctx.workprec(bits):
        root = enclosed_root(lambda x: (x - arb(zero), arb(1)), start)
        assert root.contains(arb(zero)) or root.overlaps(arb(zero))
        assert narrow(root, bits)


@pytest.mark.parametrize("tiny", [10, 63, 64, 65, 200, 900])
def test_a_zero_where_the_function_is_nearly_flat(tiny: int) -> None:
    # −1 + cosh-like: x²/(1+x) − 2^−2t has the slope 0 at 0 and its zero near 2^−t
    with flint.ctx.workprec(2048):
        goal = arb(2) ** (-2 * tiny)
        root = enclosed_root(lambda x: (x * x / (1 + x) - goal, (x * x + 2 * x) / (1 + x) ** 2), fmpq(0))
        assert narrow(root, 2048 - 2 * tiny)
        assert (root * root - goal * (1 + root)).contains(0)


@pytest.mark.parametrize("bits", [64, 100, 1000])
def test_a_zero_at_the_start(bits: int) -> None:
    with flint.ctx.workprec(bits):
        root = enclosed_root(lambda x: (x * x + arb(0, 1) * arb(2) ** (-bits), 2 * x), fmpq(0))
        assert root.contains(0)
        assert root.upper() <= arb(2) ** (3 - bits // 2)
        root = enclosed_root(lambda x: (x * x, 2 * x), fmpq(0))
        assert root.contains(0)


def test_a_wide_value_gives_a_wide_ball() -> None:
    goal = arb(2, 1e-9)
    root = enclosed_root(lambda x: (x * x - goal, 2 * x), fmpq(0))
    assert root.contains(arb(2).sqrt())
    assert 1e-10 < float(root.rad()) < 1e-8


def test_slopes_are_not_believed() -> None:
    for slope in (arb(0), arb(-1), arb(10) ** 30, arb("nan")):
        root = enclosed_root(lambda x, slope=slope: (x * x * x - 2, slope), fmpq(0))
        assert root.contains(arb(2).root(3))


FALSE: dict[str, Callable[[arb], tuple[arb, arb]]] = {
    "falls": lambda x: (1 - x, arb(-1)),
    "never positive": lambda x: (-1 / (1 + x), arb(1)),
    "never negative": lambda x: (1 / x, arb(1)),
    "not a number": lambda x: (arb("nan"), arb(1)),
    "known without end": lambda x: (x - arb(3) / 2 + arb(0, float("inf")), arb(1)),
    "wider than anything": lambda x: (arb(0, 1e300), arb(1)),
    "not a number to the right": lambda x: (arb("nan") if x > 1 else x - arb(3) / 2, arb(1)),
}


@pytest.mark.parametrize("name", FALSE)
def test_nothing_is_enclosed_without_its_signs(name: str) -> None:
    with pytest.raises(Undecided):
        enclosed_root(FALSE[name], fmpq(0))
