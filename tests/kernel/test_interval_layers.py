"""Matrices of intervals, layers and derivatives in intervals: what members give is inside, and not much else."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attention
import depth_makers as depth
import depth_oracle as oracle
import forward
import interval_matrices as im
import jacobian
import kernel_certificates as make
import mpmath
import numpy as np
import pytest
import reading
from intervals import Interval
from rational import Matrix, Scalar

Json = Any
BITS = 80


def interval(low: float, high: float, bits: int = BITS) -> Interval:
    return Interval(int(Fraction(low) * 2**bits // 1), -int(-Fraction(high) * 2**bits // 1), bits)


def around(A: Any, width: float = 0.0) -> list[list[Interval]]:
    return [[interval(x - width, x + width) for x in row] for row in np.asarray(A).tolist()]


def ends(A: list[list[Interval]]) -> tuple[Any, Any]:
    scale = 2.0 ** A[0][0].bits
    return tuple(np.array([[getattr(x, end) / scale for x in row] for row in A]) for end in ("lo", "hi"))


def inside(value: Any, A: list[list[Interval]], slack: float = 1e-12) -> bool:
    low, high = ends(A)
    return bool(((low - slack <= value) & (value <= high + slack)).all())


def member(rng: np.random.Generator, A: Any, width: float) -> Any:
    return A + width * rng.uniform(-1, 1, A.shape)


def rational(A: Any) -> Matrix:
    rows = tuple(tuple(round(x * 2**30) for x in row) for row in A.tolist())
    return Matrix(rows, 2**30, A.shape[1])


@pytest.mark.parametrize("width", [0.0, 1e-3, 0.5])
def test_operations(width: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q, r = rng.integers(1, 4, size=3)
        A, B, u = rng.standard_normal((p, q)), rng.standard_normal((q, r)), rng.standard_normal(q)
        C = np.round(rng.standard_normal((r, q)) * 2**30) / 2**30
        rows, others, row = around(A, width), around(B, width), around([u], width)[0]
        for _ in range(10):
            a, b, v = member(rng, A, width), member(rng, B, width), member(rng, u, width)
            assert inside(a + member(rng, A, width), im.added(rows, rows))
            assert inside((C @ v)[None], [im.applied(rational(C), row, BITS)])
            assert inside(C @ b, im.applied_to_columns(rational(C), others, BITS))
            assert inside((v @ b)[None], [im.combined(row, others, BITS)])
            assert inside(np.outer(v, u), im.outer(row, around([u])[0]))
            assert inside(np.array([[v @ v]]), [[im.squared(row, BITS)]])
            assert inside(np.array([[v @ u]]), [[im.dot(row, around([u])[0], BITS)]])
            assert inside((v - u)[None], [im.minus(row, around([u])[0])])
            assert inside(a.T, im.flipped(rows))
            assert inside(np.exp(v)[None], [[im.exponential(x) for x in row]])
    # as narrow as |C| times the widths
    low, high = ends([im.applied(rational(C), row, BITS)])
    assert np.allclose(high - low, 2 * width * np.abs(C).sum(axis=1), atol=1e-9)


def test_ends() -> None:
    x = Interval(-3, 5, 1)
    row = [x, Interval(2, 3, 1), Interval(-4, -3, 1), Interval(0, 0, 1)]
    assert (im.least_square(row), im.largest_square(row)) == (Scalar(4 + 9, 4), Scalar(25 + 9 + 16, 4))
    assert im.meet(x, Interval(-4, 4, 1)) == Interval(-3, 4, 1)
    assert im.meet(Interval(1, 9, 1), x) == Interval(1, 5, 1)
    for bad in (15, 4097, -1):
        with pytest.raises(reading.NotACertificate, match="from 16 to 4096"):
            im.read_precision(reading.Field(bad, "precision"))
    assert im.read_precision(reading.Field(16, "precision")) == 16
    assert im.read_precision(reading.Field(4096, "precision")) == 4096


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e6])
def test_norms(scale: float) -> None:
    """Never below that of a member; for single matrices of rank r at most r^(1/32) times as large."""
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 3), (3, 1), (2, 2), (2, 4), (5, 3)):
        for width in (0.0, 0.01, 1.0):
            A = rng.standard_normal(shape)
            B = around(A * scale, width * scale)
            found = im.norm_above(B, BITS)
            bound = found.num / found.den
            for _ in range(50):
                corner = A + width * rng.choice([-1, 1], shape)
                assert oracle.norm(corner * scale) <= bound * (1 + 1e-9)
            if width == 0:
                assert bound <= oracle.norm(A * scale) * min(shape) ** (1 / 32) * (1 + 1e-3 * (scale < 1) + 1e-9)
    zero = im.norm_above(around(np.zeros((2, 2))), BITS)
    assert zero.num == 0
    one = im.norm_above([[Interval(-7, 3, 4)]], 4)
    assert Fraction(one.num, one.den) == Fraction(7, 16)


# --- layers ----------------------------------------------------------------------------------------------------------


def random_layer(rng: np.random.Generator, d: int, r: int = 2) -> Json:
    maker = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k", "W_v", "W_o", "b_q"), 1.5))
    return maker.layer(d, [int(s) for s in rng.integers(0, 3, size=2)], r)


def read_layer(layer: Json) -> attention.Layer:
    return attention.read_layer(reading.Field(layer, "layer"))


@pytest.mark.parametrize("causal", [False, True])
def test_forward(causal: bool) -> None:
    rng = np.random.default_rng(2)
    for _ in range(15):
        d, M = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        layers = [{**random_layer(rng, d), "causal": causal} for _ in range(3)]
        Z = rng.standard_normal((d, M))
        found = forward.after_layers([read_layer(l) for l in layers], causal, around(Z.T), BITS)
        expected = Z
        for l in layers:
            expected = oracle.Layer.read(l)(expected)
        assert inside(expected.T, found, 1e-9)
        low, high = ends(found)
        assert (high - low).max() < 1e-12
        # wider tokens
        wide = forward.after_layer(read_layer(layers[0]), causal, around(Z.T, 0.01), BITS)
        for _ in range(10):
            assert inside(oracle.Layer.read(layers[0])(member(rng, Z, 0.01)).T, wide, 1e-9)


def test_forward_against_many_digits() -> None:
    """Width 1, in 60 digits: the enclosure is about as narrow as the precision allows, and right."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        layer = random_layer(rng, 1, 0)
        layer["mlp"] = make.mlp(1)
        p, x = (Fraction(round(t * 2**20), 2**20) for t in rng.standard_normal(2))
        tokens = Matrix(((p.numerator,), (x.numerator * p.denominator // x.denominator,)), p.denominator, 1)
        x = Fraction(tokens.rows[1][0], tokens.den)
        with mpmath.workdps(60):
            expected = oracle.fold_layer(
                layer, mpmath.mpf(p.numerator) / p.denominator, mpmath.mpf(x.numerator) / x.denominator
            )
            for bits in (40, 150):
                found = forward.after_layer(read_layer(layer), False, forward.enclosed_tokens(tokens, bits), bits)
                for row, value in zip(found, expected, strict=True):
                    assert row[0].lo <= value * 2**bits <= row[0].hi
                    assert row[0].hi - row[0].lo < 10000


def attention_in_digits(head: Json, Z: Any, causal: bool) -> Any:
    """Columns are tokens; mpmath matrices."""
    W_q, W_k, W_v, W_o = (
        mpmath.matrix([[mpmath.mpf(n) / head[name]["den"] for n in row] for row in head[name]["num"]])
        for name in ("W_q", "W_k", "W_v", "W_o")
    )
    b_q = mpmath.matrix([mpmath.mpf(n) / head["b_q"]["den"] for n in head["b_q"]["num"]])
    out = mpmath.zeros(Z.rows, Z.cols)
    for j in range(Z.cols):
        seen = range(j + 1 if causal else Z.cols)
        q = W_k.T * (W_q * Z[:, j] + b_q)
        masses = [mpmath.exp((q.T * Z[:, k])[0]) for k in seen]
        mean = sum((mass * Z[:, k] for mass, k in zip(masses, seen, strict=True)), mpmath.zeros(Z.rows, 1))
        out[:, j] = W_o * (W_v * (mean / mpmath.fsum(masses)))
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_blocks_are_the_derivative(causal: bool) -> None:
    """Central differences in 60 digits."""
    rng = np.random.default_rng(4)
    bits = 150
    for _ in range(4):
        d, M, s = (int(n) for n in rng.integers(1, 4, size=3))
        head = depth.Random(rng, scales=dict.fromkeys(("W_q", "W_k", "b_q"), 1.5)).head(d, s)
        read = attention.read_head(reading.Field(head, "head"), d)
        exact = [[depth.dyadic(x, 10) for x in row] for row in rng.standard_normal((d, M)).tolist()]
        with mpmath.workdps(60):
            Z = mpmath.matrix([[mpmath.mpf(x.numerator) / x.denominator for x in row] for row in exact])
            tokens = [[interval(float(exact[c][k]), float(exact[c][k]), bits) for c in range(d)] for k in range(M)]
            step = mpmath.mpf(10) ** -20
            for j in range(M):
                seen = tokens[: j + 1] if causal else tokens
                first = int(rng.integers(0, j + 1))
                blocks = jacobian.form(read).blocks(seen, j, first, bits)
                assert len(blocks) == len(seen) - first
                for k, block in enumerate(blocks, first):
                    for b in range(d):
                        up, down = Z.copy(), Z.copy()
                        up[b, k] += step
                        down[b, k] -= step
                        slopes = attention_in_digits(head, up, causal) - attention_in_digits(head, down, causal)
                        for c in range(d):
                            x = block[c][b]
                            assert abs(slopes[c, j] / (2 * step) - mpmath.mpf(x.lo) / 2**bits) < mpmath.mpf(10) ** -35
                            assert x.hi - x.lo < 2**20


@pytest.mark.parametrize("width", [1e-3, 0.05, 0.5, 3.0])
def test_blocks_hold_those_of_members(width: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(12):
        d, M = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        layer = random_layer(rng, d)
        read, net = read_layer(layer), oracle.Layer.read(layer)
        Z = rng.standard_normal((d, M))
        forms = [jacobian.form(head) for head in read.heads]
        found = [[form.blocks(around(Z.T, width), j, 0, BITS) for j in range(M)] for form in forms]
        for _ in range(20):
            J = np.zeros((d, M, d, M))
            point = member(rng, Z, width) if rng.integers(2) else Z + width * rng.choice([-1, 1], Z.shape)
            for head, rows in zip(net.heads, found, strict=True):
                one = oracle.Layer([head], net.W_1, net.b_1, net.W_2, net.b_2, False, None)
                J = one.jacobian(point)
                for j in range(M):
                    for k in range(M):
                        assert inside(J[:, j, :, k], rows[j][k], 1e-9)
