"""``promptcert decide``: every answer, its document, its exit code and its files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from constructions.numbers import exponential
from verify import kernel_process

UNMEMORIZABLE = {
    "contradictory": "contradictory-data",
    "cone": "cone",
    "closeness": "closeness",
    "out_of_range": "out-of-range",
}


@pytest.mark.parametrize("name", UNMEMORIZABLE)
def test_unmemorizable_in_text_and_json(run, run_json, inputs, validate, name: str) -> None:
    model, data = getattr(inputs, name)()
    done = run("decide", model, data)
    assert (done.code, done.err) == (0, "")
    first, *facts = done.out.splitlines()
    assert first == f"unmemorizable (argument: {UNMEMORIZABLE[name]})"
    told = dict(fact.strip().split(": ", 1) for fact in facts)
    assert told["why"].startswith("example 0, token ")
    assert told["without a prompt"] == "the layer does not meet the targets"
    assert told["certificate"] == "data.cert.json"
    assert told["kernel"].startswith("unmemorizable-pair: no prompt of any length >= 1 makes this layer")
    assert run("check", "data.cert.json").code == 0

    code, document = run_json("decide", model, data)
    assert code == 0
    assert document["verdict"] == "unmemorizable"
    assert document["argument"] == UNMEMORIZABLE[name]
    assert document["without_prompt"] is False
    assert document["certificate"] == "data.cert.json"
    validate("certificate", json.loads(Path("data.cert.json").read_text(encoding="ascii")))


def depth_2(inputs: Any) -> tuple[Path, Path]:
    model, data = inputs.contradictory()
    layers = json.loads(model.read_text())["layers"]
    return inputs.model(layers=layers * 2), data


def hardmax(inputs: Any) -> tuple[Path, Path]:
    model, data = inputs.contradictory()
    layers = json.loads(model.read_text())["layers"]
    return inputs.model(layers=[{**layers[0], "attention": "hardmax"}]), data


def units(inputs: Any) -> tuple[Path, Path]:
    model, data = inputs.out_of_range()
    layer = json.loads(model.read_text())["layers"][0]
    step = [{"from": None, "slope": 0, "intercept": 0}, {"from": "1/2", "slope": 0, "intercept": 1}]
    return inputs.model(layers=[{**layer, "units": [step]}]), data


def no_shared_token(inputs: Any) -> tuple[Path, Path]:
    return inputs.undecided()


UNDECIDED = [
    (depth_2, "2 layers"),
    (hardmax, "hardmax"),
    (units, "piecewise-linear"),
    (no_shared_token, "no short prompt was found"),
]


@pytest.mark.parametrize(("make", "why"), UNDECIDED, ids=lambda value: getattr(value, "__name__", ""))
def test_undecided_names_why(run, run_json, inputs, make: Callable[[Any], tuple[Path, Path]], why: str) -> None:
    model, data = make(inputs)
    before = sorted(inputs.folder.iterdir())
    done = run("decide", model, data)
    assert (done.code, done.err) == (2, "")
    assert done.out.startswith("undecided\n  why: ")
    assert why in done.out
    code, document = run_json("decide", model, data, "--out", inputs.folder / "never")
    assert code == 2
    assert document["verdict"] == "undecided"
    assert why in document["reason"]
    assert document["argument"] is document["certificate"] is document["infimum"] is None
    assert sorted(inputs.folder.iterdir()) == before


def test_without_prompt_true_beside_undecided(run, run_json, inputs) -> None:
    """W_v = 0 leaves the identity map; prompts are not decided about under hardmax."""
    head = {"W_q": [[1, 0], [0, 1]], "W_k": [[1, 0], [0, 1]], "W_v": [[0, 0], [0, 0]]}
    model = inputs.model(layers=[{"heads": [head], "attention": "hardmax"}])
    data = inputs.data({"X": [[1, 0], [2, 1]], "y": [0, 1]})
    code, document = run_json("decide", model, data)
    assert (code, document["without_prompt"]) == (2, True)
    assert "  without a prompt: the layer already meets every target\n" in run("decide", model, data).out


def test_without_prompt_true_beside_unmemorizable(run_json, inputs) -> None:
    """Attention is the mean here; each target is what its own context gives, and any prompt pulls both off."""
    head = {"W_q": [[0, 0], [0, 0]], "W_k": [[1, 0], [0, 1]], "W_v": [[1, 0], [0, 1]]}
    model = inputs.model(layers=[{"heads": [head]}])
    data = inputs.data({"X": [[1, 0], [2, 1]], "y": ["1/2", 2.5]}, {"X": [[3, 0], [4, 1]], "y": [1.5, "7/2"]})
    code, document = run_json("decide", model, data)
    assert (code, document["verdict"], document["argument"]) == (0, "unmemorizable", "closeness")
    assert document["without_prompt"] is True


@pytest.mark.parametrize("why", ["embedding", "depth"])
def test_without_prompt_not_determined(run, run_json, inputs, why: str) -> None:
    model, data = inputs.contradictory()
    if why == "embedding":
        inputs.model(E=[[0, 0, 0], [0, 0, 0]])
    else:
        depth_2(inputs)
    assert run_json("decide", model, data)[1]["without_prompt"] is None
    assert "  without a prompt: not determined\n" in run("decide", model, data).out


def test_targets_for_every_token(run_json, inputs) -> None:
    """Two equal columns of one input are two queries; without a mask they see the same context."""
    model = inputs.model()
    data = inputs.data({"X": [[1, 1], [2, 2]], "Y": [[0, 1], [0, 0]]})
    code, document = run_json("decide", model, data)
    assert (code, document["argument"]) == (0, "contradictory-data")
    assert "example 0, token 0 and example 0, token 1" in document["reason"]


def test_causal_mask_tells_equal_tokens_apart(run_json, inputs, validate) -> None:
    model = inputs.model(causal=True)
    data = inputs.data({"X": [[1, 1], [2, 2]], "Y": [[0, 1], [0, 0]]})
    _, document = run_json("decide", model, data)
    assert document["argument"] != "contradictory-data"
    contradictory = inputs.data({"X": [[1, 5], [2, 6]], "Y": [[0, 1], [0, 0]]}, {"X": [[1, 7], [2, 8]], "y": [0, 0]})
    assert run_json("decide", model, contradictory)[1]["argument"] != "contradictory-data"
    # what comes behind a token is not seen: the first tokens agree, their targets do not
    behind = inputs.data({"X": [[1, 5], [2, 6]], "Y": [[0, 1], [0, 0]]}, {"X": [[1, 7], [2, 8]], "Y": [[1, 1], [0, 0]]})
    code, document = run_json("decide", model, behind)
    assert (code, document["argument"]) == (0, "contradictory-data")
    certificate = json.loads(Path(document["certificate"]).read_text())
    validate("certificate", certificate)
    assert certificate["instance"]["layer"]["causal"] is True
    assert run_json("decide", inputs.model(), behind)[1]["argument"] != "contradictory-data"


def test_embedding_moves_tokens_apart_and_together(run_json, inputs, validate) -> None:
    """The prompt takes the first column of E; what the last two add makes the two inputs equal, or not."""
    inputs.data({"X": [[1, 0], [2, 1]], "y": [1, 0]}, {"X": [[1, 0], [2, 1]], "y": [0, 1]}, name="same.json")
    model = inputs.model(E=[[9, 1, 0], [9, 0, "1/2"]])
    code, document = run_json("decide", model, "same.json")
    assert (code, document["argument"], document["without_prompt"]) == (0, "contradictory-data", None)
    certificate = json.loads(Path(document["certificate"]).read_text())
    validate("certificate", certificate)
    assert certificate["instance"]["layer"]["E"] == {"den": 2, "num": [[18, 2, 0], [18, 0, 1]]}
    told = run_json("show", document["certificate"])[1]
    assert "no prompt of length 1 " in told["sentence"]


@pytest.mark.parametrize(("length", "code"), [(1, 4), (2, 0), (3, 0)])
def test_embedding_fixes_the_prompt_length(run, refused, inputs, length: int, code: int) -> None:
    _, data = inputs.contradictory()
    model = inputs.model(E=[[0, 0, 0, 0], [0, 0, 0, 0]])
    arguments = ("decide", model, data, "--prompt-length", length)
    if code == 4:
        assert "prompt length: E fixes it to 2, which exceeds the allowed 1" in refused(4, *arguments)
    else:
        assert run(*arguments).code == code


def test_prompt_length_without_embedding(run_json, inputs) -> None:
    """What no prompt of any length does, none of at most one token does."""
    code, document = run_json("decide", *inputs.cone(), "--prompt-length", 1)
    assert (code, document["verdict"]) == (0, "unmemorizable")


def test_prompt_file_only_where_there_is_a_prompt(run, run_json, inputs) -> None:
    done = run("decide", *inputs.cone(), "--prompt", "prompt.json")
    assert done.code == 0
    assert done.err == "no prompt written to prompt.json: the data are unmemorizable\n"
    assert not Path("prompt.json").exists()


def test_out_folder_is_made(run_json, inputs) -> None:
    _, document = run_json("decide", *inputs.cone(), "--out", "new/deep")
    assert document["certificate"] == str(Path("new/deep/data.cert.json"))
    assert Path("new/deep/data.cert.json").is_file()
    assert not Path("data.cert.json").exists()


def test_out_file(run_json, inputs) -> None:
    _, document = run_json("decide", *inputs.cone(), "--out", "mine.json")
    assert document["certificate"] == "mine.json"
    assert sorted(path.name for path in inputs.folder.iterdir()) == ["data.json", "mine.json", "model.json"]


@pytest.mark.parametrize("out", ["model.json/certificates", "model.json/certificate.json", "missing/mine.json"])
def test_unwritable_out(refused, inputs, out: str) -> None:
    model, data = inputs.cone()
    before = {path: path.read_bytes() for path in inputs.folder.iterdir()}
    assert out in refused(4, "decide", model, data, "--out", out)
    assert {path: path.read_bytes() for path in inputs.folder.iterdir()} == before


def test_out_is_a_folder_named_like_a_file(refused, inputs) -> None:
    model, data = inputs.cone()
    Path("mine.json").mkdir()
    assert "mine.json: cannot be written" in refused(4, "decide", model, data, "--out", "mine.json")
    assert not list(Path("mine.json").iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write to: /proc")
def test_unwritable_current_folder_costs_only_the_file(run, inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = inputs.cone()
    monkeypatch.chdir("/proc")
    done = run("decide", model, data, "--format", "json")
    assert done.code == 0
    assert json.loads(done.out)["verdict"] == "unmemorizable"
    assert json.loads(done.out)["certificate"] is None
    assert done.err.startswith("no certificate written: data.cert.json: cannot be written: ")
    assert done.err.count("\n") == 1


def test_same_inputs_same_bytes(run, inputs) -> None:
    model, data = inputs.closeness()
    for name in ("one.json", "two.json"):
        assert run("decide", model, data, "--out", name).code == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


def test_sign_past_the_precision_cap_is_undecided(run_json, inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = inputs.cone()
    monkeypatch.setattr(exponential, "SIGN_PRECISION_CAP", 0)
    code, document = run_json("decide", model, data)
    assert (code, document["verdict"]) == (2, "undecided")
    assert "0 bits" in document["reason"]
    assert not Path("data.cert.json").exists()


def fake_kernel(verdict: str, code: int) -> tuple[str, ...]:
    return sys.executable, "-c", f"import sys; print(sys.argv[1] + ': {verdict}: so'); sys.exit({code})"


def test_kernel_that_says_false_is_a_disagreement(refused, inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_process, "COMMAND", fake_kernel("false", 1))
    line = refused(1, "decide", *inputs.cone())
    assert "disagree (a bug): proved here, but the kernel says false: so" in line


def test_kernel_over_its_limits_is_no_disagreement(refused, inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_process, "COMMAND", fake_kernel("over limits", 3))
    assert "the kernel is over its limits: so" in refused(3, "decide", *inputs.cone())


@pytest.mark.parametrize("command", [(sys.executable, "-c", "import sys; sys.exit(137)"), fake_kernel("true", 1)])
def test_kernel_that_does_not_answer(refused, inputs, monkeypatch: pytest.MonkeyPatch, command) -> None:
    """Killed, or contradicting itself: nothing is claimed."""
    monkeypatch.setattr(kernel_process, "COMMAND", command)
    assert "; nothing is claimed" in refused(3, "decide", *inputs.cone())


def test_max_seconds(refused, inputs) -> None:
    line = refused(3, "decide", *inputs.cone(), "--max-seconds", "1e-5")
    assert line == "error: not finished within --max-seconds 1e-05; nothing is claimed\n"
    assert not Path("data.cert.json").exists()


def test_enough_seconds(run, inputs) -> None:
    assert run("decide", *inputs.cone(), "--max-seconds", "600").code == 0
