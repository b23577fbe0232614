"""Trees that show: what a prompt adds to several queries is linearly independent, however much weight it takes.

Some prompt leaves the weight l_j, 0 < l_j < 1, on the context of a query at head j. If the query is to get a, then the
prompt contributes a - sum of l_j A_j, where A_j is what head j gives without a prompt. For all queries together these
vectors are in the span of all V_j p, p the tokens of the prompt: at most the sum over heads of min(m, s_j, d)
dimensions, m the number of tokens and s_j the size of head j.

With T_k > 0 and rows r_i put N_ik = r_i.(T_k (a_k - sum of l_jk A_jk)). If N is regular, the vectors are independent.
It is, if it is strictly diagonally dominant by rows after column k is multiplied by weights_k > 0; and each N_ik is
affine in the l_jk of query k, so that its bounds on a box are at the ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attention import Layer
from box_tree import read_leaves
from curve import NOTHING
from expsum import ExpSum, combine
from fractions_of_sums import ZERO, Fractions, on_common_denominator
from limits import DEADLINE, demand
from rational import ONE, Matrix, Scalar, Vector, read_matrix, read_vector
from reading import Field
from vectors import entry

Side = tuple[Scalar, Scalar]
Box = tuple[Side, ...]


@dataclass(frozen=True)
class Values:
    """constant + the sum of slope times l_j over heads j, the l_j between the ends of the sides."""

    constant: ExpSum
    slopes: tuple[ExpSum, ...]
    sides: Box

    def size(self) -> ExpSum:
        """The largest absolute value."""
        least, most, _ = self.bounds()
        return most if (most + least).sign() >= 0 else -least

    def bounds(self) -> tuple[ExpSum, ExpSum, bool]:
        """The least and the largest value; whether the least is at the ends of sides that the open cube leaves out.

        It is, where some slope is not zero and the end with the least value is 0 or 1. (A side with its lower end
        above the other has no points. What is said of such a box matters to nobody.)
        """
        least = most = self.constant
        left_out = False
        for slope, (low, high) in zip(self.slopes, self.sides, strict=True):
            sign = slope.sign()
            if sign:
                first, last = (low, high) if sign > 0 else (high, low)
                least, most = least + slope.scaled(first), most + slope.scaled(last)
                left_out = left_out or first.sign() == 0 or (first - ONE).sign() == 0
        return least, most, left_out


@dataclass(frozen=True)
class Contribution:
    """What a prompt contributes to a query, times T > 0: T a, and T A_j for each head j."""

    asked: tuple[ExpSum, ...]
    contexts: tuple[tuple[ExpSum, ...], ...]

    def along(self, row: Vector, sides: Box) -> Values:
        """r.(T (a - sum of l_j A_j)) as a function of the l_j."""
        return Values(combine(row, self.asked), tuple(combine(-row, context) for context in self.contexts), sides)


def contribution(a: Fractions, averages: Sequence[Fractions]) -> Contribution:
    """T is the product of all denominators: all are masses, or 1."""
    asked, *contexts = on_common_denominator([a, *averages])
    return Contribution(asked.numerators, tuple(context.numerators for context in contexts))


@dataclass(frozen=True)
class Leaf:
    """A part of the cube, with the rows r_i and the weights that show independence there."""

    box: Box
    rows: Matrix
    weights: Vector

    def demand_independent(self, contributions: Sequence[Contribution], where: str) -> None:
        """N is regular at all points that the box shares with the open cube."""
        demand(all(weight > 0 for weight in self.weights.num), f"{where}: a weight is not positive")
        heads = len(self.box) // len(contributions)
        for i, own in enumerate(contributions):
            row, others = self.rows.row(i), NOTHING
            for k, other in enumerate(contributions):
                DEADLINE.check()
                if k != i:
                    size = other.along(row, self.box[k * heads : (k + 1) * heads]).size()
                    others += size.scaled(entry(self.weights, k))
            least, most, left_out = own.along(row, self.box[i * heads : (i + 1) * heads]).bounds()
            if others.is_zero() and least.is_zero():
                inside = left_out and not most.is_zero()
                demand(inside, f"{where}: row {i} is 0 at the contribution of query {i}, within the open cube")
            else:
                larger = least.scaled(entry(self.weights, i)) - others
                demand(larger.sign() > 0, f"{where}: row {i} is not dominated by its diagonal")


def demand_independent(leaves: Sequence[Leaf], contributions: Sequence[Contribution], where: str) -> None:
    """The contributions are independent at all points of the open cube: it is covered by the leaves."""
    for i, leaf in enumerate(leaves):
        DEADLINE.check()
        leaf.demand_independent(contributions, f"{where}leaf {i}")


def demand_too_few(layer: Layer, tokens: int | None, count: int) -> int:
    """So many contributions have more dimensions than so many tokens (None: any number) give; the result is these."""
    d = layer.mlp.d
    sizes = [min(len(head.b_q), d) for head in layer.heads]
    dimensions = sum(sizes if tokens is None else [min(size, tokens) for size in sizes])
    demand(dimensions < count, f"prompts have up to {dimensions} dimensions, the contributions {count}")
    return dimensions


def read_independence(root: Field, count: int, layer: Layer, nodes: Iterator[int]) -> tuple[Leaf, ...]:
    """The leaves of a tree for so many queries."""
    d = layer.mlp.d

    def read_leaf(node: Field, box: Box) -> Leaf:
        rows, weights = node.record("rows", "weights")
        return Leaf(box, read_matrix(rows, count, d), read_vector(weights, count))

    cube: Box = ((ZERO, ONE),) * (count * len(layer.heads))
    return tuple(read_leaves(root, cube, nodes, read_leaf, "pair"))
