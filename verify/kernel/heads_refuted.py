"""Claim `several-heads`, relation `no-prompt-memorizes`: no prompt allowed by the instance meets every query.

Projections L_j with L_j V_j = V_j and L_j V_k = 0 for the other heads tell what each head has to give: o = L_j (z - x)
to a query with token x and preimage z. Then V_j p = o - C e^{-s}, where e^s and p are mass and mean of the prompt at
the logit vector of the pair. In each leaf of a tree a combination of the inequalities that every prompt obeys is
negative; the means cancel in it against the values y, up to sums of y.(V_j p).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from attention import Head
from box_tree import Box, node_numbers, read_leaves
from curve import NOTHING, Curve, read_tangents, total_upper
from expsum import ExpSum, exp_sum
from finite_preimage import FinitePreimage, combinations, demand_all_points, read_finite_preimages
from head_pairs import Pairs
from limits import DEADLINE, demand
from multipliers import (
    LogLength,
    Multipliers,
    demand_log_length,
    read_log_length,
    read_multipliers,
)
from prompt_setting import differences
from rational import Matrix, Scalar, Vector, read_matrix
from reading import Field
from vectors import stacked, sum_of, unit


@dataclass(frozen=True)
class Leaf:
    """A part of the root box, with the combination that is negative there, and y for each pair."""

    box: Box
    multipliers: Multipliers
    values: Matrix
    tangents: tuple[Scalar | None, ...]


@dataclass(frozen=True)
class Asked:
    """What head j is asked to give to a query: o; V z - o, a row for each column z of the context, and its scores."""

    head: Head
    output: Vector
    differences: Matrix
    scores: Vector

    def decay(self, y: Vector) -> ExpSum:
        """-y.C."""
        return exp_sum(self.differences @ -y, self.scores)


@dataclass(frozen=True)
class HeadsRefuted:
    """A tree of boxes for each combination of preimage points."""

    pairs: Pairs
    preimages: tuple[FinitePreimage, ...]
    projections: tuple[Matrix, ...]
    log_length: LogLength | None
    trees: tuple[tuple[Leaf, ...], ...]

    def check(self) -> str:
        """A prompt that meets every query does so for one combination, and its masses are in one leaf of the tree."""
        pairs = self.pairs
        demand_all_points(self.preimages)
        self._demand_projections()
        demand_log_length(pairs.setting, self.log_length)
        asked = [[self._asked(i, z) for z in preimage.points] for i, preimage in enumerate(self.preimages)]
        for k, (choice, leaves) in enumerate(zip(combinations(self.preimages), self.trees, strict=True)):
            chosen = [one for points, i in zip(asked, choice, strict=True) for one in points[i]]
            for i, leaf in enumerate(leaves):
                self._demand_refuted(leaf, chosen, f"combination {k}, leaf {i}")
        return (
            f"none of all {pairs.setting.allowed()} meets every query ({pairs.setting.describe()}, logit vectors: "
            f"{len(pairs.groups)}, combinations of preimages: {len(self.trees)}, boxes: {sum(map(len, self.trees))})"
        )

    @cached_property
    def _columns(self) -> Matrix:
        """The logit vectors of the groups, as columns."""
        return stacked([group.q for group in self.pairs.groups]).transposed()

    def _demand_projections(self) -> None:
        """Row by row: (row r of L_j - e_r) V_j = 0, and row r of L_j V_k = 0."""
        for j, L in enumerate(self.projections):
            for k, head in enumerate(self.pairs.setting.layer.heads):
                for r in range(self.pairs.d):
                    DEADLINE.check()
                    row = L.row(r) - unit(r, self.pairs.d) if j == k else L.row(r)
                    demand(head.value_row(row).is_zero(), f"projections[{j}], row {r}: fails at head {k}")

    def _asked(self, i: int, z: Vector) -> list[Asked]:
        """What the heads are asked to give to query i, if z is meant to be its preimage point."""
        setting = self.pairs.setting
        query, heads = setting.queries[i], setting.layer.heads
        result = []
        for j, (head, L) in enumerate(zip(heads, self.projections, strict=True)):
            DEADLINE.check()
            output = L @ (z - query.token)
            scores = query.context @ self.pairs.vectors[i * len(heads) + j]
            result.append(Asked(head, output, stacked(differences(head, query, output)), scores))
        return result

    def _demand_refuted(self, leaf: Leaf, asked: Sequence[Asked], where: str) -> None:
        """The combination is below 0 everywhere in the box."""
        leaf.multipliers.demand_allowed(where)
        curves = tuple(self._curves(leaf, asked, where))
        sign = total_upper(curves, leaf.box, leaf.tangents, where).sign()
        below = sign < 0 or (sign == 0 and any(map(Curve.is_below_upper, curves, leaf.box, leaf.tangents)))
        demand(below, f"{where}: the combination is not shown to be negative")

    def _curves(self, leaf: Leaf, asked: Sequence[Asked], where: str) -> Iterator[Curve]:
        """constant + A s - (sum of weights_k q_k).p for each group, with the values in place of p."""
        groups, columns = self.pairs.groups, self._columns
        log_length = None if self.log_length is None else self.log_length[1]
        for g, (group, form) in enumerate(zip(groups, leaf.multipliers.forms(log_length), strict=True)):
            rest, constants, gamma = columns @ form.weights, [form.constant], NOTHING
            for alpha in group.members:
                DEADLINE.check()
                y, pair = leaf.values.row(alpha), asked[alpha]
                if not y.is_zero():
                    rest += pair.head.value_row(y)
                    constants.append(y.dot(pair.output))
                    gamma += pair.decay(y)
            demand(rest.is_zero(), f"{where}, group {g}: the means do not cancel against the values")
            yield Curve(form.A, sum_of(constants), gamma)


def _read_leaf(node: Field, box: Box, pairs: Pairs) -> Leaf:
    entropy, divergence, length, values, tangents = node.record("entropy", "divergence", "length", "values", "tangents")
    return Leaf(
        box,
        read_multipliers(entropy, divergence, length, len(box), pairs.setting),
        read_matrix(values, len(pairs), pairs.d),
        read_tangents(tangents, len(box)),
    )


def read_heads_refuted(pairs: Pairs, witness: Field) -> HeadsRefuted:
    """The witness of a certificate, read but not checked."""
    proofs, projections, log_length, trees = witness.record("preimages", "projections", "log_length", "combinations")
    setting, d = pairs.setting, pairs.d
    preimages = read_finite_preimages(proofs, setting.layer.mlp, [query.target for query in setting.queries])
    nodes = node_numbers()
    root: Box = ((None, None),) * len(pairs.groups)
    return HeadsRefuted(
        pairs,
        preimages,
        tuple(read_matrix(field, d, d) for field in projections.items(len(setting.layer.heads))),
        read_log_length(log_length, setting),
        tuple(
            tuple(read_leaves(field, root, nodes, lambda node, box: _read_leaf(node, box, pairs)))
            for field in trees.items(len(combinations(preimages)))
        ),
    )
