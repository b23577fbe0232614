"""A stranger's project (tests/stranger) uses the wheel: in an environment of its own, where this checkout is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("constructions", "verify", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Environment:
    """An environment with the wheel and the stranger's project, and the folder where the stranger works."""

    bin: Path
    project: Path
    wheel: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "HYPOTHESIS"))}
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.project, env=plain, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("stranger")
    source, project = folder / "source", folder / "project"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "tests" / "stranger", project, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    alone = ("--no-build-isolation", "--no-deps", "--no-index")  # with what is here, from nowhere else
    pip("wheel", *alone, "--wheel-dir", folder, source, project)
    venv.create(folder / "env", symlinks=True)
    bin_ = folder / "env" / "bin"
    ours = Path(sysconfig.get_path("purelib"))
    asked = subprocess.run(
        [bin_ / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    theirs = Path(asked.stdout.strip())
    for path in ours.iterdir():  # its dependencies, but not this checkout
        if "promptcert" not in path.name:
            (theirs / path.name).symlink_to(path)
    (wheel,) = folder.glob("promptcert-*.whl")
    pip("--python", bin_ / "python", "install", *alone[1:], "--no-compile", wheel, *folder.glob("strangers*.whl"))
    return Environment(bin_, project, wheel)


def test_the_wheel_is_whole(stranger: Environment) -> None:
    names = set(zipfile.ZipFile(stranger.wheel).namelist())
    kept = {"__pycache__"}
    for package in ("constructions", "verify"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".json", ".css", ".jinja", ".typed") and not kept & set(path.parts):
                assert path.relative_to(ROOT).as_posix() in names
    assert {"verify/kernel/__main__.py", "verify/schemas/counterexample.schema.json", "verify/py.typed"} <= names


def test_a_failing_and_a_passing_test_and_a_counterexample(stranger: Environment) -> None:
    where = stranger.run("python", "-c", "import verify, constructions; print(verify.__file__, constructions.__file__)")
    assert all(Path(file).is_relative_to(stranger.bin.parent) for file in where.stdout.split()), where
    done = stranger.run("python", "-m", "pytest", "--promptcert-profile=ci", "--junitxml=junit.xml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed" in done.stdout
    (path,) = (stranger.project / ".promptcert" / "counterexamples").iterdir()
    document = json.loads(path.read_text(encoding="ascii"))
    assert document["claim"] == "copying-copies"
    X = document["instance"]["X"]  # two tokens, and one entry that is not zero: which one, hypothesis chooses
    assert sorted(X[0] + X[1]) == [0, 0, 0, 1]
    suite = ET.parse(stranger.project / "junit.xml").getroot()[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["3", "1", "0", "0"]
    told = stranger.run("promptcert", "show", os.path.relpath(path, stranger.project))
    assert (told.returncode, told.stderr) == (0, "")
    assert "counterexample to copying-copies (sampled), not a certificate\n" in told.stdout
    assert f"X = [{X[0][0]}, {X[0][1]}; {X[1][0]}, {X[1][1]}]\n" in told.stdout


def test_the_claims_of_the_package_are_audited(stranger: Environment) -> None:
    done = stranger.run("promptcert", "audit", "--claim", "copying-contracts", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "copying-contracts (strangers-attention 0.3): The copying layer does not stretch.\n" in done.stdout
    assert "    kernel: attention-lipschitz: " in done.stdout
    assert (stranger.project / "out" / "certificates" / "copying-contracts-d2.json").is_file()
