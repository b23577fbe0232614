"""Claim `several-queries`, relation `no-prompt-memorizes`: no prompt allowed by the instance meets every query.

The log masses of a prompt that does would be in the root box of a tree; its cuts divide the box, and in each leaf a
combination of the inequalities that every prompt obeys is negative.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from box_tree import Box, node_numbers, read_leaves
from criterion import Criterion, criterion
from curve import read_tangents
from finite_preimage import FinitePreimage, combinations, demand_all_points, read_finite_preimages
from mass_equation import Place, Wish, Wishes, read_place, wish
from multipliers import (
    LogLength,
    Multipliers,
    demand_log_length,
    demand_null,
    read_log_length,
    read_multipliers,
    read_two,
)
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
    vectors_by_member,
)
from rational import Matrix, Scalar, read_matrix
from reading import Field


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
    log_length: LogLength | None
    arguments: tuple[Argument, ...]

    def check(self) -> str:
        """A prompt that meets every query does so for one combination."""
        setting, groups = self.setting, self.groups
        demand_all_points(self.preimages)
        demand_inverse(setting, self.inverse)
        demand_log_length(setting, self.log_length)
        vectors = vectors_by_member(groups)
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


def _read_leaf(node: Field, box: Box, setting: PromptSetting) -> Leaf:
    entropy, divergence, length, tangents = node.record("entropy", "divergence", "length", "tangents")
    multipliers = read_multipliers(entropy, divergence, length, len(box), setting)
    return Leaf(box, multipliers, read_tangents(tangents, len(box)))


def _read_tree_argument(field: Field, setting: PromptSetting, groups: Groups, nodes: Iterator[int]) -> Tree:
    _, equations, brackets_field, root = field.record("argument", "equations", "brackets", "tree")
    places = read_places(equations, groups, setting.layer.mlp.d)
    brackets: list[tuple[Scalar, Scalar] | None] = []
    for place, bracket in zip(places, brackets_field.items(len(groups)), strict=True):
        demand_null(bracket, place is None)
        brackets.append(None if place is None else read_two(bracket))
    box: Box = tuple((None, None) if bracket is None else bracket for bracket in brackets)
    leaves = read_leaves(root, box, nodes, lambda node, part: _read_leaf(node, part, setting))
    return Tree(places, tuple(brackets), tuple(leaves))


def _read_arguments(fields: Sequence[Field], setting: PromptSetting, groups: Groups) -> Iterator[Argument]:
    nodes = node_numbers()

    def place(field: Field) -> Place:
        return read_place(field, len(setting.queries), setting.layer.mlp.d)

    for field in fields:
        if not isinstance(field.value, dict) or not field.has("argument"):
            field.fail('an object with the field "argument"')
        name = Field(field.value["argument"], f"{field.path}.argument").choice("sign", "masses", "tree")
        if name == "tree":
            yield _read_tree_argument(field, setting, groups, nodes)
        elif name == "sign":
            _, equation = field.record("argument", "equation")
            yield NoMass(place(equation))
        else:
            _, equations = field.record("argument", "equations")
            first, second = map(place, equations.items(2))
            yield TwoMasses((first, second))


def read_several_refuted(setting: PromptSetting, groups: Groups, witness: Field) -> SeveralRefuted:
    """The witness of a certificate, read but not checked."""
    proofs, inverse, log_field, arguments = witness.record("preimages", "inverse", "log_length", "combinations")
    mlp = setting.layer.mlp
    preimages = read_finite_preimages(proofs, mlp, [query.target for query in setting.queries])
    return SeveralRefuted(
        setting,
        groups,
        preimages,
        read_matrix(inverse, mlp.d, mlp.d),
        read_log_length(log_field, setting),
        tuple(_read_arguments(arguments.items(len(combinations(preimages))), setting, groups)),
    )
