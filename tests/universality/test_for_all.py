"""The certificate for every f at once: its inequality, the parameters found for it, the constants."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
from flint import fmpq
from hypothesis import example, given
from hypothesis import strategies as st

from constructions.universality.contextual_map import ContextualMap
from constructions.universality.for_all import Budget, Size, TooLargeError, budget, constants
from constructions.universality.grid import Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.quantisation import textbook_grid

CASES = [
    (1, 1, fmpq(1), fmpq(1), fmpq(1, 10)),
    (1, 1, fmpq(1), fmpq(2), fmpq(1, 100)),
    (2, 1, fmpq(1), fmpq(2), fmpq(1, 2)),
    (1, 2, fmpq(1), fmpq(3, 2), fmpq(1, 4)),
    (2, 2, fmpq(1), fmpq(2), fmpq(1, 2)),
    (1, 1, fmpq(5), fmpq(3), fmpq(1, 100)),
    (1, 1, fmpq(0), fmpq(7, 3), fmpq(1, 7)),
]
rationals = st.fractions("1/40", 2, max_denominator=40).map(lambda x: fmpq(x.numerator, x.denominator))
norms = st.fractions(1, 5, max_denominator=3).map(lambda x: fmpq(x.numerator, x.denominator))


def inequality(found: Budget, t: fmpq, tail: bool = True) -> bool:
    """The inequality in floats, in logarithms, from the formula of the theory page."""
    grid, G = found.grid, found.G
    c, n, delta = grid.c, grid.tokens, 1 / grid.k
    room = min(delta / 4, float(found.epsilon_s))
    kappa = room / delta * exp(-log(1 + G))
    F = grid.sweep + n
    if tail and float(t) * delta**2 * (1 - 2 * kappa) >= 1:
        F = min(F, 4 * n + 2)
    left = log((1 + G) * (2 * c - 1) ** n * c * F + G) + log(c**n * ((n - 1) * grid.unit * grid.k + c)) - log(grid.k)
    return left + log(n - 1) <= log(room) + float(t) * delta**2 * (0.5 - kappa) * (1 - 2 * kappa)


def least(found: Budget, bits: int = 30) -> tuple[fmpq, fmpq]:
    """The t at which the inequality begins to hold, between two numbers that are close to each other."""
    low, high = found.t / 2**20, found.t
    assert not replace(found, t=low).holds()
    while high - low > high / 2**bits:
        middle = (low + high) / 2
        if replace(found, t=middle).holds():
            high = middle
        else:
            low = middle
    return low, high


@pytest.mark.parametrize("case", CASES, ids=str)
def test_found_parameters_satisfy_all_conditions(case: tuple[int, int, fmpq, fmpq, fmpq]) -> None:
    d, m, L, p, epsilon = case
    found = budget(d, m, L, p, epsilon)
    grid = found.grid
    assert found.holds()
    assert found.quantisation + found.epsilon_s * found.root_m + found.epsilon_r <= epsilon
    assert found.root_m ** int(p.p) >= fmpq(m) ** int(p.q)
    assert (d**2 * m**2 * grid.k * found.eta) ** int(p.q) <= found.epsilon_r ** int(p.p)
    assert 0 < found.eta < 3 * grid.delta / 4
    assert ContextualMap(grid).sufficient_shift() == found.G
    assert inequality(found, found.t)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_inequality_is_monotone_in_t_and_sharp(case: tuple[int, int, fmpq, fmpq, fmpq]) -> None:
    """There is one t from which it holds; the one that was found is at most 2 and a rounding above it."""
    found = budget(*case)
    low, high = least(found)
    assert found.t - high <= 2
    for factor in (fmpq(1, 100), fmpq(1, 2), fmpq(99, 100)):
        assert not replace(found, t=low * factor).holds()
    for factor in (fmpq(1), fmpq(101, 100), fmpq(2), fmpq(10**6)):
        assert replace(found, t=high * factor).holds()
    step = fmpq(1, 1000)
    assert inequality(found, high * (1 + step))
    assert not inequality(found, low * (1 - step))


@given(st.sampled_from([(1, 1), (2, 1), (1, 2)]), rationals, norms, rationals.map(lambda x: x / 2 + fmpq(1, 8)))
@example((1, 1), fmpq(1), fmpq(2), fmpq(1, 100))
def test_any_budget_holds_and_breaks_when_something_is_taken_away(
    size: tuple[int, int], L: fmpq, p: fmpq, epsilon: fmpq
) -> None:
    found = budget(*size, L, p, epsilon)
    assert found.holds()
    spoiled = [
        replace(found, t=found.t / 2),
        replace(found, epsilon_r=found.epsilon_r * 2, epsilon_s=found.epsilon_s * 2, epsilon=found.epsilon / 2),
        replace(found, epsilon_r=found.epsilon_r + epsilon),
        replace(found, epsilon_r=fmpq(1, 10**30)),
        replace(found, eta=3 * found.grid.delta / 4),
        replace(found, eta=fmpq(0)),
        replace(found, root_m=found.root_m - fmpq(1, 2)),
        replace(found, G=found.G - 1 if found.G else 1),
        replace(found, grid=Grid(*size, max(found.grid.k // 2, 2)), epsilon=found.epsilon / 2),
    ]
    assert not any(other.holds() for other in spoiled)


def test_a_smaller_share_can_need_a_lower_temperature() -> None:
    """At ε_s ≥ δ/4 the heads may be off by so much that twice the t is needed: the budget does not take that share."""
    found = budget(1, 1, fmpq(1), fmpq(1), fmpq(1), k=2)
    large = replace(found, epsilon_s=fmpq(1, 8), epsilon=fmpq(2))
    assert found.epsilon_s < fmpq(1, 50)
    assert not large.holds()
    assert not replace(large, t=2 * large.t).holds()


def test_the_tail_makes_t_independent_of_the_number_of_layers() -> None:
    """Without it, K = nc stands in the inequality: at k = 79 a t that suffices with the tail does not without."""
    found = budget(1, 1, fmpq(1), fmpq(2), fmpq(1, 100))
    _, high = least(found)
    assert inequality(found, high * fmpq(1001, 1000))
    assert not inequality(found, high * fmpq(1001, 1000), tail=False)
    assert 1 / (1 - exp(-1)) * (found.grid.tokens + 1) + 2 * found.grid.tokens <= 4 * found.grid.tokens + 2


def whole(size: Size) -> int:
    assert size.exact is not None
    return size.exact


# --- constants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("textbook", [False, True])
def test_constants_are_the_counted_numbers(textbook: bool) -> None:
    d, m, L, p, epsilon = 1, 1, fmpq(1), fmpq(2), fmpq(1, 100)
    found = constants(d, m, L, p, epsilon, textbook=textbook)
    k = textbook_grid(d, m, L, p, epsilon) if textbook else 79
    assert k == (400 if textbook else 79)
    attention, feed_forward = (k + 1) * k, (k + 1) * k + k ** (k + 1) + 1
    assert found.k.exact == found.prompt_length.exact == found.prompt_parameters.exact == k
    assert found.attention_layers.exact == attention
    assert found.feed_forward_layers.exact == feed_forward
    assert found.network_parameters.exact == (attention + feed_forward) * 23 + k + 1
    assert found.bits == whole(found.largest_weight).bit_length()


@given(st.sampled_from([(1, 1), (2, 1), (1, 2)]), rationals, norms)
@example((1, 1), fmpq(1), fmpq(1))
def test_the_textbooks_grid_is_at_least_twice_as_fine(size: tuple[int, int], L: fmpq, p: fmpq) -> None:
    """Nearly four times, as nearly all of ε goes to the quantisation; the numbers of layers follow."""
    epsilon = fmpq(1, 10) * size[0] * size[1]
    ours, theirs = (constants(*size, L, p, epsilon, textbook=textbook) for textbook in (False, True))
    assert whole(theirs.k) >= 4 * (whole(ours.k) - 2)
    assert whole(theirs.prompt_length) == size[1] * whole(theirs.k) ** (size[0] * size[1])
    for name in ("feed_forward_layers", "network_parameters", "largest_weight"):
        assert getattr(theirs, name).log10 > getattr(ours, name).log10


def test_layer_counts_are_those_of_the_network() -> None:
    """The softmax network has as many layers as the hardmax network, but for its clamp."""
    for d, m, epsilon in ((1, 1, fmpq(1, 3)), (2, 1, fmpq(1)), (1, 2, fmpq(1))):
        found = constants(d, m, fmpq(1), fmpq(1), epsilon)
        layers = whole(found.attention_layers) + whole(found.feed_forward_layers)
        assert layers + d - (d + 1) // 2 == HardmaxNetwork.of(Grid(d, m, whole(found.k))).layer_count


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [(("1", "2", "0"), "eps: expected"), (("-1", "2", "1"), "L: expected"), (("1", "1/2", "1"), "p: expected")],
)
def test_arguments_out_of_range(values: tuple[str, str, str], said: str) -> None:
    L, p, epsilon = (fmpq(*(int(x) for x in text.split("/"))) for text in values)
    with pytest.raises(ValueError, match=said):
        budget(1, 1, L, p, epsilon)


def test_numbers_that_are_too_large() -> None:
    with pytest.raises(TooLargeError, match="expected a coarser accuracy"):
        budget(2, 3, fmpq(1), fmpq(1), fmpq(1, 100))
