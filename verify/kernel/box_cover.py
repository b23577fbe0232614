"""Covers of a box of tokens by halving, and a Lipschitz constant of attention on it, part by part.

On a convex set a bound on the norm of the derivative is a Lipschitz constant. In the norm `max` the norm of a row of
blocks J_jk is at most the sum over k of |J_jk|.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from attention import Layer
from box_tree import MAX_NODES
from interval_matrices import Rows, added, norm_above
from intervals import Interval, enclosed, exactly
from jacobian import Form, form
from limits import DEADLINE, OverLimits, demand
from rational import Matrix, Scalar
from reading import Field
from rounding import at_most
from vectors import entry, sum_of

MAX_COORDINATES = 256


@dataclass(frozen=True)
class Half:
    """A half of what is above: of coordinate k, the lower or the upper one."""

    coordinate: int
    is_upper: bool
    above: "Half | None"


def _places(leaf: Half | None) -> dict[int, tuple[int, int]]:
    """For each coordinate that is halved (a, n): part a of 2^n equal ones."""
    path = []
    while leaf is not None:
        path.append(leaf)
        leaf = leaf.above
    result: dict[int, tuple[int, int]] = {}
    for half in reversed(path):
        a, n = result.get(half.coordinate, (0, 0))
        result[half.coordinate] = 2 * a + half.is_upper, n + 1
    return result


@dataclass(frozen=True)
class Box:
    """All tokens (rows) with entries within the half width of those of the center; the leaves of a cover of it."""

    center: Matrix
    half_width: Scalar
    leaves: tuple[Half | None, ...]

    def parts(self, bits: int) -> Iterator[Rows]:
        """The parts of the cover, with all ends rounded outwards."""
        d = self.center.width
        for leaf in self.leaves:
            DEADLINE.check()
            places = _places(leaf)
            yield [
                [self._side(j, c, *places.get(c + d * j, (0, 0)), bits) for c in range(d)]
                for j in range(len(self.center.rows))
            ]

    def _side(self, j: int, c: int, a: int, n: int, bits: int) -> Interval:
        """Entry c of token j: from center - h + 2 h a / 2^n to center - h + 2 h (a + 1) / 2^n."""
        low, high = (
            entry(self.center.row(j), c) + self.half_width * Scalar(2 * k - (1 << n), 1 << n) for k in (a, a + 1)
        )
        return Interval(enclosed(low, bits).lo, enclosed(high, bits).hi, bits)

    def demand_constant(self, asked: "Derivative", bound: Scalar, bits: int, where: str) -> None:
        """The bound holds on every part."""
        forms = [form(head) for head in asked.layer.heads]
        for k, tokens in enumerate(self.parts(bits)):
            norms = asked.norms(forms, tokens, bits)
            message = f"{where}leaf {k}: the norm of the derivative is not shown to be within the bound"
            demand(all(at_most(norm, bound) for norm in norms), message)


@dataclass(frozen=True)
class Derivative:
    """The derivative of the attention of a layer, of the tokens from the first on, by these tokens."""

    layer: Layer
    causal: bool
    norm: str
    first: int

    def norms(self, forms: Sequence[Form], tokens: Rows, bits: int) -> Iterator[Scalar]:
        """Numbers of which the largest is a bound on the norm, for all tokens in these intervals."""
        d, M = len(tokens[0]), len(tokens)
        whole: Rows = []
        for j in range(self.first, M):
            seen = tokens[: j + 1] if self.causal else tokens
            blocks = reduce(_sums, (one.blocks(seen, j, self.first, bits) for one in forms))
            if self.norm == "max":
                yield sum_of(norm_above(block, bits) for block in blocks)
            unseen = [exactly(0, bits)] * (d * (M - len(seen)))
            whole += [[x for block in blocks for x in block[c]] + unseen for c in range(d)]
        if self.norm == "frobenius":
            yield norm_above(whole, bits)


def _sums(first: list[Rows], second: list[Rows]) -> list[Rows]:
    return [added(A, B) for A, B in zip(first, second, strict=True)]


def read_leaves(root: Field, coordinates: int, nodes: Iterator[int]) -> tuple[Half | None, ...]:
    """The leaves of a tree; `nodes` are those that are left for all trees of a certificate together."""
    if coordinates > MAX_COORDINATES:
        raise OverLimits(f"boxes of more than {MAX_COORDINATES} coordinates")
    leaves: list[Half | None] = []
    stack: list[tuple[Field, Half | None]] = [(root, None)]
    while stack:
        DEADLINE.check()
        if next(nodes, None) is None:
            raise OverLimits(f"more than {MAX_NODES} nodes in trees")
        node, here = stack.pop()
        if node.has("split"):
            split, below, above = node.record("split", "below", "above")
            k = split.index(coordinates)
            stack += [(above, Half(k, True, here)), (below, Half(k, False, here))]
        else:
            node.choice("leaf")
            leaves.append(here)
    return tuple(leaves)
