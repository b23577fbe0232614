"""Queries of one head with several logit vectors: those with equal ones form a group, and share mass and output.

A prompt meets query i iff s (V p - a_i) = -C_i for its mass s and mean p at the logit vector of i. So it meets a group
iff it meets the first query, V p = a_i - C_i / s, and s solves s (a_i - a_k) = C_i - C_k for each other query k.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from expsum import exponential
from limits import DEADLINE, demand
from mass_equation import Equation, Place, Wishes, read_place
from prompt_setting import PromptSetting
from rational import Matrix, Scalar, Vector
from reading import Field
from vectors import unit

Places = tuple[Place | None, ...]


@dataclass(frozen=True)
class Group:
    """The numbers of the queries (or of the pairs of a query and a head) with logit vector q, in order."""

    q: Vector
    members: tuple[int, ...]


Groups = tuple[Group, ...]


def grouped(vectors: Iterable[Vector]) -> Groups:
    """The groups of what has these logit vectors, in the order of their first members."""
    found: list[Vector] = []
    members: list[list[int]] = []
    for k, q in enumerate(vectors):
        same = next((g for g, other in enumerate(found) if _equal(q, other)), None)
        if same is None:
            found.append(q)
            members.append([k])
        else:
            members[same].append(k)
    return tuple(Group(q, tuple(numbers)) for q, numbers in zip(found, members, strict=True))


def _equal(q: Vector, other: Vector) -> bool:
    DEADLINE.check()
    return all(m * other.den == n * q.den for m, n in zip(q.num, other.num, strict=True))


def groups_of(setting: PromptSetting) -> Groups:
    """The groups of the queries."""
    return grouped(setting.head.logit_vector(query.token) for query in setting.queries)


def vectors_by_member(groups: Groups) -> list[Vector]:
    """The logit vector of each member."""
    vectors = {k: group.q for group in groups for k in group.members}
    return [vectors[k] for k in range(len(vectors))]


def demand_one_group(groups: Groups, places: tuple[Place, ...], where: str, members: str = "queries") -> None:
    """The mass in all these equations is the same one."""
    numbers = {k for place in places for k in (place.i, place.j)}
    demand(any(numbers <= set(group.members) for group in groups), f"{where}: {members} with different logit vectors")


def demand_equations(groups: Groups, wishes: Wishes, places: Places, where: str) -> tuple[Equation | None, ...]:
    """For each group: every mass solves its equations, or the one equation leaves a mass > 0 that solves all."""
    found: list[Equation | None] = []
    for g, (group, place) in enumerate(zip(groups, places, strict=True)):
        name = f"{where}equation of group {g}"
        own = replace(wishes, wishes=tuple(wishes.wishes[k] for k in group.members))
        if place is None:
            own.demand_any_mass(name)
            found.append(None)
            continue
        demand_one_group((group,), (place,), name, wishes.names[1])
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
        difference = setting.head.value(Vector(column, inverse.den)) - unit(c, len(column))
        demand(difference.is_zero(), f"V times the inverse is not 1 in column {c}")


def demand_dual(groups: Groups, dual: Matrix, where: str) -> None:
    """Row g of the dual matrix times the logit vector of group k is 1 if g = k, else 0."""
    for g, group in enumerate(groups):
        values = dual @ group.q
        kronecker = (values.num[k] == (values.den if k == g else 0) for k in range(len(groups)))
        demand(all(kronecker), f"the logit vector of group {g} is not dual to the rows of {where}")


def read_places(field: Field, groups: Groups, d: int) -> Places:
    """null or [i, j, c] for each group."""
    count = sum(len(group.members) for group in groups)
    return tuple(None if entry.is_null() else read_place(entry, count, d) for entry in field.items(len(groups)))
