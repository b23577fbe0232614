"""The certified curve beside trained points: bounds of both losses at every length, and which points lie below.

A point lies below when even the upper end of its loss's enclosure is smaller than the certified lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import flint
from flint import arb, fmpq

from constructions.experiments.prompt_loss import Array
from constructions.experiments.training import Run, Trainee
from constructions.numbers.balls import until_decided
from constructions.numbers.exponential import midpoint
from constructions.single_layer.curve import LossBounds, RationalPrompt, loss_curve
from constructions.single_layer.output_loss import output_factors, output_loss
from constructions.verdict import Undecided

BITS = 192
PLACES = 40
"""Decimal places of the ends of an enclosure."""


@dataclass(frozen=True)
class Interval:
    """Rational ends of an enclosure."""

    lower: fmpq
    upper: fmpq

    def is_below(self, floor: fmpq) -> bool:
        """Whether all of it is smaller than ``floor``.

        >>> Interval(fmpq(1), fmpq(2)).is_below(fmpq(2)), Interval(fmpq(1), fmpq(2)).is_below(fmpq(5, 2))
        (False, True)
        """
        return bool(self.upper < floor)


@dataclass(frozen=True)
class Level:
    """What prompts of at most ``bounds.length`` tokens can reach, certified: the least loss before the MLP and the
    least loss of the outputs, each between two bounds."""

    bounds: LossBounds
    output: Interval

    @property
    def length(self) -> int | None:
        return self.bounds.length

    def floor(self, run: Run) -> fmpq:
        """The lower bound for the loss that a run has trained."""
        return self.bounds.lower if run.method == "prompt-attention" else self.output.lower


def curve(trainee: Trainee, lengths: Sequence[int | None]) -> list[Level]:
    """The levels at these lengths, shorter ones first. The lower bound of the outputs' loss is (1 − ρ)² times that
    before the MLP; the upper one is what the best prompt before the MLP gives, of this length or of one in front of it
    in the list (or (1 + ρ)² times its bound, where it is too long to be written down)."""
    factors = output_factors(trainee.model.layers[0].mlp)
    assert factors is not None  # the MLP was scaled for that
    levels: list[Level] = []
    for bounds in loss_curve(trainee.problem, lengths):
        upper = bounds.upper * factors[1]
        tokens = bounds.prompt.expanded() if isinstance(bounds.prompt, RationalPrompt) else None
        if tokens is not None:
            upper = min(upper, _enclosed(partial(output_loss, trainee.model, trainee.queries, tokens)).upper)
        if levels:
            upper = min(upper, levels[-1].output.upper)
        levels.append(Level(bounds, Interval(_down(bounds.lower * factors[0]), _up(upper))))
    return levels


def reached(trainee: Trainee, run: Run, point: Array) -> Interval:
    """The loss of a trained point, enclosed. Raises Undecided where no precision up to the cap encloses it (a prompt of
    astronomical numbers)."""
    return _enclosed(partial(trainee.loss, run, point))


def _enclosed(loss: Callable[[], arb]) -> Interval:
    """A loss of at least 0 between two decimals, at as many bits as that takes."""

    def attempt() -> Interval:
        ball = loss()
        if not (ball.is_finite() and ball.rad() < arb(10) ** -PLACES):
            raise Undecided(f"the loss is not enclosed at {flint.ctx.prec} bits")
        return Interval(max(fmpq(0), _down(midpoint(ball.lower()))), _up(midpoint(ball.upper())))

    return until_decided(attempt, start=BITS)


def _down(x: fmpq) -> fmpq:
    return fmpq((x * fmpq(10) ** PLACES).floor()) / fmpq(10) ** PLACES


def _up(x: fmpq) -> fmpq:
    return -_down(-x)
