"""Claim `attention-lipschitz`, relation `bound`: a Lipschitz constant of attention, by norms."""

from dataclasses import dataclass

from layer_constants import LayerProof, constants, read_layer_proof
from limits import demand
from rational import Scalar, read_scalar
from reading import Field
from rounding import at_most
from stack import KINDS, Stack, read_stack


@dataclass(frozen=True)
class Asked:
    """A stack of one layer, what varies, and a number."""

    stack: Stack
    kind: str
    bound: Scalar

    def describe(self) -> str:
        """The instance, in words."""
        return f"{self.stack.describe()}, kind: {self.kind}"


@dataclass(frozen=True)
class Bound:
    """Norm proofs."""

    asked: Asked
    proof: LayerProof

    def check(self) -> str:
        """The constant that follows from the norms is at most the bound."""
        asked = self.asked
        ((a, _),) = constants(asked.stack, [self.proof], asked.kind)
        demand(at_most(a, asked.bound), "the bound is not shown: it is too small")
        return (
            "on the region the attention of this layer has a Lipschitz constant of at most the stated bound "
            f"({asked.describe()})"
        )


def read_asked(field: Field) -> Asked:
    """An instance."""
    stack_field, kind, bound = field.record("stack", "kind", "bound")
    stack = read_stack(stack_field)
    if len(stack.layers) != 1:
        stack_field.fail("a stack of one layer", f"{len(stack.layers)}")
    return Asked(stack, kind.choice(*KINDS), read_scalar(bound))


def read_bound(instance: Field, witness: Field) -> Bound:
    """The statement of a certificate and its witness, read but not checked."""
    asked = read_asked(instance)
    (proof,) = witness.record("layer")
    return Bound(asked, read_layer_proof(proof, asked.stack.layers[0], with_mlp=False))
