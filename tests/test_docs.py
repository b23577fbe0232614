"""Every example in README and docs is run, and what it prints is compared to the letter."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]
CHATTY = ("CI", "BUILD_NUMBER", "FORCE_COLOR", "PY_COLORS", "PYTEST_ADDOPTS")
"""With these pytest and hypothesis say more, or in colours."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> list[tuple[str, str]]:
    """Kind and text of each block of these kinds, in the order of the page."""
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind in kinds]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository to the examples, and may be written to."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "reference"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_console(text: str) -> str:
    """The block as it should stand: each command with what it prints now."""
    lines = []
    for line in text.splitlines():
        if line.startswith("$ "):
            program, *arguments = shlex.split(line[2:])
            command = [sys.executable, "-m", {"promptcert": "verify.cli", "pytest": "pytest"}[program], *arguments]
            plain = {name: value for name, value in os.environ.items() if name not in CHATTY}
            environment = {**plain, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
            run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            lines += [line, *run.stdout.splitlines()]
    return "\n".join(lines) + "\n"


def without_times(text: str) -> str:
    """What pytest prints differs from run to run in the seconds that it took."""
    return re.sub(r"(\d (?:passed|failed|error)\w*) in [\d.]+s(?: \([\d:]+\))?", r"\1 in 1.00s", text)


def check_console(text: str, scope: dict[str, object], name: str) -> None:
    assert without_times(run_console(text)) == without_times(text)


def check_python(text: str, scope: dict[str, object], name: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, scope, name, name, 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, clear_globs=False)
    scope.update(test.globs)
    assert runner.summarize().failed == 0


RUNNERS = {"console": check_console, "python": check_python}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_do_what_they_say(page: Path, workplace: Path) -> None:
    """In the order of the page: an example may use the files and names of those before it."""
    scope: dict[str, object] = {}
    for number, (kind, text) in enumerate(blocks(page, *RUNNERS)):
        RUNNERS[kind](text, scope, f"{page.name}[{number}]")


def test_the_findings_are_those_of_the_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import findings

    assert (ROOT / "docs" / "findings.md").read_text(encoding="utf-8") == findings.page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_without_a_prompt_is_an_excerpt_of_an_example(page: Path) -> None:
    """So it is run with the example; and what a workflow runs is shown to run."""
    examples = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "examples").glob("*.py")]
    for _, text in blocks(page, "python"):
        assert ">>> " in text or any(text in example for example in examples), text
    shown = "".join(text for _, text in blocks(page, "console"))
    for _, text in blocks(page, "yaml"):
        for command in re.findall(r"run: ((?:pytest|promptcert) .*)", text):
            assert f"$ {command}\n" in shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
