"""What every prompt obeys at several logit vectors q_g: entropies and divergences of its weights are not negative.

With mass e^{s_g} and mean p_g at q_g (docs/certificate-format.md, claim `several-queries`)

    H_g = s_g - q_g.p_g >= 0,   D_gk = s_k - s_g + (q_g - q_k).p_g >= 0,   N_g = log N - H_g >= 0,

and p_g = V^{-1} (a - C e^{-s_g}), if the first query of the group is met. With V^T r_k = q_k, q_k.p_g is
r_k.a - r_k.C e^{-s_g}: every inequality is a sum over the groups of curves A s + b + gamma e^{-s}.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from expsum import ExpSum, exp_sum, exponential
from limits import DEADLINE, Refuted, demand
from mass_equation import ZERO, Wish
from prompt_setting import PromptSetting, differences
from query_groups import Groups
from rational import ONE, Matrix, Scalar, Vector, common_denominator

Ends = tuple[Scalar | None, Scalar | None]  # None: no bound on that side
NOTHING = ExpSum({}, 1, 1)


def rational(value: Scalar) -> ExpSum:
    """A rational number as an exponential sum."""
    return exponential(value, ZERO)


@dataclass(frozen=True)
class Curve:
    """h(s) = A s + b + gamma e^{-s}: convex for gamma >= 0, concave for gamma <= 0."""

    A: Scalar
    b: Scalar
    gamma: ExpSum

    def at(self, s: Scalar) -> ExpSum:
        """h(s)."""
        return rational(self.A * s + self.b) + self._decayed(s)

    def upper(self, ends: Ends, tangent: Scalar | None, where: str) -> ExpSum:
        """A number that h does not exceed between the ends; `Refuted` if there is none by the rule that applies."""
        sign = self.gamma.sign()
        if tangent is not None:
            demand(sign < 0, f"{where}: a tangent of a curve that is not strictly concave")
            return self._below_tangent(ends, tangent, where)
        return self._convex(ends, sign, where) if sign >= 0 else self._in_parts(ends, where)

    def _convex(self, ends: Ends, sign: int, where: str) -> ExpSum:
        """The larger value at the ends. Without an end: h falls (A <= 0) towards it, or is a line (gamma = 0)."""
        low, high = ends
        demand(high is not None or self.A.sign() <= 0, f"{where}: no bound at infinity")
        demand(low is not None or (sign == 0 and self.A.sign() >= 0), f"{where}: no bound at minus infinity")
        if low is None and high is None:
            return rational(self.b)  # gamma = 0, A = 0
        return _largest(self.at, ends)

    def _in_parts(self, ends: Ends, where: str) -> ExpSum:
        """gamma < 0: A s is largest at one end, and gamma e^{-s} at the upper end, where without one it is below 0."""
        low, high = ends
        result = rational(self.b)
        if self.A.sign() != 0:
            end = high if self.A.sign() > 0 else low
            if end is None:
                raise Refuted(f"{where}: no bound at an infinite end")
            result += rational(self.A * end)
        return result if high is None else result + self._decayed(high)

    def _below_tangent(self, ends: Ends, c: Scalar, where: str) -> ExpSum:
        """The larger value of h(c) + h'(c) (s - c) at the ends; without an end, the line must not rise towards it."""
        low, high = ends
        value, slope = self.at(c), rational(self.A) - self._decayed(c)
        demand(low is not None or high is not None, f"{where}: a tangent without any end")
        demand(high is not None or slope.sign() <= 0, f"{where}: the tangent rises to infinity")
        demand(low is not None or slope.sign() >= 0, f"{where}: the tangent rises to minus infinity")
        return _largest(lambda s: value + slope.scaled(s - c), ends)

    def _decayed(self, s: Scalar) -> ExpSum:
        return self.gamma * exponential(ONE, -s)


@dataclass(frozen=True)
class Multipliers:
    """Numbers for H_g, D_gk (row g, column k) and N_g."""

    entropy: Vector
    divergence: Matrix
    length: Vector | None

    def demand_allowed(self, where: str) -> None:
        """None is negative, and those of D_gg are zero."""
        vectors = [self.entropy.num, *self.divergence.rows, *([] if self.length is None else [self.length.num])]
        demand(all(n >= 0 for numbers in vectors for n in numbers), f"{where}: a multiplier is negative")
        demand(all(row[g] == 0 for g, row in enumerate(self.divergence.rows)), f"{where}: the diagonal is not zero")


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
            curve = asked.curve(_unit(-ONE, g, count), -ONE, ZERO)
            demand(curve.upper(ends, None, where).sign() < 0, f"{where}: H is not positive for group {g}")
            for k in range(count):
                if k != g:
                    # -D_gk = s_g - q_g.p_g + q_k.p_g - s_k
                    curve = asked.curve(_unit(ONE, g, count) + _unit(-ONE, k, count), ONE, -box[k][0])
                    name = f"{where}: D is not positive for groups {g}, {k}"
                    demand(curve.upper(ends, None, where).sign() < 0, name)

    def demand_refuted(
        self, multipliers: Multipliers, box: Sequence[Ends], tangents: Sequence[Scalar | None], where: str
    ) -> None:
        """The sum of multiplier times inequality is negative everywhere in the box."""
        multipliers.demand_allowed(where)
        count, divergence = len(self.asked), multipliers.divergence
        ones, columns = Vector((1,) * count, 1), divergence.transposed()
        total = NOTHING
        for g, (asked, ends, tangent) in enumerate(zip(self.asked, box, tangents, strict=True)):
            DEADLINE.check()
            own = Scalar(multipliers.entropy.num[g], multipliers.entropy.den) - divergence.row(g).dot(ones)
            constant = ZERO
            if multipliers.length is not None and self.log_length is not None:
                of_length = Scalar(multipliers.length.num[g], multipliers.length.den)
                own -= of_length
                constant = of_length * self.log_length
            weights = divergence.row(g) + _unit(own, g, count)
            curve = asked.curve(weights, own + columns.row(g).dot(ones), constant)
            total += curve.upper(ends, tangent, f"{where}, group {g}")
        demand(total.sign() < 0, f"{where}: the combination is not shown to be negative")


def criterion(
    setting: PromptSetting, groups: Groups, inverse: Matrix, wishes: Sequence[Wish], log_length: Scalar | None
) -> Criterion:
    """The inequalities; the inverse is that of V (checked by the caller)."""
    forms = _stacked([inverse.transposed() @ group.q for group in groups])  # rows r_k
    found = []
    for group in groups:
        DEADLINE.check()
        query, a = setting.queries[group.queries[0]], wishes[group.queries[0]].a
        rows = _stacked(differences(setting.head, query, a))
        found.append(Asked(forms @ a, rows.times(forms.transposed()), query.context @ group.q))
    return Criterion(tuple(found), log_length)


def _largest(function: Callable[[Scalar], ExpSum], ends: Ends) -> ExpSum:
    """The largest value at the ends that there are, at least one."""
    first, *others = [function(end) for end in ends if end is not None]
    for other in others:
        if (other - first).sign() > 0:
            return other
    return first


def _unit(value: Scalar, g: int, count: int) -> Vector:
    return Vector(tuple(value.num if k == g else 0 for k in range(count)), value.den)


def _stacked(rows: Sequence[Vector]) -> Matrix:
    """The matrix with these rows, at least one."""
    den = 1
    for row in rows:
        _, _, den = common_denominator(den, row.den)
    numbers = tuple(tuple(n * (den // row.den) for n in row.num) for row in rows)
    return Matrix(numbers, den, len(rows[0]))
