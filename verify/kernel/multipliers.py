"""Multipliers of the inequalities that every prompt obeys at several logit vectors q_g, and what they add up to.

With mass e^{s_g} and mean p_g at q_g (docs/certificate-format.md, claim `several-queries`)

    H_g = s_g - q_g.p_g >= 0,   D_gk = s_k - s_g + (q_g - q_k).p_g >= 0,   N_g = log N - H_g >= 0:

entropies and divergences of the weights of the tokens are not negative.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from expsum import exponential
from limits import DEADLINE, demand
from mass_equation import ZERO
from prompt_setting import Setting
from rational import ONE, Matrix, Scalar, Vector, read_matrix, read_scalar, read_vector
from reading import Field
from vectors import entry, unit

LogLength = tuple[Scalar, Scalar]


@dataclass(frozen=True)
class Form:
    """constant + A s_g - (sum over k of weights_k q_k).p_g, for one group g."""

    weights: Vector
    A: Scalar
    constant: Scalar


@dataclass(frozen=True)
class Multipliers:
    """Numbers for H_g, D_gk (row g, column k) and N_g."""

    entropy: Vector
    divergence: Matrix
    length: Vector | None

    def demand_allowed(self, where: str) -> None:
        """None is negative, and those of D_gg are zero."""
        vectors = [self.entropy.num, *self.divergence.rows, *([] if self.length is None else [self.length.num])]
        demand(all(n >= 0 for numbers in vectors for n in numbers), f"{where}: a multiplier is negative")
        demand(all(row[g] == 0 for g, row in enumerate(self.divergence.rows)), f"{where}: the diagonal is not zero")

    def forms(self, log_length: Scalar | None) -> Iterator[Form]:
        """The sum of multiplier times inequality, group by group; `log_length` is an upper bound of log N."""
        count = len(self.entropy)
        ones, columns = Vector((1,) * count, 1), self.divergence.transposed()
        for g in range(count):
            DEADLINE.check()
            own, constant = entry(self.entropy, g) - self.divergence.row(g).dot(ones), ZERO
            if self.length is not None and log_length is not None:
                own -= entry(self.length, g)
                constant = entry(self.length, g) * log_length
            weights = self.divergence.row(g) + unit(g, count, own)
            yield Form(weights, own + columns.row(g).dot(ones), constant)


def demand_log_length(setting: Setting, log_length: LogLength | None) -> None:
    """log N is between the two numbers, if they are given (exactly when N is)."""
    if setting.length is not None and log_length is not None:
        low, high = (exponential(ONE, end) - exponential(Scalar(setting.length, 1), ZERO) for end in log_length)
        demand(low.sign() <= 0, "log_length: log N is below")
        demand(high.sign() >= 0, "log_length: log N is above")


def demand_null(field: Field, expected: bool) -> None:
    """The field is null exactly when it is expected to be."""
    if field.is_null() != expected:
        field.fail("null" if expected else "no null")


def read_two(field: Field) -> tuple[Scalar, Scalar]:
    """[low, high]."""
    low, high = map(read_scalar, field.items(2))
    return low, high


def read_log_length(field: Field, setting: Setting) -> LogLength | None:
    """[low, high], or null without a length."""
    demand_null(field, setting.length is None)
    return None if setting.length is None else read_two(field)


def read_multipliers(entropy: Field, divergence: Field, length: Field, count: int, setting: Setting) -> Multipliers:
    """The multipliers of a leaf; those of N_g are null exactly when N is."""
    demand_null(length, setting.length is None)
    return Multipliers(
        read_vector(entropy, count),
        read_matrix(divergence, count, count),
        None if setting.length is None else read_vector(length, count),
    )
