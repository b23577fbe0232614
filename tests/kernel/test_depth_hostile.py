"""Claims about depth: numbers of hundreds of thousands of digits end in time, and never in an error of the kernel."""

from __future__ import annotations

import time
from typing import Any

import limits
import numpy as np
import pytest
import test_attention_slope_box as slope_box
import test_collapse_cases as collapse_cases
import test_fold
import test_inverse
import test_small_product as small_product
from kernel_certificates import changed, places
from prompt_law_makers import sealed_verdict

Json = Any
CASES: dict[str, Json] = {
    "fold": test_fold.fold(),
    "inverse": test_inverse.random_case(5, "frobenius"),
    "slope": slope_box.random_slope(1, "max", "joint"),
    "box": slope_box.random_box(2, "frobenius", "input", levels=2),
    "same-output": collapse_cases.forgotten(),
    "subspace": collapse_cases.subspace(),
    "layer-by-layer": small_product.random_case(1, "layer-by-layer", "frobenius"),
}


def numbers(value: Json) -> list[tuple[Json, ...]]:
    found = []
    for part in ("instance", "witness"):
        for path in places(value[part], (part,)):
            entry = value
            for key in path:
                entry = entry[key]
            if (isinstance(entry, int) and not isinstance(entry, bool)) or str(entry).lstrip("-").startswith("0x"):
                found.append(path)
    return found


@pytest.mark.parametrize("name", CASES)
def test_long_numbers_end_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 2)
    value, rng = CASES[name], np.random.default_rng(0)
    paths = numbers(value)
    for bits, count in ((100_000, 30), (2_000_000, 5)):
        for k in rng.permutation(len(paths))[:count]:
            start = time.monotonic()
            _, text = sealed_verdict(changed(value, paths[k], hex((1 << bits) + 1)))
            assert "the kernel failed" not in text, paths[k]
            assert time.monotonic() - start < 10, paths[k]
    monkeypatch.undo()
    limits.DEADLINE.start()


def test_a_number_of_tokens_is_not_long() -> None:
    for name, path in (("inverse", ("instance", "stack")), ("subspace", ("instance",))):
        verdict, text = sealed_verdict(changed(CASES[name], (*path, "prompt_length"), hex(1 << 20000)))
        assert (verdict, "below 2^53" in text) == ("not a certificate", True)
