"""Where the least loss of prompts at one query is, in floats: a guess that proves nothing and decides nothing.

Source: THEORY section 3.1 (ours).
"""

from __future__ import annotations

from math import log

import numpy as np
import scipy

from constructions.single_layer.loss_problem import OneCombination
from constructions.verdict import Undecided


def axis(combination: OneCombination) -> tuple[float, float]:
    """A range of σ that holds whatever is interesting: scaled by |g|, since log s follows g·u."""
    scale = 1.0 if combination.g_float is None else float(np.abs(combination.g_float) @ np.ones(combination.d))
    means = np.abs(combination.gap)
    size = float(max(np.abs(combination.a_float).max(), means.max(), 1.0))
    spread = float(np.abs(combination.log_S).max())
    reach = 50.0 + 2 * spread + (4 * scale * size if combination.g_float is not None else 0.0)
    return -reach, reach


def guess_minimum(combination: OneCombination, length: int | None) -> tuple[float, float]:
    """(σ, loss) of the least value that a grid with local refinement finds.

    Minima are sought where the grid has one, and where the best output enters or leaves the slab: for a small g the
    loss has a kink-like valley there that is narrower than the grid. Valleys count only beyond rounding.
    """
    log_length = None if length is None or combination.g is None else log(length)
    left, right = axis(combination)
    centres = [0.0, *combination.log_S, -float(combination.rho), -float(combination.rho) + (log_length or 0.0)]
    near = [np.linspace(x - 20.0, x + 20.0, 801) for x in centres[:1]]
    near += [np.linspace(x - 2.0, x + 2.0, 41) for x in dict.fromkeys(centres[1:9])]
    far = np.geomspace(20.0, right, 400)
    everything = np.concatenate([np.linspace(left, right, 1201), far, -far, *near])
    grid = np.unique(np.round(np.clip(everything, left, right), 6))  # no two points that only rounding tells apart
    found = combination.guess(grid, log_length)
    values = found.loss
    if not np.isfinite(values).all():
        raise Undecided("the search for the best mass left the range of floats")
    best = (float(grid[np.argmin(values)]), float(values.min()))

    def loss(sigma: float) -> float:
        return float(combination.guess(np.array([sigma]), log_length).loss[0])

    valleys, crossings = [], []
    for i in range(1, len(grid) - 1):
        valley = values[i] <= values[i - 1] and values[i] <= values[i + 1]
        if valley and max(values[i - 1], values[i + 1]) > values[i] * (1 + 1e-12):
            valleys.append((float(values[i]), float(grid[i - 1]), float(grid[i + 1])))
    for side in (found.above, found.below):
        for k in np.flatnonzero(np.diff(side > 0)):
            crossings.append((float(min(values[k], values[k + 1])), float(grid[k]), float(grid[k + 1])))
    for _, low, high in sorted(valleys)[:12] + sorted(crossings)[:12]:
        run = scipy.optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13})
        if run.fun < best[1]:
            best = (float(run.x), float(run.fun))
    good = values <= best[1] * (1 + 1e-10) + 1e-12
    if good.any():  # many masses may be as good: take the one that needs the shortest prompt, or the most moderate one
        least = int(np.argmin(found.entropy[good] if length is None else np.abs(grid[good])))
        best = (float(grid[good][least]), best[1])
    return best
