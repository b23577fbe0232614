"""The weights of a layer of a real network in the shapes of THEORY section 0, head by head, as exact floats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from constructions.checkpoints.naming import BIASES, MATRICES, Family, Naming
from constructions.checkpoints.tensors import Tensors
from constructions.documents import InputError
from constructions.numbers.dyadic import Floats

HEADS = ("num_attention_heads", "n_head", "n_heads")
GROUPS = ("num_key_value_heads", "n_head_kv")
ACTIVATIONS = ("hidden_act", "activation_function", "hidden_activation", "activation")
MAX_CONFIG = 1 << 20


@dataclass(frozen=True)
class HeadCount:
    """How many query heads a network has, how many key and value heads (None: not known, to be taken from the shapes),
    and who says so."""

    heads: int
    groups: int | None
    source: str
    activation: str | None = None


@dataclass(frozen=True)
class LayerWeights:
    """A layer with h heads of size s in width d: W_q (h×s×d), W_k and W_v (g×s×d, g divides h: query head i uses
    ``i // (h/g)``), W_o (h×d×s), b_q (h×s), b_k and b_v (g×s), b_o (d); W_1 and W_gate (r×d), W_2 (d×r), b_1, b_gate
    (r), b_2 (d). None where there is none. ``names``: the tensors that were read, by role."""

    index: int
    W_q: Floats
    W_k: Floats
    W_v: Floats
    W_o: Floats
    b_q: Floats | None
    b_k: Floats | None
    b_v: Floats | None
    b_o: Floats | None
    W_1: Floats | None
    W_2: Floats | None
    W_gate: Floats | None
    b_1: Floats | None
    b_2: Floats | None
    b_gate: Floats | None
    names: dict[str, str]

    @property
    def heads(self) -> int:
        return int(self.W_q.shape[0])

    @property
    def groups(self) -> int:
        return int(self.W_k.shape[0])

    @property
    def head_size(self) -> int:
        return int(self.W_q.shape[1])

    @property
    def width(self) -> int:
        return int(self.W_q.shape[2])

    def group(self, head: int) -> int:
        """The key and value head that a query head uses."""
        return head // (self.heads // self.groups)


def count_heads(tensors: Tensors, naming: Naming, heads: int | None, groups: int | None) -> HeadCount:
    """From the options; else from ``config.json`` beside the first file; else from a tensor whose length is the head's
    size (rotary frequencies, norms of queries). Raises InputError when nothing says it."""
    if heads is not None:
        return HeadCount(heads, groups, "--heads")
    config = Path(tensors.files[0]).parent / "config.json"
    if config.is_file():
        found = _from_config(config, groups)
        if found is not None:
            return found
    return _from_tensors(tensors, naming, groups)


def _from_config(path: Path, groups: int | None) -> HeadCount | None:
    try:
        with path.open("rb") as stream:
            value = json.loads(stream.read(MAX_CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"{path}: expected a JSON object (or the option --heads N), found: {message}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object (or the option --heads N), found another value")
    heads = _whole(path, value, HEADS)
    if heads is None:
        return None
    activation = next((value[key] for key in ACTIVATIONS if isinstance(value.get(key), str)), None)
    return HeadCount(heads, groups or _whole(path, value, GROUPS), str(path), activation)


def _whole(path: Path, value: dict[str, Any], keys: Sequence[str]) -> int | None:
    for key in keys:
        found = value.get(key)
        if found is not None:
            if type(found) is not int or found < 1:
                raise InputError(f"{path}: {key}: expected a whole number of at least 1 (or the option --heads N)")
            return found
    return None


def _from_tensors(tensors: Tensors, naming: Naming, groups: int | None) -> HeadCount:
    family, layer = naming.family, naming.layers[0]
    queries = family.tensor("W_q", layer) or ""
    for end, factor in (("self_attn.rotary_emb.inv_freq", 2), ("self_attn.q_norm.weight", 1)):
        name = family.stem(layer) + end
        if queries in tensors and name in tensors and len(tensors.shape(name)) == 1:
            size = factor * tensors.shape(name)[0]
            rows = tensors.shape(queries)[0]
            if size and rows % size == 0:
                return HeadCount(rows // size, groups, name)
    raise InputError(
        f"{tensors.files[0]}: expected the option --heads N (and --kv-heads N where there are fewer key and value "
        "heads): the number of heads is not in the weights, and no config.json with it stands beside them"
    )


def read_layer(tensors: Tensors, naming: Naming, index: int, count: HeadCount) -> LayerWeights:
    """The weights of one layer. Raises InputError for tensors that are missing, do not fit, or are not finite."""
    family = naming.family
    read: dict[str, Floats] = {}
    names: dict[str, str] = {}
    for role in (*MATRICES, *BIASES):
        name = family.tensor(role, index)
        if name is not None and name in tensors:
            names[role] = name
    _required(tensors, family, index, names)
    for role, name in names.items():
        dimensions = 2 if role in MATRICES else 1
        if len(tensors.shape(name)) != dimensions:
            expected = "a matrix" if dimensions == 2 else "a vector"
            raise _shape_error(tensors, name, expected)
        values = tensors.read(name)
        read[role] = values.T if role in family.transposed else values
    return _assembled(_Fitting(tensors, family, index, names, read), count)


def _required(tensors: Tensors, family: Family, index: int, names: dict[str, str]) -> None:
    needed = [role for role in ("W_q", "W_k", "W_v", "W_qkv", "W_o") if role in family.roles]
    if "W_1" in names or "W_2" in names:
        needed += ["W_1", "W_2"]
    for role in needed:
        if role not in names:
            file = tensors.files[0] if len(tensors.files) == 1 else "the files"
            raise InputError(
                f"{file}: expected a tensor {family.tensor(role, index)} for {role} of layer {index}, found none "
                "(--layers A-B leaves out layers, --mapping FILE.json gives other names)"
            )


def _shape_error(tensors: Tensors, name: str, expected: str) -> InputError:
    found = "×".join(map(str, tensors.shape(name))) or "a single number"
    return InputError(f"{tensors.file(name)}: {name}: expected {expected}, found {found}")


@dataclass(frozen=True)
class _Fitting:
    """What was read of a layer, while it is checked and cut into heads."""

    tensors: Tensors
    family: Family
    index: int
    names: dict[str, str]
    read: dict[str, Floats]

    def need(self, role: str, rows: int, columns: int | None = None) -> Floats | None:
        """The matrix or vector of a role, if it is there, of this shape."""
        if role not in self.read:
            return None
        values = self.read[role]
        expected = (rows,) if columns is None else (rows, columns)
        if values.shape != expected:
            stored = expected[::-1] if role in self.family.transposed else expected
            raise self.fail(role, "×".join(map(str, stored)))
        return values

    def fail(self, role: str, expected: str) -> InputError:
        return _shape_error(self.tensors, self.names[role], f"{expected} for {role}")


def _assembled(part: _Fitting, count: HeadCount) -> LayerWeights:
    read, h = part.read, count.heads
    # the layout is known from W_o (d×hs): the one matrix that is never fused
    d, inner = read["W_o"].shape
    if inner == 0 or inner % h:
        raise part.fail("W_o", f"a number of heads times the head's size, with {h} heads ({count.source}),")
    s = inner // h
    first = "W_qkv" if "W_qkv" in read else "W_k"
    rows = read[first].shape[0] - (h * s if first == "W_qkv" else 0)
    g = rows // (2 * s if first == "W_qkv" else s)
    of_keys = f"{h} heads ({count.source}) of size {s} and a number of key and value heads that divides {h}"
    if g < 1 or h % g or rows != g * s * (2 if first == "W_qkv" else 1):
        raise part.fail(first, f"rows for {of_keys}")
    if count.groups is not None and count.groups != g:
        raise part.fail(first, f"rows for {count.groups} key and value heads of size {s}")
    if first == "W_qkv":
        part.need("W_qkv", (h + 2 * g) * s, d)
        part.need("b_qkv", (h + 2 * g) * s)
        W_q, W_k, W_v = _split(read["W_qkv"], part.family, h, g)
        b_q, b_k, b_v = _split(read["b_qkv"], part.family, h, g) if "b_qkv" in read else (None, None, None)
    else:
        for role, n in (("W_q", h), ("W_k", g), ("W_v", g)):
            part.need(role, n * s, d)
        W_q, W_k, W_v = read["W_q"], read["W_k"], read["W_v"]
        b_q, b_k, b_v = part.need("b_q", h * s), part.need("b_k", g * s), part.need("b_v", g * s)
    r = read["W_1"].shape[0] if "W_1" in read else 0
    return LayerWeights(
        part.index,
        W_q.reshape(h, s, d),
        W_k.reshape(g, s, d),
        W_v.reshape(g, s, d),
        read["W_o"].reshape(d, h, s).transpose(1, 0, 2),
        None if b_q is None else b_q.reshape(h, s),
        None if b_k is None else b_k.reshape(g, s),
        None if b_v is None else b_v.reshape(g, s),
        part.need("b_o", d),
        part.need("W_1", r, d),
        part.need("W_2", d, r),
        part.need("W_gate", r, d),
        part.need("b_1", r),
        part.need("b_2", d),
        part.need("b_gate", r),
        part.names,
    )


def _split(fused: Floats, family: Family, h: int, g: int) -> tuple[Floats, Floats, Floats]:
    """Queries, keys and values out of their common rows."""
    s = len(fused) // (h + 2 * g)
    if family.layout == "blocks":
        return fused[: h * s], fused[h * s : (h + g) * s], fused[(h + g) * s :]
    groups = fused.reshape(g, h // g + 2, s, *fused.shape[1:])
    parts = groups[:, :-2], groups[:, -2], groups[:, -1]
    q, k, v = (np.ascontiguousarray(part).reshape(-1, *fused.shape[1:]) for part in parts)
    return q, k, v
