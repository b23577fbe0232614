"""Gradients in floats against differences of the transformer itself, evaluated in balls."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from flint import fmpq

from constructions.data import Query
from constructions.experiments.datasets import random_pair
from constructions.experiments.prompt_loss import PromptLoss
from constructions.experiments.weight_loss import LowRankLoss, WeightLoss, exact
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.output_loss import output_loss
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

STEP = 2.0**-20
"""Points are multiples of 2^-10, so that points with a step added are floats still."""


def problem(seed: int, heads: int = 1) -> tuple[Transformer, list[Query]]:
    pair = random_pair(seed, 0, d=4, hidden=3)
    old = pair.model.layers[0]
    head = old.attention.heads[0]
    biased = Head(head.W_q, head.W_k, head.W_v, head.W_o, RationalMatrix.of([["1/2"], [0], ["-1/4"], [1]]))
    model = Transformer((Layer(Attention((biased,) * heads), old.mlp),))
    return model, list(pair.data.queries(model))


def short(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.round(rng.normal(size=size) * 2**9) / 2**10


def difference(loss: object, point: np.ndarray, k: int) -> float:
    """(f(x + h) − f(x − h)) / 2h of an exact loss, good to about h²."""
    values = []
    for sign in (1, -1):
        moved = point.copy()
        moved[k] += sign * STEP
        assert moved[k] - point[k] == sign * STEP
        values.append(loss(moved))  # type: ignore[operator]
    return float((values[0] - values[1]) / (2 * fmpq(1, 2**20)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["prompt", "weights", "low-rank"])
def test_loss_and_gradient_are_those_of_the_transformer(kind: str, seed: int) -> None:
    model, queries = problem(seed)
    rng = np.random.default_rng(seed)
    loss: PromptLoss | WeightLoss | LowRankLoss
    if kind == "prompt":
        loss = PromptLoss(model, queries)
        point = short(rng, 4 * 3)
    else:
        loss = WeightLoss(model, queries) if kind == "weights" else LowRankLoss(model, queries, 2)
        point = short(rng, loss.size)

    def precise(flat: np.ndarray) -> fmpq:
        with flint.ctx.workprec(256):
            if isinstance(loss, PromptLoss):
                return midpoint(output_loss(model, queries, exact(flat.reshape(4, 3))))
            return midpoint(output_loss(Transformer((loss.layer(flat),)), queries))

    value, gradient = loss(point)
    assert value == pytest.approx(float(precise(point)), rel=1e-12)
    assert np.abs(gradient).max() > 1e-2
    for k in range(0, len(point), 1 if kind == "prompt" else 3):
        assert gradient[k] == pytest.approx(difference(precise, point, k), rel=1e-7, abs=1e-9), k


def test_training_starts_at_the_layer_itself() -> None:
    model, queries = problem(0)
    plain = float(output_loss(model, queries))
    for loss in (WeightLoss(model, queries), LowRankLoss(model, queries, 2)):
        start = loss.start(np.random.default_rng(0))
        assert len(start) == loss.size
        assert loss(start)[0] == pytest.approx(plain, rel=1e-12)
        updated = loss.layer(start)
        assert updated.mlp == model.layers[0].mlp
        assert updated.attention == model.layers[0].attention


def test_a_low_rank_update_has_low_rank() -> None:
    model, queries = problem(1)
    loss = LowRankLoss(model, queries, 2)
    updated = loss.layer(np.random.default_rng(0).normal(size=loss.size))
    old = model.layers[0]
    assert updated.attention == old.attention
    assert (updated.mlp.b_1, updated.mlp.b_2) == (old.mlp.b_1, old.mlp.b_2)
    assert (updated.mlp.W_1 - old.mlp.W_1).rank() == 2
    assert (updated.mlp.W_2 - old.mlp.W_2).rank() == 2


def test_what_cannot_be_trained_is_refused() -> None:
    model, queries = problem(0)
    layer = model.layers[0]
    for wrong in (
        Transformer((layer, layer)),
        Transformer((Layer(Attention(layer.attention.heads, kind="hardmax"), layer.mlp),)),
    ):
        with pytest.raises(ValueError, match="single layer with softmax"):
            WeightLoss(wrong, queries)
    with pytest.raises(ValueError, match="expected one head, found 2"):
        WeightLoss(problem(0, heads=2)[0], queries)


def test_an_mlp_without_units_can_be_trained() -> None:
    model, queries = problem(0)
    bare = Transformer((Layer(model.layers[0].attention, FeedForward.none(4)),))
    loss = WeightLoss(bare, queries)
    assert loss(loss.start(np.random.default_rng(0)))[0] == pytest.approx(float(output_loss(bare, queries)), rel=1e-12)
