"""The MLP z -> z + W_2 ReLU(W_1 z + b_1) + b_2 and proofs about its preimages.

For a target y put M = I + W_1 W_2 and c = W_1 (y - b_2) + b_1. With h = ReLU(W_1 z + b_1) the equation
MLP(z) = y says z = y - b_2 - W_2 h, hence W_1 z + b_1 = c - W_1 W_2 h, and h is its ReLU exactly when

    h >= 0,  M h >= c,  and for each unit i:  (M h)_i = c_i (active)  or  h_i = 0 (inactive).

M is never formed for a leaf: M^T l = l + W_2^T (W_1^T l).
"""

from dataclasses import dataclass

from limits import DEADLINE, Refuted, demand
from rational import Matrix, Scalar, Vector, identity, is_positive_definite, read_matrix, read_vector
from reading import Field


@dataclass(frozen=True)
class Mlp:
    """W_1 is r x d, W_2 is d x r, for r hidden units; r = 0 is no MLP but the shift by b_2."""

    W_1: Matrix
    b_1: Vector
    W_2: Matrix
    b_2: Vector

    @property
    def d(self) -> int:
        """Length of tokens."""
        return len(self.b_2)

    @property
    def units(self) -> int:
        """Number of hidden units."""
        return len(self.b_1)

    def output(self, z: Vector) -> Vector:
        """MLP(z)."""
        hidden = self.W_1 @ z + self.b_1
        relu = Vector(tuple(max(n, 0) for n in hidden.num), hidden.den)
        return z + self.W_2 @ relu + self.b_2

    def demand_monotone(self, factor: Matrix, where: str) -> None:
        """M + M^T is positive definite by the factor, hence MLP(z) = y has at most one solution, for every y.

        Such an M has positive principal minors, and linear complementarity problems with it one solution.
        """
        M = identity(self.units) + self.W_1.times(self.W_2)
        demand(
            is_positive_definite(M + M.transposed(), factor),
            f"{where}: M + M^T is not shown to be positive definite by the factor",
        )


@dataclass(frozen=True)
class Sign:
    """A unit fixed active or inactive, linked to what is fixed above it in the tree."""

    unit: int
    active: bool
    above: "Sign | None"


@dataclass(frozen=True)
class Leaf:
    """A polyhedron of the preimage: the units fixed on the way to it; it may be empty without our knowing."""

    last: Sign | None

    def signs(self) -> dict[int, bool]:
        """The fixed units; True is active."""
        result: dict[int, bool] = {}
        sign = self.last
        while sign is not None:
            DEADLINE.check()
            result[sign.unit] = sign.active
            sign = sign.above
        return result


@dataclass(frozen=True)
class Tree:
    """A case distinction on units: the leaves that stay as pieces, and those claimed to be empty."""

    pieces: tuple[Leaf, ...]
    empty: tuple[tuple[Leaf, Vector], ...]


@dataclass(frozen=True)
class Point:
    """The claim that z is the only preimage."""

    z: Vector
    factor: Matrix

    @property
    def pieces(self) -> "tuple[Point]":
        """The point itself counts as the one piece."""
        return (self,)


@dataclass(frozen=True)
class Preimage:
    """The set of all z with MLP(z) = y, and a proof of what pieces cover it."""

    mlp: Mlp
    y: Vector
    proof: Tree | Point

    def demand_covered(self, where: str) -> None:
        """The preimage is within the pieces of the proof."""
        if isinstance(self.proof, Point):
            demand((self.mlp.output(self.proof.z) - self.y).is_zero(), f"{where}: MLP(z) is not the target")
            self.mlp.demand_monotone(self.proof.factor, where)
            return
        nothing = Vector((0,) * self.mlp.units, 1)
        for k, (leaf, multipliers) in enumerate(self.proof.empty):
            name = f"{where}: empty leaf {k}"
            # For an h of the leaf this would say 0 <= bound.
            bound = self._leaf_bound(leaf, nothing, multipliers, name)
            demand(bound.sign() < 0, f"{name}: the bound is not negative")

    def upper_bound(self, k: int, w: Vector, token: Vector, multipliers: Vector | None, where: str) -> Scalar:
        """A number that w.(z - x) does not exceed on piece k: the value of a point, by multipliers for a leaf."""
        if isinstance(self.proof, Point):
            return w.dot(self.proof.z - token)
        if multipliers is None:
            raise Refuted(f"{where}: a leaf needs multipliers")
        # w.(z - x) = w.(y - b_2 - x) - (W_2^T w).h
        f = -(self.mlp.W_2.transposed() @ w)
        bound = self._leaf_bound(self.proof.pieces[k], f, multipliers, where)
        return w.dot(self.y - self.mlp.b_2 - token) + bound

    def _leaf_bound(self, leaf: Leaf, f: Vector, multipliers: Vector, where: str) -> Scalar:
        """l.c, after the conditions that make it an upper bound of f.h on the leaf.

        f.h <= (M^T l).h, as h_i >= 0 where f_i <= (M^T l)_i and h_i = 0 elsewhere (fixed inactive);
        and l.(M h) <= l.c, as (M h)_i >= c_i where l_i <= 0 and (M h)_i = c_i elsewhere (fixed active).
        """
        signs, mlp = leaf.signs(), self.mlp
        slack = multipliers + mlp.W_2.transposed() @ (mlp.W_1.transposed() @ multipliers) - f
        for i in range(mlp.units):
            demand(signs.get(i) is True or multipliers.num[i] <= 0, f"{where}: multiplier {i} is positive")
            demand(signs.get(i) is False or slack.num[i] >= 0, f"{where}: the bound fails at unit {i}")
        return multipliers.dot(mlp.W_1 @ (self.y - mlp.b_2) + mlp.b_1)


def read_mlp(field: Field) -> Mlp:
    """An MLP; the lengths of its biases give r and d."""
    W_1, b_1, W_2, b_2 = field.record("W_1", "b_1", "W_2", "b_2")
    inner, outer = read_vector(b_1), read_vector(b_2)
    r, d = len(inner), len(outer)
    if d == 0:
        b_2.fail("at least one entry")
    return Mlp(read_matrix(W_1, r, d), inner, read_matrix(W_2, d, r), outer)


def read_preimage(field: Field, mlp: Mlp, y: Vector) -> Preimage:
    """A preimage proof for the target y."""
    if field.has("tree"):
        kind, tree = field.record("kind", "tree")
        kind.choice("tree")
        return Preimage(mlp, y, _read_tree(tree, mlp.units))
    kind, z, factor = field.record("kind", "z", "factor")
    kind.choice("point")
    r = mlp.units
    return Preimage(mlp, y, Point(read_vector(z, mlp.d), read_matrix(factor, r, r)))


def _read_tree(root: Field, units: int) -> Tree:
    pieces: list[Leaf] = []
    empty: list[tuple[Leaf, Vector]] = []
    stack: list[tuple[Field, Leaf]] = [(root, Leaf(None))]
    while stack:
        node, here = stack.pop()
        if node.has("multipliers"):
            leaf, multipliers = node.record("leaf", "multipliers")
            leaf.choice("empty")
            empty.append((here, read_vector(multipliers, units)))
        elif node.has("leaf"):
            (leaf,) = node.record("leaf")
            leaf.choice("piece")
            pieces.append(here)
        else:
            unit, active, inactive = node.record("unit", "active", "inactive")
            i = unit.index(units)
            if i in here.signs():
                unit.fail("a unit that is not fixed above")
            stack.append((inactive, Leaf(Sign(i, False, here.last))))
            stack.append((active, Leaf(Sign(i, True, here.last))))  # read first, so its pieces come first
    return Tree(tuple(pieces), tuple(empty))
