"""Makes the kernel's modules importable the way `python3 -I verify/kernel` sees them: as siblings on the path."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KERNEL = Path(__file__).resolve().parents[2] / "verify" / "kernel"
for folder in (KERNEL, Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def fresh_deadline() -> None:
    """A test that lets the time run out leaves nothing behind for those that call parts of the kernel directly."""
    import limits

    limits.DEADLINE.start()


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[bytes], tuple[str, str]]:
    """Verdict and text of the kernel for the bytes of a certificate file."""
    import verdict

    def call(data: bytes) -> tuple[str, str]:
        path = tmp_path / "certificate.json"
        path.write_bytes(data)
        answer = verdict.judge(str(path))
        return answer.verdict, answer.text

    return call
