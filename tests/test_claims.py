"""Every claim of the registry: each case has the verdict it declares, a certificate that the kernel accepts, and the
same bytes whenever it is made; and the audit around them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from constructions.documents import InputError
from constructions.verdict import Evidence, Undecided, Verdict
from verify import audit as runner
from verify import search
from verify.audit import audit, combined
from verify.certificate import Certificate, canonical, seal
from verify.claims import Case, CaseResult, Claim, Settings
from verify.claims.registry import REGISTRY
from verify.kernel_process import DisagreementError, KernelAnswer, KernelError, check_files

Json = dict[str, Any]
NAMES = [(slug, case.name) for slug, claim in REGISTRY.items() for case in claim.cases(Settings())]
QUICK = ["direction-lemma", "mlp-injectivity"]


@pytest.fixture(scope="module", autouse=True)
def _short_attacks() -> Iterator[None]:
    """The attack beside each proof proves nothing and takes most of the time: here it is a short one."""
    short = functools.partial(search.adversary, lengths=[1], restarts=1, max_iterations=2)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("verify.claims.") and hasattr(module, "adversary"):
                patch.setattr(module, "adversary", lambda model, data, **_: short(model, data))
        yield


@functools.cache
def made(slug: str, seed: int = 0) -> dict[str, CaseResult]:
    return {case.name: case.check() for case in REGISTRY[slug].cases(Settings(seed=seed))}


@pytest.mark.parametrize("slug", REGISTRY)
def test_the_declaration_is_consistent(slug: str) -> None:
    claim = REGISTRY[slug]
    assert claim.slug == slug
    assert all([claim.title, claim.statement, claim.source, claim.scope])
    names = [case.name for case in claim.cases(Settings())]
    assert len(names) == len(set(names)) > 0
    thorough = [case.name for case in claim.cases(Settings(thorough=True))]
    assert len(thorough) == len(set(thorough))
    assert set(names) <= set(thorough)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in thorough)
    assert {finding.case for finding in claim.findings} <= set(names)
    assert set(claim.depends) <= set(REGISTRY) - {slug}


@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_each_case_is_as_declared(slug: str, name: str) -> None:
    result = made(slug)[name]
    assert result.verdict is REGISTRY[slug].expected, result.summary
    if result.verdict is Verdict.PROVED:
        assert result.certificate is not None
        assert result.certificate.claim in (slug, *REGISTRY[slug].depends)
        assert result.certificate.evidence is result.evidence
        assert result.evidence is not Evidence.SAMPLED


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("slug", REGISTRY)
def test_certificates_are_accepted_and_canonical(slug: str, seed: int, tmp_path: Path) -> None:
    paths = []
    for name, result in made(slug, seed).items():
        if result.certificate is None:
            continue
        path = tmp_path / f"{name}.json"
        result.certificate.write(path)
        paths.append(path)
        text = path.read_bytes()
        assert text.isascii()
        document = json.loads(text)
        assert (canonical(document) + "\n").encode() == text
        assert seal(document) == document
        assert Certificate(
            document["claim"], document["relation"], Evidence(document["evidence"]), document["instance"],
            document["witness"], document["toolkit"],
        ).text() == text.decode()  # fmt: skip
    answers = check_files(paths)
    assert [answer for answer in answers if answer.verdict != "true"] == []
    starts = tuple(f"{name}: " for name in (slug, *REGISTRY[slug].depends))
    assert all(answer.sentence.startswith(starts) for answer in answers)


MAKE_AGAIN = """
import functools, hashlib, json, sys
from verify import search
from verify.claims import Settings
from verify.claims.registry import REGISTRY
short = functools.partial(search.adversary, lengths=[1], restarts=1, max_iterations=2)
for name, module in list(sys.modules.items()):
    if name.startswith("verify.claims.") and hasattr(module, "adversary"):
        module.adversary = lambda model, data, **_: short(model, data)
found = {}
for slug, claim in REGISTRY.items():
    for case in claim.cases(Settings()):
        certificate = case.check().certificate
        found[f"{slug}/{case.name}"] = certificate and hashlib.sha256(certificate.text().encode()).hexdigest()
print(json.dumps(found))
"""


def test_another_process_makes_the_same_bytes() -> None:
    """With another hash seed, so that no order of a set or dictionary of objects shows."""
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    done = subprocess.run(
        [sys.executable, "-c", MAKE_AGAIN], capture_output=True, text=True, check=True, env=environment
    )
    here = {}
    for slug in REGISTRY:
        for name, result in made(slug).items():
            text = None if result.certificate is None else result.certificate.text()
            here[f"{slug}/{name}"] = text and hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(done.stdout) == here


def test_another_seed_makes_another_instance() -> None:
    for slug in QUICK:
        texts = [{r.certificate.text() for r in made(slug, seed).values() if r.certificate} for seed in (0, 1)]
        assert texts[0] != texts[1]


# --- the audit -----------------------------------------------------------------------------------------------------


def claims(*slugs: str) -> list[Claim]:
    return [REGISTRY[slug] for slug in slugs]


def certificates_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "certificates").iterdir()}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json]:
    folder = tmp_path_factory.mktemp("audit") / "out"
    return folder, audit(claims(*QUICK), Settings(), out=folder)


def test_audit_end_to_end(audited: tuple[Path, Json]) -> None:
    folder, report = audited
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report
    assert report["as_expected"] is True
    assert [claim["slug"] for claim in report["claims"]] == QUICK
    for claim in report["claims"]:
        assert (claim["verdict"], claim["expected"], claim["evidence"]) == ("proved", "proved", "exact")
        assert [case["name"] for case in claim["cases"]] == [c.name for c in REGISTRY[claim["slug"]].cases(Settings())]
        for case in claim["cases"]:
            assert case["kernel"].startswith(f"{claim['slug']}: ")
            document = json.loads((folder / case["certificate"]).read_text(encoding="ascii"))
            assert document["sha256"] == case["certificate_sha256"]
            made_here = made(claim["slug"])[case["name"]].certificate
            assert made_here is not None
            assert made_here.document() == document
    assert all(answer.verdict == "true" for answer in check_files(sorted((folder / "certificates").iterdir())))


def test_two_processes_write_the_same_bytes(audited: tuple[Path, Json], tmp_path: Path) -> None:
    folder, report = audited
    assert audit(claims(*QUICK), Settings(), out=tmp_path, jobs=2) == report
    assert certificates_in(tmp_path) == certificates_in(folder)
    assert (tmp_path / "report.json").read_bytes() == (folder / "report.json").read_bytes()


def test_without_a_folder_nothing_is_left(audited: tuple[Path, Json], monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = audit(claims("mlp-injectivity"), Settings())
    assert report["claims"] == [audited[1]["claims"][1]]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def runs(monkeypatch: Any) -> list[tuple[str, str]]:
    """The cases that were really run."""
    done: list[tuple[str, str]] = []
    original = runner.run_case

    def counted(claim: Claim, name: str, *rest: Any) -> Json:
        done.append((claim.slug, name))
        return original(claim, name, *rest)

    monkeypatch.setattr(runner, "run_case", counted)
    return done


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    """A digit of the content changed, the hash left as it was."""
    text = path.read_text(encoding="ascii")
    path.write_text(text.replace('"num":[', '"num":[7', 1), encoding="ascii")


def resealed(path: Path) -> None:
    """Another content with a correct hash."""
    document = json.loads(path.read_text(encoding="ascii"))
    path.write_text(canonical(seal({**document, "toolkit": {"other": "1"}})) + "\n", encoding="ascii")


def keep_hash(path: Path) -> None:
    """Not the certificate any more, but with the recorded hash in its field."""
    document = json.loads(path.read_text(encoding="ascii"))
    path.write_text(canonical({**document, "relation": "other"}) + "\n", encoding="ascii")


def no_certificate(path: Path) -> None:
    """A record that says proved without a certificate."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["record"].update(certificate=None, certificate_sha256=None)
    path.write_text(json.dumps(kept), encoding="utf-8")


def rewritten(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


def another(path: Path) -> None:
    path.write_bytes(next(p for p in sorted(path.parent.iterdir()) if p != path).read_bytes())


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "certificate cut": ("certificates", cut),
    "certificate changed": ("certificates", flip),
    "certificate spelled otherwise": ("certificates", lambda path: rewritten(path, '"num":', '"num" :')),
    "certificate replaced": ("certificates", resealed),
    "certificate of another case": ("certificates", another),
    "certificate changed under its hash": ("certificates", keep_hash),
    "certificate deleted": ("certificates", Path.unlink),
    "record cut": ("cases", cut),
    "record deleted": ("cases", Path.unlink),
    "record empty": ("cases", lambda path: path.write_text("")),
    "record of another kind": ("cases", lambda path: path.write_text("[1]")),
    "record without fields": ("cases", lambda path: path.write_text("{}")),
    "record nested too deeply": ("cases", lambda path: path.write_text("[" * 100_000)),
    "record not text": ("cases", lambda path: path.write_bytes(b"\xff")),
    "record without certificate": ("cases", no_certificate),
    "record of other code": ("cases", lambda path: rewritten(path, '"key": "', '"key": "0')),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json]:
    """A finished audit of one claim."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, audit(claims("mlp-injectivity"), Settings(), out=folder)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_case_is_run_again(
    name: str, whole: tuple[Path, Json], runs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming reuses what is whole, and only that; the result is that of an undisturbed run."""
    monkeypatch.setattr(runner, "write_report", lambda report, folder: None)  # report.json is compared
    folder, report = whole
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    part, damage = DAMAGE[name]
    victim = ("mlp-injectivity", "monotone-d3-r4")
    damage(out / part / f"{victim[0]}-{victim[1]}.json")
    seen: list[tuple[int, int]] = []
    done = audit(claims("mlp-injectivity"), Settings(), out=out, resume=True,
                 on_progress=lambda done, total, name: seen.append((done, total)))  # fmt: skip
    assert done == report
    assert runs == [victim]
    assert certificates_in(out) == certificates_in(folder)
    assert (out / "report.json").read_bytes() == (folder / "report.json").read_bytes()
    count = len(report["claims"][0]["cases"])
    assert seen == [(k, count) for k in range(1, count + 1)]


def test_other_settings_or_no_resume_run_everything(runs: list[Any], tmp_path: Path) -> None:
    first = audit(claims("mlp-injectivity"), Settings(), out=tmp_path)
    count = len(runs)
    audit(claims("mlp-injectivity"), Settings(), out=tmp_path)
    assert len(runs) == 2 * count
    other = audit(claims("mlp-injectivity"), Settings(seed=1), out=tmp_path, resume=True)
    assert len(runs) == 3 * count
    assert other["claims"] != first["claims"]


def answering(verdict: str) -> Callable[[Any], list[KernelAnswer]]:
    return lambda paths: [KernelAnswer(str(path), verdict, "said so") for path in paths]


@pytest.mark.parametrize(
    ("verdict", "error"),
    [("false", DisagreementError), ("not a certificate", DisagreementError), ("over limits", KernelError)],
)
def test_a_disagreement_with_the_kernel_stops_the_run(
    verdict: str, error: type[Exception], monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner, "check_files", answering(verdict))
    with pytest.raises(error, match=verdict if error is DisagreementError else "over its limits"):
        audit(claims("mlp-injectivity"), Settings(), out=tmp_path)
    assert list((tmp_path / "cases").iterdir()) == []
    assert not (tmp_path / "report.json").exists()


@pytest.fixture
def claim_of(monkeypatch: Any) -> Callable[..., str]:
    """Puts a claim with one case of this outcome into the registry; its slug."""

    def register(check: Callable[[], CaseResult], expected: Verdict = Verdict.PROVED) -> str:
        claim = Claim("made-up", "t", "s", "x", "y", lambda settings: [Case("only", check)], expected=expected)
        monkeypatch.setitem(REGISTRY, claim.slug, claim)
        return claim.slug

    return register


def genuine() -> Certificate:
    certificate = made("mlp-injectivity")["monotone-d3-r4"].certificate
    assert certificate is not None
    return certificate


def test_sampling_never_proves(claim_of: Callable[..., str], tmp_path: Path) -> None:
    """Not even with a certificate that the kernel accepts; and the kernel takes no certificate of sampled evidence."""
    slug = claim_of(lambda: CaseResult(Verdict.PROVED, Evidence.SAMPLED, "many prompts were tried", genuine()))
    with pytest.raises(DisagreementError, match="by sampling"):
        audit(claims(slug), Settings(), out=tmp_path)
    assert list((tmp_path / "certificates").iterdir()) == []
    g = genuine()
    sampled = Certificate(g.claim, g.relation, Evidence.SAMPLED, g.instance, g.witness)
    sampled.write(tmp_path / "sampled.json")
    assert check_files([tmp_path / "sampled.json"])[0].verdict == "not a certificate"


def test_nothing_is_proved_without_a_certificate(claim_of: Callable[..., str]) -> None:
    slug = claim_of(lambda: CaseResult(Verdict.PROVED, Evidence.EXACT, "trust me"))
    with pytest.raises(DisagreementError, match="without a certificate"):
        audit(claims(slug), Settings())


def test_undecided_and_refuted_cases_are_reported_as_such(claim_of: Callable[..., str], tmp_path: Path) -> None:
    def undecided() -> CaseResult:
        raise Undecided("a ball straddles zero")

    report = audit(claims(claim_of(undecided)), Settings(), out=tmp_path)
    (claim,) = report["claims"]
    assert (claim["verdict"], report["as_expected"]) == ("undecided", False)
    assert claim["cases"][0]["summary"] == "a ball straddles zero"
    assert claim["cases"][0]["certificate"] is None
    slug = claim_of(lambda: CaseResult(Verdict.REFUTED, Evidence.EXACT, "no"), expected=Verdict.REFUTED)
    report = audit(claims(slug), Settings(), out=tmp_path)
    assert (report["claims"][0]["verdict"], report["as_expected"]) == ("refuted", True)
    slug = claim_of(lambda: CaseResult(Verdict.UNDECIDED, Evidence.SAMPLED, "no"), expected=Verdict.UNDECIDED)
    report = audit(claims(slug), Settings(), out=tmp_path)
    assert (report["claims"][0]["evidence"], report["as_expected"]) == ("sampled", True)


def test_one_weak_case_is_enough_to_lose_the_verdict() -> None:
    P, R, U = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
    assert combined([P, P]) is P
    assert combined([P, U]) is U
    assert combined([P, U, R]) is R
    assert combined([]) is U


def test_a_file_in_the_way_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output folder"):
        audit(claims(*QUICK), Settings(), out=tmp_path / "file")
