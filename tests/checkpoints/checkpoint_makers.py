"""Small networks with known weights, written to safetensors files under the names of each family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

safetensors = pytest.importorskip("safetensors", reason="needs the package safetensors")

Weights = dict[str, np.ndarray]
FAMILY_KINDS = ("bert", "distilbert", "gpt2", "llama")
PREFIXES = {"bert": ("", "bert.", "roberta."), "distilbert": ("", "distilbert."), "gpt2": ("", "transformer.")}
PREFIXES |= {"llama": ("", "language_model.")}
NAMES = {
    "bert": ("encoder.layer.{}.", "attention.self.query", "attention.self.key", "attention.self.value"),
    "distilbert": ("transformer.layer.{}.", "attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "gpt2": ("h.{}.",),
    "llama": ("model.layers.{}.", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
}
OTHERS = {
    "bert": {"o": "attention.output.dense", "1": "intermediate.dense", "2": "output.dense"},
    "distilbert": {"o": "attention.out_lin", "1": "ffn.lin1", "2": "ffn.lin2"},
    "gpt2": {"o": "attn.c_proj", "1": "mlp.c_fc", "2": "mlp.c_proj"},
    "llama": {"o": "self_attn.o_proj", "gate": "mlp.gate_proj", "1": "mlp.up_proj", "2": "mlp.down_proj"},
}
EXTRAS = {
    "bert": ("attention.output.LayerNorm.weight", "output.LayerNorm.bias"),
    "distilbert": ("sa_layer_norm.weight", "output_layer_norm.bias"),
    "gpt2": ("ln_1.weight", "ln_2.bias"),
    "llama": ("input_layernorm.weight", "post_attention_layernorm.weight"),
}


@dataclass(frozen=True)
class Halves:
    """A bfloat16 tensor, as its 16 bits."""

    bits: np.ndarray


def write(path: Path, tensors: Mapping[str, np.ndarray | Halves]) -> Path:
    """A safetensors file of arrays of any kind."""
    specs, keep = {}, []
    for name, tensor in tensors.items():
        values = np.array(tensor.bits if isinstance(tensor, Halves) else tensor, order="C")
        keep.append(values)
        kind = "bfloat16" if isinstance(tensor, Halves) else values.dtype.name
        specs[name] = safetensors.TensorSpec(
            dtype=kind, shape=list(values.shape), data_ptr=values.ctypes.data, data_len=values.nbytes
        )
    safetensors.serialize_file(specs, str(path))
    return path


def random_weights(
    rng: np.random.Generator, d: int, h: int, *, kv: int | None = None, r: int | None = None, gated: bool = False
) -> Weights:
    """A layer in the shapes of the theory: W_q (h×s×d), W_k and W_v (g×s×d), W_o (h×d×s), biases, MLP."""
    s, g, r = d // h, kv or h, r or 2 * d

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32) * np.float32(0.1)

    shapes = {"W_q": (h, s, d), "W_k": (g, s, d), "W_v": (g, s, d), "W_o": (h, d, s), "W_1": (r, d), "W_2": (d, r)}
    if gated:
        return {name: draw(*shape) for name, shape in {**shapes, "W_gate": (r, d)}.items()}
    biases = {"b_q": (h, s), "b_k": (g, s), "b_v": (g, s), "b_o": (d,), "b_1": (r,), "b_2": (d,)}
    return {name: draw(*shape) for name, shape in {**shapes, **biases}.items()}


def stored(kind: str, layers: list[Weights], prefix: str = "", extras: bool = True) -> dict[str, Any]:
    """The tensors of a network of these layers, as the family names and stores them."""
    tensors: dict[str, Any] = {}
    transposed = kind == "gpt2"
    for index, weights in enumerate(layers):
        stem = prefix + NAMES[kind][0].format(index)
        d = weights["W_q"].shape[2]
        rows = {role: weights[role].reshape(-1, d) for role in ("W_q", "W_k", "W_v")}
        vectors = {role: weights[role].ravel() for role in ("b_q", "b_k", "b_v") if role in weights}
        if kind == "gpt2":
            parts = {"attn.c_attn": (np.concatenate(list(rows.values())), np.concatenate(list(vectors.values())))}
        else:
            parts = {
                name: (rows[f"W_{role}"], vectors.get(f"b_{role}"))
                for role, name in zip("qkv", NAMES[kind][1:], strict=True)
            }
        W_o = weights["W_o"].transpose(1, 0, 2).reshape(d, -1)
        for role, name in OTHERS[kind].items():
            if role == "o" or f"W_{role}" in weights:
                parts[name] = (W_o if role == "o" else weights[f"W_{role}"], weights.get(f"b_{role}"))
        for name, (matrix, bias) in parts.items():
            tensors[f"{stem}{name}.weight"] = matrix.T if transposed else matrix
            if bias is not None:
                tensors[f"{stem}{name}.bias"] = bias
        if extras:
            tensors |= {stem + name: np.ones(d, np.float32) for name in EXTRAS[kind]}
    if extras:
        tensors[prefix + "embeddings.position_embeddings.weight"] = np.ones((3, 2), np.float32)
    return tensors


def network(path: Path, kind: str, d: int, h: int, *, layers: int = 1, kv: int | None = None, seed: int = 0) -> Path:
    """A file with a random network."""
    rng = np.random.default_rng(seed)
    made = [random_weights(rng, d, h, kv=kv, gated=kind == "llama") for _ in range(layers)]
    return write(path, stored(kind, made))
