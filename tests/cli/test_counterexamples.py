"""Counterexamples as files: what may be written, what ``show`` tells, what ``check`` says they are."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq, fmpz
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError

from constructions.data import Dataset, Example
from constructions.documents import InputError
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer
from constructions.verdict import Evidence
from verify.certificate import seal
from verify.claims import Settings
from verify.claims.registry import REGISTRY
from verify.commands.show_counterexample import sentence
from verify.counterexample import Counterexample, FormatError, Refuted, demand_counterexample, part

I = RationalMatrix.identity(2)
HEAD = Head(I, I, I)
LAYER = Layer(Attention((HEAD,)), FeedForward.none(2))
INSTANCE = {
    "layer": LAYER,
    "head": HEAD,
    "mlp": FeedForward.none(2),
    "data": Dataset((Example(I, RationalMatrix.of([[1], ["1/3"]])),)),
    "x": fmpq(1, 3),
    "y": Fraction(-2, 7),
    "n": fmpz(5),
    "list": [1, 2],
    "nothing": None,
    "deep": {"Z": I, "word": "a"},
}


def genuine() -> Any:
    return REGISTRY["mlp-injectivity"].cases(Settings())[0].check().certificate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "found.json"
    Counterexample("my-lemma", "expected 1, found 2", INSTANCE, reproduce="pytest x").write(place)
    return place


def test_what_is_written(path: Path, validate: Callable[[str, Any], None]) -> None:
    document = json.loads(path.read_text(encoding="ascii"))
    validate("counterexample", document)
    assert seal(document) == document
    assert document["instance"]["layer"]["format"] == "promptcert-model/1"
    assert document["instance"]["head"]["W_q"] == [[1, 0], [0, 1]]
    assert document["instance"]["x"] == "1/3"
    assert document["instance"]["y"] == "-2/7"
    assert document["instance"]["n"] == 5
    for name in document:
        bare = {key: value for key, value in document.items() if key != name}
        for changed in (bare, {**document, "more": 1}, {**document, name: 0.5}):
            with pytest.raises(ValidationError):
                validate("counterexample", changed)


@pytest.mark.parametrize("value", [0.5, float("nan"), 1j, {1}, object(), [1, 0.5], {"x": {"y": 0.5}}])
def test_only_what_is_exact(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a counterexample holds exact parts"):
        part(value)
    with pytest.raises(InputError, match=r"found\.json: not written: a counterexample holds exact parts"):
        Counterexample("my-lemma", "x", {"value": value}).write(tmp_path / "found.json")
    assert not list(tmp_path.iterdir())


@given(st.integers() | st.fractions() | st.sampled_from([10**5000, -(2**53), 2**53]))
def test_parts_can_be_read_back(value: Any) -> None:
    written = json.loads(json.dumps(part(value)))
    number = written if isinstance(written, int) else fmpq(*map(fmpz, written.split("/")))
    assert fmpq(number) == fmpq(value.numerator, value.denominator)


def test_show(path: Path, run: Callable[..., Any], run_json: Callable[..., Any]) -> None:
    done = run("show", path)
    assert (done.code, done.err) == (0, "")
    sha256 = json.loads(path.read_text(encoding="ascii"))["sha256"]
    lines = done.out.splitlines()
    assert lines[:2] == ["counterexample to my-lemma (exact), not a certificate", "expected 1, found 2"]
    for line in (
        "layer, head 0: W_q = [1, 0; 0, 1], W_k = [1, 0; 0, 1], W_v = [1, 0; 0, 1], W_o = [1, 0; 0, 1], b_q = (0, 0)",
        "layer: attention = softmax",
        "data, example 0: X = [1, 0; 0, 1], y = (1, 1/3)",
        "x = 1/3",
        "deep = Z = [1, 0; 0, 1], word = a",
        "confirmed by exact numbers, as the code that found it says",
        "found again by: pytest x",
        f"sha256 {sha256}",
    ):
        assert line in lines
    code, document = run_json("show", path)
    assert (code, document["certificate"], document["record"]) == (0, None, None)
    assert document["counterexample"]["sentence"] == "expected 1, found 2"
    assert document["counterexample"]["certificate"] is None
    assert all(line in lines for line in document["told"])


def test_long_parts_are_told_by_their_size(tmp_path: Path, run: Callable[..., Any]) -> None:
    place = tmp_path / "long.json"
    instance = {"Z": RationalMatrix.identity(50), "n": 10**5000, "many": list(range(1000))}
    Counterexample("my-lemma", "x", instance, Evidence.SAMPLED).write(place)
    out = run("show", place).out
    assert "Z = 50×50 entries, too long to be told here\n" in out
    assert "n = 5001 characters, too long to be told here\n" in out
    assert "many = 1000 parts, too long to be told here\n" in out
    assert "confirmed not at all: a test failed on it" in out


def test_check_says_what_it_is(path: Path, run: Callable[..., Any]) -> None:
    done = run("check", path)
    assert done.code == 4
    assert done.out == (
        f"{path}: not a certificate: a counterexample to my-lemma, for promptcert show: expected 1, found 2\n"
    )


def test_a_certificate_inside_is_checked(tmp_path: Path, run: Callable[..., Any], run_json: Callable[..., Any]) -> None:
    place = tmp_path / "found.json"
    Counterexample("my-lemma", "x", {}, certificate=genuine()).write(place)
    done = run("show", place)
    assert done.code == 0
    assert "confirmed by its certificate, which the kernel calls true: mlp-injectivity: " in done.out
    assert run_json("show", place)[1]["counterexample"]["certificate"] == "true"
    document = json.loads(place.read_text(encoding="ascii"))
    false = copy.deepcopy(document)
    false["certificate"]["claim"] = "prompt-law"
    place.write_text(json.dumps(seal(false)), encoding="ascii")
    done = run("show", place)
    assert done.code == 1
    assert "which the kernel calls not a certificate" in done.out


def test_a_changed_file_is_seen(path: Path, run: Callable[..., Any]) -> None:
    document = json.loads(path.read_text(encoding="ascii"))
    path.write_text(json.dumps({**document, "sentence": "expected 1, found 3"}), encoding="ascii")
    done = run("show", path)
    assert done.code == 1
    assert "its sha256 is not that of the content: the file was changed\n" in done.out


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    "field missing": (lambda d: d.pop("reproduce"), "expected the fields format, claim"),
    "field more": (lambda d: d.update(more=1), "expected the fields format, claim"),
    "a number": (lambda d: d.update(claim=1), "expected claim to be text"),
    "a list": (lambda d: d.update(sentence=[]), "expected sentence to be text"),
    "proved": (lambda d: d.update(evidence="proved"), "expected evidence to be one of exact, enclosed, sampled"),
    "a mapping": (lambda d: d.update(evidence={}), "expected evidence to be one of exact, enclosed, sampled"),
    "a command": (lambda d: d.update(reproduce=1), "expected reproduce to be text or null"),
    "no certificate": (lambda d: d.update(certificate=1), "expected a certificate or null"),
    "no parts": (lambda d: d.update(instance=[]), "expected instance to name its parts"),
    "a float": (lambda d: d["instance"].update(x=[{"y": 0.5}]), "expected an instance without floats"),
    "NaN": (lambda d: d["instance"].update(x=float("nan")), "expected an instance without floats"),
    "versions": (lambda d: d.update(toolkit={"a": 1}), "expected versions as text"),
    "a short hash": (lambda d: d.update(sha256="ab"), "expected a hash of 64 hexadecimal digits"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_counterexample(path: Path, name: str) -> None:
    change, why = BROKEN[name]
    document = json.loads(path.read_text(encoding="ascii"))
    demand_counterexample(document)
    change(document)
    with pytest.raises(FormatError, match=f"^{why}"):
        demand_counterexample(document)
    assert sentence(document).startswith(f"it calls itself a counterexample, but is none: {why}")


def test_what_is_no_counterexample_is_told_in_one_line(
    path: Path, run: Callable[..., Any], run_json: Callable[..., Any]
) -> None:
    document = json.loads(path.read_text(encoding="ascii"))
    path.write_text(json.dumps({**document, "claim": None}), encoding="ascii")
    line = f"{path}: not a certificate: it calls itself a counterexample, but is none: expected claim to be text\n"
    for command in ("check", "show"):
        done = run(command, path)
        assert (done.code, done.out, done.err) == (4, line, "")
    assert run_json("show", path)[0] == 4


def test_a_refutation_names_its_instance_or_takes_the_arguments() -> None:
    named = Refuted("expected 1, found 2", {"x": 2}).counterexample("my-lemma", {"y": 3}, reproduce="again")
    assert (named.instance, named.reproduce, named.claim) == ({"x": 2}, "again", "my-lemma")
    assert Refuted("no").counterexample("my-lemma", {"y": 3}).instance == {"y": 3}
    assert str(Refuted("no")) == "no"
