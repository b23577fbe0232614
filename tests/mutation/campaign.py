"""The mutation campaign: valid certificates changed in one field, sealed again, and put to the kernel.

What the kernel accepts must be true by the second evaluation in :mod:`mutation_truth`; what it calls false must break
the written conditions. Run by hand for longer::

    python tests/mutation/campaign.py --count 200000 --seed 7
    python -m tests.mutation.campaign --count 200000 --seed 7
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
for folder in (ROOT, HERE, HERE.parent / "prompt_law", HERE.parent / "kernel", ROOT / "verify" / "kernel"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import mutation_heads  # noqa: E402
import mutation_prompts  # noqa: E402
import mutation_truth as truth  # noqa: E402
from mutation_pool import pool  # noqa: E402

from verify.certificate import canonical, seal  # noqa: E402
from verify.kernel_process import check_files  # noqa: E402

truth.CLAIMS.update(mutation_prompts.CLAIMS)
truth.CLAIMS.update(mutation_heads.CLAIMS)

Json = Any
Path_ = tuple[Any, ...]
TRUE, FALSE, NOT_A_CERTIFICATE, OVER_LIMITS, FAILED = "true", "false", "not a certificate", "over limits", "failed"


# --- mutations ---------------------------------------------------------------------------------------------------


def at(value: Json, path: Path_) -> Json:
    for key in path:
        value = value[key]
    return value


def changed(value: Json, path: Path_, new: Json) -> Json:
    """A copy that shares everything off the path."""
    if not path:
        return new
    result = copy.copy(value)
    result[path[0]] = changed(value[path[0]], path[1:], new)
    return result


def places(value: Json, path: Path_ = ()) -> Iterator[tuple[Path_, Json]]:
    yield path, value
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(entry, (*path, key))


def written(n: int) -> Json:
    return n if abs(n) < 1 << 53 else hex(n)


def is_number(value: Json) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and (isinstance(value, int) or "0x" in value)


def is_rational(value: Json) -> bool:
    return isinstance(value, dict) and set(value) == {"den", "num"}


NOT_GIVEN = object()
Mutator = Callable[[random.Random, Json], Json]


def _number(rng: random.Random, old: Json) -> Json:
    n = int(old, 16) if isinstance(old, str) else old
    step = rng.choice([1, -1, 2, n, -n, rng.randint(-9, 9), 1 << 60, n // 2 + 1])
    return written(rng.choice([n + step, n - step, 0, 1, 10 * n, -3 * n, rng.randint(-5, 5)]))


def _sign(rng: random.Random, old: Json) -> Json:
    return written(-(int(old, 16) if isinstance(old, str) else old))


def _spelling(rng: random.Random, old: Json) -> Json:
    """The same number, or nearly, in a way the format does not allow."""
    n = int(old, 16) if isinstance(old, str) else old
    return rng.choice([hex(n), str(n), float(min(abs(n), 10**9)), [n], {"num": n}, None, True, "0x0" + hex(abs(n))[2:]])


def _scale(rng: random.Random, old: Json) -> Json:
    """A rational scalar, vector or matrix times a number: large, small, negative, zero, close to 1."""
    p, q = rng.choice([(2, 1), (1, 2), (-1, 1), (0, 1), (1001, 1000), (999, 1000), (10**6, 1), (1, 10**20)])

    def times(num: Json) -> Json:
        return [times(x) for x in num] if isinstance(num, list) else written(truth.whole(num) * p)

    return {"den": written(truth.whole(old["den"]) * q), "num": times(old["num"])}


def _nudge(rng: random.Random, old: Json) -> Json:
    """One entry of a rational object moved by a small fraction."""
    scale = rng.choice([10, 1000, 10**6, 10**25])

    def spread(num: Json) -> Json:
        return [spread(x) for x in num] if isinstance(num, list) else truth.whole(num) * scale

    num = spread(old["num"])
    spots = [path for path, x in places(num) if isinstance(x, int)]
    if not spots:
        return NOT_GIVEN
    spot = rng.choice(spots)
    num = changed(num, spot, at(num, spot) + rng.choice([-1, 1]) * truth.whole(old["den"]))

    def write(num: Json) -> Json:
        return [write(x) for x in num] if isinstance(num, list) else written(num)

    return {"den": written(truth.whole(old["den"]) * scale), "num": write(num)}


def _list(rng: random.Random, old: Json) -> Json:
    new = list(old)
    kind = rng.choice(["drop", "double", "swap", "reverse", "empty", "wrap"])
    if kind == "empty" or not new:
        return [] if new else [0]
    i, j = rng.randrange(len(new)), rng.randrange(len(new))
    if kind == "drop":
        del new[i]
    elif kind == "double":
        new.insert(j, new[i])
    elif kind == "swap":
        new[i], new[j] = new[j], new[i]
    elif kind == "reverse":
        new.reverse()
    else:
        new = [new]
    return new


def _remove(rng: random.Random, old: Json) -> Json:
    victim = rng.choice(sorted(old)) if old else None
    return {key: value for key, value in old.items() if key != victim}


def _add(rng: random.Random, old: Json) -> Json:
    names = ["den", "num", "extra", "z", "w", "leaf", "multipliers", "tree", "unit", "relation", "sha256"]
    return {**old, rng.choice(names): rng.choice([0, None, [], {}, "piece"])}


WORDS = ("cone", "closeness", "separation", "out-of-range", "contradictory-data", "piece", "empty", "point", "tree",
         "splits", "attains", "norm-product", "monotone", "no-prompt-memorizes", "exact", "enclosed", "sampled",
         "attention-split", "direction-lemma", "mlp-injectivity", "unmemorizable-pair", "prompt-law", "several-queries",
         "several-heads", "stuck", "memorizable-shared",
         "memorizable", "range", "sign", "masses", "entropy", "integer", "length", "", "0x10",
         "promptcert-certificate/1", "promptcert-certificate/2")  # fmt: skip


def _word(rng: random.Random, old: Json) -> Json:
    return rng.choice([*WORDS, old + " ", old.upper()])


def _flag(rng: random.Random, old: Json) -> Json:
    return rng.choice([not old, None, 0, 1, "true"])


def _null(rng: random.Random, old: Json) -> Json:
    return rng.choice([{"den": 1, "num": []}, {"den": 1, "num": [0]}, {"den": 1, "num": [[0, 0]]}, 0, False, {}])


def _tree(rng: random.Random, old: Json) -> Json:
    """A leaf dropped: a branch replaced by one of its sides; a leaf called what it is not; branches exchanged."""
    if {"group", "entropy"} & set(old):
        return _criterion_tree(rng, old)
    kind = rng.choice(["side", "side", "exchange", "same", "leaf"]) if "unit" in old else "leaf"
    if kind == "side":
        return old[rng.choice(["active", "inactive"])]
    if kind == "exchange":
        return {**old, "active": old["inactive"], "inactive": old["active"]}
    if kind == "same":
        side = rng.choice(["active", "inactive"])
        return {**old, "active": old[side], "inactive": old[side]}
    if old.get("leaf") == "empty":
        return {"leaf": "piece"}
    # the width of the multipliers is not known here; r is at most 4 in the pool
    return {
        "leaf": "empty",
        "multipliers": {"den": 1, "num": [rng.choice([-1, 0, 1]) for _ in range(rng.randint(1, 3))]},
    }


def _criterion_tree(rng: random.Random, old: Json) -> Json:
    """The same for a tree of boxes; a leaf cut in two equal ones."""
    if "entropy" in old:
        return {"group": 0, "at": {"den": 1, "num": rng.randint(-2, 2)}, "below": old, "above": old}
    sides = rng.choice([("below", "below"), ("above", "above"), ("above", "below"), ("below",), ("above",)])
    if len(sides) == 1:
        return old[sides[0]]
    return {**old, "below": old[sides[0]], "above": old[sides[1]]}


KINDS: dict[str, tuple[Callable[[Path_, Json], bool], Mutator]] = {
    "number": (lambda path, v: is_number(v), _number),
    "sign": (lambda path, v: is_number(v), _sign),
    "spelling": (lambda path, v: is_number(v), _spelling),
    "scale": (lambda path, v: is_rational(v), _scale),
    "nudge": (lambda path, v: is_rational(v), _nudge),
    "list": (lambda path, v: isinstance(v, list), _list),
    "field removed": (lambda path, v: isinstance(v, dict), _remove),
    "field added": (lambda path, v: isinstance(v, dict), _add),
    "word": (lambda path, v: isinstance(v, str) and "0x" not in v and path != ("sha256",), _word),
    "flag": (lambda path, v: isinstance(v, bool), _flag),
    "null": (lambda path, v: v is None, _null),
    "leaf": (lambda path, v: isinstance(v, dict) and bool({"unit", "leaf", "group", "entropy"} & set(v)), _tree),
}
WEIGHTS = {"number": 6, "nudge": 6, "scale": 4, "sign": 3, "list": 3, "leaf": 4}


@dataclass(frozen=True)
class Mutant:
    """A changed certificate: its text, and the document unless the text is what was changed."""

    source: int
    kind: str
    path: Path_
    document: Json | None
    text: str


class Mutants:
    """An endless stream of single-field mutations of a pool."""

    def __init__(self, documents: list[Json], seed: int) -> None:
        self.documents = documents
        self.rng = random.Random(f"mutants/{seed}")
        self.spots: list[dict[str, list[Path_]]] = []
        for document in documents:
            found: dict[str, list[Path_]] = {kind: [] for kind in KINDS}
            for path, value in places(document):
                for kind, (fits, _) in KINDS.items():
                    if fits(path, value):
                        found[kind].append(path)
            self.spots.append({kind: paths for kind, paths in found.items() if paths})

    def __iter__(self) -> Iterator[Mutant]:
        while True:
            k = self.rng.randrange(len(self.documents))
            if self.rng.random() < 0.02:
                yield self._doubled(k)
                continue
            kinds = list(self.spots[k])
            kind = self.rng.choices(kinds, [WEIGHTS.get(kind, 1) for kind in kinds])[0]
            path = self.rng.choice(self.spots[k][kind])
            old = at(self.documents[k], path)
            new = KINDS[kind][1](self.rng, old)
            if new is NOT_GIVEN or (canonical(new) == canonical(old)):
                continue
            document = changed(self.documents[k], path, new)
            if isinstance(document, dict):
                document = seal(document)
            yield Mutant(k, kind, path, document, canonical(document) + "\n")

    def _doubled(self, k: int) -> Mutant:
        """A key that occurs twice: no JSON object, only text."""
        text = canonical(self.documents[k]) + "\n"
        match = self.rng.choice(list(re.finditer(r'"(\w+)":', text)))
        text = text[: match.start()] + f'"{match[1]}":0,' + text[match.start() :]
        return Mutant(k, "field doubled", (match[1],), None, text)


# --- the kernel, in this process -----------------------------------------------------------------------------------


def ask_kernel(text: str) -> tuple[str, str]:
    """What the kernel's own `prove` says about a text; "failed" for an exception that it should not raise."""
    import limits
    import verdict

    limits.DEADLINE.start()
    try:
        return TRUE, verdict.prove(text.encode())
    except limits.NotACertificate as error:
        return NOT_A_CERTIFICATE, str(error)
    except limits.Refuted as error:
        return FALSE, str(error)
    except limits.OverLimits as error:
        return OVER_LIMITS, str(error)
    except Exception as error:
        return FAILED, f"{type(error).__name__}: {error}"


# --- the campaign --------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts by claim and outcome, by kind and outcome, and whatever should not have happened."""

    claims: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: list[tuple[str, Mutant, str]] = field(default_factory=list)
    unsure: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return self.claims.total()

    def count(self, outcome: str) -> int:
        return sum(n for (_, o), n in self.claims.items() if o == outcome)

    def lines(self) -> list[str]:
        """The counts as text."""
        outcomes = ("rejected: false", "rejected: not a certificate", "rejected: over limits", "accepted and true",
                    "accepted and false", "rejected though the conditions hold", "kernel failed")  # fmt: skip
        result = [f"{self.total} mutations in {self.seconds:.1f} s"]
        result += [f"  {outcome}: {self.count(outcome)}" for outcome in outcomes]
        result.append(f"  left to the kernel (500 bits too few): {self.unsure}")
        for title, table in (("claim", self.claims), ("kind", self.kinds)):
            for name in sorted({name for name, _ in table}):
                parts = [f"{table[name, o]} {o}" for o in outcomes if table[name, o]]
                result.append(f"  {title} {name}: " + ", ".join(parts))
        return result


def judge(mutant: Mutant, tally: Tally) -> None:
    """Put one mutant to the kernel and to the second evaluation."""
    verdict, sentence = ask_kernel(mutant.text)
    document = mutant.document
    outcome = {FALSE: "rejected: false", NOT_A_CERTIFICATE: "rejected: not a certificate",
               OVER_LIMITS: "rejected: over limits", FAILED: "kernel failed"}.get(verdict, "")  # fmt: skip
    try:
        if verdict == TRUE:
            good = document is not None and truth.witness_holds(document) and truth.relation_holds(document)
            outcome = "accepted and true" if good else "accepted and false"
        elif verdict == FALSE and document is not None and truth.witness_holds(document):
            outcome = "rejected though the conditions hold"
    except truth.UnsureError:
        tally.unsure += 1
        outcome = outcome or "accepted and false"
    except Exception as error:  # what the kernel calls a certificate must be readable
        outcome = "accepted and false" if verdict == TRUE else "rejected though the conditions hold"
        sentence = f"{sentence}; the second evaluation failed: {type(error).__name__}: {error}"
    if outcome in ("accepted and false", "rejected though the conditions hold", "kernel failed"):
        tally.bad.append((outcome, mutant, sentence))
    source = "text" if document is None or not isinstance(document, dict) else str(document.get("claim"))
    tally.claims[source if source in truth.CLAIMS else "other", outcome] += 1
    tally.kinds[mutant.kind, outcome] += 1


def run(count: int, seed: int, documents: list[Json] | None = None) -> Tally:
    """``count`` mutations of the pool of ``seed`` (made here unless given)."""
    tally, start = Tally(), time.monotonic()
    for mutant, _ in zip(Mutants(pool(seed) if documents is None else documents, seed), range(count), strict=False):
        judge(mutant, tally)
    tally.seconds = time.monotonic() - start
    return tally


def through_the_process(mutants: list[Mutant]) -> list[tuple[Mutant, str]]:
    """Each mutant with the verdict of the kernel run as a process of its own."""
    with tempfile.TemporaryDirectory(prefix="promptcert-mutants-") as folder:
        paths = []
        for k, mutant in enumerate(mutants):
            path = Path(folder) / f"{k}.json"
            path.write_text(mutant.text, encoding="ascii")
            paths.append(path)
        return list(zip(mutants, (answer.verdict for answer in check_files(paths)), strict=True))


def main() -> int:
    """Run a campaign and print its counts; what should not have happened is written out whole."""
    parser = argparse.ArgumentParser(description="mutate valid certificates and put them to the kernel")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tally = run(options.count, options.seed)
    print("\n".join(tally.lines()))
    for outcome, mutant, sentence in tally.bad[:20]:
        print(f"{outcome}: {mutant.kind} at {mutant.path}: {sentence}")
        print(json.dumps(mutant.document) if mutant.document is not None else mutant.text)
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())
