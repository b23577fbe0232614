"""Claim `prompted-injectivity`, relation `collapse`: an invertible stack of layers whose output forgets the input.

With uniform attention a layer adds V mu to every token, mu the mean of all m_p + 1 tokens. Differences of tokens stay,
and mu becomes (1 + V) mu. After all layers the mean is W mu, W the product of the 1 + V_l, so the input token x has
become x + (W - 1) mu. If W = -m_p that is x - (m_p + 1) mu: minus the sum of the prompt's tokens.

If |V_l| < 1, then Z -> Z + V mu 1^T is the identity plus a contraction, in the Frobenius norm and in the largest
Euclidean norm of a token (the mean of tokens is no longer than that, and repeating it in all places no larger): so it
is invertible.
"""

from dataclasses import dataclass

from attention import Head
from limits import DEADLINE, demand
from plain_layers import read_plain_layers
from rational import Matrix, Vector, is_positive_definite, read_matrix
from reading import Field
from stack import read_count
from vectors import stacked, unit


@dataclass(frozen=True)
class Collapse:
    """The heads of the layers, and factors that show 1 - V^T V positive definite."""

    heads: tuple[Head, ...]
    d: int
    prompt_length: int
    factors: tuple[Matrix, ...]

    def check(self) -> str:
        """All norms are below 1, and W = -m_p."""
        for i, (head, factor) in enumerate(zip(self.heads, self.factors, strict=True)):
            DEADLINE.check()
            demand(
                is_positive_definite(_one_minus_gram(head, self.d), factor),
                f"layer {i}: the norm of V is not shown to be below 1 by the factor",
            )
        for c in range(self.d):
            start = unit(c, self.d)
            image = start
            for head in self.heads:
                DEADLINE.check()
                image += head.value(image)
            expected = Vector(tuple(-self.prompt_length * n for n in start.num), start.den)
            demand(
                (image - expected).is_zero(), f"the product of the layers is not -{self.prompt_length} in column {c}"
            )
        return (
            f"{len(self.heads)} invertible layers of uniform attention, d = {self.d}, give minus the sum of the tokens "
            f"of the prompt ({self.prompt_length}) at the input token, whatever the input"
        )


def _one_minus_gram(head: Head, d: int) -> Matrix:
    """1 - V^T V, with V^T V e_c = value_row(value(e_c))."""
    return stacked([unit(c, d) - head.value_row(head.value(unit(c, d))) for c in range(d)])


def read_collapse(instance: Field, witness: Field) -> Collapse:
    """The statement of a certificate and its witness, read but not checked."""
    layers, length = instance.record("layers", "prompt_length")
    (factors,) = witness.record("factors")
    heads = [layer.heads[0] for layer in read_plain_layers(layers, one_head=True)]
    for field, head in zip(layers.items(), heads, strict=True):
        if any(n for row in head.W_q.rows for n in row) or not head.b_q.is_zero():
            field.fail("W_q and b_q zero (uniform attention)")
    d, m_p = heads[0].W_q.width, read_count(length, 1)
    matrices = tuple(read_matrix(field, d, d) for field in factors.items(len(heads)))
    return Collapse(tuple(heads), d, m_p, matrices)
