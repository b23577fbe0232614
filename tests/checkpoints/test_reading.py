"""Tensors are read exactly, under every naming, and what cannot be read is refused in one line."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_makers import FAMILY_KINDS, PREFIXES, Halves, network, random_weights, stored, write
from hypothesis import given
from hypothesis import strategies as st

from constructions.checkpoints.naming import find_naming, read_mapping
from constructions.checkpoints.tensors import open_tensors
from constructions.checkpoints.weights import LayerWeights, count_heads, read_layer
from constructions.documents import InputError
from constructions.numbers.dyadic import dyadic

ROLES = ("W_q", "W_k", "W_v", "W_o", "W_1", "W_2", "W_gate", "b_q", "b_k", "b_v", "b_o", "b_1", "b_2")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layers_of(path: str | Path, mapping: Any = None, heads: int | None = None) -> list[LayerWeights]:
    tensors = open_tensors([str(path)])
    if mapping is not None:
        Path("mapping.json").write_text(json.dumps({"format": "promptcert-mapping/1", **mapping}))
    naming = find_naming(tensors, None if mapping is None else read_mapping("mapping.json"))
    count = count_heads(tensors, naming, heads, None)
    return [read_layer(tensors, naming, layer, count) for layer in naming.layers]


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        layers_of(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def agree(found: LayerWeights, made: dict[str, np.ndarray]) -> None:
    for role in ROLES:
        values = getattr(found, role)
        assert (values is None) == (role not in made), role
        if values is not None:
            assert values.dtype == np.float64
            assert np.array_equal(values, made[role].astype(np.float64)), role


# ---------------------------------------------------------------------------------------------
# Numbers


def test_every_kind_is_read_exactly_whatever_stands_before_and_behind() -> None:
    tensors = {
        "a": np.array([True, False, True]),
        "b": Halves(np.array([[0x3F80, 0xC049], [0x0001, 0x8000]], np.uint16)),
        "c": np.array([0.1, 5e-324, -(2.0**1023)]),
        "d": np.array([0.1, 2.0**-149, -3e38], np.float32),
        "e": np.array([0.1, 2.0**-24, -65504], np.float16),
        "f": np.arange(5),
        "g": Halves(np.array([0x7F7F], np.uint16)),
        "h": np.array([1], np.uint8),
        "i": Halves(np.zeros((0, 3), np.uint16)),
    }
    read = open_tensors([str(write(Path("x.safetensors"), tensors))])
    assert read.names == sorted(tensors)
    assert read.read("b").tolist() == [[1.0, -3.140625], [2.0**-133, 0.0]]
    assert read.read("g").tolist() == [float((2 - Fraction(1, 2**7)) * 2**127)]
    assert read.read("i").shape == (0, 3)
    assert read.read("c").tolist() == [0.1, 5e-324, -(2.0**1023)]
    assert read.read("d").tolist() == [13421773 / 2**27, 2.0**-149, float(np.float32(-3e38))]
    assert read.read("e").tolist() == [1638 / 2**14, 2.0**-24, -65504.0]
    for name in "afh":
        with pytest.raises(InputError, match=f"{name}: expected numbers of the kinds F64, F32, F16, BF16, found"):
            read.read(name)


@given(st.lists(st.integers(0, 2**16 - 1).filter(lambda bits: bits >> 7 & 0xFF != 0xFF), min_size=1, max_size=9))
def test_bfloat16_by_the_definition(bits: list[int]) -> None:
    path = write(Path("half.safetensors"), {"x": Halves(np.array(bits, np.uint16))})
    for value, found in zip(bits, open_tensors([str(path)]).read("x"), strict=True):
        sign, exponent, fraction = value >> 15, value >> 7 & 0xFF, value & 0x7F
        size = Fraction(fraction, 128) + (exponent > 0)
        expected = size * Fraction(2) ** (max(exponent, 1) - 127)
        assert Fraction(float(found)) == (-expected if sign else expected)


def test_weights_become_the_rationals_that_the_bits_say() -> None:
    path = write(Path("x.safetensors"), {"x": np.array([[0.1, -0.75]], np.float32)})
    M, exponent = dyadic(open_tensors([str(path)]).read("x"))
    assert [int(x) for x in M.entries()] == [13421773, -100663296]
    assert exponent == -27


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_entries_that_are_not_finite_are_named(kind: str, value: float, shown: str) -> None:
    made = np.ones((3, 4), np.float32)
    made[1, 2] = made[2, 0] = value
    halves = Halves((made.view(np.uint32) >> 16).astype(np.uint16))
    path = write(Path("x.safetensors"), {"w": halves if kind == "bfloat16" else made.astype(kind)})
    with pytest.raises(InputError) as caught:
        open_tensors([str(path)]).read("w")
    assert str(caught.value) == f"x.safetensors: w: expected finite numbers, found {shown} at [1, 2]"


# ---------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize("content", [b"", b"{}", b"\x02\0\0\0\0\0\0\0{}x", b"\xff" * 40, b"PK\x03\x04" + b"\0" * 60])
def test_files_that_are_something_else(content: bytes) -> None:
    Path("x.safetensors").write_bytes(content)
    assert refusal("x.safetensors").startswith("x.safetensors: expected a safetensors file, found: ")


def test_a_file_that_was_cut_off() -> None:
    path = network(Path("x.safetensors"), "bert", 4, 2)
    path.write_bytes(path.read_bytes()[:-5])
    assert refusal(path).startswith("x.safetensors: expected a safetensors file, found: ")


def test_files_that_cannot_be_opened() -> None:
    assert refusal("missing.safetensors") == "missing.safetensors: cannot be read: No such file or directory"
    Path("folder").mkdir()
    assert refusal("folder") == "folder: cannot be read: Is a directory"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert refusal("x.safetensors") == (
        "the package safetensors is missing: expected it installed, as by pip install 'promptcert[checkpoints]'"
    )


def test_a_network_in_two_files() -> None:
    tensors = stored("bert", [random_weights(np.random.default_rng(0), 4, 2) for _ in range(2)])
    names = sorted(tensors)
    parts = [str(write(Path(f"{i}.safetensors"), {name: tensors[name] for name in names[i::2]})) for i in range(2)]
    both = open_tensors(parts)
    assert both.names == names
    naming = find_naming(both)
    assert naming.layers == (0, 1)
    count = count_heads(both, naming, 2, None)
    assert all(read_layer(both, naming, layer, count).heads == 2 for layer in (0, 1))
    with pytest.raises(InputError, match=r"^1\.safetensors: .*: expected every tensor once, found it in 1\.safe"):
        open_tensors([*parts, parts[1]])


# ---------------------------------------------------------------------------------------------
# Names


@pytest.mark.parametrize(("kind", "prefix"), [(kind, prefix) for kind in FAMILY_KINDS for prefix in PREFIXES[kind]])
def test_every_naming_gives_the_weights_that_were_stored(kind: str, prefix: str) -> None:
    rng = np.random.default_rng(1)
    made = [random_weights(rng, 6, 3, gated=kind == "llama") for _ in range(3)]
    found = layers_of(write(Path("x.safetensors"), stored(kind, made, prefix)), heads=3)
    assert [layer.index for layer in found] == [0, 1, 2]
    for layer, weights in zip(found, made, strict=True):
        agree(layer, weights)
        assert (layer.heads, layer.groups, layer.head_size, layer.width) == (3, 3, 2, 6)


def test_fewer_key_and_value_heads() -> None:
    made = random_weights(np.random.default_rng(2), 12, 6, kv=2, gated=True)
    (found,) = layers_of(write(Path("x.safetensors"), stored("llama", [made])), heads=6)
    agree(found, made)
    assert (found.heads, found.groups) == (6, 2)
    assert [found.group(i) for i in range(6)] == [0, 0, 0, 1, 1, 1]


def fused(made: dict[str, np.ndarray], layout: str) -> tuple[np.ndarray, np.ndarray]:
    """All rows of W_q, W_k, W_v and their biases in one matrix."""
    h, _, d = made["W_q"].shape
    g = len(made["W_k"])
    if layout == "blocks":
        matrix = np.concatenate([made[name].reshape(-1, d) for name in ("W_q", "W_k", "W_v")])
        return matrix, np.concatenate([made[name].ravel() for name in ("b_q", "b_k", "b_v")])
    rows, biases = [], []
    for group in range(g):
        for i in range(group * (h // g), (group + 1) * (h // g)):
            rows.append(made["W_q"][i])
            biases.append(made["b_q"][i])
        rows += [made["W_k"][group], made["W_v"][group]]
        biases += [made["b_k"][group], made["b_v"][group]]
    return np.concatenate(rows), np.concatenate(biases)


@pytest.mark.parametrize("layout", ["blocks", "heads"])
@pytest.mark.parametrize("kv", [1, 2, 4])
@pytest.mark.parametrize("transposed", [[], ["W_qkv", "W_2"], True])
def test_mappings(layout: str, kv: int, transposed: Any) -> None:
    made = random_weights(np.random.default_rng(3), 8, 4, kv=kv)
    W, b = fused(made, layout)
    turned = ["W_qkv", "W_o", "W_1", "W_2"] if transposed is True else transposed
    matrices = {"W_qkv": W, "W_o": made["W_o"].transpose(1, 0, 2).reshape(8, 8), "W_1": made["W_1"], "W_2": made["W_2"]}
    vectors = {"b_qkv": b, "b_o": made["b_o"], "b_1": made["b_1"], "b_2": made["b_2"]}
    tensors = {f"t{7}.{role}": matrix.T if role in turned else matrix for role, matrix in matrices.items()}
    tensors |= {f"t7.{role}": vector for role, vector in vectors.items()}
    mapping = {role: "t{layer}." + role for role in (*matrices, *vectors)}
    (found,) = layers_of(
        write(Path("x.safetensors"), tensors), {**mapping, "transposed": transposed, "qkv": layout}, heads=4
    )
    assert found.index == 7
    agree(found, made)


def test_a_mapping_with_the_number_twice_and_without_an_mlp() -> None:
    made = random_weights(np.random.default_rng(4), 4, 2)
    rows = {role: made[role].reshape(4, 4) for role in ("W_q", "W_k", "W_v")}
    tensors = {f"a.3.{role}_3": W for role, W in {**rows, "W_o": rows["W_q"]}.items()}
    tensors["a.3.W_q_4"] = np.ones((4, 4))
    (found,) = layers_of(
        write(Path("x.safetensors"), tensors),
        {role: "a.{layer}." + role + "_{layer}" for role in ("W_q", "W_k", "W_v", "W_o")},
        heads=2,
    )
    assert found.W_1 is None
    assert np.array_equal(found.W_v, made["W_v"])


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({}, "expected W_o, and either W_q, W_k and W_v or W_qkv, found none of them"),
        ({"W_o": "o{layer}"}, "expected W_o, and either W_q, W_k and W_v or W_qkv, found W_o"),
        ({"W_q": "q{layer}", "W_o": "o{layer}"}, "found W_q, W_o"),
        ({"W_q": "q{layer}", "W_qkv": "f{layer}", "W_o": "o{layer}"}, "found W_q, W_qkv, W_o"),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}", "W_1": "u{layer}"}, "expected both W_1 and W_2 or neither"),
        ({"W_qkv": "f", "W_o": "o{layer}"}, "W_qkv: expected a name with {layer} for the layer's number, found 'f'"),
        ({"W_qkv": 3, "W_o": "o{layer}"}, "W_qkv: expected the name of a tensor, with {layer}"),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}", "qkv": "mixed"}, 'qkv: expected "blocks" or "heads", found'),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}", "transposed": ["W_x"]}, "transposed[0]: expected true, false or a"),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}", "causal": 1}, "causal: expected true or false"),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}", "activation": 1}, "activation: expected the name of a function"),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}", "head": 1}, "expected only the fields format, W_q,"),
        ({"W_qkv": "f{layer}", "W_o": "o{layer}"}, "x.safetensors: expected tensors f{layer} as the mapping says"),
    ],
)
def test_bad_mappings(mapping: dict[str, Any], why: str) -> None:
    network(Path("x.safetensors"), "bert", 4, 2)
    assert why in refusal("x.safetensors", mapping, heads=2)


def test_unknown_names_are_shown_with_the_way_out() -> None:
    message = refusal(write(Path("x.safetensors"), {name: np.ones(1) for name in "abcd"}))
    assert "encoder.layer.{layer}.attention.self.query.weight" in message
    assert "--mapping FILE.json" in message
    assert message.endswith("found 4 tensors: a, b, c, …")
    assert refusal(write(Path("y.safetensors"), {})).endswith("found no tensors")


def test_two_networks_in_one_file() -> None:
    made = [random_weights(np.random.default_rng(0), 4, 2)]
    both = stored("bert", made, "left.") | stored("bert", made, "right.")
    message = refusal(write(Path("x.safetensors"), both))
    assert "left.encoder.layer.0.attention.self.query.weight, right.encoder" in message
    assert "--mapping FILE.json" in message


# ---------------------------------------------------------------------------------------------
# Tensors that are missing or do not fit


def changed(kind: str, **changes: Any) -> Path:
    """A network of width 8 with 4 heads and some tensors replaced (by names without dots), or left out (None)."""
    tensors = stored(kind, [random_weights(np.random.default_rng(5), 8, 4, gated=kind == "llama")])
    for end, value in changes.items():
        (name,) = (name for name in tensors if name.replace(".", "_").endswith(end))
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    return write(Path("x.safetensors"), tensors)


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        (
            "bert",
            {"key_weight": None},
            "expected a tensor encoder.layer.0.attention.self.key.weight for W_k of layer 0",
        ),
        (
            "bert",
            {"attention_output_dense_weight": None},
            "attention.output.dense.weight for W_o of layer 0, found none",
        ),
        ("bert", {"intermediate_dense_weight": None}, "intermediate.dense.weight for W_1 of layer 0, found none"),
        ("bert", {"value_weight": np.ones((8, 7))}, "value.weight: expected 8×8 for W_v, found 8×7"),
        ("bert", {"value_weight": np.ones((4, 8))}, "value.weight: expected 8×8 for W_v, found 4×8"),
        ("bert", {"query_weight": np.ones((6, 8))}, "query.weight: expected 8×8 for W_q, found 6×8"),
        ("bert", {"query_weight": np.ones(8)}, "query.weight: expected a matrix, found 8"),
        ("bert", {"query_bias": np.ones((8, 1))}, "query.bias: expected a vector, found 8×1"),
        ("bert", {"query_bias": np.ones(7)}, "query.bias: expected 8 for b_q, found 7"),
        ("bert", {"key_weight": np.ones((5, 8))}, "expected rows for 4 heads (--heads) of size 2 and a number of key"),
        ("bert", {"key_weight": np.ones((6, 8))}, "and value heads that divides 4 for W_k, found 6×8"),
        ("bert", {"0_output_dense_weight": np.ones((8, 9))}, "output.dense.weight: expected 8×16 for W_2, found 8×9"),
        ("bert", {"intermediate_dense_bias": np.ones(9)}, "intermediate.dense.bias: expected 16 for b_1, found 9"),
        ("gpt2", {"c_attn_weight": np.ones((8, 23))}, "c_attn.weight: expected rows for 4 heads (--heads) of size 2"),
        ("gpt2", {"c_attn_bias": np.ones(23)}, "c_attn.bias: expected 24 for b_qkv, found 23"),
        (
            "gpt2",
            {"attn_c_proj_weight": np.ones((9, 8))},
            "attn.c_proj.weight: expected a number of heads times the head",
        ),
        ("gpt2", {"mlp_c_proj_weight": np.ones((8, 16))}, "mlp.c_proj.weight: expected 16×8 for W_2, found 8×16"),
        ("llama", {"gate_proj_weight": np.ones((5, 8))}, "gate_proj.weight: expected 16×8 for W_gate, found 5×8"),
        ("llama", {"o_proj_weight": np.array(1.0)}, "o_proj.weight: expected a matrix, found a single number"),
    ],
)
def test_tensors_that_are_missing_or_do_not_fit(kind: str, changes: dict[str, Any], why: str) -> None:
    message = refusal(changed(kind, **changes), heads=4)
    assert message.startswith("x.safetensors: ")
    assert why in message


# ---------------------------------------------------------------------------------------------
# How many heads


def test_the_number_of_heads_has_to_be_said() -> None:
    message = refusal(network(Path("x.safetensors"), "bert", 8, 4))
    assert message == (
        "x.safetensors: expected the option --heads N (and --kv-heads N where there are fewer key and value heads): "
        "the number of heads is not in the weights, and no config.json with it stands beside them"
    )
    assert "with 3 heads (--heads)" in refusal("x.safetensors", heads=3)


@pytest.mark.parametrize(
    ("config", "heads", "groups", "activation"),
    [
        ({"num_attention_heads": 4, "hidden_act": "gelu"}, 4, None, "gelu"),
        ({"n_head": 2, "activation_function": "gelu_new"}, 2, None, "gelu_new"),
        ({"n_heads": 4, "activation": "relu"}, 4, None, "relu"),
        ({"num_attention_heads": 4, "num_key_value_heads": 4}, 4, 4, None),
    ],
)
def test_heads_from_the_configuration(config: Any, heads: int, groups: int | None, activation: str | None) -> None:
    path = network(Path("x.safetensors"), "bert", 8, 4)
    Path("config.json").write_text(json.dumps(config))
    tensors = open_tensors([str(path)])
    naming = find_naming(tensors)
    found = count_heads(tensors, naming, None, None)
    assert (found.heads, found.groups, found.activation, found.source) == (heads, groups, activation, "config.json")
    assert read_layer(tensors, naming, 0, found).heads == heads
    assert count_heads(tensors, naming, 8, None).heads == 8


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "config.json: expected a JSON object (or the option --heads N), found: "),
        ("[1]", "config.json: expected a JSON object (or the option --heads N), found another value"),
        ('{"n_head": "four"}', "config.json: n_head: expected a whole number of at least 1 (or the option --heads N)"),
        ('{"n_head": 0}', "config.json: n_head: expected a whole number"),
        ('{"n_head": 3}', "with 3 heads (config.json)"),
        ('{"n_head": 4, "num_key_value_heads": 2}', "expected rows for 2 key and value heads of size 2 for W_k"),
        ("{}", "expected the option --heads N"),
    ],
)
def test_configurations_that_do_not_help(content: str, why: str) -> None:
    network(Path("x.safetensors"), "bert", 8, 4)
    Path("config.json").write_text(content)
    assert why in refusal("x.safetensors")


@pytest.mark.parametrize(("end", "length"), [("self_attn.rotary_emb.inv_freq", 1), ("self_attn.q_norm.weight", 2)])
def test_heads_from_a_tensor_as_long_as_a_head(end: str, length: int) -> None:
    made = [random_weights(np.random.default_rng(5), 8, 4, kv=2, gated=True)]
    tensors = stored("llama", made) | {f"model.layers.0.{end}": np.ones(length)}
    (found,) = layers_of(write(Path("x.safetensors"), tensors))
    assert (found.heads, found.groups, found.head_size) == (4, 2, 2)
