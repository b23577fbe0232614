"""The kill campaign, short; and what it would notice."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

spec = importlib.util.spec_from_file_location("kill_campaign", Path(__file__).with_name("kill_campaign.py"))
assert spec is not None
assert spec.loader is not None
kill_campaign: Any = importlib.util.module_from_spec(spec)
sys.modules["kill_campaign"] = kill_campaign
spec.loader.exec_module(kill_campaign)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_killed_runs_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_campaign, "CLAIMS", ("mlp-injectivity",))
    told: list[str] = []
    assert kill_campaign.campaign(2, 0, told.append, kinds=("worker", "disk")) == []
    assert len(told) == 3


@pytest.fixture
def ended(tmp_path: Path) -> Any:
    """A run that was killed when it had kept one case."""
    (tmp_path / "out" / "cases").mkdir(parents=True)
    (tmp_path / "out" / "cases" / "one.json").write_text("{}")
    (tmp_path / "stderr").write_text("")
    return kill_campaign.Run(Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]), tmp_path)


def resuming(monkeypatch: pytest.MonkeyPatch, ended: Any, *, touch: bool) -> str:
    """What the campaign says of a resumed run that ends well, and makes the kept case again if ``touch``."""

    def start(folder: Path, out: Path, *options: str) -> Any:
        assert options == ("--resume",)
        if touch:
            os.utime(out / "cases" / "one.json", ns=(0, 0))
        (out / "certificates").mkdir(exist_ok=True)
        (out / "certificates" / "one.json").write_text("{}")
        return kill_campaign.Run(Popen([sys.executable, "-c", ""]), folder)

    monkeypatch.setattr(kill_campaign, "start", start)
    out = ended.folder / "out"
    told: str = kill_campaign.resumed(ended, "kill", out, {"certificates/one.json": b"{}"}, ended.folder)
    return told


def test_a_run_that_goes_on_is_no_error(monkeypatch: pytest.MonkeyPatch, ended: Any) -> None:
    assert resuming(monkeypatch, ended, touch=False) == "1 of 1 cases kept"


def test_what_is_made_again_is_noticed(monkeypatch: pytest.MonkeyPatch, ended: Any) -> None:
    with pytest.raises(kill_campaign.CampaignError, match="a case that was kept was made again"):
        resuming(monkeypatch, ended, touch=True)


def test_another_certificate_is_noticed(monkeypatch: pytest.MonkeyPatch, ended: Any) -> None:
    (ended.folder / "out" / "certificates").mkdir()
    (ended.folder / "out" / "certificates" / "two.json").write_text("{}")
    with pytest.raises(kill_campaign.CampaignError, match="other files than those of the undisturbed run"):
        resuming(monkeypatch, ended, touch=False)
