"""The real command, in a process of its own and in this one."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kernel_certificates as make
import pytest
import verdict
from kernel_certificates import seal

KERNEL = Path(verdict.__file__).resolve().parent
COMMAND = [sys.executable, "-I", str(KERNEL)]
GOOD = seal(make.TRUE["cone"])
BAD = seal(make.closeness_points("-8"))
NONE = b"{}\n"
OVER = seal(make.TRUE["cone"]).replace(b'"den":1', b'"den":"0x1' + b"0" * (1 << 20) + b'"', 1)


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    result = {}
    for name, data in {"good": GOOD, "bad": BAD, "none": NONE, "over": OVER}.items():
        path = tmp_path / f"{name}.json"
        path.write_bytes(data)
        result[name] = str(path)
    return result


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("good", 0),
        ("good good", 0),
        ("bad", 1),
        ("none", 4),
        ("over", 3),
        ("good bad", 1),
        ("none bad over", 1),
        ("over none good", 4),
        ("good over", 3),
    ],
)
def test_exit_codes(names: str, code: int, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    paths = [files[name] for name in names.split()]
    assert verdict.run(paths) == code
    out, err = capsys.readouterr()
    words = {"good": "true", "bad": "false", "none": "not a certificate", "over": "over limits"}
    lines = out.splitlines()
    assert len(lines) == len(paths)
    for line, path, name in zip(lines, paths, names.split(), strict=True):
        assert line.startswith(f"{path}: {words[name]}: ")
    assert err == ""


def test_the_command(files: dict[str, str], tmp_path: Path) -> None:
    """As a directory, isolated, from anywhere."""
    done = run(
        files["good"], files["bad"], files["none"], files["over"], tmp_path / "missing.json", tmp_path, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(f"{files['good']}: true: unmemorizable-pair: no prompt")
    assert lines[4].endswith(
        "missing.json: not a certificate: expected a readable file, found: No such file or directory"
    )
    assert "not a certificate: expected a readable file" in lines[5]
    assert run(files["good"]).returncode == 0


def test_nothing_of_the_project_is_imported(files: dict[str, str], tmp_path: Path) -> None:
    """A copy of the folder alone does the same, and only standard modules besides its own are loaded."""
    copy = tmp_path / "alone"
    shutil.copytree(KERNEL, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    done = subprocess.run([sys.executable, "-I", "-S", str(copy), files["good"]], capture_output=True, text=True)
    assert done.returncode == 0
    program = (
        f"import sys; sys.path.insert(0, {str(copy)!r})\n"
        "import verdict\n"
        "for claim in verdict.READERS: verdict.reader(claim)\n"
        f"assert verdict.run([{files['good']!r}]) == 0\n"
        "print(*sorted(m.partition('.')[0] for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    modules = set(done.stdout.splitlines()[-1].split())
    own = {path.stem for path in KERNEL.glob("*.py")}
    assert own - {"__main__"} <= modules
    assert modules <= own | sys.stdlib_module_names
    assert not (own - {"__main__"}) & sys.stdlib_module_names
    assert not (KERNEL / "__init__.py").exists()


def test_no_floats_in_the_source() -> None:
    import ast

    for path in KERNEL.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), path
            assert not (isinstance(node, ast.Div) and path.name != "verdict.py"), path
            assert not (isinstance(node, ast.Name) and node.id == "float"), path


def test_every_claim_has_its_reader() -> None:
    assert all(callable(verdict.reader(claim)) for claim in verdict.READERS)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["-x"], ["--hash", "x"], ["--help"]):
        assert verdict.run(arguments) == 4
        assert capsys.readouterr() == ("", verdict.USAGE + "\n")
        done = run(*arguments)
        assert done.returncode == 4
        assert done.stdout == ""
        assert done.stderr.startswith("usage: python3 -I verify/kernel CERT.json...")


def test_hash(capsys: pytest.CaptureFixture[str]) -> None:
    """Reproducible without the kernel: sha256 of the lines that sha256sum prints."""
    lines = [
        f"{hashlib.sha256((KERNEL / name).read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(os.listdir(KERNEL))
        if name.endswith(".py")
    ]
    done = run("--hash")
    assert done.returncode == 0
    assert done.stdout == hashlib.sha256("".join(lines).encode()).hexdigest() + "\n"
    assert verdict.run(["--hash"]) == 0
    assert capsys.readouterr().out == done.stdout
    assert len(lines) > 20


def test_odd_file_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each file, whatever its name."""
    path = tmp_path / "a\nb: true: ä\x1b\udcff.json"
    path.write_bytes(BAD)
    assert verdict.run([str(path), "with\0null"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert r"a\nb: true: ä\x1b\udcff.json: false: " in lines[0]
    assert lines[1] == r"with\x00null: not a certificate: expected a readable file, found: embedded null byte"
    done = run(path, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 1
    assert done.stderr == ""


def test_without_standard_output(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert verdict.run([files["good"]]) == 0
    assert verdict.printable("ä") == r"\xe4"


def test_large_file_is_over_limits(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with open(path, "wb") as file:
        file.truncate((1 << 26) + 1)
    done = run(path)
    assert done.returncode == 3
    assert done.stdout == f"{path}: over limits: a file of more than 67108864 bytes\n"


def test_broken_pipe(files: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, files["good"]], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == verdict.OUTPUT_ERROR
    assert done.stderr == ""


def test_output_errors_and_interrupts(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: BaseException) -> None:
        raise error

    moved = []
    monkeypatch.setattr(verdict, "main", lambda _: fail(BrokenPipeError()))
    with monkeypatch.context() as patch:  # undone before pytest itself needs dup2
        patch.setattr(verdict.os, "dup2", lambda source, target: moved.append((os.close(source), target)))
        assert verdict.run([files["good"]]) == verdict.OUTPUT_ERROR != 0
    assert moved == [(None, 1)]
    monkeypatch.setattr(verdict, "main", lambda _: fail(KeyboardInterrupt()))
    assert verdict.run([files["good"]]) == verdict.INTERRUPTED != 0


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), ValueError("bug"), ZeroDivisionError()])
def test_no_exception_leads_to_true(error: Exception, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> str:
        raise error

    monkeypatch.setattr(verdict, "prove", fail)
    answer = verdict.judge(files["good"])
    assert answer.verdict == "over limits"
    assert "out of memory" in answer.text or f"decides nothing: {type(error).__name__}" in answer.text


def test_a_verdict_that_is_none_is_not_true(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "judge", lambda _: verdict.Answer("maybe", ""))
    assert verdict.main([files["good"]]) == verdict.USAGE_ERROR


def test_main_module(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import runpy

    monkeypatch.setattr(sys, "argv", ["kernel", files["good"]])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(KERNEL / "__main__.py"), run_name="__main__")
    assert end.value.code == 0
    assert ": true: " in capsys.readouterr().out
