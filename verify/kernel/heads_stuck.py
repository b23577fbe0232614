"""Claim `several-heads`, relation `stuck`: an inequality that holds for the head outputs of every prompt.

A prompt, read alone at the logit vectors q_alpha, has masses e^{s_alpha} and means p_alpha. The divergences
    D_ab = s_b - s_a + (q_a - q_b).p_a
are not negative. In their sum with factors c_ab >= 0, as much flowing out of each pair as into it, the s cancel; left
is minus the sum of (sum over b of c_ab (q_b - q_a)).p_a. If these vectors are V_j^T eta_a, that is minus the sum of
eta_a.(V_j p_a), so the sum is not positive. It is for some head outputs, unless all V_j^T eta_a are zero.
"""

from dataclasses import dataclass

from attention import Layer, read_layer, read_tokens
from head_pairs import logit_vectors
from limits import DEADLINE, demand
from rational import Matrix, Vector, read_matrix
from reading import Envelope
from vectors import entry, stacked


@dataclass(frozen=True)
class Stuck:
    """Tokens (rows), eta for each pair (rows), and the factors c."""

    layer: Layer
    tokens: Matrix
    values: Matrix
    flow: Matrix

    def check(self) -> str:
        """The factors are a flow, and balance the values."""
        heads = self.layer.heads
        vectors = logit_vectors(self.layer, (self.tokens.row(i) for i in range(len(self.tokens.rows))))
        demand(all(c >= 0 for row in self.flow.rows for c in row), "the flow is negative somewhere")
        demand(all(row[a] == 0 for a, row in enumerate(self.flow.rows)), "the diagonal of the flow is not zero")
        ones = Vector((1,) * len(vectors), 1)
        leaving, arriving = self.flow @ ones, self.flow.transposed() @ ones
        columns = stacked(vectors).transposed()
        some = False
        for alpha, q in enumerate(vectors):
            DEADLINE.check()
            demand(leaving.num[alpha] == arriving.num[alpha], f"the flow is not balanced at pair {alpha}")
            row = heads[alpha % len(heads)].value_row(self.values.row(alpha))
            out = entry(leaving, alpha)
            taken = columns @ self.flow.row(alpha) - Vector(tuple(out.num * n for n in q.num), out.den * q.den)
            demand((taken - row).is_zero(), f"the flow does not balance the values at pair {alpha}")
            some = some or not row.is_zero()
        demand(some, "V^T eta is zero for all pairs")
        return (
            f"the head outputs v of every prompt, read alone, have sum eta.v <= 0, which an open set of others has not "
            f"(heads: {len(heads)}, d = {self.layer.mlp.d}, tokens: {len(self.tokens.rows)})"
        )


def read_stuck(envelope: Envelope) -> Stuck:
    """The statement of a certificate and its witness, read but not checked."""
    layer_field, tokens_field, values = envelope.instance.record("layer", "tokens", "values")
    layer = read_layer(layer_field)
    tokens = read_tokens(tokens_field, layer.mlp.d)
    count = len(tokens.rows) * len(layer.heads)
    (flow,) = envelope.witness.record("flow")
    return Stuck(layer, tokens, read_matrix(values, count, layer.mlp.d), read_matrix(flow, count, count))
