"""Claim `mlp-injectivity`: an MLP is injective, by the norms of its matrices or by monotonicity."""

from dataclasses import dataclass

from limits import demand
from preimage import Mlp, read_mlp
from rational import ONE, Matrix, Scalar, Vector, is_positive_definite, read_matrix, read_scalar, read_vector
from reading import Envelope, Field
from spectral_norms import gram_size, minus_gram


@dataclass(frozen=True)
class Solution:
    """MLP(z) = y, where the certificate names a target y and its preimage z."""

    y: Vector
    z: Vector

    def demand_solves(self, mlp: Mlp) -> None:
        """The equation."""
        demand((mlp.output(self.z) - self.y).is_zero(), "MLP(z) is not y")


@dataclass(frozen=True)
class NormProduct:
    """Bounds v_i above the squared spectral norms of W_i, with product below 1."""

    mlp: Mlp
    bounds: tuple[Scalar, Scalar]
    factors: tuple[Matrix, Matrix]
    solution: Solution | None

    def check(self) -> str:
        """v_i I - G_i is positive definite, so |W_i|^2 < v_i: z -> W_2 ReLU(W_1 z + b_1) is a contraction.

        (Without hidden units there is nothing to bound and nothing to contract.)
        """
        (v_1, v_2), (F_1, F_2) = self.bounds, self.factors
        for name, W, bound, factor in (("W_1", self.mlp.W_1, v_1, F_1), ("W_2", self.mlp.W_2, v_2, F_2)):
            demand(
                is_positive_definite(minus_gram(bound, W), factor),
                f"the norm of {name} is not shown to be below its bound by the factor",
            )
        demand((ONE - v_1 * v_2).sign() > 0, "the product of the bounds is not below 1")
        return _sentence(self.mlp, self.solution, "norm product below 1")


@dataclass(frozen=True)
class Monotone:
    """A factor that shows M + M^T positive definite, M = I + W_1 W_2."""

    mlp: Mlp
    factor: Matrix
    solution: Solution | None

    def check(self) -> str:
        """Every target has one preimage at most."""
        self.mlp.demand_monotone(self.factor, "MLP")
        return _sentence(self.mlp, self.solution, "I + W_1 W_2 has positive definite symmetric part")


def _sentence(mlp: Mlp, solution: Solution | None, reason: str) -> str:
    """The last condition, MLP(z) = y where asked for, and what is then proved."""
    sentence = f"this MLP (d = {mlp.d}, hidden units: {mlp.units}) is injective: {reason}"
    if solution is None:
        return sentence
    solution.demand_solves(mlp)
    return f"{sentence}; z is the only preimage of y"


def _read_solution(y: Field, z: Field, mlp: Mlp) -> Solution | None:
    if y.is_null() and z.is_null():
        return None
    return Solution(read_vector(y, mlp.d), read_vector(z, mlp.d))


def read(envelope: Envelope) -> NormProduct | Monotone:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice("norm-product", "monotone")
    envelope.evidence.choice("exact")
    mlp_field, y = envelope.instance.record("mlp", "y")
    mlp = read_mlp(mlp_field)
    if relation == "monotone":
        factor, z = envelope.witness.record("factor", "z")
        return Monotone(mlp, read_matrix(factor, mlp.units, mlp.units), _read_solution(y, z, mlp))
    bounds, factors, z = envelope.witness.record("bounds", "factors", "z")
    v_1, v_2 = map(read_scalar, bounds.items(2))
    F_1, F_2 = (
        read_matrix(factor, size, size)
        for factor, size in zip(factors.items(2), map(gram_size, (mlp.W_1, mlp.W_2)), strict=True)
    )
    return NormProduct(mlp, (v_1, v_2), (F_1, F_2), _read_solution(y, z, mlp))
