"""The fuzz campaign, short: nothing of what it looks for, and what it looks for is noticed."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

import fuzz_campaign as campaign  # noqa: E402
import fuzz_targets as targets  # noqa: E402
from fuzz_mutants import Raw, structure_mutant, written  # noqa: E402
from fuzz_targets import TARGETS, Input, Outcome  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def quick_pool() -> Iterator[None]:
    """The certificates of docs/conformance only: those of the mutation campaign take long to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets.mutations, "pool", lambda seed: [])
        targets.pool.cache_clear()
        before = signal.signal(signal.SIGPROF, campaign._over_time)
        yield
        signal.signal(signal.SIGPROF, before)
        targets.pool.cache_clear()


def test_the_good_files_are_accepted(tmp_path: Path) -> None:
    good = targets.pool()
    for target in TARGETS:
        assert good.files[target]
        for data in good.files[target]:
            outcome, _ = campaign.judged(Input(target, "good", data), tmp_path)
            assert outcome.verdict in ("true", "read"), outcome
            assert outcome.wrong == ""


def test_a_short_campaign() -> None:
    tally = campaign.chunk((0, 0, 500, TARGETS))
    assert tally.wrong == []
    assert tally.total == 500
    seen = {(target, verdict) for target, _, verdict, _ in tally.outcomes}
    assert {(target, "read") for target in ("model", "data", "prompt")} <= seen
    assert {("kernel", verdict) for verdict in ("true", "false", "not a certificate")} <= seen
    text = "\n".join(tally.lines())
    assert "what should not have happened: 0" in text


@given(st.randoms(use_true_random=False), st.sampled_from(TARGETS))
def test_one_input(rng: Random, target: str) -> None:
    """The same inputs drawn by hypothesis, so that a finding is a small one."""
    given_input = targets.make(rng, target)
    with tempfile.TemporaryDirectory() as folder:
        outcome, _ = campaign.judged(given_input, Path(folder))
    assert outcome.wrong == "", given_input


def test_inputs_are_known_by_their_seed() -> None:
    one, two = ([targets.make(rng, target) for target in TARGETS * 5] for rng in (Random(4), Random(4)))
    assert one == two


def test_raw_text_is_written_as_it_is() -> None:
    assert written({"b": Raw("NaN"), "a": [Raw("1e5"), "x"]}) == '{"a":[1e5,"x"],"b":NaN}'
    rng, document = Random(0), {"den": 1, "num": [1, {"den": 2, "num": 3}]}
    before = json.dumps(document)
    assert len({written(structure_mutant(rng, document, [document])) for _ in range(200)}) > 100
    assert json.dumps(document) == before


# What the campaign would notice


def kernel_input(document: Any) -> Input:
    return Input("kernel", "test", written(document).encode() + b"\n")


def test_a_false_acceptance_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import verdict

    source, document = next(
        (k, x)
        for k, x in enumerate(targets.pool().documents["kernel"])
        if x["claim"] == "direction-lemma" and targets._has_second_opinion(k)
    )
    monkeypatch.setattr(verdict, "prove", lambda data: "everything is true")
    changed = json.loads(json.dumps(document))
    changed["instance"]["token"]["num"][0] += 1
    unsealed = Input("kernel", "test", written(changed).encode() + b"\n", source)
    assert "not sealed" in campaign.judged(unsealed, tmp_path)[0].wrong
    false = Input("kernel", "test", written(targets.sealed(changed)).encode() + b"\n", source)
    assert "false by the second evaluation" in campaign.judged(false, tmp_path)[0].wrong


def test_exceptions_and_time_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import verdict

    def spinning(data: bytes) -> str:
        while True:
            pass

    some = kernel_input({})
    monkeypatch.setattr(verdict, "prove", lambda data: 1 // 0)
    assert campaign.judged(some, tmp_path)[0] == Outcome(
        "failed", wrong="ZeroDivisionError: integer division or modulo by zero"
    )
    monkeypatch.setattr(verdict, "prove", spinning)
    monkeypatch.setattr(campaign, "SECONDS", 0.05)
    assert campaign.judged(some, tmp_path)[0].verdict == "over time"


def test_a_file_read_as_another_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read, write = targets.READERS["prompt"]
    monkeypatch.setitem(targets.READERS, "prompt", (read, lambda box: {**write(box), "radius": "1/9"}))
    data = targets.pool().files["prompt"][0]
    assert "was read as 1/9" in campaign.judged(Input("prompt", "test", data), tmp_path)[0].wrong


def test_the_command_is_compared(tmp_path: Path) -> None:
    good = Input("kernel", "good", targets.pool().files["kernel"][0])
    assert list(campaign.through_the_command([(good, "true")], tmp_path)) == []
    ((_, outcome),) = campaign.through_the_command([(good, "false")], tmp_path)
    assert outcome.wrong.startswith("by the command true: ")


def test_files_nested_too_deeply_are_not_told(tmp_path: Path) -> None:
    """Found by the campaign: what read a counterexample recursed."""
    good = targets.pool()
    for target, read in (("counterexample", targets.read_counterexample), ("record", targets.read_record)):
        document = good.documents[target][0]
        deep = written({**document, "instance": Raw('{"den":' * 600 + "1" + "}" * 600)})
        path = tmp_path / "deep.json"
        path.write_text(deep)
        assert read(path) is None
