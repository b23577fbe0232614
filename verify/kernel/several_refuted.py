"""Claim `several-queries`, relation `no-prompt-memorizes`: no prompt allowed by the instance meets every query.

The log masses of a prompt that does would be in the root box of a tree; its cuts divide the box, and in each leaf a
combination of the inequalities that every prompt obeys is negative.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from criterion import Criterion, Ends, Multipliers, criterion, rational
from expsum import exponential
from finite_preimage import FinitePreimage, combinations, demand_all_points, read_finite_preimage
from limits import DEADLINE, OverLimits, demand
from mass_equation import Wish, Wishes, read_place, wish
from no_prompt import NoMass, Situation, TwoMasses
from prompt_setting import PromptSetting
from query_groups import (
    Groups,
    Places,
    demand_bracket,
    demand_equations,
    demand_inverse,
    demand_one_group,
    read_places,
    vectors_by_query,
)
from rational import ONE, Matrix, Scalar, read_matrix, read_scalar, read_vector
from reading import Field

MAX_NODES = 100_000
Box = tuple[Ends, ...]


@dataclass(frozen=True)
class Leaf:
    """A part of the root box, with the combination that is negative there."""

    box: Box
    multipliers: Multipliers
    tangents: tuple[Scalar | None, ...]


@dataclass(frozen=True)
class Tree:
    """Equations of the groups, brackets of the masses that they leave, and leaves that cover what is within these."""

    places: Places
    brackets: tuple[tuple[Scalar, Scalar] | None, ...]
    leaves: tuple[Leaf, ...]

    def demand_all(self, groups: Groups, wishes: Wishes, inequalities: Criterion, where: str) -> None:
        """Raise unless no prompt meets every query with these points."""
        equations = demand_equations(groups, wishes, self.places, f"{where}: ")
        for g, (equation, bracket) in enumerate(zip(equations, self.brackets, strict=True)):
            if equation is not None and bracket is not None:  # both or none, see `_read_tree_argument`
                demand_bracket(equation, *bracket, f"{where}, group {g}")
        for i, leaf in enumerate(self.leaves):
            inequalities.demand_refuted(leaf.multipliers, leaf.box, leaf.tangents, f"{where}, leaf {i}")


Argument = NoMass | TwoMasses | Tree


@dataclass(frozen=True)
class SeveralRefuted:
    """An argument for each combination of preimage points."""

    setting: PromptSetting
    groups: Groups
    preimages: tuple[FinitePreimage, ...]
    inverse: Matrix
    log_length: tuple[Scalar, Scalar] | None
    arguments: tuple[Argument, ...]

    def check(self) -> str:
        """A prompt that meets every query does so for one combination."""
        setting, groups = self.setting, self.groups
        demand_all_points(self.preimages)
        demand_inverse(setting, self.inverse)
        if setting.length is not None and self.log_length is not None:
            low, high = (exponential(ONE, end) - rational(Scalar(setting.length, 1)) for end in self.log_length)
            demand(low.sign() <= 0, "log_length: log N is below")
            demand(high.sign() >= 0, "log_length: log N is above")
        vectors = vectors_by_query(groups)
        wishes = [
            [wish(setting, k, q, z) for z in preimage.points]
            for k, (q, preimage) in enumerate(zip(vectors, self.preimages, strict=True))
        ]
        for k, (choice, argument) in enumerate(zip(combinations(self.preimages), self.arguments, strict=True)):
            chosen = tuple(points[i] for points, i in zip(wishes, choice, strict=True))
            self._demand_argument(argument, chosen, f"combination {k}")
        leaves = sum(len(argument.leaves) for argument in self.arguments if isinstance(argument, Tree))
        return (
            f"none of all {setting.allowed()} meets every query ({setting.describe()}, logit vectors: {len(groups)}, "
            f"combinations of preimages: {len(self.arguments)}, boxes: {leaves})"
        )

    def _demand_argument(self, argument: Argument, chosen: tuple[Wish, ...], where: str) -> None:
        setting, groups, wishes = self.setting, self.groups, Wishes(chosen, None, self.setting.length)
        if isinstance(argument, Tree):
            log_length = None if self.log_length is None else self.log_length[1]
            inequalities = criterion(setting, groups, self.inverse, chosen, log_length)
            argument.demand_all(groups, wishes, inequalities, where)
        else:
            places = (argument.place,) if isinstance(argument, NoMass) else argument.places
            demand_one_group(groups, places, where)
            argument.demand_all(Situation(setting, groups[0].q, wishes), where)


def _read_leaves(root: Field, box: Box, bounded_length: bool, nodes: Iterator[int]) -> tuple[Leaf, ...]:
    count = len(box)
    leaves: list[Leaf] = []
    stack = [(root, box)]
    while stack:
        DEADLINE.check()
        if next(nodes, None) is None:
            raise OverLimits(f"more than {MAX_NODES} nodes in trees")
        node, box = stack.pop()
        if node.has("group"):
            group, at, below, above = node.record("group", "at", "below", "above")
            g, cut = group.index(count), read_scalar(at)
            low, high = box[g]
            rest = box[:g], box[g + 1 :]
            upper: Ends = (cut if low is None or (cut - low).sign() > 0 else low), high
            lower: Ends = low, (cut if high is None or (cut - high).sign() < 0 else high)
            stack += [(above, (*rest[0], upper, *rest[1])), (below, (*rest[0], lower, *rest[1]))]
        else:
            entropy, divergence, length, tangents = node.record("entropy", "divergence", "length", "tangents")
            _demand_null(length, not bounded_length)
            multipliers = Multipliers(
                read_vector(entropy, count),
                read_matrix(divergence, count, count),
                None if length.is_null() else read_vector(length, count),
            )
            points = tuple(None if field.is_null() else read_scalar(field) for field in tangents.items(count))
            leaves.append(Leaf(box, multipliers, points))
    return tuple(leaves)


def _demand_null(field: Field, expected: bool) -> None:
    if field.is_null() != expected:
        field.fail("null" if expected else "no null")


def _read_two(field: Field) -> tuple[Scalar, Scalar]:
    low, high = map(read_scalar, field.items(2))
    return low, high


def _read_tree_argument(field: Field, setting: PromptSetting, count: int, nodes: Iterator[int]) -> Tree:
    _, equations, brackets_field, root = field.record("argument", "equations", "brackets", "tree")
    places = read_places(equations, setting, count)
    brackets: list[tuple[Scalar, Scalar] | None] = []
    for place, bracket in zip(places, brackets_field.items(count), strict=True):
        _demand_null(bracket, place is None)
        brackets.append(None if place is None else _read_two(bracket))
    box: Box = tuple((None, None) if bracket is None else bracket for bracket in brackets)
    return Tree(places, tuple(brackets), _read_leaves(root, box, setting.length is not None, nodes))


def _read_arguments(fields: Sequence[Field], setting: PromptSetting, count: int) -> Iterator[Argument]:
    nodes = iter(range(MAX_NODES))  # for all trees together
    for field in fields:
        if not isinstance(field.value, dict) or not field.has("argument"):
            field.fail('an object with the field "argument"')
        name = Field(field.value["argument"], f"{field.path}.argument").choice("sign", "masses", "tree")
        if name == "tree":
            yield _read_tree_argument(field, setting, count, nodes)
        elif name == "sign":
            _, equation = field.record("argument", "equation")
            yield NoMass(read_place(equation, setting))
        else:
            _, equations = field.record("argument", "equations")
            first, second = (read_place(equation, setting) for equation in equations.items(2))
            yield TwoMasses((first, second))


def read_several_refuted(setting: PromptSetting, groups: Groups, witness: Field) -> SeveralRefuted:
    """The witness of a certificate, read but not checked."""
    proofs, inverse, log_field, arguments = witness.record("preimages", "inverse", "log_length", "combinations")
    mlp = setting.layer.mlp
    preimages = tuple(
        read_finite_preimage(field, mlp, query.target)
        for field, query in zip(proofs.items(len(setting.queries)), setting.queries, strict=True)
    )
    _demand_null(log_field, setting.length is None)
    return SeveralRefuted(
        setting,
        groups,
        preimages,
        read_matrix(inverse, mlp.d, mlp.d),
        None if log_field.is_null() else _read_two(log_field),
        tuple(_read_arguments(arguments.items(len(combinations(preimages))), setting, len(groups))),
    )
