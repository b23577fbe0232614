"""Bad input: exit code 4, one line that names file, field, expected and found; no traceback, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import ValidationError

HEAD = '{"W_q": [[1, 0], [0, 1]], "W_k": [[1, 0], [0, 1]], "W_v": [[1, 0], [0, 1]]}'
MODEL = f'{{"format": "promptcert-model/1", "layers": [{{"heads": [{HEAD}]}}]}}'
DATA = '{"format": "promptcert-data/1", "examples": [{"X": [[1, 0], [2, 1]], "y": [1, 0]}]}'
W_Q = '"W_q": [[1, 0], [0, 1]]'
MLP = '"W_1": [[1, 0]], "b_1": [0], "W_2": [[1], [0]], "b_2": [0, 0]'


def with_layer(fields: str) -> str:
    return MODEL.removesuffix("}]}") + f", {fields}}}]}}"


def with_units(pieces: str) -> str:
    return with_layer(f'{MLP}, "units": [{pieces}]')


def in_W_q(entry: str) -> str:
    return MODEL.replace(W_Q, f'"W_q": [[1, 0], [{entry}, 1]]')


def in_y(entry: str) -> str:
    return DATA.replace('"y": [1, 0]', f'"y": [1, {entry}]')


FIELD = "layers[0].heads[0].W_q"
# name: text of the file, what the line must contain, whether the schema can see it
MODELS: dict[str, tuple[str, list[str], bool]] = {
    "empty": ("", ["expected JSON", "line 1, column 1"], False),
    "malformed": ('{"format": ', ["expected JSON", "line 1"], False),
    "trailing": (MODEL + "}", ["expected JSON"], False),
    "not-an-object": ("[1]", ["expected an object", "a list of 1"], True),
    "null": ("null", ["expected an object", "found null"], True),
    "string": ('"model"', ["expected an object", "the string"], True),
    "no-format": ('{"layers": []}', ["format", '"promptcert-model/1"', "no such field"], True),
    "unknown-version": (MODEL.replace("model/1", "model/2"), ["format", "model/1", "model/2"], True),
    "data-as-model": (DATA, ["format", "promptcert-model/1", "promptcert-data/1"], True),
    "format-is-a-number": (MODEL.replace('"promptcert-model/1"', "1"), ["format", "the number 1"], True),
    "unknown-field": (MODEL.replace('"layers"', '"depth": 1, "layers"'), ["unknown field", '"depth"'], True),
    "unknown-head-field": (MODEL.replace(W_Q, f'{W_Q}, "W_x": 1'), ["layers[0].heads[0]", '"W_x"'], True),
    "field-twice": (MODEL.replace(W_Q, f"{W_Q}, {W_Q}"), ['"W_q"', "twice"], False),
    "missing-W_q": (MODEL.replace(f"{W_Q}, ", ""), ["layers[0].heads[0]", "'W_q'"], True),
    "no-layers": ('{"format": "promptcert-model/1", "layers": []}', ["layers", "at least 1", "found 0"], True),
    "no-heads": ('{"format": "promptcert-model/1", "layers": [{"heads": []}]}', ["layers[0].heads", "found 0"], True),
    "layers-is-an-object": ('{"format": "promptcert-model/1", "layers": {}}', ["layers", "a list", "an object"], True),
    "NaN": (in_W_q("NaN"), [f"{FIELD}[1][0]", "finite", "NaN"], False),
    "Infinity": (in_W_q("Infinity"), [f"{FIELD}[1][0]", "finite", "Infinity"], False),
    "minus-Infinity": (in_W_q("-Infinity"), [f"{FIELD}[1][0]", "finite", "-Infinity"], False),
    "huge-exponent": (in_W_q("1e999999999"), [f"{FIELD}[1][0]", "10^4000", "1e999999999"], False),
    "tiny-exponent": (in_W_q("1e-999999999"), [f"{FIELD}[1][0]", "10^4000", "1e-999999999"], False),
    "huge-exponent-as-string": (in_W_q('"1e999999999"'), [f"{FIELD}[1][0]", "10^4000"], False),
    "exponent-of-many-digits": (in_W_q("1e" + "9" * 5000), [f"{FIELD}[1][0]", "10^4000"], False),
    "many-digits": (in_W_q("9" * 5000), [f"{FIELD}[1][0]", "10^4000"], False),
    "very-many-digits": (in_W_q("9" * 300_000), [f"{FIELD}[1][0]", "10^4000"], False),
    "word": (in_W_q('"one"'), [f"{FIELD}[1][0]", "number", '"one"'], True),
    "empty-string": (in_W_q('""'), [f"{FIELD}[1][0]", "number", '""'], True),
    "nan-string": (in_W_q('"nan"'), [f"{FIELD}[1][0]", "number", '"nan"'], True),
    "hexadecimal": (in_W_q('"0x10"'), [f"{FIELD}[1][0]", "number", '"0x10"'], True),
    "half-a-ratio": (in_W_q('"1/"'), [f"{FIELD}[1][0]", "number", '"1/"'], True),
    "division-by-zero": (in_W_q('"1/0"'), [f"{FIELD}[1][0]", "zero", '"1/0"'], True),
    "negative-denominator": (in_W_q('"1/-2"'), [f"{FIELD}[1][0]", "number"], True),
    "other-digits": (in_W_q('"٣"'), [f"{FIELD}[1][0]", "number"], True),
    "true-as-number": (in_W_q("true"), [f"{FIELD}[1][0]", "number", "found true"], True),
    "null-as-number": (in_W_q("null"), [f"{FIELD}[1][0]", "number", "found null"], True),
    "list-as-number": (in_W_q("[1]"), [f"{FIELD}[1][0]", "number", "a list of 1"], True),
    "object-as-number": (in_W_q('{"p": 1}'), [f"{FIELD}[1][0]", "number", "an object"], True),
    "ragged": (
        MODEL.replace(W_Q, '"W_q": [[1, 0], [0]]'),
        [f"{FIELD}[1]", "2 entries as in row 0, found 1"],
        False,
    ),
    "empty-matrix": (MODEL.replace(W_Q, '"W_q": []'), [FIELD, "at least 1", "found 0"], True),
    "empty-rows": (MODEL.replace(W_Q, '"W_q": [[], []]'), [f"{FIELD}[0]", "at least 1", "found 0"], True),
    "vector-as-matrix": (MODEL.replace(W_Q, '"W_q": [1, 0]'), [f"{FIELD}[0]", "a list", "the number 1"], True),
    "scalar-as-matrix": (MODEL.replace(W_Q, '"W_q": 7'), [FIELD, "a list of rows", "the number 7"], True),
    "W_k-shape": (MODEL.replace('"W_k": [[1, 0], [0, 1]]', '"W_k": [[1, 0]]'), ["W_k", "2 rows, found 1"], False),
    "W_v-shape": (
        MODEL.replace('"W_v": [[1, 0], [0, 1]]', '"W_v": [[1, 0, 0], [0, 1, 0]]'),
        ["W_v[0]", "2 entries, found 3"],
        False,
    ),
    "W_o-needed": (
        MODEL.replace(HEAD, '{"W_q": [[1, 0]], "W_k": [[1, 0]], "W_v": [[1, 0]]}'),
        ["layers[0].heads[0]", "W_o", "identity", "found 1 and 2"],
        False,
    ),
    "b_q-length": (MODEL.replace(W_Q, f'{W_Q}, "b_q": [1]'), ["heads[0].b_q", "2 entries, found 1"], False),
    "heads-of-two-widths": (
        MODEL.replace(HEAD, f'{HEAD}, {{"W_q": [[1]], "W_k": [[1]], "W_v": [[1]]}}'),
        ["layers[0].heads", "head 1", "expected width 2", "found 1"],
        False,
    ),
    "attention-kind": (with_layer('"attention": "linear"'), ["layers[0].attention", '"hardmax"', '"linear"'], True),
    "causal-is-a-number": (MODEL.replace('"layers"', '"causal": 1, "layers"'), ["causal", "true or false"], True),
    "E-rows": (MODEL.replace('"layers"', '"E": [[1, 2, 3]], "layers"'), ["E", "2 rows, found 1"], False),
    "E-empty": (MODEL.replace('"layers"', '"E": [[], []], "layers"'), ["E[0]", "at least 1"], True),
    "W_1-alone": (with_layer('"W_1": [[1, 0]]'), ["layers[0]", "both 'W_1' and 'W_2'"], True),
    "W_2-shape": (with_layer('"W_1": [[1, 0]], "W_2": [[1, 2], [3, 4]]'), ["W_2[0]", "1 entries, found 2"], False),
    "b_1-length": (with_layer(MLP.replace('"b_1": [0]', '"b_1": []')), ["layers[0].b_1", "found 0"], True),
    "units-without-mlp": (with_layer('"units": []'), ["layers[0]", "'units'"], True),
    "units-empty": (with_units(""), ["layers[0].units", "found 0"], True),
    "units-count": (with_units(", ".join(['[{"from": null, "slope": 1, "intercept": 0}]'] * 2)), ["units", "1"], False),
    "unit-start": (with_units('[{"from": 0, "slope": 1, "intercept": 0}]'), ["units[0]", "minus infinity"], False),
    "unit-field": (with_units('[{"from": null, "slope": 1}]'), ["units[0][0]", "'intercept'"], True),
    "deep": (in_W_q("[" * 200_000 + "]" * 200_000), ["deeper nesting"], False),
    "deep-but-readable": (in_W_q("[" * 300 + "]" * 300), [f"{FIELD}[1][0]", "a list of 1"], True),
}
DATASETS: dict[str, tuple[str, list[str], bool]] = {
    "model-as-data": (MODEL, ["format", "promptcert-data/1", "promptcert-model/1"], True),
    "no-examples": ('{"format": "promptcert-data/1", "examples": []}', ["examples", "at least 1", "found 0"], True),
    "examples-missing": ('{"format": "promptcert-data/1"}', ["'examples'"], True),
    "no-target": (DATA.replace(', "y": [1, 0]', ""), ["examples[0]", "'y' and 'Y'", "neither"], True),
    "both-targets": (DATA.replace('"y"', '"Y": [[1, 1], [1, 1]], "y"'), ["examples[0]", "both"], True),
    "X-empty": (DATA.replace("[[1, 0], [2, 1]]", "[]"), ["examples[0].X", "found 0"], True),
    "X-without-tokens": (DATA.replace("[[1, 0], [2, 1]]", "[[], []]"), ["examples[0].X[0]", "found 0"], True),
    "X-ragged": (
        DATA.replace("[[1, 0], [2, 1]]", "[[1, 0], [2]]"),
        ["examples[0].X[1]", "as in row 0, found 1"],
        False,
    ),
    "y-length": (DATA.replace('"y": [1, 0]', '"y": [1]'), ["examples[0].y", "2 entries, found 1"], False),
    "y-empty": (DATA.replace('"y": [1, 0]', '"y": []'), ["examples[0].y", "found 0"], True),
    "Y-shape": (DATA.replace('"y": [1, 0]', '"Y": [[1], [0]]'), ["examples[0].Y[0]", "2 entries, found 1"], False),
    "y-NaN": (in_y("NaN"), ["examples[0].y[1]", "NaN"], False),
    "y-word": (in_y('"zero"'), ["examples[0].y[1]", '"zero"'], True),
    "y-huge": (in_y("1e999999999"), ["examples[0].y[1]", "10^4000"], False),
    "widths": (
        DATA.removesuffix("]}") + ', {"X": [[1]], "y": [1]}]}',
        ["examples[1].X", "expected 2 rows, the width of the model, found 1"],
        False,
    ),
}


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_line(line: str, file: str, parts: list[str]) -> None:
    assert line.startswith(f"error: {file}: ")
    for part in parts:
        assert part in line
    assert len(line) < 400


@pytest.mark.parametrize("name", MODELS)
def test_bad_model(refused, inputs, validate, name: str) -> None:
    text, parts, schema_sees_it = MODELS[name]
    inputs.write("model.json", text)
    inputs.write("data.json", DATA)
    before = listing(inputs.folder)
    check_line(refused(4, "decide", "model.json", "data.json"), "model.json", parts)
    assert listing(inputs.folder) == before
    if schema_sees_it:
        with pytest.raises(ValidationError):
            validate("model", json.loads(text))


@pytest.mark.parametrize("name", DATASETS)
def test_bad_data(refused, inputs, validate, name: str) -> None:
    text, parts, schema_sees_it = DATASETS[name]
    inputs.write("model.json", MODEL)
    inputs.write("data.json", text)
    before = listing(inputs.folder)
    check_line(refused(4, "decide", "model.json", "data.json"), "data.json", parts)
    assert listing(inputs.folder) == before
    if schema_sees_it:
        with pytest.raises(ValidationError):
            validate("data", json.loads(text))


def test_the_table_starts_from_good_input(run, inputs, validate) -> None:
    """Otherwise every line above could pass for the wrong reason."""
    units = with_units('[{"from": null, "slope": 1, "intercept": 0}]')
    good = [MODEL, with_layer(MLP), with_layer('"attention": "softmax"'), units]
    good += [in_W_q("1e-5"), in_W_q('"-1/3"'), in_W_q('"2.5"'), in_W_q("1e3000"), with_layer('"b_2": [1, 0]')]
    example = in_y("0.25").removeprefix(DATA[: DATA.index("[") + 1]).removesuffix("]}")
    data = DATA.removesuffix("]}") + f", {example}]}}"  # one input, two targets: decided at once
    validate("data", json.loads(data))
    inputs.write("data.json", data)
    for text in good:
        validate("model", json.loads(text))
        inputs.write("model.json", text)
        done = run("decide", "model.json", "data.json")
        assert (done.code, done.err) == (2 if text == units else 0, "")


def test_widths_of_model_and_data(refused, inputs) -> None:
    model = inputs.model(3)
    data = inputs.data({"X": [[1, 0], [2, 1]], "y": [1, 0]})
    assert "data.json: examples[0].X: expected 3 rows, the width of the model, found 2" in refused(
        4, "decide", model, data
    )


@pytest.mark.parametrize(
    ("E", "parts"),
    [
        ([[0, 0], [0, 0]], ["example 0", "2 columns", "no prompt token", "at least 3"]),
        ([[0, 0, 0], [0, 0, 0]], ["example 1", "expected 2 as in example 0, found 1"]),
    ],
)
def test_embedding_that_does_not_fit(refused, inputs, E, parts: list[str]) -> None:
    model = inputs.model(E=E)
    data = inputs.data({"X": [[1, 0], [2, 1]], "y": [1, 0]}, {"X": [[1], [2]], "y": [1, 0]})
    line = refused(4, "decide", model, data)
    for part in parts:
        assert part in line


def test_bytes_that_are_not_utf8(refused, inputs) -> None:
    inputs.write("data.json", DATA)
    Path("model.json").write_bytes(b'{"format": "\xff"}')
    check_line(refused(4, "decide", "model.json", "data.json"), "model.json", ["UTF-8", "0xff"])


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing.json", "No such file"), (".", "Is a directory"), ("data.json/model.json", "Not a directory")],
)
@pytest.mark.parametrize("place", [0, 1])
def test_unreadable_path(refused, inputs, name: str, why: str, place: int) -> None:
    inputs.write("model.json", MODEL)
    inputs.write("data.json", DATA)
    arguments = ["model.json", "data.json"]
    arguments[place] = name
    check_line(refused(4, "decide", *arguments), name, [why])


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_endless_file(refused, inputs) -> None:
    inputs.write("data.json", DATA)
    check_line(refused(4, "decide", "/dev/zero", "data.json"), "/dev/zero", ["at most"])


def test_file_name_with_a_line_break(refused, inputs) -> None:
    inputs.write("data.json", DATA)
    assert r"no\nsuch.json: cannot be read" in refused(4, "decide", "no\nsuch.json", "data.json")


def test_surrogates_in_strings(refused, inputs) -> None:
    inputs.write("data.json", DATA)
    for text in (in_W_q('"\\ud800"'), MODEL.replace('"layers"', '"\\ud800": 1, "layers"')):
        inputs.write("model.json", text)
        assert "ud800" in refused(4, "decide", "model.json", "data.json")


USAGE: dict[str, Callable[[], list[str]]] = {
    "nothing": list,
    "unknown-command": lambda: ["prove"],
    "unknown-global-option": lambda: ["--fast", "doctor"],
    "unknown-option": lambda: ["doctor", "--fast"],
    "no-files": lambda: ["decide"],
    "no-data": lambda: ["decide", "model.json"],
    "too-many": lambda: ["decide", "model.json", "data.json", "more.json"],
    "nothing-to-check": lambda: ["check"],
    "nothing-to-show": lambda: ["show"],
    "two-to-show": lambda: ["show", "a.json", "b.json"],
    "seed": lambda: ["audit", "--seed", "x"],
    "jobs-zero": lambda: ["audit", "--jobs", "0"],
    "format": lambda: ["doctor", "--format", "xml"],
    "abbreviated-option": lambda: ["doctor", "--form", "json"],
    "option-without-value": lambda: ["decide", "model.json", "data.json", "--out"],
    **{
        f"prompt-length-{text}": (lambda text=text: ["decide", "model.json", "data.json", "--prompt-length", text])
        for text in ("0", "-1", "1.5", "many", "9" * 5000)
    },
    **{
        f"max-seconds-{text}": (lambda text=text: ["decide", "model.json", "data.json", "--max-seconds", text])
        for text in ("0", "-1", "nan", "inf", "soon")
    },
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_error(run, inputs, name: str) -> None:
    inputs.write("model.json", MODEL)
    inputs.write("data.json", DATA)
    done = run(*USAGE[name]())
    assert (done.code, done.out) == (4, "")
    usage, *_, error = done.err.splitlines()
    assert usage.startswith("usage: promptcert")
    assert error.startswith("error: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--promptlength=3"], "--promptlength=3 (did you mean --prompt-length?)"),
        (["--zzz", "more.json"], "--zzz more.json"),
        (["more.json"], "more.json"),
    ],
)
def test_unknown_words_are_the_commands_own_matter(run, words: list[str], says: str) -> None:
    done = run("decide", "model.json", "data.json", *words)
    usage, *_, error = done.err.splitlines()
    assert usage.startswith("usage: promptcert decide [")
    assert error == f"error: unrecognized arguments: {says}"


@pytest.mark.parametrize("command", ["audit", "decide", "check", "show", "doctor"])
def test_help(run, command: str) -> None:
    done = run(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "--format" in done.out


def test_version(run) -> None:
    from verify import __version__

    assert run("--version").out == f"promptcert {__version__}\n"
