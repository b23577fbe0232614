"""Entropies and divergences of prompts, and what is decided: against prompts that meet the data, and against a grid."""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress

import flint
import numpy as np
import pytest
from flint import arb, fmpq
from hypothesis import assume, given
from hypothesis import strategies as st
from query_instances import FloatCriterion, divergence, entropy, law, one_score, prompted, values_at

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.criterion_search import CriterionSearch, Cut, Refutation
from constructions.single_layer.decide_several import decide_several, refute_length
from constructions.single_layer.prompt_law import summarize
from constructions.single_layer.several_queries import System
from constructions.verdict import Undecided
from verify.claims.several_queries import random_data, several_queries
from verify.instances import random_matrix

# --- every prompt --------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 4), st.integers(1, 6))
def test_numbers_of_a_prompt_are_its_entropies_and_divergences(seed: int, d: int, n: int, m: int) -> None:
    """log S_i − q_i·p̄_i and log S_k − log S_i + (q_i − q_k)·p̄_i, with (p̄, S) as exact sums of exponentials."""
    rng = random.Random(seed)
    P = random_matrix(rng, d, m, size=6, denominator=4)
    vectors = [random_matrix(rng, d, 1, size=6, denominator=4).column(0) for _ in range(n)]
    with flint.ctx.workprec(192):
        seen, laws = [summarize(q, P) for q in vectors], [law(q, P) for q in vectors]

        def along(u: list[fmpq], i: int) -> arb:
            return sum((arb(x) * y.enclosure() for x, y in zip(u, seen[i].mean.column(0), strict=True)), arb(0))

        for i, q in enumerate(vectors):
            log_mass = seen[i].mass.enclosure().log()
            H = log_mass - along(q, i)
            assert abs(H - entropy(laws[i].weights)) < 1e-45
            assert not H < 0
            assert not arb(m).log() < H
            for k, other in enumerate(vectors):
                direction = [x - y for x, y in zip(q, other, strict=True)]
                D = seen[k].mass.enclosure().log() - log_mass + along(direction, i)
                assert abs(D - divergence(laws[i].weights, laws[k].weights)) < 1e-45
                assert not D < 0


@pytest.mark.parametrize(
    ("seed", "d", "n", "m"), [(1, 2, 2, 4), (2, 3, 2, 1), (3, 3, 3, 5), (4, 2, 4, 3), (5, 4, 1, 2)]
)
def test_inequalities_of_data_are_those_of_the_prompt(seed: int, d: int, n: int, m: int) -> None:
    """At the masses of a prompt that meets the targets (up to 2^-120) H_g, D_gk and log N − H_g of the system are its
    entropies and divergences."""
    instance = prompted(seed, d, n, m)
    grouped = instance.grouped
    system = grouped.system([0] * n, 7)
    assert isinstance(system, System)
    with flint.ctx.workprec(256):
        laws = instance.laws(system)
        for (kind, g, k), value in values_at(system, [x.log_mass for x in laws]).items():
            wanted = entropy(laws[g].weights) if k is None else divergence(laws[g].weights, laws[k].weights)
            wanted = arb(7).log() - wanted if kind == "length" else wanted
            assert abs(value - wanted) < 1e-25, (kind, g, k)


# --- data that a prompt meets ------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 3), st.integers(2, 6))
def test_prompts_memorize_their_own_targets(seed: int, d: int, n: int, m: int) -> None:
    """Rounded targets; all H and D of the prompt are above the rounding: the system has a point. Its masses are one;
    no length that is enough is refuted."""
    instance = prompted(seed, d, min(d, n), m)
    assume(len(instance.grouped.problems) == min(d, n))  # shared vectors ask rounded targets for two masses
    system = instance.grouped.system([0] * min(d, n), None)
    assert isinstance(system, System)
    with flint.ctx.workprec(256):
        laws = instance.laws(system)
        log_masses = [x.log_mass for x in laws]
        inside = all(value > 1e-9 for value in values_at(system, log_masses).values())
    if not inside or not system.independent:
        return
    decision = decide_several(instance.grouped)
    assert decision.possible is not None
    assert refute_length(instance.grouped, m) is None


@pytest.mark.parametrize(("seed", "n", "m"), [(1, 2, 1), (2, 2, 3), (3, 2, 2), (4, 1, 2), (5, 3, 2)])
def test_exact_targets_of_a_prompt_are_not_refuted(seed: int, n: int, m: int) -> None:
    """Rational data met exactly by a prompt with all divergences zero: the closed system has a solution, so there is
    no tree, and no tree for the prompt's length."""
    instance = one_score(seed, n, m)
    attention = instance.model.layers[0].attention
    for example in instance.data.examples:
        X = example.X
        token = X.columns(X.shape[1] - 1, X.shape[1])
        output = attention(token, instance.P.hstack(X)).as_rational()  # type: ignore[attr-defined]
        assert RationalMatrix(output.mat + token.mat) == example.targets
    for length in (None, m):
        system = instance.grouped.system([0] * n, length)
        assert isinstance(system, System)
        with flint.ctx.workprec(192):
            for (kind, g, k), value in values_at(system, [x.log_mass for x in instance.laws(system)]).items():
                assert value.contains(0) if kind in ("divergence", "length") else not value < 0, (kind, g, k)
        try:
            found = CriterionSearch(system, max_nodes=60).refute()
        except Undecided:
            continue
        assert not isinstance(found, Refutation | Cut)
    with suppress(Undecided):
        assert decide_several(instance.grouped).possible is not None


# --- a grid ----------------------------------------------------------------------------------------------------------

SEEN: Counter[str] = Counter()


@pytest.mark.parametrize("seed", range(16))
def test_decisions_agree_with_a_grid(seed: int) -> None:
    """Two masses, around those of the contexts: a grid point where all is positive makes data memorizable; of
    unmemorizable data there is none, and nothing is found by climbing from the best ones."""
    model, data = random_data(random.Random(f"grid/{seed}"), 2 + seed % 3, 2)
    floats = FloatCriterion(model, data)
    axis = np.linspace(-14, 40, 541)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1) + np.array(floats.log_S)
    with np.errstate(over="ignore"):
        best = float(floats.least(grid).max())
    try:
        decision = decide_several(several_queries(model, data))
    except Undecided:
        assert best < 1e-6 or abs(np.cross(*[np.append(q[:2], 0) for q in floats.q])[2]) < 1e-9
        SEEN["undecided"] += 1
        return
    if decision.possible is None:
        assert best < 1e-9
        SEEN["unmemorizable"] += 1
        return
    sigma = np.array([(float(low) + float(high)) / 2 for low, high in decision.possible[1].box])
    assert floats.least(sigma) > -1e-9
    SEEN["memorizable"] += 1
    if best > 1e-9:
        SEEN["memorizable, seen on the grid"] += 1


def test_all_kinds_were_decided() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("the tests that are counted here may have run in another worker")
    """The grid is no empty test (it has run before, in the same process, or nothing is known)."""
    assert not SEEN or min(SEEN[kind] for kind in ("memorizable, seen on the grid", "unmemorizable")) >= 3, SEEN
