"""The exact loss curve of prompts at one query: certified lower and upper bounds for any prompt length.

Floats guess where the least loss is (a function of one variable, see
:mod:`~constructions.single_layer.loss_problem`); balls then cover the whole axis of masses with parts on which the
loss is proved to be above the lower bound, and an explicit prompt proves the upper one. Source: THEORY section 3.1
(ours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import flint
import numpy as np
from flint import arb, fmpq

from constructions.numbers.exponential import midpoint
from constructions.numbers.pivots import solve_minor
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.loss_cover import Cover, cover
from constructions.single_layer.loss_problem import LossProblem, OneCombination
from constructions.single_layer.loss_search import guess_minimum
from constructions.single_layer.prompt_law import realize
from constructions.verdict import Undecided

Row = list[fmpq]
RELATIVE_GAP = fmpq(1, 10**8)
ABSOLUTE_GAP = fmpq(1, 10**10)
MAX_PRECISION = 4096
TOKEN_BITS = 96
MAX_LOG_LENGTH = 10_000
"""Longest prompt that is written down, as the natural logarithm of its length (the length is an exact integer)."""


@dataclass(frozen=True)
class RationalPrompt:
    """A prompt whose column j of ``tokens`` (d×c) stands ``counts[j]`` times."""

    tokens: RationalMatrix
    counts: tuple[int, ...]

    @property
    def length(self) -> int:
        return sum(self.counts)

    def expanded(self, limit: int = 4096) -> RationalMatrix | None:
        """All tokens side by side (d×length), or None when there are more than ``limit``."""
        return None if self.length > limit else self.tokens.repeated(self.counts)


@dataclass(frozen=True)
class LawPoint:
    """A prompt that is too long to write down, by what the prompt law says of it: mean p̄ (d numbers) and mass
    ``e^{ρ+σ}`` with ``q·p̄ < ρ + σ``; some prompt of about ``e^{ρ+σ−q·p̄}`` tokens has them."""

    mean: tuple[fmpq, ...]
    sigma: fmpq


@dataclass(frozen=True)
class LossBounds:
    """``lower ≤ loss`` of every prompt of at most ``length`` tokens (of any number when None), and a prompt with loss
    ≤ ``upper``."""

    problem: LossProblem
    length: int | None
    lower: fmpq
    upper: fmpq
    prompt: RationalPrompt | LawPoint
    covers: tuple[Cover, ...]
    log_length: tuple[fmpq, fmpq] | None
    precision: int


def loss_curve(
    problem: LossProblem, lengths: Sequence[int | None], *, exact_length: bool = False
) -> Iterator[LossBounds]:
    """Certified bounds for each prompt length; work on the axis of masses is shared between the lengths.

    ``exact_length``: the prompt for the upper bound has exactly the given number of tokens (a positional embedding
    fixes it). Raises Undecided when the bounds cannot be brought together within the limits.

    >>> from constructions.data import Dataset, Example
    >>> from constructions.single_layer.preimage import preimage
    >>> from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
    >>> one = RationalMatrix.of([[1]])
    >>> layer = Layer(Attention((Head(one, one, one),)), FeedForward.none(1))
    >>> data = Dataset((Example(RationalMatrix.of([[0, 1]]), one.scaled(3)), Example(RationalMatrix.of([[2, 1]]), one)))
    >>> queries = list(data.queries(Transformer((layer,))))
    >>> problem = LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    >>> bounds = next(loss_curve(problem, [1]))
    >>> bounds.lower < bounds.upper < bounds.lower + fmpq(1, 10**6)
    True
    """
    precision = _precision(problem)
    with flint.ctx.workprec(precision):
        combinations = [OneCombination(problem, choice, precision) for choice in problem.combinations()]
        for length in lengths:
            yield _bounds(problem, combinations, length, precision, exact_length)


def _precision(problem: LossProblem) -> int:
    """Bits after the point: enough for the ratio of the context masses to appear squared."""
    exponents = []
    with flint.ctx.workprec(64):
        for view in problem.views:
            exponents.append(midpoint(view.mass.enclosure().log()) - problem.reference)
    spread = max(abs(x) for x in exponents)
    size = max((abs(x) for points in problem.shifted for a in points for x in a), default=fmpq(0))
    precision = 160 + 4 * int(spread.ceil()) + 2 * int(size.ceil()).bit_length()
    if precision > MAX_PRECISION:
        raise Undecided(f"the context masses are too far apart: by a factor of about e^{int(spread)} from their mean")
    return precision


def _bounds(
    problem: LossProblem, combinations: Sequence[OneCombination], length: int | None, precision: int, exact: bool
) -> LossBounds:
    bracket = _log_bracket(problem, length)
    log_length = None if bracket is None else arb(bracket[0]).union(arb(bracket[1]))
    prompt, upper = _best_prompt(problem, combinations, length, exact)
    goal = upper
    if exact and problem.integer_masses:  # the lower bound is about all masses up to the length
        goal = _best_prompt(problem, combinations, length, False)[1]
    for slack in range(4):
        gap = max(ABSOLUTE_GAP, goal * RELATIVE_GAP) * 100**slack
        lower = _short_below(goal - gap)
        covers = []
        for combination in combinations:
            found = cover(combination, lower, length, log_length)
            if found is None:
                break
            covers.append(found)
        else:
            return LossBounds(problem, length, lower, upper, prompt, tuple(covers), bracket, precision)
    raise Undecided("the certified lower bound stays away from the best prompt found")


def _log_bracket(problem: LossProblem, length: int | None) -> tuple[fmpq, fmpq] | None:
    """Rationals around log N, where the slab needs them."""
    if length is None or problem.g is None:
        return None
    if length == 1:
        return fmpq(0), fmpq(0)
    power = fmpq(2) ** 80
    near = fmpq((midpoint(arb(length).log()) * power).floor()) / power
    return near - 1 / power, near + 2 / power


def _short_below(x: fmpq) -> fmpq:
    """A decimal with few digits that is at most x (and 0 for a negative x: a loss is never below)."""
    if x <= 0:
        return fmpq(0)
    digits = fmpq(10) ** max(0, 12 - int(x.floor()).bit_length() // 3)
    while x * digits < 10**9:
        digits *= 10
    return fmpq((x * digits).floor()) / digits


# -- the upper bound: an explicit prompt -------------------------------------------------------------------------------


def _best_prompt(
    problem: LossProblem, combinations: Sequence[OneCombination], length: int | None, exact: bool
) -> tuple[RationalPrompt | LawPoint, fmpq]:
    """The best explicit prompt over all combinations, with a proved upper bound of its loss."""
    best: tuple[RationalPrompt | LawPoint, fmpq] | None = None
    for combination in combinations:
        if problem.integer_masses:
            candidates: list[tuple[float | None, int]] = [
                (None, mass) for mass in _integer_masses(combination, length, exact)
            ]
        else:
            candidates = [(guess_minimum(combination, length)[0], 0)]
        for sigma, mass in candidates:
            with flint.ctx.workprec(combination.precision + 4 * int(abs(sigma or 0.0))):
                prompt = _prompt_at(problem, combination.sharpened(flint.ctx.prec), sigma, mass, length, exact)
                loss = _loss(problem, prompt).upper()
            if not loss.is_finite():
                continue
            upper = _short_above(midpoint(loss))
            if best is None or upper < best[1]:
                best = (prompt, upper)
    if best is None:
        raise Undecided("no prompt with a finite loss was found")
    return best


def _loss(problem: LossProblem, prompt: RationalPrompt | LawPoint) -> arb:
    if isinstance(prompt, RationalPrompt):
        return problem.loss_at(prompt.tokens, prompt.counts)
    mass = arb(problem.reference + prompt.sigma).exp()
    return problem.loss_for(mass, problem.V.apply(list(prompt.mean)))


def _short_above(x: fmpq) -> fmpq:
    """A decimal a little above x: the kernel rounds in its own way."""
    power = fmpq(10) ** 24
    return fmpq((x * power).ceil() + 1) / power


def _integer_masses(combination: OneCombination, length: int | None, exact: bool) -> list[int]:
    """The integer masses next to the best real one, and the ends of the allowed range (q = 0)."""
    if exact and length is not None:
        return [length]
    sigma, _ = guess_minimum(combination, None)
    top = length if length is not None else 10**30
    mass = float(combination.rho) + sigma
    near = 1 if mass < 0 else int(np.exp(min(mass, 60.0)))
    return sorted({min(max(1, m), top) for m in (1, near, near + 1, top if length is not None else near)})


def _prompt_at(
    problem: LossProblem, combination: OneCombination, sigma: float | None, mass: int, length: int | None, exact: bool
) -> RationalPrompt | LawPoint:
    """Explicit rational tokens for the best output at one mass."""
    log_length = None if length is None or problem.g is None else arb(length).log()
    q = list(problem.q)
    if sigma is None:
        rational_sigma = midpoint(arb(mass).log()) - problem.reference
        return _copies(_mean(problem, combination.best_output(rational_sigma, None)), mass)
    place = _dyadic(sigma)
    mean = _mean(problem, combination.best_output(place, log_length))
    log_mass = problem.reference + place
    if problem.g is None:  # one token has any mass: move it along a direction that V does not see
        kernel = next(k for k in problem.V.nullspace() if dot(q, k) != 0)
        n = length if exact and length is not None else 1
        step = (log_mass - midpoint(arb(n).log()) - dot(q, mean)) / dot(q, kernel)
        return _copies([m + step * k for m, k in zip(mean, kernel, strict=True)], n)
    entropy = log_mass - dot(q, mean)
    if entropy > MAX_LOG_LENGTH:
        return LawPoint(tuple(_short(mean)), place)
    edge = fmpq(1, 10**24)
    n = (
        length
        if length is not None
        else 1 + max(1, int(arb(max(entropy, edge)).exp().ceil().upper().unique_fmpz() or 1))
    )
    if n == 1 or (entropy <= edge and not exact):
        return _copies(mean, 1)
    if entropy >= midpoint(arb(n).log()) - edge:
        return _copies(mean, n)
    # A prompt of mean 0 and mass e^H, moved to the mean: its numbers are of moderate size wherever the mean is.
    with flint.ctx.workprec(256):
        around = realize(q, [arb(0)] * len(q), arb(max(entropy, edge)), n)
    columns = [
        [m + x for m, x in zip(_short(mean), around.rounded(TOKEN_BITS).column(j), strict=True)]
        for j in range(len(around.counts))
    ]
    return RationalPrompt(RationalMatrix.of_columns(columns), around.counts)


def _copies(mean: Row, n: int) -> RationalPrompt:
    """n equal tokens at the mean: the boundary of the law (its mass is what the mean gives)."""
    return RationalPrompt(RationalMatrix.of_columns([_short(mean)]), (n,))


def _short(row: Row, bits: int = TOKEN_BITS) -> Row:
    """Nearby rationals with denominator 2^bits."""
    power = fmpq(2) ** bits
    return [fmpq((x * power + fmpq(1, 2)).floor()) / power for x in row]


def _mean(problem: LossProblem, u: Sequence[arb]) -> Row:
    """The mean p̄ with V p̄ = u up to rounding of u, for u in range V: one exact solve with a largest minor of V.

    What is rounded is u, before the solve: the output is near u however ill-conditioned V is.
    """
    if not all(x.is_finite() for x in u):
        raise Undecided("the best output at a mass left the range of balls")
    right = _short([midpoint(x) for x in u], 2 * TOKEN_BITS)
    return _short(solve_minor(problem.V.mat, problem.V.pivots, right), 2 * TOKEN_BITS)


def _dyadic(x: float) -> fmpq:
    if not isfinite(x):
        raise Undecided("the search for the best mass left the range of floats")
    return fmpq(round(x * 2**40)) / fmpq(2) ** 40
