"""Every single value of a certificate changed: what the kernel still believes, a second reading must confirm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import depth_oracle as oracle
from kernel_certificates import changed, integer, part, places
from kernel_oracle import number
from prompt_law_makers import sealed_verdict

Json = Any
WORDS = {"max": "frobenius", "frobenius": "max", "joint": "input", "input": "joint", "leaf": "piece"}


def others(entry: Json) -> Iterator[Json]:
    """Other values for one place."""
    if isinstance(entry, bool):
        yield not entry
    elif isinstance(entry, int) or (isinstance(entry, str) and entry.lstrip("-").startswith("0x")):
        n = number(entry)
        for m in {n + 1, n - 1, -n, 0, 2 * n, n // 2} - {n}:
            yield integer(m)
    elif isinstance(entry, str):
        yield WORDS.get(entry, "other")
    elif isinstance(entry, list):
        yield entry[:-1]
        yield entry + entry[-1:]
        yield entry[::-1]
    elif entry is None:
        yield {"den": 1, "num": [[0]]}
    else:
        yield None
        yield {name: entry[name] for name in list(entry)[1:]}


def mutations(value: Json) -> Iterator[tuple[tuple[Json, ...], Json]]:
    for name in ("instance", "witness"):
        for path in places(value[name], (name,)):
            entry = value
            for key in path:
                entry = entry[key]
            for other in others(entry):
                if other != entry:
                    yield path, changed(value, path, other)


def check_mutations(value: Json, most: int = 150) -> None:
    """No mutation breaks the kernel, a "true" holds by the oracle, and all verdicts occur."""
    verdicts: Counter[str] = Counter()
    for path, mutated in part(mutations(value), most):
        verdict, text = sealed_verdict(mutated)
        assert "the kernel failed" not in text, (path, text)
        if verdict == "true":
            assert oracle.holds(mutated), path
        verdicts[verdict] += 1
    assert min(verdicts[name] for name in ("true", "false", "not a certificate")) >= 2, verdicts
