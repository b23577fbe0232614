"""Claim `several-queries`: what prompts can do to queries with several logit vectors at the only head of a layer."""

from dataclasses import dataclass

from criterion import criterion
from limits import demand
from mass_equation import Wishes, wish
from multipliers import read_two
from prompt_law import Statement
from prompt_setting import PromptSetting, read_setting, refuse_embedding
from query_groups import (
    Groups,
    Places,
    demand_bracket,
    demand_dual,
    demand_equations,
    demand_inverse,
    groups_of,
    read_places,
    vectors_by_member,
)
from rational import Matrix, Scalar, Vector, read_matrix, read_vector
from reading import Envelope, Field
from several_prompt import read_several_prompt
from several_refuted import read_several_refuted


@dataclass(frozen=True)
class SeveralMemorizable:
    """Preimage points, and a box of log masses in which all entropies and divergences are positive."""

    setting: PromptSetting
    groups: Groups
    points: tuple[Vector, ...]
    inverse: Matrix
    dual: Matrix
    places: Places
    box: tuple[tuple[Scalar, Scalar], ...]

    def check(self) -> str:
        """For independent logit vectors all such masses and means come from one prompt."""
        setting, groups = self.setting, self.groups
        setting.demand_targets(self.points)
        demand_inverse(setting, self.inverse)
        demand_dual(groups, self.dual, "the dual matrix")
        wishes = tuple(
            wish(setting, k, q, z) for k, (q, z) in enumerate(zip(vectors_by_member(groups), self.points, strict=True))
        )
        equations = demand_equations(groups, Wishes(wishes, None, None), self.places, "")
        for g, (equation, (low, high)) in enumerate(zip(equations, self.box, strict=True)):
            demand((high - low).sign() >= 0, f"box: the interval of group {g} is empty")
            if equation is not None:
                demand_bracket(equation, low, high, f"box of group {g}")
        criterion(setting, groups, self.inverse, wishes, None).demand_positive(self.box, "box")
        return f"some of all {setting.allowed()} meets every query ({setting.describe()}, logit vectors: {len(groups)})"


def _read_memorizable(setting: PromptSetting, groups: Groups, witness: Field) -> SeveralMemorizable:
    points, inverse, dual, equations, box = witness.record("points", "inverse", "dual", "equations", "box")
    d, count = setting.layer.mlp.d, len(groups)
    return SeveralMemorizable(
        setting,
        groups,
        tuple(read_vector(field, d) for field in points.items(len(setting.queries))),
        read_matrix(inverse, d, d),
        read_matrix(dual, count, d),
        read_places(equations, groups, d),
        tuple(map(read_two, box.items(count))),
    )


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice("memorizable", "no-prompt-memorizes", "prompt")
    envelope.evidence.choice("enclosed" if relation == "prompt" else "exact")
    setting = read_setting(envelope.instance)
    refuse_embedding(setting.layer, envelope.instance)
    groups = groups_of(setting)
    if relation == "memorizable":
        if setting.length is not None:
            envelope.instance.fail("the length null", "a number")
        return _read_memorizable(setting, groups, envelope.witness)
    if relation == "prompt":
        return read_several_prompt(setting, groups, envelope.witness)
    return read_several_refuted(setting, groups, envelope.witness)
