"""The loss of one prompt, from above."""

from dataclasses import dataclass

from attention import Query, read_tokens
from finite_preimage import FinitePreimage
from intervals import TOO_COARSE, Interval, enclosed_exp, enclosed_exps, total
from limits import DEADLINE, MAX_PRECISION, OverLimits, demand
from prompt_setting import PromptSetting, differences
from rational import Matrix, Scalar, Vector, common_denominator, read_scalar, read_vector
from reading import Field


@dataclass(frozen=True)
class Measure:
    """A prompt as masses, divided by e^reference, with the values V p that they carry."""

    masses: list[Interval]
    values: list[Vector]
    reference: Scalar
    bits: int


@dataclass(frozen=True)
class Tokens:
    """A prompt: rows are tokens as the attention sees them, each to be taken so many times."""

    tokens: Matrix
    counts: tuple[int, ...]

    def measure(self, setting: PromptSetting, q: Vector, reference: Scalar, bits: int) -> Measure:
        """The prompt is allowed. Tokens of a small mass may have a large value, so they get more bits."""
        length = sum(self.counts)
        demand(setting.length is None or length <= setting.length, "the prompt is too long")
        demand(setting.layer.prompt_length in (None, length), "the prompt is too short")
        scores = self.tokens @ q
        bits = _more_bits(Scalar(min(scores.num), scores.den) - reference, bits)
        masses = enclosed_exps(scores, reference, bits)
        return Measure(
            [mass.scaled(Scalar(count, 1)) for mass, count in zip(masses, self.counts, strict=True)],
            [setting.head.value(self.tokens.row(j)) for j in range(len(self.counts))],
            reference,
            bits,
        )


@dataclass(frozen=True)
class LawPoint:
    """Any prompt with this mean and mass e^{rho + sigma}."""

    mean: Vector
    sigma: Scalar

    def measure(self, setting: PromptSetting, q: Vector, reference: Scalar, bits: int) -> Measure:
        """There is such a prompt, by the prompt law, if q is not 0, the length is free and log s > q.mean."""
        demand(setting.length is None, "a mean and a mass are no prompt of bounded length")
        demand(not q.is_zero(), "a mean and a mass are no prompt where the logit vector is zero")
        demand((reference + self.sigma - q.dot(self.mean)).sign() > 0, "the mass is too small for the mean")
        if self.sigma.sign() > 0:  # the numbers are divided by the larger of the two masses
            reference += self.sigma
        bits = _more_bits(self.sigma, bits)
        mass = enclosed_exp(Scalar(min(self.sigma.num, 0), self.sigma.den), bits)
        return Measure([mass], [setting.head.value(self.mean)], reference, bits)


@dataclass(frozen=True)
class PromptLoss:
    """A prompt and a bound on its loss."""

    prompt: Tokens | LawPoint
    value: Scalar

    def demand_bound(
        self, setting: PromptSetting, preimages: tuple[FinitePreimage, ...], q: Vector, reference: Scalar, bits: int
    ) -> None:
        """The prompt is allowed, and its loss at most the value."""
        if q.is_zero():  # all masses are numbers of tokens: this keeps them exact
            reference = Scalar(0, 1)
        measure = self.prompt.measure(setting, q, reference, bits)
        pairs = zip(setting.queries, preimages, strict=True)
        loss = total((_nearest(setting, query, preimage, q, measure) for query, preimage in pairs), measure.bits)
        bound = self.value.num << measure.bits
        demand(loss.hi * self.value.den <= bound, "the loss of the prompt is above the upper bound")


def _more_bits(exponent: Scalar, bits: int) -> int:
    """As many bits more as e^exponent has zeros after the point, and some."""
    bits += max(0, -2 * exponent.num // exponent.den)
    if bits > MAX_PRECISION:
        raise OverLimits("the prompt has tokens of too small a mass")
    return bits


def _nearest(setting: PromptSetting, query: Query, preimage: FinitePreimage, q: Vector, measure: Measure) -> Interval:
    """|attention - a|^2 for the nearest a. Over masses m and values v attention - a is sum m (v - a) / sum m."""
    own, bits = enclosed_exps(query.context @ q, measure.reference, measure.bits), measure.bits
    S = total(own + measure.masses, bits)
    demand(S.lo > 0, TOO_COARSE)
    losses = []
    for z in preimage.points:
        DEADLINE.check()
        a = z - query.token
        rows, others = differences(setting.head, query, a), [value - a for value in measure.values]
        p, r, den = common_denominator(rows[0].den, others[0].den)
        sums = (
            total((m.scaled(Scalar(p * row.num[c], 1)) for m, row in zip(own, rows, strict=True)), bits)
            + total((m.scaled(Scalar(r * row.num[c], 1)) for m, row in zip(measure.masses, others, strict=True)), bits)
            for c in range(len(a))
        )
        losses.append(total((x.scaled(Scalar(1, den)).over(S).square() for x in sums), bits))
    return Interval(min(loss.lo for loss in losses), min(loss.hi for loss in losses), bits)


def read_prompt_loss(field: Field, d: int) -> PromptLoss:
    """The object `upper` of a certificate."""
    if field.has("mean"):
        value, mean, sigma = field.record("value", "mean", "sigma")
        return PromptLoss(LawPoint(read_vector(mean, d), read_scalar(sigma)), read_scalar(value))
    value, tokens_field, counts = field.record("value", "tokens", "counts")
    tokens = read_tokens(tokens_field, d)
    numbers = counts.numbers(len(tokens.rows))
    if min(numbers) < 1:
        counts.fail("positive integers", "one that is not")
    return PromptLoss(Tokens(tokens, numbers), read_scalar(value))
