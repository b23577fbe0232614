"""Claim `several-heads`, relation `no-prompt-memorizes`: no prompt allowed by the instance meets every query.

A query with token x is met by the preimage z iff its heads give a = z - x. If y^T V_k = 0 for all heads but j, then y.a
is what head j alone contributes: y.(V_j p) = y.a - y.C e^{-s}, where e^s and p are mass and mean of the prompt at the
logit vector of the pair and C = sum e^{q.z} (V_j z - a) over the context. In each leaf of a tree a combination of the
inequalities that every prompt obeys is negative; the means cancel in it against such values y. Or a is no sum of head
outputs.
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
from rational import Matrix, Scalar, Vector, read_matrix, read_vector
from reading import Field
from vectors import stacked, sum_of


@dataclass(frozen=True)
class Leaf:
    """A part of the root box, with the combination that is negative there, and y for each pair."""

    box: Box
    multipliers: Multipliers
    values: Matrix
    tangents: tuple[Scalar | None, ...]


@dataclass(frozen=True)
class Asked:
    """A query at head j: a; V_j z - a, a row for each column z of the context, and its scores; the other heads."""

    head: Head
    others: tuple[Head, ...]
    a: Vector
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
    log_length: LogLength | None
    arguments: tuple[Argument, ...]

    def check(self) -> str:
        """A prompt that meets every query does so for one combination, and its masses are in one leaf of the tree."""
        pairs = self.pairs
        demand_all_points(self.preimages)
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

    def _demand_out_of_reach(self, argument: OutOfReach, z: Vector, where: str) -> None:
        """The heads would have to give z - x."""
        setting, w = self.pairs.setting, argument.w
        for j, head in enumerate(setting.layer.heads):
            demand(head.value_row(w).is_zero(), f"{where}: w^T V is not zero at head {j}")
        demand(w.dot(z - setting.queries[argument.query].token).sign() != 0, f"{where}: w.(z - x) is zero")

    def _asked(self, i: int, z: Vector) -> list[Asked]:
        """Query i at each head, if z is meant to be its preimage point."""
        setting = self.pairs.setting
        query, heads = setting.queries[i], setting.layer.heads
        result = []
        for j, head in enumerate(heads):
            DEADLINE.check()
            a = z - query.token
            scores = query.context @ self.pairs.vectors[i * len(heads) + j]
            others = heads[:j] + heads[j + 1 :]
            result.append(Asked(head, others, a, stacked(differences(head, query, a)), scores))
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
                    for other in pair.others:
                        demand(other.value_row(y).is_zero(), f"{where}: the values of pair {alpha} see another head")
                    rest += pair.head.value_row(y)
                    constants.append(y.dot(pair.a))
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
    proofs, log_length, fields = witness.record("preimages", "log_length", "combinations")
    setting = pairs.setting
    preimages = read_finite_preimages(proofs, setting.layer.mlp, [query.target for query in setting.queries])
    arguments = tuple(_read_arguments(fields.items(len(combinations(preimages))), pairs))
    return HeadsRefuted(pairs, preimages, read_log_length(log_length, setting), arguments)
