"""Claim `joint-injectivity`, relation `injective`: different token matrices of a region have different outputs.

A layer is Z -> Z + A(Z), then z -> z + g(z) for each token, with Lipschitz constants a of A on the region and b of g.
If both are below 1, |T(Z) - T(Z')| >= (1 - a) (1 - b) |Z - Z'|; and the image is in the region of the next layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from layer_constants import LayerProof, constants, read_layer_proofs
from limits import demand
from rational import ONE, Scalar
from reading import Field
from rounding import below, rounded_down, rounded_up
from stack import Stack, read_stack


def demand_contractions(stack: Stack, proofs: Sequence[LayerProof], kind: str) -> list[tuple[Scalar, Scalar]]:
    """a and b of all layers, all below 1."""
    pairs = list(constants(stack, proofs, kind))
    for l, (a, b) in enumerate(pairs):
        demand(below(a, ONE), f"layer {l}: the constant of the attention is not shown to be below 1")
        demand(below(b, ONE), f"layer {l}: the constant of the MLP is not shown to be below 1")
    return pairs


def least_product(pairs: Sequence[tuple[Scalar, Scalar]]) -> Scalar:
    """The product of all (1 - a) (1 - b), rounded downwards."""
    product = ONE
    for a, b in pairs:
        product = rounded_down(product * (ONE - a) * (ONE - b))
    return product


def largest_product(pairs: Sequence[tuple[Scalar, Scalar]]) -> Scalar:
    """The product of all (1 + a) (1 + b), rounded upwards."""
    product = ONE
    for a, b in pairs:
        product = rounded_up(product * (ONE + a) * (ONE + b))
    return product


@dataclass(frozen=True)
class Injective:
    """Norm proofs of all layers."""

    stack: Stack
    proofs: tuple[LayerProof, ...]

    def check(self) -> str:
        """All constants are below 1."""
        demand_contractions(self.stack, self.proofs, "joint")
        return (
            f"the map from all tokens to all outputs is injective on the region, with an inverse that is Lipschitz "
            f"continuous ({self.stack.describe()})"
        )


def read_injective(instance: Field, witness: Field) -> Injective:
    """The statement of a certificate and its witness, read but not checked."""
    (stack_field,) = instance.record("stack")
    (layers,) = witness.record("layers")
    stack = read_stack(stack_field)
    return Injective(stack, read_layer_proofs(layers, stack.layers))
