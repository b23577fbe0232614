"""The explicit prompt of a memorizable dataset with one logit vector: tokens in balls that contain an exact solution.

Source: THEORY section 3.1 (ours): the converse of the prompt law, applied to the mass and output that the equations
ask for.
"""

from __future__ import annotations

from collections.abc import Sequence

import flint
from flint import arb, fmpq

from constructions.files import PromptBox
from constructions.numbers.balls import until_decided
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, dot
from constructions.numbers.roots import enclosed_root
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.one_query import Combination, Possible
from constructions.single_layer.prompt_law import ClusteredPrompt, realize, realize_uniform

MAX_WRITTEN_TOKENS = 4096


def explicit_prompt(problem: LossProblem, possible: Possible, precision: int = 256) -> ClusteredPrompt:
    """A memorizing prompt of the least length ``possible.length``, in balls that contain the exact tokens.

    Raises Undecided where the boundary of the prompt law cannot be told at any precision up to the cap.
    """
    return until_decided(lambda: _at_this_precision(problem, possible), start=precision)


def prompt_box(prompt: ClusteredPrompt, bits: int = 128) -> PromptBox | None:
    """All tokens side by side as a rational centre with a proved radius; None when there are too many to write down."""
    if prompt.length > MAX_WRITTEN_TOKENS:
        return None
    centre = prompt.rounded(bits)
    radius = fmpq(0)
    columns = []
    with flint.ctx.workprec(4 * bits):
        for j, count in enumerate(prompt.counts):
            for i in range(centre.shape[0]):
                distance = (prompt.tokens[i, j] - arb(centre[i, j])).abs_upper()
                radius = max(radius, midpoint(distance))
            columns += [centre.column(j)] * count
    power = fmpq(2) ** (2 * bits)
    return PromptBox(RationalMatrix.of_columns(columns), fmpq((radius * power).ceil()) / power)


def _at_this_precision(problem: LossProblem, possible: Possible) -> ClusteredPrompt:
    combination = Combination(problem, possible.choice)
    length = possible.length
    C = [x.enclosure() for x in combination.C[0]]
    a = [arb(x) for x in combination.a[0]]
    source = [arb(x) for x in possible.sources[0]]
    tight = combination.needs_equal_tokens(possible)

    def mean_at(mass: arb) -> list[arb]:
        """p̄ with V p̄ = a − C/s: the source of a, minus that of C over s."""
        return [x - y / mass for x, y in zip(source, _source(problem, combination), strict=True)]

    if problem.integer_masses:
        mass = arb(length)
        return realize_uniform(problem.q, mean_at(mass), mass.log(), length)
    if possible.equation is not None:
        mass = possible.equation.gamma.enclosure() / arb(possible.equation.delta)
    elif problem.g is None:
        mass = problem.views[0].mass.enclosure()
    else:
        falls = combination.along(list(problem.g), 0).sign() > 0  # exactly: g·C may be 0, which no ball shows
        mass = _free_mass(list(problem.g), a, C, length, falls)
    mean = mean_at(mass)
    log_mass = mass.log()
    if problem.g is None:
        kernel = next(k for k in problem.V.nullspace() if dot(list(problem.q), k) != 0)
        step = (log_mass - _at(problem.q, mean)) / arb(dot(list(problem.q), kernel))
        return realize_uniform(problem.q, [m + step * arb(k) for m, k in zip(mean, kernel, strict=True)], log_mass, 1)
    if length == 1 or tight:
        return realize_uniform(problem.q, mean, log_mass, length)
    return realize(problem.q, mean, log_mass, length)


def _source(problem: LossProblem, combination: Combination) -> list[arb]:
    """Balls for some y with V y = C of query 0: C = Σ e^{score} V z − S a, each part in range V."""
    view, query = problem.views[0], problem.queries[0]
    solved = problem.V.solve(combination.a[0])
    assert solved is not None  # checked when the combination was found possible
    weights = [arb(score).exp() for score in view.scores]
    total = sum(weights, arb(0))
    rows = query.context.rows()
    return [
        sum((w * arb(z) for w, z in zip(weights, row, strict=True)), arb(0)) - total * arb(x)
        for row, x in zip(rows, solved, strict=True)
    ]


def _free_mass(g: Sequence[fmpq], a: Sequence[arb], C: Sequence[arb], length: int, falls: bool) -> arb:
    """A mass with 0 ≤ H ≤ log length, where every mass solves the equations: H(s) = log s − g·a + (g·C)/s."""
    at_a, at_C = _at(g, a), _at(g, C)

    def entropy(mass: arb) -> tuple[arb, arb]:
        return mass.log() - at_a + at_C / mass, (1 - at_C / mass) / mass

    least = at_C if falls else arb(0)  # for g·C > 0, H decreases up to s = g·C and increases from there
    if length > 1:
        return least  # H is least there, and above 0 since one token is not enough
    return enclosed_root(entropy, midpoint(least))


def _at(q: Sequence[fmpq], x: Sequence[arb]) -> arb:
    return sum((arb(c) * y for c, y in zip(q, x, strict=True)), arb(0))
