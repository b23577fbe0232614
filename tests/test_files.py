"""MODEL.json, DATA.json, PROMPT.json: exact round trips, numbers, defaults; files are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq
from hypothesis import example, given
from hypothesis import strategies as st

from constructions.data import Dataset, Example
from constructions.documents import InputError, write_json, write_text
from constructions.files import PromptBox, data_json, model_json, prompt_json, read_data, read_model, read_prompt
from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

R = RationalMatrix.of
HUGE = fmpq(10**4000 - 1, 10**4000)

NUMBERS = st.one_of(
    st.integers(-3, 3).map(fmpq),
    st.fractions(max_denominator=50).map(lambda x: fmpq(x.numerator, x.denominator)),
    st.sampled_from([fmpq(2**53), fmpq(-(2**53)), fmpq(2**53 - 1), fmpq(10**4000), HUGE, -HUGE, fmpq(1, 10**4000)]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


# Round trips


@st.composite
def matrices(draw: st.DrawFn, rows: int, width: int) -> RationalMatrix:
    entries = st.lists(NUMBERS, min_size=width, max_size=width)
    return R(draw(st.lists(entries, min_size=rows, max_size=rows)), columns=width)


@st.composite
def units(draw: st.DrawFn) -> PiecewiseLinear:
    starts = [None, *sorted(draw(st.sets(st.integers(-5, 5), max_size=3)))]
    return PiecewiseLinear(
        tuple(Piece(None if s is None else fmpq(s, 3), draw(NUMBERS), draw(NUMBERS)) for s in starts)
    )


@st.composite
def models(draw: st.DrawFn) -> Transformer:
    d = draw(st.integers(1, 3))
    causal = draw(st.booleans())
    layers = []
    for _ in range(draw(st.integers(1, 2))):
        heads = []
        for _ in range(draw(st.integers(1, 2))):
            s = draw(st.integers(1, 3))
            heads.append(Head(*(draw(matrices(*shape)) for shape in [(s, d)] * 3 + [(d, s), (s, 1)])))
        r = draw(st.integers(0, 2))
        mlp = FeedForward(*(draw(matrices(*shape)) for shape in [(r, d), (r, 1), (d, r), (d, 1)]))
        if draw(st.booleans()):
            parts = tuple(draw(units()) for _ in range(r))
            mlp = FeedForward(mlp.W_1, mlp.b_1, mlp.W_2, mlp.b_2, parts)
        kind = draw(st.sampled_from(["softmax", "hardmax"]))
        layers.append(Layer(Attention(tuple(heads), kind, causal), mlp))
    E = draw(matrices(d, draw(st.integers(1, 3)))) if draw(st.booleans()) else None
    return Transformer(tuple(layers), E)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    d = draw(st.integers(1, 3))
    examples = []
    for _ in range(draw(st.integers(1, 3))):
        m = draw(st.integers(1, 3))
        examples.append(Example(draw(matrices(d, m)), draw(matrices(d, draw(st.sampled_from([1, m]))))))
    return Dataset(tuple(examples))


SCALAR = Layer(Attention((Head(R([[1]]), R([[2]]), R([["1/3"]])),)), FeedForward.none(1))
NO_UNITS_BUT_A_BIAS = FeedForward(
    RationalMatrix.zeros(0, 1), RationalMatrix.zeros(0, 1), RationalMatrix.zeros(1, 0), R([["-1/7"]])
)


@given(models())
@example(Transformer((SCALAR,)))
@example(Transformer((Layer(SCALAR.attention, NO_UNITS_BUT_A_BIAS),), R([[HUGE, "-1/3"]])))
def test_models_come_back_equal(folder: Path, model: Transformer) -> None:
    path = folder / "model.json"
    write_json(path, model_json(model))
    assert read_model(path) == model
    assert read_model(os.fspath(path)) == model
    assert model_json(read_model(path)) == model_json(model)


@given(datasets())
def test_datasets_come_back_equal(folder: Path, dataset: Dataset) -> None:
    path = folder / "data.json"
    write_json(path, data_json(dataset))
    assert read_data(path) == dataset


@given(st.integers(1, 3).flatmap(lambda d: matrices(d, 2)), NUMBERS.map(abs))
def test_prompts_come_back_equal(folder: Path, P: RationalMatrix, radius: fmpq) -> None:
    path = folder / "prompt.json"
    write_json(path, prompt_json(PromptBox(P, radius)))
    assert read_prompt(path) == PromptBox(P, radius)


def test_written_numbers_are_safe_for_other_readers() -> None:
    """Integers below 2^53 as numbers, all others as strings: no reader can round them."""
    row = [fmpq(2**53 - 1), fmpq(1 - 2**53), fmpq(2**53), fmpq(-(2**53)), fmpq(-1, 3), fmpq(0)]
    written = prompt_json(PromptBox(R([row]), fmpq(1, 2)))
    expected = [2**53 - 1, 1 - 2**53, "9007199254740992", "-9007199254740992", "-1/3", 0]
    assert written == {"format": "promptcert-prompt/1", "P": [expected], "radius": "1/2"}


def written(folder: Path, document: Any) -> Path:
    path = folder / "input.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_what_is_missing_has_its_default(folder: Path) -> None:
    document = {
        "format": "promptcert-model/1",
        "layers": [{"heads": [{name: [[1, 2], [3, 4]] for name in ("W_q", "W_k", "W_v")}]}],
    }
    model = read_model(written(folder, document))
    head = model.layers[0].attention.heads[0]
    assert (head.W_o, head.b_q) == (RationalMatrix.identity(2), RationalMatrix.zeros(2, 1))
    assert (model.E, model.causal, model.layers[0].mlp) == (None, False, FeedForward.none(2))
    assert read_model(written(folder, document | {"E": None, "causal": False})) == model
    document["layers"][0] |= {"W_1": [[1, 2]], "W_2": [[1], [2]]}  # type: ignore[index,operator]
    mlp = read_model(written(folder, document)).layers[0].mlp
    assert (mlp.b_1, mlp.b_2, mlp.units) == (RationalMatrix.zeros(1, 1), RationalMatrix.zeros(2, 1), None)
    assert read_prompt(written(folder, {"format": "promptcert-prompt/1", "P": [[1]]})).radius == 0


# Numbers


def number_read(folder: Path, spelled: str) -> fmpq:
    return read_prompt(written(folder, f'{{"format": "promptcert-prompt/1", "P": [[{spelled}]]}}')).P[0, 0]


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
@example("0.1")
@example("-0")
@example("-0.0e-99")
@example("1E+2")
@example("1e4000")
@example("1e-4000")
@example("-1e-4000")
@example("12345678901234567890.123456789")
@example("0.30000000000000004")
def test_decimals_are_exact(folder: Path, spelled: str) -> None:
    if not spelled.isascii():
        return
    expected = Fraction(spelled)
    assert number_read(folder, spelled) == fmpq(expected.numerator, expected.denominator)
    assert number_read(folder, f'"{spelled}"') == fmpq(expected.numerator, expected.denominator)


@given(st.integers(), st.integers(min_value=1))
@example(0, 5)
@example(-6, 4)
@example(10**4000, 3)
@example(3, 10**4000)
def test_ratios_are_exact(folder: Path, p: int, q: int) -> None:
    assert number_read(folder, f'"{p_text(p)}/{p_text(q)}"') == fmpq(p, q)
    assert number_read(folder, f'" +{p_text(abs(p))}/{p_text(q)} "') == fmpq(abs(p), q)


def p_text(n: int) -> str:
    return str(fmpq(n).p)  # CPython refuses more than 4300 digits, flint does not


@pytest.mark.parametrize("spelled", ["1" + "0" * 4000, '"' + "7" * 4000 + "/" + "3" * 4000 + '"', "0." + "1" * 4000])
def test_what_was_read_can_be_written_and_read(folder: Path, spelled: str) -> None:
    x = number_read(folder, spelled)
    write_json(folder / "again.json", prompt_json(PromptBox(R([[x]]), fmpq(0))))
    assert read_prompt(folder / "again.json").P[0, 0] == x


# Writing


def everything(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text(encoding="utf-8") for p in folder.iterdir() if p.is_file()}


def test_write_and_replace(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    for text in ("first, long\n" * 1000, "second: λ ≥ 0\n", ""):
        write_text(path, text)
        assert everything(tmp_path) == {"out.txt": text}
    assert path.stat().st_mode & 0o777 == 0o644
    longest = tmp_path / ("n" * 255)
    write_text(os.fspath(longest), "text")
    assert longest.read_text() == "text"


def test_write_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "out.json", {"λ": [1, "1/2"]})
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    assert text == '{\n "λ": [\n  1,\n  "1/2"\n ]\n}\n'


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "real.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["real.txt"]


@pytest.mark.parametrize("name", ["missing/out.txt", "file.txt/out.txt", "folder", "x" * 300, "pipe"])
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("kept")
    pipe = tmp_path / "pipe"  # like a device, but nobody else's
    os.mkfifo(pipe)
    path = tmp_path / name
    with pytest.raises(InputError) as error:
        write_text(path, "text")
    assert str(error.value).startswith(f"{path}: cannot be written: ")
    assert str(error.value).isprintable()
    assert everything(tmp_path) == {"file.txt": "kept"}
    assert not any((tmp_path / "folder").iterdir())
    assert pipe.is_fifo()


@contextmanager
def not_root() -> Iterator[None]:
    """As a user whom permissions concern: root, who may do everything, becomes nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_permission() -> None:
    with not_root(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        try:
            with pytest.raises(InputError, match=r"out\.txt: cannot be written: Permission denied$"):
                write_text(folder / "out.txt", "text")
            assert everything(folder) == {}
        finally:
            folder.chmod(0o755)


@pytest.mark.parametrize("function", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()], ids=repr
)
def test_a_failure_halfway_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, failure: BaseException
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(os, function, fail)
    if isinstance(failure, OSError):
        with pytest.raises(InputError, match=r"out\.txt: cannot be written: No space left on device"):
            write_text(path, "new")
    else:
        with pytest.raises(type(failure)):
            write_text(path, "new")
    monkeypatch.undo()
    assert everything(tmp_path) == {"out.txt": "old"}


def test_text_that_utf_8_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "out.txt", "fine so far \ud800")
    assert everything(tmp_path) == {}
