"""Claim `prompt-law`, relation `no-prompt-memorizes`: no prompt allowed by the instance meets every query."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from finite_preimage import FinitePreimage, combinations, demand_all_points, read_finite_preimages
from limits import Refuted, demand
from mass_equation import Equation, Place, Wishes, read_place, wish
from prompt_setting import PromptSetting
from rational import Vector, read_vector
from reading import Field


@dataclass(frozen=True)
class Situation:
    """One preimage point for each query."""

    setting: PromptSetting
    q: Vector
    wishes: Wishes

    def determined(self, place: Place, where: str) -> Equation:
        """An equation with delta not 0: it leaves one mass."""
        equation = self.wishes.equation(place)
        demand(equation.delta.sign() != 0, f"{where}: delta is zero")
        return equation

    def positive(self, place: Place, where: str) -> Equation:
        """The same, with a positive mass."""
        equation = self.determined(place, where)
        demand(equation.mass_sign() > 0, f"{where}: the mass is not positive")
        return equation

    def slab(self, where: str) -> Vector:
        """g, for a logit vector that is not 0."""
        demand(not self.q.is_zero(), f"{where}: the logit vector is zero")
        if self.wishes.g is None:
            raise Refuted(f"{where}: there is no g")
        return self.wishes.g


class Argument(Protocol):
    """Why no prompt meets every query with these points."""

    def demand_all(self, situation: Situation, where: str) -> None:
        """Raise unless it is so."""


@dataclass(frozen=True)
class OutOfReach:
    """w.u = 0 for all outputs u, and w.a is not 0."""

    query: int
    w: Vector

    def demand_all(self, situation: Situation, where: str) -> None:
        """Attention would have to be a, and is in the range of V."""
        demand(situation.setting.head.value_row(self.w).is_zero(), f"{where}: w^T V is not zero")
        demand(self.w.dot(situation.wishes.wishes[self.query].a).sign() != 0, f"{where}: w.a is zero")


@dataclass(frozen=True)
class NoMass:
    """s delta = gamma has no solution s > 0."""

    place: Place

    def demand_all(self, situation: Situation, where: str) -> None:
        """Either delta is 0 and gamma is not, or gamma/delta is not positive."""
        equation = situation.wishes.equation(self.place)
        if equation.delta.sign() == 0:
            demand(not equation.gamma.is_zero(), f"{where}: delta and gamma are zero")
        else:
            demand(equation.mass_sign() <= 0, f"{where}: the mass is positive")


@dataclass(frozen=True)
class TwoMasses:
    """Two equations with different solutions."""

    places: tuple[Place, Place]

    def demand_all(self, situation: Situation, where: str) -> None:
        """gamma/delta differs."""
        first, second = (situation.determined(place, where) for place in self.places)
        same = first.gamma.scaled(second.delta).equals(second.gamma.scaled(first.delta))
        demand(not same, f"{where}: the two masses are equal")


@dataclass(frozen=True)
class WrongEntropy:
    """The only mass is outside of what the prompt law allows."""

    place: Place

    def demand_all(self, situation: Situation, where: str) -> None:
        """s e^{-x} < 1, or > N."""
        g, N, i = situation.slab(where), situation.setting.length, self.place.i
        equation = situation.positive(self.place, where)
        wishes = situation.wishes
        outside = wishes.tokens_against(equation, i, 1, g) < 0
        outside = outside or (N is not None and wishes.tokens_against(equation, i, N, g) > 0)
        demand(outside, f"{where}: the prompt law allows the mass")


@dataclass(frozen=True)
class WrongNumber:
    """The only mass is no number of tokens."""

    place: Place

    def demand_all(self, situation: Situation, where: str) -> None:
        """q = 0, and s is not an integer, or above N."""
        demand(situation.q.is_zero(), f"{where}: the logit vector is not zero")
        mass, N = situation.positive(self.place, where).whole_mass(), situation.setting.length
        demand(mass is None or (N is not None and mass > N), f"{where}: the mass is a number of tokens")


@dataclass(frozen=True)
class TooShort:
    """Every mass solves the equations, and every mass needs more than N tokens."""

    def demand_all(self, situation: Situation, where: str) -> None:
        """The least number of tokens is above N."""
        g, N = situation.slab(where), situation.setting.length
        if N is None:
            raise Refuted(f"{where}: the length is not bounded")
        situation.wishes.demand_any_mass(where)
        demand(situation.wishes.least_tokens_against(N, g) > 0, f"{where}: the length is enough")


@dataclass(frozen=True)
class NoPrompt:
    """An argument for each combination of preimage points."""

    setting: PromptSetting
    preimages: tuple[FinitePreimage, ...]
    g: Vector | None
    arguments: tuple[Argument, ...]

    def check(self) -> str:
        """A prompt that meets every query does so for one combination."""
        setting = self.setting
        q = setting.logit_vector()
        demand_all_points(self.preimages)
        if self.g is not None:
            setting.demand_row(self.g, q)
        wishes = [[wish(setting, k, q, z) for z in preimage.points] for k, preimage in enumerate(self.preimages)]
        for k, (choice, argument) in enumerate(zip(combinations(self.preimages), self.arguments, strict=True)):
            chosen = tuple(points[i] for points, i in zip(wishes, choice, strict=True))
            argument.demand_all(Situation(setting, q, Wishes(chosen, self.g, setting.length)), f"combination {k}")
        return (
            f"none of all {setting.allowed()} meets every query "
            f"({setting.describe()}, combinations of preimages: {len(self.arguments)})"
        )


def _read_out_of_reach(field: Field, setting: PromptSetting) -> OutOfReach:
    _, query, w = field.record("argument", "query", "w")
    return OutOfReach(query.index(len(setting.queries)), read_vector(w, setting.layer.mlp.d))


def _place(field: Field, setting: PromptSetting) -> Place:
    return read_place(field, len(setting.queries), setting.layer.mlp.d)


def _read_place(field: Field, setting: PromptSetting) -> Place:
    _, equation = field.record("argument", "equation")
    return _place(equation, setting)


def _read_two_masses(field: Field, setting: PromptSetting) -> TwoMasses:
    _, equations = field.record("argument", "equations")
    first, second = (_place(equation, setting) for equation in equations.items(2))
    return TwoMasses((first, second))


def _read_too_short(field: Field, _: PromptSetting) -> TooShort:
    field.record("argument")
    return TooShort()


READERS: dict[str, Callable[[Field, PromptSetting], Argument]] = {
    "range": _read_out_of_reach,
    "sign": lambda field, setting: NoMass(_read_place(field, setting)),
    "masses": _read_two_masses,
    "entropy": lambda field, setting: WrongEntropy(_read_place(field, setting)),
    "integer": lambda field, setting: WrongNumber(_read_place(field, setting)),
    "length": _read_too_short,
}


def _read_argument(field: Field, setting: PromptSetting) -> Argument:
    if not isinstance(field.value, dict) or not field.has("argument"):
        field.fail('an object with the field "argument"')
    argument = Field(field.value["argument"], f"{field.path}.argument").choice(*READERS)
    return READERS[argument](field, setting)


def read_no_prompt(setting: PromptSetting, witness: Field) -> NoPrompt:
    """The witness of a certificate, read but not checked."""
    proofs, g, arguments = witness.record("preimages", "g", "combinations")
    mlp = setting.layer.mlp
    preimages = read_finite_preimages(proofs, mlp, [query.target for query in setting.queries])
    return NoPrompt(
        setting,
        preimages,
        None if g.is_null() else read_vector(g, mlp.d),
        tuple(_read_argument(field, setting) for field in arguments.items(len(combinations(preimages)))),
    )
