"""Enclosed norms and proved ranks of matrices of floats, against exact linear algebra."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flint import fmpq, fmpq_mat, fmpz, fmpz_mat
from hypothesis import given
from hypothesis import strategies as st

from constructions.numbers import gram_norms, norm_enclosure
from constructions.numbers.dyadic import dominant, dyadic, floats, row_products
from constructions.numbers.gram_norms import Rows, product_norm
from constructions.numbers.norm_enclosure import FINEST, ZERO, NormEnclosure, enclose_norm
from constructions.numbers.rank import PRIMES, prove_rank

ERRORS = [fmpq(1, 2), fmpq(1, 100), fmpq(1, 1000), fmpq(1, 2**20), FINEST]
numbers = st.one_of(
    st.integers(-5, 5).map(float),
    st.floats(-1e3, 1e3, width=32),
    st.floats(-(2.0**100), 2.0**100),
    st.sampled_from([0.0, 5e-324, -2.2e-308, 1e-40, 2.0**-149, 1e38]),
)


@st.composite
def matrices(draw: st.DrawFn, rows: int | None = None, most: int = 6) -> np.ndarray:
    shape = (draw(st.integers(1, 4)) if rows is None else rows, draw(st.integers(1, most)))
    return np.array(draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)))).reshape(shape)


def exact(W: np.ndarray) -> fmpq_mat:
    return fmpq_mat(*W.shape, [fmpq(*float(x).as_integer_ratio()) for x in W.ravel()])


def largest_root_below(A: fmpq_mat, bound: fmpq) -> bool:
    """Whether all eigenvalues of A^T A (any shape) are below bound²: Sylvester's criterion in rationals."""
    G = A.transpose() * A if A.ncols() <= A.nrows() else A * A.transpose()
    n = G.nrows()
    N = fmpq_mat(n, n, [bound * bound * (i == j) - G[i, j] for i in range(n) for j in range(n)])
    return all(fmpq_mat(k, k, [N[i, j] for i in range(k) for j in range(k)]).det() > 0 for k in range(1, n + 1))


def check(A: fmpq_mat, found: NormEnclosure, error: fmpq) -> None:
    if not any(A.entries()):
        assert found == ZERO
        return
    assert found.relative_error <= error
    # the upper bound by exact minors, the lower one because nothing a little smaller is above the norm
    assert largest_root_below(A, found.upper * (1 + fmpq(1, 2**60)))
    assert not largest_root_below(A, found.lower * (1 - fmpq(1, 2**60)))


@given(matrices(), st.sampled_from(ERRORS))
def test_norms_are_enclosed(W: np.ndarray, error: fmpq) -> None:
    check(exact(W), enclose_norm(W, error), error)


@given(st.integers(1, 3).flatmap(lambda s: st.tuples(matrices(s), matrices(s))), st.sampled_from(ERRORS))
def test_norms_of_products_are_enclosed(pair: tuple[np.ndarray, np.ndarray], error: fmpq) -> None:
    B, C = pair
    check(exact(B).transpose() * exact(C), product_norm(Rows.of(B), Rows.of(C), error), error)


@pytest.mark.parametrize("error", ERRORS)
def test_larger_products_by_small_matrices_alone(monkeypatch: pytest.MonkeyPatch, error: fmpq) -> None:
    """Ordinary heads never need the product itself, not even with a row that vanishes."""

    def never(*arguments: object) -> NormEnclosure:
        raise AssertionError("the product was formed")

    monkeypatch.setattr(gram_norms, "_direct", never)
    rng = np.random.default_rng(1)
    B, C = (rng.standard_normal((8, 40)).astype(np.float32).astype(float) for _ in range(2))
    for k in range(2):
        found = product_norm(Rows.of(B), Rows.of(C), error)
        assert found.relative_error <= error
        value = np.linalg.norm(B.T @ C, 2)
        assert float(found.lower) <= value * (1 + 1e-12)
        assert value * (1 - 1e-12) <= float(found.upper)
        (B, C)[k][3] = 0


def test_a_product_that_is_tiny_beside_its_factors_is_formed() -> None:
    B, C = np.zeros((4, 9)), np.zeros((4, 9))
    B[0, 0] = C[1, 1] = 1
    C[0, 0] = 2.0**-60
    found = product_norm(Rows.of(B), Rows.of(C), fmpq(1, 1000))
    assert found.lower <= fmpq(1, 2**60) <= found.upper
    assert found.relative_error <= fmpq(1, 1000)
    C[0, 0] = 0
    assert product_norm(Rows.of(B), Rows.of(C), fmpq(1, 1000)) == ZERO


@pytest.mark.parametrize("shape", [(1, 1), (40, 40), (30, 70), (90, 25)])
@pytest.mark.parametrize("error", [fmpq(1, 100), fmpq(1, 2**20)])
def test_larger_norms_against_numpy(shape: tuple[int, int], error: fmpq) -> None:
    W = np.random.default_rng(3).standard_normal(shape)
    found = enclose_norm(W, error)
    value = np.linalg.norm(W, 2)
    assert found.relative_error <= error
    assert float(found.lower) <= value * (1 + 1e-12)
    assert value * (1 - 1e-12) <= float(found.upper)


def test_a_first_guess_that_misses_the_largest_eigenvalue(monkeypatch: pytest.MonkeyPatch) -> None:
    """No guess is believed: with the second eigenvector the proof fails, and all eigenvalues are computed."""
    W = np.diag(np.arange(1.0, 41.0))
    thorough = []
    honest = norm_enclosure.top_eigenvector

    def second(G: np.ndarray, all_of_them: bool = False) -> tuple[float, np.ndarray]:
        thorough.append(all_of_them)
        return honest(G, True) if all_of_them else (39.0**2 / 64**2, np.eye(40)[38])

    monkeypatch.setattr(norm_enclosure, "top_eigenvector", second)
    found = enclose_norm(W, fmpq(1, 1000))
    assert found.lower <= 40 <= found.upper
    assert thorough == [False, True]


def test_no_proof_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_enclosure, "dominant", lambda R: False)
    with pytest.raises(ArithmeticError, match="no proof found for a norm of about 5"):
        enclose_norm(np.array([[3.0, 4.0]]))


@pytest.mark.parametrize("error", [fmpq(0), fmpq(-1), fmpq(1, 2**31), fmpq(2, 3)])
def test_relative_errors_out_of_range(error: fmpq) -> None:
    one = Rows(fmpz_mat([[1]]), 0)
    for call in (lambda: enclose_norm(np.eye(2), error), lambda: product_norm(one, one, error)):
        with pytest.raises(ValueError, match=r"relative error: expected between 2\^-30 and 1/2"):
            call()


def test_empty_matrices() -> None:
    assert enclose_norm(np.zeros((0, 3))) == enclose_norm(np.zeros((2, 2))) == ZERO
    assert ZERO.relative_error == 0


def test_roots_of_squares_are_exact_and_of_others_outward() -> None:
    norm = NormEnclosure(fmpq(3), fmpq(4))
    assert norm.times_root(fmpq(1, 64)) == NormEnclosure(fmpq(3, 8), fmpq(1, 2))
    half = norm.times_root(fmpq(1, 2))
    assert half.lower**2 < fmpq(9, 2)
    assert fmpq(8) < half.upper**2 < fmpq(8) * (1 + fmpq(1, 2**120))


@given(matrices())
def test_floats_are_the_dyadic_numbers_that_they_are(W: np.ndarray) -> None:
    M, exponent = dyadic(W)
    assert fmpq_mat(M) * (fmpq(2) ** exponent) == exact(W)


@given(st.lists(st.lists(st.integers(-(2**40), 2**40), min_size=3, max_size=3), min_size=1, max_size=4))
def test_products_of_rows_are_exact_however_large(rows: list[list[int]]) -> None:
    for shrink in (1, 2**20, 2**35):
        A = np.array(rows, dtype=np.int64) // shrink
        M = fmpz_mat(A.tolist())
        assert fmpz_mat([[int(x) for x in row] for row in row_products(A)]) == M * M.transpose()


@pytest.mark.parametrize("size", [2**26, 2**26 + 1, 2**30, 2**45])
def test_products_around_the_limit_of_floats(size: int) -> None:
    A = np.array([[size, size - 1], [size - 1, -size]])
    assert [int(x) for x in row_products(A).ravel()] == [size**2 + (size - 1) ** 2, 0, 0, size**2 + (size - 1) ** 2]


def test_dominance_does_not_overflow() -> None:
    big = 2**62 - 1
    assert not dominant(np.array([[big, big, big], [big, big, big], [big, big, big]]))
    assert dominant(np.array([[big, 1], [1, 2]]))
    assert not dominant(np.array([[-3, 1], [1, 2]]))


def test_float_tables() -> None:
    table, exponent = floats(fmpz_mat([[fmpz(2) ** 200, 1]]))
    assert np.array_equal(np.ldexp(table, exponent), [[2.0**200, 0.0]])
    assert exponent % 2 == 0


def test_primes() -> None:
    assert all(fmpz(p).is_prime() for p in PRIMES)


@st.composite
def of_some_rank(draw: st.DrawFn) -> fmpz_mat:
    r, n, m = draw(st.integers(0, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    small = st.integers(-3, 3)
    left = fmpz_mat(n, r, draw(st.lists(small, min_size=n * r, max_size=n * r)))
    return left * fmpz_mat(r, m, draw(st.lists(small, min_size=r * m, max_size=r * m)))


@given(of_some_rank())
def test_ranks_are_right_and_their_proofs_hold(M: fmpz_mat) -> None:
    proof = prove_rank(M)
    assert proof.rank == M.rank()
    assert proof.full == min(M.nrows(), M.ncols())
    assert proof.is_full == (proof.rank == proof.full)
    assert proof.holds_for(M)


@given(of_some_rank(), st.integers(0, 4), st.integers(0, 4))
def test_proofs_of_another_matrix_do_not_hold(M: fmpz_mat, i: int, j: int) -> None:
    """A proof may well hold for a matrix that was changed, but never with the wrong rank."""
    proof = prove_rank(M)
    other = fmpz_mat(M)
    other[i % M.nrows(), j % M.ncols()] += 1
    assert not proof.holds_for(other) or other.rank() == proof.rank


def test_changed_proofs_do_not_hold() -> None:
    M = fmpz_mat([[1, 2, 3], [2, 4, 6], [0, 0, 0]])
    proof = prove_rank(M)
    assert (proof.rank, proof.relations) == (1, (((0, -2), (1, 1)), ((2, 1),)))
    for changed in (
        replace(proof, rank=2),
        replace(proof, rank=2, rows=(0, 1), columns=(0, 1), relations=proof.relations[1:]),
        replace(proof, rank=0, rows=(), columns=()),
        replace(proof, full=2),
        replace(proof, prime=7),
        replace(proof, relations=proof.relations[:1]),
        replace(proof, relations=(((0, -2), (1, 1)), ((0, -2), (1, 1)))),
        replace(proof, relations=(((0, -2), (1, 1)), ((0, 0), (2, 0)))),
        replace(proof, relations=(((0, -1), (1, 1)), ((2, 1),))),
    ):
        assert not changed.holds_for(M)


def test_a_prime_that_divides_a_minor_is_replaced() -> None:
    p, q, _ = PRIMES
    for M, prime in ((fmpz_mat([[p, 0], [0, 1]]), q), (fmpz_mat([[p, 0], [0, p * q]]), PRIMES[2])):
        proof = prove_rank(M)
        assert (proof.rank, proof.prime) == (2, prime)
        assert proof.holds_for(M)
    with pytest.raises(ArithmeticError, match="every prime of the list"):
        prove_rank(fmpz_mat([[math.prod(PRIMES)]]))
