"""Claim `prompted-injectivity`, relation `fold`: two tokens of width 1, attention alone, two inputs with one output.

Each layer is the identity plus attention with a constant below 1 on a box (norm `max`), so injective there, and maps
the box into the next one. The output at the input token is a continuous function of the input; if at x_2 it is above
its values at x_1 < x_2 and x_3 > x_2, it takes some value on both sides of x_2.
"""

from dataclasses import dataclass

from attention import Layer
from box_cover import Box, Derivative, read_leaves
from box_tree import node_numbers
from forward import after_layers, enclosed_tokens
from fractions_of_sums import ZERO
from injective import largest_product
from interval_matrices import minus, read_precision
from intervals import Interval
from limits import demand
from plain_layers import read_plain_layers
from rational import ONE, Scalar, Vector, read_scalar
from reading import Field
from rounding import at_most, below
from stack import describe_layers, read_positive
from vectors import stacked


@dataclass(frozen=True)
class FoldBox:
    """A box of the tokens in front of a layer, and a number above the Lipschitz constant of its attention there."""

    box: Box
    constant: Scalar

    def demand_contains(self, p: Scalar, x: Scalar, where: str) -> None:
        """The tokens p and x are in the box."""
        for k, value in enumerate((p, x)):
            gap = value - Scalar(self.box.center.rows[k][0], self.box.center.den)
            inside = all(at_most(one, self.box.half_width) for one in (gap, -gap))
            demand(inside, f"{where}: token {k} is not in the first box")


@dataclass(frozen=True)
class Fold:
    """Layers, a prompt and three inputs; a number above the product of the 1 + constants; a box for each layer."""

    layers: tuple[Layer, ...]
    p: Scalar
    x: tuple[Scalar, ...]
    product: Scalar
    boxes: tuple[FoldBox, ...]
    bits: int

    def check(self) -> str:
        """The boxes hold the tokens, the constants are below 1, the outputs go up and down or down and up."""
        first, second, third = self.x
        demand(below(first, second) and below(second, third), "the inputs are not in order")
        for k in (0, 2):
            self.boxes[0].demand_contains(self.p, self.x[k], f"input {k}")
        for l, (layer, box) in enumerate(zip(self.layers, self.boxes, strict=True)):
            demand(below(box.constant, ONE), f"layer {l}: the constant is not below 1")
            asked = Derivative(layer, False, "max", 0)
            box.box.demand_constant(asked, box.constant, self.bits, f"layer {l}, ")
        for l in range(len(self.layers) - 1):
            self._demand_inside(l)
        largest = largest_product([(box.constant, ZERO) for box in self.boxes])
        demand(at_most(largest, self.product), "the product of the 1 + constants is above the stated")
        low, middle, high = (self._output(x) for x in self.x)
        up = middle.lo > low.hi and middle.lo > high.hi
        down = middle.hi < low.lo and middle.hi < high.lo
        demand(up or down, "the output at the middle input is not shown to be above both others, or below both")
        return (
            "two different inputs between the stated ones have one output, though all tokens in the boxes are told "
            "apart, with a product of 1 + constants of at most the stated number "
            f"({describe_layers(self.layers, False)}, parts: {sum(len(box.box.leaves) for box in self.boxes)})"
        )

    def _demand_inside(self, l: int) -> None:
        """The layer maps its box into the next one."""
        box, after = self.boxes[l].box, self.boxes[l + 1].box
        image = after_layers([self.layers[l]], False, enclosed_tokens(box.center, self.bits), self.bits)
        gaps = [minus(u, v)[0] for u, v in zip(image, enclosed_tokens(after.center, self.bits), strict=True)]
        off = Scalar(max(gap.magnitude() for gap in gaps), 1 << self.bits)
        reach = off + (ONE + self.boxes[l].constant) * box.half_width
        demand(at_most(reach, after.half_width), f"layer {l}: the image of the box is not shown to be in the next one")

    def _output(self, x: Scalar) -> Interval:
        """The output at the input token."""
        tokens = stacked([Vector((value.num,), value.den) for value in (self.p, x)])
        return after_layers(self.layers, False, enclosed_tokens(tokens, self.bits), self.bits)[1][0]


def read_fold(instance: Field, witness: Field) -> Fold:
    """The statement of a certificate and its witness, read but not checked."""
    layers_field, p, x, product = instance.record("layers", "p", "x", "product")
    boxes_field, precision = witness.record("boxes", "precision")
    layers = read_plain_layers(layers_field, one_head=False)
    if layers[0].mlp.d != 1:
        layers_field.fail("layers of width 1", "others")
    nodes = node_numbers()
    boxes = []
    for place in boxes_field.items(len(layers)):
        center, half_width, constant, tree = place.record("center", "half_width", "constant", "tree")
        middle = stacked([Vector((one.num,), one.den) for one in map(read_scalar, center.items(2))])
        box = Box(middle, read_positive(half_width), read_leaves(tree, 2, nodes))
        boxes.append(FoldBox(box, read_scalar(constant)))
    inputs = tuple(map(read_scalar, x.items(3)))
    return Fold(layers, read_scalar(p), inputs, read_scalar(product), tuple(boxes), read_precision(precision))
