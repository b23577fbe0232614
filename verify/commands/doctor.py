"""``promptcert doctor``: versions, what is trusted and why, the kernel's hash."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from verify.claims.formal import lemmas_of
from verify.claims.registry import REGISTRY
from verify.commands.answer import Answer, Exit, add_common
from verify.coq import EXPORTABLE
from verify.kernel_process import KERNEL, kernel_sha256

PACKAGES = (
    "promptcert",
    "python-flint",
    "numpy",
    "scipy",
    "sympy",
    "mpmath",
    "hypothesis",
    "pytest",
    "highspy",
    "rich",
    "joblib",
    "matplotlib",
    "jinja2",
)
TRUSTED = (
    (
        "the kernel",
        "a verdict is what verify/kernel re-derives from the certificate alone, with Python's standard library and "
        "exact integers",
    ),
    ("CPython", "its integers, json and hashlib; nothing else of it decides anything"),
    (
        "the mathematics",
        "that the checked conditions imply the relation: proofs in docs/theory, outlined in the docstrings",
    ),
)
NOT_TRUSTED = (
    ("constructions, HiGHS, flint, scipy", "they find; a wrong find is rejected by the kernel"),
    ("floats", "they guess in searches; none decides"),
    ("mpmath.iv", "not used in any decision: its exp can miss the true value"),
)


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="versions, what is trusted and why, the kernel's sha256")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    versions = {"python": platform.python_version()}
    missing = []
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            missing.append(package)
    document: dict[str, Any] = {
        "versions": versions,
        "missing": missing,
        "kernel": {"path": str(KERNEL), "sha256": kernel_sha256()},
        "trusted": [{"what": what, "why": why} for what, why in TRUSTED],
        "not_trusted": [{"what": what, "why": why} for what, why in NOT_TRUSTED],
        "machine_checked": machine_checked(),
    }
    lines = [f"{name} {number}" for name, number in versions.items()]
    lines += [f"{name} is missing: pip install {name}" for name in missing]
    lines += [f"kernel {KERNEL}", f"kernel sha256 {document['kernel']['sha256']}", "trusted:"]
    lines += [f"  {what}: {why}" for what, why in TRUSTED]
    lines += ["not trusted:", *(f"  {what}: {why}" for what, why in NOT_TRUSTED)]
    lines.append("claims that rest on lemmas proved in Coq (docs/machine-checked.md), and what replays there:")
    for item in document["machine_checked"]:
        replays = ", ".join(item["replays"]) or "no certificate"
        lines.append(f"  {item['claim']}: {', '.join(item['lemmas'])}; replays: {replays}")
    lines.append("  all other claims: proofs in prose")
    return Answer(Exit.NOT_AS_CLAIMED if missing else Exit.AS_CLAIMED, document, "\n".join(lines))


def machine_checked() -> list[dict[str, Any]]:
    """For each claim that has any, its lemmas in Coq, and the relations whose certificates can be replayed there."""
    return [
        {
            "claim": slug,
            "lemmas": [lemma.name for lemma in lemmas_of(slug)],
            "replays": [exporter.relation for exporter in EXPORTABLE if exporter.claim == slug],
        }
        for slug in REGISTRY
        if lemmas_of(slug)
    ]
