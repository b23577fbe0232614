"""Replays certificates in Coq (`make formal` runs this after the library has been compiled).

Every exportable certificate of the audit and 20 random ones have to be accepted, by theorems that rest on the axioms of
Coq's real numbers alone. Every random one is then changed in one number so that it is false, and Coq has to stop at the
computation that checks it. Files and Coq's answers stay in build/replayed.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from constructions.single_layer.pair import NoPairError, unmemorizable_pair
from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Grid
from verify.certificate import Certificate, canonical, seal
from verify.claims import Settings
from verify.claims import unmemorizable_pair as pair_claim
from verify.claims.contextual_mapping import collision, collision_certificate
from verify.claims.formal import LEMMAS
from verify.claims.registry import REGISTRY
from verify.claims.unmemorizable_pair import certificate as pair_certificate
from verify.coq import EXPORTABLE, NotExportableError, export
from verify.instances import random_layer
from verify.kernel_process import check_files
from verify.search import adversary

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "build" / "replayed"
ALLOWED = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
"""The axioms of the real numbers of Coq's standard library."""

Json = dict[str, Any]


def coqc(path: Path) -> tuple[int, str]:
    """Exit code and all that Coq says."""
    command = ["coqc", "-q", "-w", "-ambiguous-paths", "-Q", str(HERE), "PromptCert", "-Q", ".", "Replayed", path.name]
    run = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    text = run.stdout + run.stderr
    path.with_suffix(".answer").write_text(text, encoding="utf-8")
    return run.returncode, text


def axioms(text: str) -> set[str]:
    """The names under the headings of Print Assumptions."""
    headings = ("Axioms:", "Closed under the global context")
    lines = [line for line in text.splitlines() if line and not line[0].isspace() and line not in headings]
    return {line.split()[0] for line in lines}


def check_axioms(name: str, required: str, theorems: list[str]) -> set[str]:
    """The axioms that all these theorems together rest on; ends the run where there are others than the allowed ones.

    They are asked for together, because Coq looks through all of the real numbers each time it is asked.
    """
    lines = [required, f"Definition all_of_them := ({', '.join(f'@{theorem}' for theorem in theorems)})."]
    path = FOLDER / f"{name}.v"
    path.write_text("\n".join([*lines, "Print Assumptions all_of_them."]) + "\n", encoding="utf-8")
    code, text = coqc(path)
    if code != 0 or not axioms(text) <= ALLOWED:
        sys.exit(f"{name}: {sorted(axioms(text) - ALLOWED) if code == 0 else text}")
    return axioms(text)


def check_library() -> None:
    """Every registered lemma is there, and rests on the allowed axioms alone."""
    files = sorted({lemma.file for lemma in LEMMAS})
    names = [f"PromptCert.{lemma.file}.{lemma.name}" for lemma in LEMMAS]
    found = check_axioms("assumptions_of_lemmas", f"From PromptCert Require {' '.join(files)}.", names)
    print(f"{len(LEMMAS)} lemmas, axioms: {', '.join(sorted(found))}", flush=True)


def of_the_audit() -> Iterator[tuple[str, Json]]:
    """The certificates of the audit's cases; the attacks beside them prove nothing and are cut short."""
    pair_claim.adversary = functools.partial(_short_attack, adversary)  # type: ignore[attr-defined]
    for slug in sorted({exporter.claim for exporter in EXPORTABLE}):
        for case in REGISTRY[slug].cases(Settings()):
            found = case.check().certificate
            if found is not None:
                yield f"audit_{slug}_{case.name}".replace("-", "_"), found.document()


def _short_attack(attack: Any, model: Any, data: Any, **_: Any) -> Any:
    return attack(model, data, lengths=[1], restarts=1, max_iterations=2)


def random_ones(seed: int, count: int) -> Iterator[tuple[str, Json]]:
    """Certificates of random layers, and of the contextual mapping with random shifts."""
    rng = random.Random(f"replay/{seed}")
    for i in range(count):
        yield f"random_{i:02}", _random_certificate(rng, i).document()


def _random_certificate(rng: random.Random, i: int) -> Certificate:
    if i % 10 == 9:
        while True:
            shifted = ContextualMap(Grid(1, 2, 2), rng.randrange(1, 4096))
            found = collision(shifted)
            if found is not None:
                return collision_certificate(shifted, *found)
    while True:
        d = rng.choice((2, 3, 4))
        heads = 2 if d == 4 else 1
        layer = random_layer(rng, d, heads=heads, r=rng.randrange(4), contractive=rng.random() < 0.7)
        try:
            pair = unmemorizable_pair(layer)
        except NoPairError:
            continue
        return pair_certificate(pair.model, pair.proof)


def changed(certificate: Json, name: str, rng: random.Random) -> Json:
    """The certificate with one number of instance or witness changed so that it is false."""
    places = [place for part in ("instance", "witness") for place in _numbers(certificate[part], (part,))]
    for _ in range(20):
        trials = []
        for k in range(8):
            trial = json.loads(canonical(certificate))
            *parents, last = rng.choice(places)
            holder = trial
            for key in parents:
                holder = holder[key]
            holder[last] += rng.choice((-1, 1)) * rng.choice((1, 2, 5, 100))
            path = FOLDER / f"{name}_trial_{k}.json"
            path.write_text(canonical(seal(trial)) + "\n", encoding="ascii")
            trials.append((path, seal(trial)))
        verdicts = [answer.verdict for answer in check_files([path for path, _ in trials])]
        for path, _ in trials:
            path.unlink()
        for verdict, (_, trial) in zip(verdicts, trials, strict=True):
            if verdict == "false":
                return trial
    sys.exit(f"{name}: no change of one number makes it false")


def _numbers(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield place
    elif isinstance(value, dict):
        for key, item in sorted(value.items()):
            yield from _numbers(item, (*place, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _numbers(item, (*place, i))


def write(name: str, certificate: Json) -> Path:
    """The Coq file of a certificate, but for its last line, which is done once for all. Raises NotExportableError."""
    path = FOLDER / f"{name}.v"
    text = export(certificate, name)[0]
    path.write_text(text.removesuffix("Print Assumptions certificate.\n"), encoding="utf-8")
    return path


def accepted(path: Path) -> str | None:
    """None, or what is wrong with Coq's answer to a true certificate."""
    code, text = coqc(path)
    return None if code == 0 else f"{path.name}: not accepted: {text}"


def refused(path: Path) -> str | None:
    """None, or what is wrong with Coq's answer to a false one: it has to stop at the lemma ``checked``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    line = next(i for i, text in enumerate(lines) if text.startswith("Lemma checked")) + 2
    code, text = coqc(path)
    if code == 0:
        return f"{path.name}: a false certificate was accepted"
    if f", line {line}, " not in text or not re.search(r'Unable to\s+unify\s+"true"\s+with\s+"false"', text):
        return f"{path.name}: refused, but not by the computation: {text}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=20, help="number of random certificates (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    check_library()

    rng = random.Random(f"changes/{args.seed}")
    true, false, left_out = [], [], []
    for name, certificate in itertools.chain(of_the_audit(), random_ones(args.seed, args.random)):
        try:
            true.append((certificate, write(name, certificate)))
        except NotExportableError:
            left_out.append(name)
            continue
        if name.startswith("random"):
            false.append(write(f"false_{name}", changed(certificate, name, rng)))
    kinds = Counter((certificate["claim"], certificate["relation"]) for certificate, _ in true)
    missing = {(exporter.claim, exporter.relation) for exporter in EXPORTABLE} - set(kinds)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [*pool.map(accepted, (path for _, path in true)), *pool.map(refused, false)]
    wrong = [text for text in wrong if text is not None]
    for (claim, relation), count in sorted(kinds.items()):
        print(f"{claim} ({relation}): {count} replayed")
    refusals = len(false) - sum("false_" in text for text in wrong)
    print(f"{len(false)} certificates with one number changed so that they are false: {refusals} refused")
    print(f"not exportable: {', '.join(left_out) or 'none'}")
    if wrong or missing:
        sys.exit("\n".join([*map(str, wrong), *(f"no certificate of {kind}" for kind in missing)]))
    stems = [path.stem for _, path in true]
    replayed = [f"Replayed.{stem}.certificate" for stem in stems]
    found = check_axioms("assumptions_of_certificates", f"From Replayed Require {' '.join(stems)}.", replayed)
    print(f"axioms of the replayed certificates: {', '.join(sorted(found))}")
    print("all as claimed")


if __name__ == "__main__":
    main()
