"""``promptcert inspect``: the report on files of each family, and every way to be refused."""

from __future__ import annotations

import io
import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_makers import network, random_weights, stored, write
from flint import fmpq, nmod_mat
from rich.console import Console

from constructions.numbers.digits import decimal_bound
from constructions.numbers.dyadic import dyadic
from verify.commands import inspect, progress


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inside(found: dict[str, str], value: float) -> None:
    lower, upper = Fraction(found["lower"]), Fraction(found["upper"])
    assert lower <= Fraction(value) * (1 + Fraction(1, 10**9))
    assert Fraction(value) * (1 - Fraction(1, 10**9)) <= upper
    assert upper <= lower * (1 + Fraction(1001, 10**6))


def statuses(conditions: list[dict[str, Any]]) -> dict[str, str]:
    return {condition["condition"]: condition["status"] for condition in conditions}


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("bert", "BERT-like"),
        ("distilbert", "DistilBERT-like"),
        ("gpt2", "GPT-2-like"),
        ("llama", "LLaMA-like"),
    ],
)
def test_every_family(run: Any, run_json: Any, kind: str, title: str) -> None:
    rng = np.random.default_rng(0)
    kv = 2 if kind == "llama" else 4
    made = [random_weights(rng, 12, 4, kv=kv, gated=kind == "llama") for _ in range(2)]
    path = write(Path("x.safetensors"), stored(kind, made))
    code, document = run_json("inspect", path, "--heads", 4)
    assert code == 0
    assert (document["naming"], document["prefix"], document["heads_from"]) == (title, "", "--heads")
    assert document["layers_present"] == [layer["layer"] for layer in document["layers"]] == [0, 1]
    for layer, weights in zip(document["layers"], made, strict=True):
        assert (layer["width"], layer["head_size"], len(layer["heads"])) == (12, 3, 4)
        for i, head in enumerate(layer["heads"]):
            W_q, W_k = weights["W_q"][i].astype(float), weights["W_k"][head["kv_head"]].astype(float)
            inside(head["norms"]["bilinear"], float(np.linalg.norm(W_k.T @ W_q, 2) / 3**0.5))
            assert head["ranks"]["W_q"]["rank"] == 3
        inside(layer["norms"]["W_1"], float(np.linalg.norm(weights["W_1"].astype(float), 2)))
        assert (layer["norms"]["W_gate"] is None) == (kind != "llama")
    done = run("inspect", path, "--heads", 4)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        f"x.safetensors: {title} names; inspected layers: 0-1\nwidth d = 12, 4 heads of size s = 3"
    )
    assert max(map(len, done.out.split("all of this is about")[0].splitlines())) <= 165
    topics = {remark["topic"]: remark["covered"] for remark in document["remarks"]}
    assert topics["layer norm"] is False
    assert topics["position embeddings"] is True
    if kind == "llama":
        assert topics["rotary positions"] is topics["gated MLP (silu)"] is False
        assert statuses(document["layers"][0]["conditions"])["mlp"] == document["stack"]["status"] == "not covered"
        assert "2 key and value heads" in done.out
    else:
        assert topics["activation gelu"] is False
        assert topics["key bias"] is topics["query bias"] is topics["value and output biases"] is True
        assert "softmax does not see it" in done.out
        assert "GELU's slope reaches 1.13" in done.out


def test_ranks_can_be_checked_from_the_document_alone(run_json: Any) -> None:
    made = random_weights(np.random.default_rng(1), 8, 2)
    made["W_k"][1][3] = made["W_k"][1][0] * 2
    path = write(Path("x.safetensors"), stored("bert", [made]))
    _, document = run_json("inspect", path, "--heads", 2)
    (layer,) = document["layers"]
    assert statuses(layer["conditions"])["full-rank"] == "fails"
    for i, head in enumerate(layer["heads"]):
        for name, proof in head["ranks"].items():
            M, _ = dyadic(made[name][i].astype(float))
            rows = M.tolist()
            minor = [[int(rows[a][b]) % proof["prime"] for b in proof["columns"]] for a in proof["rows"]]
            assert len(minor) == proof["rank"] == (3 if (name, i) == ("W_k", 1) else 4)
            assert int(nmod_mat(len(minor), len(minor), [x for row in minor for x in row], proof["prime"]).det()) != 0
            assert len(proof["relations"]) == proof["full"] - proof["rank"]
            for relation in proof["relations"]:
                weights = {int(a): int(c, 16) for a, c in relation.items()}
                assert weights.get(({*range(4)} - {*proof["rows"]}).pop())
                assert all(sum(c * int(rows[a][b]) for a, c in weights.items()) == 0 for b in range(8))


def test_conditions_that_fail_say_by_how_much(run: Any, run_json: Any) -> None:
    made = random_weights(np.random.default_rng(2), 8, 2)
    large = {name: value * np.float32(20) for name, value in made.items()}
    path = write(Path("x.safetensors"), stored("bert", [large]))
    code, document = run_json("inspect", path, "--heads", 2)
    assert code == 0
    found = statuses(document["layers"][0]["conditions"])
    assert found == {
        "full-rank": "holds",
        "small-heads": "holds",
        "mlp": "fails",
        "attention": "fails",
        "attention-at-0": "fails",
    }
    assert document["stack"]["status"] == "fails"
    text = run("inspect", path, "--heads", 2).out
    (mlp,) = (c for c in document["layers"][0]["conditions"] if c["condition"] == "mlp")
    assert Fraction(mlp["found"]["lower"]) > 100
    assert f"fails, {mlp['found']['lower'][:3]} times too large" in text
    assert "at no length, already at R = 0" in text


def test_radius_and_relative_error(run_json: Any) -> None:
    path = network(Path("x.safetensors"), "gpt2", 8, 2)
    _, plain = run_json("inspect", path, "--heads", 2)
    _, other = run_json("inspect", path, "--heads", 2, "--radius", "5/2", "--relative-error", "1e-6")
    assert (other["radius"], other["relative_error"]) == ("5/2", "1/1000000")

    def attention(document: Any) -> Any:
        (found,) = (c for c in document["layers"][0]["conditions"] if c["condition"] == "attention")
        return found["found"]

    assert Fraction(attention(other)["lower"]) > Fraction(attention(plain)["upper"])
    for document, ratio in ((plain, 1e-3), (other, 1e-6)):
        norm = document["layers"][0]["norms"]["W_1"]
        assert float(Fraction(norm["upper"]) / Fraction(norm["lower"])) - 1 <= ratio * 1.001


@pytest.mark.parametrize(
    ("text", "layers"), [("0", [0]), ("1-2", [1, 2]), ("2-9", [2, 3]), ("0-3", [0, 1, 2, 3]), ("3-3", [3])]
)
def test_layers(run_json: Any, text: str, layers: list[int]) -> None:
    path = network(Path("x.safetensors"), "bert", 4, 2, layers=4)
    _, document = run_json("inspect", path, "--heads", 2, "--layers", text)
    assert [layer["layer"] for layer in document["layers"]] == layers
    assert document["layers_present"] == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["4", "5-9", "2-1", "a", "1-", "-1", "1.5", "0-1-2", ""])
def test_layers_that_are_refused(refused: Any, text: str) -> None:
    path = network(Path("x.safetensors"), "bert", 4, 2, layers=4)
    assert "--layers: expected " in refused(4, "inspect", path, "--heads", 2, f"--layers={text}")


def test_layers_with_gaps_in_their_numbers(run: Any) -> None:
    tensors = stored("bert", [random_weights(np.random.default_rng(3), 4, 2) for _ in range(4)])
    kept = {name: value for name, value in tensors.items() if "layer.1." not in name}
    done = run("inspect", write(Path("x.safetensors"), kept), "--heads", 2)
    assert "inspected layers: 0, 2, 3\n" in done.out


def test_a_mapping_and_a_configuration(run_json: Any) -> None:
    made = random_weights(np.random.default_rng(4), 6, 3)
    tensors = {f"blocks.0.{role}": made[role].reshape(6, 6) for role in ("W_q", "W_k", "W_v")}
    tensors |= {"blocks.0.out": made["W_o"].transpose(1, 0, 2).reshape(6, 6).T, "blocks.0.gamma": np.ones(6)}
    write(Path("x.safetensors"), tensors)
    mapping = {role: "blocks.{layer}." + role for role in ("W_q", "W_k", "W_v")}
    mapping |= {"format": "promptcert-mapping/1", "W_o": "blocks.{layer}.out", "transposed": ["W_o"], "scaled": False}
    Path("m.json").write_text(json.dumps(mapping))
    Path("config.json").write_text(json.dumps({"n_head": 3}))
    code, document = run_json("inspect", "x.safetensors", "--mapping", "m.json")
    assert code == 0
    assert (document["naming"], document["heads_from"]) == ("m.json", "config.json")
    head = document["layers"][0]["heads"][2]
    inside(head["norms"]["W_q"], float(np.linalg.norm(made["W_q"][2].astype(float), 2)))
    inside(head["norms"]["value"], float(np.linalg.norm(made["W_o"][2].astype(float) @ made["W_v"][2], 2)))
    topics = {remark["topic"]: remark for remark in document["remarks"]}
    assert topics["other tensors"]["tensors"] == ["blocks.0.gamma"]
    assert topics["MLP"]["covered"] is False
    assert "scores without 1/√s" in topics


def test_what_is_found_beside_the_weights(run_json: Any) -> None:
    """Norms of queries, buffers, token types, an activation from the configuration."""
    tensors = stored("llama", [random_weights(np.random.default_rng(5), 4, 2, gated=True)])
    tensors |= {f"model.layers.0.self_attn.{part}_norm.weight": np.ones(2) for part in "qk"}
    tensors |= {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(1), "model.norm.weight": np.ones(4)}
    tensors |= {"model.layers.0.self_attn.q_proj.bias": np.ones(4), "model.layers.0.self_attn.k_proj.bias": np.ones(4)}
    write(Path("x.safetensors"), tensors)
    topics = {r["topic"]: r for r in run_json("inspect", "x.safetensors")[1]["remarks"]}
    assert len(topics["normalized queries or keys"]["tensors"]) == 2
    assert topics["outside of the layers"]["tensors"] == ["model.norm.weight"]
    assert topics["key bias"]["covered"] is topics["query bias"]["covered"] is False
    assert not any("inv_freq" in name for remark in topics.values() for name in remark["tensors"])
    bert = stored("bert", [random_weights(np.random.default_rng(5), 4, 2)])
    bert["embeddings.token_type_embeddings.weight"] = np.ones((2, 4))
    bert["embeddings.position_ids"] = np.arange(3)
    write(Path("x.safetensors"), bert)
    Path("config.json").write_text(json.dumps({"num_attention_heads": 2, "hidden_act": "relu"}))
    topics = {r["topic"]: r for r in run_json("inspect", "x.safetensors")[1]["remarks"]}
    assert topics["token type embeddings"]["covered"] is topics["activation relu"]["covered"] is True


def test_refusals(refused: Any) -> None:
    path = network(Path("x.safetensors"), "bert", 8, 4)
    assert "expected the option --heads N" in refused(4, "inspect", path)
    assert "with 3 heads (--heads)" in refused(4, "inspect", path, "--heads", 3)
    assert "2 key and value heads" in refused(4, "inspect", path, "--heads", 4, "--kv-heads", 2)
    assert "missing.safetensors: cannot be read" in refused(4, "inspect", "missing.safetensors")
    assert "m.json: cannot be read" in refused(4, "inspect", path, "--mapping", "m.json")
    for option, why in (
        (("--radius", "-1"), "--radius: expected a number of at least 0, found -1"),
        (("--radius", "x"), "--radius: expected a rational number"),
        (("--relative-error", "0"), "--relative-error: relative error: expected between 2^-30 and 1/2, found 0"),
        (("--relative-error", "1e-999999"), "--relative-error: expected a rational number of moderate size"),
    ):
        assert why in refused(4, "inspect", path, "--heads", 4, *(f"{option[0]}={value}" for value in option[1:]))
    made = stored("bert", [random_weights(np.random.default_rng(6), 8, 4)])
    made["encoder.layer.0.attention.self.value.weight"][3, 5] = np.nan
    write(path, made)
    assert "value.weight: expected finite numbers, found nan at [3, 5]" in refused(4, "inspect", path, "--heads", 4)


def test_layers_of_two_widths(refused: Any) -> None:
    rng = np.random.default_rng(7)
    made = [random_weights(rng, d, 2) for d in (4, 6)]
    path = write(Path("x.safetensors"), stored("bert", made))
    assert "layer 1: expected the width 4 of layer 0, found 6" in refused(4, "inspect", path, "--heads", 2)


def test_time_limit(refused: Any) -> None:
    path = network(Path("x.safetensors"), "bert", 96, 4, layers=6)
    assert "--max-seconds 0.02" in refused(3, "inspect", path, "--heads", 4, "--max-seconds", "0.02")


def test_a_norm_without_a_proof_is_no_answer(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proof(*arguments: object, **options: object) -> None:
        raise ArithmeticError("no proof found for a norm of about 3")

    monkeypatch.setattr(inspect, "measure", no_proof)
    path = network(Path("x.safetensors"), "bert", 4, 2)
    assert "layer 0: no proof found for a norm of about 3" in refused(3, "inspect", path, "--heads", 2)


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Every head is a step, and the layer one more."""
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    path = network(Path("x.safetensors"), "bert", 8, 2)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert run("inspect", path, "--heads", 2).code == 0
    assert "3/3" in screen.getvalue()


@pytest.mark.parametrize("digits", [1, 4, 10])
def test_decimals_are_rounded_outwards(digits: int) -> None:
    for x in (fmpq(1, 3), fmpq(999999, 1000000), fmpq(10) ** 60, fmpq(7) ** 90, fmpq(1, 7**40), fmpq(9995), fmpq(1)):
        low, high = (Fraction(decimal_bound(x, up, digits)) for up in (False, True))
        value = Fraction(int(x.p), int(x.q))
        assert low <= value <= high
        assert high - low <= value * Fraction(1, 10 ** (digits - 1))


def test_width_384_with_12_heads(run_json: Any) -> None:
    """A layer of the size of a small pretrained network, in seconds."""
    rng = np.random.default_rng(384)
    made = random_weights(rng, 384, 12, r=1536)
    path = write(Path("x.safetensors"), stored("bert", [made]))
    start = time.monotonic()
    code, document = run_json("inspect", path, "--heads", 12)
    assert time.monotonic() - start < 60
    assert code == 0
    (layer,) = document["layers"]
    assert len(layer["heads"]) == 12
    for head in layer["heads"]:
        i = head["head"]
        W_q, W_k, W_v, W_o = (made[name][i].astype(float) for name in ("W_q", "W_k", "W_v", "W_o"))
        inside(head["norms"]["W_v"], float(np.linalg.norm(W_v, 2)))
        inside(head["norms"]["bilinear"], float(np.linalg.norm(W_k.T @ W_q, 2) / 32**0.5))
        inside(head["norms"]["value"], float(np.linalg.norm(W_o @ W_v, 2)))
        assert all((proof["rank"], proof["full"]) == (32, 32) for proof in head["ranks"].values())
    inside(layer["norms"]["W_1"], float(np.linalg.norm(made["W_1"].astype(float), 2)))
    found = statuses(layer["conditions"])
    assert found["full-rank"] == found["small-heads"] == "holds"
    assert found["mlp"] == found["attention"] == "fails"
