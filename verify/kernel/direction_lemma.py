"""Claim `direction-lemma`: a second token x_1 that gives attention at x_0 over [x_1, x_0] a stated output."""

from dataclasses import dataclass

from attention import Head, read_head
from expsum import combine, exponential
from fractions_of_sums import Fractions, read_fractions
from limits import demand
from rational import ONE, Scalar, Vector, read_scalar, read_vector
from reading import Envelope


@dataclass(frozen=True)
class DirectionLemma:
    """A head, the token x_0, the score difference rho, the output A, and x_1."""

    head: Head
    token: Vector
    rho: Scalar
    output: Fractions
    x_1: Fractions

    def check(self) -> str:
        """q.x_1 = q.x_0 - rho and V x_1 + e^rho V x_0 = (1 + e^rho) A.

        The first gives x_1 the weight 1 / (1 + e^rho), and the second then says Att(x_0, [x_1, x_0]) = A.
        With x_1 = n/p and A = a/r both are multiplied by the denominators, which are not zero.
        """
        n, p = self.x_1.numerators, self.x_1.denominator
        a, r = self.output.numerators, self.output.denominator
        demand(not p.is_zero(), "x_1 has denominator zero")
        demand(not r.is_zero(), "the output has denominator zero")

        q = self.head.logit_vector(self.token)
        demand(combine(q, n).equals(p.scaled(q.dot(self.token) - self.rho)), "q.x_1 = q.x_0 - rho fails")
        kappa = exponential(ONE, self.rho)
        one_plus_kappa = exponential(ONE, Scalar(0, 1)) + kappa
        value = self.head.value(self.token)
        hidden = tuple(combine(self.head.W_v.row(i), n) for i in range(len(self.head.b_q)))
        kappa_p_r, one_plus_kappa_p = kappa * p * r, one_plus_kappa * p
        for i in range(len(self.token)):
            left = combine(self.head.W_o.row(i), hidden) * r
            left += kappa_p_r.scaled(Scalar(value.num[i], value.den))
            demand(left.equals(one_plus_kappa_p * a[i]), f"V x_1 + e^rho V x_0 = (1 + e^rho) A fails in entry {i}")
        return (
            f"attention at x_0 over [x_1, x_0] is the stated output (d = {len(self.token)}), "
            "with weight 1 / (1 + e^rho) on x_1"
        )


def read(envelope: Envelope) -> DirectionLemma:
    """The statement of a certificate and its witness, read but not checked."""
    envelope.relation.choice("attains")
    envelope.evidence.choice("exact")
    head, token_field, rho, output = envelope.instance.record("head", "token", "rho", "output")
    token = read_vector(token_field)
    if not len(token):
        token_field.fail("at least one entry", "none")
    d = len(token)
    (x_1,) = envelope.witness.record("x_1")
    return DirectionLemma(
        read_head(head, d), token, read_scalar(rho), read_fractions(output, d), read_fractions(x_1, d)
    )
