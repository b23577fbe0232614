"""Preimages of the MLP against brute force over all activation patterns, and the cases with exactly one."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import pytest
from flint import fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from layer_instances import Draw, fraction, fractions, integers, mlps, rationals, vectors
from preimage_oracle import all_points, patterns

from constructions.numbers.rational import RationalMatrix, column_vector, dot, vector
from constructions.single_layer.preimage import Branch, Complementarity, Leaf, Tree, leaf_bound, leaves, preimage
from constructions.transformer import FeedForward
from constructions.verdict import Undecided
from verify.claims.mlp_injectivity import paper_example_1
from verify.instances import random_mlp

of, zeros = RationalMatrix.of, RationalMatrix.zeros


@dataclass(frozen=True)
class PreimageCase:
    mlp: FeedForward
    y: list[fmpq]
    w: list[fmpq]


@st.composite
def cases(draw: Draw) -> PreimageCase:
    """Half of the targets are outputs of the MLP; integer entries make singular blocks and boundaries frequent."""
    d, r = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    mlp = draw(mlps(d, r, draw(st.sampled_from([integers, rationals]))))
    y = draw(vectors(d, integers))
    if draw(st.booleans()):
        image = mlp(column_vector(y))
        assert isinstance(image, RationalMatrix)
        y = image.column(0)
    return PreimageCase(mlp, y, draw(vectors(d, integers)))


def scalar_mlp(W_1: int, b_1: int, W_2: int) -> FeedForward:
    return FeedForward(of([[W_1]]), of([[b_1]]), of([[W_2]]), zeros(1, 1))


def case(mlp: FeedForward, y: list[int], w: list[int] | None = None) -> PreimageCase:
    return PreimageCase(mlp, vector(y), vector(w if w is not None else [1] * len(y)))


FLAT = scalar_mlp(1, 0, -1)  # z − ReLU(z) = min(z, 0)
FOLD = scalar_mlp(1, 0, -2)  # −|z|
TENT = FeedForward(of([[1], [1]]), of([[0], [-1]]), of([[-2, 2]]), zeros(1, 1))  # up, down on [0,1], up
BOX = FeedForward(of([[1, 0], [0, 1]]), zeros(2, 1), of([[-1, 0], [0, -1]]), zeros(2, 1))
SEGMENT = FeedForward(of([[1], [1]]), of([[0], [-1]]), of([[-1, 1]]), zeros(1, 1))  # 0 on [0,1]
TWICE = FeedForward(of([[1], [1]]), zeros(2, 1), of([[-1, -1]]), zeros(1, 1))  # equal units, singular M
DEAD = FeedForward(zeros(2, 2), of([[1], [-1]]), of([[1, 2], [3, 4]]), zeros(2, 1))  # constant units

EDGES = {
    "infinite: z − ReLU(z) at 0": (case(FLAT, [0]), None),
    "one point beside the flat part": (case(FLAT, [-1]), 1),
    "empty: z − ReLU(z) at 1": (case(FLAT, [1]), 0),
    "two points": (case(FOLD, [-3]), 2),
    "two patterns, one point": (case(FOLD, [0]), 1),
    "two points, one where patterns meet": (case(TENT, [0], [-1]), 2),
    "three points inside": (PreimageCase(TENT, [fmpq(-1, 2)], [fmpq(1)]), 3),
    "a quadrant": (case(BOX, [0, 0], [-1, -1]), None),
    "a ray": (case(BOX, [0, -2], [1, 0]), None),
    "a segment": (case(SEGMENT, [0]), None),
    "singular block, points": (case(TWICE, [-2]), 2),
    "constant units": (case(DEAD, [0, 0]), 1),
    "no hidden units": (case(FeedForward.none(2), [3, 4]), 1),
}


def multipliers_hold(problem: Complementarity, signs: dict[int, bool], f: list[Fraction], m: list[Fraction]) -> bool:
    """The condition of docs/certificate-format.md, "Bound on a leaf", from M itself."""
    M = [fractions(row) for row in problem.M.rows()]
    for i in range(len(m)):
        image = sum((M[j][i] * m[j] for j in range(len(m))), Fraction(0))
        if (m[i] > 0 and signs.get(i) is not True) or (f[i] > image and signs.get(i) is not False):
            return False
    return True


def demand_tree(problem: Complementarity, tree: Tree, signs: dict[int, bool]) -> None:
    """Every leaf that the tree calls empty is so by its multipliers; pieces have every unit fixed."""
    if isinstance(tree, Branch):
        assert tree.unit not in signs
        demand_tree(problem, tree.active, {**signs, tree.unit: True})
        demand_tree(problem, tree.inactive, {**signs, tree.unit: False})
        return
    assert (tree.piece is None) != (tree.multipliers is None)
    if tree.multipliers is None:
        assert tree.piece is not None
        assert tree.piece.signs == tuple(signs[i] for i in range(len(problem.c)))
        return
    m = fractions(tree.multipliers)
    assert multipliers_hold(problem, signs, [Fraction(0)] * len(m), m)
    assert sum((a * b for a, b in zip(m, fractions(problem.c), strict=True)), Fraction(0)) < 0


SEEN: Counter[str] = Counter()


def demand_agreement(c: PreimageCase) -> None:
    found = preimage(c.mlp, c.y)
    expected = patterns(c.mlp, fractions(c.y))
    points = all_points(expected)
    SEEN["infinite" if points is None else str(min(len(points), 3))] += 1

    assert found.is_empty == (not expected)
    if points is None:
        assert found.points is None
    else:
        assert found.points is not None
        assert len(found.points) == len(points)
        assert {tuple(fractions(z)) for z in found.points} == points
        for z in found.points:
            assert c.mlp(column_vector(z)) == column_vector(c.y)

    if found.tree is None:
        assert found.factor is not None
        assert points is not None
        assert len(points) == 1
        assert found.pieces[0].upper(c.w) == (dot(c.w, found.pieces[0].point or ()), None)
        return
    demand_tree(found.problem, found.tree, {})
    by_pattern = {pattern.active: pattern for pattern in expected}
    assert {piece.signs for piece in found.pieces} == set(by_pattern)
    for piece in found.pieces:
        pattern = by_pattern[piece.signs or ()]
        z = pattern.only_point
        assert piece.point is None if z is None else fractions(piece.point or ()) == z
        largest = pattern.largest(fractions(c.w))
        bound = piece.upper(c.w)
        if largest is None:
            assert bound is None
            continue
        assert bound is not None
        assert fraction(bound[0]) == largest
        f = [-x for x in fractions(c.mlp.W_2.T.apply(c.w))]
        assert multipliers_hold(found.problem, dict(enumerate(piece.signs or ())), f, fractions(bound[1] or ()))


@settings(max_examples=200)
@given(cases())
@example(EDGES["infinite: z − ReLU(z) at 0"][0])
@example(EDGES["two patterns, one point"][0])
@example(EDGES["no hidden units"][0])
def test_enumeration_agrees_with_brute_force(c: PreimageCase) -> None:
    """Points, infinity, emptiness, the largest w·z on each piece, and the proofs in the tree."""
    demand_agreement(c)


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str) -> None:
    c, count = EDGES[name]
    demand_agreement(c)
    points = preimage(c.mlp, c.y).points
    assert (None if points is None else len(points)) == count


def test_many_seeded_cases_cover_every_kind() -> None:
    """A fixed set, beside hypothesis' own: no preimage, one, two, more, and infinitely many all occur."""
    SEEN.clear()
    for k in range(150):
        rng = random.Random(f"preimage/{k}")
        d, r = rng.randint(1, 3), rng.randint(1, 4)
        take = iter([fmpq(rng.choice([-2, -1, -1, 0, 1, 1, 2])) for _ in range(3 * d * (r + 2))])
        block = lambda n, m, take=take: of([[next(take) for _ in range(m)] for _ in range(n)], columns=m)  # noqa: E731
        mlp = FeedForward(block(r, d), block(r, 1), block(d, r), zeros(d, 1))
        y = [next(take) for _ in range(d)]
        if k % 2:
            image = mlp(column_vector(y))
            assert isinstance(image, RationalMatrix)
            y = image.column(0)
        demand_agreement(PreimageCase(mlp, y, [fmpq(rng.randint(-1, 1)) for _ in range(d)]))
    assert all(SEEN[kind] >= 3 for kind in ("0", "1", "2", "3", "infinite")), SEEN


@given(cases())
def test_the_complementarity_form_is_the_equation(c: PreimageCase) -> None:
    """For any z, h = ReLU(W_1 z + b_1) solves the problem of y = MLP(z), and gives z back."""
    z = c.y
    y = c.mlp(column_vector(z))
    assert isinstance(y, RationalMatrix)
    problem = Complementarity.of(c.mlp, y.column(0))
    pre = (c.mlp.W_1.times(column_vector(z)) + c.mlp.b_1).column(0) if c.mlp.hidden else []  # type: ignore[attr-defined]
    h = [max(x, fmpq(0)) for x in pre]
    assert problem.preimage_point(h) == z
    slack = [a - b for a, b in zip(problem.M.apply(h), problem.c, strict=True)] if h else []
    assert all(x >= 0 for x in slack)
    assert all(a == 0 or b == 0 for a, b in zip(h, slack, strict=True))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_contractive_and_monotone_have_one_preimage(d: int, r: int, seed: int) -> None:
    """‖W_1‖‖W_2‖ < 1: the proof by M + M^T ≻ 0 is found, and the one point maps to y."""
    rng = random.Random(seed)
    mlp = random_mlp(rng, d, r, contractive=True)
    y = [fmpq(rng.randint(-5, 5), rng.randint(1, 3)) for _ in range(d)]
    found = preimage(mlp, y)
    assert found.factor is not None
    assert found.points is not None
    assert len(found.points) == 1
    assert mlp(column_vector(found.points[0])) == column_vector(y)
    if d <= 3 and r <= 4:
        assert all_points(patterns(mlp, fractions(y))) == {tuple(fractions(found.points[0]))}


@given(st.integers(1, 3), st.integers(1, 4), st.data())
def test_monotone_far_from_contractive(d: int, r: int, data: st.DataObject) -> None:
    """W_1 = W_2^T: M = I + W W^T is positive definite whatever the norms."""
    W = data.draw(st.lists(vectors(d), min_size=r, max_size=r).map(lambda v: of(v, columns=d))).scaled(5)
    b_1 = of([[x] for x in data.draw(vectors(r))])
    mlp = FeedForward(W, b_1, W.T, zeros(d, 1))
    y = data.draw(vectors(d))
    found = preimage(mlp, y)
    assert found.factor is not None
    assert found.points is not None
    assert {tuple(fractions(z)) for z in found.points} == all_points(patterns(mlp, fractions(y)))


@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_example_1_of_the_paper_has_one_preimage(d: int, r: int, data: st.DataObject) -> None:
    """z = y if 1·y ≤ 0, else (W_2 W_1 + I)^{-1} y, for every width, number of units and target."""
    mlp = paper_example_1(d, r)
    y = data.draw(vectors(d))
    expected = y
    if sum(y, fmpq(0)) > 0:
        square = RationalMatrix.identity(d).mat + mlp.W_2.times(mlp.W_1).mat
        expected = RationalMatrix(square).inverse().apply(y)
    found = preimage(mlp, y)
    assert found.points == [tuple(expected)]
    if d <= 3:
        assert all_points(patterns(mlp, fractions(y))) == {tuple(fractions(expected))}


def test_too_many_patterns_are_undecided() -> None:
    r = 6
    mlp = FeedForward(RationalMatrix.identity(r), zeros(r, 1), RationalMatrix.identity(r).scaled(-2), zeros(r, 1))
    y = vector([-1] * r)
    with pytest.raises(Undecided, match="activation patterns"):
        preimage(mlp, y, max_nodes=100)
    found = preimage(mlp, y)
    assert found.points is not None
    assert len(found.points) == 2**r


def test_piecewise_linear_units_are_refused() -> None:
    from constructions.numbers.matrix import Piece, PiecewiseLinear

    unit = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(0), fmpq(1), fmpq(0))))
    mlp = FeedForward(of([[1]]), of([[0]]), of([[1]]), zeros(1, 1), (unit,))
    with pytest.raises(ValueError, match="ReLU"):
        preimage(mlp, vector([1]))


@given(cases(), st.data())
def test_leaf_bounds_on_partly_fixed_leaves(c: PreimageCase, data: st.DataObject) -> None:
    """A bound on a leaf with units left open holds at every brute-force point of the patterns inside it."""
    problem = Complementarity.of(c.mlp, c.y)
    r = c.mlp.hidden
    signs = {i: data.draw(st.booleans()) for i in range(r) if data.draw(st.booleans())}
    f = data.draw(vectors(r, integers))
    bound = leaf_bound(problem, signs, f)
    if bound is None:
        return
    assert multipliers_hold(problem, signs, fractions(f), fractions(bound.multipliers))
    assert fraction(bound.value) == sum((fraction(a * b) for a, b in zip(bound.multipliers, problem.c, strict=True)),
                                        Fraction(0))  # fmt: skip
    for pattern in patterns(c.mlp, fractions(c.y)):
        z = pattern.only_point
        if z is None or any(pattern.active[i] != sign for i, sign in signs.items()):
            continue
        pre = (c.mlp.W_1.times(column_vector([fmpq(x.numerator, x.denominator) for x in z])) + c.mlp.b_1) if r else None
        h = [max(fraction(x), Fraction(0)) for x in pre.column(0)] if pre is not None else []  # type: ignore[attr-defined]
        assert sum((a * b for a, b in zip(fractions(f), h, strict=True)), Fraction(0)) <= fraction(bound.value)


def test_leaves_come_active_before_inactive() -> None:
    tree = preimage(FOLD, vector([-3])).tree
    assert tree is not None
    kept: list[Leaf] = list(leaves(tree))
    assert [leaf.piece.signs for leaf in kept if leaf.piece] == [(True,), (False,)]
