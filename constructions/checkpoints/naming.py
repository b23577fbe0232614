"""Which tensor is which matrix: the usual names of BERT-like, GPT-2-like and LLaMA-like networks, or a mapping file.

A name is a pattern with ``{layer}`` for the layer's number. A matrix is stored as it acts on columns (out×in, as
``torch.nn.Linear`` does) or transposed (in×out, GPT-2's ``Conv1D``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from constructions.checkpoints.tensors import Tensors
from constructions.documents import InputError, read_document

MAPPING_FORMAT = "promptcert-mapping/1"
MATRICES = ("W_q", "W_k", "W_v", "W_qkv", "W_o", "W_1", "W_2", "W_gate")
BIASES = ("b_q", "b_k", "b_v", "b_qkv", "b_o", "b_1", "b_2", "b_gate")
ROLES = MATRICES + BIASES
NUMBER = "{layer}"

Layout = Literal["blocks", "heads"]


@dataclass(frozen=True)
class Family:
    """A way to name the tensors of a layer, and what the names do not say about the network.

    ``roles`` gives the pattern of each role; ``transposed`` the roles stored in×out. ``layout`` is the order of the
    rows of a fused W_qkv: all queries, all keys, all values (``"blocks"``), or these three head by head (``"heads"``).
    ``scaled``: scores are divided by the root of the head's size. Raises ValueError for roles that do not fit together.
    """

    name: str
    roles: Mapping[str, str]
    transposed: frozenset[str] = frozenset()
    layout: Layout = "blocks"
    causal: bool = False
    rotary: bool = False
    scaled: bool = True
    activation: str | None = None
    prefix: str = field(default="")

    def __post_init__(self) -> None:
        separate = [role for role in ("W_q", "W_k", "W_v") if role in self.roles]
        if "W_o" not in self.roles or ("W_qkv" in self.roles) == bool(separate) or len(separate) not in (0, 3):
            found = ", ".join(role for role in MATRICES if role in self.roles) or "none of them"
            raise ValueError(f"expected W_o, and either W_q, W_k and W_v or W_qkv, found {found}")
        if ("W_1" in self.roles) != ("W_2" in self.roles):
            raise ValueError("expected both W_1 and W_2 or neither, found one of them")
        for role, pattern in self.roles.items():
            if NUMBER not in pattern:
                raise ValueError(f"{role}: expected a name with {NUMBER} for the layer's number, found {pattern!r}")

    @property
    def queries(self) -> str:
        """The role by which layers are found."""
        return "W_qkv" if "W_qkv" in self.roles else "W_q"

    def tensor(self, role: str, layer: int) -> str | None:
        """The name of a role's tensor in a layer.

        >>> FAMILIES[0].tensor("W_q", 3)
        'encoder.layer.3.attention.self.query.weight'
        """
        pattern = self.roles.get(role)
        return None if pattern is None else self.prefix + pattern.replace(NUMBER, str(layer))

    def stem(self, layer: int) -> str:
        """What the names of all tensors of a layer begin with."""
        return self.prefix + self.roles[self.queries].split(NUMBER)[0] + str(layer) + "."


def _family(name: str, stem: str, parts: Mapping[str, str], **more: object) -> Family:
    """A family whose biases are called like its weights."""
    roles = {}
    for role, part in parts.items():
        roles[f"W_{role}"] = f"{stem}{part}.weight"
        roles[f"b_{role}"] = f"{stem}{part}.bias"
    return Family(name, roles, **more)  # type: ignore[arg-type]


FAMILIES = (
    _family(
        "BERT-like",
        "encoder.layer.{layer}.",
        {
            "q": "attention.self.query",
            "k": "attention.self.key",
            "v": "attention.self.value",
            "o": "attention.output.dense",
            "1": "intermediate.dense",
            "2": "output.dense",
        },
        activation="gelu",
    ),
    _family(
        "DistilBERT-like",
        "transformer.layer.{layer}.",
        {
            "q": "attention.q_lin",
            "k": "attention.k_lin",
            "v": "attention.v_lin",
            "o": "attention.out_lin",
            "1": "ffn.lin1",
            "2": "ffn.lin2",
        },
        activation="gelu",
    ),
    _family(
        "GPT-2-like",
        "h.{layer}.",
        {"qkv": "attn.c_attn", "o": "attn.c_proj", "1": "mlp.c_fc", "2": "mlp.c_proj"},
        transposed=frozenset(MATRICES),
        causal=True,
        activation="gelu",
    ),
    _family(
        "LLaMA-like",
        "model.layers.{layer}.",
        {
            "q": "self_attn.q_proj",
            "k": "self_attn.k_proj",
            "v": "self_attn.v_proj",
            "o": "self_attn.o_proj",
            "gate": "mlp.gate_proj",
            "1": "mlp.up_proj",
            "2": "mlp.down_proj",
        },
        causal=True,
        rotary=True,
        activation="silu",
    ),
)
"""The namings that are known. Anything that ends in a dot may stand before them (``bert.``, ``transformer.``)."""


@dataclass(frozen=True)
class Naming:
    """A family as it occurs in a file: with its prefix, and the numbers of its layers."""

    family: Family
    layers: tuple[int, ...]


def find_naming(tensors: Tensors, mapping: Family | None = None) -> Naming:
    """The naming of these tensors: that of the mapping, or the family that fits.

    Raises InputError when none fits, or names fit in several places.
    """
    where = ", ".join(tensors.files)
    if mapping is not None:
        layers = _layers(tensors.names, mapping).get("", [])
        if not layers:
            raise InputError(
                f"{where}: expected tensors {mapping.roles[mapping.queries]} as the mapping says, "
                f"found none; {_found(tensors.names)}"
            )
        return Naming(mapping, tuple(layers))
    found = [
        Naming(Family(**{**vars(family), "prefix": prefix}), tuple(layers))
        for family in FAMILIES
        for prefix, layers in _layers(tensors.names, family, any_prefix=True).items()
    ]
    if not found:
        known = ", ".join(family.roles[family.queries] for family in FAMILIES)
        raise InputError(
            f"{where}: expected tensors named {known}, or a file that says how they are named (--mapping FILE.json); "
            f"{_found(tensors.names)}"
        )
    if len(found) > 1:
        names = ", ".join(str(each.family.tensor(each.family.queries, each.layers[0])) for each in found)
        raise InputError(f"{where}: expected the layers of one network, found {names}: choose with --mapping FILE.json")
    return found[0]


def _found(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"found {len(names)} tensors: {shown}" if names else "found no tensors"


def _layers(names: Sequence[str], family: Family, any_prefix: bool = False) -> dict[str, list[int]]:
    """The numbers of the layers by prefix."""
    first, *rest = (re.escape(part) for part in family.roles[family.queries].split(NUMBER))
    # the number may occur more than once, always the same
    number = "(?P<layer>0|[1-9][0-9]{0,5})"
    pattern = first + number + r"(?P=layer)".join(rest)
    expression = re.compile((r"(?P<prefix>(?:.*\.)?)" if any_prefix else "(?P<prefix>)") + pattern)
    found: dict[str, list[int]] = {}
    for name in names:
        if match := expression.fullmatch(name):
            found.setdefault(match["prefix"], []).append(int(match["layer"]))
    return {prefix: sorted(layers) for prefix, layers in found.items()}


def read_mapping(path: str | os.PathLike[str]) -> Family:
    """The family that a mapping file describes (docs/inspecting-a-checkpoint.md). Raises InputError."""
    node = read_document(path, MAPPING_FORMAT)
    options = ["transposed", "qkv", "causal", "rotary", "scaled", "activation"]
    fields = node.object(["format"], [*ROLES, *options])
    roles = {}
    for role in ROLES:
        if role in fields:
            if type(fields[role].value) is not str:
                fields[role].fail(f"the name of a tensor, with {NUMBER} for the layer's number")
            roles[role] = fields[role].value
    transposed: frozenset[str] = frozenset()
    if "transposed" in fields:
        if isinstance(fields["transposed"].value, bool):
            transposed = frozenset(MATRICES if fields["transposed"].value else ())
        else:
            for item in fields["transposed"].list("matrices", minimum=0):
                if item.value not in MATRICES:
                    item.fail(f"true, false or a list of {', '.join(MATRICES)}")
                transposed |= {item.value}
    if "qkv" in fields and fields["qkv"].value not in ("blocks", "heads"):
        fields["qkv"].fail('"blocks" or "heads"')
    if "activation" in fields and type(fields["activation"].value) is not str:
        fields["activation"].fail('the name of a function, such as "relu"')
    return node.build(
        lambda: Family(
            os.fspath(path),
            roles,
            transposed,
            fields["qkv"].value if "qkv" in fields else "blocks",
            causal="causal" in fields and fields["causal"].boolean(),
            rotary="rotary" in fields and fields["rotary"].boolean(),
            scaled="scaled" not in fields or fields["scaled"].boolean(),
            activation=fields["activation"].value if "activation" in fields else None,
        )
    )
