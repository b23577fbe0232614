"""The kill campaign, short; and what it would notice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from verify import audit as runner

spec = importlib.util.spec_from_file_location("kill_campaign", Path(__file__).with_name("kill_campaign.py"))
assert spec is not None
assert spec.loader is not None
kill_campaign: Any = importlib.util.module_from_spec(spec)
sys.modules["kill_campaign"] = kill_campaign
spec.loader.exec_module(kill_campaign)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One quick claim, and report.json alone: the other formats are drawn in the script's own runs."""
    monkeypatch.setattr(kill_campaign, "CLAIMS", ("mlp-injectivity",))
    monkeypatch.setattr(runner, "write_report", lambda report, folder: None)


def test_killed_runs_lose_nothing() -> None:
    told: list[str] = []
    assert kill_campaign.campaign(2, 0, told.append, kinds=("worker", "disk")) == []
    assert len(told) == 3


def test_what_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run that begins again makes what was kept again."""
    real = kill_campaign.start

    def forgetful(folder: Path, out: Path, *options: str, **more: Any) -> Any:
        return real(folder, out, *(option for option in options if option != "--resume"), **more)

    monkeypatch.setattr(kill_campaign, "start", forgetful)
    told: list[str] = []
    (wrong,) = kill_campaign.campaign(1, 1, told.append, kinds=("interrupt",))
    assert "a case that was kept was made again" in wrong
