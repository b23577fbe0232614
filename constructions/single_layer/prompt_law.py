"""The prompt law: all that a prompt can do to one query of one head is a point (p̄, S) with ``log S = q·p̄ + H``.

For a query with logit vector q a prompt P = [p_1 … p_m] acts through its mass ``S = Σ e^{q·p_j}`` and its mean ``p̄ =
Σ e^{q·p_j} p_j / S`` only, and ``Att(x, P) = V p̄``. For q ≠ 0 the pairs that prompts of exactly m tokens reach are
those with

    log S = q·p̄ + H,   H = 0 if m = 1,   0 < H ≤ log m if m ≥ 2

(H is the entropy of the attention weights on the prompt); for q = 0, S = m and p̄ is free. Two different tokens are
enough for every such pair: one token once, the other m − 1 times. Source: THEORY section 3.1 (ours); proofs in
docs/theory/prompt-law.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flint
from flint import arb, fmpq

from constructions.numbers.balls import BallMatrix, decided_sign, until_decided
from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, dot
from constructions.numbers.roots import enclosed_root
from constructions.verdict import Undecided

Row = list[fmpq]


class UnreachableError(ValueError):
    """No prompt of this length has this mean and mass; the message says which side of the law fails."""


@dataclass(frozen=True)
class PromptSummary:
    """What a query sees of a prompt: ``mean`` p̄ (d×1) and ``mass`` S, exactly."""

    mean: ExpMatrix
    mass: ExpSum

    def entropy(self, q: Sequence[fmpq]) -> arb:
        """``H = log S − q·p̄`` as a ball at flint's current precision; 0 ≤ H ≤ log of the prompt length."""
        at = sum((arb(x) * y.enclosure() for x, y in zip(q, self.mean.column(0), strict=True)), arb(0))
        return self.mass.enclosure().log() - at


def summarize(q: Sequence[fmpq], tokens: RationalMatrix, counts: Sequence[int] | None = None) -> PromptSummary:
    """From tokens (columns, d×c; column j taken ``counts[j]`` times, once when None) to (p̄, S).

    >>> summarize([fmpq(0)], RationalMatrix.of([[1, 3]])).mean.as_rational()
    RationalMatrix.of([['2']])
    """
    repeats = [fmpq(1)] * tokens.shape[1] if counts is None else [fmpq(n) for n in counts]
    scores = [dot(q, tokens.column(j)) for j in range(tokens.shape[1])]
    mass = ExpSum.weighted(repeats, scores)
    sums = [ExpSum.weighted([n * x for n, x in zip(repeats, row, strict=True)], scores) for row in tokens.rows()]
    return PromptSummary(ExpMatrix([[ExpFraction(x, mass)] for x in sums], 1), mass)


@dataclass(frozen=True)
class ClusteredPrompt:
    """A prompt with few different tokens: column j of ``tokens`` (d×c balls) stands ``counts[j]`` times."""

    tokens: BallMatrix
    counts: tuple[int, ...]

    @property
    def length(self) -> int:
        return sum(self.counts)

    def rounded(self, bits: int) -> RationalMatrix:
        """The tokens as nearby rationals with denominator 2^bits."""
        power = fmpq(2) ** bits
        rows, width = self.tokens.shape
        entries = [[midpoint(self.tokens[i, j]) for j in range(width)] for i in range(rows)]
        return RationalMatrix.of([[fmpq((x * power + fmpq(1, 2)).floor()) / power for x in row] for row in entries])


def realize(q: Sequence[fmpq], mean: Sequence[arb], log_mass: arb, length: int) -> ClusteredPrompt:
    """Explicit tokens of a prompt with exactly ``length`` tokens, mean p̄ and mass e^{log_mass}, in balls.

    The weights are one value w_1 and length − 1 equal ones, chosen to have the entropy H that the law asks for; then
    ``p_j = p̄ + ((log S + log w_j − q·p̄)/|q|²) q``. Raises UnreachableError when H is outside what the length
    allows, Undecided when the balls are too wide to tell (also on the boundary H = 0 or H = log m, where the balls
    cannot tell: there :func:`realize_uniform` serves). For q = 0 the mass must be the length.
    """
    if length < 1:
        raise ValueError(f"prompt length: expected at least 1, found {length}")
    at = sum((arb(x) * y for x, y in zip(q, mean, strict=True)), arb(0))
    if all(x == 0 for x in q) or length == 1:
        return realize_uniform(q, mean, log_mass, length)
    entropy = log_mass - at
    if decided_sign(entropy) <= 0:
        raise UnreachableError(f"log S − q·p̄ = {entropy} is not above 0, as two or more tokens need")
    if decided_sign(arb(length).log() - entropy) < 0:
        raise UnreachableError(f"log S − q·p̄ = {entropy} is above log {length}")
    odds = _log_odds(entropy, length)
    log_w = -((length - 1) * (-odds).exp()).log1p()
    return _along_q(q, mean, [log_mass + log_w - at, log_mass + log_w - odds - at], (1, length - 1))


def realize_uniform(q: Sequence[fmpq], mean: Sequence[arb], log_mass: arb, length: int) -> ClusteredPrompt:
    """``length`` copies of p̄: the boundary H = log length of the law (for q = 0, mass = length: every p̄).

    Raises UnreachableError when the mass is certainly another one.
    """
    at = sum((arb(x) * y for x, y in zip(q, mean, strict=True)), arb(0))
    if not (log_mass - at - arb(length).log()).contains(0):
        raise UnreachableError(
            f"{length} equal tokens p̄ have log S = q·p̄ + log {length} = {at + arb(length).log()}, not {log_mass}"
        )
    return _along_q(q, mean, [arb(0)], (length,))


def _along_q(q: Sequence[fmpq], mean: Sequence[arb], steps: Sequence[arb], counts: tuple[int, ...]) -> ClusteredPrompt:
    """Tokens ``p̄ + step q/|q|²``."""
    square = dot(q, q)
    rows = [
        [m + (step * arb(x / square) if square != 0 else arb(0)) for step in steps]
        for x, m in zip(q, mean, strict=True)
    ]
    return ClusteredPrompt(BallMatrix(flint.arb_mat(rows)), counts)


def _log_odds(entropy: arb, length: int) -> arb:
    """The x ≥ 0 for which weights in the ratio e^x : 1 : … : 1, ``length`` of them, have this entropy below log length.

    With r = (m−1) e^{−x} the entropy is ``log(1 + r) + x r/(1 + r)``: all terms are positive, and it falls from log m
    to 0.
    """

    def missing(x: arb) -> tuple[arb, arb]:
        r = (length - 1) * (-x).exp()
        rest = r / (1 + r)
        return entropy - r.log1p() - x * rest, x * rest / (1 + r)

    return enclosed_root(missing, fmpq(0))


def reaches(q: Sequence[fmpq], mean: Sequence[fmpq], mass: ExpSum, length: int) -> bool:
    """Whether a prompt of exactly ``length`` tokens has mean p̄ (rational) and mass S, decided exactly.

    ``S e^{−q·p̄}`` is an exponential sum, so 0 < H ≤ log m is a question of exact signs.

    >>> two_tokens = summarize([fmpq(1)], RationalMatrix.of([[0, 0]]))
    >>> reaches([fmpq(1)], [fmpq(0)], two_tokens.mass, 2), reaches([fmpq(1)], [fmpq(0)], ExpSum.of(1), 2)
    (True, False)
    """
    if all(x == 0 for x in q):
        return (mass - length).is_zero
    ratio = mass * ExpSum.exp(-dot(q, mean))  # e^H
    if length == 1:
        return (ratio - 1).is_zero
    return (ratio - 1).sign() > 0 and (ratio - length).sign() <= 0


def shortest_length(ratio: ExpFraction) -> int:
    """The least m with ``e^H ≤ m`` for ``ratio`` = e^H ≥ 1, exactly (1 when H = 0)."""

    def ceiling() -> int:
        ball = ratio.enclosure()
        low, high = ball.floor().unique_fmpz(), ball.ceil().unique_fmpz()
        if high is not None and low is not None:
            return int(high)
        nearest = round_to_integer(ball)
        sign = (ratio - nearest).sign()
        return nearest if sign <= 0 else nearest + 1

    return max(1, until_decided(ceiling))


def round_to_integer(ball: arb) -> int:
    """The integer nearest to the midpoint; Undecided when the ball is wider than 1/2."""
    if not ball.rad() < fmpq(1, 4):
        raise Undecided(f"the ball {ball} is too wide to name an integer")
    return int((midpoint(ball) + fmpq(1, 2)).floor())
