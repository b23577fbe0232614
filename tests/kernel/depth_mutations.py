"""Every single value of a certificate changed: what the kernel still believes, a second reading must confirm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import depth_oracle as oracle
import numpy as np
from kernel_certificates import changed, integer, places
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
    for part in ("instance", "witness"):
        for path in places(value[part], (part,)):
            entry = value
            for key in path:
                entry = entry[key]
            for other in others(entry):
                if other != entry:
                    yield path, changed(value, path, other)


def check_mutations(value: Json, most: int = 400) -> Counter[str]:
    """Counts the verdicts; a "true" must hold by the oracle. Of very many places a random part is taken."""
    rng = np.random.default_rng(len(str(value)))
    everything = list(mutations(value))
    if len(everything) > most:
        everything = [everything[k] for k in rng.choice(len(everything), most, replace=False)]
    verdicts: Counter[str] = Counter()
    for path, mutated in everything:
        verdict, text = sealed_verdict(mutated)
        assert "the kernel failed" not in text, (path, text)
        if verdict == "true":
            assert oracle.holds(mutated), path
        verdicts[verdict] += 1
    return verdicts
