"""Adam with a learning rate that falls to zero along a cosine, in floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np

from constructions.experiments.prompt_loss import Array

Loss = Callable[[Array], tuple[Array, Array]]
"""A function of k points, the rows of an array, that returns their k values and their k×n gradients."""


@dataclass(frozen=True)
class Descent:
    """The best point that a run met, and its loss in floats (infinite when no step had a finite one)."""

    loss: float
    point: Array


def adam(
    loss: Loss,
    starts: Array,
    learning_rates: Sequence[float],
    *,
    steps: int,
    decay: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-12,
) -> tuple[Descent, ...]:
    """``steps`` steps of Adam from each start (k×n), each with its own learning rate (k); a run that leaves the range
    of floats ends with what it had.

    >>> bowl = lambda points: ((points**2).sum(axis=1), 2 * points)
    >>> runs = adam(bowl, np.array([[3.0, -4.0], [3.0, -4.0]]), [0.1, 0.01], steps=400)
    >>> [run.loss < 1e-6 for run in runs]
    [True, False]
    """
    points = starts.astype(np.float64)
    rates = np.array(learning_rates)[:, None]
    first, second = np.zeros_like(points), np.zeros_like(points)
    least, best = np.full(len(points), np.inf), points.copy()
    running = np.ones(len(points), dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps + 1):
            values, gradients = loss(points)
            running &= np.isfinite(values) & np.isfinite(gradients).all(axis=1)
            if not running.any():
                break
            better = running & (values < least)
            least[better], best[better] = values[better], points[better]
            first += (1 - decay[0]) * (gradients - first)
            second += (1 - decay[1]) * (gradients**2 - second)
            mean = first / (1 - decay[0] ** (step + 1))
            scale = np.sqrt(second / (1 - decay[1] ** (step + 1))) + epsilon
            points = points - rates * ((1 + cos(pi * step / max(steps, 1))) / 2 * mean / scale)
    return tuple(Descent(float(value), point) for value, point in zip(least, best, strict=True))


def one_by_one(loss: Callable[[Array], tuple[float, Array]]) -> Loss:
    """A loss of one point as a loss of many.

    >>> [part.tolist() for part in one_by_one(lambda x: (float(x @ x), 2 * x))(np.array([[1.0, 2.0], [0.0, 3.0]]))]
    [[5.0, 9.0], [[2.0, 4.0], [0.0, 6.0]]]
    """

    def many(points: Array) -> tuple[Array, Array]:
        values, gradients = zip(*map(loss, points), strict=True)
        return np.array(values), np.array(gradients)

    return many
