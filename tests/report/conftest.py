"""What the tests of the report share: a real run with its figures, small, and documents made by hand."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from verify import search
from verify.claims.claim import Claim

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)  # at the end: the kernel's tests import a conftest of their own by name

CASES = {
    "mlp-injectivity": {"paper-example-1-positive", "paper-example-1-negative"},
    "unmemorizable-pair": {"cone-d2-mlp2", "out-of-range"},
    "prompt-law": {"curve-d2-n2-mlp0-length-1", "infimum-zero"},
    "universality-softmax": {"for-all-d1-m1-eps1over10-p1"},
    "prompted-injectivity": {"collapse"},
}
"""The cases of the run: those of the figures, some with constants, some with findings."""


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The output folder of an audit of a few cases, with all formats of its report."""
    from verify.audit import audit
    from verify.claims import Settings, prompt_law, unmemorizable_pair
    from verify.claims.registry import REGISTRY

    short = functools.partial(search.adversary, lengths=[1], restarts=1, max_iterations=2)
    with pytest.MonkeyPatch.context() as patch:
        for module in (prompt_law, unmemorizable_pair):
            patch.setattr(module, "adversary", lambda model, data, **_: short(model, data))
        claims = [_only(REGISTRY[slug], names) for slug, names in CASES.items()]
        folder = tmp_path_factory.mktemp("report") / "run"
        audit(claims, Settings(), out=folder)
        yield folder


def _only(claim: Claim, names: set[str]) -> Claim:
    """The claim with these cases and their findings."""
    return replace(
        claim,
        cases=lambda settings: [case for case in claim.cases(settings) if case.name in names],
        findings=tuple(finding for finding in claim.findings if finding.case in names),
    )
