"""``promptcert floor`` and the one-query answers of ``promptcert decide``: documents, exit codes, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq
from jsonschema import ValidationError
from law_instances import Instance, consistent, fold, instance_of, model_loss, random_instance, top
from test_one_example import needs

from constructions.data import Dataset, Example
from constructions.documents import write_json
from constructions.files import data_json, model_json, read_prompt
from constructions.numbers.rational import RationalMatrix, decimal
from constructions.single_layer.one_query import decide_one_query
from constructions.transformer import FeedForward, Transformer
from verify.kernel_process import check_files

Run = Callable[..., tuple[int, str, str]]
RunJson = Callable[..., tuple[int, dict[str, Any]]]
I1, I2 = RationalMatrix.identity(1), RationalMatrix.identity(2)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(model: Transformer, data: Dataset) -> tuple[str, str]:
    write_json("model.json", model_json(model))
    write_json("data.json", data_json(data))
    return "model.json", "data.json"


def files_of(instance: Instance) -> tuple[str, str]:
    return written(instance.model, instance.data)


def interval(document: dict[str, Any]) -> tuple[Fraction, Fraction]:
    lower, upper = Fraction(document["loss"]["lower"]), Fraction(document["loss"]["upper"])
    assert 0 <= lower <= upper
    return lower, upper


def fraction(x: fmpq) -> Fraction:
    return Fraction(int(x.p), int(x.q))


def test_one_length(command: Run, command_json: RunJson) -> None:
    files = files_of(random_instance(1, "plain", d=2, n=2))
    code, document = command_json("floor", *files, "--prompt-length", 3)
    assert code == 0
    assert document["prompt_length"] == 3
    assert document["curve"] is None
    assert document["reason"] is None
    assert document["prompt"] is None
    lower, upper = interval(document)
    assert upper - lower <= max(Fraction(1, 10**9), upper / 10**7)
    assert document["output_loss_lower"] == document["loss"]["lower"]  # no MLP: the outputs are what is measured
    assert check_files([document["certificate"]])[0].verdict == "true"

    code, text, _ = command("floor", *files, "--prompt-length", 3)
    assert code == 0
    assert "≤ 3" in text
    assert "kernel: prompt-law: the loss of all prompts of at most 3 tokens is at least the lower bound" in text


def test_a_curve(command: Run, command_json: RunJson) -> None:
    """Any length first, then 1 to N; with a folder every point has its certificate."""
    files = files_of(random_instance(3, "plain", d=2, n=3))
    code, document = command_json("floor", *files, "--curve", 4, "--out", "found")
    assert code == 0
    assert document["prompt_length"] is None
    assert [point["prompt_length"] for point in document["curve"]] == [1, 2, 3, 4]
    bounds = [interval(point) for point in [*document["curve"], document]]
    for k, (_, upper) in enumerate(bounds):
        assert all(lower <= upper for lower, _ in bounds[k:])
    paths = [document["certificate"], *document["further_certificates"]]
    assert len(paths) == 5
    assert sorted(paths) == sorted(str(path) for path in Path("found").iterdir())
    assert [answer.verdict for answer in check_files(paths)] == ["true"] * 5
    code, text, _ = command("floor", *files, "--curve", 4)
    assert [f"≤ {n}" in text for n in (1, 2, 3, 4, 5)] == [True] * 4 + [False]
    assert "any number" in text
    code, single = command_json("floor", *files)
    assert single["loss"] == document["loss"]


@pytest.mark.parametrize("kind", ["plain", "zero-query", "outside-row-space", "one-query"])
def test_the_prompt_of_the_upper_bound(command_json: RunJson, kind: str) -> None:
    """The file is a prompt of at most so many tokens whose loss, by the model, is within the printed bounds."""
    instance = random_instance(4, kind, d=2, n=2)
    code, document = command_json("floor", *files_of(instance), "--prompt-length", 5, "--prompt", "prompt.json")
    assert code == 0
    assert document["prompt"] == "prompt.json"
    box = read_prompt("prompt.json")
    assert box.radius == 0
    assert 1 <= box.P.shape[1] <= 5
    lower, upper = interval(document)
    assert lower <= fraction(top(model_loss(instance, box.P, 1024))) <= upper


def test_the_prompt_behind_an_embedding(command_json: RunJson) -> None:
    """The embedding is added to the prompt that is written: run through the whole model its loss is the printed
    one."""
    from constructions.numbers.balls import BallMatrix

    plain = random_instance(2, "plain", d=2, n=2)
    X = [RationalMatrix.of([[1, 0], [1, "1/2"]]), RationalMatrix.of([[0, 0], [1, "1/2"]])]
    E = RationalMatrix.of([[1, 2, 0, 3, -1], [0, 1, 1, -2, "1/2"]])
    model = Transformer(plain.model.layers, E)
    data = Dataset(tuple(Example(x, example.targets) for x, example in zip(X, plain.data.examples, strict=True)))
    files = written(model, data)
    code, document = command_json("floor", *files, "--prompt", "prompt.json")
    assert code == 0
    assert document["prompt_length"] == 3
    P = read_prompt("prompt.json").P
    assert P.shape == (2, 3)
    loss = Fraction(0)
    for example in data.examples:
        output = model(BallMatrix.embed(P.hstack(example.X)))
        target = example.targets.column(0)
        loss += sum(
            (fraction(top((output[i, 4] - y) * (output[i, 4] - y))) for i, y in enumerate(target)),  # type: ignore[index]
            Fraction(0),
        )
    lower, upper = interval(document)
    assert lower - Fraction(1, 10**9) <= loss <= upper + Fraction(1, 10**9)  # at flint's 53 bits
    assert command_json("floor", *files, "--prompt-length", 3)[1]["loss"] == document["loss"]
    for wrong in (("--prompt-length", 2), ("--curve", 3)):
        code, document = command_json("floor", *files, *wrong)
        assert code == 4
        assert "E fixes it to 3" in document["error"]


def test_a_prompt_that_is_too_long_is_not_written(command: Run) -> None:
    instance = needs(5000)
    code, _, err = command("floor", *files_of(instance), "--prompt", "prompt.json")
    assert code == 0
    assert err == "no prompt written to prompt.json: it has too many tokens\n"
    assert not Path("prompt.json").exists()


def test_outputs_behind_a_contractive_mlp(command_json: RunJson) -> None:
    """‖W_1‖‖W_2‖ = 1/4: outputs are off by at least (3/4)² of the loss before the MLP."""
    mlp = FeedForward(I2.scaled("1/2"), RationalMatrix.zeros(2, 1), I2.scaled("1/2"), RationalMatrix.zeros(2, 1))
    X = RationalMatrix.of([[1, 0], [0, 0]])
    instance = instance_of([0, 1], I2, [X, X.scaled(3)], [[2, 1], [-1, 1]], mlp=mlp)
    _, document = command_json("floor", *files_of(instance), "--prompt-length", 1)
    lower = Fraction(document["loss"]["lower"])
    assert lower > 0
    behind = Fraction(document["output_loss_lower"])
    assert 0 < behind <= lower * Fraction(9, 16)


def test_an_mlp_without_a_norm_bound(command_json: RunJson) -> None:
    instance = instance_of([1], I1, [RationalMatrix.of([[1, 0]])] * 2, [[-2], [-1]], mlp=fold(1))
    code, document = command_json("floor", *files_of(instance), "--prompt-length", 2)
    assert code == 0
    assert document["output_loss_lower"] is None


def test_several_logit_vectors(command: Run, command_json: RunJson) -> None:
    """The sum of the groups' lower bounds, no upper bound, one certificate for each group."""
    head = {"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}
    model = {"format": "promptcert-model/1", "layers": [{"heads": [head]}]}
    examples = [{"X": [[2, 1]], "y": [3]}, {"X": [[0, 1]], "y": [1]}, {"X": [[2, 2]], "y": [3]}]
    Path("model.json").write_text(json.dumps(model))
    Path("data.json").write_text(json.dumps({"format": "promptcert-data/1", "examples": examples}))
    code, document = command_json("floor", "model.json", "data.json", "--prompt-length", 1, "--prompt", "p.json")
    assert code == 0
    assert document["loss"]["upper"] is None
    assert document["prompt"] is None
    assert not Path("p.json").exists()
    paths = [document["certificate"], *document["further_certificates"]]
    assert [answer.verdict for answer in check_files(paths)] == ["true", "true"]
    groups = []
    for kept in ([0, 1], [2]):
        part = {"format": "promptcert-data/1", "examples": [examples[k] for k in kept]}
        Path("part.json").write_text(json.dumps(part))
        groups.append(interval(command_json("floor", "model.json", "part.json", "--prompt-length", 1)[1])[0])
    assert Fraction(document["loss"]["lower"]) == sum(groups)
    assert "several logit vectors: none" in command("floor", "model.json", "data.json")[1]


def deep(instance: Instance) -> Transformer:
    return Transformer((instance.model.layers[0],) * 2)


def test_undecided(command: Run, command_json: RunJson) -> None:
    """Exit code 2 with the reason: depth, hardmax, several heads, infinitely many preimages."""
    from dataclasses import replace

    instance = random_instance(0, "plain", d=2, n=2)
    layer = instance.model.layers[0]
    half = FeedForward(
        RationalMatrix.of([[1, 0]]), RationalMatrix.zeros(1, 1), RationalMatrix.of([[-1], [0]]),
        RationalMatrix.zeros(2, 1),
    )  # fmt: skip
    zero = Dataset(tuple(Example(example.X, RationalMatrix.zeros(2, 1)) for example in instance.data.examples))
    attention = layer.attention
    cases = [
        (deep(instance), instance.data, "2 layers"),
        (Transformer((replace(layer, attention=replace(attention, kind="hardmax")),)), instance.data, "hardmax"),
        (
            Transformer((replace(layer, attention=replace(attention, heads=attention.heads * 2)),)),
            instance.data,
            "heads",
        ),
        (Transformer((replace(layer, mlp=half),)), zero, "infinitely many preimages"),
    ]
    for model, data, reason in cases:
        files = written(model, data)
        code, document = command_json("floor", *files, "--prompt-length", 2)
        assert code == 2
        assert document["loss"] is None
        assert reason in document["reason"]
        assert not list(Path().glob("*.cert.json"))
        code, text, _ = command("floor", *files)
        assert code == 2
        assert text.startswith("undecided\n  why: ")


def test_out_of_range_has_no_loss(command_json: RunJson) -> None:
    instance = instance_of([1], I1, [RationalMatrix.of([[1, 0]])], [[2]], mlp=fold(1))
    code, document = command_json("floor", *files_of(instance))
    assert code == 2
    assert "out of the range" in document["reason"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--prompt-length", 0), ("--prompt-length", "x"), ("--curve", -1), ("--curve", 2, "--prompt-length", 2),
        ("--max-seconds", 0),
    ],
)  # fmt: skip
def test_bad_usage(command: Run, arguments: tuple[object, ...]) -> None:
    files = files_of(random_instance(0, "plain", d=1, n=1))
    code, out, err = command("floor", *files, *arguments)
    assert code == 4
    assert out == ""
    assert err.splitlines()[-1].startswith("error: ")


def test_bad_input(command: Run, command_json: RunJson) -> None:
    files = files_of(random_instance(0, "plain", d=2, n=1))
    other = data_json(random_instance(0, "plain", d=3, n=1).data)
    write_json("data.json", other)
    for name in ("floor", "decide"):
        code, document = command_json(name, *files)
        assert code == 4
        assert "expected 2 rows, the width of the model, found 3" in document["error"]
    Path("data.json").write_text("{")
    code, _, err = command("floor", *files)
    assert code == 4
    assert err.startswith("error: data.json: ")
    code, _, err = command("floor", "absent.json", "data.json")
    assert code == 4
    assert err.startswith("error: absent.json: ")


def test_time_limit(command: Run) -> None:
    files = files_of(random_instance(0, "plain", d=4, n=4))
    code, out, err = command("floor", *files, "--curve", 500, "--max-seconds", 0.2)
    assert code == 3
    assert out == "undecided\n"
    assert "--max-seconds" in err
    assert not list(Path().glob("*.cert.json"))


# -- decide -----------------------------------------------------------------------------------------------------------


def test_memorizable_by_one_query(command: Run, command_json: RunJson) -> None:
    """Verdict, least length, both certificates, and a prompt file that memorizes within its radius."""
    instance = consistent(1, n=2, d=2, c=fmpq(5, 2), drop=fmpq(0)).instance
    files = files_of(instance)
    code, document = command_json("decide", *files, "--prompt", "prompt.json")
    assert code == 0
    assert (document["verdict"], document["argument"], document["infimum"]) == ("memorizable", "one-query", "zero")
    assert document["minimal_prompt_length"] == 3
    paths = [document["certificate"], *document["further_certificates"]]
    assert paths == ["data.cert.json", "data-shorter.cert.json"]
    assert [answer.verdict for answer in check_files(paths)] == ["true", "true"]
    relations = [json.loads(Path(path).read_text())["relation"] for path in paths]
    assert relations == ["memorizable", "no-prompt-memorizes"]
    box = read_prompt("prompt.json")
    assert document["prompt"] == "prompt.json"
    assert box.P.shape == (2, 3)
    assert 0 < box.radius < fmpq(1, 2**64)
    assert top(model_loss(instance, box.P, 512)) < 100 * box.radius * box.radius * 100**2
    code, text, _ = command("decide", *files)
    assert "least prompt length: 3" in text
    code, document = command_json("decide", *files, "--prompt-length", 2, "--prompt", "other.json")
    assert code == 0
    assert (document["verdict"], document["infimum"], document["minimal_prompt_length"]) == (
        "unmemorizable", "positive", 3
    )  # fmt: skip
    assert document["prompt"] is None
    assert not Path("other.json").exists()
    assert check_files([document["certificate"]])[0].verdict == "true"


def test_arguments_of_one_query(command_json: RunJson) -> None:
    """Each way to be impossible, with a certificate that the kernel accepts."""
    X = RationalMatrix.of([["7/2", 0], [0, 0]])
    Y = RationalMatrix.of([[0, 0], ["7/2", 0]])
    flat = RationalMatrix.of([[1, 0], [0, 0]])
    cases = {
        "integer": (instance_of([0, 0], I2, [X, Y], [[1, 0], [0, 1]]), None),
        "range": (instance_of([1, 0], flat, [X], [[1, 2]]), None),
        "length": (needs(5), 2),
        "entropy": (consistent(1, n=2, d=2, c=fmpq(5, 2), drop=fmpq(0)).instance, 2),
        "masses": (spoiled(), None),
    }
    for argument, (instance, length) in cases.items():
        decision = decide_one_query(instance.problem, length)
        assert argument in [reason.argument for reason in decision.impossible], argument
        options = () if length is None else ("--prompt-length", length)
        code, document = command_json("decide", *files_of(instance), *options)
        assert code == 0
        assert document["verdict"] == "unmemorizable"
        assert check_files([document["certificate"]])[0].verdict == "true"


def spoiled() -> Instance:
    """Solvable equations in one coordinate each, for two different masses."""
    made = consistent(2, n=3, d=3)
    examples = list(made.instance.data.examples)
    targets = [x + y for x, y in zip(examples[2].targets.column(0), [fmpq(1, 64), fmpq(0), fmpq(0)], strict=True)]
    examples[2] = Example(examples[2].X, RationalMatrix.of_columns([targets]))
    return Instance("spoiled", made.instance.model, Dataset(tuple(examples)))


def test_one_example_and_its_length(command_json: RunJson) -> None:
    instance = needs(41)
    _, document = command_json("decide", *files_of(instance), "--prompt", "prompt.json")
    assert document["verdict"] == "memorizable"
    assert read_prompt("prompt.json").P.shape[1] == document["minimal_prompt_length"] >= 41


def test_a_least_length_of_thousands_of_digits(command: Run, command_json: RunJson) -> None:
    """Memorizable, with a certificate for any length; the number itself is not told."""
    files = files_of(needs_exponent(20_000))
    code, document = command_json("decide", *files, "--prompt", "prompt.json")
    assert code == 0
    assert (document["verdict"], document["minimal_prompt_length"]) == ("memorizable", None)
    assert "bits" in document["reason"]
    assert document["further_certificates"] == []
    assert check_files([document["certificate"]])[0].verdict == "true"
    code, _, err = command("decide", *files, "--prompt", "prompt.json")
    assert err == "no prompt written to prompt.json: it has too many tokens\n"
    code, document = command_json("decide", *files, "--prompt-length", 100)
    assert (document["verdict"], document["minimal_prompt_length"]) == ("unmemorizable", None)


def needs_exponent(exponent: int) -> Instance:
    """About e^exponent tokens: d = 1, a = −exponent."""
    return instance_of([1], I1, [RationalMatrix.of([[1, 0]])], [[-exponent]])


def test_documents_of_floor_are_consistent(command_json: RunJson) -> None:
    """What the schema refuses: bounds with a reason, no bounds without one, bounds that are no decimals."""
    from importlib.resources import files

    from jsonschema import Draft202012Validator

    schema = json.loads((files("verify") / "schemas" / "floor.schema.json").read_text(encoding="utf-8"))
    check = Draft202012Validator(schema).validate
    _, good = command_json("floor", *files_of(random_instance(0, "plain", d=1, n=1)), "--curve", 1)
    check(good)
    wrong: list[dict[str, Any]] = [
        {"reason": "why"}, {"loss": None}, {"loss": {"lower": "1e-3", "upper": None}}, {"loss": {"lower": "1"}},
        {"loss": {"lower": 0.5, "upper": "1"}}, {"prompt_length": 0}, {"curve": []}, {"more": 1},
        {"loss": {"lower": "-1", "upper": "1"}}, {"certificate": 3},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(ValidationError):
            check({**good, **change})
    for field in good:
        with pytest.raises(ValidationError):
            check({key: value for key, value in good.items() if key != field})


def test_decimals() -> None:
    for text in ("0", "1.25", "0.000000000001", "17"):
        numerator, denominator = Fraction(text).as_integer_ratio()
        assert decimal(fmpq(numerator, denominator)) == text
    with pytest.raises(ValueError, match="decimal fraction"):
        decimal(fmpq(1, 3))
