"""Preimages of a ReLU MLP with skip connection, as a linear complementarity problem.

``MLP(z) = z + W_2 ReLU(W_1 z + b_1) + b_2``. For a target y put ``M = I + W_1 W_2`` and ``c = W_1 (y − b_2) + b_1``.
Then MLP(z) = y exactly when ``z = y − b_2 − W_2 h`` with ``h ≥ 0``, ``M h ≥ c`` and, for each unit i, ``(M h)_i =
c_i`` (active) or ``h_i = 0`` (inactive); h is the vector of ReLU values. So the preimage is a finite union of
polyhedra, one for each activation pattern that is not empty, and a single point when M + M^T is positive definite
(which ``‖W_1‖‖W_2‖ < 1`` implies). Source: THEORY section 2, "Preimages"; the complementarity form is ours
(docs/theory/preimages.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from flint import fmpq, fmpq_mat

from constructions.numbers import linear
from constructions.numbers.definite import positive_definite_factor
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.transformer import FeedForward
from constructions.verdict import Undecided

MAX_NODES = 20_000
"""Largest number of activation-tree nodes that are explored before the preimage is given up as undecided."""


@dataclass(frozen=True)
class Complementarity:
    """The problem of one MLP and one target: ``M`` (r×r), ``c`` (r), and ``z = offset − W_2 h`` (offset = y − b_2,
    d)."""

    M: RationalMatrix
    c: tuple[fmpq, ...]
    offset: tuple[fmpq, ...]
    W_2: RationalMatrix

    @classmethod
    def of(cls, mlp: FeedForward, y: Sequence[fmpq]) -> Complementarity:
        """Raises ValueError for units other than ReLU."""
        if mlp.units is not None:
            raise ValueError("preimage: expected ReLU units, found piecewise-linear ones")
        offset = (column_vector(list(y)) - mlp.b_2).column(0)
        c = [a + b for a, b in zip(mlp.W_1.apply(offset), mlp.b_1.column(0), strict=True)]
        M = RationalMatrix(RationalMatrix.identity(mlp.hidden).mat + mlp.W_1.times(mlp.W_2).mat)
        return cls(M, tuple(c), tuple(offset), mlp.W_2)

    def preimage_point(self, h: Sequence[fmpq]) -> list[fmpq]:
        """z for ReLU values h."""
        return [a - b for a, b in zip(self.offset, self.W_2.apply(h), strict=True)]


Signs: TypeAlias = "dict[int, bool]"  # unit → active?


@dataclass(frozen=True)
class Bound:
    """``f·h ≤ value`` on a leaf, by multipliers λ: ``value = λ·c``, λ_i ≤ 0 unless unit i is active there, and
    ``f_i ≤ (M^T λ)_i`` unless it is inactive."""

    value: fmpq
    multipliers: tuple[fmpq, ...]


@dataclass(frozen=True)
class Piece:
    """One polyhedron of a preimage: the activation pattern, or the single point of an injective MLP (``signs``
    None)."""

    problem: Complementarity
    signs: tuple[bool, ...] | None
    point: tuple[fmpq, ...] | None

    @property
    def is_point(self) -> bool:
        return self.point is not None

    def upper(self, w: Sequence[fmpq]) -> tuple[fmpq, tuple[fmpq, ...] | None] | None:
        """The largest ``w·z`` over the piece, with the multipliers that prove it (None for the point of an injective
        MLP, where the value speaks for itself); None when unbounded."""
        if self.signs is None:
            assert self.point is not None
            return dot(w, self.point), None
        f = [-x for x in self.problem.W_2.T.apply(w)]
        bound = leaf_bound(self.problem, dict(enumerate(self.signs)), f)
        if bound is None:
            return None
        return dot(w, self.problem.offset) + bound.value, bound.multipliers


@dataclass(frozen=True)
class Leaf:
    """A leaf of the activation tree: a piece, or empty by Farkas multipliers (``Bound`` of f = 0 with value < 0)."""

    piece: Piece | None
    multipliers: tuple[fmpq, ...] | None


@dataclass(frozen=True)
class Branch:
    """A node of the activation tree that fixes ``unit``."""

    unit: int
    active: Tree
    inactive: Tree


Tree: TypeAlias = "Leaf | Branch"


@dataclass(frozen=True)
class Preimage:
    """All z with MLP(z) = y, with the proof: ``factor`` (M + M^T positive definite: one point) or a ``tree``."""

    problem: Complementarity
    factor: RationalMatrix | None
    tree: Tree | None
    pieces: tuple[Piece, ...]

    @property
    def is_empty(self) -> bool:
        return not self.pieces

    @cached_property
    def points(self) -> list[tuple[fmpq, ...]] | None:
        """The preimage as a list of distinct points when it is finite, None otherwise."""
        if any(piece.point is None for piece in self.pieces):
            return None
        return list(dict.fromkeys(piece.point for piece in self.pieces if piece.point is not None))


def preimage(mlp: FeedForward, y: Sequence[fmpq], max_nodes: int = MAX_NODES) -> Preimage:
    """Everything that the MLP maps to y (d numbers), with a proof that nothing is missing.

    Raises ValueError for units other than ReLU, Undecided past ``max_nodes`` nodes of the activation tree.

    >>> from constructions.numbers.rational import vector
    >>> one, zero, minus_two = (RationalMatrix.of([[x]]) for x in (1, 0, -2))
    >>> fold = FeedForward(one, zero, minus_two, zero)
    >>> preimage(fold, vector([-3])).points  # z - 2 ReLU(z) = -|z|
    [(3,), (-3,)]
    """
    problem = Complementarity.of(mlp, y)
    r = mlp.hidden
    if r > 0:
        symmetric = problem.M.mat + problem.M.mat.transpose()
        factor = positive_definite_factor(symmetric)
        if factor is not None:
            h = _solve_monotone(problem)
            point = tuple(problem.preimage_point(h))
            return Preimage(problem, RationalMatrix(factor), None, (Piece(problem, None, point),))
    budget = [max_nodes]
    tree = _explore(problem, {}, budget)
    return Preimage(problem, None, tree, tuple(leaf.piece for leaf in leaves(tree) if leaf.piece is not None))


def leaves(tree: Tree) -> Iterator[Leaf]:
    """The leaves in order, active before inactive."""
    if isinstance(tree, Leaf):
        yield tree
    else:
        yield from leaves(tree.active)
        yield from leaves(tree.inactive)


def leaf_bound(problem: Complementarity, signs: Signs, f: Sequence[fmpq]) -> Bound | None:
    """A bound ``f·h ≤ value`` on the leaf that fixes ``signs``, the least one where the leaf is not empty; None when no
    multipliers give one (f·h unbounded, or an empty leaf that only a linear program sees)."""
    direct = _square_solution(problem, signs)
    if direct is not None:
        active, inverse, _ = direct
        multipliers = [fmpq(0)] * len(problem.c)
        for i, x in zip(active, inverse.T.apply([f[i] for i in active]), strict=True):
            multipliers[i] = x
        return Bound(dot(multipliers, problem.c), tuple(multipliers))
    kept, G, h, E, e = _leaf_constraints(problem, signs)
    answer = linear.maximize([f[i] for i in kept], G, h, E, e)
    if not isinstance(answer, linear.Optimal):
        return None
    return Bound(answer.value, _kernel_multipliers(problem, signs, answer.multipliers, answer.multipliers_equalities))


def _square_solution(problem: Complementarity, signs: Signs) -> tuple[list[int], RationalMatrix, list[fmpq]] | None:
    """With every unit fixed and the active block M_AA invertible: A, M_AA^{-1} and the only candidate h_A."""
    r = len(problem.c)
    if len(signs) < r:
        return None
    active = [i for i in range(r) if signs[i]]
    block = RationalMatrix.of([[problem.M[i, j] for j in active] for i in active], columns=len(active))
    try:
        inverse = block.inverse()
    except ZeroDivisionError:
        return None
    return active, inverse, inverse.apply([problem.c[i] for i in active])


def _leaf_constraints(
    problem: Complementarity, signs: Signs
) -> tuple[list[int], fmpq_mat, list[fmpq], fmpq_mat, list[fmpq]]:
    """The leaf as ``G h ≤ g``, ``E h = e`` in the h_i that are not fixed to zero (their indices come first)."""
    r = len(problem.c)
    kept = [i for i in range(r) if signs.get(i) is not False]
    rows = [[problem.M[i, j] for j in kept] for i in range(r)]
    other = [i for i in range(r) if signs.get(i) is not True]
    active = [i for i in range(r) if signs.get(i) is True]
    G = [[-x for x in rows[i]] for i in other] + [[fmpq(-int(i == j)) for j in kept] for i in kept]
    g = [-problem.c[i] for i in other] + [fmpq(0)] * len(kept)
    width = len(kept)
    E = fmpq_mat(len(active), width, [x for i in active for x in rows[i]])
    return kept, fmpq_mat(len(G), width, [x for row in G for x in row]), g, E, [problem.c[i] for i in active]


def _kernel_multipliers(
    problem: Complementarity, signs: Signs, inequalities: Sequence[fmpq], equalities: Sequence[fmpq]
) -> tuple[fmpq, ...]:
    """LP multipliers of :func:`_leaf_constraints` as the one λ of :class:`Bound`."""
    r = len(problem.c)
    multipliers = [fmpq(0)] * r
    for i, x in zip([i for i in range(r) if signs.get(i) is not True], inequalities, strict=False):
        multipliers[i] = -x
    for i, x in zip([i for i in range(r) if signs.get(i) is True], equalities, strict=True):
        multipliers[i] = x
    return tuple(multipliers)


def _explore(problem: Complementarity, signs: Signs, budget: list[int]) -> Tree:
    """Depth-first over activation signs, cutting off what an exact LP proves empty."""
    budget[0] -= 1
    if budget[0] < 0:
        raise Undecided(
            "preimage: more activation patterns than the limit; a smaller MLP, or ‖W_1‖‖W_2‖ < 1, is needed"
        )
    r = len(problem.c)
    direct = _square_solution(problem, signs)
    if direct is not None:
        return _square_leaf(problem, signs, *direct)
    kept, G, g, E, e = _leaf_constraints(problem, signs)
    answer = linear.feasible(G, g, E, e)
    if isinstance(answer, linear.Infeasible):
        return Leaf(None, _kernel_multipliers(problem, signs, answer.farkas, answer.farkas_equalities))
    if len(signs) == r:
        return Leaf(Piece(problem, tuple(signs[i] for i in range(r)), _only_point(problem, kept, G, g, E, e)), None)
    unit = min(i for i in range(r) if i not in signs)
    return Branch(
        unit,
        _explore(problem, {**signs, unit: True}, budget),
        _explore(problem, {**signs, unit: False}, budget),
    )


def _square_leaf(
    problem: Complementarity, signs: Signs, active: list[int], inverse: RationalMatrix, values: list[fmpq]
) -> Leaf:
    """The leaf with one candidate h: a point, or empty by the first condition that the candidate breaks."""
    r = len(problem.c)
    h = [fmpq(0)] * r
    for i, x in zip(active, values, strict=True):
        h[i] = x
    multipliers = [fmpq(0)] * r

    def combine(row: Sequence[fmpq]) -> None:
        for i, x in zip(active, inverse.T.apply(row), strict=True):
            multipliers[i] = x

    for k, x in enumerate(values):
        if x < 0:  # e_k·h_A = (M_AA^{-T} e_k)·c_A is negative, yet h ≥ 0
            combine([fmpq(int(k == j)) for j in range(len(active))])
            return Leaf(None, tuple(multipliers))
    for i, x in enumerate(problem.M.apply(h)):
        if not signs[i] and x < problem.c[i]:  # (M h)_i ≥ c_i fails at the only candidate
            combine([problem.M[i, j] for j in active])
            multipliers[i] = fmpq(-1)
            return Leaf(None, tuple(multipliers))
    point = tuple(problem.preimage_point(h))
    return Leaf(Piece(problem, tuple(signs[i] for i in range(r)), point), None)


def _only_point(
    problem: Complementarity, kept: list[int], G: fmpq_mat, g: list[fmpq], E: fmpq_mat, e: list[fmpq]
) -> tuple[fmpq, ...] | None:
    """The single z of a leaf, or None when it has several (or infinitely many)."""
    for k in range(problem.W_2.shape[0]):
        f = [-problem.W_2[k, i] for i in kept]
        high = linear.maximize(f, G, g, E, e)
        low = linear.maximize([-x for x in f], G, g, E, e)
        if not (isinstance(high, linear.Optimal) and isinstance(low, linear.Optimal)) or high.value != -low.value:
            return None
    h = [fmpq(0)] * len(problem.c)
    inside = linear.feasible(G, g, E, e)
    assert isinstance(inside, linear.Feasible)
    for i, x in zip(kept, inside.point, strict=True):
        h[i] = x
    return tuple(problem.preimage_point(h))


def _solve_monotone(problem: Complementarity) -> list[fmpq]:
    """The only solution h when M + M^T is positive definite: a float guess of the active set, then exact principal
    pivoting by least index (Murty), which ends because M is a P-matrix."""
    r = len(problem.c)
    active = _guess_active(problem)
    while True:
        chosen = [i for i in range(r) if active[i]]
        block = RationalMatrix.of([[problem.M[i, j] for j in chosen] for i in chosen], columns=len(chosen))
        values = block.solve([problem.c[i] for i in chosen])
        assert values is not None  # principal blocks of a P-matrix are invertible
        h = [fmpq(0)] * r
        for i, x in zip(chosen, values, strict=True):
            h[i] = x
        rest = problem.M.apply(h)
        wrong = (i for i in range(r) if (h[i] < 0 if active[i] else rest[i] < problem.c[i]))
        first = next(wrong, None)
        if first is None:
            return h
        active[first] = not active[first]


def _guess_active(problem: Complementarity) -> list[bool]:
    """Projected Gauss-Seidel in floats; only a guess."""
    r = len(problem.c)
    try:
        M = np.array([[int(x.p) / int(x.q) for x in row] for row in problem.M.rows()])
        c = np.array([int(x.p) / int(x.q) for x in problem.c])
    except OverflowError:
        return [False] * r
    h = np.zeros(r)
    for _ in range(200):
        for i in range(r):
            h[i] = max(0.0, h[i] + (c[i] - M[i] @ h) / M[i, i])
    return [bool(x > 1e-12) for x in h]
