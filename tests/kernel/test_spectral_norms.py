"""Norm proofs: what is accepted is above the norm; Cholesky factors are accepted; large matrices take seconds."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import depth_makers as depth
import depth_oracle as oracle
import kernel_certificates as make
import numpy as np
import pytest
import reading
import spectral_norms
from limits import Refuted
from rational import Matrix, Scalar, read_matrix

Json = Any


def read(W: Any, proof: Json) -> tuple[Matrix, spectral_norms.NormProof]:
    matrix = read_matrix(reading.Field(depth.matrix(W), "W"), *W.shape)
    size = spectral_norms.gram_size(matrix)
    return matrix, spectral_norms.read_norm_proof(reading.Field(proof, "proof"), size)


def accepted(W: Any, proof: Json) -> bool:
    matrix, norm_proof = read(W, proof)
    try:
        bound = norm_proof.above_norm(matrix, "W")
    except Refuted:
        return False
    assert bound.num / bound.den >= oracle.norm(W)
    return True


SHAPES = [(1, 1), (2, 2), (1, 4), (4, 1), (3, 5), (5, 3), (6, 6), (0, 3), (3, 0)]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_subtracted(shape: tuple[int, int]) -> None:
    W = np.round(np.random.default_rng(0).standard_normal(shape) * 2**20) / 2**20
    matrix, _ = read(W, depth.norm_proof(W))
    found = spectral_norms.minus_gram(Scalar(7, 3), matrix)
    G = W @ W.T if shape[0] < shape[1] else W.T @ W
    assert found.width == len(found.rows) == min(shape)
    if min(shape):
        assert np.allclose(np.array(found.rows, float) / found.den, 7 / 3 * np.eye(min(shape)) - G)


@pytest.mark.parametrize("shape", SHAPES)
def test_sound_and_usable(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        W = np.round(rng.standard_normal(shape) * 2**20) / 2**20
        assert accepted(W, depth.norm_proof(W))
        norm = oracle.norm(W)
        for factor in (0.5, 0.9, 0.999999):
            if norm:
                assert not accepted(W, depth.norm_proof(W, depth.dyadic(norm * factor)))
                bad = depth.norm_proof(W)
                bad["bound"] = make.scalar(depth.dyadic(norm * factor))
                assert not accepted(W, bad)


def test_boundary() -> None:
    """The norm itself is not above the norm; the sign of the bound is not forgotten in its square."""
    W, zero = np.diag([1.0, 0.5]), make.matrix([[0, 0], [0, 0]])
    for bound, expected in ((1, False), (1 + Fraction(1, 2**100), True), (-2, False), (0, False)):
        assert accepted(W, {"bound": make.scalar(bound), "factor": zero}) is expected
    for bound, expected in ((0, True), (3, True), (Fraction(-1, 2**100), False)):
        assert accepted(W * 0, {"bound": make.scalar(bound), "factor": None}) is expected
    assert not accepted(W * 0, {"bound": make.scalar(0), "factor": zero})
    assert not accepted(W, {"bound": make.scalar(3), "factor": None})


def test_large() -> None:
    W = np.random.default_rng(2).standard_normal((120, 120))
    proof = depth.norm_proof(W, bits=60)
    start = time.monotonic()
    assert accepted(W, proof)
    assert time.monotonic() - start < 10
