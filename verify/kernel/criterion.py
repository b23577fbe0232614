"""What every prompt obeys at several logit vectors q_g of one head with an invertible V.

If the first query of group g is met, its mean is p_g = V^{-1} (a - C e^{-s_g}). With V^T r_k = q_k, q_k.p_g is
r_k.a - r_k.C e^{-s_g}: every inequality (see multipliers.py) is a sum over the groups of curves A s + b + gamma e^{-s}.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from curve import Curve, Ends, total_upper
from expsum import exp_sum
from limits import DEADLINE, demand
from mass_equation import ZERO, Wish
from multipliers import Multipliers
from prompt_setting import PromptSetting, differences
from query_groups import Groups
from rational import ONE, Matrix, Scalar, Vector
from vectors import stacked, unit


@dataclass(frozen=True)
class Asked:
    """What the first query of a group asks: r_k.a for each group k; r_k.(V z - a), a row for each column z of the
    context, and the scores of these."""

    values: Vector
    differences: Matrix
    scores: Vector

    def curve(self, weights: Vector, A: Scalar, constant: Scalar) -> Curve:
        """constant + A s - sum over k of weights_k q_k.p, p the mean at the mass e^s."""
        gamma = exp_sum(self.differences @ weights, self.scores)
        return Curve(A, constant - weights.dot(self.values), gamma)


@dataclass(frozen=True)
class Criterion:
    """The inequalities for one preimage point of each query; `log_length` is an upper bound of log N."""

    asked: tuple[Asked, ...]
    log_length: Scalar | None

    def demand_positive(self, box: Sequence[tuple[Scalar, Scalar]], where: str) -> None:
        """H_g > 0 and D_gk > 0 on the whole box: the upper bounds of -H_g, and of -D_gk, are negative."""
        count = len(self.asked)
        for g, (asked, ends) in enumerate(zip(self.asked, box, strict=True)):
            curve = asked.curve(unit(g, count, -ONE), -ONE, ZERO)
            demand(curve.upper(ends, None, where).sign() < 0, f"{where}: H is not positive for group {g}")
            for k in range(count):
                if k != g:
                    # -D_gk = s_g - q_g.p_g + q_k.p_g - s_k
                    curve = asked.curve(unit(g, count) + unit(k, count, -ONE), ONE, -box[k][0])
                    name = f"{where}: D is not positive for groups {g}, {k}"
                    demand(curve.upper(ends, None, where).sign() < 0, name)

    def demand_refuted(
        self, multipliers: Multipliers, box: Sequence[Ends], tangents: Sequence[Scalar | None], where: str
    ) -> None:
        """The sum of multiplier times inequality is negative everywhere in the box."""
        multipliers.demand_allowed(where)
        curves = (
            asked.curve(form.weights, form.A, form.constant)
            for asked, form in zip(self.asked, multipliers.forms(self.log_length), strict=True)
        )
        total = total_upper(curves, box, tangents, where)
        demand(total.sign() < 0, f"{where}: the combination is not shown to be negative")


def criterion(
    setting: PromptSetting, groups: Groups, inverse: Matrix, wishes: Sequence[Wish], log_length: Scalar | None
) -> Criterion:
    """The inequalities; the inverse is that of V (checked by the caller)."""
    forms = stacked([inverse.transposed() @ group.q for group in groups])  # rows r_k
    found = []
    for group in groups:
        DEADLINE.check()
        query, a = setting.queries[group.members[0]], wishes[group.members[0]].a
        rows = stacked(differences(setting.head, query, a))
        found.append(Asked(forms @ a, rows.times(forms.transposed()), query.context @ group.q))
    return Criterion(tuple(found), log_length)
