"""Makes docs/conformance/vectors.json, against which another implementation of the kernel can be tested.

    PYTHONPATH=. python benchmarks/conformance_vectors.py AUDIT [--out docs/conformance/vectors.json] [--each 6]

AUDIT is the folder of a finished ``promptcert audit --out AUDIT``. Of every relation the smallest certificate is taken;
then its numbers are changed one at a time, sealed anew, and given to the kernel. Of each relation one mutant is kept
for every reason for which the kernel calls one false, up to --each of them, two that are no certificates, and one that
is still true, where there are any. To these come forgeries, and files that are wrong as files. The numbers are
enclosures of e^x by flint at a higher precision, and sums of exponentials with their signs. The same audit gives the
same bytes.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flint
from flint import arb, fmpq, fmpz

from constructions.documents import write_text
from constructions.numbers.exponential import ExpSum, midpoint
from verify.certificate import canonical, exp_sum, integer, seal
from verify.kernel_process import check_files

FORMAT = "promptcert-conformance/1"
Json = Any
EXPONENTS = (
    *("0", "1", "-1", "1/2", "-1/2", "1/3", "-7/5", "10", "-10", "45", "-45", "1/1000000007", "-1/1000000007"),
    *("355/113", "-22/7", "100", "-100", "999/1000", "3/1048576", "-65/64", "1000", "-1000", "12345/678"),
)
BITS = (16, 64, 200)


def leaves(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all integers of a part of a certificate, in the order of the file."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    elif (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and "0x" in value):
        yield path


def changed(document: Json, path: tuple[Any, ...], change: Callable[[int], int]) -> Json:
    """A copy with one integer changed, sealed anew."""
    mutant = copy.deepcopy(document)
    place = mutant
    for step in path[:-1]:
        place = place[step]
    old = place[path[-1]]
    place[path[-1]] = integer(change(int(old, 16) if isinstance(old, str) else old))
    return seal(mutant)


def text_of(document: Json) -> str:
    return canonical(document) + "\n"


def verdicts(texts: list[str]) -> list[tuple[str, str]]:
    """What the kernel says of each: verdict and sentence."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, text in enumerate(texts):
            paths.append(Path(folder) / f"{number}.json")
            paths[-1].write_bytes(text.encode("utf-8"))
        return [(answer.verdict, answer.sentence) for answer in check_files(paths)]


def smallest(folder: Path) -> list[tuple[str, Json]]:
    """The smallest certificate of each relation: its name without ending, and its content."""
    chosen: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_size, path.name)):
        document = json.loads(path.read_text(encoding="utf-8"))
        chosen.setdefault((document["claim"], document["relation"]), path)
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for _, path in sorted(chosen.items())]


def mutants(name: str, document: Json, each: int, most: int) -> Iterator[dict[str, str]]:
    """One mutant for each reason for which the kernel calls one false, two that are no certificates, one that is still
    true."""
    places = [("instance", *p) for p in leaves(document["instance"])]
    places += [("witness", *p) for p in leaves(document["witness"])]
    step = max(1, len(places) // most)
    edits: list[tuple[str, Callable[[int], int]]] = [("+ 1", lambda n: n + 1), ("negated", lambda n: -n)]
    tried = [(place, how, changed(document, place, change)) for place in places[::step] for how, change in edits]
    tried = [item for item in tried if item[2]["sha256"] != document["sha256"]]
    seen: set[tuple[str, str]] = set()
    for (place, how, mutant), (verdict, sentence) in zip(
        tried, verdicts([text_of(mutant) for _, _, mutant in tried]), strict=True
    ):
        reason = (verdict, "" if verdict == "true" else re.sub(r"[0-9]+", "#", sentence))
        allowed = {"true": 1, "false": each, "not a certificate": 2}.get(verdict, 0)
        if reason in seen or sum(other == verdict for other, _ in seen) >= allowed:
            continue
        seen.add(reason)
        where = ".".join(map(str, place))
        yield vector(f"{name}/{where} {how}", text_of(mutant), verdict, sentence)


def vector(name: str, text: str, verdict: str, sentence: str) -> dict[str, str]:
    return {"name": name, "verdict": verdict, "says": sentence, "file": text}


ONE, MINUS_A_MILLION, A_BILLIONTH = {"den": 1, "num": 1}, {"den": 1, "num": -(10**6)}, {"den": 10**9, "num": 1}
NOTHING = {"coefficients": {"den": 1, "num": [1, -1]}, "exponents": {"den": 1, "num": [0, 0]}}
FORGERIES: tuple[tuple[str, str, dict[tuple[Any, ...], Json]], ...] = (
    ("universality-softmax-for-all-d1-m1-eps1over100", "a negative root_m, whose square is large enough",
     {("witness", "root_m"): MINUS_A_MILLION, ("instance", "epsilon"): A_BILLIONTH}),
    ("universality-softmax-for-all-d1-m1-eps1over100", "a negative root r_1, whose square is large enough",
     {("witness", "roots", 0): MINUS_A_MILLION, ("instance", "epsilon"): A_BILLIONTH}),
    ("quantisation-d1-m1-k79-lipschitz1-p2", "a negative root r_1, whose square is large enough",
     {("witness", "roots", 0): MINUS_A_MILLION, ("instance", "bound"): A_BILLIONTH}),
    ("quantisation-d1-m1-k79-lipschitz1-p2", "a negative root r_2, whose square is small enough",
     {("witness", "roots", 1): {"den": 1, "num": -1}, ("instance", "bound"): A_BILLIONTH}),
    ("attention-split-zero-weights", "a fraction 0/0",
     {("witness", "fractions", 0): {"denominator": NOTHING, "numerators": [NOTHING]}}),
    ("direction-lemma-d2-s2-rho1_1", "an output 0/0",
     {("instance", "output"): {"denominator": NOTHING, "numerators": [NOTHING, NOTHING]}}),
    ("direction-lemma-d2-s2-rho1_1", "a token 0/0, and another output",
     {("witness", "x_1"): {"denominator": NOTHING, "numerators": [NOTHING, NOTHING]}, ("instance", "rho"): ONE}),
)  # fmt: skip
"""Certificates of the audit, and several changes: all conditions hold but one that is easily forgotten."""


def forged(folder: Path) -> Iterator[tuple[str, str]]:
    for name, what, changes in FORGERIES:
        document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for path, value in changes.items():
            part = document
            for step in path[:-1]:
                part = part[step]
            part[path[-1]] = value
        yield f"{name}/forged: {what}", text_of(seal(document))


def wrong_files(name: str, document: Json) -> Iterator[tuple[str, str]]:
    """Files that are wrong as files: spelling, hash, fields, numbers."""
    text = text_of(document)
    yield f"{name}/no line break", text.rstrip("\n")
    yield f"{name}/a space", text.replace(":", ": ", 1)
    yield f"{name}/cut off", text[: len(text) // 2]
    yield f"{name}/empty", ""
    digit = "0" if document["sha256"][0] != "0" else "1"
    yield f"{name}/another hash", text_of({**document, "sha256": digit + document["sha256"][1:]})
    yield f"{name}/an additional field", text_of(seal({**document, "note": 1}))
    for field in ("claim", "evidence", "format", "instance", "relation", "toolkit", "witness"):
        rest = {key: value for key, value in document.items() if key != field}
        yield f"{name}/without {field}", text_of(seal(rest))
    yield f"{name}/a field twice", text.replace('{"claim"', f'{{"claim":{json.dumps(document["claim"])},"claim"', 1)
    yield f"{name}/another format", text_of(seal({**document, "format": "promptcert-certificate/2"}))
    yield f"{name}/an unknown claim", text_of(seal({**document, "claim": "no-such-claim"}))
    yield f"{name}/an unknown relation", text_of(seal({**document, "relation": "no-such-relation"}))
    place = next(leaves(document["instance"]))
    for what, value in (("a float", 1.5), ("true", True), ("null", None), ("a hexadecimal with zeros", "0x00ff")):
        mutant = copy.deepcopy(document)
        part = mutant["instance"]
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = value
        yield f"{name}/{what} for a number", text_of(seal(mutant))
    yield f"{name}/NaN for a number", text.replace('"den":1', '"den":NaN', 1)
    yield f"{name}/a denominator of 0", text_of(changed(document, _denominator(document), lambda n: 0))
    yield f"{name}/a negative denominator", text_of(changed(document, _denominator(document), lambda n: -n))


def _denominator(document: Json) -> tuple[Any, ...]:
    return ("instance", *next(path for path in leaves(document["instance"]) if path[-1] == "den"))


def enclosures() -> list[dict[str, Json]]:
    """x, bits and two neighbouring integers: low ≤ 2^bits e^x ≤ high."""
    found = []
    for text in EXPONENTS:
        x = fmpq(*map(int, text.split("/")))
        for bits in BITS:
            with flint.ctx.workprec(bits + 2000):
                ball = arb(x).exp() * fmpz(2) ** bits
                low, high = ball.lower().floor().unique_fmpz(), ball.upper().ceil().unique_fmpz()
            assert low is not None
            assert high is not None
            assert high - low <= 1
            found.append({"x": text, "bits": bits, "low": integer(low), "high": integer(high)})
    return found


def signs() -> list[dict[str, Json]]:
    """Sums of exponentials, in the format of certificates, with their signs: clear ones, zeros, near-zeros."""
    e = ExpSum.exp
    sums = [e(1) - 2, e(1) - 3, e("1/2") * e("1/2") - e(1), e(1) - e(1), e(3) - e(2) - e(1), (e(1) - 1) * (e(-1) - 1)]
    for bits in (64, 256, 1024):
        for exponent in (fmpq(1), fmpq(-2, 7), fmpq(9, 2)):
            with flint.ctx.workprec(bits + 64):
                near = midpoint(arb(exponent).exp())
            power = fmpz(2) ** bits
            below = fmpq((near * power).floor(), power)
            sums += [e(exponent) - below, e(exponent) - (below + fmpq(1, power))]
    sums += [e(1000) * 3 - e(999) * 8, e(1000) - e(1000), e("1/1000003") - 1 - fmpq(1, 1000003)]
    return [{"sum": exp_sum(x), "sign": x.sign()} for x in sums]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/conformance/vectors.json"))
    parser.add_argument("--each", type=int, default=6)
    parser.add_argument("--places", type=int, default=60, help="about how many numbers of a certificate are changed")
    args = parser.parse_args()
    certificates = []
    originals = smallest(args.audit / "certificates")
    for name, document in originals:
        ((verdict, sentence),) = verdicts([text_of(document)])
        assert verdict == "true", (name, sentence)
        certificates.append(vector(name, text_of(document), verdict, sentence))
        certificates += mutants(name, document, args.each, args.places)
    with_matrices = [item for item in originals if any(path[-1] == "den" for path in leaves(item[1]["instance"]))]
    name, document = min(with_matrices, key=lambda item: len(text_of(item[1])))
    files = [*forged(args.audit / "certificates"), *wrong_files(name, document)]
    for (what, text), (verdict, sentence) in zip(files, verdicts([text for _, text in files]), strict=True):
        certificates.append(vector(what, text, verdict, sentence))
    content = {
        "format": FORMAT,
        "exponentials": enclosures(),
        "signs": signs(),
        "certificates": certificates,
    }
    write_text(args.out, json.dumps(content, indent=0, sort_keys=True) + "\n")
    counts = {verdict: sum(item["verdict"] == verdict for item in certificates) for verdict in ("true", "false")}
    print(
        f"{args.out}: {len(certificates)} certificates of {len(originals)} relations ({counts['true']} true, "
        f"{counts['false']} false, {len(certificates) - sum(counts.values())} not certificates), "
        f"{len(content['exponentials'])} exponentials, {len(content['signs'])} signs"
    )


if __name__ == "__main__":
    main()
