"""``promptcert experiments``: results, figure, certificates, resuming, and what it says when things are not as
expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq

from constructions.experiments.training import Plan, Run, Trainee, trainee
from verify import experiments as runner
from verify.cli import main
from verify.commands import experiments as command
from verify.commands import experiments_plot
from verify.commands.experiments_plot import write_plot
from verify.resumable import run_key

Json = dict[str, Any]
QUICK = ("experiments", "--quick", "--datasets", 1)
RUNS = 2 * 2 + 2
SMALL: dict[str, Any] = {"lengths": (1, 3), "restarts": 2, "steps": 15, "width": 4, "hidden": 3}


def small_and_not_drawn(patch: pytest.MonkeyPatch) -> None:
    """Two lengths and few steps; figures are left out (one test draws). The real key changes with the code, which may
    be edited while this runs."""
    patch.setattr(command, "QUICK", SMALL)
    patch.setattr(runner, "run_key", str)
    patch.setattr(experiments_plot, "write_plot", lambda path, result: None)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_and_not_drawn(monkeypatch)


def bytes_below(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which stays behind empty."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of one run."""
    out = tmp_path_factory.mktemp("experiments") / "out"
    with pytest.MonkeyPatch.context() as patch:
        small_and_not_drawn(patch)
        assert main([*map(str, QUICK), "--out", str(out)]) == 2
    return out


def test_the_output_folder(run, run_json, validate, finished: Path, tmp_path: Path) -> None:
    result = json.loads((finished / "experiments.json").read_text(encoding="utf-8"))
    validate("experiments", result)
    code, again = run_json(*QUICK)
    assert (code, again) == (2, result)
    (dataset,) = result["datasets"]
    assert [level["prompt_length"] for level in dataset["curve"]] == [1, 3, None]
    assert len(dataset["runs"]) == 2 * 2 * 6 + 6 + 3
    for level in dataset["curve"]:
        certificate = json.loads((finished / level["certificate"]).read_text(encoding="ascii"))
        assert (certificate["claim"], certificate["relation"]) == ("prompt-law", "loss-bounds")
        assert certificate["instance"]["length"] == level["prompt_length"]
    levels = {level["prompt_length"]: level for level in dataset["curve"]}
    for each in dataset["runs"]:
        if each["prompt_length"] is not None:
            key = "loss" if each["method"] == "prompt-attention" else "output_loss"
            assert fmpq_of(each["loss"]["upper"]) >= fmpq_of(levels[each["prompt_length"]][key]["lower"])
    assert len(list((finished / "certificates").iterdir())) == 5
    assert run("check", *sorted((finished / "certificates").iterdir())).code == 0
    files = (finished / dataset[name] for name in ("model", "data"))
    _, floor = run_json("floor", *files, "--prompt-length", 3, "--out", tmp_path)
    assert floor["loss"] == levels[3]["loss"]


def fmpq_of(text: str) -> fmpq:
    whole, _, part = text.partition(".")
    return fmpq(int(whole + part), 10 ** len(part))


def test_the_figure(finished: Path, tmp_path: Path) -> None:
    result = json.loads((finished / "experiments.json").read_text(encoding="utf-8"))
    for name in ("a.svg", "b.svg", "c.png"):
        write_plot(tmp_path / name, result)
    text = (tmp_path / "a.svg").read_bytes()
    assert text == (tmp_path / "b.svg").read_bytes()
    assert text.startswith(b"<?xml")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_draws_both_figures(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn = []
    monkeypatch.setattr(command, "experiments", lambda plan, **_: {"datasets": [], "as_expected": True})
    monkeypatch.setattr(experiments_plot, "write_plot", lambda path, result: drawn.append(path))
    done = run(*QUICK, "--out", tmp_path)
    assert done.code == 0
    assert drawn == [tmp_path / "experiments.svg", tmp_path / "experiments.png"]
    assert all(str(path) in done.out for path in drawn)


def test_same_bytes_with_more_jobs_and_other_bytes_with_another_seed(run, tmp_path: Path, finished: Path) -> None:
    assert run(*QUICK, "--out", tmp_path / "jobs", "--jobs", 2).code == 2
    first, second = bytes_below(finished), bytes_below(tmp_path / "jobs")
    assert first == second
    assert run(*QUICK, "--out", tmp_path / "seed", "--seed", -7).code == 2
    other = bytes_below(tmp_path / "seed")
    assert set(other) == set(first)
    assert all(other[name] != first[name] for name in first)


def resumed(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that a resumed command trains."""
    worked: list[str] = []
    real = Trainee.train

    def noting(self: Trainee, training: Any, plan: Any) -> Any:
        worked.append(training.name)
        return real(self, training, plan)

    with monkeypatch.context() as patch:
        patch.setattr(Trainee, "train", noting)
        assert run(*QUICK, "--out", out, "--resume").code == 2
    return worked


def test_resume_trains_what_is_not_there(run, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bytes_below(finished)
    assert resumed(run, finished, monkeypatch) == []
    assert bytes_below(finished) == first
    names = [f"dataset-0-{name}" for name in ("prompt-attention-3", "low-rank", "all-weights", "prompt-output-1")]
    records = [finished / "runs" / f"{name}.json" for name in names]
    kept = [json.loads(record.read_text()) for record in records]
    damages: list[Callable[[], object]] = [
        records[0].unlink,
        lambda: records[1].write_text(json.dumps({**kept[1], "key": "other code"})),
        lambda: records[2].write_text(json.dumps({**kept[2], "record": kept[2]["record"][1:]})),
        lambda: records[3].write_text(records[3].read_text().replace("[[", "[[1e999, ", 1)),
    ]
    for damage in damages:
        damage()
    assert sorted(resumed(run, finished, monkeypatch)) == sorted(names)
    assert bytes_below(finished) == first


def test_records_that_are_none(finished: Path, tmp_path: Path) -> None:
    plan, run = Plan(datasets=1, **SMALL), Run(0, "prompt-attention", 3)
    path = tmp_path / "runs" / f"{run.name}.json"
    path.parent.mkdir()
    good = json.loads((finished / "runs" / path.name).read_text())
    for content in ("", "[]", "[" * 100_000, json.dumps({**good, "record": None}), json.dumps({"key": good["key"]})):
        path.write_text(content)
        assert runner._kept_points(tmp_path, good["key"], run, plan) is None
    path.write_text(json.dumps(good))
    points = runner._kept_points(tmp_path, good["key"], run, plan)
    assert points is not None
    assert points.tolist() == good["record"]


def test_a_kept_prompt_is_evaluated_again(run, finished: Path) -> None:
    """What a file says of a loss is not believed: there is none in it, and a moved point has its own."""
    record = finished / "runs" / "dataset-0-prompt-attention-1.json"
    before = record.read_bytes()
    content = json.loads(before)
    content["record"][0][0] += 1.0
    record.write_text(json.dumps(content))
    old = json.loads((finished / "experiments.json").read_text())
    assert run(*QUICK, "--out", finished, "--resume").code == 2
    new = json.loads((finished / "experiments.json").read_text())
    changed = [a != b for a, b in zip(old["datasets"][0]["runs"], new["datasets"][0]["runs"], strict=True)]
    assert changed == [True] + [False] * (len(changed) - 1)
    record.write_bytes(before)
    assert run(*QUICK, "--out", finished, "--resume").code == 2
    assert json.loads((finished / "experiments.json").read_text()) == old


def test_an_interruption_loses_nothing_finished(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, real = tmp_path / "out", runner._train
    calls: list[str] = []

    def stopping(training: Any, plan: Any, folder: Path, key: str) -> Any:
        calls.append(training.name)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        return real(training, plan, folder, key)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_train", stopping)
        done = run(*QUICK, "--out", out)
    assert (done.code, done.err) == (3, "error: interrupted; nothing is claimed\n")
    assert not (out / "experiments.json").exists()
    assert sorted(path.stem for path in (out / "runs").iterdir()) == sorted(calls[:2])
    assert len(resumed(run, out, monkeypatch)) == RUNS - 2
    assert (out / "experiments.json").exists()


def test_a_point_below_the_curve_stops_the_run(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: bounds that are too high (and whose certificates somebody has passed) are found out."""
    certified, real = runner.loss_certificate, runner.curve
    true = {level.length: level for level in real(trainee(Plan(**SMALL), 0), [1, 3, None])}
    high = [replace(x, bounds=replace(x.bounds, lower=x.bounds.lower * 100)) for x in true.values()]
    monkeypatch.setattr(runner, "curve", lambda *given: high)
    monkeypatch.setattr(runner, "loss_certificate", lambda model, bounds: certified(model, true[bounds.length].bounds))
    done = run(*QUICK, "--out", tmp_path / "out")
    assert done.code == 1
    assert "disagree (a bug): dataset-0-prompt-attention-1: trained to a loss of at most" in done.err
    assert not (tmp_path / "out" / "experiments.json").exists()


def test_a_certificate_that_the_kernel_refuses_stops_the_run(run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = runner.curve
    monkeypatch.setattr(
        runner,
        "curve",
        lambda *given: [replace(x, bounds=replace(x.bounds, lower=x.bounds.upper + 1)) for x in real(*given)],
    )
    done = run(*QUICK)
    assert done.code == 1
    assert "the kernel says false" in done.err


def test_exit_code_and_text(run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(*QUICK)
    assert done.code == 2
    assert "NOT as expected: a low-rank update or all weights were not trained to zero" in done.out
    assert "24 trained prompts, each evaluated in enclosures: none lies below the certified curve" in done.out
    assert done.err == ""
    monkeypatch.setattr(runner, "ZERO", fmpq(100))
    done = run(*QUICK)
    assert (done.code, done.out.splitlines()[-1]) == (
        0,
        "low-rank updates and all weights are trained to zero (and the update exists exactly)",
    )


def test_the_full_plan_is_that_of_the_theory(monkeypatch: pytest.MonkeyPatch, run) -> None:
    plans = []

    def noting(plan: Plan, **_: object) -> Json:
        plans.append(plan)
        return {"datasets": [], "as_expected": True}

    monkeypatch.setattr(command, "experiments", noting)
    assert run("experiments", "--seed", 5).code == 0
    (plan,) = plans
    assert (plan.datasets, plan.seed) == (3, 5)
    assert plan.lengths == tuple(2**k for k in range(9))
    assert plan.restarts > 1
    assert len(plan.prompt_rates) > 1


def test_resume_needs_out_and_the_folder_must_be_usable(refused, tmp_path: Path) -> None:
    assert "--out" in refused(4, "experiments", "--resume")
    (tmp_path / "file").write_text("kept")
    assert "cannot be used as output folder" in refused(4, *QUICK, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_max_seconds(refused, tmp_path: Path) -> None:
    line = refused(3, *QUICK, "--out", tmp_path / "out", "--max-seconds", "0.001")
    assert line == "error: not finished within --max-seconds 0.001; nothing is claimed\n"
    assert not list(tmp_path.rglob("*.part"))


def test_the_key_changes_with_the_plan() -> None:
    assert len({run_key(plan) for plan in (Plan(), Plan(seed=1), Plan(steps=1), Plan(restarts=1))}) == 4
