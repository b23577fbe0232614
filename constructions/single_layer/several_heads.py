"""Several heads, or heads smaller than the width: every query at every head.

A *pair* α = (i, j) is a query i and a head j, numbered i·h + j; q_α is its logit vector, V_j = W_o^j W_v^j, K_j = ker
V_j. Pairs with equal logit vectors form a group: a prompt has one mass e^{σ_g} and one mean p̄_g at each. If head j is
to give o_α to query i, the prompt does it iff ``V_j p̄_g = o_α − C_α e^{−σ_g}`` with ``C_α = B_α − S_α o_α``; and query
i is met iff its heads' outputs add up to its shifted preimage a_i. Source: THEORY section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from flint import fmpq

from constructions.data import Query
from constructions.numbers.exponential import ExpSum
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.context import HeadView
from constructions.single_layer.loss_problem import MAX_COMBINATIONS
from constructions.single_layer.preimage import Preimage
from constructions.transformer import Head, Layer
from constructions.verdict import Undecided

Row = list[fmpq]


@dataclass(frozen=True)
class HeadPairs:
    """All pairs of n distinct tokens (d×n, the columns) and the h heads of a layer.

    >>> I = RationalMatrix.identity(2)
    >>> pairs = HeadPairs.of([Head(I, I, I), Head(I.scaled(2), I, I)], RationalMatrix.of([[1, 0], [0, 1]]))
    >>> [[int(x) for x in q] for q in pairs.q]
    [[1, 0], [2, 0], [0, 1], [0, 2]]
    """

    heads: tuple[Head, ...]
    q: tuple[tuple[fmpq, ...], ...]

    @classmethod
    def of(cls, heads: Sequence[Head], tokens: RationalMatrix) -> HeadPairs:
        vectors = [head.logit_vectors(tokens) for head in heads]
        q = [tuple(found.column(i)) for i in range(tokens.shape[1]) for found in vectors]
        return cls(tuple(heads), tuple(q))

    @property
    def width(self) -> int:
        return self.heads[0].width

    def __len__(self) -> int:
        return len(self.q)

    def head(self, pair: int) -> int:
        """The number j of the head of a pair."""
        return pair % len(self.heads)

    @cached_property
    def V(self) -> list[RationalMatrix]:
        """V_j of each head, d×d."""
        return [head.V for head in self.heads]

    @cached_property
    def kernels(self) -> list[RationalMatrix]:
        """A basis of K_j for each head, as the columns of a d×dim K_j matrix."""
        found = []
        for V in self.V:
            basis = V.nullspace()
            found.append(RationalMatrix.of_columns(basis) if basis else RationalMatrix.zeros(self.width, 0))
        return found

    @cached_property
    def groups(self) -> list[list[int]]:
        """The pairs of each logit vector, in order of first appearance."""
        found: dict[tuple[fmpq, ...], list[int]] = {}
        for pair, q in enumerate(self.q):
            found.setdefault(q, []).append(pair)
        return list(found.values())

    @property
    def distinct(self) -> bool:
        """Whether no two pairs share a logit vector."""
        return len(self.groups) == len(self)

    @cached_property
    def projections(self) -> list[RationalMatrix] | None:
        """L_j with ``L_j V_j = V_j`` and ``L_j V_k = 0`` for the other heads: they recover what each head contributes
        to a sum of outputs. None where heads overlap, so that outputs do not determine the contributions."""
        bases = [range_basis(V) for V in self.V]
        stacked = bases[0]
        for basis in bases[1:]:
            stacked = stacked.hstack(basis)
        columns = stacked.shape[1]
        if stacked.rank() < columns:
            return None
        if columns == 0:
            return [RationalMatrix.zeros(self.width, self.width) for _ in bases]
        left = stacked.T.times(stacked).inverse().times(stacked.T)
        found, start = [], 0
        for basis in bases:
            size = basis.shape[1]
            block = RationalMatrix.of(left.rows()[start : start + size], columns=self.width)
            found.append(basis.times(block))
            start += size
        return found


def pivot_columns(M: RationalMatrix) -> list[int]:
    """Numbers of columns of M that are a basis of its range."""
    if 0 in M.shape:
        return []
    reduced, rank = M.mat.rref()
    return [next(c for c in range(M.shape[1]) if reduced[i, c] != 0) for i in range(rank)]


def range_basis(V: RationalMatrix) -> RationalMatrix:
    """Columns of V that are a basis of its range."""
    pivots = pivot_columns(V)
    return RationalMatrix.of_columns([V.column(c) for c in pivots]) if pivots else RationalMatrix.zeros(V.shape[0], 0)


@dataclass(frozen=True)
class SeveralHeads:
    """A dataset of one layer, seen pair by pair: the different queries and all preimage points of their targets."""

    layer: Layer
    queries: tuple[Query, ...]
    preimages: tuple[Preimage, ...]

    @classmethod
    def of(cls, layer: Layer, queries: Sequence[Query], preimages: Sequence[Preimage]) -> SeveralHeads:
        """Queries that are asked twice are taken once. Raises Undecided for preimages that are not finite, and for more
        than 4096 combinations of them."""
        kept: list[Query] = []
        found: list[Preimage] = []
        seen = set()
        count = 1
        for query, preimage in zip(queries, preimages, strict=True):
            key = (tuple(query.token), query.context, query.target)
            if key in seen:
                continue
            seen.add(key)
            if preimage.points is None:
                raise Undecided(f"{query}: infinitely many preimages of the target")
            count *= len(preimage.pieces)
            kept.append(query)
            found.append(preimage)
        if count > MAX_COMBINATIONS:
            raise Undecided(f"more than {MAX_COMBINATIONS} combinations of preimages")
        return cls(layer, tuple(kept), tuple(found))

    @cached_property
    def pairs(self) -> HeadPairs:
        tokens = RationalMatrix.of_columns([query.token for query in self.queries])
        return HeadPairs.of(self.layer.attention.heads, tokens)

    @cached_property
    def views(self) -> list[HeadView]:
        """What the head of each pair sees of the query's context."""
        heads = self.layer.attention.heads
        return [HeadView.of(head, query.token, query.context) for query in self.queries for head in heads]

    def combinations(self) -> list[tuple[int, ...]]:
        """One preimage for each query, the last query's choice running fastest."""
        return list(product(*[range(len(preimage.pieces)) for preimage in self.preimages]))

    def points(self, choice: Sequence[int]) -> list[Row]:
        """The chosen preimages z_i."""
        found = []
        for preimage, k in zip(self.preimages, choice, strict=True):
            point = preimage.pieces[k].point
            assert point is not None
            found.append(list(point))
        return found

    def shifted(self, choice: Sequence[int]) -> list[Row]:
        """a_i = z_i − x_i."""
        return [
            [z - x for z, x in zip(point, query.token, strict=True)]
            for point, query in zip(self.points(choice), self.queries, strict=True)
        ]

    def inputs(self, choice: Sequence[int]) -> list[Row] | None:
        """u_α for every pair with ``Σ_j V_j u_ij = a_i``: what each head contributes is V_j u_ij. None if some a_i is
        no sum of outputs. Where the contributions are not determined, this is one choice of them."""
        d, h = self.pairs.width, len(self.pairs.heads)
        stacked = self.pairs.V[0]
        for V in self.pairs.V[1:]:
            stacked = stacked.hstack(V)
        found: list[Row] = []
        for a in self.shifted(choice):
            solution = stacked.solve(a)
            if solution is None:
                return None
            found += [solution[j * d : (j + 1) * d] for j in range(h)]
        return found

    def asked(self, outputs: Sequence[Row]) -> list[list[ExpSum]]:
        """C_α for every pair, when its head is to give ``outputs[α]``."""
        found = []
        for view, o in zip(self.views, outputs, strict=True):
            row = []
            for c, x in enumerate(o):
                values = [view.values[c, t] - x for t in range(len(view.scores))]
                row.append(ExpSum.weighted(values, view.scores))
            found.append(row)
        return found
