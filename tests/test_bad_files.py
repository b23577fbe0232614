"""Bad input files: each is refused with one line that names the file, the field, what was expected and what was found."""
# ruff: noqa: E501 - a message is one line

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq
from hypothesis import example, given
from hypothesis import strategies as st

from constructions import documents
from constructions.documents import InputError
from constructions.files import PromptBox, read_data, read_model, read_prompt
from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import FeedForward, Head

R = RationalMatrix.of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


# Documents that are right, as users write them

HEAD = {"W_q": [[1, 0]], "W_k": [[0, 1]], "W_v": [[1, 1]], "W_o": [[1], [0]], "b_q": [0]}
UNIT = [{"from": None, "slope": 0, "intercept": 0}, {"from": 1, "slope": 1, "intercept": "1/2"}]
MODEL: dict[str, Any] = {
    "format": "promptcert-model/1",
    "layers": [
        {
            "heads": [HEAD, HEAD],
            "attention": "hardmax",
            "W_1": [[1, 2], [3, 4], [5, 6]],
            "b_1": [0, 1, 2],
            "W_2": [[1, 2, 3], [4, 5, 6]],
            "b_2": [0, 1],
            "units": [UNIT, UNIT, UNIT],
        },
        {"heads": [HEAD]},
    ],
    "E": [[0, 1, 2], [3, 4, 5]],
    "causal": True,
}
DATA: dict[str, Any] = {
    "format": "promptcert-data/1",
    "examples": [{"X": [[1, 2, 3], [4, 5, 6]], "y": [1, 2]}, {"X": [[1, 2], [3, 4]], "Y": [[1, 2], [3, 4]]}],
}
PROMPT: dict[str, Any] = {"format": "promptcert-prompt/1", "P": [[1, "1/2"], [3, 4]], "radius": 0.125}
DOCUMENTS: dict[str, tuple[dict[str, Any], Callable[[Path], Any]]] = {
    "model": (MODEL, read_model),
    "data": (DATA, read_data),
    "prompt": (PROMPT, read_prompt),
}


def written(folder: Path, document: Any) -> Path:
    path = folder / "input.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


DELETE = object()


def changed(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    document = json.loads(json.dumps(document))  # no part shared with another
    part = document
    for step in place[:-1]:
        part = part[step]
    if value is DELETE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return document


def test_the_documents_are_read_as_meant(folder: Path) -> None:
    model = read_model(written(folder, MODEL))
    first, second = model.layers
    assert first.attention.heads == (Head(R([[1, 0]]), R([[0, 1]]), R([[1, 1]]), R([[1], [0]])),) * 2
    assert first.attention.kind == "hardmax"
    step = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(1), fmpq(1), fmpq(1, 2))))
    assert first.mlp == FeedForward(
        R(MODEL["layers"][0]["W_1"]),
        column_vector([0, 1, 2]),
        R(MODEL["layers"][0]["W_2"]),
        column_vector([0, 1]),
        (step,) * 3,
    )
    assert (second.attention.kind, second.mlp, model.causal) == ("softmax", FeedForward.none(2), True)
    assert R([[0, 1, 2], [3, 4, 5]]) == model.E
    dataset = read_data(written(folder, DATA))
    assert [e.targets for e in dataset.examples] == [column_vector([1, 2]), R([[1, 2], [3, 4]])]
    assert read_prompt(written(folder, PROMPT)) == PromptBox(R([[1, "1/2"], [3, 4]]), fmpq(1, 8))


# Numbers

NUMBER = 'a finite number or a string "p/q"'
LIMIT = "a numerator and a denominator of at most 10^4000"
# fmt: off
BAD_NUMBERS = [
    ("NaN", NUMBER, "the number NaN"),
    ("Infinity", NUMBER, "the number Infinity"),
    ("-Infinity", NUMBER, "the number -Infinity"),
    ("true", NUMBER, "true"),
    ("false", NUMBER, "false"),
    ("null", NUMBER, "null"),
    ("[1]", NUMBER, "a list of 1"),
    ("[]", NUMBER, "a list of 0"),
    ("{}", NUMBER, "an object"),
    ('""', NUMBER, 'the string ""'),
    ('"x"', NUMBER, 'the string "x"'),
    ('"nan"', NUMBER, 'the string "nan"'),
    ('"inf"', NUMBER, 'the string "inf"'),
    ('"1/2/3"', NUMBER, 'the string "1/2/3"'),
    ('"1/-2"', NUMBER, 'the string "1/-2"'),
    ('"1.5/2"', NUMBER, 'the string "1.5/2"'),
    ('"1_000"', NUMBER, 'the string "1_000"'),
    ('"0x10"', NUMBER, 'the string "0x10"'),
    ('"1,5"', NUMBER, 'the string "1,5"'),
    ('"1 2"', NUMBER, 'the string "1 2"'),
    ('"--1"', NUMBER, 'the string "--1"'),
    ('"1\\n2"', NUMBER, 'the string "1\\n2"'),
    ('"\\u0661"', NUMBER, 'the string "\\u0661"'),  # an Arabic digit
    ('"\\u00bd"', NUMBER, 'the string "\\u00bd"'),  # one half in one character
    ('"\\ud800"', NUMBER, 'the string "\\ud800"'),  # half a character
    ('"1/0"', "a denominator other than zero", 'the string "1/0"'),
    ('"0/000"', "a denominator other than zero", 'the string "0/000"'),
    ("1e999999999", LIMIT, "the number 1e999999999"),
    ("1e-999999999", LIMIT, "the number 1e-999999999"),
    ("0e999999999", LIMIT, "the number 0e999999999"),
    ("1e4001", LIMIT, "the number 1e4001"),
    ("1e-4001", LIMIT, "the number 1e-4001"),
    ("11e3999", LIMIT, "the number 11e3999"),
    ("11e4000", LIMIT, "the number 11e4000"),
    ("1e" + "9" * 5000, LIMIT, "the number 1e" + "9" * 55 + "…"),
    ("1" * 10**6, LIMIT, "1000000 characters"),
    ("-0." + "1" * 10**6, LIMIT, "1000003 characters"),
    ('"' + "1" * 10**6 + '/7"', LIMIT, "1000002 characters"),
    ('"1/' + "7" * 10**6 + '"', LIMIT, "1000002 characters"),
    ('"' + "x" * 5000 + '"', NUMBER, 'the string "' + "x" * 56 + "…"),
]
# fmt: on


PLACES_OF_NUMBERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("model", ("layers", 0, "heads", 1, "W_q", 0, 1), "layers[0].heads[1].W_q[0][1]"),
    ("model", ("layers", 0, "b_2", 1), "layers[0].b_2[1]"),
    ("model", ("layers", 0, "units", 0, 1, "from"), "layers[0].units[0][1].from"),
    ("model", ("layers", 0, "units", 2, 0, "intercept"), "layers[0].units[2][0].intercept"),
    ("model", ("E", 1, 2), "E[1][2]"),
    ("data", ("examples", 1, "X", 0, 0), "examples[1].X[0][0]"),
    ("data", ("examples", 0, "y", 1), "examples[0].y[1]"),
    ("prompt", ("P", 1, 0), "P[1][0]"),
    ("prompt", ("radius",), "radius"),
]


@pytest.mark.parametrize(("spelled", "expected", "found"), BAD_NUMBERS, ids=lambda x: str(x)[:24])
def test_bad_numbers(folder: Path, spelled: str, expected: str, found: str) -> None:
    for name, place, field in PLACES_OF_NUMBERS:
        document, read = DOCUMENTS[name]
        if spelled == "null" and field.endswith("from"):
            continue  # minus infinity: a case below
        text = json.dumps(changed(document, place, "HERE")).replace('"HERE"', spelled)
        path = written(folder, text)
        with pytest.raises(InputError) as error:
            read(path)
        assert str(error.value) == f"{path}: {field}: expected {expected}, found {found}"


# Wrong documents: (document, where it is changed, to what, the field, what was expected, what was found)

L0 = ("layers", 0)
H0 = (*L0, "heads", 0)
RAGGED = [[1, 2], [3]]
# fmt: off
CASES: list[tuple[str, tuple[Any, ...], Any, str]] = [
    # format
    ("model", ("format",), "promptcert-model/2", 'format: expected "promptcert-model/1", found the string "promptcert-model/2"'),
    ("model", ("format",), "promptcert-data/1", 'format: expected "promptcert-model/1", found the string "promptcert-data/1" (are two files swapped?)'),
    ("model", ("format",), 1, 'format: expected "promptcert-model/1", found the number 1'),
    ("data", ("format",), None, 'format: expected "promptcert-data/1", found null'),
    ("prompt", ("format",), DELETE, 'format: expected "promptcert-prompt/1", found no such field'),
    ("prompt", (), [], "expected an object, found a list of 0"),
    ("prompt", (), '"text"', 'expected an object, found the string "text"'),
    ("model", (), None, "expected an object, found null"),
    ("data", (), 3, "expected an object, found the number 3"),
    ("data", (), {}, 'format: expected "promptcert-data/1", found no such field'),
    # fields
    ("model", ("colour",), 1, 'expected only the fields format, layers, E, causal, found the unknown field "colour"'),
    ("model", (*L0, "W_3"), 1, 'layers[0]: expected only the fields heads, attention, W_1, b_1, W_2, b_2, units, found the unknown field "W_3"'),
    ("model", (*H0, "b_k"), 1, 'layers[0].heads[0]: expected only the fields W_q, W_k, W_v, W_o, b_q, found the unknown field "b_k"'),
    ("model", (*H0, "wk"), 1, 'layers[0].heads[0]: expected only the fields W_q, W_k, W_v, W_o, b_q, found the unknown field "wk" (did you mean \'W_k\'?)'),
    ("data", ("example",), [], 'expected only the fields format, examples, found the unknown field "example" (did you mean \'examples\'?)'),
    ("model", (*L0, "units", 1, 0, "to"), 1, 'layers[0].units[1][0]: expected only the fields from, slope, intercept, found the unknown field "to"'),
    ("data", ("examples", 0, "z\n" * 100), 1, 'examples[0]: expected only the fields X, y, Y, found the unknown field "' + "z\\n" * 18 + "z\\…"),
    ("model", ("layers",), DELETE, "expected the field 'layers', found only 'format', 'E', 'causal'"),
    ("model", (*L0, "heads"), DELETE, "layers[0]: expected the field 'heads', found only 'attention', 'W_1', 'b_1', 'W_2', 'b_2', 'units'"),
    ("model", (*H0, "W_k"), DELETE, "layers[0].heads[0]: expected the field 'W_k', found only 'W_q', 'W_v', 'W_o', 'b_q'"),
    ("model", (*L0, "units", 0, 1, "slope"), DELETE, "layers[0].units[0][1]: expected the field 'slope', found only 'from', 'intercept'"),
    ("data", ("examples",), DELETE, "expected the field 'examples', found only 'format'"),
    ("data", ("examples", 1, "X"), DELETE, "examples[1]: expected the field 'X', found only 'Y'"),
    ("prompt", ("P",), DELETE, "expected the field 'P', found only 'format', 'radius'"),
    # types
    ("model", ("layers",), {}, "layers: expected a list of layers, found an object"),
    ("model", L0, [], "layers[0]: expected an object, found a list of 0"),
    ("model", (*L0, "heads"), None, "layers[0].heads: expected a list of heads, found null"),
    ("model", H0, 1, "layers[0].heads[0]: expected an object, found the number 1"),
    ("model", (*H0, "W_q"), "I", 'layers[0].heads[0].W_q: expected a list of rows, found the string "I"'),
    ("model", (*H0, "W_q"), [1, 2], "layers[0].heads[0].W_q[0]: expected a list of numbers, found the number 1"),
    ("model", (*H0, "b_q"), [[0]], 'layers[0].heads[0].b_q[0]: expected a finite number or a string "p/q", found a list of 1'),
    ("model", (*H0, "b_q"), 0, "layers[0].heads[0].b_q: expected a list of numbers, found the number 0"),
    ("model", (*L0, "attention"), "max", 'layers[0].attention: expected "softmax" or "hardmax", found the string "max"'),
    ("model", (*L0, "attention"), 1, 'layers[0].attention: expected "softmax" or "hardmax", found the number 1'),
    ("model", (*L0, "attention"), ["softmax"], 'layers[0].attention: expected "softmax" or "hardmax", found a list of 1'),
    ("model", ("causal",), 1, "causal: expected true or false, found the number 1"),
    ("model", ("causal",), None, "causal: expected true or false, found null"),
    ("model", ("causal",), "true", 'causal: expected true or false, found the string "true"'),
    ("data", ("examples",), "X", 'examples: expected a list of examples, found the string "X"'),
    ("prompt", ("P",), None, "P: expected a list of rows, found null"),
    ("prompt", ("radius",), None, 'radius: expected a finite number or a string "p/q", found null'),
    ("prompt", ("radius",), -1, "radius: expected a radius of at least 0, found the number -1"),
    ("prompt", ("radius",), "-1/9", 'radius: expected a radius of at least 0, found the string "-1/9"'),
    # empty sequences, everywhere
    ("model", ("layers",), [], "layers: expected a list of at least 1 layers, found 0"),
    ("model", (*L0, "heads"), [], "layers[0].heads: expected a list of at least 1 heads, found 0"),
    *[("model", (*H0, name), [], f"layers[0].heads[0].{name}: expected a list of at least 1 rows, found 0") for name in ("W_q", "W_k", "W_v", "W_o")],
    *[("model", (*H0, name), [[]], f"layers[0].heads[0].{name}[0]: expected a list of at least 1 numbers, found 0") for name in ("W_q", "W_k", "W_v")],
    ("model", (*H0, "W_o"), [[], []], "layers[0].heads[0].W_o[0]: expected a list of at least 1 numbers, found 0"),
    ("model", (*H0, "b_q"), [], "layers[0].heads[0].b_q: expected a list of at least 1 numbers, found 0"),
    *[("model", (*L0, name), [], f"layers[0].{name}: expected a list of at least 1 {what}, found 0") for name, what in [("W_1", "rows"), ("W_2", "rows"), ("b_1", "numbers"), ("b_2", "numbers"), ("units", "units")]],
    ("model", (*L0, "W_1"), [[], [], []], "layers[0].W_1[0]: expected a list of at least 1 numbers, found 0"),
    ("model", (*L0, "units", 2), [], "layers[0].units[2]: expected a list of at least 1 pieces, found 0"),
    ("model", ("E",), [], "E: expected a list of at least 1 rows, found 0"),
    ("model", ("E",), [[], []], "E[0]: expected a list of at least 1 numbers, found 0"),
    ("data", ("examples",), [], "examples: expected a list of at least 1 examples, found 0"),
    ("data", ("examples", 0, "X"), [], "examples[0].X: expected a list of at least 1 rows, found 0"),
    ("data", ("examples", 0, "X"), [[], []], "examples[0].X[0]: expected a list of at least 1 numbers, found 0"),
    ("data", ("examples", 0, "y"), [], "examples[0].y: expected a list of at least 1 numbers, found 0"),
    ("data", ("examples", 1, "Y"), [], "examples[1].Y: expected a list of at least 1 rows, found 0"),
    ("data", ("examples", 1, "Y"), [[], []], "examples[1].Y[0]: expected a list of at least 1 numbers, found 0"),
    ("prompt", ("P",), [], "P: expected a list of at least 1 rows, found 0"),
    ("prompt", ("P",), [[]], "P[0]: expected a list of at least 1 numbers, found 0"),
    # shapes
    ("model", (*H0, "W_q"), RAGGED, "layers[0].heads[0].W_q[1]: expected 2 entries as in row 0, found 1"),
    ("model", (*H0, "W_q"), [[1, 2], [3, 4]], "layers[0].heads[0].W_k: expected 2 rows, found 1"),
    ("model", (*H0, "W_k"), [[1, 2, 3]], "layers[0].heads[0].W_k[0]: expected 2 entries, found 3"),
    ("model", (*H0, "W_v"), RAGGED, "layers[0].heads[0].W_v: expected 1 rows, found 2"),
    ("model", (*H0, "W_o"), [[1, 0]], "layers[0].heads[0].W_o: expected 2 rows, found 1"),
    ("model", (*H0, "W_o"), [[1, 0], [0, 1]], "layers[0].heads[0].W_o[0]: expected 1 entries, found 2"),
    ("model", (*H0, "b_q"), [1, 2], "layers[0].heads[0].b_q: expected 1 entries, found 2"),
    ("model", (*H0, "W_o"), DELETE, "layers[0].heads[0]: W_o: missing stands for the identity, expected head size = width, found 1 and 2"),
    ("model", (*L0, "heads", 1), {name: [[1]] for name in ("W_q", "W_k", "W_v")}, "layers[0].heads: head 1: expected width 2 as in head 0, found 1"),
    ("model", (*L0, "W_1"), DELETE, "layers[0]: expected both 'W_1' and 'W_2' or neither, found only 'b_1', 'W_2', 'b_2'"),
    ("model", (*L0, "W_2"), DELETE, "layers[0]: expected both 'W_1' and 'W_2' or neither, found only 'W_1', 'b_1', 'b_2'"),
    ("model", ("layers", 1, "b_1"), [0], "layers[1]: expected both 'W_1' and 'W_2' or neither, found only 'b_1'"),
    ("model", ("layers", 1, "b_2"), [0], "layers[1].b_2: expected 2 entries, found 1"),
    ("model", ("layers", 1, "units"), [UNIT], "layers[1]: expected the fields 'W_1', 'b_1', 'W_2', 'b_2' with 'units', found none of them"),
    ("model", (*L0, "W_1", 1), [1, 2, 3], "layers[0].W_1[1]: expected 2 entries, found 3"),
    ("model", (*L0, "W_1"), [[1, 2]], "layers[0].b_1: expected 1 entries, found 3"),
    ("model", (*L0, "W_2", 0), [1, 2], "layers[0].W_2[0]: expected 3 entries, found 2"),
    ("model", (*L0, "W_2"), [[1, 2, 3]], "layers[0].W_2: expected 2 rows, found 1"),
    ("model", (*L0, "b_2"), [1], "layers[0].b_2: expected 2 entries, found 1"),
    ("model", ("layers", 1, "heads"), [{name: [[1]] for name in ("W_q", "W_k", "W_v")}], "layer 1: expected width 2 as in layer 0, found 1"),
    ("model", ("E",), [[1, 2]], "E: expected 2 rows, found 1"),
    ("model", ("E",), RAGGED, "E[1]: expected 2 entries as in row 0, found 1"),
    ("data", ("examples", 0, "X"), RAGGED, "examples[0].X[1]: expected 2 entries as in row 0, found 1"),
    ("data", ("examples", 0, "y"), [1, 2, 3], "examples[0].y: expected 2 entries, found 3"),
    ("data", ("examples", 1, "Y"), [[1, 2]], "examples[1].Y: expected 2 rows, found 1"),
    ("data", ("examples", 1, "Y"), [[1], [2]], "examples[1].Y[0]: expected 2 entries, found 1"),
    ("data", ("examples", 1), {"X": [[1]], "y": [1]}, "example 1: expected 2 rows as in example 0, found 1"),
    ("data", ("examples", 0, "Y"), [[1]], "examples[0]: expected exactly one of the fields 'y' and 'Y', found both"),
    ("data", ("examples", 0, "y"), DELETE, "examples[0]: expected exactly one of the fields 'y' and 'Y', found neither"),
    ("prompt", ("P", 1), [1], "P[1]: expected 2 entries as in row 0, found 1"),
    # units
    ("model", (*L0, "units"), [UNIT, UNIT], "layers[0]: units: expected one for each of the 3 hidden units, found 2"),
    ("model", (*L0, "units"), [UNIT] * 4, "layers[0]: units: expected one for each of the 3 hidden units, found 4"),
    ("model", (*L0, "units", 1, 0, "from"), 0, "layers[0].units[1]: pieces: expected the first piece to start at minus infinity (null)"),
    ("model", (*L0, "units", 1, 1, "from"), None, "layers[0].units[1]: pieces: expected only the first piece to start at minus infinity (null)"),
    ("model", (*L0, "units", 0), [*UNIT, UNIT[1]], "layers[0].units[0]: pieces: expected increasing starts, found 1 before 1"),
    ("model", (*L0, "units", 0), [*UNIT, {**UNIT[1], "from": "1/2"}], "layers[0].units[0]: pieces: expected increasing starts, found 1 before 1/2"),
    ("model", (*L0, "units", 0, 1, "from"), "x", 'layers[0].units[0][1].from: expected a finite number or a string "p/q", found the string "x"'),
]
# fmt: on


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    CASES,
    ids=[f"{c[0]}-{'.'.join(map(str, c[1]))[:30]}-{i}" for i, c in enumerate(CASES)],
)
def test_wrong_documents(folder: Path, name: str, place: tuple[Any, ...], value: Any, message: str) -> None:
    document, read = DOCUMENTS[name]
    path = written(folder, changed(document, place, value))
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value) == f"{path}: {message}"


DEEP = 100_000
# fmt: off
TEXTS: list[tuple[str, bytes, str]] = [
    ("empty", b"", "expected JSON, found an error at line 1, column 1: Expecting value"),
    ("blank", b" \n ", "expected JSON, found an error at line 2, column 2: Expecting value"),
    ("cut off", b'{"format": "promptcert-prompt/1",\n"P": [[1', "expected JSON, found an error at line 2, column 9: Expecting ',' delimiter"),
    ("trailing comma", b'{"P": [1,]}', "expected JSON, found an error at line 1, column 10: Expecting value"),
    ("two documents", b"{} {}", "expected JSON, found an error at line 1, column 4: Extra data"),
    ("single quotes", b"{'P': 1}", "expected JSON, found an error at line 1, column 2: Expecting property name enclosed in double quotes"),
    ("leading zero", b'{"P": [[01]]}', "expected JSON, found an error at line 1, column 10: Expecting ',' delimiter"),
    ("control character", b'{"P": "\x00"}', "expected JSON, found an error at line 1, column 8: Invalid control character at"),
    ("byte order mark", b"\xef\xbb\xbf{}", "expected JSON, found an error at line 1, column 1: Unexpected UTF-8 BOM (decode using utf-8-sig)"),
    ("not UTF-8", b'{"P": "\xff"}', "expected UTF-8 text, found the byte 0xff at 7"),
    ("UTF-16", '{"P": 1}'.encode("utf-16"), "expected UTF-8 text, found the byte 0xff at 0"),
    ("binary", bytes(range(128, 256)), "expected UTF-8 text, found the byte 0x80 at 0"),
    ("deep lists", b"[" * DEEP + b"]" * DEEP, "expected JSON nested a few levels deep, found deeper nesting than can be read"),
    ("deep lists, open", b"[" * DEEP, "expected JSON nested a few levels deep, found deeper nesting than can be read"),
    ("deep objects", b'{"P":' * DEEP, "expected JSON nested a few levels deep, found deeper nesting than can be read"),
    ("twice", b'{"format": "promptcert-prompt/1", "P": [[1]], "P": [[2]]}', 'expected every field once in an object, found "P" twice'),
    ("format twice", b'{"format": "promptcert-prompt/1", "format": "promptcert-prompt/1"}', 'expected every field once in an object, found "format" twice'),
    ("twice, escaped", b'{"format": 1, "a\\n": 1, "a\\u000a": 2}', 'expected every field once in an object, found "a\\n" twice'),
    ("twice, long", b'{"' + b"a" * 10**6 + b'": 1, "' + b"a" * 10**6 + b'": 1}', 'expected every field once in an object, found "' + "a" * 56 + "… twice"),
    ("twice, late", b"{" + b"".join(b'"%d": 1, ' % i for i in range(10**5)) + b'"99999": 1}', 'expected every field once in an object, found "99999" twice'),
]
# fmt: on


@pytest.mark.parametrize(("content", "message"), [text[1:] for text in TEXTS], ids=[text[0] for text in TEXTS])
@pytest.mark.parametrize("read", [read_model, read_data, read_prompt])
def test_files_that_are_not_json(folder: Path, content: bytes, message: str, read: Callable[[Path], Any]) -> None:
    path = folder / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("levels", [3, 100, 900])
def test_nesting_that_can_be_read_is_refused_by_its_field(folder: Path, levels: int) -> None:
    path = written(folder, f'{{"format": "promptcert-prompt/1", "P": {"[" * levels}1{"]" * levels}}}')
    with pytest.raises(
        InputError, match=r'P\[0\]\[0\]: expected a finite number or a string "p/q", found a list of 1$'
    ):
        read_prompt(path)


def test_a_duplicate_field_deep_inside(folder: Path) -> None:
    text = json.dumps(MODEL).replace('"b_q": [0]', '"b_q": [0], "W_q": [[1, 0]]', 1)
    with pytest.raises(InputError, match=r'input\.json: expected every field once in an object, found "W_q" twice$'):
        read_model(written(folder, text))


def test_limits_of_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(folder, PROMPT)
    size = path.stat().st_size
    monkeypatch.setattr(documents, "MAX_BYTES", size)
    read_prompt(path)
    monkeypatch.setattr(documents, "MAX_BYTES", size - 1)
    with pytest.raises(InputError, match=f"expected at most {size - 1} bytes, found more"):
        read_prompt(path)
    monkeypatch.undo()
    monkeypatch.setattr(documents, "MAX_ENTRIES", 4)
    read_prompt(path)
    monkeypatch.setattr(documents, "MAX_ENTRIES", 3)
    with pytest.raises(InputError, match="P: expected at most 3 entries, found 4"):
        read_prompt(path)


def test_an_endless_device_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    monkeypatch.setattr(documents, "MAX_BYTES", 1 << 16)
    with pytest.raises(InputError, match="expected at most 65536 bytes, found more"):
        read_model("/dev/zero")


@pytest.mark.parametrize("read", [read_model, read_data, read_prompt])
def test_paths_that_cannot_be_read(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    file = tmp_path / "file.json"
    file.write_text("{}")
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for path, reason in [
        (tmp_path, "Is a directory"),
        (tmp_path / "missing.json", "No such file or directory"),
        (tmp_path / "missing" / "file.json", "No such file or directory"),
        (file / "below.json", "Not a directory"),
        (loop, "Too many levels of symbolic links"),
        (tmp_path / ("x" * 300), "File name too long"),
    ]:
        with pytest.raises(InputError) as error:
            read(path)
        assert str(error.value) == f"{path}: cannot be read: {reason}"


@contextmanager
def not_root() -> Iterator[None]:
    """As a user whom permissions concern: root, who may do everything, becomes nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("read", [read_model, read_data, read_prompt])
def test_a_file_without_permission(read: Callable[[Path], Any]) -> None:
    with not_root(), tempfile.TemporaryDirectory() as name:
        file = Path(name) / "file.json"
        file.write_text("{}")
        file.chmod(0)
        with pytest.raises(InputError, match=r"file\.json: cannot be read: Permission denied$"):
            read(file)


# Anything at all

LITERALS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["1/2", "1/0", "softmax"]),
)
VALUES = st.recursive(
    LITERALS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, item in inner for place in places(item, (*path, key))]


def refused_or_read(read: Callable[[Path], Any], path: Path) -> None:
    try:
        read(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert message.isprintable()  # one line
        assert len(message) < 400
        assert "expected" in message


@given(st.sampled_from(sorted(DOCUMENTS)), st.data())
def test_one_changed_value_is_read_or_refused_in_one_line(folder: Path, name: str, data: st.DataObject) -> None:
    document, read = DOCUMENTS[name]
    place = data.draw(st.sampled_from(places(document)))
    value = data.draw(VALUES | (st.just(DELETE) if place else st.nothing()))
    path = folder / "changed.json"
    path.write_text(json.dumps(changed(document, place, value)), encoding="utf-8")
    refused_or_read(read, path)


@given(st.sampled_from(sorted(DOCUMENTS)), st.data())
def test_one_changed_byte_is_read_or_refused_in_one_line(folder: Path, name: str, data: st.DataObject) -> None:
    document, read = DOCUMENTS[name]
    content = bytearray(json.dumps(document).encode())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = folder / "changed.json"
    path.write_bytes(bytes(content))
    refused_or_read(read, path)


@given(st.binary(max_size=30))
@example(b"\xff")
@example(b"nan")
@example(b'{"format"')
def test_any_bytes_are_refused_in_one_line(folder: Path, content: bytes) -> None:
    path = folder / "bytes.json"
    path.write_bytes(content)
    for _, read in DOCUMENTS.values():
        with pytest.raises(InputError):
            read(path)
        refused_or_read(read, path)


def test_the_width_of_the_model(folder: Path) -> None:
    """Of X and y, the one that does not fit the model is blamed."""
    path = written(folder, DATA)
    assert read_data(path, 2) == read_data(path)
    with pytest.raises(InputError, match=r"examples\[0\]\.X: expected 3 rows, the width of the model, found 2$"):
        read_data(path, 3)


def test_a_field_with_a_name_of_megabytes(folder: Path) -> None:
    """Comparing it with the known names would take gigabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r'found the unknown field "XXXX'):
            read_data(written(folder, {**DATA, "X" * (1 << 22): 1}))
        assert tracemalloc.get_traced_memory()[1] < 1 << 27
    finally:
        tracemalloc.stop()
