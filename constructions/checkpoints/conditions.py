"""Which of this theory's conditions the layers of a real network meet, and by how much the others fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flint import fmpq

from constructions.checkpoints.measure import LayerReport
from constructions.numbers.norm_enclosure import NormEnclosure
from constructions.numbers.spectral_norm import above, below

Status = Literal["holds", "fails", "undecided", "not covered"]


@dataclass(frozen=True)
class Condition:
    """A condition: its slug, what it says, ``status``, the number found (enclosed; None where it is not a number) and
    the bound it must stay below, with ``detail`` in words.

    A status of ``"fails"`` is proved like ``"holds"``; it is about the condition, which is sufficient for what the
    theory concludes, not about the conclusion.
    """

    slug: str
    says: str
    status: Status
    found: NormEnclosure | None
    below: fmpq | None
    detail: str


def _less(found: NormEnclosure, bound: fmpq) -> Status:
    if found.upper < bound:
        return "holds"
    return "fails" if found.lower >= bound else "undecided"


def layer_conditions(layer: LayerReport, R: fmpq) -> list[Condition]:
    """The conditions on one layer, for tokens of length at most R. Source: THEORY sections 2, 3.3 and 7."""
    return [_full_rank(layer), _small_heads(layer), _mlp(layer), _attention(layer, R), _radius(layer)]


def _full_rank(layer: LayerReport) -> Condition:
    proofs = {}
    for head in layer.heads:
        proofs["W_q", head.head] = head.ranks["W_q"]
        proofs["W_k", head.group] = head.ranks["W_k"]
        proofs["W_v", head.group] = head.ranks["W_v"]
    deficits = [f"{name} of head {i}: {p.rank} of {p.full}" for (name, i), p in proofs.items() if not p.is_full]
    detail = f"{len(proofs) - len(deficits)} of {len(proofs)} have it"
    if deficits:
        detail += "; " + "; ".join(deficits[:4]) + ("; …" if len(deficits) > 4 else "")
    says = "every W_q, W_k and W_v has full rank"
    return Condition("full-rank", says, "fails" if deficits else "holds", None, None, detail)


def _small_heads(layer: LayerReport) -> Condition:
    s, d = layer.head_size, layer.width
    return Condition(
        "small-heads",
        "heads are smaller than the width",
        "holds" if s < d else "fails",
        NormEnclosure(fmpq(s), fmpq(s)),
        fmpq(d),
        f"s = {s}, d = {d}",
    )


def _mlp(layer: LayerReport) -> Condition:
    says = "‖W_1‖ ‖W_2‖ < 1: the MLP is invertible"
    found = layer.mlp
    if found is None:
        return Condition(
            "mlp", says, "not covered", None, fmpq(1), "gated: not of the form W_2 f(W_1 z), no Lipschitz constant"
        )
    detail = "no MLP" if layer.W_1 is None else ""
    return Condition("mlp", says, _less(found, fmpq(1)), found, fmpq(1), detail)


def _attention(layer: LayerReport, R: fmpq) -> Condition:
    found = layer.attention(R)
    says = "the attention constant is below 1 for tokens of length R"
    return Condition("attention", says, _less(found, fmpq(1)), found, fmpq(1), f"R = {R}")


def _radius(layer: LayerReport) -> Condition:
    says = "it is below 1 for tokens of some length"
    at_zero = layer.attention(fmpq(0))
    radius = layer.largest_radius()
    status = _less(at_zero, fmpq(1))
    if radius is None:
        return Condition("attention-at-0", says, status, at_zero, fmpq(1), "at no length, already at R = 0")
    limit = "any length" if radius >= fmpq(2) ** 64 else f"R ≤ {float(radius.p) / float(radius.q):.6g}"
    return Condition("attention-at-0", says, status, at_zero, fmpq(1), f"up to {limit}")


def stack_condition(layers: Sequence[LayerReport], R: fmpq) -> Condition:
    """``Π (1 + c_l) < 2`` for the layers one after the other, the first one's tokens of length at most R.

    From below the constants are taken at R in every layer, from above at the radii carried through the layers, which
    only grow.
    """
    says = "Π (1 + c_l) < 2: no prompt maps two inputs to one output"
    low = high = fmpq(1)
    radius = R
    for layer in layers:
        mlp = layer.mlp
        if mlp is None:
            detail = f"layer {layer.index} has a gated MLP, which has no Lipschitz constant"
            return Condition("product", says, "not covered", None, fmpq(2), detail)
        low = below(low * (1 + layer.attention(R).lower) * (1 + mlp.lower), 128)
        high = above(high * (1 + layer.attention(radius).upper) * (1 + mlp.upper))
        radius = layer.after(radius)
    found = NormEnclosure(low, high)
    detail = f"at least: R = {R} in every layer; at most: radii carried on from R = {R}"
    return Condition("product", says, _less(found, fmpq(2)), found, fmpq(2), detail)
