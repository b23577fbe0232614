"""``promptcert audit``: verdicts against expectations, the output folder, resuming, reproducibility."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constructions.files import read_data, read_model
from constructions.verdict import Evidence, Undecided, Verdict
from verify import audit as runner
from verify import resumable
from verify.claims import Settings
from verify.claims.claim import Case, CaseResult, Claim
from verify.claims.registry import REGISTRY
from verify.resumable import run_key
from verify.search import adversary

FAST = "mlp-injectivity"
Json = dict[str, Any]


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_text_and_json(run, run_json) -> None:
    done = run("audit", "--claim", FAST)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].strip() == "promptcert audit"
    assert lines[-1] == "everything as claimed"
    assert FAST in done.out
    code, report = run_json("audit", "--claim", FAST)
    assert (code, report["as_expected"]) == (0, True)
    (claim,) = report["claims"]
    assert (claim["slug"], claim["verdict"], claim["expected"], claim["evidence"]) == (FAST, *["proved"] * 2, "exact")
    assert {case["verdict"] for case in claim["cases"]} == {"proved"}
    names = {case["name"] for case in claim["cases"]}
    assert {finding["case"] for finding in claim["findings"]} <= names


def test_repeated_claims_run_once_in_the_registry_order(run_json) -> None:
    _, report = run_json("audit", "--claim", FAST, "--claim", "direction-lemma", "--claim", FAST)
    assert [claim["slug"] for claim in report["claims"]] == ["direction-lemma", FAST]


def test_output_folder(run, run_json, validate, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    code, report = run_json("audit", "--claim", FAST, "--out", out)
    assert code == 0
    on_disk = json.loads((out / "report.json").read_text(encoding="utf-8"))
    validate("audit", on_disk)
    assert on_disk == report
    for case in report["claims"][0]["cases"]:
        content = json.loads((out / case["certificate"]).read_text(encoding="ascii"))
        validate("certificate", content)
        assert content["sha256"] == case["certificate_sha256"]
        assert content["claim"] == FAST
    assert run("check", *sorted((out / "certificates").iterdir())).code == 0
    assert not list(out.rglob("*.part"))
    text = run("audit", "--claim", FAST, "--out", out).out
    assert (
        f"{len(report['claims'][0]['cases'])} certificates, all accepted by the kernel: {out / 'certificates'}" in text
    )


def test_same_seed_same_bytes_another_seed_others(run, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run("audit", "--claim", "direction-lemma", "--out", tmp_path / name, "--seed", seed).code == 0
    first, second, other = (bytes_below(tmp_path / name) for name in "abc")
    assert first == second
    assert any(first[name] != other[name] for name in first if name.startswith("certificates/"))


def test_jobs_do_not_change_the_result(run, tmp_path: Path) -> None:
    """More jobs than cases too."""
    for name, jobs in (("one", 1), ("many", 100_000_000)):
        done = run("audit", "--claim", "attention-split", "--out", tmp_path / name, "--jobs", jobs)
        assert done.code == 0
    one, many = (bytes_below(tmp_path / name / "certificates") for name in ("one", "many"))
    assert one == many
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "many")]
    assert reports[0]["claims"] == reports[1]["claims"]


def test_negative_seed(run_json, inputs) -> None:
    """The adversary's generator takes no negative seeds; the option does."""
    code, report = run_json("audit", "--claim", "direction-lemma", "--seed", -1)
    assert (code, report["seed"]) == (0, -1)
    model, data = inputs.cone()
    attack = adversary(read_model(model), read_data(data), seed=-1, lengths=(1,), restarts=1, max_iterations=5)
    assert attack.loss > 0


def substitute(monkeypatch: pytest.MonkeyPatch, check: Callable[[], CaseResult], **changes: Any) -> None:
    """Replace the claim by one with a single case."""
    claim = replace(REGISTRY[FAST], cases=lambda settings: [Case("only", check)], findings=(), **changes)
    monkeypatch.setitem(REGISTRY, FAST, claim)


def refuted() -> CaseResult:
    return CaseResult(Verdict.REFUTED, Evidence.EXACT, "a counterexample")


def undecided() -> CaseResult:
    raise Undecided("ran out of bits")


def sampled() -> CaseResult:
    return CaseResult(Verdict.UNDECIDED, Evidence.SAMPLED, "looks fine")


@pytest.mark.parametrize(
    ("check", "expected", "code"),
    [
        (refuted, Verdict.PROVED, 1),
        (refuted, Verdict.REFUTED, 0),
        (undecided, Verdict.PROVED, 2),
        (sampled, Verdict.PROVED, 2),
        (sampled, Verdict.UNDECIDED, 0),
        (undecided, Verdict.REFUTED, 2),
        (refuted, Verdict.UNDECIDED, 1),
    ],
)
def test_exit_codes(run, run_json, monkeypatch: pytest.MonkeyPatch, check, expected: Verdict, code: int) -> None:
    substitute(monkeypatch, check, expected=expected)
    found, report = run_json("audit", "--claim", FAST)
    assert found == code
    assert report["as_expected"] is (code == 0)
    done = run("audit", "--claim", FAST)
    assert done.code == code
    assert done.out.splitlines()[-1] == ("everything as claimed" if code == 0 else "NOT everything as claimed")
    verdict = report["claims"][0]["verdict"]
    if verdict != expected.value:
        assert f"{FAST}/only: {verdict}: {report['claims'][0]['cases'][0]['summary']}" in done.out


@pytest.mark.parametrize("evidence", [Evidence.EXACT, Evidence.SAMPLED])
def test_proved_without_proof_stops_the_run(refused, monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    substitute(monkeypatch, lambda: CaseResult(Verdict.PROVED, evidence, "trust me"))
    assert f"{FAST}/only: proved without a certificate, or by sampling" in refused(1, "audit", "--claim", FAST)


def test_false_certificate_stops_the_run(refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = next(case for case in REGISTRY[FAST].cases(Settings()) if case.name.startswith("norm"))

    def check() -> CaseResult:
        result = good.check()
        assert result.certificate is not None
        result.certificate.witness["z"]["num"][0] += 1
        return result

    substitute(monkeypatch, check)
    line = refused(1, "audit", "--claim", FAST, "--out", tmp_path / "out")
    assert "disagree (a bug): mlp-injectivity/only: proved, but the kernel says false: " in line
    assert not (tmp_path / "out" / "report.json").exists()


def test_resume_needs_out(refused) -> None:
    assert "--out" in refused(4, "audit", "--resume")


def resumed(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> list[str]:
    """The names of the cases that a resumed run works on."""
    worked: list[str] = []
    real = runner.run_case

    def noting(claim: Claim, name: str, *rest: Any) -> Json:
        worked.append(name)
        return real(claim, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "run_case", noting)
        assert run("audit", "--claim", FAST, "--out", out, "--resume", *more).code == 0
    return worked


def test_resume(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the real key changes with the code, which may be edited while this runs; see the next test
    monkeypatch.setattr(runner, "run_key", str)
    out = tmp_path / "out"
    everything = [case.name for case in REGISTRY[FAST].cases(Settings())]
    assert resumed(run, out, monkeypatch) == everything  # nothing there yet
    first = bytes_below(out)
    assert resumed(run, out, monkeypatch) == []
    assert bytes_below(out) == first

    (out / "certificates" / f"{FAST}-{everything[1]}.json").unlink()  # other damages: tests/test_claims.py
    assert resumed(run, out, monkeypatch) == [everything[1]]
    assert bytes_below(out) == first
    assert resumed(run, out, monkeypatch, "--seed", 1) == everything


def test_resume_key_changes_with_code_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is kept from a run of other code."""
    sources = [tmp_path / name for name in ("constructions/a.py", "verify/b.py", "verify/kernel/c.py")]
    for source in sources:
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("x = 1\n")
    monkeypatch.setattr(resumable, "KERNEL", tmp_path / "verify" / "kernel")
    keys = [run_key(settings) for settings in (Settings(), Settings(seed=1), Settings(thorough=True))]
    assert run_key(Settings()) == keys[0]
    for source in sources:
        source.write_text("x = 2\n")
        keys.append(run_key(Settings()))
    assert len(set(keys)) == 6


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_unwritable_out(refused, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("kept")
    line = refused(4, "audit", "--claim", FAST, "--out", tmp_path / place)
    assert f"{tmp_path / place}: cannot be used as output folder" in line
    assert bytes_below(tmp_path) == {"file": b"kept"}


def test_unwritable_report(refused, tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    assert "report.json: cannot be written" in refused(4, "audit", "--claim", FAST, "--out", tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_max_seconds(refused, tmp_path: Path) -> None:
    line = refused(3, "audit", "--claim", FAST, "--out", tmp_path, "--max-seconds", "0.001")
    assert line == "error: not finished within --max-seconds 0.001; nothing is claimed\n"
    assert not (tmp_path / "report.json").exists()
    assert not list(tmp_path.rglob("*.part"))
