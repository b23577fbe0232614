"""``check``, ``show`` and ``doctor``: the kernel's answers passed on, certificates told, versions listed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verify.certificate import canonical, seal
from verify.commands import doctor
from verify.kernel_process import KERNEL

Json = dict[str, Any]


def by_slug(certificates: Path, slug: str) -> Path:
    return min(certificates.glob(f"{slug}-*.json"))


def written(path: Path, content: Json) -> Path:
    path.write_text(canonical(content) + "\n", encoding="ascii")
    return path


def loaded(path: Path) -> Json:
    content: Json = json.loads(path.read_text(encoding="ascii"))
    return content


def halved_fraction(content: Json) -> None:
    content["witness"]["fractions"][0]["denominator"]["coefficients"]["den"] *= 2


def other_token(content: Json) -> None:
    content["instance"]["token"]["num"][0] += 1


def looser_bound(content: Json) -> None:
    content["witness"]["bounds"][0]["num"] = 0


def no_direction(content: Json) -> None:
    content["witness"]["pairs"][0][0]["w"]["num"] = [0] * len(content["witness"]["pairs"][0][0]["w"]["num"])


def same_target(content: Json) -> None:
    content["instance"]["queries"][1]["target"] = content["instance"]["queries"][0]["target"]


TAMPERED: dict[str, tuple[str, Callable[[Json], None]]] = {
    "attention-split": ("attention-split-zero-weights", halved_fraction),
    "direction-lemma": ("direction-lemma-zero-score", other_token),
    "mlp-injectivity": ("mlp-injectivity-norm-product-d3-r4", looser_bound),
    "cone": ("unmemorizable-pair-cone", no_direction),
    "closeness": ("unmemorizable-pair-closeness", no_direction),
    "contradictory": ("unmemorizable-pair-contradictory", same_target),
}


def test_true_certificates_of_every_claim(run, run_json, certificates: Path) -> None:
    paths = sorted(certificates.glob("*.json"))
    assert len(paths) >= 15
    done = run("check", *paths)
    assert (done.code, done.err) == (0, "")
    assert [line.split(": ")[:2] for line in done.out.splitlines()] == [[str(path), "true"] for path in paths]
    code, document = run_json("check", *paths)
    assert (code, document["accepted"]) == (0, True)
    assert [entry["path"] for entry in document["files"]] == [str(path) for path in paths]


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_certificates_are_false(run, run_json, certificates: Path, tmp_path: Path, name: str) -> None:
    stem, tamper = TAMPERED[name]
    content = loaded(certificates / f"{stem}.json")
    tamper(content)
    unsealed, sealed = written(tmp_path / "unsealed.json", content), written(tmp_path / "sealed.json", seal(content))
    for path in (unsealed, sealed):
        done = run("check", path)
        assert (done.code, done.err) == (1, "")
        assert done.out.startswith(f"{path}: false: ")
    assert "sha256 is not that of the content" in run("check", unsealed).out
    assert "sha256" not in run("check", sealed).out
    code, document = run_json("check", sealed)
    assert (code, document["accepted"]) == (1, False)
    code, told = run_json("show", sealed)
    assert (code, told["kernel"]) == (1, "false")
    assert told["certificate"]["sha256"] == seal(content)["sha256"]
    assert f"kernel: false: {told['sentence']}" in run("show", sealed).out


def garbage(folder: Path, certificates: Path) -> dict[str, Path]:
    """Files that are not certificates, by name."""
    good = by_slug(certificates, "attention-split")
    text = good.read_text(encoding="ascii")
    texts = {
        "empty": "",
        "not-json": "a certificate, trust me\n",
        "number": "1\n",
        "list": "[]\n",
        "empty-object": "{}\n",
        "other-json": '{"format":"promptcert-model/1"}\n',
        "spaces": json.dumps(json.loads(text)) + "\n",
        "no-line-break": text.rstrip("\n"),
        "two-documents": text + text,
        "unknown-version": text.replace("certificate/1", "certificate/2"),
        "unknown-claim": text.replace('"claim":"attention-split"', '"claim":"fermat"'),
        "float": text.replace('"den":1,', '"den":1.0,', 1),
        "nan": text.replace('"den":1,', '"den":NaN,', 1),
        "huge-exponent": text.replace('"den":1,', '"den":1e999999999,', 1),
        "huge-decimal": text.replace('"den":1,', f'"den":{"9" * 100_000},', 1),
        "deep": "[" * 100_000 + "]" * 100_000 + "\n",
        "deep-object": '{"a":' * 100_000 + "1" + "}" * 100_000 + "\n",
        "not-ascii": text.replace("python-flint", "pythön-flint"),
        "binary": "\x00\x01\x02",
    }
    for name, content in texts.items():
        assert content != text
        (folder / f"{name}.json").write_text(content, encoding="utf-8")
    paths = {name: folder / f"{name}.json" for name in texts}
    (folder / "folder.json").mkdir()
    return {**paths, "missing": folder / "missing.json", "folder": folder / "folder.json"}


def test_garbage_is_not_a_certificate(run, run_json, certificates: Path, tmp_path: Path) -> None:
    paths = garbage(tmp_path, certificates)
    done = run("check", *paths.values())
    assert (done.code, done.err) == (4, "")
    lines = done.out.splitlines()
    code, document = run_json("check", *paths.values())
    assert (code, document["accepted"]) == (4, False)
    for path, line, entry in zip(paths.values(), lines, document["files"], strict=True):
        assert line.startswith(f"{path}: not a certificate: ")
        assert len(line) < len(str(path)) + 250
        assert line == f"{entry['path']}: {entry['verdict']}: {entry['sentence']}"
        shown = run("show", path)
        assert (shown.code, shown.out) == (4, f"{line}\n")
    code, told = run_json("show", paths["deep"])
    assert (code, told["certificate"], told["kernel"]) == (4, None, "not a certificate")


@pytest.mark.parametrize(("name", "what"), [("gentle", "a model: "), ("pair", "a dataset: ")])
def test_our_other_files_are_called_by_their_names(run, run_json, name: str, what: str) -> None:
    path = Path(__file__).parents[2] / "docs" / "examples" / f"{name}.json"
    done = run("check", path)
    assert (done.code, done.err) == (4, "")
    assert done.out.startswith(f"{path}: not a certificate: {what}promptcert decide, floor")
    assert run("show", path) == done
    _, document = run_json("show", path)
    assert document["sentence"].startswith(what)


def test_huge_integers(run, run_json, certificates: Path, tmp_path: Path) -> None:
    """Long is fine, past the limit is over limits (exit 3), and neither is told digit by digit."""
    content = loaded(certificates / "attention-split-zero-weights.json")
    scale = 1 << 40_000
    for name in ("P", "X"):
        part = content["instance"][name]
        part["num"] = [[hex(x * scale) if x else 0 for x in row] for row in part["num"]]
        part["den"] = hex(scale)
    long = written(tmp_path / "long.json", seal(content))
    assert run("check", long).code == 0
    told = run("show", long)
    assert told.code == 0
    assert "X = [1, 2; 3, 4]" in told.out
    content["instance"]["P"]["num"][0][0] = "0x1" + "0" * (1 << 20)
    over = written(tmp_path / "over.json", seal(content))
    done = run("check", over)
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith(f"{over}: over limits: ")
    code, document = run_json("show", over)
    assert (code, document["kernel"]) == (3, "over limits")


def test_long_coefficients_are_told_by_their_length(run, certificates: Path, tmp_path: Path) -> None:
    content = loaded(certificates / "attention-split-zero-weights.json")
    for part in ("denominator", "numerators"):
        sums = content["witness"]["fractions"][0][part]
        for entry in sums if part == "numerators" else [sums]:
            vector = entry["coefficients"]
            vector["num"] = [hex(x * (3**20_000)) for x in vector["num"]]
    done = run("show", written(tmp_path / "long.json", seal(content)))
    assert done.code == 0
    assert "λ of head 0 = (a rational of " in done.out
    assert max(map(len, done.out.splitlines())) < 400


def test_several_files_and_the_worst_answer(run, run_json, certificates: Path, tmp_path: Path) -> None:
    good = by_slug(certificates, "direction-lemma")
    content = loaded(good)
    other_token(content)
    false = written(tmp_path / "false.json", seal(content))
    missing = tmp_path / "missing.json"
    assert run("check", good, good).code == 0
    assert run("check", good, missing).code == 4
    assert run("check", missing, false, good).code == 1
    code, document = run_json("check", missing, false, good)
    assert (code, document["accepted"]) == (1, False)
    assert [entry["verdict"] for entry in document["files"]] == ["not a certificate", "false", "true"]


def test_file_name_with_a_line_break(run, certificates: Path, tmp_path: Path) -> None:
    """Whatever the answer about it, a name cannot add a line to it."""
    path = tmp_path / "a: false: no\nb.json"
    path.write_bytes(by_slug(certificates, "direction-lemma").read_bytes())
    done = run("check", path)
    assert done.code in (0, 4)
    assert (done.out + done.err).count("\n") == 1
    assert r"no\nb.json" in done.out + done.err


def test_file_names_that_look_like_options_or_answers(run, certificates: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = by_slug(certificates, "direction-lemma").read_bytes()
    for name in ("-x.json", "a: false: b.json", "λ …  .json"):
        Path(name).write_bytes(text)
        done = run("check", "--", name)
        assert done.code == 0
        assert done.out.startswith(f"{name}: true: direction-lemma: ")


def test_vanished_current_folder(run, refused, tmp_path: Path, monkeypatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "No such file or directory" in refused(4, "check", "x.json")
    monkeypatch.chdir(tmp_path)


def test_check_gives_up_after_max_seconds(refused, certificates: Path) -> None:
    assert "not finished within" in refused(3, "check", by_slug(certificates, "direction-lemma"), "--max-seconds", 1e-5)


TOLD = {
    "attention-split": ["attention-split: splits (exact)", "head 0: W_q = ", "λ of head 0 = (", "x = (", "P = ["],
    "direction-lemma": ["direction-lemma: attains (exact)", "x_0 = (", "κ = e^(", "A = [", "x_1 = ["],
    "mlp-injectivity": ["mlp-injectivity: ", "MLP: W_1 = [", "has the only preimage z = ("],
    "unmemorizable-pair-cone": ["1 head(s), 0 hidden units", "X_1 = [1, 2, 1; 0, 1, 0; 1, 0, 0]", "cone at head 0"],
    "unmemorizable-pair-closeness": ["closeness at head 0 with w = ("],
    "unmemorizable-pair-contradictory": ["the same input is asked for two different outputs"],
    "unmemorizable-pair-out_of_range": ["asked at token 1: y_1 = (1, 0)", "no preimage under the MLP"],
}


@pytest.mark.parametrize("slug", TOLD)
def test_show(run, run_json, certificates: Path, slug: str) -> None:
    path = by_slug(certificates, slug) if "pair" not in slug else certificates / f"{slug}.json"
    done = run("show", path)
    assert (done.code, done.err) == (0, "")
    for part in TOLD[slug]:
        assert part in done.out
    code, document = run_json("show", path)
    content = loaded(path)
    assert (code, document["kernel"]) == (0, "true")
    assert document["certificate"] == {
        key: content[key] for key in ("claim", "relation", "evidence", "toolkit", "sha256")
    }
    assert all(line in done.out.splitlines() for line in document["told"])
    assert done.out.splitlines()[1] == f"kernel: true: {document['sentence']}"
    assert f"sha256 {content['sha256']}" in done.out


def test_show_tells_wide_matrices_by_their_shape(run, inputs) -> None:
    d = 13
    X = [[i * j % 5 for j in range(2)] for i in range(d)]
    model = inputs.model(d)
    data = inputs.data({"X": X, "y": [0] * d}, {"X": X, "y": [1] * d})
    assert run("decide", model, data).code == 0
    told = run("show", "data.cert.json").out
    assert "W_q = a 13×13 matrix" in told
    assert "y_2 = a vector of 13" in told


def test_doctor(run, run_json) -> None:
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    code, document = run_json("doctor")
    assert (code, document["missing"]) == (0, [])
    assert set(document["versions"]) == {"python", *doctor.PACKAGES}
    listing = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(KERNEL.glob("*.py"))
    )
    assert document["kernel"] == {"path": str(KERNEL), "sha256": hashlib.sha256(listing.encode()).hexdigest()}
    for name, number in document["versions"].items():
        assert f"{name} {number}\n" in done.out
    assert f"kernel sha256 {document['kernel']['sha256']}\n" in done.out


def test_doctor_names_what_is_missing(run, run_json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no-such-package"))
    code, document = run_json("doctor")
    assert (code, document["missing"]) == (1, ["no-such-package"])
    assert "no-such-package is missing: pip install no-such-package\n" in run("doctor").out
