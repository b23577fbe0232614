"""Claim `attention-split`: attention over prompt and context is a mixture of attention over each."""

from dataclasses import dataclass

from attention import Head, average, joined, read_heads, read_tokens
from fractions_of_sums import Fractions, read_fractions
from limits import demand
from rational import Matrix, Vector, read_vector
from reading import Envelope


@dataclass(frozen=True)
class AttentionSplit:
    """Heads, a query token x, a context X and a prompt P (rows are tokens), and a fraction for each head."""

    heads: tuple[Head, ...]
    token: Vector
    context: Matrix
    prompt: Matrix
    fractions: tuple[Fractions, ...]

    def check(self) -> str:
        """Att(x, [P, X]) = f Att(x, X) + (1 - f) Att(x, P) with 0 < f < 1, for each head."""
        for k, (head, fraction) in enumerate(zip(self.heads, self.fractions, strict=True)):
            self._demand_split(head, fraction, f"head {k}")
        return (
            f"for every head ({len(self.heads)}), attention over prompt ({len(self.prompt.rows)} tokens) "
            f"and context ({len(self.context.rows)} tokens) is the stated mixture of attention over each"
        )

    def _demand_split(self, head: Head, fraction: Fractions, where: str) -> None:
        numerator, denominator = fraction.numerators[0], fraction.denominator
        sign = denominator.sign()
        demand(sign != 0, f"{where}: the fraction has denominator zero")
        demand(numerator.sign() == sign, f"{where}: the fraction is not positive")
        demand((denominator - numerator).sign() == sign, f"{where}: the fraction is not below 1")

        X = average(head, self.token, self.context)
        P = average(head, self.token, self.prompt)
        both = average(head, self.token, joined(self.prompt, self.context))
        S_X, S_P = X.denominator, P.denominator
        demand((numerator * (S_X + S_P)).equals(denominator * S_X), f"{where}: the fraction is not S_X / (S_X + S_P)")
        # So f Att(x, X) = B_X / (S_X + S_P) and (1 - f) Att(x, P) = B_P / (S_X + S_P). Att(x, [P, X]) = B / S
        # is their sum, since numerators and denominators agree:
        demand(both.denominator.equals(S_X + S_P), f"{where}: masses do not add up")
        for b, b_X, b_P in zip(both.numerators, X.numerators, P.numerators, strict=True):
            demand(b.equals(b_X + b_P), f"{where}: attention over prompt and context is not the mixture")


def read(envelope: Envelope) -> AttentionSplit:
    """The statement of a certificate and its witness, read but not checked."""
    envelope.relation.choice("splits")
    envelope.evidence.choice("exact")
    heads_field, token_field, X, P = envelope.instance.record("heads", "token", "X", "P")
    token = read_vector(token_field)
    if not len(token):
        token_field.fail("at least one entry", "none")
    d = len(token)
    heads = read_heads(heads_field, d)
    (fractions,) = envelope.witness.record("fractions")
    return AttentionSplit(
        heads,
        token,
        read_tokens(X, d),
        read_tokens(P, d),
        tuple(read_fractions(field, 1) for field in fractions.items(len(heads))),
    )
