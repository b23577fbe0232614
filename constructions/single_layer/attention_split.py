"""Attention split: a prompt mixes its own output with the context's, head by head.

For one head, any query token x, prompt P and context X::

    Att(x, [P, X]) = λ Att(x, X) + (1−λ) Att(x, P),   λ = S(X,x) / (S(X,x) + S(P,x)) ∈ (0,1)

an identity in Frac(E) for rational data. With several heads it holds head by head, each with its own λ.
Source: THEORY section 1 (cf. Wang et al. 2023, the proof of Theorem 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from constructions.numbers.exponential import ExpFraction
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.context import HeadView
from constructions.transformer import Head


@dataclass(frozen=True)
class Split:
    """One head's split: the context's share λ, its output on the context and on the prompt alone (d×1 each)."""

    fraction: ExpFraction
    on_context: ExpMatrix
    on_prompt: ExpMatrix

    @property
    def mixture(self) -> ExpMatrix:
        """λ · on_context + (1−λ) · on_prompt, d×1."""
        rest = 1 - self.fraction
        pairs = zip(self.on_context.column(0), self.on_prompt.column(0), strict=True)
        return ExpMatrix([[self.fraction * a + rest * u] for a, u in pairs], 1)


def split(head: Head, token: Sequence[fmpq], X: RationalMatrix, P: RationalMatrix) -> Split:
    """The split of one head at query ``token`` (d numbers) for context ``X`` (d×m) and prompt ``P`` (d×m_p).

    >>> one = RationalMatrix.of([[1]])
    >>> parts = split(Head(one, one, one), [fmpq(0)], RationalMatrix.of([[1]]), RationalMatrix.of([[2, 4, 6]]))
    >>> parts.fraction.as_rational(), parts.mixture[0, 0].as_rational()
    (1/4, 13/4)
    """
    on_context, on_prompt = HeadView.of(head, token, X), HeadView.of(head, token, P)
    fraction = ExpFraction(on_context.mass, on_context.mass + on_prompt.mass)
    return Split(fraction, on_context.output, on_prompt.output)
