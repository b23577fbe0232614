"""What of a network the model of THEORY section 0 does not cover, from the names of its tensors and its family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from constructions.checkpoints.naming import Family, Naming
from constructions.checkpoints.tensors import Tensors

_NORM = re.compile(r"(^|[._])(layer_?norm|ln(_?\w{1,2})?|\w*norm\w*)([._]|$)", re.IGNORECASE)
_SCORE_NORM = re.compile(r"(^|[._])(q|k|query|key)_?(layer)?_?norm", re.IGNORECASE)
_POSITION = re.compile(r"position|(^|\.)wpe(\.|$)", re.IGNORECASE)
_SEGMENT = re.compile(r"token_type", re.IGNORECASE)
_BUFFER = re.compile(r"(position_ids|token_type_ids|inv_freq|masked_bias|attn\.bias|attention\.bias)$")


@dataclass(frozen=True)
class Remark:
    """A part of the network: whether the report covers it, what it means for the report, and the tensors that show it
    (none where the family or the configuration does)."""

    topic: str
    covered: bool
    says: str
    tensors: tuple[str, ...]


def remarks(
    tensors: Tensors, naming: Naming, layers: Sequence[int], read: Iterable[dict[str, str]], activation: str | None
) -> list[Remark]:
    """Of a network of which these layers were inspected, ``read`` giving the tensors that were read by role, layer by
    layer. ``activation`` is the configuration's word for it, if there is one."""
    family = naming.family
    used: dict[str, list[str]] = {}
    for names in read:
        for role, name in names.items():
            used.setdefault(role, []).append(name)
    taken = {name for names in used.values() for name in names}
    stems = tuple(family.stem(layer) for layer in layers)
    inside = [name for name in tensors.names if name.startswith(stems) and name not in taken and not _buffer(name)]
    every_stem = tuple(family.stem(layer) for layer in naming.layers)
    of_layers = {family.tensor(role, layer) for role in family.roles for layer in naming.layers}
    outside = [
        name
        for name in tensors.names
        if name not in of_layers and not name.startswith(every_stem) and not _buffer(name)
    ]
    found = [
        *_norms(inside),
        *_mlp(family, used, activation),
        *_positions(family, outside),
        *_biases(family, used),
        *_scale(family),
    ]
    rest = [name for name in inside if not _NORM.search(name)]
    if rest:
        found.append(
            Remark("other tensors", False, "of these layers, not read: the model has no place for them", tuple(rest))
        )
    ends = [name for name in outside if not (_POSITION.search(name) or _SEGMENT.search(name))]
    if ends:
        says = "before, between and after the layers (embeddings, poolers, output heads): not part of the report"
        found.append(Remark("outside of the layers", False, says, tuple(ends)))
    return found


def _buffer(name: str) -> bool:
    """Constants that implementations store beside the weights: masks, counters, frequencies."""
    return _BUFFER.search(name) is not None


def _norms(inside: Sequence[str]) -> list[Remark]:
    norms = tuple(name for name in inside if _NORM.search(name))
    scores = tuple(name for name in norms if _SCORE_NORM.search(name))
    others = tuple(name for name in norms if name not in scores)
    found = []
    if others:
        says = (
            "not in the model: the constants are for tokens of length at most R as attention and MLP get them; "
            "what normalization does before or after is not counted"
        )
        found.append(Remark("layer norm", False, says, others))
    if scores:
        says = "not in the model: scores are no longer (W_k z)·(W_q x), so ‖W_k^T W_q‖ does not bound them"
        found.append(Remark("normalized queries or keys", False, says, scores))
    return found


def _mlp(family: Family, used: dict[str, list[str]], activation: str | None) -> list[Remark]:
    if "W_1" not in used:
        return [Remark("MLP", False, "no MLP under the expected names: the layers are reported as attention alone", ())]
    name = activation or family.activation
    if "W_gate" in used:
        says = (
            "W_2 (f(W_gate z) ∘ W_1 z) is not of the model's form W_2 ReLU(W_1 z + b_1): it has no Lipschitz constant "
            "on all tokens, and no condition on it is checked"
        )
        return [Remark(f"gated MLP ({name or 'activation not known'})", False, says, tuple(used["W_gate"]))]
    if name is None:
        says = "not in the weights: the condition on ‖W_1‖ ‖W_2‖ is for ReLU, and for others of slope at most 1"
        return [Remark("activation", False, says, ())]
    if name.lower() == "relu":
        return [Remark("activation relu", True, "as in the model", ())]
    says = "" if activation else "usual for this family, not said by the weights; "
    says += "the model has ReLU, of slope at most 1"
    if "gelu" in name.lower():
        says += "; GELU's slope reaches 1.13, so its condition would be ‖W_1‖ ‖W_2‖ < 0.88"
    return [Remark(f"activation {name}", False, says, ())]


def _positions(family: Family, outside: Sequence[str]) -> list[Remark]:
    found = []
    if family.rotary:
        says = (
            "queries and keys are rotated by their positions: ‖W_k^T W_q‖ and the attention constant are those without "
            "rotation; between two positions only ‖W_k‖ ‖W_q‖ bounds the scores"
        )
        found.append(Remark("rotary positions", False, says, ()))
    positions = tuple(name for name in outside if _POSITION.search(name))
    if positions:
        found.append(Remark("position embeddings", True, "added at the input: the model's E", positions))
    segments = tuple(name for name in outside if _SEGMENT.search(name))
    if segments:
        says = "added at the input: part of the model's E as long as the segments are fixed"
        found.append(Remark("token type embeddings", True, says, segments))
    return found


def _biases(family: Family, used: dict[str, list[str]]) -> list[Remark]:
    def tensors(*roles: str) -> tuple[str, ...]:
        return tuple(name for role in roles for name in used.get(role, ()))

    found = []
    if queries := tensors("b_q", "b_qkv"):
        says = "in the model (b_q), counted in the attention constant"
        if family.rotary:
            says = "in the model (b_q) without rotation; counted in the attention constant as if there were none"
        found.append(Remark("query bias", not family.rotary, says, queries))
    if keys := tensors("b_k", "b_qkv"):
        says = "adds the same number to all scores of a query: softmax does not see it"
        if family.rotary:
            says = "is rotated by the key's position and so changes scores: not in the model"
        found.append(Remark("key bias", not family.rotary, says, keys))
    if values := tensors("b_v", "b_qkv", "b_o"):
        says = "shift the output of attention by one vector, which b_1 and b_2 of the model can take over"
        found.append(Remark("value and output biases", True, says, values))
    if mlp := tensors("b_1", "b_2", "b_gate"):
        found.append(Remark("MLP biases", "W_gate" not in used, "b_1 and b_2 of the model", mlp))
    return found


def _scale(family: Family) -> list[Remark]:
    if not family.scaled:
        return [Remark("scores without 1/√s", True, "as in the model", ())]
    return [Remark("scores divided by √s", True, "W_q and b_q stand for themselves divided by √s in this report", ())]
