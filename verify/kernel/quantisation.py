"""Claim `quantisation`: how far a Lipschitz function is from the grid values of its cells, at most."""

from dataclasses import dataclass

from limits import demand
from rational import Scalar, read_scalar
from reading import Envelope
from universality import Quantisation, read_grid, read_quantisation


@dataclass(frozen=True)
class ErrorBound:
    """A bound on the error in d_p."""

    quantisation: Quantisation
    bound: Scalar

    def check(self) -> str:
        """The bound of the theorem is at most the stated one."""
        demand((self.bound - self.quantisation.bound()).sign() >= 0, "the bound is not shown: it is too small")
        return (
            "every L-Lipschitz function is within the stated bound of its grid values on the cells, in d_p "
            f"({self.quantisation.grid.describe()})"
        )


def read(envelope: Envelope) -> ErrorBound:
    """The statement of a certificate and its witness, read but not checked."""
    envelope.relation.choice("error-bound")
    envelope.evidence.choice("exact")
    d, m, k, L, p, bound = envelope.instance.record("d", "m", "k", "L", "p", "bound")
    (roots,) = envelope.witness.record("roots")
    return ErrorBound(read_quantisation(read_grid(d, m, k), L, p, roots), read_scalar(bound))
