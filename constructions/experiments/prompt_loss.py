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
        P = flat.reshape(self.width, -1)
        gradient = np.zeros_like(P)
        loss = 0.0
        for k, (x, y) in enumerate(zip(self.tokens, self.targets, strict=True)):
            z = x.copy()
            parts = []
            for V, q, scores, values in zip(
                self.values, self.logit_vectors, self.scores, self.context_values, strict=True
            ):
                on_prompt = P.T @ q[k]
                top = max(on_prompt.max(), scores[k].max())
                e_prompt, e_context = np.exp(on_prompt - top), np.exp(scores[k] - top)
                mass = e_prompt.sum() + e_context.sum()
                prompt_values = V @ P
                out = (prompt_values @ e_prompt + values[k] @ e_context) / mass
                z += out
                parts.append((V, q[k], e_prompt / mass, prompt_values, out))
            pre = self.W_1 @ z + self.b_1
            residual = z + self.W_2 @ np.maximum(pre, 0) + self.b_2 - y
            loss += float(residual @ residual)
            back = 2 * (residual + self.W_1.T @ ((pre > 0) * (self.W_2.T @ residual)))
            for V, q_k, weights, prompt_values, out in parts:
                gradient += np.outer(V.T @ back, weights)
                gradient += np.outer(q_k, weights * (back @ prompt_values - back @ out))
        return loss, gradient.ravel()


def _float(x: object) -> float:
    return float(x)  # type: ignore[arg-type]


def to_array(matrix: RationalMatrix) -> Array:
    """A rational matrix in floats (for searches only)."""
    rows = [[_float(x) for x in row] for row in matrix.rows()]
    return np.array(rows, dtype=np.float64).reshape(matrix.shape)
