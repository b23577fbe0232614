"""Claim `attention-lipschitz`, relation `box`: a Lipschitz constant of attention on a small box of tokens."""

from dataclasses import dataclass

from attention import joined, read_layer
from box_cover import Box, Derivative, read_leaves
from box_tree import node_numbers
from fractions_of_sums import ZERO
from interval_matrices import read_precision
from rational import Scalar, read_scalar
from reading import Field
from stack import KINDS, NORMS, Region, Stack, read_columns, read_positive


@dataclass(frozen=True)
class BoxBound:
    """The derivative on the parts of a box."""

    derivative: Derivative
    box: Box
    bound: Scalar
    bits: int
    details: str

    def check(self) -> str:
        """Its norm is at most the bound on every part."""
        self.box.demand_constant(self.derivative, self.bound, self.bits, "")
        return (
            "on the box the attention of this layer has a Lipschitz constant of at most the stated bound "
            f"({self.details}, parts: {len(self.box.leaves)})"
        )


def read_box(instance: Field, witness: Field) -> BoxBound:
    """The statement of a certificate and its witness, read but not checked."""
    layer_field, norm_field, kind_field, P, X, width, bound = instance.record(
        "layer", "norm", "kind", "P", "X", "half_width", "bound"
    )
    tree, precision = witness.record("tree", "precision")
    layer = read_layer(layer_field)
    _, _, mask, _ = layer_field.record("heads", "mlp", "causal", "E")
    causal, d = mask.boolean(), layer.mlp.d
    prompt, context = read_columns(P, d), read_columns(X, d)
    if not context.rows:
        X.fail("at least one column", "none")
    region = Region(len(prompt.rows), len(context.rows), ZERO, ZERO)
    norm, kind = norm_field.choice(*NORMS), kind_field.choice(*KINDS)
    center = joined(prompt, context)
    leaves = read_leaves(tree, d * len(center.rows), node_numbers())
    return BoxBound(
        Derivative(layer, causal, norm, region.first_row(kind)),
        Box(center, read_positive(width), leaves),
        read_scalar(bound),
        read_precision(precision),
        f"{Stack((layer,), causal, None, norm, region).describe()}, kind: {kind}",
    )
