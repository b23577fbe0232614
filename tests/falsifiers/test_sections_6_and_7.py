"""Falsifiers of universality and depth: they run what the claims are about, and the reasons hold that are given where a
flaw cannot be found."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import flint
import numpy as np
import pytest
from flint import arb, fmpq

from constructions.depth.constants import KINDS, NORMS, LayerNorms, Region
from constructions.depth.jacobian import derivative
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer
from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Grid
from constructions.verdict import Verdict
from verify.claims.registry import REGISTRY
from verify.falsifiers import attention_lipschitz, contextual_mapping, universality_softmax
from verify.falsifiers.falsifier import Falsifier, Flaw, Search, falsify
from verify.instances import random_matrix

SLUGS = (
    "quantisation",
    "contextual-mapping",
    "universality-hardmax",
    "universality-softmax",
    "attention-lipschitz",
    "joint-injectivity",
    "prompted-injectivity",
)


def the(slug: str) -> Falsifier:
    falsifier = REGISTRY[slug].falsifier
    assert falsifier is not None
    return falsifier


UNFINDABLE = [(slug, flaw) for slug in SLUGS for flaw in the(slug).flaws() if the(slug).reason(flaw) is not None]


@pytest.mark.parametrize(("slug", "flaw"), UNFINDABLE, ids=[f"{slug}: {flaw}" for slug, flaw in UNFINDABLE])
def test_what_is_said_not_to_be_found_is_not(slug: str, flaw: Flaw) -> None:
    assert falsify(the(slug), flaw=flaw, budget=the(slug).budget // 4).verdict is Verdict.UNDECIDED


def search(**flaw: str) -> Search:
    return Search(random.Random(0), Flaw(**flaw) if flaw else None)  # type: ignore[arg-type]


# -- what the searches run is what the claims are about ---------------------------------------------------------------


@pytest.mark.parametrize(("d", "k"), [(1, 2), (1, 3), (2, 2)])
def test_the_sweep_by_its_definition_is_the_recurrence(d: int, k: int) -> None:
    grid, rng = Grid(d, 1, k), random.Random(d + k)
    map = ContextualMap(grid)
    for _ in range(5):
        codes = tuple(rng.randrange(grid.c) for _ in range(grid.tokens))
        ids, times = contextual_mapping.lifted(d, k, codes, fmpq(grid.c))
        assert [x * grid.delta for x in ids] == map.swept(codes)
        assert set(times) == {1}


def test_the_least_shift_is_sharp_in_the_limit() -> None:
    """For contexts of zeros and of ones (d = 1, k = 2) the colliding G comes nearer to c^n((n−1)Uk + c) with each m."""
    shares = []
    for m in range(2, 8):
        grid = Grid(1, m, 2)
        found = next(contextual_mapping.collisions(grid, (0,) * grid.tokens))
        assert found.confirmed()
        assert set(found.contexts[1]) == {1}
        assert found.columns == (grid.tokens - 1, grid.prompt_length)
        shares.append(found.share)
    assert shares == sorted(shares)
    assert 1 - shares[-1] < fmpq(1, 50)


def test_a_collision_is_confirmed_by_the_ids_only() -> None:
    grid = Grid(1, 3, 2)
    found = next(contextual_mapping.collisions(grid, (0,) * grid.tokens))
    assert not replace(found, G=found.G + 1).confirmed()


@pytest.mark.parametrize("size", [(1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 2, 2)])
def test_without_a_flaw_the_softmax_parameters_are_certified(size: tuple[int, int, int]) -> None:
    for epsilon_s, epsilon_r in ((fmpq(1, 2**20), fmpq(1, 100)), (fmpq(1, 100), fmpq(7, 8))):
        one = universality_softmax.Instance(Grid(*size), fmpq(1), epsilon_s, epsilon_r)
        assert one.made(search()).holds()
        assert not one.made(search(lowered=universality_softmax.LEAST_T)).holds()
        assert not one.made(search(dropped=universality_softmax.HOT)).holds()


def test_outputs_over_a_piece_of_a_ramp_contain_those_at_its_points() -> None:
    grid = Grid(1, 1, 2)
    made = universality_softmax.Instance(grid, fmpq(0), fmpq(1, 64), fmpq(3, 4)).made(search())
    run = universality_softmax.Runner(search(dropped=universality_softmax.CLAMP), made)
    P, known = run.prompt([((0,),), ((1,),)]), 0
    width = made.eta / 40
    with flint.ctx.workprec(run.bits):
        for piece in range(3, 40, 6):
            x = grid.delta - made.eta + piece * width
            whole = run.ramp_output(P, x + width / 2, width / 2)
            for part in (1, 2, 3):
                point = run.output(P, RationalMatrix.of([[x + part * width / 4]]))[0][0]
                assert not whole.is_finite() or whole.overlaps(point)
            known += whole.is_finite() and bool(whole.rad() < 1)
    assert known >= 3


def test_off_the_ramps_the_layers_run_one_by_one_give_the_same() -> None:
    made = universality_softmax.Instance(Grid(1, 1, 2), fmpq(1), fmpq(1, 2**20), fmpq(1, 100)).made(search())
    run = universality_softmax.Runner(search(), made)
    P, X = run.prompt([((1,),), ((0,),)]), RationalMatrix.of([["1/2"]])
    with flint.ctx.workprec(run.bits):
        assert run.network.enclosure(P, X)[0, 0].overlaps(run.output(P, X)[0][0])


def drawn_layer(rng: random.Random, d: int, causal: bool) -> Layer:
    matrices = [[random_matrix(rng, d, d, denominator=4) for _ in range(3)] for _ in range(2)]
    heads = tuple(
        Head(*three, RationalMatrix.identity(d), random_matrix(rng, d, 1, denominator=4)) for three in matrices
    )
    return Layer(Attention(heads, causal=causal), FeedForward.none(d))


@pytest.mark.parametrize("causal", [False, True])
def test_the_directional_derivative_agrees_with_the_blocks(causal: bool) -> None:
    rng = random.Random(causal)
    layer = drawn_layer(rng, 2, causal)
    Z, direction = (random_matrix(rng, 2, 3, denominator=4) for _ in range(2))
    with flint.ctx.workprec(96):
        blocks = derivative(layer.attention, Z, direction)
        for j in range(3):
            column = attention_lipschitz.moved(layer.attention, Z, direction, j)
            for i in range(2):
                difference = column[i] - blocks[i, j]
                assert difference.contains(0)
                assert difference.rad() < arb(2) ** -60


@pytest.mark.parametrize("causal", [False, True])
def test_without_a_flaw_the_constants_are_the_certified_ones(causal: bool) -> None:
    layer = drawn_layer(random.Random(causal), 2, causal)
    region = Region(fmpq(1, 2), fmpq(1), 1, 2)
    for norm, kind in product(NORMS, KINDS):
        certified = LayerNorms.of(layer).attention(region, norm, kind)
        found = attention_lipschitz.constant(search(), layer, region, norm, kind)
        assert abs(found / certified - 1) < fmpq(1, 2**100)


# -- why some flaws cannot be found -----------------------------------------------------------------------------------


def test_the_order_of_the_value_layers_does_not_matter_with_the_clamp() -> None:
    """Off the ramps the outputs are the same; on the ramps they differ, and stay in [0, 1]."""
    made = universality_softmax.Instance(Grid(1, 1, 2), fmpq(0), fmpq(1, 64), fmpq(3, 4)).made(search())
    up, down = (
        universality_softmax.Runner(one, made) for one in (search(), search(dropped=universality_softmax.ORDER))
    )
    assert down.entries == up.entries[::-1]
    P = up.prompt([((0,),), ((1,),)])
    differ = 0
    with flint.ctx.workprec(up.bits):
        for x in (0, "1/2"):
            X = RationalMatrix.of([[x]])
            assert up.output(P, X)[0][0].str() == down.output(P, X)[0][0].str()
        for step in range(1, 121, 3):
            X = RationalMatrix.of([[fmpq(1, 2) - made.eta * fmpq(step, 121)]])
            first, second = up.output(P, X)[0][0], down.output(P, X)[0][0]
            differ += not first.overlaps(second)
            assert all(0 <= x.mid() <= 1 for x in (first, second))
    assert differ


def test_half_a_grid_step_is_won_on_a_ramp() -> None:
    """1.01 (1 − δ/2)^p ≤ 1 for all p ≥ 1 up to k = 50, and not beyond."""
    assert all(fmpq(101, 100) * (1 - fmpq(1, 2 * k)) <= 1 for k in range(2, 51))
    assert fmpq(101, 100) * (1 - fmpq(1, 102)) > 1


def test_cumulative_means_grow_slowly_and_weights_are_nearly_orthogonal_to_their_uniform_part() -> None:
    means = np.tril(np.ones((100, 100))) / np.arange(1, 101)[:, None]
    assert 1.6 < np.linalg.norm(means, 2) < 1.7
    # √(1 + (a+b)²/4) ≤ 1 + 0.485 a + b/2 for a ≤ 65 and all b ≥ 0, and 1 + 0.485·65 > √100
    for a, b in product(np.linspace(0, 65, 66), [0, 0.1, 1, 10, 1e3, 1e6]):
        assert np.sqrt(1 + (a + b) ** 2 / 4) <= 1 + 0.485 * a + b / 2 + 1e-9
    # κ_100 + (a+b)/2 ≤ 2 + 0.485 a + b/2 for a ≤ 20, and 2 + 0.485·20 > √100
    assert 1.7 + 20 / 2 <= 2 + 0.485 * 20 + 1e-12
    rng = np.random.default_rng(0)
    for M in (2, 3, 8):
        for size in (0.1, 1, 10):
            scores = size * rng.normal(size=(M, M))
            S = np.exp(scores - scores.max(axis=0))
            S /= S.sum(axis=0)
            e = np.linalg.norm(S - 1 / M, 2)
            assert e <= np.linalg.norm(scores) / 2 + 1e-12
            assert np.linalg.norm(S, 2) ** 2 <= 1 + e**2 + 1e-12


# -- where constants of attention are attained ------------------------------------------------------------------------


def test_the_constant_of_the_max_norm_is_approached_with_logits() -> None:
    """With more copies and larger ‖A‖ the slope comes as near to 1 + 2‖A‖R² as one likes."""
    shares = []
    for copies, size in ((2, 10), (10, 100), (100, 1000)):
        one = attention_lipschitz.turned(copies, size)
        allowed = attention_lipschitz.constant(search(), one.layer, one.region, "max", "joint")
        with flint.ctx.workprec(96):
            slope = attention_lipschitz.moved(one.layer.attention, one.Z, one.direction, 0)[0]
            expected = arb(2 * size) - arb(fmpq(size, copies))
            assert slope.overlaps(expected)
            shares.append(float(slope / arb(allowed)))
    assert shares == sorted(shares)
    assert shares[-1] > 0.99
