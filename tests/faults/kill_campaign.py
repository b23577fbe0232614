"""The kill campaign: audits that are killed at random moments, resumed, and compared with one that was left alone.

A run is killed once a random number of its cases is kept, a random moment later, in one of these ways: SIGKILL to the
run and its workers, SIGTERM and SIGINT to all of them, SIGKILL to one worker, or its disk is full (a file system of its
own in memory where mounting is permitted, else a limit on the size of files). What is on disk must be whole then;
nothing that was kept may be made again by the run that resumes; and its certificates and its report must be those of
the undisturbed run, byte for byte::

    python tests/faults/kill_campaign.py --runs 50 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = ("attention-split", "direction-lemma", "mlp-injectivity", "universality-hardmax")
"""Quick ones, and last one with a case of seconds: a blow after the first cases comes before the end."""
PATIENCE = 300.0
"""Seconds after which a run that should have gone on or ended counts as hanging."""


@dataclass
class Run:
    """An audit in a process and a process group of its own, with its output in files."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            raise TimeoutError(f"the run did not end within {PATIENCE:.0f} s") from None

    def said(self, stream: str) -> str:
        return (self.folder / stream).read_text(encoding="utf-8")


def start(folder: Path, out: Path, *options: str, largest_file: int | None = None) -> Run:
    """Begin ``promptcert audit --out OUT``."""
    claims = [word for claim in CLAIMS for word in ("--claim", claim)]
    code = "import sys; from verify.cli import main; sys.exit(main())"

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background may have been started without it
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "audit", *claims, "--out", out, *options],
            cwd=ROOT, stdout=stdout, stderr=stderr, start_new_session=True, preexec_fn=prepare,
        )  # fmt: skip
    return Run(process, folder)


def children(pid: int) -> list[int]:
    """The worker processes of a run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"popen_loky" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def kept(out: Path) -> dict[str, int]:
    """The kept cases, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("cases/*.json")}


def content(out: Path) -> dict[str, bytes]:
    """What two runs must have in common: certificates and reports."""
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and "cases" not in p.parts
    }


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[Path, str]]:
    """A folder on a file system of so many bytes; where that is not permitted, an ordinary one."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "promptcert-test", str(place)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield place, "tmpfs" if mounted else "file size limit"
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


class CampaignError(AssertionError):
    """Something was lost, or said wrongly."""


def demand(condition: object, what: str) -> None:
    if not condition:
        raise CampaignError(what)


def disturb(rng: random.Random, kind: str, folder: Path, out: Path, total: int) -> tuple[Run, int]:
    """Begin a run and kill it when a random number of cases is kept."""
    jobs = 2 if kind == "worker" or rng.random() < 0.5 else 1
    # workers are done long before the last case is kept, and then there is nothing to lose with them
    wanted, later = rng.randrange(2 if kind == "worker" else total), rng.random() * 0.2
    run = start(folder, out, "--jobs", str(jobs))
    end = time.monotonic() + PATIENCE
    while run.alive() and (not out.exists() or len(kept(out)) < wanted) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(later)
    if kind == "worker":
        while run.alive() and not (workers := children(run.pid)) and time.monotonic() < end:
            time.sleep(0.01)
        if run.alive():
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
    elif run.alive():
        number = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}[kind]
        os.killpg(run.pid, number)
    return run, jobs


def fill(rng: random.Random, folder: Path, out: Path, how: str, size: int) -> Run:
    """A run that meets a full disk."""
    if how != "tmpfs":
        return start(folder, out, largest_file=rng.choice([300, 900, 1200, 1500, 2000]))
    free = rng.randrange(4, size // 4096 // 2) * 4096
    ballast = out.parent / "ballast"
    ballast.write_bytes(bytes(size - free))
    run = start(folder, out)
    run.wait()
    ballast.unlink()
    return run


def one(rng: random.Random, kind: str, expected: dict[str, bytes], folder: Path) -> str:
    """One run that is disturbed and resumed; how it went, or CampaignError."""
    total = sum(name.startswith("certificates/") for name in expected)
    if kind == "disk":
        size = 512 * 1024
        with small_disk(folder, size) as (place, how):
            out = place / "out"
            run = fill(rng, folder, out, how, size)
            return f"{how}: {resumed(run, kind, out, expected, folder)}"
    out = folder / "out"
    run, jobs = disturb(rng, kind, folder, out, total)
    return f"--jobs {jobs}: {resumed(run, kind, out, expected, folder)}"


CODES = {"kill": (-9, 0), "terminate": (-15, 0), "interrupt": (3, 0), "worker": (3, 0), "disk": (4, 0)}
SAYS = {
    "interrupt": "error: interrupted",
    "worker": "error: a worker process was killed",
    "disk": "cannot be written: ",
}


def resumed(run: Run, kind: str, out: Path, expected: dict[str, bytes], folder: Path) -> str:
    code = run.wait()
    said = run.said("stderr")
    demand(code in CODES[kind], f"exit code {code}, and said {said!r}")
    demand("Traceback" not in said, f"a traceback: {said!r}")
    if code > 0:
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        demand(len(lines) == 1 and SAYS[kind] in lines[0], f"expected one line with {SAYS[kind]!r}, found {said!r}")
    for path in [*out.glob("cases/*.json"), *out.glob("certificates/*.json")]:
        json.loads(path.read_text(encoding="utf-8"))
    before = kept(out)
    again = start(folder, out, "--resume")
    demand((ended := again.wait()) == 0, f"resumed: exit code {ended}: {again.said('stderr')!r}")
    demand(before.items() <= kept(out).items(), "a case that was kept was made again")
    demand(content(out) == expected, "other files than those of the undisturbed run")
    return "finished before" if code == 0 else f"{len(before)} of {len(kept(out))} cases kept"


KINDS = ("kill", "kill", "worker", "interrupt", "terminate", "disk")


def campaign(runs: int, seed: int, tell: Callable[[str], None] = lambda line: None,
             kinds: Sequence[str] = KINDS) -> list[str]:  # fmt: skip
    """So many disturbed runs; what went wrong."""
    rng, wrong, counts = random.Random(f"kill/{seed}"), [], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="promptcert-kill-") as name:
        calm = Path(name) / "calm"
        calm.mkdir()
        undisturbed = start(calm, calm / "out")
        demand(undisturbed.wait() == 0, f"the undisturbed run: {undisturbed.said('stderr')!r}")
        expected = content(calm / "out")
        for number in range(runs):
            kind = kinds[number % len(kinds)]
            folder = Path(name) / str(number)
            folder.mkdir()
            try:
                how = one(rng, kind, expected, folder)
                counts[kind] += 1
            except (CampaignError, TimeoutError) as error:
                how = f"WRONG: {error}"
                wrong.append(f"run {number} ({kind}): {error}")
            tell(f"run {number}: {kind}: {how}")
            shutil.rmtree(folder, ignore_errors=True)
    tell(f"{runs} runs ({', '.join(f'{kind}: {count}' for kind, count in counts.items())}), wrong: {len(wrong)}")
    return wrong


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(description="kill audits, resume them, compare")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=sorted(CODES), help="only this way (repeatable)")
    options = parser.parse_args()
    wrong = campaign(options.runs, options.seed, lambda line: print(line, flush=True), options.kind or KINDS)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
