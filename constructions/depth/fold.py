"""With attention alone, 2 is sharp: two layers of width 1, one head each, that fold an interval of inputs.

The repaired condition asks for ``Π (1 + c_l) < 2``. Here one prompt token p and one input token x (d = 1) pass two
layers without MLP whose constants, in the norm max and on small boxes, have a product of about ``2 + 70 ε``; and the
output at the input token is not monotone in x, so two different inputs have one output.

Layer 1, with W_q = w/u², W_k = 1: at the chosen tokens the input token's output has derivative 0 with respect to p and
``−(1 − ε)`` with respect to x: it nearly forgets x by itself, while the prompt token learns a little of it. Layer 2,
uniform attention with a value map of the size of ε, takes that little away from the rest. Source: THEORY section 7
(2 as an infimum: ours); docs/theory/depth.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import flint
from flint import arb, arb_mat, fmpq, fmpz

from constructions.depth.constants import Norm, one_head
from constructions.depth.jacobian import blocks
from constructions.depth.slack import BoxCover, box_cover
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Layer, Transformer
from constructions.verdict import Undecided

PRECISION = 192
NORM: Norm = "max"
EPSILON = fmpq(1, 2**16)


@dataclass(frozen=True)
class Fold:
    """Two layers, a prompt p, three inputs ``x`` whose outputs go up and down (or down and up), a box around the tokens
    before each layer with a bound on its constant, and the product ``Π (1 + constant)``."""

    layers: tuple[Layer, ...]
    p: fmpq
    x: tuple[fmpq, fmpq, fmpq]
    boxes: tuple[BoxCover, ...]
    product: fmpq

    def outputs(self) -> list[arb]:
        """The output at the input token for each of the three inputs, enclosed."""
        model = Transformer(self.layers)
        with flint.ctx.workprec(PRECISION):
            return [_run(model, self.p, x) for x in self.x]


def _run(model: Transformer, p: fmpq, x: fmpq) -> arb:
    Z = model(BallMatrix.embed(RationalMatrix.of([[p, x]])))
    assert isinstance(Z, BallMatrix)
    return Z[0, 1]


def fold(epsilon: fmpq = EPSILON, w: int = 4, norm: Norm = NORM) -> Fold:
    """The two layers for a small ε; ``w`` is the difference of the two tokens' scores of their own differences.

    In the norm max, w = 4 does. In the Frobenius norm what the prompt learns of x must be small as well: w = 10.

    Raises Undecided when the constants or the fold cannot be certified (ε too large or far too small for 192 bits).

    >>> found = fold(fmpq(1, 2**10))
    >>> float(found.product) < 2.1, all(cover.bound < 1 for cover in found.boxes)
    (True, True)
    """
    with flint.ctx.workprec(PRECISION):
        theta = _root_of_theta()
        s = 1 / (1 + (-theta).exp())
        v = -(1 - arb(epsilon)) / (1 + s * (1 - s) * w)
        x, p = _short(theta / w), _short(1 + theta / w)
        one = RationalMatrix.identity(1)
        first = one_head(RationalMatrix.of([[w]]), one, RationalMatrix.of([[_short(v)]]))
        Z = RationalMatrix.of([[p, x]])
        J = blocks(first.attention, arb_mat(Z.mat))
        own, prompts = 1 + J[1][1][0, 0], J[0][1][0, 0]
        second = one_head(RationalMatrix.zeros(1, 1), one, RationalMatrix.of([[_short(-2 * own / (own + prompts))]]))
        half = _power_below(epsilon / 2**10)
        boxes = [box_cover(first, Z, half, norm, "joint", 1, max_leaves=16)]
        image = first(BallMatrix.embed(Z))
        assert isinstance(image, BallMatrix)
        center = RationalMatrix.of([[_short(image[0, 0]), _short(image[0, 1])]])
        boxes.append(box_cover(second, center, 4 * half, norm, "joint", 1, max_leaves=16))
        if any(cover.bound >= 1 for cover in boxes):
            raise Undecided(f"fold: a constant is not below 1 for ε = {epsilon}")
        product = (1 + boxes[0].bound) * (1 + boxes[1].bound)
        found = Fold((first, second), p, (x - half, x, x + half), tuple(boxes), product)
        low, middle, high = found.outputs()
        if not ((middle > low and middle > high) or (middle < low and middle < high)):
            raise Undecided(f"fold: the outputs at {[float(t) for t in found.x]} do not show a fold")
        return found


def _root_of_theta() -> arb:
    """θ < 0 with ``(1 − σ(θ)) θ = −1``: there the derivative with respect to the other token vanishes. Newton."""
    theta = arb(fmpq(-1278, 1000))
    for _ in range(9):
        t = theta.mid()
        sigma = 1 / (1 + (-t).exp())
        theta = t - ((1 - sigma) * t + 1) / ((1 - sigma) * (1 - sigma * t))
    return theta.mid()


def _short(x: arb) -> fmpq:
    """A dyadic number near x."""
    unit = fmpz(2) ** 128
    return fmpq((midpoint(x) * unit).floor(), unit)


def _power_below(x: fmpq) -> fmpq:
    """The power of 2 at or below 0 < x < 1."""
    return fmpq(1, fmpz(2) ** ((1 / x).ceil() - 1).bit_length())
