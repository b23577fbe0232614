"""``promptcert audit --falsify``: what the searches met stands in the report, and a counterexample refutes a claim."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq

from verify import falsified
from verify.claims import Settings
from verify.claims.registry import REGISTRY
from verify.counterexample import Counterexample
from verify.falsifiers.falsifier import Falsifier, Search, Trial

SLUG = "direction-lemma"


@pytest.fixture
def false_claim(monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered claim that its third instance refutes."""

    def trials(search: Search) -> Iterator[Trial]:
        for k in (3, 2, 1):
            found = Counterexample("false-claim", "expected more than 1, found 1", {"x": 1}) if k == 1 else None
            yield Trial(f"x = {k}", 1 - fmpq(1, k), found)

    real = REGISTRY["mlp-injectivity"]
    falsifier = Falsifier("false-claim", trials, constants={"one": "the bound"})
    claim = replace(real, slug="false-claim", findings=(), falsifier=falsifier, cases=lambda settings: [
        case for case in real.cases(settings) if case.name == "monotone-d3-r4"])  # fmt: skip
    monkeypatch.setitem(REGISTRY, claim.slug, claim)
    return claim.slug


def test_without_the_option_nothing_is_searched(run_json: Any) -> None:
    (claim,) = run_json("audit", "--claim", SLUG)[1]["claims"]
    assert claim["falsifier"] is None


def test_the_report_tells_what_was_met(run: Any, run_json: Any, validate: Callable[..., None], tmp_path: Path) -> None:
    code, report = run_json("audit", "--claim", SLUG, "--falsify-budget", 12, "--out", tmp_path)
    assert code == 0
    validate("audit", report)
    (claim,) = report["claims"]
    search = claim["falsifier"]
    assert (claim["verdict"], search["budget"], search["tried"], search["counterexample"]) == ("proved", 12, 12, None)
    assert search["smallest_slack"] == 0
    assert [row["constant"] for row in search["tightness"]] == ["ln κ/(1+κ)"]
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    assert "Measured tightness" in (tmp_path / "report.html").read_text(encoding="utf-8")
    text = run("audit", "--claim", SLUG, "--falsify-budget", 12).out
    assert "measured" in text
    assert "everything as claimed" in text


def test_jobs_and_resume_change_nothing(run_json: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["audit", "--claim", SLUG, "--claim", "mlp-injectivity", "--falsify-budget", 8]
    report = run_json(*words, "--out", tmp_path / "one")[1]
    assert run_json(*words, "--out", tmp_path / "two", "--jobs", 2)[1] == report
    ran: list[str] = []
    original = falsified.run_falsifier
    monkeypatch.setattr(
        falsified, "run_falsifier", lambda claim, *rest: ran.append(claim.slug) or original(claim, *rest)
    )
    assert run_json(*words, "--out", tmp_path / "one", "--resume")[1] == report
    assert ran == []
    damaged = tmp_path / "one" / "falsifiers" / f"{SLUG}.json"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert run_json(*words, "--out", tmp_path / "one", "--resume")[1] == report
    assert ran == [SLUG]
    words[-1] = 9
    other = run_json(*words, "--out", tmp_path / "one", "--resume")[1]
    assert ran == [SLUG, SLUG, "mlp-injectivity"]
    assert [claim["falsifier"]["tried"] for claim in other["claims"]] == [9, 9]


def test_a_counterexample_refutes(
    run: Any, run_json: Any, validate: Callable[..., None], false_claim: str, tmp_path: Path
) -> None:
    code, report = run_json("audit", "--claim", false_claim, "--falsify", "--seed", 3, "--out", tmp_path)
    assert code == 1
    validate("audit", report)
    (claim,) = report["claims"]
    assert [case["verdict"] for case in claim["cases"]] == ["proved"]
    assert (claim["verdict"], claim["as_expected"], claim["evidence"]) == ("refuted", False, "exact")
    search = claim["falsifier"]
    assert (search["tried"], search["counterexample"]) == (3, "counterexamples/false-claim.json")
    written = json.loads((tmp_path / search["counterexample"]).read_text(encoding="utf-8"))
    assert written["reproduce"] == "promptcert audit --claim false-claim --seed 3 --falsify"
    assert "expected more than 1, found 1" in run("show", tmp_path / search["counterexample"]).out
    text = run("audit", "--claim", false_claim, "--falsify", "--out", tmp_path).out
    assert "false-claim: refuted by its falsifier, trial 3: expected more than 1, found 1" in text
    assert "NOT everything as claimed" in text
    for name in ("report.html", "report.sarif", "report.junit.xml"):
        assert "expected more than 1, found 1" in (tmp_path / name).read_text(encoding="utf-8"), name
    written_path = tmp_path / search["counterexample"]
    written_path.write_text(written_path.read_text(encoding="utf-8").replace("found 1", "found 9"), encoding="utf-8")
    again = run_json("audit", "--claim", false_claim, "--falsify", "--out", tmp_path, "--resume")[1]
    assert again["claims"][0]["verdict"] == "refuted"
    assert "found 9" not in written_path.read_text(encoding="utf-8")


USERS = """
from dataclasses import replace
from constructions.verdict import Evidence
from verify.claims import Settings
from verify.claims.registry import REGISTRY
from verify.counterexample import Counterexample
from verify.falsifiers.falsifier import Falsifier, Trial

def trials(search):
    print("searching")
    yield Trial("first")
    {then}

real = REGISTRY["mlp-injectivity"]
CLAIMS = [replace(real, slug="mine", findings=(), falsifier={falsifier},
                  cases=lambda settings: [case for case in real.cases(settings) if case.name == "monotone-d3-r4"])]
"""


@pytest.mark.parametrize(
    ("then", "falsifier", "said"),
    [
        ("raise KeyError('lost')", "Falsifier('mine', trials)", "KeyError"),
        ("yield Trial('x', counterexample=Counterexample('mine', 's', {}, Evidence.SAMPLED))",
         "Falsifier('mine', trials)", "found a sampled one"),
        ("yield Trial('x', counterexample=Counterexample('mine', 's', {'x': 0.1}))",
         "Falsifier('mine', trials)", "holds exact parts"),
        ("pass", "7", "expected a Falsifier, found int"),
    ],
    ids=["raises", "sampled", "inexact", "no falsifier"],
)  # fmt: skip
def test_a_users_falsifier_that_goes_wrong_refutes_nothing(
    then: str, falsifier: str, said: str, run: Any, run_json: Any, tmp_path: Path
) -> None:
    module = tmp_path / "mine.py"
    module.write_text(USERS.format(then=then, falsifier=falsifier), encoding="utf-8")
    code, report = run_json("audit", "--module", module, "--falsify", "--out", tmp_path / "out")
    assert code == 0
    (claim,) = report["claims"]
    assert (claim["verdict"], claim["falsifier"]["counterexample"]) == ("proved", None)
    assert said in claim["falsifier"]["stopped"]
    assert not (tmp_path / "out" / "counterexamples" / "mine.json").exists()
    assert "its falsifier stopped" in run("audit", "--module", module, "--falsify").out


def test_a_users_counterexample_is_written_with_the_command_that_finds_it(run_json: Any, tmp_path: Path) -> None:
    module = tmp_path / "mine.py"
    then = "yield Trial('x', counterexample=Counterexample('mine', 'expected 1, found 2', {'x': 2}))"
    module.write_text(USERS.format(then=then, falsifier="Falsifier('mine', trials)"), encoding="utf-8")
    code, report = run_json("audit", "--module", module, "--falsify", "--falsify-budget", 5, "--out", tmp_path / "out")
    assert code == 1
    assert report["claims"][0]["verdict"] == "refuted"
    written = json.loads((tmp_path / "out" / "counterexamples" / "mine.json").read_text(encoding="utf-8"))
    assert written["reproduce"] == f"promptcert audit --module {module} --claim mine --falsify --falsify-budget 5"


def test_a_falsifier_and_a_case_do_not_share_a_file(
    run: Any, false_claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = REGISTRY[false_claim].cases(Settings())[0]
    other = replace(REGISTRY[false_claim], slug="false", cases=lambda settings: [replace(case, name="claim")])
    monkeypatch.setitem(REGISTRY, "false", other)
    ran = run("audit", "--claim", false_claim, "--claim", "false", "--falsify")
    assert ran.code == 4
    assert "found that of false with 'claim'" in ran.err
