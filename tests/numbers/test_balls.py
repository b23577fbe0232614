"""Balls: every operation encloses the exact result, and what they cannot decide they do not decide.

The inputs are wide balls; the truth is evaluated at single points of them, exactly or in much smaller balls, and must
lie inside the result.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import flint
import pytest
from flint import arb, arb_mat, fmpq
from hypothesis import example, given
from hypothesis import strategies as st

from constructions.numbers.balls import PRECISION_CAP, BallMatrix, decided_sign, until_decided
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.softmax import softmax
from constructions.verdict import Undecided

NAN = arb("nan")
STRADDLING = [NAN, arb(0, 1), arb(1, 1), arb(-1, 1), arb("inf") - arb("inf"), arb(0, fmpq(1, 2**200))]
VISIBLE: list[Callable[[int], int] | None] = [None, lambda j: j + 1]

RATIONALS = st.fractions(min_value=-4, max_value=4, max_denominator=7).map(lambda x: fmpq(x.numerator, x.denominator))
RADII = st.sampled_from([fmpq(0), fmpq(1, 2**70), fmpq(1, 100), fmpq(1)])
PLACES = st.sampled_from([fmpq(-1), fmpq(-1, 3), fmpq(0), fmpq(2, 3), fmpq(1)])


@st.composite
def balls_with_a_point(draw: st.DrawFn, rows: int, width: int) -> tuple[BallMatrix, RationalMatrix]:
    """A matrix of balls and a rational matrix inside of it, often on the boundary."""
    points, balls = [], []
    for _ in range(rows * width):
        centre, radius = draw(RATIONALS), draw(RADII)
        points.append(centre + radius * draw(PLACES))
        balls.append(arb(centre, radius))
    table = [points[i * width : (i + 1) * width] for i in range(rows)]
    return BallMatrix(arb_mat(rows, width, balls)), RationalMatrix.of(table, columns=width)


def inside(x: fmpq, ball: arb) -> bool:
    """Whether the ball contains x, in integers (arb.contains would round x first)."""
    if not ball.is_finite():
        return True
    (m, e), (r, f) = ball.mid().man_exp(), ball.rad().man_exp()
    low = min(int(e), int(f), 0)
    centre, radius = int(m) << int(e) - low, int(r) << int(f) - low
    return abs(int(x.p) - Fraction(centre * int(x.q), 1 << -low)) <= Fraction(radius * int(x.q), 1 << -low)


def encloses(balls: object, exact: object) -> bool:
    assert isinstance(balls, BallMatrix)
    assert isinstance(exact, RationalMatrix)
    pairs = zip(balls.mat.entries(), exact.mat.entries(), strict=True)
    return balls.shape == exact.shape and all(inside(x, ball) for ball, x in pairs)


@given(RATIONALS, RADII, PLACES, st.sampled_from([-1, 0, 1]))
@example(fmpq(1), fmpq(1, 2**70), fmpq(-1), 0)
@example(fmpq(1, 3), fmpq(0), fmpq(0), 0)
def test_containment_of_rationals_is_exact(centre: fmpq, radius: fmpq, place: fmpq, beyond: int) -> None:
    ball = arb(centre, radius)
    for x in (centre + radius * place, centre + radius * place * (1 + beyond * fmpq(1, 10**30))):
        matrix = BallMatrix(arb_mat(1, 1, [ball]))
        assert matrix.contains(RationalMatrix.of([[x]])) is inside(x, ball)
    if centre.q == 1:  # representable: no rounding, so the ends are the last points inside
        assert [inside(centre + s * radius, ball) for s in (-1, 1)] == [True, True]
        assert not inside(centre + radius * fmpq(1 + 2**20, 2**20) + fmpq(1, 2**80), ball)
    assert BallMatrix(arb_mat(1, 1, [NAN])).contains(RationalMatrix.of([[centre]]))


# Decisions


@pytest.mark.parametrize("ball", STRADDLING, ids=str)
def test_straddling_balls_never_decide(ball: arb) -> None:
    with pytest.raises(Undecided, match="straddles zero"):
        decided_sign(ball)
    tried = []

    def compute() -> int:
        tried.append(flint.ctx.prec)
        return decided_sign(ball)

    with pytest.raises(Undecided):
        until_decided(compute, cap=512)
    assert tried == [64, 128, 256, 512]


@given(RATIONALS, RADII)
@example(fmpq(0), fmpq(0))
@example(fmpq(1, 10**400), fmpq(0))
@example(fmpq(-1, 10**400), fmpq(0))
def test_sign_holds_for_the_whole_ball(centre: fmpq, radius: fmpq) -> None:
    ball = arb(centre, radius)
    try:
        sign = decided_sign(ball)
    except Undecided:
        assert ball.contains(0)
        assert not ball.is_zero()
    else:
        for point in (centre - radius, centre, centre + radius):
            assert sign == (point > 0) - (point < 0)


@pytest.mark.parametrize(
    ("start", "cap", "tried"),
    [(64, 64, [64]), (64, 127, [64]), (64, 128, [64, 128]), (10, 100, [10, 20, 40, 80]), (200, 100, [200])],
)
def test_precision_doubles_up_to_the_cap(start: int, cap: int, tried: list[int]) -> None:
    seen = []

    def never() -> None:
        seen.append(flint.ctx.prec)
        raise Undecided(f"try {len(seen)}")

    before = flint.ctx.prec
    with pytest.raises(Undecided, match=f"^try {len(tried)}$"):  # the last one
        until_decided(never, start=start, cap=cap)
    assert seen == tried
    assert flint.ctx.prec == before


def test_it_stops_as_soon_as_decided_and_restores_the_precision() -> None:
    seen = []
    near = fmpq(14142135623730950488016887242096980785696718753769480731766797379907, 10**67)

    def larger() -> int:
        seen.append(flint.ctx.prec)
        return decided_sign(arb(2).sqrt() - arb(near))

    before = flint.ctx.prec
    assert until_decided(larger) == 1  # the next digit of the root is 3
    assert seen == [64, 128, 256]
    assert flint.ctx.prec == before


def test_other_errors_pass_at_once() -> None:
    seen = []

    def broken() -> None:
        seen.append(1)
        raise ZeroDivisionError

    before = flint.ctx.prec
    with pytest.raises(ZeroDivisionError):
        until_decided(broken)
    assert seen == [1]
    assert flint.ctx.prec == before


def test_equality_of_irrationals_stays_undecided() -> None:
    def equal() -> int:
        return decided_sign(arb(2).sqrt() * arb(3).sqrt() - arb(6).sqrt())

    with pytest.raises(Undecided, match=f"at {PRECISION_CAP} bits"):
        until_decided(equal)


# Enclosures


@given(st.data())
def test_algebra_encloses(data: st.DataObject) -> None:
    n, k, m = (data.draw(st.integers(0, 3)) for _ in range(3))
    (A, a), (A2, a2), (B, b) = (data.draw(balls_with_a_point(*shape)) for shape in ((n, k), (n, k), (k, m)))
    for ball, exact in [(A, a), (A2, a2), (B, b), (A.T, a.T), (A @ B, a @ b), (A + A2, a + a2)]:
        assert ball.shape == exact.shape
        assert encloses(ball, exact)
    for product in (A @ b, a @ B):  # rationals on either side
        assert encloses(product, a @ b)
    for total in (A + a2, a + A2):
        assert encloses(total, a + a2)
    for start in range(k + 1):
        assert A.columns(start, k).shape == (n, k - start)
        assert encloses(A.columns(start, k), a.columns(start, k))


@given(st.data())
def test_relu_encloses(data: st.DataObject) -> None:
    A, a = data.draw(balls_with_a_point(2, 2))
    result = A.relu()
    assert encloses(result, a.relu())
    assert not any(x < 0 for x in result.mat.entries())


@given(st.data())
def test_softmax_encloses(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    A, a = data.draw(balls_with_a_point(max(n, m), m))
    for visible in VISIBLE:
        balls = softmax(A, visible)
        assert isinstance(balls, BallMatrix)
        assert balls.shape == A.shape
        truth = softmax(a, visible)
        assert isinstance(truth, ExpMatrix)
        with flint.ctx.workprec(400):
            exact = [x.enclosure() for row in truth.entries for x in row]
        for ball, x in zip(balls.mat.entries(), exact, strict=True):
            assert ball.contains(x)
        for j in range(m):
            hidden = balls.column(j)[A.shape[0] if visible is None else visible(j) :]
            assert all(x.is_zero() for x in hidden)


def test_softmax_of_one_token_is_one_and_sharp_otherwise() -> None:
    wide = BallMatrix(arb_mat(1, 1, [arb(3, 2)]))
    assert wide.softmax()[0, 0] == 1
    narrow = softmax(BallMatrix.embed(RationalMatrix.of([["1/3"], [-200], [100]])))
    assert isinstance(narrow, BallMatrix)
    assert all(x.rad() < arb(fmpq(1, 2**40)) for x in narrow.mat.entries())
    assert narrow[2, 0] > fmpq(99, 100)
    assert narrow[1, 0] > 0


@given(st.data())
def test_hardmax_encloses_or_is_undecided(data: st.DataObject) -> None:
    A, a = data.draw(balls_with_a_point(3, 2))
    for visible in VISIBLE:
        try:
            result = A.hardmax(visible)
        except Undecided:
            pairs = [(x, y) for j in range(2) for i, x in enumerate(A.column(j)) for y in A.column(j)[:i]]
            assert any(x.overlaps(y) for x, y in pairs)  # there was a reason
        else:
            assert encloses(result, a.hardmax(visible))
            assert all(x.rad() < 1e-15 for x in result.mat.entries())


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=5))
@example([0, 0, 0])
@example([1, 0, 1])
def test_hardmax_ties_of_exact_balls(column: list[int]) -> None:
    exact = RationalMatrix.of([[fmpq(x, 4)] for x in column])  # quarters are balls of radius zero
    assert encloses(BallMatrix.embed(exact).hardmax(), exact.hardmax())


def test_hardmax_tie_of_inexact_balls_is_undecided() -> None:
    def tie() -> BallMatrix:
        return BallMatrix.embed(RationalMatrix.of([["1/3"], ["1/3"]])).hardmax()

    with pytest.raises(Undecided):
        until_decided(tie, cap=1024)
    with pytest.raises(Undecided):
        BallMatrix(arb_mat(2, 1, [NAN, arb(1)])).hardmax()


STEP = PiecewiseLinear(
    (Piece(None, fmpq(0), fmpq(7)), Piece(fmpq(0), fmpq(1), fmpq(0)), Piece(fmpq(1, 2), fmpq(-2), fmpq(1)))
)


@given(st.data())
def test_units_enclose_or_are_undecided(data: st.DataObject) -> None:
    A, a = data.draw(balls_with_a_point(1, 2))
    try:
        result = A.apply_units([STEP])
    except Undecided:
        assert any(x.contains(0) or x.contains(fmpq(1, 2)) for x in A.mat.entries())
    else:
        assert encloses(result, a.apply_units([STEP]))


@pytest.mark.parametrize("ball", [arb(0, fmpq(1, 2**90)), arb(fmpq(1, 2), fmpq(1, 8)), arb(0, 10), NAN], ids=str)
def test_units_on_a_straddled_start_are_undecided(ball: arb) -> None:
    with pytest.raises(Undecided):
        BallMatrix(arb_mat(1, 1, [ball])).apply_units([STEP])


def test_units_at_an_exact_start_take_the_right_piece() -> None:
    points = RationalMatrix.of([[0, "1/2", -1]])
    assert encloses(BallMatrix.embed(points).apply_units([STEP]), RationalMatrix.of([[0, 0, 7]]))


@given(RATIONALS, RATIONALS)
def test_embedding_exponentials(p: fmpq, q: fmpq) -> None:
    x = ExpFraction(ExpSum.exp(p) + q, ExpSum.exp(q) + 1)
    matrix = ExpMatrix([[x, ExpFraction.of(q)]], 2)
    ball = BallMatrix.embed(matrix)
    with flint.ctx.workprec(400):
        assert ball[0, 0].contains(x.enclosure())
    assert inside(q, ball[0, 1])
    assert ball[0, 0].rad() < arb(fmpq(1, 2**30))
    assert BallMatrix.embed(ball) is ball
    assert ball.contains(matrix)
    sums = [matrix + ball, ball + matrix]  # the larger field carries the sum
    assert all(isinstance(y, BallMatrix) and y.contains(matrix + matrix) for y in sums)
    products = [matrix @ ball.T, ball @ matrix.T]
    assert all(isinstance(y, BallMatrix) and y.contains(matrix @ matrix.T) for y in products)


def test_contains_refuses_what_lies_outside() -> None:
    third = BallMatrix.embed(RationalMatrix.of([["1/3"]]))
    assert third.contains(RationalMatrix.of([["1/3"]]))
    assert not third.contains(RationalMatrix.of([[Fraction(1, 3) + Fraction(1, 10**12)]]))
    assert not third.contains(RationalMatrix.of([["1/3", "1/3"]]))
    assert not third.contains(ExpMatrix([[ExpFraction(ExpSum.exp(-1))]], 1))
    assert not third.contains(ExpMatrix([[ExpFraction.of("1/3")] * 2], 2))


def test_nan_stays_nan() -> None:
    A = BallMatrix(arb_mat(2, 1, [NAN, arb(1)]))
    one = RationalMatrix.of([[1, 1]])
    assert A.relu()[0, 0].is_nan()
    assert (one @ A)[0, 0].is_nan()
    assert (A + BallMatrix.embed(one.T))[0, 0].is_nan()
    assert not any(x.is_finite() for x in A.softmax().mat.entries())


def test_shape_errors_name_both_sides() -> None:
    A, B = BallMatrix(arb_mat(2, 3)), RationalMatrix.zeros(4, 5)
    for product in (lambda: A @ B, lambda: A @ BallMatrix.embed(B), lambda: B.T @ A):
        with pytest.raises(ValueError, match=r"left has \d columns, right has \d rows \(\d×\d @ \d×\d\)"):
            product()
    for total in (lambda: A + B, lambda: A + BallMatrix.embed(B)):
        with pytest.raises(ValueError, match="expected equal shapes, found 2×3 and 4×5"):
            total()
    for start, stop in [(-1, 1), (1, 4), (2, 1)]:
        with pytest.raises(ValueError, match=f"within the 3 columns, found {start} to {stop}"):
            A.columns(start, stop)
