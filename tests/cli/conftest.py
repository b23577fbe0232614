"""What the command-line tests share: running a command in this process, validating its JSON, and small inputs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from constructions.documents import write_json
from constructions.files import data_json, model_json
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.pair import closeness_pair
from constructions.transformer import Attention, FeedForward, Head, Layer
from verify.cli import main

Json = dict[str, Any]
CHECKPOINTS = str(Path(__file__).parents[1] / "checkpoints")
if CHECKPOINTS not in sys.path:
    sys.path.append(CHECKPOINTS)  # at the end: the kernel's tests import a conftest of their own by name


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def validate() -> Callable[[str, Any], None]:
    """Validate an object against the shipped schema of that name."""

    @cache
    def validator(name: str) -> Draft202012Validator:
        text = (files("verify") / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
        return Draft202012Validator(json.loads(text))

    def call(name: str, value: Any) -> None:
        validator(name).validate(value)

    return call


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run ``promptcert`` with these arguments in this process."""

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def run_json(run: Callable[..., Ran], validate: Callable[[str, Any], None]) -> Callable[..., tuple[int, Json]]:
    """Run with ``--format json``: the exit code and the one document, valid for the command's schema (or the error
    schema, and then the same line is on stderr)."""

    def call(*arguments: object) -> tuple[int, Json]:
        done = run(*arguments, "--format", "json")
        document = json.loads(done.out)
        if "error" in document:
            validate("error", document)
            assert done.err == f"error: {document['error']}\n"
        else:
            validate(str(arguments[0]), document)
        return done.code, document

    return call


@pytest.fixture
def refused(run: Callable[..., Ran], run_json: Callable[..., tuple[int, Json]]) -> Callable[..., str]:
    """Run a command that must fail with this exit code, as text and as JSON; the one line on stderr."""

    def call(code: int, *arguments: object) -> str:
        done = run(*arguments)
        assert done.code == code, done
        assert done.out == ("undecided\n" if code == 3 else "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert done.err.endswith("\n")
        json_code, document = run_json(*arguments)
        assert json_code == code
        assert document == {"verdict": "undecided", "error": done.err.removeprefix("error: ").removesuffix("\n")}
        return done.err

    return call


def identity(n: int) -> list[list[int]]:
    return [[int(i == j) for j in range(n)] for i in range(n)]


def plain_head(d: int) -> Json:
    return {"W_q": identity(d), "W_k": identity(d), "W_v": identity(d)}


class Inputs:
    """Writes model and data files into a folder; the paths are what the commands take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: Any) -> Path:
        """JSON, or the text itself."""
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def model(self, d: int = 2, *, name: str = "model.json", layers: list[Json] | None = None, **fields: Any) -> Path:
        """One layer with one identity head unless ``layers`` are given."""
        content = {"format": "promptcert-model/1", "layers": layers or [{"heads": [plain_head(d)]}], **fields}
        return self.write(name, content)

    def data(self, *examples: Json, name: str = "data.json") -> Path:
        return self.write(name, {"format": "promptcert-data/1", "examples": list(examples)})

    def contradictory(self) -> tuple[Path, Path]:
        X = [[1, 0], [2, 1]]
        return self.model(), self.data({"X": X, "y": [1, 0]}, {"X": X, "y": [0, 1]})

    def cone(self) -> tuple[Path, Path]:
        """Two inputs of three tokens with a shared last token."""
        first = {"X": [[1, 2, 1], [0, 1, 0], [1, 0, 0]], "y": [1, -1, 2]}
        second = {"X": [[1, 0, 1], [1, -1, 0], [0, 1, 0]], "y": [2, 1, -1]}
        return self.model(3), self.data(first, second)

    def closeness(self) -> tuple[Path, Path]:
        """Shifted preimages on one line through zero, across which no cone exists."""
        I = RationalMatrix.identity(2)
        made = closeness_pair(Layer(Attention((Head(I, I, I),)), FeedForward.none(2)), [1, 0], [1, 1], [1, 2])
        paths = self.folder / "model.json", self.folder / "data.json"
        write_json(paths[0], model_json(made.model))
        write_json(paths[1], data_json(made.data))
        return paths

    def out_of_range(self) -> tuple[Path, Path]:
        """z ↦ z − 2 ReLU(z) in the first coordinate never gives a positive one."""
        fold = {"heads": [plain_head(2)], "W_1": [[1, 0]], "W_2": [[-2], [0]]}
        return self.model(layers=[fold]), self.data({"X": [[1, 0], [0, 1]], "y": [1, 0]})

    def undecided(self) -> tuple[Path, Path]:
        """Two heads, and no two queries with one logit vector at either."""
        layers = [{"heads": [plain_head(2), plain_head(2)]}]
        return self.model(layers=layers), self.data(
            {"X": [[1, 0], [0, 1]], "y": [1, 1]}, {"X": [[1, 2], [0, 1]], "y": [1, 0]}
        )


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inputs]:
    """Files in a folder of their own, which is the current folder too."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield Inputs(folder)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one certificate or more of each claim, by slug and case."""
    from verify.audit import audit
    from verify.claims import Settings
    from verify.claims.registry import REGISTRY

    out = tmp_path_factory.mktemp("audited")
    audit([REGISTRY[slug] for slug in ("attention-split", "direction-lemma", "mlp-injectivity")], Settings(), out=out)
    folder = out / "certificates"
    made = tmp_path_factory.mktemp("decided")
    for name in ("contradictory", "cone", "closeness", "out_of_range"):
        place = made / name
        place.mkdir()
        model, data = getattr(Inputs(place), name)()
        target = folder / f"unmemorizable-pair-{name}.json"
        assert main(["decide", str(model), str(data), "--out", str(target)]) == 0
    return folder
