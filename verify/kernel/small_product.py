"""Claim `prompted-injectivity`, relations `small-product` and `layer-by-layer`: prompts that cannot collapse inputs.

With p the product of all (1 + a) (1 + b), T - 1 (and what E adds) has a Lipschitz constant of at most p - 1: that of
(1 + g) after (1 + f) is at most f + g (1 + f). With one prompt, two inputs differ at the input tokens only, so the
outputs there by at least (2 - p) times as much.

If the prompt's own way through the layers does not depend on the input (one layer, or a causal mask), each layer is a
map of the input's tokens alone, and these are the identity plus a contraction if a, b < 1, with the prompt fixed.

Two outputs that are 2 r apart are not both within less than r of one target.
"""

from dataclasses import dataclass

from injective import demand_contractions, largest_product, least_product
from layer_constants import LayerProof, constants, read_layer_proofs
from limits import demand
from rational import Matrix, Scalar, read_scalar
from reading import Field
from rounding import at_most, square, whole
from stack import Stack, read_stack, squared_norm


@dataclass(frozen=True)
class Kept:
    """Norm proofs; a factor by which differences of inputs shrink at most; two inputs, a distance of their outputs."""

    stack: Stack
    factor: Scalar
    inputs: tuple[Matrix, Matrix] | None
    floor: Scalar
    proofs: tuple[LayerProof, ...]
    layer_by_layer: bool

    def check(self) -> str:
        """The factor is positive and follows from the constants; the floor follows from the factor."""
        demand(self.factor.sign() > 0, "the factor is not positive")
        if self.layer_by_layer:
            pairs = demand_contractions(self.stack, self.proofs, "input")
            demand(at_most(self.factor, least_product(pairs)), "the factor is above the product of the 1 - constants")
        else:
            product = largest_product(list(constants(self.stack, self.proofs, "joint")))
            demand(at_most(product + self.factor, whole(2)), "the product of the 1 + constants is above 2 - factor")
        self._demand_floor()
        apart = "" if self.inputs is None else ", and no target is closer than the floor to both outputs of two inputs"
        return (
            "with every prompt of the region, different inputs have different outputs, apart by at least the factor "
            f"times as much{apart} ({self.stack.describe()})"
        )

    def _demand_floor(self) -> None:
        demand(self.floor.sign() >= 0, "the floor is negative")
        if self.inputs is None:
            demand(self.floor.sign() == 0, "a floor above 0 without inputs")
            return
        first, second = self.inputs
        for k, X in enumerate(self.inputs):
            self.stack.region.demand_within(X, self.stack.region.input_radius, f"input {k}")
        difference = first + Matrix(tuple(tuple(-n for n in row) for row in second.rows), second.den, second.width)
        distance = squared_norm([difference.row(j) for j in range(len(difference.rows))], self.stack.norm)
        floor = square(whole(2) * self.floor)
        demand(at_most(floor, square(self.factor) * distance), "the inputs are too close for the floor")


def _read(instance: Field, witness: Field, layer_by_layer: bool) -> Kept:
    stack_field, factor, inputs_field, floor = instance.record("stack", "factor", "inputs", "floor")
    (layers,) = witness.record("layers")
    stack = read_stack(stack_field)
    if layer_by_layer and len(stack.layers) > 1 and not stack.causal:
        stack_field.fail("one layer or a causal mask", "several layers without a mask")
    inputs = None
    if not inputs_field.is_null():
        first, second = (stack.read_tokens(field, stack.region.input_length) for field in inputs_field.items(2))
        inputs = first, second
    proofs = read_layer_proofs(layers, stack.layers)
    return Kept(stack, read_scalar(factor), inputs, read_scalar(floor), proofs, layer_by_layer)


def read_small_product(instance: Field, witness: Field) -> Kept:
    """The whole stack is close to the identity."""
    return _read(instance, witness, False)


def read_layer_by_layer(instance: Field, witness: Field) -> Kept:
    """Each layer is close to the identity, with the prompt fixed."""
    return _read(instance, witness, True)
