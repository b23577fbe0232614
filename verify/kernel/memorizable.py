"""Claim `prompt-law`, relation `memorizable`: some prompt allowed by the instance meets every query."""

from dataclasses import dataclass

from limits import Refuted, demand
from mass_equation import Equation, Place, Wishes, read_place, wish
from prompt_setting import PromptSetting
from rational import Vector, read_vector
from reading import Field


@dataclass(frozen=True)
class Memorizable:
    """A preimage point and a source (V source = a) for each query, and why the mass can be had."""

    setting: PromptSetting
    points: tuple[Vector, ...]
    sources: tuple[Vector, ...]
    free: Vector | None
    g: Vector | None
    place: Place | None

    def check(self) -> str:
        """A mass s and an output u = a - C/s in the range of V that meet all queries, and a prompt that has them."""
        setting, mlp = self.setting, self.setting.layer.mlp
        q = setting.logit_vector()
        wishes = []
        for k, (query, z, source) in enumerate(zip(setting.queries, self.points, self.sources, strict=True)):
            demand((mlp.output(z) - query.target).is_zero(), f"query {k}: MLP(z) is not the target")
            wishes.append(wish(setting, k, q, z))
            demand((setting.head.value(source) - wishes[k].a).is_zero(), f"query {k}: V source is not z - x")
        if self.g is not None:
            setting.demand_row(self.g, q)
        both = Wishes(tuple(wishes), self.g, setting.length)
        if self.place is None:
            both.demand_any_mass("equation")
            equation = None
        else:
            equation = both.equation(self.place)
            demand(equation.delta.sign() != 0, "equation: delta is zero")
            demand(equation.mass_sign() > 0, "equation: the mass is not positive")
            both.demand_solved_by(equation, "equation")
        self._demand_prompt(both, equation, q)
        return f"some of all {setting.allowed()} meets every query ({setting.describe()})"

    def _demand_prompt(self, wishes: Wishes, equation: Equation | None, q: Vector) -> None:
        """A prompt with such a mass, and output in the range of V."""
        N = self.setting.length
        if self.free is not None:
            # One token: any source of u, moved along kappa, which changes its mass and not its output.
            demand(self.setting.head.value(self.free).is_zero(), "V kappa is not zero")
            demand(q.dot(self.free).sign() != 0, "q.kappa is zero")
        elif q.is_zero():
            # s equal tokens; any s does, and 1 is allowed, if there is no equation.
            mass = 1 if equation is None else equation.whole_mass()
            demand(mass is not None, "the mass is not an integer")
            demand(N is None or (mass is not None and mass <= N), "the mass is above the length")
        elif self.g is None:
            raise Refuted("neither kappa nor g is given, and the logit vector is not zero")
        elif equation is None or self.place is None:
            demand(N is None or wishes.least_tokens_against(N, self.g) <= 0, "all masses need too long a prompt")
        else:
            i = self.place.i
            demand(wishes.tokens_against(equation, i, 1, self.g) >= 0, "the mass is too small for any prompt")
            demand(N is None or wishes.tokens_against(equation, i, N, self.g) <= 0, "the mass needs too long a prompt")


def read_memorizable(setting: PromptSetting, witness: Field) -> Memorizable:
    """The witness of a certificate, read but not checked."""
    points, sources, free, g, equation = witness.record("points", "sources", "free", "g", "equation")
    n, d = len(setting.queries), setting.layer.mlp.d
    return Memorizable(
        setting,
        tuple(read_vector(field, d) for field in points.items(n)),
        tuple(read_vector(field, d) for field in sources.items(n)),
        None if free.is_null() else read_vector(free, d),
        None if g.is_null() else read_vector(g, d),
        None if equation.is_null() else read_place(equation, n, d),
    )
