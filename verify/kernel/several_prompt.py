"""Claim `several-queries`, relation `prompt`: near the stated tokens there is a prompt that meets every query.

For each group F has the components C_i + sum over tokens p of count e^{q.p} (V p - a_i), i its first query, and, if it
has an equation, sum count e^{q.p} - gamma/delta, all divided by e^reference, which keeps the numbers small.
"""

from dataclasses import dataclass

from expsum import ExpSum, exponential
from intervals import Interval, enclosed, enclosed_exps, total
from krawczyk import FIELDS, Row, TokenBox, read_token_box
from limits import DEADLINE
from mass_equation import Equation, Wish, Wishes, reciprocal, wish
from prompt_setting import PromptSetting
from query_groups import Group, Groups, Places, demand_equations, read_places, vectors_by_member
from rational import ONE, Scalar, Vector, read_vector
from reading import Field
from vectors import entry, unit


@dataclass(frozen=True)
class SeveralPrompt:
    """Preimage points, equations of the groups, and tokens with unknown entries."""

    setting: PromptSetting
    groups: Groups
    points: tuple[Vector, ...]
    places: Places
    references: Vector
    box: TokenBox

    def check(self) -> str:
        """Krawczyk's test, with all entries of F(x_0) and J enclosed."""
        self.setting.demand_targets(self.points)
        vectors = vectors_by_member(self.groups)
        wishes = tuple(wish(self.setting, k, q, z) for k, (q, z) in enumerate(zip(vectors, self.points, strict=True)))
        equations = demand_equations(self.groups, Wishes(wishes, None, None), self.places, "")
        self.box.demand_radius()
        F: Row = []
        J: list[Row] = []
        for g, (group, equation) in enumerate(zip(self.groups, equations, strict=True)):
            values, slopes = self._block(group, wishes[group.members[0]], equation, entry(self.references, g))
            F += values
            J += slopes
        self.box.demand_contraction(F, J)
        return self.box.sentence(f"{self.setting.describe()}, logit vectors: {len(self.groups)}")

    def _block(self, group: Group, wanted: Wish, equation: Equation | None, reference: Scalar) -> tuple[Row, list[Row]]:
        """The components of F at x_0 for one group, and a row of J for each."""
        box, bits, head, d = self.box, self.box.bits, self.setting.head, len(wanted.a)
        V = [head.value(unit(r, d)) for r in range(d)]  # its columns
        F = [_enclosed_sum(C, reference, bits) for C in wanted.C]
        J = box.zeros(d + (equation is not None))
        scores = box.tokens @ group.q
        weights = [
            weight.scaled(Scalar(count, 1))
            for weight, count in zip(enclosed_exps(scores, reference, bits), box.counts, strict=True)
        ]
        for j, weight in enumerate(weights):
            DEADLINE.check()
            values = head.value(box.tokens.row(j)) - wanted.a
            for c, n in enumerate(values.num):
                F[c] += weight * enclosed(Scalar(n, values.den), bits)
            if j in box.own:
                self._fill(J, j, group.q, entry(scores, j) - reference, values, V)
        if equation is not None:
            mass = equation.gamma.scaled(reciprocal(equation.delta))
            F.append(total(weights, bits) - _enclosed_sum(mass, reference, bits))
        return F, J

    def _fill(self, J: list[Row], j: int, q: Vector, score: Scalar, values: Vector, V: list[Vector]) -> None:
        """The derivatives by the unknown entries of token j, e^{q.p} (q_r (V p - a) + V_r) and e^{q.p} q_r, times its
        count."""
        box, bits = self.box, self.box.bits
        weight = box.exponential(j, score, q)
        for c in range(len(values)):
            factors = Vector(tuple(column.num[c] for column in V), V[0].den)
            value = box.product(j, entry(values, c), factors)
            for u, r in box.own[j]:
                J[c][u] = weight * (value.scaled(entry(q, r)) + enclosed(entry(factors, r), bits))
        for row in J[len(values) :]:  # of the equation, if there is one
            for u, r in box.own[j]:
                row[u] = weight.scaled(entry(q, r))


def _enclosed_sum(value: ExpSum, reference: Scalar, bits: int) -> Interval:
    value *= exponential(ONE, -reference)
    return Interval(*value.enclosed(0, bits), bits).scaled(Scalar(1, value.coefficient_den))


def read_several_prompt(setting: PromptSetting, groups: Groups, witness: Field) -> SeveralPrompt:
    """The witness of a certificate, read but not checked."""
    points, equations, references, *fields = witness.record("points", "equations", "references", *FIELDS)
    d = setting.layer.mlp.d
    places = read_places(equations, groups, d)
    components = d * len(groups) + sum(place is not None for place in places)
    box = read_token_box(fields, setting, components)
    return SeveralPrompt(
        setting,
        groups,
        tuple(read_vector(field, d) for field in points.items(len(setting.queries))),
        places,
        read_vector(references, len(groups)),
        box,
    )
