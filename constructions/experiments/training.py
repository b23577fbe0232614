"""The runs of the experiments: which there are, and one run.

Prompts are trained for two losses: that before the MLP, for which the exact curve is known, and that of the outputs.
A low-rank update of the MLP and all weights are trained for the outputs, without a prompt. Source: THEORY section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from flint import arb

from constructions.data import Query
from constructions.experiments.adam import Descent, Loss, adam, one_by_one
from constructions.experiments.datasets import HIDDEN, WIDTH, random_pair
from constructions.experiments.prompt_loss import Array, PromptLoss
from constructions.experiments.weight_loss import LowRankLoss, WeightLoss, exact
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.output_loss import output_loss
from constructions.single_layer.pair import UnmemorizablePair
from constructions.transformer import Transformer

Method = Literal["prompt-attention", "prompt-output", "low-rank", "all-weights"]
METHODS: tuple[Method, ...] = ("prompt-attention", "prompt-output", "low-rank", "all-weights")
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RANK = 2
"""Rank of the updates of W_1 and of W_2: the number of examples."""


@dataclass(frozen=True)
class Run:
    """All descents of one method on one dataset at one length, taken together: ``length`` is the number of prompt
    tokens, None without a prompt."""

    dataset: int
    method: Method
    length: int | None = None

    @property
    def name(self) -> str:
        length = "" if self.length is None else f"-{self.length}"
        return f"dataset-{self.dataset}-{self.method}{length}"


@dataclass(frozen=True)
class Plan:
    """What is trained how. All weights start at those of the layer, so restarts would only repeat that run.

    >>> plan = Plan(datasets=1, lengths=(1, 2))
    >>> [len(plan.descents(run)) for run in plan.runs()]
    [9, 9, 9, 9, 9, 3]
    """

    datasets: int = 3
    seed: int = 0
    lengths: tuple[int, ...] = LENGTHS
    restarts: int = 3
    steps: int = 5000
    prompt_rates: tuple[float, ...] = (0.5, 0.2, 0.1)
    weight_rates: tuple[float, ...] = (0.01, 0.003, 0.001)
    width: int = WIDTH
    hidden: int = HIDDEN

    def runs(self) -> Iterator[Run]:
        for dataset in range(self.datasets):
            for method in METHODS:
                for length in self.lengths if method.startswith("prompt") else (None,):
                    yield Run(dataset, method, length)

    def descents(self, run: Run) -> list[tuple[int, float]]:
        """Restart and learning rate of each descent of a run."""
        rates = self.weight_rates if run.length is None else self.prompt_rates
        return list(product(range(1 if run.method == "all-weights" else self.restarts), rates))


class Trainee:
    """A dataset with its losses: what is trained, and what a trained point means exactly."""

    def __init__(self, pair: UnmemorizablePair) -> None:
        self.pair = pair
        self.model = pair.model
        self.queries: list[Query] = list(pair.data.queries(pair.model))
        self.problem = LossProblem.of(pair.model.layers[0], self.queries, pair.proof.preimages)
        before = self.problem.attention_only()
        self._losses: dict[Method, Callable[[], PromptLoss | LowRankLoss | WeightLoss]] = {
            "prompt-attention": lambda: PromptLoss(before[0], list(before[1].queries(before[0]))),
            "prompt-output": lambda: PromptLoss(self.model, self.queries),
            "low-rank": lambda: LowRankLoss(self.model, self.queries, RANK),
            "all-weights": lambda: WeightLoss(self.model, self.queries),
        }

    def parameters(self, run: Run) -> int:
        """How many numbers are trained."""
        if run.length is not None:
            return run.length * self.model.width
        loss = self._losses[run.method]()
        assert not isinstance(loss, PromptLoss)
        return loss.size

    def train(self, run: Run, plan: Plan) -> tuple[Descent, ...]:
        """All descents of a run; the same for the same run and plan. Prompts start at standard normal numbers, and
        descents that differ in nothing but the learning rate start at one point."""
        loss = self._losses[run.method]()
        many: Loss = loss.batch if isinstance(loss, PromptLoss) else one_by_one(loss)
        starts = []
        for restart, _ in plan.descents(run):
            chance = [abs(plan.seed), int(plan.seed < 0), run.dataset, METHODS.index(run.method), run.length or 0]
            rng = np.random.default_rng([*chance, restart])
            starts.append(rng.normal(size=self.parameters(run)) if isinstance(loss, PromptLoss) else loss.start(rng))
        return adam(many, np.array(starts), [rate for _, rate in plan.descents(run)], steps=plan.steps)

    def loss(self, run: Run, point: Array) -> arb:
        """The loss of a trained point, taken as the rational numbers that its floats are: a ball that contains it."""
        if run.length is not None:
            prompt = exact(point.reshape(self.model.width, run.length))
            if run.method == "prompt-attention":
                return self.problem.loss_at(prompt, [1] * run.length)
            return output_loss(self.model, self.queries, prompt)
        loss = self._losses[run.method]()
        assert isinstance(loss, LowRankLoss | WeightLoss)
        return output_loss(Transformer((loss.layer(point),)), self.queries)


def trainee(plan: Plan, number: int) -> Trainee:
    """Dataset ``number`` of a plan, made once."""
    return _trainee(plan.seed, number, plan.width, plan.hidden)


@lru_cache(maxsize=8)
def _trainee(seed: int, number: int, width: int, hidden: int) -> Trainee:
    return Trainee(random_pair(seed, number, d=width, hidden=hidden))
