"""The loss of a single-layer model as a function of its prompt, with its gradient, in floats: for searches only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from constructions.data import Query
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Transformer

Array = NDArray[np.float64]


class PromptLoss:
    """The loss of a single-layer softmax model as a function of the prompt, with its gradient, in floats.

    The prompt enters a query only through its scores and values, so a context is summed up once.
    Raises ValueError for more than one layer, hardmax attention, or units other than ReLU.
    """

    def __init__(self, model: Transformer, queries: Sequence[Query]) -> None:
        layer = model.layers[0]
        if len(model.layers) != 1 or layer.attention.kind != "softmax" or layer.mlp.units is not None:
            raise ValueError("prompt loss: expected a single layer with softmax attention and ReLU units")
        self.width = model.width
        self.W_1, self.b_1 = to_array(layer.mlp.W_1), to_array(layer.mlp.b_1)[:, 0]
        self.W_2, self.b_2 = to_array(layer.mlp.W_2), to_array(layer.mlp.b_2)[:, 0]
        self.values = [to_array(head.V) for head in layer.attention.heads]
        self.tokens = np.array([[_float(x) for x in query.token] for query in queries])
        self.targets = np.array([[_float(x) for x in query.target] for query in queries])
        self.logit_vectors: list[Array] = []  # per head: n×d
        self.scores: list[list[Array]] = []  # per head and query: m
        self.context_values: list[list[Array]] = []  # per head and query: d×m
        for head, V in zip(layer.attention.heads, self.values, strict=True):
            tokens = RationalMatrix.of_columns([query.token for query in queries])
            q = to_array(head.logit_vectors(tokens)).T
            self.logit_vectors.append(q)
            contexts = [to_array(query.context) for query in queries]
            self.scores.append([contexts[k].T @ q[k] for k in range(len(queries))])
            self.context_values.append([V @ context for context in contexts])

    def __call__(self, flat: Array) -> tuple[float, Array]:
        """Loss and gradient at a prompt given as a flat array of d·m_p numbers."""
        loss, gradient = self.batch(flat[None])
        return float(loss[0]), gradient[0]

    def batch(self, flat: Array) -> tuple[Array, Array]:
        """Losses (k) and gradients (k×n) at k prompts of one length, each a row of n = d·m_p numbers."""
        count = len(flat)
        P = flat.reshape(count, self.width, -1)
        gradient = np.zeros_like(P)
        loss = np.zeros(count)
        on_prompt = [V @ P for V in self.values]  # shared by the queries
        for k, (x, y) in enumerate(zip(self.tokens, self.targets, strict=True)):
            z = np.tile(x, (count, 1))
            parts = []
            for V, q, scores, values, prompt_values in zip(
                self.values, self.logit_vectors, self.scores, self.context_values, on_prompt, strict=True
            ):
                prompt_scores = q[k] @ P
                top = np.maximum(prompt_scores.max(axis=1), scores[k].max())[:, None]
                shares, context_shares = np.exp(prompt_scores - top), np.exp(scores[k] - top)
                mass = shares.sum(axis=1, keepdims=True) + context_shares.sum(axis=1, keepdims=True)
                shares, context_shares = shares / mass, context_shares / mass
                out = (prompt_values @ shares[:, :, None])[:, :, 0] + context_shares @ values[k].T
                z += out
                parts.append((V, q[k], shares, prompt_values, out))
            pre = z @ self.W_1.T + self.b_1
            residual = z + np.maximum(pre, 0) @ self.W_2.T + self.b_2 - y
            loss += (residual**2).sum(axis=1)
            back = 2 * (residual + ((pre > 0) * (residual @ self.W_2)) @ self.W_1)
            for V, q_k, shares, prompt_values, out in parts:
                pull = (back[:, None, :] @ prompt_values)[:, 0] - (back * out).sum(axis=1, keepdims=True)
                gradient += (back @ V)[:, :, None] * shares[:, None, :]
                gradient += q_k[:, None] * (shares * pull)[:, None, :]
        return loss, gradient.reshape(flat.shape)


def _float(x: object) -> float:
    return float(x)  # type: ignore[arg-type]


def to_array(matrix: RationalMatrix) -> Array:
    """A rational matrix in floats (for searches only)."""
    rows = [[_float(x) for x in row] for row in matrix.rows()]
    return np.array(rows, dtype=np.float64).reshape(matrix.shape)
