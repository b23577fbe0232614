"""The published vectors for other checkers: ours answers as they say, and they leave out no relation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from expsum import enclose_exp, read_exp_sum
from reading import Field

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "conformance"
VECTORS = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
SCHEMA = ROOT / "verify" / "schemas" / "certificate.schema.json"


def number(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else value


def test_certificates(judge: Callable[[bytes], tuple[str, str]]) -> None:
    for vector in VECTORS["certificates"]:
        verdict, _ = judge(vector["file"].encode("utf-8"))
        assert verdict == vector["verdict"], vector["name"]


@pytest.mark.parametrize("vector", VECTORS["exponentials"], ids=lambda v: f"{v['x']}-{v['bits']}")
def test_exponentials(vector: dict[str, Any]) -> None:
    num, den = map(int, vector["x"].split("/")) if "/" in vector["x"] else (int(vector["x"]), 1)
    below, above = enclose_exp(num, den, vector["bits"])
    assert below <= number(vector["high"])
    assert number(vector["low"]) <= above
    assert above - below <= 4 + (number(vector["high"]) >> vector["bits"] - 8)  # and says something


def test_signs() -> None:
    for vector in VECTORS["signs"]:
        assert read_exp_sum(Field(vector["sum"], "sum")).sign() == vector["sign"], vector


def test_every_relation_is_there_true_and_false() -> None:
    found: dict[str, set[tuple[str, str]]] = {"true": set(), "false": set()}
    for vector in VECTORS["certificates"]:
        if vector["verdict"] in found:
            document = json.loads(vector["file"])
            found[vector["verdict"]].add((document["claim"], document["relation"]))
    known = relations_of_the_schema()
    assert found["true"] == known
    assert known - found["false"] == set()


def relations_of_the_schema() -> set[tuple[str, str]]:
    """All pairs of a claim and a relation; the schema has a rule for each claim, with one form or several."""
    pairs = set()
    for rule in json.loads(SCHEMA.read_text(encoding="utf-8"))["allOf"]:
        claim = rule["if"]["properties"]["claim"]["const"]
        for form in rule["then"].get("oneOf", [rule["then"]]):
            relation = form["properties"]["relation"]
            pairs.update((claim, name) for name in relation.get("enum", [relation.get("const")]))
    return pairs


def test_the_runner_tells_right_from_wrong(tmp_path: Path) -> None:
    """A checker that says true to everything is wrong on all that is not true; one that gives up is not wrong."""
    counts = {verdict: sum(v["verdict"] == verdict for v in VECTORS["certificates"]) for verdict in ("true", "false")}
    others = len(VECTORS["certificates"]) - counts["true"]
    for command, code, line in (
        (["true"], 1, f"{counts['true']} right, {others} wrong, 0 given up"),
        (["sh", "-c", "exit 3"], 3, f"0 right, 0 wrong, {len(VECTORS['certificates'])} given up"),
    ):
        run = subprocess.run(
            [sys.executable, str(FOLDER / "run.py"), "--", *command], capture_output=True, text=True, check=False
        )
        assert run.returncode == code
        assert run.stdout.splitlines()[-1] == line
