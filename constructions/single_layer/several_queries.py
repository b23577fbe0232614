"""Several queries of one head: which data some prompt memorizes, decided by n² inequalities in the prompt's masses.

Queries are grouped by logit vector q_g. In each group a prompt of mass ``e^{σ_g}`` that meets its queries has the mean
``p̄_g = α_g + β_g e^{−σ_g}`` at q_g (V invertible). Every prompt satisfies

    H_g = σ_g − q_g·p̄_g ≥ 0,    D_gk = σ_k − σ_g + (q_g − q_k)·p̄_g ≥ 0,    N_g = log N − H_g ≥ 0

(entropy, Kullback-Leibler divergence, length). If the q_g are linearly independent, every point σ at which all H_g
and D_gk are strictly positive comes from a prompt of some length. So data are memorizable if there is such a point,
and not if the closed system has none. Source: THEORY section 3.2 (ours); proofs in docs/theory/several-queries.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flint import arb, fmpq
from numpy.typing import NDArray

from constructions.numbers.balls import until_decided
from constructions.numbers.exponential import ExpSum
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.mass_boxes import Form
from constructions.single_layer.one_query import Combination, Equation, Impossible
from constructions.verdict import Undecided

Row = list[fmpq]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Queries with one logit vector, for one choice of their preimages: what they ask of the prompt at q."""

    combination: Combination
    equation: Equation | None

    @property
    def q(self) -> Row:
        return list(self.combination.problem.q)


@dataclass(frozen=True)
class System:
    """The inequalities of one combination of preimages; σ_g of a group with an equation is fixed and known by
    enclosure."""

    groups: tuple[Group, ...]
    length: int | None

    @cached_property
    def inverse(self) -> RationalMatrix:
        return self.groups[0].combination.problem.V.inverse()

    @cached_property
    def independent(self) -> bool:
        """Whether the logit vectors are linearly independent."""
        return RationalMatrix.of([group.q for group in self.groups]).rank() == len(self.groups)

    @cached_property
    def inequalities(self) -> list[Form]:
        n = len(self.groups)
        found = []
        for g in range(n):
            alpha = self.inverse.apply(self.groups[g].combination.a[0])
            for k in range(n):
                direction = [x - (y if k != g else 0) for x, y in zip(self.groups[g].q, self.groups[k].q, strict=True)]
                decay = self._decay(g, direction)  # direction·β_g
                at = dot(direction, alpha)
                if k == g:
                    own = tuple(int(j == g) for j in range(n))
                    found.append(Form("entropy", g, None, -at, own, -decay))
                    if self.length is not None:
                        found.append(Form("length", g, None, at, tuple(-x for x in own), decay, 1))
                else:
                    slopes = tuple(int(j == k) - int(j == g) for j in range(n))
                    found.append(Form("divergence", g, k, at, slopes, decay))
        return found

    def _decay(self, g: int, direction: Sequence[fmpq]) -> ExpSum:
        """``direction·β_g`` with β = −V^{-1} C of the group's first query."""
        return -self.groups[g].combination.along(self.inverse.T.apply(list(direction)), 0)

    @cached_property
    def brackets(self) -> list[tuple[fmpq, fmpq] | None]:
        """For each group with an equation rationals l ≤ σ_g ≤ h, 2^-60 apart; None for the others."""
        return [None if group.equation is None else _bracket(group.equation) for group in self.groups]

    def holds_strictly(self, box: Sequence[tuple[fmpq, fmpq]]) -> bool:
        """Whether all entropies and divergences are positive on the whole box (by balls). Length inequalities, if
        any, included."""

        def decide() -> bool:
            for inequality in self.inequalities:
                total = arb(inequality.constant)
                if inequality.log_length and self.length is not None:
                    total += arb(self.length).log()
                for g, (low, high) in enumerate(box):
                    sigma = arb(low).union(arb(high))
                    if inequality.slopes[g]:
                        total += inequality.slopes[g] * sigma
                    if g == inequality.group:
                        total += inequality.decay.enclosure() * (-sigma).exp()
                if total <= 0:
                    return False
                if not total > 0:
                    raise Undecided("an inequality of the criterion is too close to equality")
            return True

        return until_decided(decide, cap=1 << 11)


def _bracket(equation: Equation) -> tuple[fmpq, fmpq]:
    """Rationals around log(Γ/δ), proved by exact signs."""
    power = fmpq(2) ** 60

    def guess() -> fmpq:
        from constructions.numbers.exponential import midpoint

        ball = (equation.gamma.enclosure() / arb(equation.delta)).log()
        if not ball.rad() < fmpq(1, 2**70):
            raise Undecided("the mass is not enclosed narrowly enough")
        return fmpq((midpoint(ball) * power).floor()) / power

    low = until_decided(guess) - 1 / power
    high = low + 3 / power
    sign = 1 if equation.delta > 0 else -1
    mass = equation.gamma * fmpq(sign)
    delta = equation.delta * sign
    assert (mass - ExpSum.exp(low) * delta).sign() >= 0
    assert (ExpSum.exp(high) * delta - mass).sign() >= 0
    return low, high


def group_of(problem: LossProblem, choice: Sequence[int]) -> Group | Impossible:
    """What one group asks for: its equation, or the reason (sign, masses) why it cannot be met.

    Raises ValueError for singular V.
    """
    if problem.V.rank() < problem.V.shape[0]:
        raise ValueError("several queries: expected an invertible V = W_o W_v, found a singular one")
    combination = Combination(problem, tuple(choice))
    chosen: Equation | None = None
    for equation in (e for j in range(1, len(combination.a)) for e in combination.pair(0, j)):
        if equation.delta == 0:
            if not equation.gamma.is_zero:
                return Impossible("sign", (equation,))
            continue
        if (equation.gamma * equation.delta).sign() <= 0:
            return Impossible("sign", (equation,))
        if chosen is None:
            chosen = equation
        elif chosen.gamma * equation.delta != equation.gamma * chosen.delta:
            return Impossible("masses", (chosen, equation))
    return Group(combination, chosen)
