"""Queries of one head with several logit vectors: those with equal ones form a group, and share mass and output.

A prompt meets query i iff s (V p - a_i) = -C_i for its mass s and mean p at the logit vector of i. So it meets a group
iff it meets the first query, V p = a_i - C_i / s, and s solves s (a_i - a_k) = C_i - C_k for each other query k.
"""

from dataclasses import dataclass

from expsum import exponential
from limits import DEADLINE, demand
from mass_equation import Equation, Place, Wishes, read_place
from prompt_setting import PromptSetting
from rational import Matrix, Scalar, Vector
from reading import Field

Places = tuple[Place | None, ...]


@dataclass(frozen=True)
class Group:
    """The numbers of the queries with logit vector q, in order."""

    q: Vector
    queries: tuple[int, ...]


Groups = tuple[Group, ...]


def groups_of(setting: PromptSetting) -> Groups:
    """The groups, in the order of their first queries."""
    vectors: list[Vector] = []
    members: list[list[int]] = []
    for k, query in enumerate(setting.queries):
        DEADLINE.check()
        q = setting.head.logit_vector(query.token)
        same = [g for g, other in enumerate(vectors) if (q - other).is_zero()]
        if same:
            members[same[0]].append(k)
        else:
            vectors.append(q)
            members.append([k])
    return tuple(Group(q, tuple(numbers)) for q, numbers in zip(vectors, members, strict=True))


def vectors_by_query(groups: Groups) -> list[Vector]:
    """The logit vector of each query."""
    vectors = {k: group.q for group in groups for k in group.queries}
    return [vectors[k] for k in range(len(vectors))]


def demand_one_group(groups: Groups, places: tuple[Place, ...], where: str) -> None:
    """The mass in all these equations is the same one."""
    numbers = {k for place in places for k in (place.i, place.j)}
    demand(any(numbers <= set(group.queries) for group in groups), f"{where}: queries with different logit vectors")


def demand_equations(groups: Groups, wishes: Wishes, places: Places, where: str) -> tuple[Equation | None, ...]:
    """For each group: every mass solves its equations, or the one equation leaves a mass > 0 that solves all."""
    found: list[Equation | None] = []
    for g, (group, place) in enumerate(zip(groups, places, strict=True)):
        name = f"{where}equation of group {g}"
        own = Wishes(tuple(wishes.wishes[k] for k in group.queries), None, None)
        if place is None:
            own.demand_any_mass(name)
            found.append(None)
            continue
        demand_one_group((group,), (place,), name)
        equation = wishes.equation(place)
        demand(equation.delta.sign() != 0, f"{name}: delta is zero")
        demand(equation.mass_sign() > 0, f"{name}: the mass is not positive")
        own.demand_solved_by(equation, name)
        found.append(equation)
    return tuple(found)


def demand_bracket(equation: Equation, low: Scalar, high: Scalar, where: str) -> None:
    """e^low <= gamma/delta <= e^high, all multiplied by |delta|."""
    size, mass = equation.delta, equation.gamma
    if size.sign() < 0:
        size, mass = -size, -mass
    demand((mass - exponential(size, low)).sign() >= 0, f"{where}: the mass is below the bracket")
    demand((exponential(size, high) - mass).sign() >= 0, f"{where}: the mass is above the bracket")


def demand_inverse(setting: PromptSetting, inverse: Matrix) -> None:
    """V times each column of the inverse is a column of the identity matrix."""
    for c, column in enumerate(inverse.transposed().rows):
        unit = Vector(tuple(int(i == c) for i in range(len(column))), 1)
        difference = setting.head.value(Vector(column, inverse.den)) - unit
        demand(difference.is_zero(), f"V times the inverse is not 1 in column {c}")


def demand_targets(setting: PromptSetting, points: tuple[Vector, ...]) -> None:
    """Each point is a preimage of the target of its query."""
    for k, (query, z) in enumerate(zip(setting.queries, points, strict=True)):
        DEADLINE.check()
        demand((setting.layer.mlp.output(z) - query.target).is_zero(), f"query {k}: MLP(z) is not the target")


def read_places(field: Field, setting: PromptSetting, count: int) -> Places:
    """null or [i, j, c] for each group."""
    return tuple(None if entry.is_null() else read_place(entry, setting) for entry in field.items(count))
