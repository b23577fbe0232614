"""What ``certify`` takes for proved: a certificate that the kernel accepts, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constructions.verdict import Evidence, Verdict
from verify import certified as module
from verify.certificate import Certificate
from verify.certified import NotProved, certified
from verify.claims import CaseResult, Settings
from verify.claims.registry import REGISTRY
from verify.counterexample import Counterexample, Refuted
from verify.kernel_process import KernelAnswer, KernelError


@functools.cache
def proved() -> CaseResult:
    return REGISTRY["mlp-injectivity"].cases(Settings())[0].check()


def genuine() -> Certificate:
    certificate = proved().certificate
    assert certificate is not None
    return certificate


@pytest.mark.parametrize("found", [proved, genuine])
def test_proved(found: Callable[[], Any], tmp_path: Path) -> None:
    done = certified(found(), tmp_path / "a.json")
    assert done.path.read_text(encoding="ascii") == genuine().text()
    assert done.sentence.startswith("mlp-injectivity: ")


FOUND = Counterexample("my-lemma", "expected 1, found 2", {"x": 2})
NOT_PROVED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "undecided": (lambda: replace(proved(), verdict=Verdict.UNDECIDED, summary="open"), NotProved, "undecided: open"),
    "refuted": (lambda: replace(proved(), verdict=Verdict.REFUTED, summary="no"), NotProved, "found refuted: no"),
    "counterexample": (lambda: CaseResult(Verdict.REFUTED, Evidence.EXACT, "", counterexample=FOUND), Refuted, "2"),
    "own word": (lambda: replace(proved(), certificate=None), NotProved, "says proved without one"),
    "sampled": (lambda: replace(proved(), evidence=Evidence.SAMPLED), NotProved, "says proved without one"),
    "sampled certificate": (lambda: replace(genuine(), evidence=Evidence.SAMPLED), NotProved, "found not a"),
    "false": (lambda: replace(genuine(), witness={**genuine().witness, "z": {"den": 1, "num": [0] * 3}}), NotProved,
              "found false: "),
    "other claim": (lambda: replace(genuine(), claim="prompt-law"), NotProved, "found not a certificate: "),
    "true": (lambda: True, TypeError, "expected a Certificate or a CaseResult, found bool"),
    "verdict": (lambda: Verdict.PROVED, TypeError, "found Verdict"),
    "NaN": (lambda: float("nan"), TypeError, "found float"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PROVED)
def test_not_proved(name: str, tmp_path: Path) -> None:
    """And the file of an earlier proof is not left to be taken for this one's."""
    make, error, message = NOT_PROVED[name]
    place = tmp_path / "a.json"
    place.write_text("earlier")
    with pytest.raises(error, match=message):
        certified(make(), place)
    assert not place.exists()


@pytest.mark.parametrize("verdict", ["false", "over limits", "not a certificate", "no answer"])
def test_only_the_kernel_says_proved(verdict: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(paths: list[Path]) -> list[KernelAnswer]:
        if verdict == "no answer":
            raise KernelError("the kernel was killed")
        return [KernelAnswer(str(path), verdict, "said so") for path in paths]

    monkeypatch.setattr(module, "check_files", answer)
    with pytest.raises(NotProved, match="killed" if verdict == "no answer" else f"found {verdict}: said so"):
        certified(genuine(), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(paths: list[Path]) -> list[KernelAnswer]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "check_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        certified(genuine(), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
