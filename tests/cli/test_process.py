"""The command as a process: streams, closed pipes, interrupts, encodings, hash seeds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "verify.cli"]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def process(*arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    encoding = changes.get("PYTHONIOENCODING", "utf-8")
    return subprocess.run(
        command, capture_output=True, encoding=encoding, env=environment(**changes), check=False, timeout=120
    )


def test_verdict_on_stdout_diagnostics_on_stderr(inputs) -> None:
    model, data = inputs.cone()
    done = process("decide", model, data, "--prompt", "prompt.json")
    assert done.returncode == 0
    assert done.stdout.startswith("unmemorizable (argument: cone)\n")
    assert done.stderr == "no prompt written to prompt.json: the data are unmemorizable\n"
    bad = process("decide", model, "missing.json")
    assert (bad.returncode, bad.stdout) == (4, "")
    assert bad.stderr == "error: missing.json: cannot be read: No such file or directory\n"
    usage = process("decide", model)
    assert (usage.returncode, usage.stdout) == (4, "")


def test_installed_command_and_exit_codes(inputs) -> None:
    command = Path(sys.executable).parent / "promptcert"
    if not command.exists():
        pytest.skip("the package is not installed as a command")
    model, data = inputs.undecided()
    done = subprocess.run([command, "decide", model, data], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("undecided\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_closed_pipe(inputs, form: str) -> None:
    """As in ``promptcert … | head -0``: the reader is gone, the verdict stands."""
    model, data = inputs.undecided()
    for arguments, code in ((["doctor"], 0), (["decide", str(model), str(data)], 2)):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as stream:
            done = subprocess.run(
                [*COMMAND, *arguments, "--format", form],
                stdout=stream,
                stderr=subprocess.PIPE,
                env=environment(),
                check=False,
            )
        assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_on_stdout() -> None:
    with open("/dev/full", "wb") as stream:
        done = subprocess.run(
            [*COMMAND, "doctor"], stdout=stream, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode == 4
    assert done.stderr == b"error: standard output: cannot be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_streams_that_cannot_hold_greek(encoding: str, certificates: Path) -> None:
    path = certificates / "attention-split-zero-weights.json"
    text = process("show", path, PYTHONIOENCODING=encoding)
    assert (text.returncode, text.stderr) == (0, "")
    assert "\\u03bb of head 0" in text.stdout
    document = json.loads(process("show", path, "--format", "json", PYTHONIOENCODING=encoding).stdout)
    assert any(line.startswith("λ of head 0") for line in document["told"])


def test_hash_seeds_do_not_change_the_bytes(inputs, tmp_path: Path) -> None:
    model, data = inputs.closeness()
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        assert process("audit", "--claim", "direction-lemma", "--out", out, PYTHONHASHSEED=seed).returncode == 0
        assert process("decide", model, data, "--out", out / "decided.json", PYTHONHASHSEED=seed).returncode == 0
        written.append(
            {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.json") if p.parent.name != "cases"}
        )
    assert written[0] == written[1]
    assert len(written[0]) >= 7


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_audit_leaves_whole_files_and_can_go_on(tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "out"
    arguments = ["audit", "--claim", "direction-lemma", "--thorough", "--out", str(out), "--jobs", str(jobs)]
    running = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
        # a shell that puts the tests into the background makes its children ignore interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("cases/*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 3
    assert stdout == "undecided\n"
    assert "error: interrupted; nothing is claimed; " in stderr
    assert stderr.endswith(" cases are finished and kept: go on with --resume\n")
    assert "Traceback" not in stderr
    time.sleep(0.5 if jobs > 1 else 0)  # workers that were told to stop
    assert not (out / "report.json").exists()
    assert not list(out.rglob("*.part"))
    finished = sorted(path.name for path in (out / "cases").iterdir())
    assert finished
    for path in [*out.glob("cases/*"), *out.glob("certificates/*")]:
        json.loads(path.read_text(encoding="utf-8"))
    if jobs == 1:
        before = {path.name: path.stat().st_mtime_ns for path in (out / "cases").iterdir()}
        done = process(*arguments, "--resume")
        assert done.returncode == 0
        assert done.stdout.endswith("everything as claimed\n")
        after = {path.name: path.stat().st_mtime_ns for path in (out / "cases").iterdir()}
        assert before.items() <= after.items()
        assert len(after) > len(before)
