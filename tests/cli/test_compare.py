"""``promptcert compare``: three ways to memorize, in text and as a document, with their certificates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError

Files = tuple[Path, Path]


def written(document: Any) -> list[str]:
    return [Path(path).name for path in document["certificates"]]


def identity(d: int) -> list[list[int]]:
    return [[int(i == j) for j in range(d)] for i in range(d)]


def plain_head(d: int) -> Any:
    return {"W_q": identity(d), "W_k": identity(d), "W_v": identity(d)}


def with_units(head: Any, d: int, n: int) -> Any:
    """A layer with n hidden units that do nothing yet."""
    return {"heads": [head], "W_1": [[0] * d] * n, "W_2": [[0] * n] * d}


def skew() -> Any:
    """W_q = J: contexts [−x, x] are answered with zero."""
    return {"W_q": [[0, 1], [-1, 0]], "W_k": identity(2), "W_v": identity(2)}


def two_examples(inputs: Any, units: int = 0) -> Files:
    """A prompt of two tokens memorizes them, one token does not."""
    layer = with_units(plain_head(2), 2, units) if units else {"heads": [plain_head(2)]}
    first, second = {"X": [[-1, 1], [0, 0]], "y": [2, 0.2]}, {"X": [[0, 0], [-1, 1]], "y": [0.2, 2]}
    return inputs.model(layers=[layer]), inputs.data(first, second)


def empty_bound(inputs: Any) -> Files:
    """The rank bound says two tokens, and no prompt of any length memorizes."""
    first, second = {"X": [[0, 0], [-1, 1]], "y": [-1, 1]}, {"X": [[-1, 1], [0, 0]], "y": [1, 1]}
    return inputs.model(layers=[with_units(skew(), 2, 2)]), inputs.data(first, second)


def test_all_three_are_numbers(run, run_json, inputs, validate) -> None:
    model, data = two_examples(inputs, units=3)
    code, document = run_json("compare", model, data)
    assert code == 0
    assert (document["queries"], document["width"]) == (2, 2)
    prompt = document["prompt"]
    assert prompt["verdict"] == "memorizable"
    assert (prompt["tokens_at_least"], prompt["tokens_at_most"]) == (2, 2)
    assert (prompt["parameters_at_least"], prompt["parameters_at_most"]) == (4, 4)
    low_rank = document["low_rank"]
    assert low_rank == {"possible": True, "reason": None, "rank": 1, "columns": 2, "parameters": 2 + 4 + 4}
    assert document["full"]["parameters"] == 4 * 4 + 3 * 2 * 2 + 3 + 2
    assert {"data-update.cert.json", "data-point.cert.json"} <= set(written(document))
    for path in document["certificates"]:
        validate("certificate", json.loads(Path(path).read_text(encoding="ascii")))
        assert run("check", path).code == 0

    done = run("compare", model, data)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "parameters that memorize 2 queries of width 2"
    assert "exactly 2 tokens" in done.out
    assert "rank 1 in W_1, n entries of b_1, n columns of W_2 (n = 2)" in done.out
    assert done.out.count("certificate: ") == done.out.count("  kernel: ") == len(document["certificates"])


def test_unmemorizable_data_have_no_prompt(run, run_json, inputs) -> None:
    """The update does what no prompt does."""
    code, document = run_json("compare", *empty_bound(inputs))
    assert code == 0
    assert document["prompt"] == {
        "verdict": "unmemorizable",
        "tokens_at_least": None,
        "tokens_at_most": None,
        "parameters_at_least": None,
        "parameters_at_most": None,
    }
    assert document["low_rank"]["parameters"] == 10
    assert written(document) == ["data.cert.json", "data-update.cert.json"]
    assert "no prompt of any length memorizes (several-queries)" in run("compare", *empty_bound(inputs)).out


@pytest.mark.parametrize("name", ["contradictory", "cone", "closeness", "out_of_range"])
def test_other_unmemorizable_data(run_json, inputs, name: str) -> None:
    code, document = run_json("compare", *getattr(inputs, name)())
    assert (code, document["prompt"]["verdict"]) == (0, "unmemorizable")
    assert document["prompt"]["tokens_at_least"] is None
    assert "data.cert.json" in written(document)


def test_contradictory_data_have_no_update_either(run_json, inputs) -> None:
    _, data = inputs.contradictory()
    model = inputs.model(layers=[with_units(plain_head(2), 2, 2)])
    low_rank = run_json("compare", model, data)[1]["low_rank"]
    assert low_rank["possible"] is False
    assert "no MLP tells them apart" in low_rank["reason"]
    assert low_rank["parameters"] is low_rank["rank"] is low_rank["columns"] is None


def test_no_hidden_units(run, run_json, inputs) -> None:
    model, data = two_examples(inputs)
    code, document = run_json("compare", model, data)
    assert code == 0
    assert document["low_rank"]["reason"] == "hidden units: expected at least 2 (one for each query), found 0"
    assert document["full"]["parameters"] == 16
    assert "hidden units: expected at least 2" in " ".join(run("compare", model, data).out.split())


def test_one_example_has_an_exact_number(run_json, inputs) -> None:
    """Width 1, one query: the formula of the prompt law."""
    head = {"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}
    model, data = inputs.model(layers=[with_units(head, 1, 1)]), inputs.data({"X": [[3, 1]], "y": [2]})
    code, document = run_json("compare", model, data)
    assert code == 0
    prompt = document["prompt"]
    assert prompt["tokens_at_least"] == prompt["tokens_at_most"] > 1
    assert "data-shorter.cert.json" in written(document)
    assert document["low_rank"]["parameters"] == 4


def test_a_prompt_is_not_needed(run, run_json, inputs) -> None:
    """The layer meets the targets already; a prompt of one token or more would need two. Zero is the number."""
    model = inputs.model(layers=[{"heads": [skew()]}])
    data = inputs.data({"X": [[1, 1], [0, 0]], "y": [2, 0]}, {"X": [[0, 0], [1, 1]], "y": [0, 2]})
    _, document = run_json("compare", model, data)
    prompt = document["prompt"]
    assert (prompt["tokens_at_least"], prompt["tokens_at_most"]) == (0, 0)
    assert "none needed: the layer meets every target without a prompt" in run("compare", model, data).out


def test_bounds_that_stay_open(run, run_json, inputs) -> None:
    """Three dependent logit vectors, for which no theorem decides: but fewer than three tokens are excluded."""
    rows = [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]
    model = inputs.model(layers=[{"heads": [{"W_q": rows, "W_k": identity(3), "W_v": identity(3)}]}])
    data = inputs.data(*({"X": [[-x, x] for x in e], "y": [3 * x for x in e]} for e in identity(3)))
    code, document = run_json("compare", model, data)
    assert code == 2
    assert document["prompt"] == {
        "verdict": "undecided",
        "tokens_at_least": 3,
        "tokens_at_most": None,
        "parameters_at_least": 9,
        "parameters_at_most": None,
    }
    assert written(document) == ["data-rank-bound.cert.json"]
    done = run("compare", model, data)
    assert done.code == 2
    assert "at least 3 tokens; undecided whether one does" in done.out
    assert "≥ 9" in done.out


def test_queries_asked_twice_count_once(run_json, inputs) -> None:
    model, _ = two_examples(inputs, units=2)
    first, second = {"X": [[-1, 1], [0, 0]], "y": [2, 0.2]}, {"X": [[0, 0], [-1, 1]], "y": [0.2, 2]}
    document = run_json("compare", model, inputs.data(first, second, first))[1]
    assert document["queries"] == 2
    assert document["low_rank"]["parameters"] == 10


# -- models that it says little about ---------------------------------------------------------------------------------


def depth_2(inputs: Any) -> Files:
    model, data = two_examples(inputs, units=2)
    return inputs.model(layers=json.loads(model.read_text())["layers"] * 2), data


def hardmax(inputs: Any) -> Files:
    model, data = two_examples(inputs, units=2)
    (layer,) = json.loads(model.read_text())["layers"]
    return inputs.model(layers=[{**layer, "attention": "hardmax"}]), data


def piecewise(inputs: Any) -> Files:
    model, data = two_examples(inputs, units=2)
    (layer,) = json.loads(model.read_text())["layers"]
    step = [{"from": None, "slope": 0, "intercept": 0}, {"from": "1/2", "slope": 0, "intercept": 1}]
    return inputs.model(layers=[{**layer, "units": [step, step]}]), data


def embedding(inputs: Any) -> Files:
    model, data = two_examples(inputs, units=2)
    layers = json.loads(model.read_text())["layers"]
    return inputs.model(layers=layers, E=[[0, 0, 1], [0, 1, 0]]), data


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (depth_2, "the model has 2 layers"),
        (hardmax, "hardmax attention"),
        (piecewise, "expected ReLU"),
        (embedding, "positional embedding"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_undecided_models(run_json, inputs, make: Callable[[Any], Files], why: str) -> None:
    code, document = run_json("compare", *make(inputs))
    assert code == (0 if document["prompt"]["verdict"] != "undecided" else 2)
    assert document["prompt"]["tokens_at_most"] is None
    assert document["low_rank"]["possible"] is False
    assert why in document["low_rank"]["reason"]
    assert document["full"]["parameters"] > 0
    if make is not embedding:
        assert document["certificates"] == []


def test_depth_2_counts_all_layers(run_json, inputs) -> None:
    one = run_json("compare", *two_examples(inputs, units=2))[1]["full"]["parameters"]
    assert run_json("compare", *depth_2(inputs))[1]["full"]["parameters"] == 2 * one


# -- bad input --------------------------------------------------------------------------------------------------------


def test_bad_input(refused, inputs) -> None:
    model, data = two_examples(inputs)
    assert "no-such.json" in refused(4, "compare", "no-such.json", data)
    line = refused(4, "compare", inputs.model(3, name="wide.json"), data)
    assert f"{data}: examples[0].X: expected 3 rows, the width of the model, found 2" in line
    assert "promptcert-data/1" in refused(4, "compare", model, model)


def test_out(run_json, inputs) -> None:
    code, document = run_json("compare", *two_examples(inputs, units=2), "--out", inputs.folder / "proofs")
    assert code == 0
    assert all(Path(path).parent.name == "proofs" and Path(path).exists() for path in document["certificates"])


def test_max_seconds(refused, inputs) -> None:
    assert "--max-seconds" in refused(3, "compare", *two_examples(inputs), "--max-seconds", "1e-5")


def test_documents_are_closed(validate, run_json, inputs) -> None:
    document = run_json("compare", *two_examples(inputs, units=2))[1]
    for part in ("prompt", "low_rank", "full"):
        with pytest.raises(ValidationError):
            validate("compare", {**document, part: {**document[part], "more": 1}})
        with pytest.raises(ValidationError):
            validate("compare", {name: value for name, value in document.items() if name != part})
