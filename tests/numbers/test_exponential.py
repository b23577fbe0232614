"""The exponential field: ring and field axioms, decided equality, signs that nearly cancel, softmax, matrices.

Two oracles: sympy, which combines exponentials symbolically, and mpmath at 60 digits, whose values are compared with
enclosures at 300 bits. The numbers here stay below 10^12 and each is the result of fewer than 100 operations, so
mpmath's error is below 10^-45 and a difference above 10^-40 would be a mistake.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction

import flint
import mpmath
import pytest
import sympy
from flint import arb, fmpq
from hypothesis import assume, example, given
from hypothesis import strategies as st

from constructions.numbers import exponential
from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import FieldError, Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.softmax import softmax
from constructions.verdict import Undecided

DIGITS = 60
BITS = 300
TOLERANCE = fmpq(1, 10**40)

RATIONALS = st.fractions(min_value=-3, max_value=3, max_denominator=4).map(lambda x: fmpq(x.numerator, x.denominator))
SUMS = st.dictionaries(RATIONALS, RATIONALS, max_size=3).map(ExpSum)
TINY = st.dictionaries(st.sampled_from([fmpq(0), fmpq(1), fmpq(-1, 2)]), RATIONALS, max_size=2).map(ExpSum)
DENOMINATORS = TINY.filter(lambda x: not x.is_zero)
ELEMENTS = st.builds(ExpFraction, TINY, DENOMINATORS)
E = ExpSum.exp(1)
ZERO, ONE = ExpSum.of(0), ExpSum.of(1)


def rational_of(value: mpmath.mpf) -> fmpq:
    """The exact value of an mpmath number."""
    p, q = mpmath.libmp.to_rational(value._mpf_)
    return fmpq(int(p), int(q))


def evaluated(x: ExpSum) -> mpmath.mpf:
    """By mpmath, at the caller's precision."""
    terms = [mpmath.mpf(int(c.p)) / int(c.q) * mpmath.exp(mpmath.mpf(int(q.p)) / int(q.q)) for q, c in x.terms.items()]
    return mpmath.fsum(terms)


def assert_close(ball: arb, value: fmpq) -> None:
    assert ball.rad() < arb(TOLERANCE)
    assert abs(ball - arb(value)) < arb(TOLERANCE) * (1 + abs(arb(value)))


def symbolic(x: ExpSum) -> sympy.Expr:
    terms = [
        sympy.Rational(int(c.p), int(c.q)) * sympy.exp(sympy.Rational(int(q.p), int(q.q))) for q, c in x.terms.items()
    ]
    return sympy.Add(*terms)


# The ring


@given(SUMS, SUMS, SUMS)
@example(ZERO, ONE, E)
@example(E - 1, E + 1, ExpSum.exp("-1"))
def test_ring_axioms(a: ExpSum, b: ExpSum, c: ExpSum) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert (a * b) * c == a * (b * c)
    assert a * b == b * a
    assert a * (b + c) == a * b + a * c
    assert a + ZERO == a == a * ONE
    assert (a * ZERO).is_zero
    assert (a - a).is_zero
    assert (a - a) == ZERO
    assert ZERO - (-a) == a
    assert a - b == a + (-b)
    assert a - b == -(b - a)


@given(SUMS, SUMS)
def test_no_zero_divisors_and_no_zero_coefficients(a: ExpSum, b: ExpSum) -> None:
    for x in (a + b, a * b, a - b):
        assert all(c != 0 for c in x.terms.values())
    assert (a * b).is_zero == (a.is_zero or b.is_zero)


@given(RATIONALS, RATIONALS)
def test_exponential_law(p: fmpq, q: fmpq) -> None:
    assert ExpSum.exp(p) * ExpSum.exp(q) == ExpSum.exp(p + q)
    assert ExpSum.exp(p) * ExpSum.exp(-p) == ONE
    assert (ExpSum.exp(p) == ExpSum.exp(q)) == (p == q)


def test_equality_is_decided() -> None:
    square = ExpSum.exp(2)
    assert square - 1 == (E - 1) * (E + 1)
    assert square - 1 + fmpq(1, 10**100) != (E - 1) * (E + 1)
    third, sixth, half = (ExpSum.exp(x) for x in ("1/3", "1/6", "1/2"))
    assert third * sixth == half  # 1/3 + 1/6 = 1/2
    assert third + sixth != half
    assert third * third * third == E
    assert (third - 1) * (ExpSum.exp("2/3") + third + 1) == E - 1
    assert ExpSum.exp("0.5") == ExpSum.exp(Fraction(2, 4)) == half


@given(TINY, TINY, TINY)
@example(E - 1, E + 1, ExpSum.exp(2) - 1)
@example(ExpSum.exp("-1/2"), ExpSum.exp("-1/2"), ExpSum.exp("-1"))
def test_equality_agrees_with_sympy(a: ExpSum, b: ExpSum, c: ExpSum) -> None:
    for left, right, symbols in (
        (a * b, c, symbolic(a) * symbolic(b) - symbolic(c)),
        (a * b + c, c + b * a, symbolic(a) * symbolic(b) + symbolic(c) - symbolic(a * b + c)),
        ((a + b) * (a - b), a * a - b * b, symbolic((a + b) * (a - b)) - symbolic(a) ** 2 + symbolic(b) ** 2),
        ((a + b) * c, a * c, (symbolic(a) + symbolic(b)) * symbolic(c) - symbolic(a) * symbolic(c)),
    ):
        assert (left == right) is (sympy.expand(symbols) == 0)


@given(st.lists(st.tuples(RATIONALS, st.sampled_from([fmpq(0), fmpq(1), fmpq(1, 2)])), max_size=5))
def test_weighted_merges_equal_exponents(terms: list[tuple[fmpq, fmpq]]) -> None:
    expected = ZERO
    for c, q in terms:
        expected = expected + ExpSum.exp(q) * c
    assert ExpSum.weighted([c for c, _ in terms], [q for _, q in terms]) == expected
    with pytest.raises(ValueError, match="zip"):
        ExpSum.weighted([fmpq(1)], [])


@given(SUMS, SUMS)
def test_hash_follows_equality(a: ExpSum, b: ExpSum) -> None:
    assert hash((a + b) - b) == hash(a)
    assert len({a, (a + b) - b}) == 1


def test_floats_are_refused() -> None:
    for use in (lambda: ExpSum.exp(0.5), lambda: ExpSum.of(0.5), lambda: E * 0.5, lambda: E + 0.5, lambda: E - 0.5):
        with pytest.raises(TypeError, match=r"found the float 0\.5"):
            use()  # type: ignore[arg-type]
    for use in (lambda: ExpFraction.of(0.5), lambda: ExpFraction.of(1) * 0.5, lambda: ExpFraction.of(1) < 0.5):
        with pytest.raises(TypeError, match=r"found the float 0\.5"):
            use()  # type: ignore[arg-type]


# Values and signs


@given(SUMS)
@example(ZERO)
def test_enclosure_agrees_with_mpmath(a: ExpSum) -> None:
    with mpmath.workdps(DIGITS), flint.ctx.workprec(BITS):
        assert_close(a.enclosure(), rational_of(evaluated(a)))


@given(SUMS, st.integers(8, 80), RATIONALS)
def test_approximate_is_within_one_unit(a: ExpSum, bits: int, reference: fmpq) -> None:
    guess = a.approximate(reference, bits)
    assert (guess * fmpq(2) ** bits).q == 1
    with flint.ctx.workprec(BITS):
        exact = (a * ExpSum.exp(-reference)).enclosure()
        assert abs(exact - arb(guess)) <= arb(fmpq(2, 2**bits))


@given(SUMS, SUMS)
def test_sign_agrees_with_mpmath_and_is_multiplicative(a: ExpSum, b: ExpSum) -> None:
    with mpmath.workdps(DIGITS):
        value = evaluated(a)
        if abs(value) > 1e-40:  # nearer to zero mpmath cannot tell
            assert a.sign() == mpmath.sign(value)
    assert (a.sign() == 0) is a.is_zero
    assert (-a).sign() == -a.sign()
    assert (a * b).sign() == a.sign() * b.sign()


@pytest.mark.parametrize("exponent", ["1/3", "-1/3", "7/2", "40"])
@pytest.mark.parametrize("digits", [30, 400, 3000])
def test_sign_of_sums_that_nearly_cancel(exponent: str, digits: int) -> None:
    x = ExpSum.exp(exponent)
    with mpmath.workdps(digits + 60):
        value = rational_of(mpmath.exp(mpmath.mpf(Fraction(exponent).numerator) / Fraction(exponent).denominator))
    below = fmpq((value * 10**digits).floor(), 10**digits)
    above = below + fmpq(1, 10**digits)
    assert (x - below).sign() == 1
    assert (x - above).sign() == -1
    assert (below - ExpFraction(x)).sign() == -1
    assert ExpFraction(x) > below
    assert ExpFraction(x) < above
    shift = ExpSum.exp(1000)  # a common factor moves the value far from 1, not the sign
    assert ((x - below) * shift).sign() == 1
    assert ((x - above) * ExpSum.exp(-1000)).sign() == -1


def test_sign_with_far_apart_exponents() -> None:
    assert (ExpSum.exp(10**9) - ExpSum.exp(10**9 - 1)).sign() == 1
    assert (ExpSum.exp(-(10**9)) - ExpSum.exp(1 - 10**9) * fmpq(1, 10**6)).sign() == 1
    assert (ExpSum.exp(fmpq(1, 10**50)) - 1 - fmpq(1, 10**50)).sign() == 1  # e^x > 1 + x


def test_sign_past_the_cap_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    with mpmath.workdps(100):
        near = rational_of(mpmath.e)
    x = E - near
    monkeypatch.setattr(exponential, "SIGN_PRECISION_CAP", 128)
    with pytest.raises(Undecided, match="more than 128 bits"):
        x.sign()
    monkeypatch.setattr(exponential, "SIGN_PRECISION_CAP", 512)
    assert x.sign() in (-1, 1)


def test_sign_leaves_the_precision_alone() -> None:
    before = flint.ctx.prec
    (ExpSum.exp("1/3") - 1).sign()
    E.approximate(fmpq(0), 100)
    assert flint.ctx.prec == before


@given(SUMS, RATIONALS)
def test_as_rational_of_sums(a: ExpSum, c: fmpq) -> None:
    assert ExpSum.of(c).as_rational() == c
    assert ((a + c) - a).as_rational() == c
    value = a.as_rational()
    assert (value is None) == any(q != 0 for q in a.terms)
    if value is not None:
        assert ExpSum.of(value) == a


def test_midpoint_is_exact() -> None:
    for value in (fmpq(0), fmpq(3, 8), fmpq(-5), fmpq(7) * fmpq(2) ** 90, fmpq(-3, 2**70)):
        assert midpoint(arb(value, 1)) == value


# Fractions


@given(ELEMENTS, ELEMENTS, ELEMENTS)
@example(ExpFraction.of(0), ExpFraction.of(1), ExpFraction(ONE, E - 3))
def test_field_axioms(a: ExpFraction, b: ExpFraction, c: ExpFraction) -> None:
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a + 0 == a == a * 1
    assert (a - a).sign() == 0
    assert a - b == -(b - a)
    assert 1 - a == -(a - 1)
    assert fmpq(1, 2) + a == a + ExpFraction.of("1/2")
    assert 3 * a == a + a + a
    if b.sign() != 0:
        assert a / b * b == a
        assert b / b == ExpFraction.of(1)
    else:
        with pytest.raises(ZeroDivisionError, match="denominator zero"):
            a / b


@given(TINY, DENOMINATORS, DENOMINATORS)
def test_many_representations_of_one_element(p: ExpSum, q: ExpSum, common: ExpSum) -> None:
    x, y = ExpFraction(p, q), ExpFraction(p * common, q * common)
    assert x == y
    assert not x < y
    assert not x > y
    assert ExpFraction(-p, -q) == x
    assert x.denominator.sign() == y.denominator.sign() == 1
    assert x.sign() == p.sign() * q.sign()
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


@given(TINY, DENOMINATORS, TINY, DENOMINATORS)
def test_fraction_equality_agrees_with_sympy(p: ExpSum, q: ExpSum, r: ExpSum, s: ExpSum) -> None:
    crossed = sympy.expand(symbolic(p) * symbolic(s) - symbolic(r) * symbolic(q))
    assert (ExpFraction(p, q) == ExpFraction(r, s)) is (crossed == 0)


@given(ELEMENTS, ELEMENTS)
def test_order_agrees_with_enclosures(a: ExpFraction, b: ExpFraction) -> None:
    assert [a < b, a == b, a > b].count(True) == 1
    assert (a < b) == (b > a)
    with flint.ctx.workprec(BITS):
        if a.enclosure() < b.enclosure():
            assert a < b
        if a.enclosure() > b.enclosure():
            assert a > b


@given(ELEMENTS)
def test_fraction_enclosure_agrees_with_mpmath(a: ExpFraction) -> None:
    with mpmath.workdps(DIGITS):
        denominator = evaluated(a.denominator)
        assume(denominator > 1e-3)
        value = rational_of(evaluated(a.numerator) / denominator)
    with flint.ctx.workprec(BITS):
        assert_close(a.enclosure(), value)


@given(DENOMINATORS, RATIONALS, ELEMENTS)
@example(E - 3, fmpq(0), ExpFraction(E, E + 1))
@example(E - 3, fmpq(-2, 7), ExpFraction(ExpSum.exp(2) - 1, E - 1))
def test_as_rational_of_fractions(q: ExpSum, c: fmpq, a: ExpFraction) -> None:
    assert ExpFraction(q * c, q).as_rational() == c
    assert ExpFraction.of(c).as_rational() == c
    assert (a + c - a).as_rational() == c
    value = a.as_rational()
    if value is not None:
        assert ExpFraction.of(value) == a
    else:  # not even the value's own best rational guess
        with flint.ctx.workprec(BITS):
            assert ExpFraction.of(midpoint(a.enclosure())) != a


def test_as_rational_needs_no_common_factor_in_sight() -> None:
    assert (ExpFraction(ExpSum.exp(2) - 1, E - 1) - ExpFraction(E)).as_rational() == 1
    assert ExpFraction(ExpSum.exp(2) - 1, E - 1).as_rational() is None
    assert ExpFraction(E, E * 3).as_rational() == fmpq(1, 3)
    assert ExpFraction(ZERO, E - 3).as_rational() == 0
    assert ExpFraction(E + 1, E + 2).as_rational() is None


def test_denominator_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        ExpFraction(E, (E - 1) * (E + 1) - ExpSum.exp(2) + 1)
    assert ExpFraction(E).denominator == ONE


# Softmax and matrices

SCORES = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(RATIONALS, min_size=n, max_size=n), min_size=n, max_size=4)
)
VISIBLE: list[Callable[[int], int] | None] = [None, lambda j: j + 1]


@given(SCORES)
@example([[fmpq(0)]])
@example([[fmpq(2)], [fmpq(2)], [fmpq(2)]])
def test_softmax_against_mpmath(scores: list[list[fmpq]]) -> None:
    for visible in VISIBLE:
        weights = softmax(RationalMatrix.of(scores), visible)
        assert isinstance(weights, ExpMatrix)
        assert weights.shape == (len(scores), len(scores[0]))
        for j in range(len(scores[0])):
            seen = len(scores) if visible is None else visible(j)
            column = weights.column(j)
            assert sum(column, ExpFraction.of(0)) == ExpFraction.of(1)
            assert all(x.sign() == 0 for x in column[seen:])
            with mpmath.workdps(DIGITS), flint.ctx.workprec(BITS):
                powers = [mpmath.exp(mpmath.mpf(int(row[j].p)) / int(row[j].q)) for row in scores[:seen]]
                for x, power in zip(column, powers, strict=False):
                    assert x.sign() == 1
                    assert_close(x.enclosure(), rational_of(power / mpmath.fsum(powers)))


@given(st.integers(1, 4), RATIONALS)
def test_softmax_of_equal_scores_is_uniform(n: int, score: fmpq) -> None:
    weights = softmax(RationalMatrix.of([[score]] * n))
    assert isinstance(weights, ExpMatrix)
    assert weights.as_rational() == RationalMatrix.of([[fmpq(1, n)]] * n)
    again = softmax(weights)  # rational entries: softmax stays in the field
    assert isinstance(again, ExpMatrix)
    assert again == weights


def test_softmax_of_softmax_leaves_the_field() -> None:
    weights = softmax(RationalMatrix.of([[0], [1]]))
    with pytest.raises(FieldError, match=r"leaves the exponential field .* balls"):
        softmax(weights)
    mixed = ExpMatrix([[ExpFraction.of(1)], [ExpFraction(E)]], 1)
    assert mixed.as_rational() is None
    with pytest.raises(FieldError):
        mixed.softmax()


def test_softmax_does_not_depend_on_a_common_shift() -> None:
    scores = RationalMatrix.of([[1, "1/2"], [0, 3]])
    shifted = scores + RationalMatrix.of([[7, 7], [7, 7]])
    assert softmax(scores) == softmax(shifted)


@st.composite
def exp_matrices(draw: st.DrawFn, rows: int, width: int) -> ExpMatrix:
    return ExpMatrix([[draw(ELEMENTS) for _ in range(width)] for _ in range(rows)], width)


@given(st.data())
def test_matrix_algebra_entry_by_entry(data: st.DataObject) -> None:
    n, k, m = (data.draw(st.integers(0, 2)) for _ in range(3))
    A, A2, B = (data.draw(exp_matrices(*shape)) for shape in ((n, k), (n, k), (k, m)))
    product = A @ B
    assert isinstance(product, ExpMatrix)
    assert product.shape == (n, m)
    for i in range(n):
        for j in range(m):
            assert product[i, j] == sum((A[i, t] * B[t, j] for t in range(k)), ExpFraction.of(0))
    total = A + A2
    assert all(total[i, j] == A[i, j] + A2[i, j] for i in range(n) for j in range(k))
    assert A.T.shape == (k, n)
    assert A.T.T == A
    assert all(A.T[j, i] == A[i, j] for i in range(n) for j in range(k))
    assert A.columns(0, k) == A
    assert [A.columns(j, j + 1).column(0) for j in range(k)] == [A.column(j) for j in range(k)]
    R = RationalMatrix.of([[i - 2 * j for j in range(n)] for i in range(2)], columns=n)
    left = ExpMatrix.embed(R)
    assert left @ A == R @ A  # rationals on either side
    assert A.T @ R.T == (R @ A).T
    S = RationalMatrix.of([[i + j for j in range(k)] for i in range(n)], columns=k)
    assert S + A == A + S == A + ExpMatrix.embed(S)


@given(st.lists(st.lists(RATIONALS, min_size=2, max_size=2), max_size=3), RATIONALS)
def test_embedding_rationals(rows: list[list[fmpq]], change: fmpq) -> None:
    plain = RationalMatrix.of(rows, columns=2)
    embedded = ExpMatrix.embed(plain)
    assert embedded.as_rational() == plain
    assert embedded == plain
    assert plain == embedded  # either way round
    assert (plain @ plain.T) == (embedded @ embedded.T)
    if rows:
        other = RationalMatrix.of([[x + change for x in row] for row in rows])
        equal = [embedded == other, other == embedded]
        assert equal == [change == 0] * 2


def test_columns_outside_are_refused() -> None:
    A = ExpMatrix.embed(RationalMatrix.of([[1, 2]]))
    for start, stop in [(1, 3), (-1, 1), (2, 1)]:
        with pytest.raises(ValueError, match=f"within the 2 columns, found {start} to {stop}"):
            A.columns(start, stop)


def test_shape_errors_name_both_sides() -> None:
    A = ExpMatrix.embed(RationalMatrix.zeros(2, 3))
    for other in (RationalMatrix.zeros(4, 5), ExpMatrix.embed(RationalMatrix.zeros(4, 5))):
        with pytest.raises(ValueError, match="left has 3 columns, right has 4 rows"):
            A @ other
        with pytest.raises(ValueError, match="expected equal shapes, found 2×3 and 4×5"):
            A + other


BIT = fmpq(1, 10**60)
NEAR_E = st.sampled_from([E, E + BIT, E - BIT, ZERO, ExpSum.exp("1/2")]).map(ExpFraction)


@given(st.lists(NEAR_E, min_size=1, max_size=4), DENOMINATORS)
def test_hardmax_over_exponentials(entries: list[ExpFraction], common: ExpSum) -> None:
    # the same numbers in different representations: ties are ties
    column = [ExpFraction(x.numerator * common, x.denominator * common) if i % 2 else x for i, x in enumerate(entries)]
    order = [0 if x == ExpFraction(ZERO) else 1 if x == ExpFraction(ExpSum.exp("1/2")) else None for x in entries]
    ranks = [
        2 + [E - BIT, E, E + BIT].index(x.numerator) if r is None else r for x, r in zip(entries, order, strict=True)
    ]
    winners = ranks.count(max(ranks))
    expected = [fmpq(1, winners) if r == max(ranks) else fmpq(0) for r in ranks]
    assert ExpMatrix([[x] for x in column], 1).hardmax() == RationalMatrix.of([[x] for x in expected])


def test_hardmax_with_mask() -> None:
    A = ExpMatrix([[ExpFraction(E)] * 2, [ExpFraction.of(3)] * 2], 2)
    assert A.hardmax(lambda j: j + 1) == RationalMatrix.of([[1, 0], [0, 1]])
    assert A.hardmax() == RationalMatrix.of([[0, 0], [1, 1]])


@given(ELEMENTS)
@example(ExpFraction(E - E))
@example(ExpFraction(E - fmpq(27182818284590452353602874713526624977572, 10**40)))
@example(ExpFraction(E - fmpq(27182818284590452353602874713526624977573, 10**40)))
def test_relu_over_exponentials(x: ExpFraction) -> None:
    result = ExpMatrix([[x]], 1).relu()[0, 0]
    assert result == (x if x.sign() > 0 else ExpFraction.of(0))
    assert result.sign() >= 0


@given(st.sampled_from([fmpq(0), BIT, -BIT, fmpq(-1), fmpq(2), 2 - BIT]))
def test_units_over_exponentials_decide_their_piece(t: fmpq) -> None:
    pieces = (Piece(None, fmpq(0), fmpq(5)), Piece(fmpq(0), fmpq(2), fmpq(1)), Piece(fmpq(2), fmpq(-1), fmpq(0)))
    step = PiecewiseLinear(pieces)
    x = ExpFraction(E * t, E)  # rational, but not by its looks
    assert ExpMatrix([[x]], 1).apply_units([step])[0, 0] == ExpFraction.of(step(t))
    y = ExpFraction(E * t + (E - 2), E) - ExpFraction(E - 2, E)
    assert ExpMatrix([[y]], 1).apply_units([step])[0, 0] == ExpFraction.of(step(t))


def test_units_at_irrational_points() -> None:
    step = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(27, 10), fmpq(1), fmpq(1))))
    column = ExpMatrix([[ExpFraction(E), ExpFraction(ExpSum.exp("99/100"))]], 2)
    assert column.apply_units([step]).entries == [[ExpFraction(E + 1), ExpFraction.of(0)]]


@pytest.mark.parametrize("compare", [operator.lt, operator.gt])
def test_comparison_with_rationals(compare: Callable[[object, object], bool]) -> None:
    e = ExpFraction(E)
    assert compare(e, fmpq(271828182845904523536, 10**20)) is (compare is operator.gt)
    assert compare(e, fmpq(271828182845904523537, 10**20)) is (compare is operator.lt)
