"""Preimages of the MLP that are finite sets of points, and the ways to choose a point for each query."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from limits import DEADLINE, OverLimits, demand
from preimage import Mlp, Point, Preimage, read_preimage
from rational import Matrix, Vector, read_vector
from reading import Field
from vectors import entry, unit

MAX_COMBINATIONS = 4096


@dataclass(frozen=True)
class FinitePreimage:
    """The points of a preimage; for each piece of a tree the multipliers that enclose it in its point."""

    preimage: Preimage
    points: tuple[Vector, ...]
    multipliers: tuple[tuple[tuple[Vector, Vector], ...], ...]

    def demand_points(self, known: Matrix | None, where: str) -> Matrix | None:
        """MLP(z) = y holds for the points z and for no other; the result is the factor known to be good then.

        `known` is a factor with which the MLP was seen to be injective before.
        """
        preimage, mlp, proof = self.preimage, self.preimage.mlp, self.preimage.proof
        for z in self.points:
            demand((mlp.output(z) - preimage.y).is_zero(), f"{where}: MLP(z) is not the target")
        if isinstance(proof, Point):
            if proof.factor != known:
                mlp.demand_monotone(proof.factor, where)
            return proof.factor
        preimage.demand_covered(where)
        origin = Vector((0,) * mlp.d, 1)
        for k, (z, coordinates) in enumerate(zip(self.points, self.multipliers, strict=True)):
            for c, (above, below) in enumerate(coordinates):
                name = f"{where}: piece {k}, coordinate {c}"
                axis, value = unit(c, mlp.d), entry(z, c)
                upper = preimage.upper_bound(k, axis, origin, above, name)
                lower = -preimage.upper_bound(k, -axis, origin, below, name)
                demand((upper - value).sign() == 0, f"{name}: the bound from above is not the coordinate")
                demand((lower - value).sign() == 0, f"{name}: the bound from below is not the coordinate")
        return known


def demand_all_points(preimages: tuple[FinitePreimage, ...]) -> None:
    """Each proof holds. One factor does for all: M depends on the MLP alone."""
    known = None
    for k, preimage in enumerate(preimages):
        DEADLINE.check()
        known = preimage.demand_points(known, f"preimages[{k}]")


def combinations(preimages: tuple[FinitePreimage, ...]) -> list[tuple[int, ...]]:
    """All choices of a point for each query, the last query's choice running fastest."""
    count = 1
    for preimage in preimages:
        count *= len(preimage.points)
        if count > MAX_COMBINATIONS:
            raise OverLimits(f"more than {MAX_COMBINATIONS} combinations of preimage points")
    return list(product(*(range(len(preimage.points)) for preimage in preimages)))


def _read_finite_preimage(field: Field, mlp: Mlp, y: Vector) -> FinitePreimage:
    if not field.has("points"):
        preimage = read_preimage(field, mlp, y)
        if not isinstance(preimage.proof, Point):
            field.fail('an object with the field "points"')
        return FinitePreimage(preimage, (preimage.proof.z,), ())
    kind, tree, points = field.record("kind", "tree", "points")
    without = Field({"kind": kind.value, "tree": tree.value}, field.path)
    preimage = read_preimage(without, mlp, y)
    found, multipliers = [], []
    for point in points.items(len(preimage.proof.pieces)):
        z, coordinates = point.record("z", "multipliers")
        found.append(read_vector(z, mlp.d))
        pairs = (pair.items(2) for pair in coordinates.items(mlp.d))
        multipliers.append(
            tuple((read_vector(above, mlp.units), read_vector(below, mlp.units)) for above, below in pairs)
        )
    return FinitePreimage(preimage, tuple(found), tuple(multipliers))


def read_finite_preimages(field: Field, mlp: Mlp, targets: Sequence[Vector]) -> tuple[FinitePreimage, ...]:
    """A finite preimage proof for each target."""
    fields = field.items(len(targets))
    return tuple(_read_finite_preimage(proof, mlp, y) for proof, y in zip(fields, targets, strict=True))
