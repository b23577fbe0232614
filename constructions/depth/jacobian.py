"""The derivative of attention: at a point in one direction, exactly enclosed; over a box; and in floats, for searches.

With ``q_j = W_k^T (W_q z_j + b_q)``, weights ``s_jk ∝ e^{q_j·z_k}`` over the tokens that j sees and their mean
``z̄_j = Σ_k s_jk z_k``, a head's output at token j has the derivative blocks (d×d)

    J_jk = W_o W_v ( s_jk (I + (z_k − z̄_j) q_j^T) + [j = k] C_j W_k^T W_q ),   C_j = Σ_i s_ji (z_i − z̄_j) z_i^T.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from flint import arb, arb_mat, fmpq

from constructions.depth.constants import Kind, Norm, Region
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, Head

Floats = npt.NDArray[np.float64]


def columns_that_count(region: Region, kind: Kind) -> range:
    """The tokens that vary and whose outputs count: all, or the input tokens."""
    return range(0 if kind == "joint" else region.prompt_length, region.length)


def blocks(attention: Attention, Z: arb_mat) -> list[list[arb_mat]]:
    """The blocks J_jk (d×d) of all heads together, for every matrix of tokens in the balls Z (d×M)."""
    d, M = Z.nrows(), Z.ncols()
    tokens = [arb_mat(d, 1, [Z[c, j] for c in range(d)]) for j in range(M)]
    found = [[arb_mat(d, d) for _ in range(M)] for _ in range(M)]
    for head in attention.heads:
        V, A = (arb_mat(matrix.mat) for matrix in (head.V, head.bilinear))
        bias = arb_mat(head.W_k.T.times(head.b_q).mat)
        for j in range(M):
            seen = j + 1 if attention.causal else M
            for k, block in enumerate(_head_blocks(V, A, bias, tokens[:seen], j)):
                found[j][k] = found[j][k] + block
    return found


def _head_blocks(V: arb_mat, A: arb_mat, bias: arb_mat, tokens: Sequence[arb_mat], j: int) -> list[arb_mat]:
    d = V.nrows()
    one = arb_mat(d, d, [int(a == b) for a in range(d) for b in range(d)])
    q = A * tokens[j] + bias
    row = q.transpose()
    weights = []
    for z in tokens:  # s_k = 1 / Σ_i e^{q·(z_i − z_k)}: each difference is enclosed once
        weights.append(1 / sum(((row * (other - z))[0, 0].exp() for other in tokens), arb(0)))
    mean = sum((z * s for z, s in zip(tokens, weights, strict=True)), arb_mat(d, 1))
    spread = sum(((z - mean) * z.transpose() * s for z, s in zip(tokens, weights, strict=True)), arb_mat(d, d))
    found = [V * ((one + (z - mean) * row) * s) for z, s in zip(tokens, weights, strict=True)]
    found[j] = found[j] + V * spread * A
    return found


def derivative(attention: Attention, Z: RationalMatrix, direction: RationalMatrix) -> arb_mat:
    """The derivative of ``Att(Z, Z)`` at Z in a direction (both d×M), enclosed at the current precision: d×M.

    >>> from constructions.depth.constants import one_head
    >>> layer = one_head(*[RationalMatrix.of([[1]])] * 3)
    >>> float(derivative(layer.attention, RationalMatrix.of([[1, 1]]), RationalMatrix.of([[2, 4]]))[0, 1])
    3.0
    """
    rows = blocks(attention, arb_mat(Z.mat))
    d, M = Z.shape
    columns = [arb_mat(RationalMatrix.of([[x] for x in direction.column(k)]).mat) for k in range(M)]
    found = arb_mat(d, M)
    for j, row in enumerate(rows):
        column = sum((block * x for block, x in zip(row, columns, strict=True)), arb_mat(d, 1))
        for c in range(d):
            found[c, j] = column[c, 0]
    return found


def float_blocks(heads: Sequence[Head], causal: bool, Z: Floats) -> Floats:
    """The blocks at a point in floats: an array [j, k, row, column]. For searches; decides nothing."""
    return FloatAttention(heads, causal).blocks(Z)


class FloatAttention:
    """The weights of an attention in floats, converted once."""

    def __init__(self, heads: Sequence[Head], causal: bool) -> None:
        self.weights = [
            (_floats(head.V), _floats(head.bilinear), _floats(head.W_k.T.times(head.b_q))[:, 0]) for head in heads
        ]
        self.causal = causal

    def blocks(self, Z: Floats) -> Floats:
        """J[j, k] (d×d) at the tokens Z (d×M)."""
        d, M = Z.shape
        total = np.zeros((M, M, d, d))
        for V, A, bias in self.weights:
            Q = A @ Z + bias[:, None]
            scores = Q.T @ Z
            if self.causal:
                scores = np.where(np.tril(np.ones((M, M), dtype=bool)), scores, -np.inf)
            S = np.exp(scores - scores.max(axis=1, keepdims=True))
            S /= S.sum(axis=1, keepdims=True)
            mean = S @ Z.T  # [j, c]
            centred = Z.T[None, :, :] - mean[:, None, :]  # [j, k, c]
            inner = S[:, :, None, None] * (np.eye(d) + centred[:, :, :, None] * Q.T[:, None, None, :])
            spread = np.einsum("jk,jkc,kb->jcb", S, centred, Z.T) @ A
            inner[np.arange(M), np.arange(M)] += spread
            total += V @ inner
        return total

    def outputs(self, Z: Floats) -> Floats:
        """Att(Z, Z) in floats, d×M."""
        total = np.zeros_like(Z)
        for V, A, bias in self.weights:
            scores = (A @ Z + bias[:, None]).T @ Z
            if self.causal:
                scores = np.where(np.tril(np.ones(scores.shape, dtype=bool)), scores, -np.inf)
            S = np.exp(scores - scores.max(axis=1, keepdims=True))
            S /= S.sum(axis=1, keepdims=True)
            total += V @ Z @ S.T
        return total


def _floats(matrix: RationalMatrix) -> Floats:
    return np.array([[float(x) for x in row] for row in matrix.rows()]).reshape(matrix.shape)


def square_length(column: Sequence[arb]) -> arb:
    """The squared Euclidean length of a vector of balls."""
    return sum((x * x for x in column), arb(0))


def slope(
    attention: Attention, Z: RationalMatrix, direction: RationalMatrix, region: Region, norm: Norm, kind: Kind
) -> arb:
    """How much attention stretches this direction at Z: ``|δ|² / |direction|²`` in the norm, enclosed."""
    delta = derivative(attention, Z, direction)
    outputs = [square_length([delta[c, j] for c in range(Z.shape[0])]) for j in columns_that_count(region, kind)]
    lengths = [sum((x * x for x in direction.column(k)), fmpq(0)) for k in range(region.length)]
    if norm == "frobenius":
        return sum(outputs, arb(0)) / arb(sum(lengths, fmpq(0)))
    return max(outputs, key=lambda ball: float(ball.mid())) / arb(max(lengths))
