"""Queries that share logit vectors, several heads or small ones: each group solves its own system (Theorem C).

If the G different logit vectors are linearly independent modulo row(V_j) for every head j, prompts reach every mass
e^{σ_g} > 0 together with every output in the range of V_j at each of them. So data are memorizable iff each group of
pairs that share a logit vector has a mass that solves ``s (o_α − o_β) = C_α − C_β`` for all its pairs. Source: THEORY
section 3.3; proof in docs/theory/several-heads.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from constructions.numbers.exponential import ExpSum
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.several_heads import HeadPairs, SeveralHeads

Row = list[fmpq]


@dataclass(frozen=True)
class PairEquation:
    """``s δ = Γ``, coordinate ``coordinate`` of the equation of two pairs of one group; δ ≠ 0 and Γ/δ > 0."""

    first: int
    second: int
    coordinate: int


@dataclass(frozen=True)
class SharedSolution:
    """What the heads are to give (``inputs`` u_α, so V_j u_α), and for each group the equation that fixes its mass
    (None: every mass solves it); ``duals[j]`` (G×d) has rows in ker V_j that are dual to the logit vectors."""

    choice: tuple[int, ...]
    inputs: tuple[tuple[fmpq, ...], ...]
    equations: tuple[PairEquation | None, ...]
    duals: tuple[RationalMatrix, ...]


def duals(pairs: HeadPairs) -> tuple[RationalMatrix, ...] | None:
    """For each head vectors k_g in its kernel with ``q_g'·k_g = 1`` if g = g', else 0 (rows, G×d): they exist iff the
    logit vectors are independent modulo row(V_j). None where they are not, or where heads share a logit vector."""
    if any(len({pairs.head(pair) for pair in members}) > 1 for members in pairs.groups):
        return None
    count = len(pairs.groups)
    Q = RationalMatrix.of([pairs.q[members[0]] for members in pairs.groups])
    found = []
    for kernel in pairs.kernels:
        seen = Q.times(kernel)
        if kernel.shape[1] < count or seen.rank() < count:
            return None
        rows = []
        for g in range(count):
            t = seen.solve([fmpq(int(k == g)) for k in range(count)])
            assert t is not None  # full row rank
            rows.append(kernel.apply(t))
        found.append(RationalMatrix.of(rows))
    return tuple(found)


def solve_shared(data: SeveralHeads) -> SharedSolution | None:
    """A combination of preimages for which every group has a mass, by Theorem C; None if there is none or the theorem
    does not apply. Raises Undecided where a sign is not decided."""
    dual = duals(data.pairs)
    if dual is None:
        return None
    for choice in data.combinations():
        inputs = data.inputs(choice)
        if inputs is None:
            continue
        outputs = [data.pairs.V[data.pairs.head(pair)].apply(u) for pair, u in enumerate(inputs)]
        C = data.asked(outputs)
        equations = []
        for members in data.pairs.groups:
            found = _mass_equation(members, outputs, C)
            if found == "none":
                break
            equations.append(None if isinstance(found, str) else found)
        else:
            return SharedSolution(choice, tuple(tuple(u) for u in inputs), tuple(equations), dual)
    return None


def _mass_equation(members: Sequence[int], outputs: Sequence[Row], C: Sequence[Sequence[ExpSum]]) -> PairEquation | str:
    """The equation that fixes the mass of a group; "any" if every mass solves all, "none" if no positive one does."""
    places = [
        (beta, c, outputs[members[0]][c] - outputs[beta][c], C[members[0]][c] - C[beta][c])
        for beta in members[1:]
        for c in range(len(outputs[beta]))
    ]
    chosen = next(((beta, c, delta, gamma) for beta, c, delta, gamma in places if delta != 0), None)
    if chosen is None:
        return "any" if all(gamma.is_zero for _, _, _, gamma in places) else "none"
    beta, c, delta, gamma = chosen
    if (gamma * delta).sign() <= 0:
        return "none"
    if any(other * delta != gamma * slope for _, _, slope, other in places):
        return "none"
    return PairEquation(members[0], beta, c)
