"""Trees of boxes for the masses of a prompt, and explicit prompts, as certificates hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.mass_boxes import BoxTree, Cut, Form, Refutation
from constructions.single_layer.newton_prompt import ProvedPrompt
from verify import certificate as write


def box_tree(
    tree: BoxTree,
    forms: Sequence[Form],
    groups: int,
    length: int | None,
    more: Callable[[Refutation], dict[str, Any]] = lambda leaf: {},
) -> dict[str, Any]:
    """A tree, its leaves with the multipliers of all entropies, divergences and lengths, and what ``more`` adds."""
    if isinstance(tree, Cut):
        return {
            "group": tree.group,
            "at": write.scalar(tree.at),
            "below": box_tree(tree.below, forms, groups, length, more),
            "above": box_tree(tree.above, forms, groups, length, more),
        }
    entropies, lengths = [fmpq(0)] * groups, [fmpq(0)] * groups
    divergences = [[fmpq(0)] * groups for _ in range(groups)]
    for multiplier, form in zip(tree.multipliers, forms, strict=True):
        if form.kind == "entropy":
            entropies[form.group] = multiplier
        elif form.kind == "length":
            lengths[form.group] = multiplier
        elif form.kind == "divergence":
            assert form.other is not None
            divergences[form.group][form.other] = multiplier
    return {
        "entropy": write.vector(entropies),
        "divergence": write.matrix(RationalMatrix.of(divergences)),
        "length": None if length is None else write.vector(lengths),
        "tangents": [None if c is None else write.scalar(c) for c in tree.tangents],
        **more(tree),
    }


def prompt_witness(proved: ProvedPrompt) -> dict[str, Any]:
    """Krawczyk's test around a prompt."""
    return {
        "references": write.vector(proved.references),
        "tokens": write.matrix(proved.tokens),
        "counts": [write.integer(n) for n in proved.counts],
        "radius": write.scalar(proved.radius),
        "unknowns": [list(place) for place in proved.unknowns],
        "preconditioner": write.matrix(proved.preconditioner),
        "precision": proved.precision,
    }
