"""The loss of a single-layer model without a prompt as a function of its weights, with its gradient, in floats.

All weights, or a low-rank update of the MLP: ``W_1 + B_1 A_1`` and ``W_2 + B_2 A_2``. What was trained becomes a layer
with rational weights again: a float is a rational number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from flint import fmpq

from constructions.data import Query
from constructions.experiments.prompt_loss import Array, to_array
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

HEAD = ("W_q", "W_k", "W_v", "W_o")
MLP = ("W_1", "b_1", "W_2", "b_2")


def exact(values: Array) -> RationalMatrix:
    """A matrix of floats as the rationals that they are.

    >>> exact(np.array([[0.5, -3.0]]))
    RationalMatrix.of([['1/2', '-3']])
    """
    rows = [[fmpq(*float(x).as_integer_ratio()) for x in row] for row in values]
    return RationalMatrix.of(rows, columns=values.shape[1])


class WeightLoss:
    """The loss ``Σ_k |output_k − y_k|²`` as a function of all weights of a layer with one head: W_q, W_k, W_v, W_o,
    W_1, b_1, W_2, b_2 one after the other, row by row (b_q stays).

    Raises ValueError for more than one layer or head, hardmax attention, or units other than ReLU.
    """

    def __init__(self, model: Transformer, queries: Sequence[Query]) -> None:
        layer = model.layers[0]
        if len(model.layers) != 1 or layer.attention.kind != "softmax" or layer.mlp.units is not None:
            raise ValueError("weight loss: expected a single layer with softmax attention and ReLU units")
        if len(layer.attention.heads) != 1:
            raise ValueError(f"weight loss: expected one head, found {len(layer.attention.heads)}")
        self.model = model
        head = layer.attention.heads[0]
        self.b_q = to_array(head.b_q)[:, 0]
        self.weights = {name: to_array(getattr(head, name)) for name in HEAD}
        self.weights |= {name: to_array(getattr(layer.mlp, name)) for name in MLP}
        self.contexts = [to_array(query.context) for query in queries]
        self.columns = [query.column for query in queries]
        self.targets = [to_array(RationalMatrix.of([list(query.target)]))[0] for query in queries]

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(weight.size for weight in self.weights.values())

    def start(self, rng: np.random.Generator) -> Array:
        """The layer's own weights; nothing is left to chance."""
        return _flat(self.weights)

    def __call__(self, flat: Array) -> tuple[float, Array]:
        loss, gradients = self.at(self.unpacked(flat))
        return loss, _flat(gradients)

    def unpacked(self, flat: Array) -> dict[str, Array]:
        """The weights by name."""
        found, place = {}, 0
        for name, weight in self.weights.items():
            found[name] = flat[place : place + weight.size].reshape(weight.shape)
            place += weight.size
        return found

    def at(self, weights: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """Loss and gradient for weights by name."""
        W_q, W_k, W_v, W_o, W_1, b_1, W_2, b_2 = (weights[name] for name in (*HEAD, *MLP))
        gradients = {name: np.zeros_like(weight) for name, weight in self.weights.items()}
        loss = 0.0
        for Z, column, y in zip(self.contexts, self.columns, self.targets, strict=True):
            x = Z[:, column]
            keys, query, values = W_k @ Z, W_q @ x + self.b_q, W_v @ Z
            scores = keys.T @ query
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            mean = values @ shares
            z = x + W_o @ mean
            pre = W_1 @ z + b_1[:, 0]
            hidden = np.maximum(pre, 0)
            residual = z + W_2 @ hidden + b_2[:, 0] - y
            loss += float(residual @ residual)

            back = 2 * residual
            gradients["W_2"] += np.outer(back, hidden)
            gradients["b_2"][:, 0] += back
            at_hidden = (pre > 0) * (W_2.T @ back)
            gradients["W_1"] += np.outer(at_hidden, z)
            gradients["b_1"][:, 0] += at_hidden
            at_z = back + W_1.T @ at_hidden
            gradients["W_o"] += np.outer(at_z, mean)
            at_mean = W_o.T @ at_z
            gradients["W_v"] += np.outer(at_mean, Z @ shares)
            at_shares = values.T @ at_mean
            at_scores = shares * (at_shares - shares @ at_shares)
            gradients["W_k"] += np.outer(query, Z @ at_scores)
            gradients["W_q"] += np.outer(keys @ at_scores, x)
        return loss, gradients

    def layer(self, flat: Array) -> Layer:
        """The layer with these weights, as the rationals that they are."""
        found = {name: exact(weight) for name, weight in self.unpacked(flat).items()}
        old = self.model.layers[0].attention.heads[0]
        head = Head(found["W_q"], found["W_k"], found["W_v"], found["W_o"], old.b_q)
        mlp = FeedForward(found["W_1"], found["b_1"], found["W_2"], found["b_2"])
        return Layer(Attention((head,), causal=self.model.causal), mlp)


class LowRankLoss:
    """The same as a function of a low-rank update: B_1 (r×k), A_1 (k×d), B_2 (d×k), A_2 (k×r) one after the other, k
    the rank of each of the two updates; all else stays."""

    def __init__(self, model: Transformer, queries: Sequence[Query], rank: int) -> None:
        self.whole = WeightLoss(model, queries)
        self.rank = rank
        r, d = self.whole.weights["W_1"].shape
        self.shapes = {"B_1": (r, rank), "A_1": (rank, d), "B_2": (d, rank), "A_2": (rank, r)}

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(rows * columns for rows, columns in self.shapes.values())

    def start(self, rng: np.random.Generator) -> Array:
        """Random A with entries of variance 1/columns, and B = 0: training starts at the layer itself."""
        parts = {
            name: np.zeros(shape) if name.startswith("B") else rng.normal(size=shape) / np.sqrt(shape[1])
            for name, shape in self.shapes.items()
        }
        return _flat(parts)

    def unpacked(self, flat: Array) -> dict[str, Array]:
        """The factors by name."""
        found, place = {}, 0
        for name, (rows, columns) in self.shapes.items():
            found[name] = flat[place : place + rows * columns].reshape(rows, columns)
            place += rows * columns
        return found

    def __call__(self, flat: Array) -> tuple[float, Array]:
        factors = self.unpacked(flat)
        weights = dict(self.whole.weights)
        for i in (1, 2):
            weights[f"W_{i}"] = weights[f"W_{i}"] + factors[f"B_{i}"] @ factors[f"A_{i}"]
        loss, gradients = self.whole.at(weights)
        parts = {}
        for i in (1, 2):
            at_product = gradients[f"W_{i}"]
            parts[f"B_{i}"] = at_product @ factors[f"A_{i}"].T
            parts[f"A_{i}"] = factors[f"B_{i}"].T @ at_product
        return loss, _flat(parts)

    def layer(self, flat: Array) -> Layer:
        """The updated layer, exactly: the rational weights plus the product of the factors as the rationals that they
        are."""
        B_1, A_1, B_2, A_2 = (exact(factor) for factor in self.unpacked(flat).values())
        old = self.whole.model.layers[0]
        W_1 = RationalMatrix(old.mlp.W_1.mat + B_1.times(A_1).mat)
        W_2 = RationalMatrix(old.mlp.W_2.mat + B_2.times(A_2).mat)
        return Layer(old.attention, FeedForward(W_1, old.mlp.b_1, W_2, old.mlp.b_2))


def _flat(parts: Mapping[str, Array]) -> Array:
    return np.concatenate([part.ravel() for part in parts.values()])
