"""SARIF and JUnit: every claim that is not as it declares shows up, and nothing else does; any text survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from report_documents import WRONG, case, claim, document, every_outcome, searched

from verify.report import FILES, html, junit, sarif

Json = dict[str, Any]
HOSTILE = '<script>alert(1)</script> & "quotes" ]]> \x00 \x1b \ufffe {{ 7*7 }} {% raw %} 𝒫 é'
TEXTS = st.text(max_size=40)


def test_documents_by_hand_are_what_the_schema_says() -> None:
    from importlib.resources import files

    from jsonschema import Draft202012Validator

    schema = json.loads((files("verify") / "schemas" / "audit.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(every_outcome())
    Draft202012Validator(schema).validate(searched())


# -- SARIF ----------------------------------------------------------------------------------------------------------


def test_sarif_has_a_rule_for_each_claim_and_results_for_what_is_not_as_declared() -> None:
    report = every_outcome()
    log = json.loads(sarif.text(report))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [each["slug"] for each in report["claims"]]
    found: dict[str, list[str]] = {}
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        name = result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
        found.setdefault(result["ruleId"], []).extend(name.split("/")[1:])
        assert result["message"]["text"].startswith(f"{result['ruleId']}: expected ")
        assert result["level"] == ("warning" if result["ruleId"] in ("open", "nothing") else "error")
    assert found == WRONG


def test_sarif_has_no_results_when_everything_is_as_declared() -> None:
    good = [each for each in every_outcome()["claims"] if each["as_expected"]]
    assert len(good) == 3
    assert json.loads(sarif.text(document(*good)))["runs"][0]["results"] == []


def test_sarif_points_to_the_line_of_the_case_in_report_json() -> None:
    report = every_outcome()
    rows = json.dumps(report, indent=1, ensure_ascii=False).splitlines()
    for result in sarif.log(report)["runs"][0]["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "report.json"}
        row = rows[place["region"]["startLine"] - 1].strip()
        _, _, name = result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"].partition("/")
        assert row == (f'"name": "{name}",' if name else f'"slug": "{result["ruleId"]}",')


def test_sarif_lines_are_those_of_the_written_file(run_folder: Path) -> None:
    text = (run_folder / "report.json").read_text(encoding="utf-8")
    report = json.loads(text)
    rows = text.splitlines()
    for each in report["claims"]:
        each["expected"], each["as_expected"] = "refuted", False
    for result in sarif.log(report)["runs"][0]["results"]:
        location = result["locations"][0]
        _, name = location["logicalLocations"][0]["fullyQualifiedName"].split("/")
        assert rows[location["physicalLocation"]["region"]["startLine"] - 1].strip() == f'"name": "{name}",'


def check_required(value: Json) -> None:
    """What SARIF 2.1.0 asks for in the parts used here (section numbers of the standard)."""
    assert value["version"] == "2.1.0"  # 3.13.2
    for run in value["runs"]:
        driver = run["tool"]["driver"]  # 3.18.2
        assert isinstance(driver["name"], str)  # 3.19.8
        ids = [rule["id"] for rule in driver["rules"]]  # 3.49.3
        assert len(set(ids)) == len(ids)
        for rule in driver["rules"]:
            assert rule["shortDescription"]["text"] is not None  # 3.12: a message has a text or an id
            assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")  # 3.50.3
        for result in run["results"]:
            assert isinstance(result["message"]["text"], str)  # 3.27.11
            assert result["level"] in ("none", "note", "warning", "error")  # 3.27.10
            assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.6
            for location in result["locations"]:
                assert location["physicalLocation"]["region"]["startLine"] >= 1  # 3.30.5
                assert not location["physicalLocation"]["artifactLocation"]["uri"].startswith("/")  # 3.4.3


def test_sarif_has_what_the_standard_requires() -> None:
    check_required(json.loads(sarif.text(every_outcome())))


# -- JUnit ----------------------------------------------------------------------------------------------------------


def test_junit_fails_what_is_not_as_declared_and_skips_what_is_undecided_as_declared() -> None:
    report = every_outcome()
    root = ET.fromstring(junit.text(report))
    assert [suite.get("name") for suite in root] == [each["slug"] for each in report["claims"]]
    failed = {
        suite.get("name"): [item.get("name") for item in suite.findall("testcase") if item.find("failure") is not None]
        for suite in root
        if suite.findall("testcase/failure")
    }
    assert failed == {**WRONG, "nothing": ["(the claim)"]}
    skipped = [item.get("classname") for item in root.iter("testcase") if item.find("skipped") is not None]
    assert skipped == ["promptcert.sampled-as-declared"]
    assert (root.get("tests"), root.get("failures"), root.get("skipped"), root.get("errors")) == ("11", "4", "1", "0")


def test_junit_as_a_reader_of_its_own_takes_it(tmp_path: Path) -> None:
    junitparser = pytest.importorskip("junitparser")
    path = tmp_path / "report.junit.xml"
    path.write_text(junit.text(every_outcome()), encoding="utf-8")
    read = junitparser.JUnitXml.fromfile(str(path))
    assert (read.tests, read.failures, read.skipped, read.errors) == (11, 4, 1, 0)
    suites = {suite.name: suite for suite in read}
    assert {item.name: item.is_passed for item in suites["wrong"]} == {"a": True, "b": False}
    (outcome,) = [item.result[0] for item in suites["open"] if not item.is_passed]
    assert outcome.type == "undecided"
    assert "expected proved, found undecided" in outcome.message


@given(
    title=TEXTS,
    name=st.text(min_size=1, max_size=10),
    summary=TEXTS,
    verdict=st.sampled_from(["proved", "refuted", "undecided"]),
)
@example(title="", name="\x85", summary="\u2028", verdict="proved")
@example(title=HOSTILE, name="a", summary=HOSTILE, verdict="refuted")
def test_any_text_gives_well_formed_documents(title: str, name: str, summary: str, verdict: str) -> None:
    report = document(claim("made-up", [case(verdict, name, summary=summary)], title=title))
    root = ET.fromstring(junit.text(report).encode("utf-8", "replace"))
    assert len(list(root.iter("testcase"))) == 1
    log = json.loads(sarif.text(report))
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["shortDescription"]["text"] == title


def test_the_same_report_gives_the_same_bytes(run_folder: Path, tmp_path: Path) -> None:
    """In another process, with another hash seed."""
    import os
    import shutil
    import subprocess
    import sys

    shutil.copytree(run_folder / "certificates", tmp_path / "certificates")
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom verify.report import write_report\n"
        "write_report(json.loads(Path(sys.argv[1]).read_text(encoding='utf-8')), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    command = [sys.executable, "-c", code, str(run_folder / "report.json"), str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (run_folder / name).read_bytes(), name
    assert not list(tmp_path.glob(".*"))


def test_html_without_figures_needs_no_certificates(tmp_path: Path) -> None:
    assert "<figure" not in html.text(every_outcome(), tmp_path)


# -- falsifiers -----------------------------------------------------------------------------------------------------


def test_a_claim_that_its_falsifier_refuted_is_in_every_format(tmp_path: Path) -> None:
    """At the claim, as it is no case of it."""
    report = searched()
    (result,) = json.loads(sarif.text(report))["runs"][0]["results"]
    assert result["ruleId"] == "falsified"
    assert "expected 1, found 2" in result["message"]["text"]
    rows = json.dumps(report, indent=1, ensure_ascii=False).splitlines()
    line = result["locations"][0]["physicalLocation"]["region"]["startLine"]
    assert rows[line - 1].strip() == '"slug": "falsified",'
    (fine, wrong) = ET.fromstring(junit.text(report)).findall("testsuite")
    assert (fine.get("failures"), wrong.get("failures"), wrong.get("tests")) == ("0", "1", "2")
    (failure,) = wrong.findall("testcase/failure")
    assert "expected 1, found 2" in str(failure.get("message"))
    page = html.text(report, tmp_path)
    assert "expected 1, found 2" in page
    assert "7 of 10" in page
    assert "Measured tightness" in page
    assert "Measured tightness" not in html.text(every_outcome(), tmp_path)
