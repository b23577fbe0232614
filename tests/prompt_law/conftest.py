"""Makes the helpers of these tests, and the maker of memorizable data beside them, importable by their bare names;
runs commands in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
for folder in (str(HERE), str(HERE.parent / "single_layer")):
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: the kernel's tests import a conftest of their own by name

Json = dict[str, Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``promptcert`` with these arguments: exit code, standard output, standard error."""
    from verify.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


@pytest.fixture
def command_json(command: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, Json]]:
    """The same with ``--format json``: exit code and document, valid for the schema of the command (or of errors)."""

    def call(*arguments: object) -> tuple[int, Json]:
        code, out, _ = command(*arguments, "--format", "json")
        document = json.loads(out)
        name = "error" if "error" in document else str(arguments[0])
        schema = json.loads((files("verify") / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        Draft202012Validator(schema).validate(document)
        return code, document

    return call
