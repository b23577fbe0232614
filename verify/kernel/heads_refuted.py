"""Claim `several-heads`, relation `no-prompt-memorizes`: no prompt allowed by the instance meets every query.

Projections L_j with L_j V_j = V_j and L_j V_k = 0 for the other heads tell what each head has to give: o = L_j (z - x)
to a query with token x and preimage z. Then V_j p = o - C e^{-s}, where e^s and p are mass and mean of the prompt at
the logit vector of the pair. In each leaf of a tree a combination of the inequalities that every prompt obeys is
negative; the means cancel in it against the values y, up to sums of y.(V_j p). Or z - x is no sum of head outputs.
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
    demand_null,
    read_log_length,
    read_multipliers,
)
from prompt_setting import differences
from rational import Matrix, Scalar, Vector, read_matrix, read_vector
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
class OutOfReach:
    """w.u = 0 for all sums u of head outputs, and w.(z - x) is not 0 for this query."""

    query: int
    w: Vector


Argument = OutOfReach | tuple[Leaf, ...]


@dataclass(frozen=True)
class HeadsRefuted:
    """An argument for each combination of preimage points: the leaves of a tree, or that a point is out of reach."""

    pairs: Pairs
    preimages: tuple[FinitePreimage, ...]
    projections: tuple[Matrix, ...]  # none if there is no tree
    log_length: LogLength | None
    arguments: tuple[Argument, ...]

    def check(self) -> str:
        """A prompt that meets every query does so for one combination, and its masses are in one leaf of the tree."""
        pairs = self.pairs
        demand_all_points(self.preimages)
        self._demand_projections()
        demand_log_length(pairs.setting, self.log_length)
        asked = [[self._asked(i, z) for z in preimage.points] for i, preimage in enumerate(self.preimages)]
        for k, (choice, argument) in enumerate(zip(combinations(self.preimages), self.arguments, strict=True)):
            if isinstance(argument, OutOfReach):
                z = self.preimages[argument.query].points[choice[argument.query]]
                self._demand_out_of_reach(argument, z, f"combination {k}")
                continue
            chosen = [one for points, i in zip(asked, choice, strict=True) for one in points[i]]
            for i, leaf in enumerate(argument):
                self._demand_refuted(leaf, chosen, f"combination {k}, leaf {i}")
        leaves = sum(len(argument) for argument in self.arguments if isinstance(argument, tuple))
        return (
            f"none of all {pairs.setting.allowed()} meets every query ({pairs.setting.describe()}, logit vectors: "
            f"{len(pairs.groups)}, combinations of preimages: {len(self.arguments)}, boxes: {leaves})"
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

    def _demand_out_of_reach(self, argument: OutOfReach, z: Vector, where: str) -> None:
        """The heads would have to give z - x."""
        setting, w = self.pairs.setting, argument.w
        for j, head in enumerate(setting.layer.heads):
            demand(head.value_row(w).is_zero(), f"{where}: w^T V is not zero at head {j}")
        demand(w.dot(z - setting.queries[argument.query].token).sign() != 0, f"{where}: w.(z - x) is zero")

    def _asked(self, i: int, z: Vector) -> list[Asked]:
        """What the heads are asked to give to query i, if z is meant to be its preimage point (none without a tree)."""
        if not self.projections:
            return []
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


def _read_arguments(fields: list[Field], pairs: Pairs) -> Iterator[Argument]:
    nodes = node_numbers()
    root: Box = ((None, None),) * len(pairs.groups)
    for field in fields:
        if field.has("query"):
            query, w = field.record("query", "w")
            yield OutOfReach(query.index(len(pairs.setting.queries)), read_vector(w, pairs.d))
        else:
            yield tuple(read_leaves(field, root, nodes, lambda node, box: _read_leaf(node, box, pairs)))


def read_heads_refuted(pairs: Pairs, witness: Field) -> HeadsRefuted:
    """The witness of a certificate, read but not checked."""
    proofs, projections, log_length, fields = witness.record("preimages", "projections", "log_length", "combinations")
    setting, d = pairs.setting, pairs.d
    preimages = read_finite_preimages(proofs, setting.layer.mlp, [query.target for query in setting.queries])
    arguments = tuple(_read_arguments(fields.items(len(combinations(preimages))), pairs))
    trees = any(isinstance(argument, tuple) for argument in arguments)
    demand_null(projections, not trees)
    heads = len(setting.layer.heads)
    matrices = tuple(read_matrix(field, d, d) for field in projections.items(heads)) if trees else ()
    return HeadsRefuted(pairs, preimages, matrices, read_log_length(log_length, setting), arguments)
