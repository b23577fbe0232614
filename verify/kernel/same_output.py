"""Claim `prompted-injectivity`, relation `same-output`: layers that tell all tokens apart, and inputs with one output.

Attention is uniform over the tokens seen, so that all is rational.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from attention import Layer, joined
from injective import demand_contractions, largest_product
from layer_constants import LayerProof, read_layer_proofs
from limits import DEADLINE, demand
from rational import Matrix, Scalar, Vector, read_scalar
from reading import Field
from rounding import at_most
from stack import Stack, read_stack
from vectors import stacked


@dataclass(frozen=True)
class SameOutput:
    """A prompt and inputs; a number above the product of all (1 + a) (1 + b); norm proofs."""

    stack: Stack
    prompt: Matrix
    inputs: tuple[Matrix, ...]
    product: Scalar
    proofs: tuple[LayerProof, ...]

    def check(self) -> str:
        """The inputs are different and allowed, their outputs equal."""
        region = self.stack.region
        region.demand_within(self.prompt, region.prompt_radius, "prompt")
        for k, X in enumerate(self.inputs):
            region.demand_within(X, region.input_radius, f"input {k}")
        for (i, first), (k, second) in combinations(enumerate(self.inputs), 2):
            DEADLINE.check()
            demand(not first.equals(second), f"inputs {i} and {k} are equal")
        pairs = demand_contractions(self.stack, self.proofs, "joint")
        demand(at_most(largest_product(pairs), self.product), "the product of the 1 + constants is above the stated")
        expected = self._outputs(self.inputs[0])
        for k, X in enumerate(self.inputs[1:], 1):
            demand(self._outputs(X).equals(expected), f"the outputs of inputs 0 and {k} are different")
        return (
            f"layers that tell all tokens of the region apart, with a product of 1 + constants of at most the stated "
            f"number, give one output to {len(self.inputs)} different inputs ({self.stack.describe()})"
        )

    def _outputs(self, X: Matrix) -> Matrix:
        """The tokens of the input after all layers."""
        Z = self.stack.embedded(joined(self.prompt, X))
        for layer in self.stack.layers:
            moved = zip(range(len(Z.rows)), _means(Z, self.stack.causal), strict=True)
            Z = stacked([_output(layer, Z.row(j), mean) for j, mean in moved])
        return self.stack.region.split(Z)[1]


def _means(Z: Matrix, causal: bool) -> Iterator[Vector]:
    """For each token, the mean of the tokens that it sees."""
    last = len(Z.rows)
    sums = (0,) * Z.width if causal else tuple(map(sum, zip(*Z.rows, strict=True)))
    for j, row in enumerate(Z.rows):
        if causal:
            sums = tuple(a + b for a, b in zip(sums, row, strict=True))
        yield Vector(sums, Z.den * (j + 1 if causal else last))


def _output(layer: Layer, token: Vector, mean: Vector) -> Vector:
    DEADLINE.check()
    for head in layer.heads:
        token += head.value(mean)
    return layer.mlp.output(token)


def read_same_output(instance: Field, witness: Field) -> SameOutput:
    """The statement of a certificate and its witness, read but not checked."""
    stack_field, P, inputs_field, product = instance.record("stack", "P", "inputs", "product")
    (proofs,) = witness.record("layers")
    stack = read_stack(stack_field)
    if stack.norm != "max":
        stack_field.fail('the norm "max"', "another")
    if any(n for layer in stack.layers for head in layer.heads for row in (*head.W_q.rows, head.b_q.num) for n in row):
        stack_field.fail("W_q and b_q zero (uniform attention)", "others")
    inputs = tuple(stack.read_tokens(X, stack.region.input_length) for X in inputs_field.items())
    if len(inputs) < 2:
        inputs_field.fail("at least two inputs")
    return SameOutput(
        stack,
        stack.read_tokens(P, stack.region.prompt_length),
        inputs,
        read_scalar(product),
        read_layer_proofs(proofs, stack.layers),
    )
