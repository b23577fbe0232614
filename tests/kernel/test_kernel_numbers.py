"""The kernel's arithmetic against flint and fractions."""

from fractions import Fraction
from math import lcm, prod

import expsum
import limits
import pytest
import rational
from expsum import ExpSum, enclose_exp, exp_sum
from flint import arb, ctx, fmpq
from hypothesis import example, given
from hypothesis import strategies as st
from limits import OverLimits
from rational import Matrix, Scalar, Vector

integers = st.integers(-(10**6), 10**6)
dens = st.integers(1, 60)
numbers = st.builds(Scalar, integers, dens)


def exact(x: Scalar) -> Fraction:
    return Fraction(x.num, x.den)


def assert_encloses(num: int, den: int, precision: int) -> None:
    """Bounds on both sides, at most two units apart (more for large results)."""
    low, high = enclose_exp(num, den, precision)
    if -num > 10**9 * den:
        assert (low, high) == (0, 1)
        return
    whole = max(num // den, 0)
    ctx.prec = 2 * precision + 2 * whole + den.bit_length() + 100
    value = arb(fmpq(num, den)).exp() * arb(2) ** precision
    assert arb(low) <= value
    assert value <= arb(high)
    assert high - low <= 2
    assert low >= 0


@given(st.integers(-(2**90), 2**20), st.integers(1, 2**80), st.integers(1, 700))
@example(0, 1, 5)
@example(-1, 1, 1)
@example(-64, 1, 64)
@example(-65, 1, 64)
@example(1, 10**3000, 64)
@example(-1, 10**3000, 64)
@example(-(10**3000), 1, 64)
@example(-(10**3000) - 1, 10**3000, 10_100)
@example(300, 1, 64)
@example(-1, 3, 1 << 14)
def test_exp_is_enclosed(num: int, den: int, precision: int) -> None:
    if num > 1000 * den:
        num = num % (1000 * den)
    assert_encloses(num, den, precision)


@pytest.mark.parametrize("precision", [1, 2, 3, 4, 7, 8, 64, 128])
def test_exp_on_a_grid(precision: int) -> None:
    for num in range(-150, 60):
        for den in (1, 2, 7, 1000):
            assert_encloses(num, den, precision)


def test_exp_of_zero_is_exact_and_of_huge_numbers_refused() -> None:
    assert enclose_exp(0, 7, 64) == (1 << 64, 1 << 64)
    assert enclose_exp(-(10**100_000), 7, 64) == (0, 1)
    with pytest.raises(OverLimits, match="exponential of a number above"):
        enclose_exp(10**100_000, 7, 64)


terms = st.lists(st.tuples(integers, integers), max_size=6)


def made(pairs: list[tuple[int, int]], coefficient_den: int, exponent_den: int) -> ExpSum:
    return exp_sum(
        Vector(tuple(c for c, _ in pairs), coefficient_den), Vector(tuple(q for _, q in pairs), exponent_den)
    )


def as_dict(value: ExpSum) -> dict[Fraction, Fraction]:
    return {Fraction(q, value.exponent_den): Fraction(c, value.coefficient_den) for q, c in value.terms.items()}


@given(st.data())
def test_exponential_sums_form_a_ring(data: st.DataObject) -> None:
    small = st.lists(st.tuples(st.integers(-9, 9), st.integers(-3, 3)), max_size=5)
    a, b, c = (made(data.draw(small), data.draw(dens), data.draw(st.integers(1, 3))) for _ in range(3))
    assert (a * (b + c)).equals(a * b + a * c)
    assert (a * b).equals(b * a)
    assert (a - a).is_zero()
    assert (a - b).equals(-(b - a))
    s = data.draw(numbers)
    assert a.scaled(s).equals(a * expsum.exponential(s, Scalar(0, 5)))
    assert as_dict(a + b) == {
        q: total for q in {*as_dict(a), *as_dict(b)} if (total := as_dict(a).get(q, 0) + as_dict(b).get(q, 0))
    }


@given(terms, dens, st.integers(1, 10**7))
def test_sign_agrees_with_balls(pairs: list[tuple[int, int]], coefficient_den: int, exponent_den: int) -> None:
    value = made(pairs, coefficient_den, exponent_den)
    ctx.prec = 20_000
    top = max([q for _, q in pairs], default=0)
    total = sum((arb(c) * arb(fmpq(q - top, exponent_den)).exp() for c, q in pairs), arb(0))
    expected = 1 if total > 0 else -1 if total < 0 else 0
    assert value.sign() == expected
    assert value.is_zero() == (expected == 0)


@pytest.mark.parametrize("exponent", [0, 5, -7])
def test_sign_of_near_equal_exponentials(exponent: int) -> None:
    """e^{s_1} - e^{s_2} with s_1 - s_2 = 10^-3000: the sign shows only beyond 9965 bits."""
    den = 10**3000
    powers = Vector((exponent * den + 1, exponent * den), den)
    assert exp_sum(Vector((1, -1), 3), powers).sign() == 1
    assert exp_sum(Vector((-1, 1), 3), powers).sign() == -1
    assert exp_sum(Vector((1, -1), 3), Vector((exponent * den,) * 2, den)).sign() == 0


def test_sign_of_hostile_sums() -> None:
    huge = 10**100_000
    assert exp_sum(Vector((1, -5, -5), 1), Vector((huge, -huge, 0), 1)).sign() == 1
    assert exp_sum(Vector((-1, 5), 1), Vector((huge, -huge), 1)).sign() == -1
    with pytest.raises(OverLimits, match="does not show"):  # the second term is 10^-100000 of the first's size
        exp_sum(Vector((1, -1), 1), Vector((0, -1), huge)).sign()
    many = 20_000
    assert exp_sum(Vector((1, -1) * many, 1), Vector(tuple(range(2 * many)), 7)).sign() == -1
    assert exp_sum(Vector((1, -1) * many, 1), Vector((5,) * 2 * many, 7)).is_zero()


def test_limits_on_computed_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    long = 1 << limits.MAX_COMPUTED_BITS
    with pytest.raises(OverLimits, match="too long"):
        Vector((long,), 1) + Vector((long,), 1)
    monkeypatch.setattr(limits, "MAX_TOTAL_BITS", 1000)
    a, b = made([(1, k) for k in range(20)], 1, 1), made([(1, 100 * k) for k in range(20)], 1, 1)
    with pytest.raises(OverLimits, match="too long"):
        a * b
    repeated = [(2**90, 1), (-(2**90) + 1, 1)] * 500
    assert as_dict(made(repeated, 1, 1)) == {1: 500}


def test_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", -1)
    limits.DEADLINE.start()
    for start in (
        lambda: Vector((1,), 1) + Vector((1,), 1),
        lambda: exp_sum(Vector((1,), 1), Vector((1,), 1)),
        lambda: rational.is_positive_definite(rational.identity(1), rational.identity(1)),
        lambda: ExpSum({1: 1}, 1, 1).sign(),
    ):
        with pytest.raises(OverLimits, match="more than -1 seconds"):
            start()
    monkeypatch.undo()
    limits.DEADLINE.start()


@given(st.integers(1, 2**70), st.integers(1, 2**70), st.sampled_from([1, 6, 2**20000]))
def test_common_denominators(a: int, b: int, c: int) -> None:
    f, g, den = rational.common_denominator(a * c, b * c)
    assert (f * a * c, g * b * c) == (den, den)
    assert a == b or c > 6 or den == lcm(a, b) * c


@given(numbers, numbers)
def test_scalars(a: Scalar, b: Scalar) -> None:
    assert exact(a + b) == exact(a) + exact(b)
    assert exact(a - b) == exact(a) - exact(b)
    assert exact(a * b) == exact(a) * exact(b)
    assert a.sign() == (exact(a) > 0) - (exact(a) < 0)


def matrices(height: int, width: int) -> st.SearchStrategy[Matrix]:
    row = st.tuples(*[st.integers(-99, 99)] * width)
    return st.builds(Matrix, st.tuples(*[row] * height), dens, st.just(width))


def dense(A: Matrix) -> list[list[Fraction]]:
    return [[Fraction(x, A.den) for x in row] for row in A.rows]


@given(st.data(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_matrices(data: st.DataObject, a: int, b: int, c: int) -> None:
    A, A_2, B = data.draw(matrices(a, b)), data.draw(matrices(a, b)), data.draw(matrices(b, c))
    v = Vector(tuple(data.draw(st.tuples(*[integers] * c))), 7)
    AB = (
        [
            [
                sum((x * y for x, y in zip(row, column, strict=True)), Fraction(0))
                for column in zip(*dense(B), strict=True)
            ]
            for row in dense(A)
        ]
        if b and c
        else [[Fraction(0)] * c] * a
    )
    assert dense(A.times(B)) == AB
    assert A.times(B).width == c
    assert dense(A + A_2) == [
        [x + y for x, y in zip(*rows, strict=True)] for rows in zip(dense(A), dense(A_2), strict=True)
    ]
    assert (A.times(B) @ v - A @ (B @ v)).is_zero()
    assert A.transposed().transposed().equals(A)
    assert (A.transposed().width, len(A.transposed().rows)) == (a, b)
    assert A.equals(Matrix(tuple(tuple(3 * x for x in row) for row in A.rows), 3 * A.den, b))
    assert not A.equals(Matrix(A.rows, A.den, b + 1))
    assert A.equals(A_2) == (dense(A) == dense(A_2))


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="lengths 1 and 2"):
        Vector((1,), 1).dot(Vector((1, 2), 1))
    with pytest.raises(ValueError, match="different shapes"):
        Vector((1,), 1) + Vector((1, 2), 1)
    with pytest.raises(ValueError, match="zip"):
        exp_sum(Vector((1,), 1), Vector((1, 2), 1))


@given(st.data(), st.integers(0, 3))
def test_positive_definite_is_sound(data: st.DataObject, size: int) -> None:
    """Accepted matrices have positive leading minors, whatever the factor; a good factor is accepted."""
    F, A = data.draw(matrices(size, size)), data.draw(matrices(size, size))
    N = A + A.transposed()
    if rational.is_positive_definite(N, F):
        assert all(determinant([row[:k] for row in dense(N)[:k]]) > 0 for k in range(1, size + 1))
    shifted = F.times(F.transposed()) + Matrix(rational.identity(size).rows, 1000, size)
    assert rational.is_positive_definite(shifted, F)
    assert rational.is_positive_definite(F.times(F.transposed()), F) == (size == 0)


def determinant(A: list[list[Fraction]]) -> Fraction:
    from itertools import permutations

    total = Fraction(0)
    for order in permutations(range(len(A))):
        inversions = sum(order[i] > order[j] for i in range(len(A)) for j in range(i + 1, len(A)))
        total += (-1) ** inversions * prod((A[i][j] for i, j in enumerate(order)), start=Fraction(1))
    return total
