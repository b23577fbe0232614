"""Adam with a learning rate that falls to zero along a cosine, in floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

import numpy as np

from constructions.experiments.prompt_loss import Array

Loss = Callable[[Array], tuple[float, Array]]
"""A function of a flat array that returns its value and its gradient."""


@dataclass(frozen=True)
class Descent:
    """The best point that a run met, and its loss in floats (infinite when no step had a finite one)."""

    loss: float
    point: Array


def adam(
    loss: Loss,
    start: Array,
    *,
    learning_rate: float,
    steps: int,
    decay: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-12,
) -> Descent:
    """``steps`` steps of Adam from ``start``; a run that leaves the range of floats ends with what it had.

    >>> run = adam(lambda x: (float(x @ x), 2 * x), np.array([3.0, -4.0]), learning_rate=0.1, steps=400)
    >>> run.loss < 1e-6
    True
    """
    point = start.astype(np.float64)
    first, second = np.zeros_like(point), np.zeros_like(point)
    best = Descent(float("inf"), point.copy())
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps + 1):
            value, gradient = loss(point)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                break
            if value < best.loss:
                best = Descent(value, point.copy())
            first += (1 - decay[0]) * (gradient - first)
            second += (1 - decay[1]) * (gradient**2 - second)
            mean = first / (1 - decay[0] ** (step + 1))
            scale = np.sqrt(second / (1 - decay[1] ** (step + 1))) + epsilon
            point = point - learning_rate * (1 + cos(pi * step / max(steps, 1))) / 2 * mean / scale
    return best
