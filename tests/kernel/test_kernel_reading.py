"""Hostile and malformed files: always one clean answer."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import kernel_certificates as make
import limits
import pytest
import reading
from kernel_certificates import canonical, changed, part, places, seal
from limits import NotACertificate, OverLimits
from reading import Field, shown

Judge = Callable[[bytes], tuple[str, str]]
Json = Any
GOOD = seal(make.TRUE["cone"])
NUM = ("instance", "queries", 0, "X", "num", 0, 0)
STEP = ("witness", "pairs", 0, 0)
DEN = ("instance", "queries", 0, "X", "den")


def with_text(path: tuple[Json, ...], text: str) -> bytes:
    """The certificate `cone` with JSON text put in at a place, whatever that text is."""
    return canonical(changed(json.loads(GOOD), path, "PLACE")).encode().replace(b'"PLACE"', text.encode()) + b"\n"


FILES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "not a certificate", "byte 0: expected JSON"),
    "a line break": (b"\n", "not a certificate", "expected JSON"),
    "null": (b"null\n", "not a certificate", "file: expected an object, found null"),
    "a list": (b"[]\n", "not a certificate", "file: expected an object, found a list of length 0"),
    "an empty object": (b"{}\n", "not a certificate", "found an object with fields (none)"),
    "text": (b"hello\n", "not a certificate", "expected JSON"),
    "not ASCII": ('{"ä":1}\n'.encode(), "not a certificate", "byte 2: expected ASCII, found 0xc3"),
    "not UTF-8": (b"\xff\xfe{", "not a certificate", "byte 0: expected ASCII, found 0xff"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "not a certificate", "byte 0"),
    "a null byte": (b"\0" + GOOD, "not a certificate", "byte 0"),
    "two objects": (GOOD + GOOD, "not a certificate", "Extra data"),
    "cut off": (GOOD[:-20], "not a certificate", "expected JSON"),
    "no line break": (GOOD[:-1], "not a certificate", "canonical"),
    "two line breaks": (GOOD + b"\n", "not a certificate", "canonical"),
    "a space": (GOOD.replace(b",", b", ", 1), "not a certificate", "canonical"),
    "another order": (
        b'{"witness":'
        + canonical(json.loads(GOOD)["witness"]).encode()
        + b","
        + GOOD[1:].replace(b',"witness":' + canonical(json.loads(GOOD)["witness"]).encode(), b""),
        "not a certificate",
        "canonical",
    ),
    "escaped letters": (GOOD.replace(b'"cone"', b'"con\\u0065"'), "not a certificate", "canonical"),
    "nested lists": (b"[" * 10**6, "not a certificate", "nesting of at most 512"),
    "nested objects": (b'{"a":' * 10**6, "not a certificate", "nesting of at most 512"),
    "deep, well formed": (with_text(NUM, "[" * 600 + "]" * 600), "not a certificate", "nesting of at most 512"),
    "deep enough": (with_text(NUM, "[" * 400 + "]" * 400), "not a certificate", "found a list of length 1"),
    "repeated key": (GOOD.replace(b'"head":0', b'"head":0,"head":0'), "not a certificate", "each key once"),
    "repeated outer key": (b'{"claim":"x",' + GOOD[1:], "not a certificate", 'found "claim" 2 times'),
    "extra field": (seal({**make.TRUE["cone"], "note": "x"}), "not a certificate", '"note"'),
    "missing field": (
        seal({k: v for k, v in make.TRUE["cone"].items() if k != "evidence"}),
        "not a certificate",
        "found an object with fields",
    ),
    "no hash": (canonical(make.TRUE["cone"]).encode() + b"\n", "not a certificate", "sha256"),
    "short hash": (with_text(("sha256",), '"12ab"'), "not a certificate", "sha256: expected 64 lowercase"),
    "upper-case hash": (with_text(("sha256",), json.dumps("A" * 64)), "not a certificate", "sha256"),
    "wrong hash": (with_text(("sha256",), json.dumps("a" * 64)), "false", "sha256"),
    "numeric hash": (with_text(("sha256",), "1"), "not a certificate", "sha256"),
    "version": (seal({**make.TRUE["cone"], "format": "promptcert-certificate/2"}), "not a certificate", "format"),
    "toolkit of numbers": (seal({**make.TRUE["cone"], "toolkit": {"a": 1}}), "not a certificate", "toolkit"),
    "toolkit list": (seal({**make.TRUE["cone"], "toolkit": ["a"]}), "not a certificate", "toolkit"),
    "claim list": (seal({**make.TRUE["cone"], "claim": ["cone"]}), "not a certificate", "claim"),
    "instance list": (seal({**make.TRUE["cone"], "instance": []}), "not a certificate", "instance: expected an object"),
    "float": (with_text(NUM, "1.0"), "not a certificate", "expected an integer, found 1.0"),
    "exponent": (with_text(NUM, "1e400"), "not a certificate", "expected an integer, found 1e400"),
    "long float": (with_text(NUM, "1." + "1" * 10**6), "not a certificate", "expected an integer, found 1.1"),
    "NaN": (with_text(NUM, "NaN"), "not a certificate", "expected an integer, found NaN"),
    "Infinity": (with_text(NUM, "-Infinity"), "not a certificate", "expected an integer, found -Infinity"),
    "minus zero": (with_text(NUM, "-0"), "not a certificate", "canonical"),
    "leading zero": (with_text(NUM, "01"), "not a certificate", "expected JSON"),
    "2^53": (with_text(NUM, str(2**53)), "not a certificate", "hexadecimal string from 2^53 on"),
    "-2^53": (with_text(NUM, str(-(2**53))), "not a certificate", "hexadecimal string from 2^53 on"),
    "2^53 - 1": (with_text(NUM, str(2**53 - 1)), "false", "sha256"),
    "many digits": (with_text(NUM, "9" * 10**6), "not a certificate", "hexadecimal string from 2^53 on"),
    "boolean": (with_text(NUM, "true"), "not a certificate", "X.num[0][0]: expected an integer below 2^53"),
    "null number": (with_text(NUM, "null"), "not a certificate", "found null"),
    "object": (with_text(NUM, "{}"), "not a certificate", "found an object with fields (none)"),
    "decimal string": (with_text(NUM, '"17"'), "not a certificate", 'found "17"'),
    "upper-case digits": (with_text(NUM, '"0xFF"'), "not a certificate", 'found "0xFF"'),
    "upper-case prefix": (with_text(NUM, '"0Xff"'), "not a certificate", 'found "0Xff"'),
    "leading zeros": (with_text(NUM, '"0x0f"'), "not a certificate", 'found "0x0f"'),
    "negative zero": (with_text(NUM, '"-0x0"'), "not a certificate", 'found "-0x0"'),
    "plus": (with_text(NUM, '"+0xf"'), "not a certificate", 'found "+0xf"'),
    "underscore": (with_text(NUM, '"0xf_f"'), "not a certificate", 'found "0xf_f"'),
    "line break in a number": (with_text(NUM, r'"0xf\n"'), "not a certificate", r'found "0xf\n"'),
    "only a prefix": (with_text(NUM, '"0x"'), "not a certificate", 'found "0x"'),
    "hexadecimal zero": (with_text(NUM, '"0x0"'), "false", "sha256"),
    "small hexadecimal": (with_text(NUM, '"-0x1f"'), "false", "sha256"),
    "long string": (with_text(NUM, json.dumps("z" * 10**6)), "not a certificate", '..."'),
    "zero denominator": (with_text(DEN, "0"), "not a certificate", "X.den: expected a positive integer, found 0"),
    "negative denominator": (with_text(DEN, '"-0x1"'), "not a certificate", "X.den: expected a positive integer"),
    "boolean denominator": (with_text(DEN, "true"), "not a certificate", "X.den: expected an integer below 2^53"),
    "boolean column": (with_text(("instance", "queries", 0, "column"), "true"), "not a certificate", "column: exp"),
    "too many bits": (with_text(NUM, '"0x1' + "0" * (1 << 20) + '"'), "over limits", "4194304 bits"),
    "just enough bits": (with_text(NUM, '"0xf' + "0" * ((1 << 20) - 1) + '"'), "false", "sha256"),
    "many strange fields": (
        with_text(NUM, "{" + ",".join(f'"{k:06x}":0' for k in range(10**5)) + "}"),
        "not a certificate",
        "found an object with fields",
    ),
    "strange field name": (with_text(NUM, '{"\\n\\u001b[31m\\ud800":0}'), "not a certificate", r"\n\u001b[31m\ud800"),
}


@pytest.mark.parametrize("name", FILES)
def test_file(name: str, judge: Judge) -> None:
    data, verdict, reason = FILES[name]
    found, text = judge(data)
    assert found == verdict, text
    assert reason in text
    assert len(text) < 500
    assert "\n" not in text
    assert text.isascii()


def test_limits_of_a_file(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", len(GOOD))
    assert judge(GOOD)[0] == "true"
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", len(GOOD) - 1)
    verdict, text = judge(GOOD)
    assert verdict == "over limits"
    assert "bytes" in text
    monkeypatch.undo()
    monkeypatch.setattr(limits, "MAX_VALUES", 20)
    verdict, text = judge(GOOD)
    assert verdict == "over limits"
    assert "values" in text


def test_nesting_limit_is_exact() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"]" * depth

    with pytest.raises(NotACertificate, match="file: expected an object"):
        reading.load(nested(512))
    with pytest.raises(NotACertificate, match="nesting"):
        reading.load(nested(513))


def test_descriptions_are_short() -> None:
    assert shown({str(k): 0 for k in range(99)}).count(",") == 8
    assert shown("x" * 99) == '"' + "x" * 37 + '..."'
    with pytest.raises(NotACertificate, match=r"^a\.b: expected 1, found null$"):
        Field({"b": None}, "a").record("b")[0].fail("1")


def test_deep_tree(judge: Judge) -> None:
    """MLPs with many hidden units need deep trees; nesting of 512 allows about 500 units on one path."""
    node = make.empty([-1] + [0] * 299)
    for unit in reversed(range(1, 300)):
        node = {"unit": unit, "active": make.empty([-1] + [0] * 299), "inactive": node}
    value = make.out_of_range(node)
    value["instance"]["layer"]["mlp"] = make.mlp(1, W_1=[[1]] + [[0]] * 299, W_2=[[-2] + [0] * 299], b_1=[0] * 300)
    assert judge(seal(value))[0] == "true"


REPLACEMENTS: list[Json] = [
    None,
    True,
    0,
    -1,
    7,
    2**53,
    1.5,
    "",
    "0x10",
    "cone",
    [],
    {},
    [0],
    {"den": 0, "num": 0},
    lambda old: [old, old],
    lambda old: {"a": old},
]


@pytest.mark.parametrize("name", make.TRUE)
def test_no_replacement_makes_a_traceback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values in a certificate replaced by strange ones: resealed, it is decided by a clean answer."""
    import verdict

    value = make.TRUE[name]
    paths = [path for path in places(value) if path and path[0] != "toolkit"]
    for path, new in part(itertools.product(paths, REPLACEMENTS), 500):
        data = seal(changed(value, path, new))
        monkeypatch.setattr(verdict, "read_file", lambda _, data=data: data)
        answer = verdict.judge("x")
        assert answer.verdict in {"true", "false", "not a certificate", "over limits"}
        assert "kernel failed" not in answer.text, (path, new, answer)


def hostile(**edits: Json) -> Json:
    value = make.TRUE["cone"]
    for path, new in edits.values():
        value = changed(value, path, new)
    return value


def test_large_exponents_and_numbers(judge: Judge) -> None:
    """Scores of 10^100000: the largest exponential decides, and nothing large is ever written out."""
    huge = hex(10**100_000)
    key = ("instance", "layer", "heads", 0, "W_k", "num")
    assert judge(seal(hostile(a=((*key, 0, 0), huge), b=((*key, 1, 1), huge))))[0] == "true"
    assert judge(seal(hostile(a=(NUM, huge))))[0] == "true"
    assert judge(seal(hostile(a=(NUM, "-" + huge))))[0] == "false"
    assert judge(seal(hostile(a=(("instance", "queries", 0, "target", "den"), huge))))[0] == "false"
    close = hostile(a=(("instance", "layer", "heads", 0, "W_v", "den"), huge))
    assert judge(seal(close))[0] == "true"


def test_intermediate_results_are_bounded(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long factors are allowed one by one; their products, and common denominators, run into a limit."""
    monkeypatch.setattr(limits, "MAX_COMPUTED_BITS", 1 << 16)
    long = hex((1 << (1 << 15)) - 1)
    head = ("instance", "layer", "heads", 0)
    for edits in (
        {name: ((*head, name, "num", 0, 0), long) for name in ("W_v", "W_o")} | {"w": ((*STEP, "w", "num", 0), long)},
        {  # equal tokens (0, 1), denominators without a common factor
            str(k): (("instance", "queries", k, "X"), {"den": den, "num": [[3, 0], [0, den]]})
            for k, den in enumerate((long, hex(1 << ((1 << 15) - 1))))
        }
        | {"argument": ((*STEP, "argument"), "closeness")},
    ):
        verdict, text = judge(seal(hostile(**edits)))
        assert (verdict, "of an intermediate result" in text) == ("over limits", True), text


def test_many_terms(judge: Judge) -> None:
    """A fraction with 10^5 terms is decided; products of such sums run into the limits instead of memory."""
    many = 10**5
    value = make.direction(0)
    sums = {"coefficients": {"den": 1, "num": [1] * many}, "exponents": {"den": 1, "num": list(range(many))}}
    value["witness"]["x_1"]["denominator"] = sums
    assert judge(seal(value))[0] == "false"


def test_out_of_time(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", -1)
    for name in make.TRUE:
        verdict, text = judge(seal(make.TRUE[name]))
        assert (verdict, text) == ("over limits", "more than -1 seconds") or name == "contradictory"


def test_over_limits_is_not_caught_as_a_wrong_field() -> None:
    with pytest.raises(OverLimits):
        Field("0x1" + "0" * (1 << 20), "a").integer()
