"""How sharp is 2? Two layers with MLP that give several inputs one output, exactly, with ``Π (1 + c_l)`` near 2.

d = 2, one prompt token, one input token, uniform attention (W_q = 0). The second coordinate tells the tokens apart: −R
for the prompt, R for the input. Layer 1 adds κ/2 of the input's first coordinate to the prompt's; then its MLP,
``−b e_1 ReLU(y + γ pos)``, which is active at the input only, takes nearly all of the input's own first coordinate y
away. Layer 2 averages with a small factor v, which takes away the rest: the first coordinate of the input's output does
not depend on y. Constants: κ, ``b √(1 + γ²) < 1`` and |v|. Source: THEORY section 7 (ours); docs/theory/depth.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flint import fmpq

from constructions.depth.collapse import outputs
from constructions.depth.constants import Region, Stack
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided


@dataclass(frozen=True)
class SameOutput:
    """A stack, a prompt (d×m_p) and inputs (each d×m) that all have the same output."""

    stack: Stack
    P: RationalMatrix
    inputs: tuple[RationalMatrix, ...]
    output: RationalMatrix

    @classmethod
    def of(cls, stack: Stack, P: RationalMatrix, inputs: tuple[RationalMatrix, ...]) -> SameOutput:
        """Runs all inputs exactly. Raises ValueError when two outputs differ."""
        found = [outputs(stack.model, P, X) for X in inputs]
        for X, Y in zip(inputs, found, strict=True):
            if found[0] != Y:
                raise ValueError(f"expected one output for all inputs, found {found[0]} and, for {X}, {Y}")
        return cls(stack, P, inputs, found[0])


def two_layers(kappa: fmpq = fmpq(1, 2**13), inputs: int = 21) -> SameOutput:  # noqa: B008 - fmpq is immutable
    """The family at ``κ = kappa``: the product is about ``2 + 4 κ``. Inputs with first coordinates between −1 and 1.

    Raises Undecided when a constant is not certified below 1.

    >>> found = two_layers(inputs=3)
    >>> float(found.stack.product()) < 2.001, len(found.inputs)
    (True, 3)
    """
    eta, gamma = kappa * kappa / 4, kappa / 8
    b, R = 1 - eta, 4 / gamma
    zeros = RationalMatrix.zeros(2, 2)

    def uniform(value: fmpq) -> Attention:
        V = RationalMatrix.of([[value, 0], [0, 0]])
        return Attention((Head(zeros, zeros, V),))

    mlp = FeedForward(
        RationalMatrix.of([[1, gamma]]),
        RationalMatrix.zeros(1, 1),
        RationalMatrix.of([[-b], [0]]),
        RationalMatrix.zeros(2, 1),
    )
    rest = (1 - b) * (1 + kappa / 2)  # what the input keeps of y after layer 1; the prompt has κ/2 of it
    v = -2 * rest / (rest + kappa / 2)
    model = Transformer((Layer(uniform(kappa), mlp), Layer(uniform(v), FeedForward.none(2))))
    region = Region(R + 1, R + 1, 1, 1)
    stack = Stack.of(model, region, "max", relative_error=eta / 8)
    if stack.failing() is not None:
        raise Undecided(f"a constant is not below 1 at κ = {kappa}")
    tokens = tuple(RationalMatrix.of([[fmpq(2 * i, max(inputs - 1, 1)) - 1], [R]]) for i in range(inputs))
    return SameOutput.of(stack, RationalMatrix.of([[fmpq(1, 2)], [-R]]), tokens)


def uniform_path(points: Sequence[tuple[fmpq, fmpq]], m_p: int, m: int) -> SameOutput:
    """Uniform attention without MLP that takes the difference of two inputs along a path in the plane.

    The two inputs differ by δ = (1, 0) in each of their m tokens. Layer l turns ``y_l`` into ``y_{l+1}``, with
    ``y_0 = δ``, then the given points, then ``−(m_p/m) δ``; its value map has rank one and the norm
    ``|y_{l+1} − y_l| / |y_l|``. Every prompt gives both inputs one output.

    >>> found = uniform_path([(fmpq(13, 50), fmpq(33, 50)), (fmpq(-9, 25), fmpq(17, 50))], 1, 2)
    >>> len(found.stack.layers), found.stack.failing() is None and float(found.stack.product()) < 7
    (3, True)
    """
    path = [(fmpq(1), fmpq(0)), *points, (-fmpq(m_p, m), fmpq(0))]
    zeros = RationalMatrix.zeros(2, 2)
    layers = []
    for (a, b), (c, d) in pairwise(path):
        size = a * a + b * b
        V = RationalMatrix.of([[(c - a) * a / size, (c - a) * b / size], [(d - b) * a / size, (d - b) * b / size]])
        layers.append(Layer(Attention((Head(zeros, zeros, V),)), FeedForward.none(2)))
    stack = Stack.of(Transformer(tuple(layers)), Region(fmpq(1), fmpq(1), m_p, m), "max")
    tokens = tuple(RationalMatrix.of([[x] * m, [0] * m]) for x in (0, 1))
    return SameOutput.of(stack, RationalMatrix.zeros(2, m_p), tokens)
