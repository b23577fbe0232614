"""How tight is a Lipschitz constant of attention? A steep direction from below, a cover of boxes from above.

From below: a search in floats climbs to a point of the region and a direction that attention stretches much; both are
rounded to rationals, and what the derivative does there is enclosed. From above: on a small box the derivative's blocks
are enclosed, and the box is halved until the bound is near what is found inside.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from typing import Any

import flint
import numpy as np
from flint import arb, arb_mat, fmpq

from constructions.depth.constants import Kind, Norm, Region
from constructions.depth.jacobian import FloatAttention, Floats, blocks, columns_that_count, slope
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import above, below, root_above, root_below
from constructions.transformer import Attention, Layer
from constructions.verdict import Undecided

MAX_LEAVES = 600
ROUNDING = 30
"""Bits after the point to which a point found in floats is rounded."""
PRECISION = 128
ROOM = fmpq(1, 2**40)
"""Relative room between a bound in balls and the one that is stated, for another arithmetic to confirm it."""


@dataclass(frozen=True)
class Steep:
    """At Z, in this direction, attention stretches by at least ``bound``: proved by an enclosure."""

    Z: RationalMatrix
    direction: RationalMatrix
    bound: fmpq


def steep(
    layer: Layer, region: Region, norm: Norm, kind: Kind, *, seed: int = 0, starts: int = 4, steps: int = 400
) -> Steep:
    """A lower bound of the least Lipschitz constant on the region, with its witness.

    Every start is a random matrix of tokens on the boundary or inside; each step changes it at random and keeps what
    is better. Raises ValueError for a radius of 0 (nothing varies).
    """
    if region.input_radius == 0 or (region.prompt_length and region.prompt_radius == 0):
        raise ValueError("radii: expected positive ones, found 0")
    rng = np.random.default_rng(seed)
    attention = FloatAttention(layer.attention.heads, layer.attention.causal)
    counted = columns_that_count(region, kind)
    radii = np.array(
        [float(region.prompt_radius)] * region.prompt_length + [float(region.input_radius)] * region.input_length
    )
    best, found = -1.0, (np.zeros((layer.width, region.length)),) * 2
    for _ in range(starts):
        Z = _inside(rng.normal(size=(layer.width, region.length)) * radii, radii)
        value, direction = climbed(attention.blocks(Z), counted, norm, rng)
        size = 0.5
        for _ in range(steps):
            trial = _inside(Z + size * radii * rng.normal(size=Z.shape), radii)
            new, where = climbed(attention.blocks(trial), counted, norm, rng)
            if new > value:
                Z, value, direction, size = trial, new, where, size * 1.5
            else:
                size = max(size * 0.9, 1e-4)
        if value > best:
            best, found = value, (Z, direction)
    Z_exact = _rounded(found[0] * (1 - 2.0**-20))
    direction_exact = _rounded(found[1] / max(float(np.abs(found[1]).max()), 1e-300))
    with flint.ctx.workprec(PRECISION):
        ratio = slope(layer.attention, Z_exact, direction_exact, region, norm, kind)
    lowest = midpoint(ratio.lower()) if ratio.is_finite() else fmpq(0)
    return Steep(Z_exact, direction_exact, below(root_below(max(lowest, fmpq(0))) * (1 - fmpq(1, 2**30)), 40))


def _inside(Z: Floats, radii: Floats) -> Floats:
    lengths = np.linalg.norm(Z, axis=0)
    inside: Floats = Z * np.minimum(1.0, radii / np.maximum(lengths, 1e-300))
    return inside


def _rounded(Z: Floats) -> RationalMatrix:
    return RationalMatrix.of([[fmpq(int(round(x * 2**ROUNDING)), 2**ROUNDING) for x in row] for row in Z.tolist()])


def climbed(J: Floats, counted: range, norm: Norm, rng: Any) -> tuple[float, Floats]:
    """The norm of the blocks in floats (for ``max`` a good lower bound of it), and a direction d×M that reaches it."""
    M, d = J.shape[0], J.shape[2]
    direction = np.zeros((d, M))
    part = J[counted.start :, counted.start :]
    n = len(counted)
    if norm == "frobenius":
        flat = part.transpose(0, 2, 1, 3).reshape(n * d, n * d)
        _, values, right = np.linalg.svd(flat)
        direction[:, counted.start :] = right[0].reshape(n, d).T
        return float(values[0]), direction
    # the largest token: |Σ_k J_jk x_k| over |x_k| ≤ 1 is max_u Σ_k |J_jk^T u|, climbed in u
    u = part.sum(axis=1) @ np.ones(d) + 1e-9 * rng.normal(size=(n, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True) + 1e-300
    for _ in range(12):
        images = np.einsum("jkab,ja->jkb", part, u)
        images /= np.linalg.norm(images, axis=2, keepdims=True) + 1e-300
        u = np.einsum("jkab,jkb->ja", part, images)
        lengths = np.linalg.norm(u, axis=1)
        u /= lengths[:, None] + 1e-300
    j = int(np.argmax(lengths))
    direction[:, counted.start :] = images[j].T
    return float(lengths[j]), direction


@dataclass(frozen=True)
class BoxCover:
    """On the box around the tokens (entries within ``half_width``) attention has a constant of at most ``bound``.

    ``tree`` is ``"leaf"`` or a split of one coordinate, as the certificate writes it.
    """

    layer: Layer
    Z: RationalMatrix
    half_width: fmpq
    norm: Norm
    kind: Kind
    prompt_length: int
    bound: fmpq
    tree: Any
    leaves: int


def box_cover(
    layer: Layer,
    Z: RationalMatrix,
    half_width: fmpq,
    norm: Norm,
    kind: Kind,
    prompt_length: int,
    *,
    target: fmpq | None = None,
    max_leaves: int = MAX_LEAVES,
) -> BoxCover:
    """A certified upper bound of attention's Lipschitz constant on a box, by halving.

    Stops at ``target`` (if given), at ``max_leaves`` leaves, or where the bound is within 1% of the value at the centre
    of the worst leaf. Raises Undecided when a target is given and not reached.
    """
    d, M = Z.shape
    counted = range(0 if kind == "joint" else prompt_length, M)
    center, sizes = [Z[c, j] for j in range(M) for c in range(d)], [half_width] * (d * M)
    root: dict[str, Any] = {}
    ticket = count()
    first = _bound(layer.attention, center, sizes, counted, norm, d)
    heap = [(-first, next(ticket), center, sizes, root, 0)]
    leaves = 1
    while True:
        worst, _, center, sizes, node, depth = heap[0]
        inside = _bound(layer.attention, center, [fmpq(0)] * len(sizes), counted, norm, d)
        reached = -worst <= target if target is not None else -worst <= inside * fmpq(101, 100)
        if reached or leaves >= max_leaves:
            break
        heapq.heappop(heap)
        k = depth % len(sizes)
        node["split"] = k
        for name, sign in (("below", -1), ("above", 1)):
            half, moved = list(sizes), list(center)
            half[k] /= 2
            moved[k] += sign * half[k]
            child: dict[str, Any] = {}
            node[name] = child
            heapq.heappush(
                heap,
                (-_bound(layer.attention, moved, half, counted, norm, d), next(ticket), moved, half, child, depth + 1),
            )
        leaves += 1
    found = above(-heap[0][0] * (1 + ROOM), 64)
    if target is not None and found > target * (1 + 4 * ROOM):
        raise Undecided(f"the box: no bound of {float(target):.6g} with {leaves} leaves")
    return BoxCover(layer, Z, half_width, norm, kind, prompt_length, found, _plain(root), leaves)


def _plain(node: dict[str, Any]) -> Any:
    if not node:
        return "leaf"
    return {"split": node["split"], "below": _plain(node["below"]), "above": _plain(node["above"])}


def _bound(attention: Attention, center: list[fmpq], sizes: list[fmpq], counted: range, norm: Norm, d: int) -> fmpq:
    with flint.ctx.workprec(PRECISION):
        return _bound_now(attention, center, sizes, counted, norm, d)


def _bound_now(attention: Attention, center: list[fmpq], sizes: list[fmpq], counted: range, norm: Norm, d: int) -> fmpq:
    M = len(center) // d
    Z = arb_mat(d, M, [_ball(center[c + d * j], sizes[c + d * j]) for c in range(d) for j in range(M)])
    rows = blocks(attention, Z)
    if norm == "max":
        return max(sum((norm_above(rows[j][k]) for k in counted), fmpq(0)) for j in counted)
    size = d * len(counted)
    whole = arb_mat(
        size, size, [rows[j][k][a, b] for j in counted for a in range(d) for k in counted for b in range(d)]
    )
    return norm_above(whole)


def _ball(center: fmpq, size: fmpq) -> arb:
    ball = arb(center)
    return arb(ball.mid(), arb(ball.rad()) + arb(size).upper()) if size != 0 else ball


def norm_above(B: arb_mat) -> fmpq:
    """An upper bound on the spectral norm of every matrix in the balls B: the 16th root of ‖G^8‖_F, G = B^T B.

    At most n^{1/32} times too large for a point matrix of rank n. Raises Undecided where the balls lost all bounds.

    >>> float(norm_above(arb_mat([[1, 1], [1, 1]])))
    2.0
    """
    if B.nrows() == B.ncols() == 1:
        size = B[0, 0].abs_upper()
        if not size.is_finite():
            raise Undecided("the derivative is not bounded on a box")
        return midpoint(size)
    G = B.transpose() * B
    for _ in range(3):
        G = G * G
    square = sum((x * x for x in G.entries()), arb(0))
    if not square.is_finite():
        raise Undecided("the derivative is not bounded on a box")
    root = midpoint(square.upper())
    for _ in range(5):
        root = root_above(root)
    return root
