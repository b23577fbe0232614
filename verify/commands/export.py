"""``promptcert export``: a certificate as a Coq file, which the library in formal/ turns into a theorem."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from constructions.documents import InputError, write_text
from constructions.verdict import Undecided
from verify.commands.answer import Answer, Exit, add_common
from verify.coq import NotExportableError, export, find_exporter
from verify.kernel_process import ANSWERS, check_files, printable


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a certificate as a Coq file")
    parser.add_argument("--coq", required=True, metavar="CERT.json", help="the certificate to write for Coq")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="the file (NAME.v) or folder to write to (default: this folder)"
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    checked = check_files([args.coq])[0]
    code = Exit(ANSWERS[checked.verdict])
    if code is Exit.BAD_INPUT:
        raise InputError(f"{args.coq}: {checked.verdict}: {checked.sentence}")
    certificate = json.loads(Path(args.coq).read_text(encoding="utf-8"))
    path = _path(args.out, args.coq)
    try:
        exporter = find_exporter(certificate)
        text, theorem = export(certificate, path.stem)
    except NotExportableError as error:
        expected, found = error.args
        raise Undecided(f"{args.coq}: cannot be written for Coq: expected {expected}; found {found}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise InputError(f"{args.coq}: expected an instance and a witness of this claim, found others") from None
    write_text(path, text)
    document = {
        "coq": str(path),
        "claim": exporter.claim,
        "relation": exporter.relation,
        "theorem": theorem,
        "sha256": certificate["sha256"],
        "kernel": checked.verdict,
        "sentence": checked.sentence,
    }
    lines = [
        f"{path}: {exporter.claim}, {exporter.relation}, by the theorem {theorem}",
        f"kernel: {checked.verdict}: {checked.sentence}",
    ]
    if code is Exit.NOT_AS_CLAIMED:
        lines.append("the kernel says that this certificate is false; Coq is to say so too")
    lines.append(f"to check it: coqc -Q formal PromptCert {path}")
    return Answer(code, document, printable_lines(lines))


def printable_lines(lines: list[str]) -> str:
    return "\n".join(printable(line) for line in lines)


def _path(out: Path | None, certificate: str) -> Path:
    """Where the file goes. Its name is the name of a Coq module: letters, digits and _."""
    if out is not None and out.suffix == ".v":
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", out.stem) is None:
            raise InputError(
                f"--out: expected a file name of letters, digits and _ that begins with no digit, found {out.name!r}"
            )
        return out
    stem = re.sub(r"[^A-Za-z0-9_]", "_", Path(certificate).name.removesuffix(".json").removesuffix(".cert"))
    name = stem if re.match(r"[A-Za-z_]", stem) else f"certificate_{stem}"
    folder = out if out is not None else Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as output folder: {error.strerror or error}") from None
    return folder / f"{name}.v"
