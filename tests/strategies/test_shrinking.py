"""Counterexamples to false claims end no larger than those made by hand (benchmarks/shrinking.py prints the table)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import Verbosity, settings
from hypothesis.strategies import integers

from verify.strategies import smallest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "shrinking.py"
spec = importlib.util.spec_from_file_location("shrinking", SCRIPT)
assert spec is not None
assert spec.loader is not None
shrinking = importlib.util.module_from_spec(spec)
sys.modules["shrinking"] = shrinking  # dataclasses look their module up
spec.loader.exec_module(shrinking)

SEED = 0
SLOW = ("mask", "root-of-squares")
QUICK = [name for name in shrinking.CLAIMS if name not in SLOW]
"""Without two searches that take longer than all others together; the script runs them."""


def test_there_are_at_least_ten() -> None:
    assert len(QUICK) >= 10


@pytest.mark.parametrize("name", QUICK)
def test_counterexamples_end_as_small_as_those_made_by_hand(name: str) -> None:
    claim = shrinking.CLAIMS[name]
    assert not claim.holds(claim.by_hand)
    found = claim.reported(SEED)
    assert not claim.holds(found)
    assert shrinking.Size.of(found).within(shrinking.Size.of(claim.by_hand)), found


def test_sizes_count_all_numbers() -> None:
    one = shrinking.Size.of((shrinking.row(1, -7), [shrinking.fmpq(1, 3)]))
    assert one == shrinking.Size(numbers=3, side=2, numerator=7, denominator=3)
    assert not one.within(shrinking.Size(numbers=3, side=2, numerator=7, denominator=2))


def _break(value: int) -> bool:
    raise ZeroDivisionError(value)


def _answers() -> tuple[int, list[str]]:
    with pytest.raises(ZeroDivisionError) as caught:
        smallest(integers(0, 9), _break)
    return smallest(integers(), lambda n: n % 1000 > 990), caught.value.__notes__


def test_no_loaded_profile_changes_the_answers(capsys: pytest.CaptureFixture[str]) -> None:
    # hypothesis loads a profile much like this one by itself where it finds itself in CI
    loaded = settings.get_current_profile_name()
    settings.register_profile("plain", settings.get_profile("default"), print_blob=False)
    settings.register_profile("told", derandomize=True, print_blob=True, database=None, verbosity=Verbosity.verbose)
    answers = []
    try:
        for name in ("plain", "told"):
            settings.load_profile(name)
            answers.append(_answers())
    finally:
        settings.load_profile(loaded)
    assert answers[0] == answers[1]
    assert capsys.readouterr().out == ""
