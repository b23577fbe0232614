"""Claim `joint-injectivity`, relation `inverse`: whatever tokens of the region are mapped to Y are near Z.

|T(Z) - T(Z*)| >= c |Z - Z*| with c the product of all (1 - a) (1 - b), for all Z and Z* of the region.
"""

from dataclasses import dataclass

from forward import after_layers, enclosed_tokens
from injective import demand_contractions, least_product
from interval_matrices import largest_square, minus, read_precision
from layer_constants import LayerProof, read_layer_proofs
from limits import demand
from rational import Matrix, Scalar, read_scalar
from reading import Field
from rounding import at_most, square
from stack import Stack, read_stack, total_size


@dataclass(frozen=True)
class Inverse:
    """Y, Z (rows are tokens) and a distance; norm proofs of all layers; bits after the point."""

    stack: Stack
    Y: Matrix
    Z: Matrix
    error: Scalar
    proofs: tuple[LayerProof, ...]
    bits: int

    def check(self) -> str:
        """T(Z) is close enough to Y."""
        stack, bits = self.stack, self.bits
        least = least_product(demand_contractions(stack, self.proofs, "joint"))
        demand(self.error.sign() >= 0, "the error is negative")
        stack.region.demand_holds(self.Z, "Z")
        image = after_layers(stack.layers, stack.causal, enclosed_tokens(stack.embedded(self.Z), bits), bits)
        rows = zip(image, enclosed_tokens(self.Y, bits), strict=True)
        distance = total_size([largest_square(minus(z, y)) for z, y in rows], stack.norm)
        demand(at_most(distance, square(self.error * least)), "T(Z) is not shown to be so close to Y")
        return (
            "whatever tokens of the region are mapped to Y are within the stated distance of Z, by a map that is "
            f"injective there ({stack.describe()})"
        )


def read_inverse(instance: Field, witness: Field) -> Inverse:
    """The statement of a certificate and its witness, read but not checked."""
    stack_field, Y, Z, error = instance.record("stack", "Y", "Z", "error")
    layers, precision = witness.record("layers", "precision")
    stack = read_stack(stack_field)
    tokens = stack.region.tokens
    return Inverse(
        stack,
        stack.read_tokens(Y, tokens),
        stack.read_tokens(Z, tokens),
        read_scalar(error),
        read_layer_proofs(layers, stack.layers),
        read_precision(precision),
    )
