"""Separating two queries: for two single points closeness is complete, and what is said about a pair is true."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from flint import fmpq
from hypothesis import given
from hypothesis import strategies as st
from layer_instances import Draw, demand_all_true, heads, integers, matrices

from constructions.data import Dataset, Example
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot, vector
from constructions.single_layer.context import HeadView
from constructions.single_layer.decide import decide
from constructions.single_layer.preimage import preimage
from constructions.single_layer.separation import NoSeparation, PairOfQueries, Separation, separate, unreached_by_others
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Memorization
from verify.claims.unmemorizable_pair import certificate
from verify.instances import random_head, random_matrix

of = RationalMatrix.of


def pair_of(layer: Layer, X_1: RationalMatrix, X_2: RationalMatrix, z_1: list[fmpq], z_2: list[fmpq]):
    """The two queries with targets MLP(z_1), MLP(z_2) at the last tokens, and the preimages."""
    model = Transformer((layer,))
    targets = [layer.mlp(column_vector(z)) for z in (z_1, z_2)]
    data = Dataset(tuple(Example(X, y) for X, y in zip((X_1, X_2), targets, strict=True)))  # type: ignore[arg-type]
    first, second = data.queries(model)
    return model, data, first, second, (preimage(layer.mlp, first.target), preimage(layer.mlp, second.target))


def equation(layer: Layer, X_1: RationalMatrix, X_2: RationalMatrix, z_1: list[fmpq], z_2: list[fmpq]):
    """(C, delta) with s·delta = C: B_1 − S_1 a_1 − (B_2 − S_2 a_2) and a_1 − a_2, d numbers each."""
    head = layer.attention.heads[0]
    x_0 = X_1.column(X_1.shape[1] - 1)
    a_1, a_2 = ([z - x for z, x in zip(v, x_0, strict=True)] for v in (z_1, z_2))
    v_1, v_2 = HeadView.of(head, x_0, X_1), HeadView.of(head, x_0, X_2)
    C = [b_1 - v_1.mass * x - b_2 + v_2.mass * y for b_1, b_2, x, y in zip(v_1.sums, v_2.sums, a_1, a_2, strict=True)]
    return C, [x - y for x, y in zip(a_1, a_2, strict=True)]


@st.composite
def point_cases(draw: Draw):
    d = draw(st.integers(1, 3))
    layer = Layer(Attention((draw(heads(d)),)), FeedForward.none(d))
    x_0 = draw(matrices(d, 1, integers))
    X_1 = draw(matrices(d, draw(st.integers(1, 2)), integers)).hstack(x_0)
    X_2 = draw(matrices(d, draw(st.integers(1, 2)), integers)).hstack(x_0)
    z_1, z_2 = (draw(matrices(d, 1, integers)).column(0) for _ in range(2))
    return layer, X_1, X_2, z_1, z_2


def exact_mass(C: list[ExpSum], delta: list[fmpq]) -> ExpFraction | None:
    """The s with s·delta = C, for delta ≠ 0, by comparing all pairs of entries."""
    pivot = next(i for i, x in enumerate(delta) if x != 0)
    if all(C[i] * delta[pivot] == C[pivot] * delta[i] for i in range(len(C))):
        return ExpFraction(C[pivot], ExpSum.of(delta[pivot]))
    return None


@given(point_cases())
def test_two_points_are_separated_iff_no_positive_mass_solves(case) -> None:
    layer, X_1, X_2, z_1, z_2 = case
    _, _, first, second, preimages = pair_of(layer, X_1, X_2, z_1, z_2)
    answer = separate(layer, first, second, preimages)
    C, delta = equation(layer, X_1, X_2, z_1, z_2)
    if all(x == 0 for x in delta):
        solvable = all(x.is_zero for x in C)
        assert isinstance(answer, NoSeparation) == solvable
        return
    mass = exact_mass(C, delta)
    if mass is not None and mass.sign() > 0:
        assert isinstance(answer, NoSeparation)
        assert answer.mass is not None
        assert answer.mass == mass
    else:
        assert not isinstance(answer, NoSeparation)


@given(point_cases())
def test_swapping_the_queries_changes_nothing(case) -> None:
    layer, X_1, X_2, z_1, z_2 = case
    one, two = (separate(layer, *pair_of(layer, *order)[2:]) for order in ((X_1, X_2, z_1, z_2), (X_2, X_1, z_2, z_1)))
    assert isinstance(one, NoSeparation) == isinstance(two, NoSeparation)


def test_a_separation_smaller_than_any_working_precision(tmp_path: Path) -> None:
    """s·(a_1 − a_2) = C fails only in an entry that is e^-2000 times the largest: found and certified exactly."""
    I = RationalMatrix.identity(2)
    layer = Layer(Attention((Head(of([[1, 0], [0, 0]]), I, I),)), FeedForward.none(2))
    # q = e_1, x_0 = (1, 0). Tokens of score 2000 are (2000, c), and both shifted preimages have second entry c.
    c = -3
    X_1, X_2 = of([[2000, 0, 1], [c, 1, 0]]), of([[2000, 2000, 1], [c, c, 0]])
    z_1, z_2 = vector([2004, c]), vector([2003, c])
    C, delta = equation(layer, X_1, X_2, z_1, z_2)
    assert delta == [1, 0]
    assert C[1] == ExpSum.of(1 - c)
    assert C[0].sign() > 0  # a mass is nearly there
    _, _, first, second, preimages = pair_of(layer, X_1, X_2, z_1, z_2)
    pieces = (preimages[0].pieces[0], preimages[1].pieces[0])
    assert isinstance(PairOfQueries.of(layer, 0, first, second)._search_cone(pieces), NoSeparation)
    model, data, *_ = pair_of(layer, X_1, X_2, z_1, z_2)
    decision = decide(model, data)
    assert decision.verdict is Memorization.UNMEMORIZABLE, decision.reason
    assert decision.proof is not None
    demand_all_true(tmp_path, [certificate(model, decision.proof)])


def test_a_mass_that_solves_is_named() -> None:
    """q = 0, prompt of two tokens (mass 2): the equation has s = 2, and the pair is not separated."""
    I, zero = RationalMatrix.identity(2), RationalMatrix.zeros(2, 2)
    layer = Layer(Attention((Head(zero, zero, I),)), FeedForward.none(2))
    model = Transformer((layer,))
    P, contexts = of([[4, 0], [0, 2]]), (of([[3, 1], [5, 0]]), of([[-1, 1], [2, 0]]))
    outputs = [model.with_prompt(P, X).columns(1, 2) for X in contexts]
    targets = [output.as_rational() for output in outputs]  # type: ignore[attr-defined]
    data = Dataset(tuple(Example(X, y) for X, y in zip(contexts, targets, strict=True)))
    first, second = data.queries(model)
    answer = separate(layer, first, second, (preimage(layer.mlp, first.target), preimage(layer.mlp, second.target)))
    assert isinstance(answer, NoSeparation)
    assert answer.mass is not None
    assert answer.mass.as_rational() == 2


@pytest.mark.parametrize("k", range(20))
def test_the_basis_is_what_no_other_head_reaches(k: int) -> None:
    rng = random.Random(f"basis/{k}")
    d, count = rng.randint(1, 4), rng.randint(1, 3)
    layer = Layer(Attention(tuple(random_head(rng, d, rng.randint(1, d)) for _ in range(count))), FeedForward.none(d))
    for chosen in range(count):
        basis = unreached_by_others(layer, chosen)
        others = [h.V for j, h in enumerate(layer.attention.heads) if j != chosen]
        for w in basis.T.rows():
            assert all(x == 0 for V in others for x in V.T.apply(w))
        rank = of([row for V in others for row in V.T.rows()], columns=d).rank() if others else 0
        assert basis.shape[1] == d - rank
        assert basis.rank() == d - rank


def mirrored(rng: random.Random, w: list[fmpq], sign: int) -> list[fmpq]:
    v = random_matrix(rng, len(w), 1, denominator=2).column(0)
    return [-x for x in v] if sign * dot(v, w) < 0 else v


def test_cones_that_hold_with_equalities_are_found() -> None:
    """All four numbers zero but one: each of the four strict inequalities alone is enough, and none is not."""
    I, zero = RationalMatrix.identity(1), RationalMatrix.zeros(1, 1)
    layer = Layer(Attention((Head(zero, zero, I),)), FeedForward.none(1))  # q = 0, d = 1, w = ±1
    found: Counter[str] = Counter()
    for v_1 in (-1, 0, 1):
        for a_1 in (-1, 0, 1):
            for v_2 in (-1, 0, 1):
                for a_2 in (-1, 0, 1):
                    if (v_1, a_1) == (v_2, a_2):
                        continue
                    X_1, X_2 = of([[v_1, 0]]), of([[v_2, 0]])
                    _, _, first, second, _ = pair_of(layer, X_1, X_2, [fmpq(a_1)], [fmpq(a_2)])
                    view = PairOfQueries.of(layer, 0, first, second)
                    pieces = tuple(preimage(layer.mlp, q.target).pieces[0] for q in (first, second))
                    tried = [view.certify("cone", [fmpq(w)], pieces) for w in (1, -1)]  # type: ignore[arg-type]
                    cone = any(isinstance(answer, Separation) for answer in tried)
                    expected = any(
                        min(w * v_1, -w * a_1, -w * v_2, w * a_2) >= 0 < max(w * v_1, -w * a_1, -w * v_2, w * a_2)
                        for w in (1, -1)
                    )
                    assert cone == expected
                    searched = view._search_cone(pieces)  # type: ignore[arg-type]
                    assert isinstance(searched, Separation) == expected
                    found[str(expected)] += 1
    assert min(found.values()) >= 10


@given(point_cases())
def test_mixtures_of_the_context_view(case) -> None:
    """A context's view is the model's own attention: A = B/S."""
    layer, X_1, *_ = case
    x_0 = X_1.columns(X_1.shape[1] - 1, X_1.shape[1])
    view = HeadView.of(layer.attention.heads[0], x_0.column(0), X_1)
    assert layer.attention(x_0, X_1) == view.output
    weights = [ExpFraction(b, view.mass) for b in view.sums]
    assert ExpMatrix([[x] for x in weights], 1) == view.output
