"""The record of one target: written beside the certificate, told with it, and no certificate itself."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError

from verify.certificate import canonical, seal
from verify.cli import main

Json = Any
ARGUMENTS = ("universality", "--target", "(1+sin(3*x))/2", "--lipschitz", "3/2", "--p", 2, "--eps", "1/4")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    assert main([str(argument) for argument in (*ARGUMENTS, "--out", folder)]) == 0
    return folder


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Path:
    """A record with its certificate beside it."""
    folder = tmp_path / "made"
    shutil.copytree(source, folder)
    return folder / "universality-target.json"


def loaded(path: Path) -> Json:
    return json.loads(path.read_text(encoding="ascii"))


def test_the_record(run_json: Callable[..., Any], validate: Callable[[str, Any], None], tmp_path: Path) -> None:
    code, document = run_json(*ARGUMENTS, "--out", tmp_path / "sine.json")
    assert code == 0
    assert document["record"] == str(tmp_path / "sine-target.json")
    text = (tmp_path / "sine-target.json").read_text(encoding="ascii")
    record = json.loads(text)
    validate("target", record)
    assert text == canonical(record) + "\n"
    assert seal(record) == record
    certificate = loaded(tmp_path / "sine.json")
    assert record["evidence"] == "enclosed"
    assert record["target"] == ["(1+sin(3*x))/2"]
    assert record["certificate"] == {
        "claim": "universality-softmax",
        "file": "sine.json",
        "sha256": certificate["sha256"],
    }
    assert record["lipschitz"] == document["lipschitz"]
    k = document["k"]
    assert [len(row) for row in record["table"]] == [k] == [document["prompt_length"]]
    assert record["table"][0][0] == k // 2  # f is a little above 1/2 in the middle of the first cell
    low, high = (Fraction(x) for x in record["range"])
    assert Fraction(49, 100) < low <= Fraction(1, 2)
    assert 1 <= high < Fraction(101, 100)
    assert 0 < Fraction(record["error"]["table"]) < Fraction(record["error"]["network"]) < Fraction(1, 4)
    again = tmp_path / "again"
    assert run_json(*ARGUMENTS, "--out", again / "sine.json")[0] == 4  # no such folder
    again.mkdir()
    assert run_json(*ARGUMENTS, "--out", again / "sine.json")[0] == 0
    assert (again / "sine-target.json").read_text(encoding="ascii") == text


def test_no_field_may_be_added_or_missing(validate: Callable[[str, Any], None], made: Path) -> None:
    for name, value in loaded(made).items():
        bare = {key: item for key, item in loaded(made).items() if key != name}
        for changed in (bare, {**bare, name: {"more": 1}}, {**loaded(made), "more": value}):
            if name != "toolkit" or changed != {**bare, name: {"more": 1}}:
                with pytest.raises(ValidationError):
                    validate("target", changed)


def test_many_cells_have_no_table(run: Callable[..., Any], run_json: Callable[..., Any], tmp_path: Path) -> None:
    code, _ = run_json(
        "universality", "--target", "x", "--lipschitz", 1, "--p", 2, "--eps", "1/8000", "--out", tmp_path
    )
    assert code == 0
    record = loaded(tmp_path / "universality-target.json")
    assert (record["table"], record["error"]) == (None, None)
    done = run("show", tmp_path / "universality-target.json")
    assert done.code == 0
    assert "no table: too many cells\n" in done.out


def test_check_says_what_it_is(run: Callable[..., Any], run_json: Callable[..., Any], made: Path) -> None:
    sha256 = loaded(made)["certificate"]["sha256"]
    done = run("check", made, made.with_name("universality.cert.json"))
    assert done.code == 4
    first, second = done.out.splitlines()
    assert first == (
        f"{made}: not a certificate: a record of one target: enclosures of our ball arithmetic, which the kernel does "
        f"not re-derive; the statement for every function is in the certificate with sha256 {sha256}"
    )
    assert ": true: universality-softmax: " in second
    code, document = run_json("check", made)
    assert (code, document["accepted"]) == (4, False)


def test_show(run: Callable[..., Any], run_json: Callable[..., Any], made: Path) -> None:
    done = run("show", made)
    assert (done.code, done.err) == (0, "")
    record = loaded(made)
    for part in (
        "record of one target (enclosed), not a certificate\n",
        "which the kernel does not re-derive\n",
        "entry 0: (1+sin(3*x))/2\n",
        "d = 1, m = 1, k = 4, p = 2, ε = 1/4\n",
        "Lipschitz constant at most 1.50000001 (stated 3/2)\n",
        "table, in multiples of 1/4: 2 3 3 2\n",
        "universality.cert.json: true: universality-softmax: ",
        f"sha256 {record['sha256']}",
    ):
        assert part in done.out
    code, document = run_json("show", made)
    assert (code, document["certificate"], document["kernel"]) == (0, None, "not a certificate")
    assert document["record"]["sha256"] == record["sha256"]
    assert all(line in done.out.splitlines() for line in document["told"])


def changed(made: Path, change: Callable[[Json], None], *, sealed: bool = True) -> Path:
    content = copy.deepcopy(loaded(made))
    change(content)
    path = made.with_name("changed.json")
    path.write_text(canonical(seal(content) if sealed else content) + "\n", encoding="ascii")
    return path


def test_a_changed_record_is_seen(run: Callable[..., Any], made: Path) -> None:
    done = run("show", changed(made, lambda record: record["table"][0].__setitem__(0, 0), sealed=False))
    assert done.code == 1
    assert "its sha256 is not that of the content: the record was changed\n" in done.out


def test_without_its_certificate_nothing_is_proved(run: Callable[..., Any], made: Path) -> None:
    made.with_name("universality.cert.json").unlink()
    done = run("show", made)
    assert done.code == 2
    assert "is not there: nothing is proved\n" in done.out


MISFITS: dict[str, tuple[Callable[[Json], None], str]] = {
    "another hash": (lambda r: r["certificate"].update(sha256="0" * 64), "it is not the one that the record names"),
    "another claim": (
        lambda r: r["certificate"].update(claim="quantisation"),
        "it is not the one that the record names",
    ),
    "another norm": (lambda r: r.update(p="3"), "it is about another norm"),
    "steeper": (lambda r: r["lipschitz"].update(certified="2"), "its Lipschitz constant is smaller than the target's"),
    "more accurate": (lambda r: r.update(epsilon="1/5"), "its ε leaves no room for cutting off"),
    "cut off more": (lambda r: r.update(clamped="1/100"), "its ε leaves no room for cutting off"),
    "smaller error": (
        lambda r: r["error"].update(network=r["error"]["table"]),
        "its network may add more to the table's error",
    ),
    "another grid": (lambda r: r.update(k=5, table=[[0] * 5]), "it is about another grid"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_certificate_that_does_not_carry_the_record(run: Callable[..., Any], made: Path, name: str) -> None:
    change, why = MISFITS[name]
    done = run("show", changed(made, change))
    assert done.code == 1
    assert f"this certificate does not carry the record: {why}" in done.out


def test_a_false_certificate_or_none_under_its_name(run: Callable[..., Any], made: Path) -> None:
    path = made.with_name("universality.cert.json")
    content = loaded(path)
    content["witness"]["t"]["num"] //= 2
    path.write_text(canonical(seal(content)) + "\n", encoding="ascii")
    done = run("show", made)
    assert done.code == 1
    assert "universality.cert.json: false: " in done.out
    path.write_text("{}\n", encoding="ascii")
    assert run("show", made).code == 1


BROKEN: dict[str, tuple[Callable[[Json], object], str]] = {
    "field missing": (lambda r: r.pop("range"), "expected the fields format, evidence"),
    "field more": (lambda r: r.update(more=1), "expected the fields format, evidence"),
    "proved": (lambda r: r.update(evidence="exact"), "expected the evidence 'enclosed'"),
    "no width": (lambda r: r.update(d=0), "expected d, m ≥ 1 and k ≥ 2"),
    "true width": (lambda r: r.update(d=True), "expected d, m ≥ 1 and k ≥ 2"),
    "two entries": (lambda r: r.update(target=["x", "x"]), "expected a target of d·m expressions"),
    "a number": (lambda r: r.update(target=[1]), "expressions as text"),
    "a float": (lambda r: r.update(p="1e999999999"), "rational numbers as text"),
    "a zero": (lambda r: r.update(p="1/0"), "rational numbers as text"),
    "one bound": (lambda r: r.update(range=["0"]), "a range of two numbers"),
    "no errors": (lambda r: r.update(error={}), "error with the fields network, table"),
    "no constant": (lambda r: r.update(lipschitz="1"), "lipschitz with the fields certified, stated"),
    "a folder": (lambda r: r["certificate"].update(file="../x.json"), "without a folder"),
    "no file": (lambda r: r["certificate"].update(file=""), "without a folder"),
    "a short hash": (lambda r: r["certificate"].update(sha256="ab"), "hashes of 64 hexadecimal digits"),
    "versions": (lambda r: r.update(toolkit={"a": 1}), "versions as text"),
    "a short table": (lambda r: r.update(table=[[0]]), "expected rows of 4 digits"),
    "a large digit": (lambda r: r["table"][0].__setitem__(0, 4), "digits from 0 to 3"),
    "a huge grid": (lambda r: r.update(k=1 << 70), "a table of d rows"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_record(run: Callable[..., Any], run_json: Callable[..., Any], made: Path, name: str) -> None:
    change, why = BROKEN[name]
    path = changed(made, change)
    for command in ("check", "show"):
        done = run(command, path)
        assert (done.code, done.err, done.out.count("\n")) == (4, "", 1)
        assert done.out.startswith(f"{path}: not a certificate: it calls itself a record of one target, but is none: ")
        assert why in done.out
        assert run_json(command, path)[0] == 4
