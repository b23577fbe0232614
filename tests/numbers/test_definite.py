"""Proofs of positive definiteness: the factor is checked here once more, against exact minors."""

from __future__ import annotations

import numpy as np
import pytest
from flint import fmpq, fmpq_mat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from constructions.numbers import definite
from constructions.numbers.definite import (
    NormBound,
    norm_product_below_one,
    positive_definite_factor,
    spectral_norm_bound,
)


def is_positive_definite(N: fmpq_mat) -> bool:
    """Sylvester's criterion, exactly."""
    n = N.nrows()
    leading = (fmpq_mat(k, k, [N[i, j] for i in range(k) for j in range(k)]) for k in range(1, n + 1))
    return all(block.det() > 0 for block in leading)


def dominant(R: fmpq_mat) -> bool:
    n = R.nrows()
    return all(R[i, i] > sum((abs(R[i, j]) for j in range(n) if j != i), fmpq(0)) for i in range(n))


def check(N: fmpq_mat, F: fmpq_mat) -> None:
    n = N.nrows()
    assert (F.nrows(), F.ncols()) == (n, n)
    assert dominant(N - F * F.transpose())
    for i in range(n):
        for j in range(n):
            assert F[i, j] == 0 or j <= i
            assert F[i, j].q & (F[i, j].q - 1) == 0  # a power of two


def check_bound(W: fmpq_mat, bound: NormBound) -> None:
    gram = W.transpose() * W if bound.gram == "columns" else W * W.transpose()
    n = gram.nrows()
    N = fmpq_mat(n, n, [bound.square * (i == j) - gram[i, j] for i in range(n) for j in range(n)])
    check(N, bound.factor)
    assert n == min(W.nrows(), W.ncols())
    assert bound.gram == "columns" or W.nrows() < W.ncols()
    assert bound.holds_for(W)


def identity(n: int, times: fmpq) -> fmpq_mat:
    return fmpq_mat(n, n, [times * (i == j) for i in range(n) for j in range(n)])


@st.composite
def matrices(draw: st.DrawFn, square: bool = False) -> fmpq_mat:
    r = draw(st.integers(1, 5))
    c = r if square else draw(st.integers(1, 5))
    scale = fmpq(10) ** draw(st.integers(0, 60)) / fmpq(10) ** 30
    denominator = draw(st.sampled_from([1, 7, 1000]))
    entries = draw(st.lists(st.integers(-20, 20), min_size=r * c, max_size=r * c))
    return fmpq_mat(r, c, [fmpq(v, denominator) * scale for v in entries])


@given(matrices(square=True), st.sampled_from([fmpq(-1, 10), fmpq(0), fmpq(1, 10**12), fmpq(1, 10**45), fmpq(1)]))
@example(fmpq_mat([[0]]), fmpq(0))
@example(fmpq_mat([[1]]), fmpq(0))
@example(fmpq_mat([[1, 1], [1, 1]]), fmpq(1, 10**45))
@example(fmpq_mat([[1, 10**20], [0, 1]]), fmpq(0))
@settings(max_examples=200, deadline=None)
def test_factor_exactly_where_positive_definite(B: fmpq_mat, shift: fmpq) -> None:
    n = B.nrows()
    N = B * B.transpose()
    N += identity(n, shift * (max(N[i, i] for i in range(n)) or fmpq(1)))
    F = positive_definite_factor(N)
    # The precision tried is far beyond what these sizes and shifts need, so None means "is not".
    assert (F is not None) == is_positive_definite(N)
    if F is not None:
        check(N, F)


@given(st.lists(st.integers(-9, 9), min_size=10, max_size=10))
@settings(max_examples=100, deadline=None)
def test_symmetric_matrices_of_any_sign(entries: list[int]) -> None:
    N = fmpq_mat(4, 4)
    places = [(i, j) for i in range(4) for j in range(i + 1)]
    for (i, j), entry in zip(places, entries, strict=True):
        N[i, j] = N[j, i] = fmpq(entry + 12 * (i == j))
    F = positive_definite_factor(N)
    assert (F is not None) == is_positive_definite(N)
    if F is not None:
        check(N, F)


def test_beyond_floats() -> None:
    hilbert = fmpq_mat.hilbert(20, 20)  # condition about 10^28
    F = positive_definite_factor(hilbert)
    assert F is not None
    check(hilbert, F)
    apart = fmpq_mat([[fmpq(10) ** 60, 0], [0, fmpq(1, 10**60)]])
    F = positive_definite_factor(apart)
    assert F is not None
    check(apart, F)


def test_precision_cap() -> None:
    near = fmpq_mat([[1, 1], [1, 1 + fmpq(1, 2**200)]])
    assert positive_definite_factor(near, max_bits=128) is None
    F = positive_definite_factor(near, max_bits=256)
    assert F is not None
    check(near, F)


def test_edges() -> None:
    empty = positive_definite_factor(fmpq_mat(0, 0))
    assert empty is not None
    assert empty.nrows() == 0
    with pytest.raises(ValueError, match="expected square, found 1 x 2"):
        positive_definite_factor(fmpq_mat([[1, 2]]))
    with pytest.raises(ValueError, match=r"entry \(1, 0\) is 3, entry \(0, 1\) is 2"):
        positive_definite_factor(fmpq_mat([[9, 2], [3, 9]]))


@pytest.mark.parametrize(
    ("N", "F", "true"),
    [
        ([[2, 1], [1, 2]], [[1, 0], [1, 0]], True),  # leaves the identity
        ([[2, 1], [1, 2]], [[0, 0], [0, 0]], True),
        ([[1, 1], [1, 1]], [[0, 0], [0, 0]], False),  # dominant, but not strictly
        ([[-2, 1], [1, -2]], [[0, 0], [0, 0]], False),  # dominant, but negative
        ([[2, 1], [1, 2]], [[2, 0], [0, 2]], False),
        ([[0]], [[0]], False),
        ([[2, 1], [1, 2]], [[1], [1]], False),  # wrong shape
    ],
)
def test_checker(N: list[list[int]], F: list[list[int]], true: bool) -> None:
    assert definite._proves(fmpq_mat(N), fmpq_mat(F)) is true


def test_checker_wants_every_row_dominant() -> None:
    lopsided = fmpq_mat([[3, 2, 0], [2, fmpq(3, 2), 0], [0, 0, 1]])  # rows 0 and 2 are
    assert not definite._proves(lopsided, fmpq_mat(3, 3))


@given(matrices(), st.sampled_from([fmpq(1, 2), fmpq(1, 100), fmpq(1, 10**9), fmpq(1, 2**40)]))
@example(fmpq_mat([[0, 0]]), fmpq(1, 100))
@example(fmpq_mat([[fmpq(1, 10**400)]]), fmpq(1, 100))
@example(fmpq_mat([[fmpq(10) ** 400], [1]]), fmpq(1, 100))
@settings(max_examples=150, deadline=None)
def test_spectral_norm_bound(W: fmpq_mat, error: fmpq) -> None:
    bound = spectral_norm_bound(W, error)
    check_bound(W, bound)
    if not any(W.entries()):
        assert bound.square == fmpq(1, 2**64)
        return
    # Not far above: with nu / (1 + error)^2 less a hair for the float estimate, no proof can exist.
    below = bound.square / (1 + error) ** 2 * (1 - fmpq(1, 10**12))
    assert not is_positive_definite(definite._shifted(W, below, bound.gram))
    assert not NormBound(below, bound.factor, bound.gram).holds_for(W)


def test_bound_is_short() -> None:
    W = fmpq_mat([[fmpq(i * j % 17 - 8, 1000) for j in range(12)] for i in range(9)])
    square = spectral_norm_bound(W).square
    assert square.q & (square.q - 1) == 0
    assert square.p.bit_length() <= 10


def test_relative_error_too_small() -> None:
    with pytest.raises(ValueError, match=r"expected at least 2\^-40, found 1/2199023255552"):
        spectral_norm_bound(fmpq_mat([[1]]), fmpq(1, 2**41))


@given(matrices(), matrices(), st.sampled_from([fmpq(1, 2), fmpq(99, 100), 1 - fmpq(1, 10**9), fmpq(101, 100)]))
@settings(max_examples=100, deadline=None)
def test_norm_product(W_1: fmpq_mat, W_2: fmpq_mat, target: fmpq) -> None:
    product = definite._square_estimate(W_1) * definite._square_estimate(W_2)
    if product != 0:  # bring the product of the norms to the target, to 100 bits
        root = fmpq((product.p * product.q << 400).isqrt(), product.q << 200)
        W_1 = W_1 * (target / root)
    pair = norm_product_below_one(W_1, W_2)
    squares = definite._square_estimate(W_1), definite._square_estimate(W_2)
    assert (pair is not None) == (squares[0] * squares[1] < 1)
    if pair is not None:
        assert pair[0].square * pair[1].square < 1
        check_bound(W_1, pair[0])
        check_bound(W_2, pair[1])


@pytest.mark.parametrize("other", [[[0]], [[10**50]], [[1, 2], [3, 4]]])
def test_norm_product_with_zero(other: list[list[int]]) -> None:
    zero, W = fmpq_mat([[0, 0]]), fmpq_mat(other)
    for first, second in ((zero, W), (W, zero)):
        pair = norm_product_below_one(first, second)
        assert pair is not None
        assert pair[0].square * pair[1].square < 1
        check_bound(first, pair[0])
        check_bound(second, pair[1])


@pytest.mark.parametrize(("norm", "proved"), [(1 - fmpq(1, 10**9), True), (fmpq(1), False), (fmpq(2), False)])
def test_norm_product_near_one(norm: fmpq, proved: bool) -> None:
    rotation = fmpq_mat([[fmpq(3, 5), fmpq(-4, 5)], [fmpq(4, 5), fmpq(3, 5)]])
    assert (norm_product_below_one(rotation * norm, rotation) is not None) is proved


def test_size_of_a_real_layer() -> None:
    entries = np.random.default_rng(0).integers(-1000, 1001, (128, 160)).tolist()
    W = fmpq_mat([[fmpq(v, 1000) for v in row] for row in entries])
    bound = spectral_norm_bound(W)
    assert bound.gram == "rows"
    assert bound.holds_for(W)
    assert max(v.p.bit_length() for v in bound.factor.entries()) <= 24
