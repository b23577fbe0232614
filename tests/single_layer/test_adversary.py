"""The falsifier: an honest attack fails on data proved unmemorizable and succeeds on data built from a prompt."""

from __future__ import annotations

import random

import numpy as np
import pytest
from flint import fmpq

from constructions.data import Dataset, Example
from constructions.experiments.prompt_loss import PromptLoss, to_array
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.pair import closeness_pair, orthogonal_pair, unmemorizable_pair
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.instances import random_head, random_layer, random_matrix, random_mlp
from verify.search import adversary


def exact(values: np.ndarray) -> RationalMatrix:
    """A matrix of floats as the rationals that they are."""
    return RationalMatrix.of([[fmpq(*float(x).as_integer_ratio()) for x in row] for row in values])


def float_forward(model: Transformer, P: np.ndarray, X: np.ndarray) -> np.ndarray:
    """The model on [P, X] in floats, written down once more from THEORY section 0: the last columns."""
    Z = np.hstack([P, X])
    if model.E is not None:
        Z = Z + to_array(model.E)
    layer = model.layers[0]
    out = Z.copy()
    for head in layer.attention.heads:
        keys, queries = to_array(head.W_k) @ Z, to_array(head.W_q) @ Z + to_array(head.b_q)
        scores = keys.T @ queries
        if model.causal:
            scores[np.tril_indices_from(scores, -1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=0))
        weights /= weights.sum(axis=0)
        out += to_array(head.W_o) @ to_array(head.W_v) @ Z @ weights
    mlp = layer.mlp
    hidden = np.maximum(to_array(mlp.W_1) @ out + to_array(mlp.b_1), 0)
    out = out + to_array(mlp.W_2) @ hidden + to_array(mlp.b_2)
    return out[:, P.shape[1] :]


def random_problem(seed: int) -> tuple[Transformer, Dataset, np.ndarray]:
    """A layer of one or two heads, with mask, embedding and query bias at random; two examples, one with targets for
    all tokens; a prompt."""
    rng = random.Random(f"adversary/{seed}")
    d, m, m_p = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 4)
    heads = []
    for _ in range(rng.randint(1, 2)):
        head = random_head(rng, d, rng.randint(1, d))
        heads.append(Head(head.W_q, head.W_k, head.W_v, head.W_o, random_matrix(rng, head.head_size, 1)))
    r = rng.randint(0, 3)
    mlp = random_mlp(rng, d, r, contractive=False) if r else FeedForward.none(d)
    layer = Layer(Attention(tuple(heads), causal=seed % 3 == 0), mlp)
    model = Transformer((layer,), random_matrix(rng, d, m + m_p, denominator=2) if seed % 4 == 1 else None)
    examples = (
        Example(random_matrix(rng, d, m, denominator=4), random_matrix(rng, d, 1)),
        Example(random_matrix(rng, d, m, denominator=4), random_matrix(rng, d, m)),
    )
    P = np.array([[rng.gauss(0, 0.5) for _ in range(m_p)] for _ in range(d)])
    return model, Dataset(examples), P


def embedded(model: Transformer, P: np.ndarray) -> np.ndarray:
    """What the loss takes: the prompt with its embedding."""
    return P if model.E is None else P + to_array(model.E)[:, : P.shape[1]]


@pytest.mark.parametrize("seed", range(24))
def test_loss_is_that_of_the_model(seed: int) -> None:
    """Against a forward pass of the whole model on [P, X]."""
    model, data, P = random_problem(seed)
    expected = 0.0
    for example in data.examples:
        output, targets = float_forward(model, P, to_array(example.X)), to_array(example.targets)
        expected += float(((output[:, -targets.shape[1] :] - targets) ** 2).sum())
    loss, _ = PromptLoss(model, list(data.queries(model)))(embedded(model, P).ravel())
    assert loss == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_gradient_agrees_with_finite_differences(seed: int) -> None:
    model, data, P = random_problem(seed)
    loss = PromptLoss(model, list(data.queries(model)))
    flat = P.ravel()
    value, gradient = loss(flat)
    step = 1e-6
    for k in range(len(flat)):
        up, down = flat.copy(), flat.copy()
        up[k] += step
        down[k] -= step
        difference = (loss(up)[0] - loss(down)[0]) / (2 * step)
        assert gradient[k] == pytest.approx(difference, rel=1e-4, abs=1e-5 * (1 + value))


def memorizable_floats(seed: int) -> tuple[Transformer, Dataset, int]:
    """Targets are the model's outputs under a prompt, in floats: exact rationals that the prompt meets to rounding."""
    rng = random.Random(f"adversary-memorizable/{seed}")
    d, m_p = 2, rng.randint(1, 2)
    layer = random_layer(rng, d, r=rng.choice([0, 2]))
    head = layer.attention.heads[0]
    head = Head(head.W_q.scaled(fmpq(1, 4)), head.W_k, head.W_v, head.W_o)
    model = Transformer((Layer(Attention((head,), causal=seed % 2 == 0), layer.mlp),))
    P = np.array([[rng.gauss(0, 1) for _ in range(m_p)] for _ in range(d)])
    last = random_matrix(rng, d, 1, denominator=3)
    examples = []
    for _ in range(2):
        X = random_matrix(rng, d, 1, denominator=3).hstack(last)
        examples.append(Example(X, exact(float_forward(model, P, to_array(X))[:, -1:])))
    return model, Dataset(tuple(examples)), m_p


@pytest.mark.parametrize("seed", range(6))
def test_memorizable_data_are_found(seed: int) -> None:
    """Loss below 1e-10 on two examples with a shared token, among prompts of the length they were made with."""
    model, data, m_p = memorizable_floats(seed)
    attack = adversary(model, data, lengths=(m_p,), restarts=6, seed=seed, max_iterations=300)
    assert attack.loss < 1e-10
    assert attack.prompt.shape[0] == 2
    outputs = [float_forward(model, attack.prompt, to_array(e.X))[:, -1:] for e in data.examples]
    misses = [((o - to_array(e.targets)) ** 2).sum() for o, e in zip(outputs, data.examples, strict=True)]
    assert sum(misses) == pytest.approx(attack.loss, rel=1e-3, abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_made_pairs_resist(seed: int) -> None:
    """On data with a proof the same attack stays away from zero."""
    rng = random.Random(f"adversary-made/{seed}")
    layer = random_layer(rng, 2 + seed % 2, r=seed)
    if seed == 0:
        pair = closeness_pair(layer, [1, 0], [1, 1], [1, 2])
    elif seed == 1:
        layer = random_layer(rng, 4)
        pair = orthogonal_pair(layer, [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0])
    else:
        pair = unmemorizable_pair(layer)
    attack = adversary(pair.model, pair.data, lengths=(1, 2, 8), restarts=3, seed=seed, max_iterations=60)
    assert attack.loss > 1e-4


def test_the_attack_is_reproducible() -> None:
    pair = unmemorizable_pair(random_layer(random.Random("reproducible"), 2, r=2))
    attack, again = (adversary(pair.model, pair.data, lengths=(1, 3), restarts=2, max_iterations=30) for _ in range(2))
    assert again.loss == attack.loss
    assert np.array_equal(again.prompt, attack.prompt)


def test_one_example_is_easy_and_the_embedding_fixes_the_length() -> None:
    I = RationalMatrix.identity(2)
    layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(2))
    X = RationalMatrix.of([[1, 0], [0, 1]])
    data = Dataset((Example(X, RationalMatrix.of([["1/2"], ["3/2"]])),))
    assert adversary(Transformer((layer,)), data, lengths=(1, 2), restarts=4).loss < 1e-10
    E = RationalMatrix.of([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]])
    attack = adversary(Transformer((layer,), E), data, restarts=4)
    assert attack.prompt_length == 3


@pytest.mark.parametrize("change", ["depth", "hardmax"])
def test_what_it_cannot_attack_is_refused(change: str) -> None:
    layer = random_layer(random.Random(0), 2)
    if change == "hardmax":
        layer = Layer(Attention(layer.attention.heads, kind="hardmax"), layer.mlp)
    model = Transformer((layer,) * (2 if change == "depth" else 1))
    X = RationalMatrix.identity(2)
    data = Dataset((Example(X, RationalMatrix.of([[1], [1]])),))
    with pytest.raises(ValueError, match="single layer with softmax"):
        adversary(model, data)
