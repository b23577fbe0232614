"""Where prompts cannot collapse: for every prompt of the region two inputs keep a distance at the output.

In general ``Π (1 + a_l)(1 + b_l) < 2`` is what is asked for, with constants of all tokens together: the map minus the
identity has the constant Π − 1, and so ``‖Y − Y'‖ ≥ (2 − Π) ‖X − X'‖``. With one layer, or a causal mask (then the
prompt's trajectory does not depend on the input), it is enough that every layer is the identity plus a contraction of
the input tokens: the factor is ``Π (1 − a_l)(1 − b_l)``. Source: THEORY section 7 (ours); docs/theory/depth.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flint import fmpq

from constructions.depth.constants import Norm, Stack
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import below, root_below
from constructions.verdict import Undecided

Argument = Literal["small-product", "layer-by-layer"]


@dataclass(frozen=True)
class Separation:
    """``‖Y − Y'‖ ≥ factor · ‖X − X'‖`` for all inputs X, X' and each prompt of the stack's region, by an argument."""

    stack: Stack
    argument: Argument
    factor: fmpq


@dataclass(frozen=True)
class Floor:
    """Two inputs (d×m each): whatever the prompt and the common target, one output is at least ``bound`` away from it,
    in the stack's norm."""

    separation: Separation
    X: RationalMatrix
    other: RationalMatrix
    bound: fmpq


def separation(stack: Stack) -> Separation:
    """The better of the two arguments. Raises Undecided, with the numbers that fail, when neither applies.

    >>> from constructions.depth.collapse import collapse
    >>> from constructions.depth.constants import Region
    >>> separation(Stack.of(collapse(), Region(fmpq(1), fmpq(1), 1, 1)))
    Traceback (most recent call last):
    ...
    constructions.verdict.Undecided: Π (1 + a_l)(1 + b_l) is 10.4485, and has to be below 2
    """
    found: list[Separation] = []
    product = stack.product()
    if product < 2:
        found.append(Separation(stack, "small-product", below((2 - product) * _ROOM)))
    if stack.model.causal or len(stack.layers) == 1:
        failed = stack.failing("input")
        if failed is None:
            found.append(Separation(stack, "layer-by-layer", below(stack.injectivity("input") * _ROOM)))
    if not found:
        reason = f"Π (1 + a_l)(1 + b_l) is {float(product):.6g}, and has to be below 2"
        if stack.model.causal or len(stack.layers) == 1:
            assert failed is not None
            reason += f"; layer {failed[0]}: the constant of its {failed[1]} is {float(failed[2]):.6g}, not below 1"
        raise Undecided(reason)
    return max(found, key=lambda one: one.factor)


_ROOM = 1 - fmpq(1, 2**64)
"""Room for whoever rounds anew."""


def floor(found: Separation, X: RationalMatrix, other: RationalMatrix) -> Floor:
    """The floor for two inputs that are asked for one output.

    Raises ValueError when an input is not within the radius or does not have the stack's number of tokens.
    """
    region = found.stack.region
    for name, Z in (("first", X), ("second", other)):
        expected = (found.stack.model.width, region.input_length)
        if Z.shape != expected:
            raise ValueError(f"{name} input: expected {expected[0]}×{expected[1]}, found {Z.shape[0]}×{Z.shape[1]}")
        prompt = RationalMatrix.zeros(expected[0], region.prompt_length)
        if not region.contains(prompt.hstack(Z)):
            raise ValueError(
                f"{name} input: expected tokens of length at most {region.input_radius}, found longer ones"
            )
    distance = length_below(X - other, found.stack.norm)
    return Floor(found, X, other, below(found.factor * distance * _ROOM / 2))


def length_below(Z: RationalMatrix, norm: Norm) -> fmpq:
    """The norm of a matrix of tokens, rounded downwards."""
    squares = [sum((x * x for x in Z.column(j)), fmpq(0)) for j in range(Z.shape[1])]
    return root_below(max(squares) if norm == "max" else sum(squares, fmpq(0)))
