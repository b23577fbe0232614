"""Independent contributions: n queries that a prompt must serve by n independent vectors, whatever weights it takes.

At query k a prompt leaves the weight ``λ_jk ∈ (0, 1)`` of head j on the context, so it contributes ``a_k − Σ_j λ_jk
A_jk``. If these vectors are linearly independent for every λ, m tokens need ``Σ_j min(m, s_j) ≥ n``. Shown by rows r_i
(a leaf) for which the matrix ``r_i·(a_k − Σ_j λ_jk A_jk)`` is strictly diagonally dominant on a box of λ, after scaling
its columns; boxes are cut until all are shown. Source: THEORY section 4; proofs in docs/theory/prompt-length.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import mul
from typing import TypeAlias

import flint
import numpy as np
from flint import fmpq
from numpy.typing import NDArray

from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.context import HeadView
from constructions.verdict import Undecided

Row = list[fmpq]
Floats = NDArray[np.float64]
Box: TypeAlias = "tuple[tuple[fmpq, fmpq], ...]"
MAX_NODES = 500


@dataclass(frozen=True)
class DominantRows:
    """A leaf: rows r_i (n×d) and the weights of the columns."""

    rows: RationalMatrix
    weights: tuple[fmpq, ...]


@dataclass(frozen=True)
class LambdaCut:
    """A node: the box is cut at λ number ``pair`` = k·h + j."""

    pair: int
    at: fmpq
    below: IndependenceTree
    above: IndependenceTree


IndependenceTree: TypeAlias = "DominantRows | LambdaCut"


@dataclass(frozen=True)
class Contribution:
    """What one query asks of a prompt: ``outputs`` a_k, exact, and what the h heads see of its context."""

    output: tuple[ExpFraction, ...]
    views: tuple[HeadView, ...]

    @classmethod
    def rational(cls, output: Sequence[fmpq], views: Sequence[HeadView]) -> Contribution:
        one = ExpSum.of(1)
        return cls(tuple(ExpFraction(ExpSum.of(x), one) for x in output), tuple(views))

    @cached_property
    def scaled(self) -> tuple[list[ExpSum], list[list[ExpSum]]]:
        """``T a`` and ``(T / S_j) B_j`` for each head j, T > 0 the product of all denominators."""
        own = self.output[0].denominator
        masses = [view.mass for view in self.views]
        T_over_own = reduce(mul, masses, ExpSum.of(1))
        a = []
        for x in self.output:
            if x.denominator != own:
                raise ValueError("outputs: expected one denominator for all entries")
            a.append(x.numerator * T_over_own)
        rest = []
        for j, view in enumerate(self.views):
            factor = reduce(mul, (mass for k, mass in enumerate(masses) if k != j), own)
            rest.append([b * factor for b in view.sums])
        return a, rest

    @cached_property
    def floats(self) -> tuple[Floats, Floats, float]:
        """a (d), the A_j (h×d), and log T, in floats."""
        with flint.ctx.workprec(128):
            a = np.array([float(midpoint(x.enclosure())) for x in self.output])
            A = np.array([[float(midpoint(b.enclosure() / v.mass.enclosure())) for b in v.sums] for v in self.views])
            scale = self.output[0].denominator.enclosure().log()
            for view in self.views:
                scale += view.mass.enclosure().log()
        return a, A, float(midpoint(scale))


class Independence:
    """The search for a tree, for n queries of one width d."""

    def __init__(self, queries: Sequence[Contribution], max_nodes: int = MAX_NODES) -> None:
        self.queries = list(queries)
        self.n, self.h = len(self.queries), len(self.queries[0].views)
        self.budget = max_nodes
        top = max(query.floats[2] for query in self.queries)
        gaps = [min(60.0, top - query.floats[2]) for query in self.queries]
        self.weights = [fmpq(round(float(np.exp(gap)) * 256), 256) for gap in gaps]

    def run(self) -> IndependenceTree | None:
        """A tree for the whole cube, or None when none was found."""
        if self._changes_sign():
            return None
        try:
            return self._explore(((fmpq(0), fmpq(1)),) * (self.n * self.h), 0)
        except Undecided:
            return None

    def contributions(self, box: Box) -> Floats:
        """The vectors at the centre of a box, as rows (n×d)."""
        found = []
        for k, query in enumerate(self.queries):
            a, A, _ = query.floats
            lam = [float((low + high) / 2) for low, high in box[k * self.h : (k + 1) * self.h]]
            found.append(a - np.array(lam) @ A)
        return np.array(found)

    def _changes_sign(self) -> bool:
        """Whether samples show determinants of both signs (n = d): somewhere between them the vectors are dependent."""
        if self.n != len(self.queries[0].output):
            return False
        rng = np.random.default_rng(0)
        seen = set()
        for _ in range(200):
            lam = rng.beta(0.3, 0.3, size=(self.n, self.h))
            vectors = np.array([q.floats[0] - row @ q.floats[1] for q, row in zip(self.queries, lam, strict=True)])
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
            det = float(np.linalg.det(vectors))
            if abs(det) > 1e-9:
                seen.add(det > 0)
        return len(seen) == 2

    def _explore(self, box: Box, depth: int) -> IndependenceTree:
        self.budget -= 1
        if self.budget < 0 or depth > 60:
            raise Undecided("independence: more boxes than the limit")
        for rows in self._candidates(box):
            if self.dominant(rows, self.weights, box):
                return DominantRows(rows, tuple(self.weights))
        pair = self._widest(box)
        low, high = box[pair]
        at = (low + high) / 2
        below = self._explore((*box[:pair], (low, at), *box[pair + 1 :]), depth + 1)
        above = self._explore((*box[:pair], (at, high), *box[pair + 1 :]), depth + 1)
        return LambdaCut(pair, at, below, above)

    @cached_property
    def _exact_dual(self) -> RationalMatrix | None:
        """Rows dual to the outputs; a query whose output is zero goes by what its context gives, turned around."""
        directions: list[Row] = []
        for query in self.queries:
            rational = [x.as_rational() for x in query.output]
            row = [x for x in rational if x is not None]
            if len(row) < len(rational) or not any(row):
                a, rest = query.scaled
                along = next((_direction(each) for each in (a, *rest) if not all(x.is_zero for x in each)), None)
                if along is None:
                    return None
                row = along if any(not x.is_zero for x in a) else [-x for x in along]
            directions.append(row)
        matrix = RationalMatrix.of(directions)
        gram = matrix.times(matrix.T)
        return gram.inverse().times(matrix) if gram.rank() == self.n else None

    def _candidates(self, box: Box) -> list[RationalMatrix]:
        """Rows dual to the vectors: exactly, where their directions are rational; and at the centre, rounded."""
        found = [] if self._exact_dual is None else [self._exact_dual]
        centre = self.contributions(box)
        size = np.linalg.norm(centre, axis=1)
        if np.linalg.matrix_rank(centre / np.maximum(size, 1e-300)[:, None], tol=1e-9) < self.n:
            if found:
                return found
            raise Undecided("independence: the contributions are dependent at the centre of a box")
        dual = np.linalg.pinv(centre).T
        scale = np.abs(dual).max()
        found.append(RationalMatrix.of([[fmpq(round(float(x / scale) * 2**24), 2**24) for x in row] for row in dual]))
        return found

    def dominant(self, rows: RationalMatrix, weights: Sequence[fmpq], box: Box) -> bool:
        """Whether the rows show independence on the box (within the open cube), decided exactly."""
        if not self._plausible(rows, box):
            return False
        for i in range(self.n):
            r = rows.rows()[i]
            low, _, open_end, constant = self._range(r, i, box)
            rest = ExpSum.of(0)
            for k in range(self.n):
                if k != i:
                    lo, hi, _, _ = self._range(r, k, box)
                    largest = hi if (hi + lo).sign() >= 0 else -lo
                    rest = rest + largest * weights[k]
            sign = (low * weights[i] - rest).sign()
            if sign > 0:
                continue
            if not (sign == 0 and rest.is_zero and open_end and not constant):
                return False
        return True

    def _range(self, r: Row, k: int, box: Box) -> tuple[ExpSum, ExpSum, bool, bool]:
        """Smallest and largest ``r·(T_k a_k − Σ_j λ_jk (T_k/S_jk) B_jk)`` on the box; whether the smallest is taken at
        an end 0 or 1 of some λ only; whether it is constant."""
        a, rest = self.queries[k].scaled
        base = ExpSum.combination(r, a)
        low = high = base
        open_end, constant = False, True
        for j in range(self.h):
            b = ExpSum.combination(r, rest[j])
            sign = b.sign()
            if sign == 0:
                continue
            constant = False
            first, last = box[k * self.h + j]
            small, large = (last, first) if sign > 0 else (first, last)
            low = low - b * small
            high = high - b * large
            open_end = open_end or small in (0, 1)
        return low, high, open_end, constant

    def _plausible(self, rows: RationalMatrix, box: Box) -> bool:
        """The same condition in floats, with some slack: exact signs are expensive."""
        R = np.array([[float(x) for x in row] for row in rows.rows()])
        size = np.zeros((self.n, self.n))
        least = np.zeros(self.n)
        for k, query in enumerate(self.queries):
            a, A, scale = query.floats
            lam = np.array([[float(x) for x in side] for side in box[k * self.h : (k + 1) * self.h]])
            base, terms = R @ a, R @ A.T
            ends = np.stack([terms * lam[:, 0], terms * lam[:, 1]])
            low, high = base - ends.max(axis=0).sum(axis=1), base - ends.min(axis=0).sum(axis=1)
            factor = float(self.weights[k]) * np.exp(scale - max(q.floats[2] for q in self.queries))
            size[:, k] = np.maximum(np.abs(low), np.abs(high)) * factor
            least[k] = low[k] * factor
        others = size.sum(axis=1) - np.diag(size)
        return bool((least - others > -1e-9 * (1 + np.abs(least) + others)).all())

    def _widest(self, box: Box) -> int:
        """The λ whose interval moves the contributions most."""
        moves = []
        for k, query in enumerate(self.queries):
            _, A, _ = query.floats
            for j in range(self.h):
                low, high = box[k * self.h + j]
                moves.append(float(high - low) * float(np.linalg.norm(A[j])) / (1e-9 + np.linalg.norm(query.floats[0])))
        return int(np.argmax(moves))


def _direction(values: Sequence[ExpSum]) -> Row | None:
    """Rationals to which the values are proportional with a positive factor, if there are any."""
    first = next(x for x in values if not x.is_zero)
    exponent, top = next(iter(first.terms.items()))
    ratios = [x.terms.get(exponent, fmpq(0)) / top for x in values]
    if any(first * ratio != x for ratio, x in zip(ratios, values, strict=True)):
        return None
    return ratios if first.sign() > 0 else [-x for x in ratios]
