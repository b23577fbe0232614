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
from expsum import ExpSum, combine, exp_sum
from fractions_of_sums import ZERO, Fractions, on_common_denominator, tabulated
from limits import DEADLINE, Budget, demand
from rational import ONE, Matrix, Scalar, Vector, read_matrix, read_vector
from reading import Field
from vectors import entry, stacked

Side = tuple[Scalar, Scalar]
Box = tuple[Side, ...]


@dataclass(frozen=True)
class Bounds:
    """The least and the largest value on a box of something affine; whether the open cube leaves out where it is least.

    (A side with its lower end above the other has no points. What is said of such a box matters to nobody.)
    """

    least: ExpSum
    most: ExpSum
    left_out: bool

    def size(self) -> ExpSum:
        """The largest absolute value."""
        return self.most if (self.most + self.least).sign() >= 0 else -self.least


@dataclass(frozen=True)
class Contribution:
    """What a prompt contributes to a query, times T > 0: a row of coefficients of the entries of T a and of all T A_j
    for each of the exponents. `outputs` are the A_j, each times its own mass."""

    coefficients: Matrix
    exponents: Vector
    outputs: tuple[tuple[ExpSum, ...], ...]

    def at(self, row: Vector, weights: Sequence[Scalar]) -> ExpSum:
        """r.(T (a - sum of l_j A_j)), the weights l_j."""
        factors = stacked([row, *(Vector(tuple(-l.num * n for n in row.num), l.den * row.den) for l in weights)])
        flat = tuple(n for numbers in factors.rows for n in numbers)
        return exp_sum(self.coefficients @ Vector(flat, factors.den), self.exponents)

    def bounds(self, row: Vector, sides: Box) -> Bounds:
        """Of r.(T (a - sum of l_j A_j)) for l_j on these sides: it falls with l_j where r.A_j > 0.

        The open cube leaves out where it is least, if r.A_j is not 0 and the end of l_j there is 0 or 1.
        """
        first, last = [], []
        left_out = False
        for output, (low, high) in zip(self.outputs, sides, strict=True):
            sign = combine(row, output).sign()
            least, most = (high, low) if sign > 0 else (low, high)
            left_out = left_out or (sign != 0 and (least.sign() == 0 or (least - ONE).sign() == 0))
            first.append(least)
            last.append(most)
        return Bounds(self.at(row, first), self.at(row, last), left_out)


def contribution(a: Fractions, averages: Sequence[Fractions], budget: Budget) -> Contribution:
    """T is the product of all denominators: all are masses, or 1. The budget is for all contributions together."""
    common = on_common_denominator([a, *averages], budget)
    table = tabulated([numerator for vector in common for numerator in vector.numerators], budget)
    return Contribution(*table, tuple(average.numerators for average in averages))


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
                    size = other.bounds(row, self.box[k * heads : (k + 1) * heads]).size()
                    others += size.scaled(entry(self.weights, k))
            diagonal = own.bounds(row, self.box[i * heads : (i + 1) * heads])
            if others.is_zero() and diagonal.least.is_zero():
                outside = diagonal.left_out and not diagonal.most.is_zero()
                demand(outside, f"{where}: row {i} is 0 at the contribution of query {i}, within the open cube")
            else:
                larger = diagonal.least.scaled(entry(self.weights, i)) - others
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
