"""Coverage-guided fuzzing of the kernel and the readers with atheris (``pip install 'promptcert[fuzz]'``)::

    python tests/fuzz/fuzz_atheris.py -max_total_time=600 -rss_limit_mb=2048 -timeout=10

The options are libFuzzer's; a folder as last argument is a corpus that grows. The first byte of an input chooses the
target, the rest is the file; what follows a certificate's hash is reached since the input is sealed again. It stops at
anything that the campaign of :mod:`fuzz_campaign` calls wrong, and writes the input down.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[1] / "verify" / "kernel"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

try:
    import atheris
except ImportError:
    print("fuzz_atheris: skipped: expected the package atheris: pip install 'promptcert[fuzz]'")
    sys.exit(0)

with atheris.instrument_imports(include=["verdict", "reading", "limits", "rational", "constructions.documents"]):
    import verdict  # noqa: F401

    import constructions.documents  # noqa: F401

import json  # noqa: E402

from fuzz_targets import TARGETS, Input, ask, pool, sealed, written  # noqa: E402


def one_input(data: bytes) -> None:
    """One input of libFuzzer."""
    if not data:
        return
    target, content = TARGETS[data[0] % len(TARGETS)], data[1:]
    if target == "kernel":
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            with contextlib.suppress(RecursionError):
                content = written(sealed(document)).encode() + b"\n"
    outcome = ask(Input(target, "coverage", content), FOLDER)(lambda: None)
    if outcome.wrong:
        raise AssertionError(f"{target}: {outcome.verdict}: {outcome.wrong}")


def corpus(folder: Path) -> None:
    """The good files as a start."""
    for number, target in enumerate(TARGETS):
        for k, data in enumerate(pool().files[target]):
            (folder / f"{target}-{k}").write_bytes(bytes([number]) + data)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="promptcert-atheris-") as name:
        FOLDER = Path(name)
        start = FOLDER / "good"
        start.mkdir()
        corpus(start)
        atheris.Setup([*sys.argv, str(start)], one_input)
        atheris.Fuzz()
