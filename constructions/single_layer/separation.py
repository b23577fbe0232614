"""Separation: a vector w that shows two queries to be beyond every prompt, and the search for it on given data.

Two queries with one logit vector q at some head share that head's output u on the prompt alone and the prompt's mass
s, whatever the prompt. With ``a_k = z_k − x_k`` (z_k a preimage of the target, x_k the token), B_k and S_k of the
context (:mod:`~constructions.single_layer.context`) and a vector w that no other head can reach (``w^T V_j = 0``)::

    S_k w·A_k + s w·u = (S_k + s) w·a_k,   k = 1, 2.

*Cone*: ``w·A_1 ≥ 0 ≥ w·a_1`` and ``w·A_2 ≤ 0 ≤ w·a_2`` on the preimages, one of the four strict: then w·u would be ≤
0 and ≥ 0 and not 0. *Closeness*: subtracting, ``s w·(a_1 − a_2) = w·(B_1 − B_2) − S_1 w·a_1 + S_2 w·a_2``; with ``M_1
≥ w·a_1``, ``m_2 ≤ w·a_2`` on the preimages, ``M_1 ≤ m_2`` and ``w·(B_1 − B_2) − S_1 M_1 + S_2 m_2 ≥ 0``, one of the
two strict, no s > 0 is left. For two single points closeness is complete: without such a w some s > 0 solves the
equation (docs/theory/unmemorizable-pair.md). Source: THEORY section 2 (ours; the cone argument sharpens Wang et al.
2023, Theorem 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flint import fmpq, fmpq_mat

from constructions.data import Query
from constructions.numbers import linear
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.context import HeadView
from constructions.single_layer.preimage import Piece, Preimage
from constructions.transformer import Layer

Argument = Literal["cone", "closeness"]
Row = list[fmpq]


@dataclass(frozen=True)
class Separation:
    """The vector w (d numbers) for one pair of preimage pieces, with the multipliers that bound w·a_1 from above and
    w·a_2 from below (None where the piece is the one point of an injective MLP)."""

    argument: Argument
    head: int
    w: tuple[fmpq, ...]
    multipliers: tuple[tuple[fmpq, ...] | None, tuple[fmpq, ...] | None]


@dataclass(frozen=True)
class NoSeparation:
    """Why a pair of pieces is not separated: in words, with the Farkas vector of the linear system that had no
    solution, or the prompt mass s > 0 that solves the equation."""

    reason: str
    farkas: tuple[fmpq, ...] | None = None
    mass: ExpFraction | None = None


def shared_heads(layer: Layer, first: Query, second: Query) -> list[int]:
    """The heads whose logit vector is the same at both queries."""
    tokens = RationalMatrix.of_columns([first.token, second.token])
    vectors = [head.logit_vectors(tokens) for head in layer.attention.heads]
    return [j for j, q in enumerate(vectors) if q.column(0) == q.column(1)]


def unreached_by_others(layer: Layer, head: int) -> RationalMatrix:
    """A basis (columns, d×k) of the vectors w with ``w^T V_j = 0`` for every head j except ``head``."""
    others = [h.V for j, h in enumerate(layer.attention.heads) if j != head]
    if not others:
        return RationalMatrix.identity(layer.width)
    stacked = RationalMatrix.of([row for V in others for row in V.T.rows()])
    basis = stacked.nullspace()
    return RationalMatrix.of_columns(basis) if basis else RationalMatrix.zeros(layer.width, 0)


@dataclass(frozen=True)
class Reach:
    """One side of a linear system in w: a piece with its token, bounded from above or from below."""

    piece: Piece
    token: Sequence[fmpq]
    side: Literal["upper", "lower"]


class SystemInW:
    """Linear forms over the variables (t, multipliers…) with ``w = basis t``, ``−1 ≤ t ≤ 1``: w·v for any v, and for
    each :class:`Reach` a provable bound of w·a over its piece, as rows of coefficients."""

    def __init__(self, basis: RationalMatrix, reaches: Sequence[Reach]) -> None:
        self.basis = basis
        k = basis.shape[1]
        sizes = [0 if reach.piece.is_point else len(reach.piece.problem.c) for reach in reaches]
        self.width = k + sum(sizes)
        self.constraints: list[Row] = []  # rows r with r·variables ≤ 0
        self.bounds: list[Row] = []
        start = k
        for reach, size in zip(reaches, sizes, strict=True):
            self.bounds.append(self._bound(reach, start))
            start += size

    def along(self, v: Sequence[fmpq]) -> Row:
        """The row of w·v."""
        return self.basis.T.apply(list(v)) + [fmpq(0)] * (self.width - self.basis.shape[1])

    def _bound(self, reach: Reach, start: int) -> Row:
        piece = reach.piece
        problem = piece.problem
        if piece.point is not None:
            return self.along([z - x for z, x in zip(piece.point, reach.token, strict=True)])
        assert piece.signs is not None
        sign = fmpq(1 if reach.side == "upper" else -1)
        # ±w·z = ±w·offset + f·h with f = ∓W_2^T w, and f·h ≤ λ·c; λ stands at `start`.
        form = self.along([z - x for z, x in zip(problem.offset, reach.token, strict=True)])
        for i, c in enumerate(problem.c):
            form[start + i] = sign * c
        for i, active in enumerate(piece.signs):
            if active:  # f_i ≤ (M^T λ)_i
                row = [-sign * x for x in self.along(problem.W_2.column(i))]
                for j in range(len(problem.c)):
                    row[start + j] = -problem.M[j, i]
                self.constraints.append(row)
            else:  # λ_i ≤ 0
                row = [fmpq(0)] * self.width
                row[start + i] = fmpq(1)
                self.constraints.append(row)
        return form

    def maximize(
        self, objective: Row, at_most_zero: Sequence[Row] = (), margin: Sequence[Row] = ()
    ) -> linear.Optimal | None:
        """Largest ``objective`` under the system's constraints, the rows of ``at_most_zero``, and for the rows r of
        ``margin``: ``r·variables ≤ −τ`` with τ the last variable (``objective`` has one more entry then). None when
        unbounded."""
        extra = 1 if margin else 0
        rows = [[*row, *([fmpq(0)] * extra)] for row in [*self.constraints, *at_most_zero]]
        rows += [[*row, fmpq(1)] for row in margin]
        right = [fmpq(0)] * len(rows)
        k = self.basis.shape[1]
        for i in range(k):
            for sign in (1, -1):
                rows.append([fmpq(sign * int(i == j)) for j in range(self.width + extra)])
                right.append(fmpq(1))
        G = fmpq_mat(len(rows), self.width + extra, [x for row in rows for x in row])
        answer = linear.maximize(objective, G, right)
        return answer if isinstance(answer, linear.Optimal) else None

    def vector(self, t: Sequence[fmpq]) -> Row:
        return self.basis.apply(list(t[: self.basis.shape[1]]))


@dataclass(frozen=True)
class PairOfQueries:
    """Two queries seen by one head, with everything that a separation is checked against."""

    layer: Layer
    head: int
    first: Query
    second: Query
    views: tuple[HeadView, HeadView]
    basis: RationalMatrix

    @classmethod
    def of(cls, layer: Layer, head: int, first: Query, second: Query) -> PairOfQueries:
        chosen = layer.attention.heads[head]
        views = (HeadView.of(chosen, first.token, first.context), HeadView.of(chosen, second.token, second.context))
        return cls(layer, head, first, second, views, unreached_by_others(layer, head))

    def certify(self, argument: Argument, w: Sequence[fmpq], pieces: tuple[Piece, Piece]) -> Separation | None:
        """The separation by w if all its conditions hold exactly, else None."""
        upper = pieces[0].upper(w)
        lower = pieces[1].upper([-x for x in w])
        if upper is None or lower is None:
            return None
        M_1 = upper[0] - dot(w, self.first.token)
        m_2 = -lower[0] - dot(w, self.second.token)
        along_1, along_2 = (view.sum_along(w) for view in self.views)
        if argument == "cone":
            if not (M_1 <= 0 <= m_2):
                return None
            signs = [along_1.sign(), -along_2.sign()]
            holds = min(signs) >= 0 and (max(signs) > 0 or M_1 < 0 or m_2 > 0)
        else:
            if not m_2 >= M_1:
                return None
            sign = (along_1 - along_2 - self.views[0].mass * M_1 + self.views[1].mass * m_2).sign()
            holds = sign >= 0 and (sign > 0 or m_2 > M_1)
        return Separation(argument, self.head, tuple(w), (upper[1], lower[1])) if holds else None

    def search(self, pieces: tuple[Piece, Piece]) -> Separation | NoSeparation:
        """A separation of this pair of pieces at this head: the cone first, then closeness."""
        if self.basis.shape[1] == 0:
            return NoSeparation(f"head {self.head}: the other heads reach every direction, so no w is left")
        found = self._search_cone(pieces)
        if isinstance(found, Separation):
            return found
        if pieces[0].is_point and pieces[1].is_point:
            return self._decide_points(pieces)
        return self._search_closeness(pieces)

    def _search_cone(self, pieces: tuple[Piece, Piece]) -> Separation | NoSeparation:
        system = self._system(pieces)
        (B_1, _), (B_2, _) = (view.approximate() for view in self.views)
        rows = [[-x for x in system.along(B_1)], system.along(B_2), system.bounds[0], [-x for x in system.bounds[1]]]
        return self._solve(system, rows, "cone", pieces)

    def _search_closeness(self, pieces: tuple[Piece, Piece]) -> Separation | NoSeparation:
        system = self._system(pieces)
        top = max(*self.views[0].scores, *self.views[1].scores)
        (B_1, S_1), (B_2, S_2) = (view.approximate(reference=top) for view in self.views)
        gap = [x - y for x, y in zip(system.along(B_2), system.along(B_1), strict=True)]
        gap = [g + S_1 * M - S_2 * m for g, M, m in zip(gap, *system.bounds, strict=True)]
        order = [M - m for M, m in zip(*system.bounds, strict=True)]
        return self._solve(system, [gap, order], "closeness", pieces)

    def _system(self, pieces: tuple[Piece, Piece]) -> SystemInW:
        reaches = [Reach(pieces[0], self.first.token, "upper"), Reach(pieces[1], self.second.token, "lower")]
        return SystemInW(self.basis, reaches)

    def _solve(
        self, system: SystemInW, rows: list[Row], argument: Argument, pieces: tuple[Piece, Piece]
    ) -> Separation | NoSeparation:
        """w with all ``rows ≤ 0``, strictly where possible: the largest common margin, else the largest total slack."""
        zero = [fmpq(0)] * system.width
        by_margin = system.maximize([*zero, fmpq(1)], margin=rows)
        assert by_margin is not None  # t is bounded, and so is the margin of a row without multipliers; see below
        if by_margin.value > 0:
            for t in _roundings(by_margin.point[: self.basis.shape[1]]):
                found = self.certify(argument, system.vector(t), pieces)
                if found is not None:
                    return found
        total = [-sum(column, fmpq(0)) for column in zip(*rows, strict=True)]
        by_total = system.maximize(total, at_most_zero=rows)
        if by_total is not None and by_total.value > 0:
            found = self.certify(argument, system.vector(by_total.point), pieces)
            if found is not None:
                return found
        farkas = tuple(by_margin.multipliers)
        return NoSeparation(f"head {self.head}: no w satisfies the {argument} conditions", farkas=farkas)

    def _decide_points(self, pieces: tuple[Piece, Piece]) -> Separation | NoSeparation:
        """Closeness for two points, decided exactly: ``s (a_1 − a_2) = C`` with C = (B_1 − S_1 a_1) − (B_2 − S_2
        a_2), both seen through the basis of w, has a solution s > 0 or a separating w."""
        a = []
        for piece, query in zip(pieces, (self.first, self.second), strict=True):
            assert piece.point is not None
            a.append([z - x for z, x in zip(piece.point, query.token, strict=True)])
        difference = [x - y for x, y in zip(*a, strict=True)]
        C = [
            b_1 - b_2 - self.views[0].mass * x + self.views[1].mass * y
            for b_1, b_2, x, y in zip(self.views[0].sums, self.views[1].sums, *a, strict=True)
        ]
        delta = self.basis.T.apply(difference)
        seen = [ExpSum.combination(column, C) for column in self.basis.T.rows()]
        for t in _candidates(delta, seen):
            found = self.certify("closeness", self.basis.apply(t), pieces)
            if found is not None:
                return found
        pivot = next((i for i, x in enumerate(delta) if x != 0), None)
        if pivot is None:
            return NoSeparation(
                f"head {self.head}: the shifted preimages and the contexts agree; every mass is possible"
            )
        mass = ExpFraction(seen[pivot], ExpSum.of(delta[pivot]))
        return NoSeparation(f"head {self.head}: a prompt of mass s solves both equations", mass=mass)


def _candidates(delta: Row, seen: Sequence[ExpSum]) -> Iterator[Row]:
    """Vectors t with t·delta ≤ 0 ≤ t·seen, one strict, if there are any: the part of ``seen`` across ``delta`` to a few
    precisions, else −delta, else vectors across delta that leave out no part of ``seen``, however small it is."""
    square = dot(delta, delta)
    yield [-x for x in delta]
    for bits in (24, 64, 192, 768):
        top = max((q for x in seen for q in x.terms), default=fmpq(0))
        approximate = [x.approximate(top, bits) for x in seen]
        if square == 0:
            yield approximate
        else:
            share = dot(approximate, delta) / square
            yield [x - share * y for x, y in zip(approximate, delta, strict=True)]
    pivot = next((i for i, x in enumerate(delta) if x != 0), None)
    for i in range(len(delta)):
        t = [fmpq(0)] * len(delta)
        t[i] = fmpq(1)
        if pivot is not None:
            t[i] = delta[pivot]
            t[pivot] -= delta[i]
        yield t
        yield [-x for x in t]


def _roundings(t: Sequence[fmpq]) -> Iterator[Row]:
    """t rounded to ever more bits, at last t itself: short vectors make short certificates."""
    for bits in (4, 8, 16, 32, 64, 128):
        power = fmpq(2) ** bits
        rounded = [fmpq((x * power + fmpq(1, 2)).floor()) / power for x in t]
        if any(x != 0 for x in rounded):
            yield rounded
    yield list(t)


@dataclass(frozen=True)
class Unmemorizable:
    """The proof object that no prompt meets all of ``queries`` (one or two) at once.

    ``argument``: contradictory-data, out-of-range, cone or closeness (closeness when any pair of pieces needs it).
    """

    argument: str
    queries: tuple[Query, ...]
    preimages: tuple[Preimage, ...] = ()
    pairs: tuple[tuple[Separation, ...], ...] = ()


def separate(
    layer: Layer, first: Query, second: Query, preimages: tuple[Preimage, Preimage]
) -> Unmemorizable | NoSeparation:
    """A separation for every pair of preimage pieces, over all heads that the queries share; NoSeparation (of the
    first pair that has none) otherwise."""
    heads = shared_heads(layer, first, second)
    if not heads:
        return NoSeparation("the queries have different logit vectors at every head")
    views = [PairOfQueries.of(layer, head, first, second) for head in heads]
    table = []
    for piece_1 in preimages[0].pieces:
        line = []
        for piece_2 in preimages[1].pieces:
            failed: NoSeparation | None = None
            for view in views:
                answer = view.search((piece_1, piece_2))
                if isinstance(answer, Separation):
                    line.append(answer)
                    break
                failed = answer
            else:
                assert failed is not None
                return failed
        table.append(tuple(line))
    arguments = {separation.argument for line in table for separation in line}
    argument = "cone" if arguments == {"cone"} else "closeness"
    return Unmemorizable(argument, (first, second), preimages, tuple(table))
