"""The fuzz campaign: hostile inputs for the kernel and the readers of files, each within a bound of time and memory.

Inputs are made from good files by changing bytes, by changing structure (and sealing again, so that they get beyond the
hash), and from the shipped JSON Schemas. For each: no exception but the ones that are answers, no answer "true" that
another evaluation calls false, no file read as something else than it says, at most 10 s of processor time and 1 GiB
of memory. A sample of the kernel's inputs goes through the real command too. Run it longer by hand::

    python tests/fuzz/fuzz_campaign.py --inputs 1000000 --seed 1 --jobs 2
    python tests/fuzz/fuzz_campaign.py --inputs 20000 --target readers

Prints counts by verdict and by where an input was rejected; exit code 1 and the input itself, as a file, for anything
that should not have happened.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

from fuzz_targets import TARGETS, Input, Outcome, ask, make, pool  # noqa: E402

SECONDS = 10.0
"""Processor time for one input."""
MEMORY = 1 << 30
"""Bytes of address space for one input, beyond what the process has with everything loaded."""
CHUNK = 2000
THROUGH_THE_COMMAND = 200
"""One of so many inputs for the kernel goes through ``python3 -I verify/kernel`` as well."""


class OverTimeError(BaseException):
    """An input took longer than the bound: nobody's ``except Exception`` may take it for an answer."""


@dataclass
class Tally:
    """What came out: counts, the slowest input, and everything that should not have happened."""

    outcomes: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    wrong: list[tuple[Input, Outcome]] = field(default_factory=list)
    slowest: float = 0.0
    above_one_second: int = 0
    through_command: int = 0
    peak_bytes: int = 0

    @property
    def total(self) -> int:
        return self.outcomes.total()

    def merge(self, other: Tally) -> None:
        self.outcomes += other.outcomes
        self.wrong += other.wrong
        self.slowest = max(self.slowest, other.slowest)
        self.above_one_second += other.above_one_second
        self.through_command += other.through_command
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)

    def lines(self) -> list[str]:
        """The counts as text."""
        result = [
            f"  slowest input: {self.slowest:.2f} s of processor time; above 1 s: {self.above_one_second}",
            f"  peak memory of a process: {self.peak_bytes >> 20} MiB",
            f"  through the kernel's command as well: {self.through_command}",
            f"  what should not have happened: {len(self.wrong)}",
        ]
        for column, title in ((0, "target"), (2, "verdict"), (1, "kind")):
            counts = Counter[str]()
            for key, count in self.outcomes.items():
                counts[key[column] if column != 2 else f"{key[0]}: {key[2]}"] += count
            result += [f"  {title} {name}: {count}" for name, count in counts.most_common()]
        where = Counter[str]()
        for (target, _, verdict, place), count in self.outcomes.items():
            where[f"{target}: {verdict}: {place}"] += count
        return result + [f"  where {name}: {count}" for name, count in where.most_common() if not name.endswith(": ")]


def judged(given: Input, folder: Path) -> tuple[Outcome, float]:
    """The outcome of one input within the bound of time, and its processor time."""
    taken: list[float] = []
    start = time.process_time()

    def stop_clock() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        taken.append(time.process_time() - start)

    run = ask(given, folder)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        outcome = run(stop_clock)
    except OverTimeError:
        outcome = Outcome("over time", wrong=f"more than {SECONDS} s")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome, taken[0] if taken else time.process_time() - start


def _over_time(number: int, frame: object) -> None:
    raise OverTimeError


def prepare() -> None:
    """Everything is loaded first, then the limit on memory counts from there."""
    pool()
    import limits
    import verdict

    assert limits.MAX_NESTING
    for claim in verdict.READERS:
        verdict.reader(claim)
    signal.signal(signal.SIGPROF, _over_time)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 19
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def chunk(work: tuple[int, int, int, tuple[str, ...]]) -> Tally:
    """The inputs ``number``·CHUNK… of a seed: the same ones whatever the number of jobs."""
    seed, number, count, targets = work
    rng = random.Random(f"fuzz/{seed}/{number}")
    tally = Tally()
    sample: list[tuple[Input, str]] = []
    with tempfile.TemporaryDirectory(prefix="promptcert-fuzz-") as name:
        for _ in range(count):
            target = "kernel" if "kernel" in targets and rng.random() < 0.6 else rng.choice(targets)
            given = make(rng, target)
            outcome, seconds = judged(given, Path(name))
            tally.outcomes[given.target, given.kind, outcome.verdict, outcome.where] += 1
            tally.slowest = max(tally.slowest, seconds)
            tally.above_one_second += seconds > 1
            if outcome.wrong:
                tally.wrong.append((given, outcome))
            if target == "kernel" and rng.randrange(THROUGH_THE_COMMAND) == 0 and outcome.verdict != "over time":
                sample.append((given, outcome.verdict))
        tally.wrong += through_the_command(sample, Path(name))
    tally.through_command = len(sample)
    tally.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return tally


def through_the_command(sample: Sequence[tuple[Input, str]], folder: Path) -> Iterator[tuple[Input, Outcome]]:
    """The inputs whose verdict by the real command is another than in this process."""
    from verify.kernel_process import check_files

    paths = []
    for k, (given, _) in enumerate(sample):
        paths.append(folder / f"{k}.json")
        paths[-1].write_bytes(given.data)
    for (given, verdict), answer in zip(sample, check_files(paths), strict=True):
        if answer.verdict != verdict:
            yield given, Outcome(verdict, wrong=f"by the command {answer.verdict}: {answer.sentence}")


def run(inputs: int, seed: int, jobs: int, targets: tuple[str, ...], keep: Path | None = None) -> Tally:
    """A campaign of so many inputs; with ``keep`` it tells how far it is, and writes there what went wrong."""
    sizes = [CHUNK] * (inputs // CHUNK) + [inputs % CHUNK] * (inputs % CHUNK > 0)
    work = [(seed, number, size, targets) for number, size in enumerate(sizes)]
    total, start = Tally(), time.monotonic()
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, initializer=prepare) as workers:
        for done, part in enumerate(workers.imap_unordered(chunk, work), start=1):
            total.merge(part)
            if keep is not None:
                for given, outcome in part.wrong:
                    keep.mkdir(parents=True, exist_ok=True)
                    path = keep / f"{given.target}-{hashlib.sha256(given.data).hexdigest()[:12]}.json"
                    path.write_bytes(given.data)
                    print(f"WRONG {path}: {given.kind}: {outcome.verdict}: {outcome.wrong}", flush=True)
                if done % 10 == 0:
                    rate = total.total / (time.monotonic() - start)
                    print(f"{total.total} inputs, {rate:.0f} per second, {len(total.wrong)} wrong", flush=True)
    return total


def main() -> int:
    """Run a campaign, print its counts, keep what was wrong."""
    parser = argparse.ArgumentParser(description="fuzz the kernel and the readers of files")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--target", choices=("kernel", "readers", "all"), default="all")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that went wrong")
    options = parser.parse_args()
    targets = {"kernel": ("kernel",), "readers": TARGETS[1:], "all": TARGETS}[options.target]
    start, before = time.monotonic(), os.times()
    tally = run(options.inputs, options.seed, options.jobs, targets, options.keep)
    seconds, after = time.monotonic() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    rate = tally.total / seconds
    print(f"{tally.total} inputs in {seconds:.0f} s ({rate:.0f} per second; {used:.0f} s of processor)")
    print("\n".join(tally.lines()))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
