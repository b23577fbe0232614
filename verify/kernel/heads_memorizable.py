"""Claim `several-heads`, relation `memorizable`: some prompt meets every query, whatever the contexts.

Take a cluster of tokens for each pair alpha, ceil(e^{t (sigma_alpha - q_alpha.k_alpha)}) of them at v + t k_alpha, v
close to the input u_alpha, with all sigma shifted so that sigma_alpha > 0 and the exponents are not negative. At q_beta
its mass grows like e^{t (sigma_alpha + (q_beta - q_alpha).k_alpha)}: like e^{t sigma_alpha} at its own vector, and
more slowly than the cluster of beta at each other. So for large t head j of pair alpha reads its own cluster, up to
terms that decay exponentially, and gives V_j (v + t k_alpha) = V_j v; contexts vanish as well. These outputs are as
close as wanted to V_j v uniformly for all v near u_alpha, so some v make them V_j u_alpha exactly (Brouwer, in the
range of V_j).
"""

from dataclasses import dataclass

from head_pairs import Pairs
from limits import DEADLINE, demand
from rational import Matrix, Vector, read_matrix, read_vector
from reading import Field
from vectors import stacked


@dataclass(frozen=True)
class HeadsMemorizable:
    """Preimage points, and for each pair an input, a height sigma and a direction k that its head does not see."""

    pairs: Pairs
    points: tuple[Vector, ...]
    inputs: tuple[Vector, ...]
    heights: Vector
    directions: Matrix

    def check(self) -> str:
        """Along k_alpha pair alpha alone has the largest q.k - sigma."""
        pairs = self.pairs
        pairs.demand_outputs(self.points, self.inputs)
        vectors = stacked(pairs.vectors)
        for alpha in range(len(pairs)):
            DEADLINE.check()
            k = self.directions.row(alpha)
            demand(pairs.head_of(alpha).value(k).is_zero(), f"pair {alpha}: V k is not zero")
            levels = (vectors @ k - self.heights).num
            for beta, level in enumerate(levels):
                demand(beta == alpha or level < levels[alpha], f"pair {alpha}: its direction does not keep off {beta}")
        return f"some of all {pairs.setting.allowed()} meets every query ({pairs.setting.describe()})"


def read_heads_memorizable(pairs: Pairs, witness: Field) -> HeadsMemorizable:
    """The witness of a certificate, read but not checked."""
    points, inputs, heights, directions = witness.record("points", "inputs", "heights", "directions")
    return HeadsMemorizable(
        pairs,
        pairs.read_points(points),
        pairs.read_inputs(inputs),
        read_vector(heights, len(pairs)),
        read_matrix(directions, len(pairs), pairs.d),
    )
