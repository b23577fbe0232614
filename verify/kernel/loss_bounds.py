"""Claim `prompt-law`, relation `loss-bounds`: the least loss over all prompts allowed, from below and from above."""

from dataclasses import dataclass

from finite_preimage import FinitePreimage, combinations, demand_all_points, read_finite_preimages
from limits import OverLimits, demand
from loss_cover import Axis, Cover, candidate, read_cover
from prompt_loss import PromptLoss, read_prompt_loss
from prompt_setting import PromptSetting
from rational import Scalar, Vector, read_scalar, read_vector
from reading import Field

MAX_PARTS = 100_000
PRECISIONS = (32, 4096)


@dataclass(frozen=True)
class LossBounds:
    """A cover of the axis of the mass for each combination of preimage points, and maybe a prompt."""

    setting: PromptSetting
    preimages: tuple[FinitePreimage, ...]
    axis: Axis
    orthogonal: tuple[tuple[Vector, ...], ...]
    lower: Scalar
    covers: tuple[Cover, ...]
    upper: PromptLoss | None

    def check(self) -> str:
        """The loss is the least over the combinations, as each query has its nearest point."""
        setting, axis = self.setting, self.axis
        q = setting.logit_vector()
        demand_all_points(self.preimages)
        axis.demand_slab(setting, q)
        candidates = []
        for k, (preimage, parts) in enumerate(zip(self.preimages, self.orthogonal, strict=True)):
            demand(len(preimage.points) > 0, f"query {k} has no preimage, hence no loss")
            points = zip(preimage.points, parts, strict=True)
            candidates.append([candidate(axis, setting, k, q, z, r) for z, r in points])
        for k, (choice, cover) in enumerate(zip(combinations(self.preimages), self.covers, strict=True)):
            chosen = [points[i] for points, i in zip(candidates, choice, strict=True)]
            cover.demand_bound(axis, chosen, self.lower, setting.length, q, f"cover {k}")
        if self.upper is not None:
            self.upper.demand_bound(setting, self.preimages, q, axis.reference, axis.bits)
        return (
            f"the loss of all {setting.allowed()} is at least the lower bound"
            f"{'' if self.upper is None else ', and that of the stated one at most the upper bound'} "
            f"({setting.describe()}, combinations of preimages: {len(self.covers)}, "
            f"breakpoints: {sum(len(cover.breakpoints) for cover in self.covers)})"
        )


def read_loss_bounds(setting: PromptSetting, witness: Field) -> LossBounds:
    """The witness of a certificate, read but not checked."""
    proofs, reference, g_field, log_field, parts_field, precision, lower, upper = witness.record(
        "preimages", "reference", "g", "log_length", "orthogonal", "precision", "lower", "upper"
    )
    n, mlp = len(setting.queries), setting.layer.mlp
    preimages = read_finite_preimages(proofs, mlp, [query.target for query in setting.queries])
    g = None if g_field.is_null() else read_vector(g_field, mlp.d)
    log_length = None
    if log_field.is_null() != (g is None or setting.length is None):
        log_field.fail("two scalars if g and the length are given, else null")
    if not log_field.is_null():
        low, high = map(read_scalar, log_field.items(2))
        log_length = low, high
    orthogonal = tuple(
        tuple(read_vector(r, mlp.d) for r in field.items(len(preimage.points)))
        for field, preimage in zip(parts_field.items(n), preimages, strict=True)
    )
    bits = precision.integer()
    if not PRECISIONS[0] <= bits <= PRECISIONS[1]:
        precision.fail(f"an integer from {PRECISIONS[0]} to {PRECISIONS[1]}")
    value, covers_field = lower.record("value", "covers")
    covers = tuple(map(read_cover, covers_field.items(len(combinations(preimages)))))
    if sum(cover.singles(setting.length) + len(cover.breakpoints) for cover in covers) > MAX_PARTS:
        raise OverLimits(f"more than {MAX_PARTS} parts of the axis")
    return LossBounds(
        setting,
        preimages,
        Axis(read_scalar(reference), g, log_length, bits),
        orthogonal,
        read_scalar(value),
        covers,
        None if upper.is_null() else read_prompt_loss(upper, mlp.d),
    )
