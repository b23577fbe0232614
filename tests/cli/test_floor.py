"""``promptcert floor`` and the one-query and several-queries answers of ``decide``, as a user sees them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from constructions.files import read_prompt

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
LAYER, PAIR = EXAMPLES / "layer.json", EXAMPLES / "pair.json"


def loss(document: dict[str, Any]) -> tuple[Fraction, Fraction]:
    return Fraction(document["loss"]["lower"]), Fraction(document["loss"]["upper"])


def test_one_length_and_its_certificate(run_json, run, tmp_path: Path) -> None:
    code, document = run_json("floor", LAYER, PAIR, "--prompt-length", "2", "--out", tmp_path / "proofs")
    assert (code, document["prompt_length"], document["curve"]) == (0, 2, None)
    lower, upper = loss(document)
    assert 0 < lower <= upper <= lower * (1 + Fraction(1, 10**7))
    assert 0 < Fraction(document["output_loss_lower"]) < lower
    assert run("check", document["certificate"]).code == 0


def test_curve_falls_to_the_limit(run_json, tmp_path: Path) -> None:
    code, document = run_json("floor", LAYER, PAIR, "--curve", "3", "--out", tmp_path / "proofs")
    assert (code, document["prompt_length"]) == (0, None)
    assert [point["prompt_length"] for point in document["curve"]] == [1, 2, 3]
    bounds = [loss(point) for point in document["curve"]]
    assert all(later[0] <= sooner[1] for sooner, later in pairwise(bounds))
    assert loss(document)[0] <= bounds[-1][1]
    assert len(document["further_certificates"]) == 3


def test_the_prompt_is_written(run_json, tmp_path: Path) -> None:
    target = tmp_path / "prompt.json"
    code, document = run_json("floor", LAYER, PAIR, "--prompt-length", "4", "--prompt", target, "--out", tmp_path)
    assert (code, document["prompt"]) == (0, str(target))
    box = read_prompt(target)
    assert (box.P.shape, box.radius) == ((3, 4), 0)


def test_several_logit_vectors_have_a_lower_bound_only(run_json, tmp_path: Path) -> None:
    code, document = run_json(
        "floor", EXAMPLES / "identity.json", EXAMPLES / "two-queries.json", "--prompt-length", "1", "--out", tmp_path
    )
    assert code == 0
    assert document["loss"]["upper"] is None
    assert len(document["further_certificates"]) == 1


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([{"heads": [{"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}]}] * 2, "2 layers"),
        ([{"heads": [{"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}] * 2}], "2 heads"),
        ([{"heads": [{"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}], "attention": "hardmax"}], "hardmax"),
        (
            [{"heads": [{"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}], "W_1": [[1]], "W_2": [[-1]]}],
            "infinitely many preimages",
        ),
    ],
)
def test_undecided_names_why(run_json, inputs, layers: list[Any], why: str) -> None:
    model, data = inputs.model(layers=layers), inputs.data({"X": [[1, 2]], "y": [0]})
    code, document = run_json("floor", model, data)
    assert (code, document["loss"], document["certificate"]) == (2, None, None)
    assert why in document["reason"]


def test_embedding_fixes_the_length(run_json, inputs) -> None:
    layers = [{"heads": [{"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}]}]
    model, data = inputs.model(layers=layers, E=[[0, 1, 0, 0]]), inputs.data({"X": [[1, 2]], "y": [0]})
    code, document = run_json("floor", model, data, "--out", inputs.folder)
    assert (code, document["prompt_length"]) == (0, 2)
    code, document = run_json("floor", model, data, "--prompt-length", "3")
    assert code == 4
    assert "E fixes it to 2" in document["error"]


def test_decide_one_query_with_least_length(run_json, tmp_path: Path) -> None:
    files = EXAMPLES / "scalar.json", EXAMPLES / "one-example.json"
    target = tmp_path / "prompt.json"
    code, document = run_json("decide", *files, "--out", tmp_path, "--prompt", target)
    assert (code, document["verdict"], document["argument"]) == (0, "memorizable", "one-query")
    assert document["minimal_prompt_length"] == 41
    assert read_prompt(target).P.shape == (1, 41)
    code, document = run_json("decide", *files, "--out", tmp_path, "--prompt-length", "40")
    assert (code, document["verdict"], document["minimal_prompt_length"]) == (0, "unmemorizable", 41)


def test_decide_several_queries(run_json, tmp_path: Path) -> None:
    model, target = EXAMPLES / "identity.json", tmp_path / "prompt.json"
    code, document = run_json("decide", model, EXAMPLES / "two-queries.json", "--out", tmp_path, "--prompt", target)
    assert (code, document["verdict"], document["argument"]) == (0, "memorizable", "several-queries")
    box = read_prompt(target)
    assert box.P.shape == (2, 2)
    assert box.radius > 0
    code, document = run_json("decide", model, EXAMPLES / "two-queries-crossed.json", "--out", tmp_path)
    assert (code, document["verdict"], document["argument"]) == (0, "unmemorizable", "several-queries")
