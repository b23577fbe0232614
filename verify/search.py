"""Falsifiers: searches in floats that try to do what a proof forbids. What they find is a guess; what they do not
find proves nothing.

:func:`adversary` optimises a prompt against a single-layer model and its dataset, with exact gradients and many
restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from constructions.data import Dataset
from constructions.experiments.prompt_loss import Array, PromptLoss
from constructions.transformer import Transformer

NOTABLE = 1e-9
"""A prompt counts as better when its loss is smaller by this share: which of two equal ones wins is not left to
rounding."""


@dataclass(frozen=True)
class Attack:
    """The best prompt found (d×m_p), its loss ``Σ_k |output_k − y_k|²`` in floats, and the gradient norm there."""

    loss: float
    prompt: Array
    gradient_norm: float
    restarts: int

    @property
    def prompt_length(self) -> int:
        return int(self.prompt.shape[1])


def adversary(
    model: Transformer,
    data: Dataset,
    *,
    lengths: Sequence[int] = (1, 2, 4, 16, 64),
    restarts: int = 8,
    seed: int = 0,
    max_iterations: int = 500,
) -> Attack:
    """The best prompt over all ``lengths`` and ``restarts`` random starts of several scales (L-BFGS).

    With an embedding the prompt length is the one that it fixes, and what is optimised is the prompt plus its
    embedding.
    """
    loss = PromptLoss(model, list(data.queries(model)))
    if model.E is not None:
        lengths = [model.E.shape[1] - data.examples[0].X.shape[1]]
    rng = np.random.default_rng(abs(seed))  # numpy takes no negative seeds
    best: Attack | None = None
    for m_p in lengths:
        for restart in range(restarts):
            start = rng.normal(size=model.width * m_p) * 4.0 ** (restart % 4 - 1)
            run = scipy.optimize.minimize(
                loss,
                start,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": max_iterations, "ftol": 1e-16, "gtol": 1e-12},
            )
            value, gradient = loss(run.x)
            if np.isfinite(value) and (best is None or value < best.loss * (1 - NOTABLE)):
                best = Attack(
                    value, run.x.reshape(model.width, -1), float(np.linalg.norm(gradient)), len(lengths) * restarts
                )
    if best is None:
        raise FloatingPointError("adversary: no restart ended in a finite loss")
    return best
