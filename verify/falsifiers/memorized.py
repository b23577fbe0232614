"""Examples that a prompt memorizes by their making: it is drawn first, and its outputs are the targets.

The targets are exact elements of the exponential field (rational under hardmax), so that whatever a claim forbids to
such a prompt is refuted exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flint import fmpq

from constructions.numbers.exponential import ExpFraction
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Layer
from verify.counterexample import Counterexample

Vector = list[ExpFraction]


@dataclass(frozen=True)
class Memorized:
    """A layer, two inputs, and a prompt whose outputs at their last tokens are the targets. ``fold`` puts the MLP
    z ↦ (−|z_1|, z_2, …) behind, which gives every target a second preimage."""

    attention: Attention
    X: tuple[RationalMatrix, RationalMatrix]
    P: RationalMatrix
    fold: bool = False

    def token(self, k: int) -> RationalMatrix:
        m = self.X[k].shape[1]
        return self.X[k].columns(m - 1, m)

    def on_context(self, k: int, j: int) -> Vector:
        """A_k of head j."""
        return exact(Attention((self.attention.heads[j],), self.attention.kind)(self.token(k), self.X[k]))

    @cached_property
    def shifted(self) -> list[list[Vector]]:
        """The shifted preimages of both targets; the first of each is the one that the prompt reaches."""
        found = []
        for k in range(2):
            a = exact(self.attention(self.token(k), self.P.hstack(self.X[k])))
            found.append([a])
            if self.fold:
                x = self.token(k)[0, 0]
                found[-1].append([-a[0] - 2 * x, *a[1:]])
        return found

    def __str__(self) -> str:
        kind = "" if self.attention.kind == "softmax" else "hardmax, "
        return f"{kind}d = {self.attention.width}, heads: {len(self.attention.heads)}, prompt tokens: {self.P.shape[1]}"

    def counterexample(self, slug: str, sentence: str, **more: object) -> Counterexample:
        d = self.attention.width
        zero = RationalMatrix.zeros
        first = RationalMatrix.of([[int(i == 0) for i in range(d)]])
        mlp = FeedForward(first, zero(1, 1), first.T.scaled(-2), zero(d, 1)) if self.fold else FeedForward.none(d)
        parts = {"layer": Layer(self.attention, mlp), "X": list(self.X), "prompt": self.P}
        return Counterexample(slug, sentence, {**parts, **more})


def exact(column: object) -> Vector:
    return (ExpMatrix.embed(column) if isinstance(column, RationalMatrix) else column).column(0)  # type: ignore[attr-defined, no-any-return]


def along(w: Sequence[fmpq], v: Vector) -> ExpFraction:
    total = ExpFraction.of(0)
    for c, x in zip(w, v, strict=True):
        total = total + x * c
    return total
