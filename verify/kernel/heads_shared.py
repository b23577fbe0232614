"""Claim `several-heads`, relation `memorizable-shared`: some prompt meets every query, where queries share vectors.

If each group belongs to one head, and the logit vectors are independent modulo the rows of every V_j, all masses s > 0
and all values v in the range of V_j can be had at once, one for each group: one token for each group g, with value w
close to v_g and scores log m at q_g, m close to s_g, and -t at all other vectors. For large t its mass and value at
other groups vanish, uniformly for all such m and w, so some m and w make everything exact (Brouwer).
Left is that the pairs of a group agree: s (V p - o) = -C for one s and V p.
"""

from dataclasses import dataclass

from head_pairs import Pairs
from limits import DEADLINE, demand
from mass_equation import Wish, Wishes
from prompt_setting import context_difference
from query_groups import Places, demand_dual, demand_equations, read_places
from rational import Matrix, Vector, read_matrix
from reading import Field


@dataclass(frozen=True)
class HeadsMemorizableShared:
    """Preimage points, an input for each pair, the equations of the groups, and for each head vectors that it does not
    see, dual to the logit vectors."""

    pairs: Pairs
    points: tuple[Vector, ...]
    inputs: tuple[Vector, ...]
    places: Places
    duals: tuple[Matrix, ...]

    def check(self) -> str:
        """The groups can be solved one by one."""
        pairs, groups = self.pairs, self.pairs.groups
        outputs = pairs.demand_outputs(self.points, self.inputs)
        heads = pairs.setting.layer.heads
        for g, group in enumerate(groups):
            same = len({alpha % len(heads) for alpha in group.members}) == 1
            demand(same, f"group {g} has pairs of several heads")
        for j, (head, dual) in enumerate(zip(heads, self.duals, strict=True)):
            for g in range(len(groups)):
                DEADLINE.check()
                demand(head.value(dual.row(g)).is_zero(), f"duals[{j}]: V times row {g} is not zero")
            demand_dual(groups, dual, f"duals[{j}]")
        wishes = []
        for alpha, (q, o) in enumerate(zip(pairs.vectors, outputs, strict=True)):
            DEADLINE.check()
            wishes.append(Wish(o, context_difference(pairs.head_of(alpha), pairs.query_of(alpha), q, o)))
        demand_equations(groups, Wishes(tuple(wishes), None, None, ("pair", "pairs")), self.places, "")
        return (
            f"some of all {pairs.setting.allowed()} meets every query "
            f"({pairs.setting.describe()}, logit vectors: {len(groups)})"
        )


def read_heads_memorizable_shared(pairs: Pairs, witness: Field) -> HeadsMemorizableShared:
    """The witness of a certificate, read but not checked."""
    points, inputs, equations, duals = witness.record("points", "inputs", "equations", "duals")
    fields = duals.items(len(pairs.setting.layer.heads))
    return HeadsMemorizableShared(
        pairs,
        pairs.read_points(points),
        pairs.read_inputs(inputs),
        read_places(equations, pairs.groups, pairs.d),
        tuple(read_matrix(field, len(pairs.groups), pairs.d) for field in fields),
    )
