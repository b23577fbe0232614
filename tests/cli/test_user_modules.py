"""``promptcert audit --module FILE``: users' claims, and all that may be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from constructions.documents import InputError
from verify.audit import audit
from verify.certificate import canonical, seal
from verify.claims import Settings, sources
from verify.claims.registry import REGISTRY
from verify.claims.sources import Installed, ModuleFile, chosen, find

HEAD = """
from constructions.verdict import Evidence, Verdict
from verify.certificate import Certificate
from verify.claims import Case, CaseResult, Claim, Settings
from verify.claims.registry import REGISTRY
from verify.counterexample import Counterexample, Refuted

def claim(check, slug="my-lemma", name="only", **more):
    return Claim(slug, "Mine", "what I believe", "my notes", "this instance", lambda s: [Case(name, check)], **more)

def genuine():
    cases = REGISTRY["mlp-injectivity"].cases(Settings())
    return cases[0].check().certificate
"""
GOOD = HEAD + 'CLAIMS = (claim(lambda: CaseResult(Verdict.PROVED, Evidence.EXACT, "injective", genuine())),)\n'
REFUTED = (
    HEAD
    + """
def check():
    found = Counterexample("my-lemma", "expected at most 1, found 2", {"x": 2})
    return CaseResult(Verdict.REFUTED, Evidence.EXACT, found.sentence, counterexample=found)
CLAIMS = [claim(check)]
"""
)


@pytest.fixture
def module(inputs: Any) -> Callable[..., Path]:
    def write(text: str, name: str = "mine.py") -> Path:
        path: Path = inputs.write(name, text)
        return Path(path.name)  # the tests run in its folder

    return write


def case_of(report: Any) -> Any:
    (claim,) = report["claims"]
    (case,) = claim["cases"]
    return case


def test_proved_and_refuted(run, run_json, module, tmp_path: Path) -> None:
    """The kernel's sentence stands beside the user's statement; a counterexample is written and told of."""
    one = module(GOOD.replace("CLAIMS = (", "CLAIMS = (claim(genuine, 'unwanted'), "))
    raising = "def check():\n    raise Refuted('expected at most 1, found 2', {'x': 2}, certificate=genuine())\n"
    two = module(HEAD + raising + "CLAIMS = (claim(check, 'second'),)\n", "second.py")
    arguments = ["audit", "--module", one, "--module", two, "--out", tmp_path / "out"]
    for slug in ("my-lemma", "second"):
        arguments += ["--claim", slug]
    done = run(*arguments, "--jobs", 2)
    assert done.code == 1
    place = tmp_path / "out" / "counterexamples" / "second-only.json"
    lines = done.out.splitlines()
    at = lines.index("my-lemma (mine.py): what I believe")
    assert lines[at + 1] == "  only: proved: injective"
    assert lines[at + 2].startswith("    kernel: mlp-injectivity: ")
    assert lines[at + 3 : at + 5] == [
        "second (second.py): what I believe",
        "  only: refuted: expected at most 1, found 2",
    ]
    assert lines[at + 5].startswith("    kernel: mlp-injectivity: ")
    assert lines[at + 6] == f"    counterexample: {place}"
    assert "unwanted" not in done.out
    document = json.loads(place.read_text(encoding="utf-8"))
    assert document["instance"] == {"x": 2}
    assert document["reproduce"] == "promptcert audit --module second.py --claim second"
    assert document["certificate"] == json.loads((tmp_path / "out" / "certificates" / "second-only.json").read_text())
    assert (tmp_path / "out" / "certificates" / "my-lemma-only.json").is_file()
    code, report = run_json(*arguments, "--resume")
    assert code == 1
    assert [(claim["slug"], claim["origin"]) for claim in report["claims"]] == [
        ("my-lemma", "mine.py"),
        ("second", "second.py"),
    ]
    assert report["claims"][1]["cases"][0]["counterexample"] == "counterexamples/second-only.json"


def test_only_the_claims_of_the_modules(module) -> None:
    one, two = module(GOOD), module(REFUTED.replace('"my-lemma"', '"second-lemma"'), "second.py")
    assert [claim.slug for claim in chosen(None, [str(one), str(two)])] == ["my-lemma", "second-lemma"]
    found = chosen(["second-lemma", "direction-lemma"], [str(one), str(two)])
    assert [(claim.slug, claim.origin is None) for claim in found] == [
        ("direction-lemma", True),
        ("second-lemma", False),
    ]


def test_nothing_is_left_of_what_was_believed_before(run, module, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("audit", "--module", module(REFUTED), "--out", out).code == 1
    assert (out / "counterexamples" / "my-lemma-only.json").exists()
    assert run("audit", "--module", module(GOOD), "--out", out).code == 0
    assert list((out / "counterexamples").iterdir()) == []
    run("audit", "--module", module(REFUTED), "--out", out)
    assert list((out / "certificates").iterdir()) == []
    assert "    counterexample: kept with --out DIR\n" in run("audit", "--module", module(REFUTED)).out


def test_the_arguments_of_a_check_that_breaks_are_told(run, module) -> None:
    source = """
from hypothesis import strategies as st
from constructions.verdict import Verdict
from verify.claims.claim import Claim
from verify.user_claims import property_case

def check(n):
    1 / n

def cases(settings):
    return [property_case("only", {"n": st.just(0)}, check, settings=settings)]

CLAIMS = (Claim("my-lemma", "t", "s", "mine", "nothing", cases, Verdict.PROVED),)
"""
    told = run("audit", "--module", module(source)).out
    assert "mine.py:8: ZeroDivisionError: division by zero; Failing test case: test( v={'n': 0}, )\n" in told


UNDECIDED: dict[str, tuple[str, str]] = {
    "exception": ("1 / 0", "mine.py:LINE: ZeroDivisionError: division by zero"),
    "exit": ("exit(0)", "mine.py:LINE: SystemExit: 0"),
    "stack": ("CHECKS['stack']()", "mine.py:LINE: RecursionError: maximum recursion depth exceeded"),
    "memory": ("raise MemoryError", "mine.py:LINE: MemoryError"),
    "assertion": ("assert 1 + 1 == 3, 'two\\nlines'", "mine.py:LINE: AssertionError: two lines"),
    "undecided": ("raise Undecided('a ball straddles zero')", "a ball straddles zero"),
    "nothing": ("return None", "mine.py: TypeError: expected the case to return a CaseResult, found NoneType"),
    "true": ("return True", "mine.py: TypeError: expected the case to return a CaseResult, found bool"),
    "own-code": ("return CaseResult(P, E, 'trust me')", "checked by its own code only: trust me"),
    "sampled": (
        "return CaseResult(P, S, 'many', genuine())",
        "my-lemma/sampled: proved without a certificate, or by sampling",
    ),
    "false": (
        "return CaseResult(P, E, 'x', replace(genuine(), relation='unmemorizable'))",
        "my-lemma/false: proved, but the kernel says not a certificate: ",
    ),
    "dictionary": (
        "return CaseResult(P, E, 'x', {})",
        "mine.py: TypeError: CaseResult: expected certificate to be a Certificate, found dict",
    ),
    "not-json": (
        "return CaseResult(P, E, 'x', replace(genuine(), witness={'z': {1}}))",
        "mine.py: TypeError: ",
    ),
    "text": (
        "return CaseResult('proved', E, 'x', genuine())",
        "mine.py: TypeError: CaseResult: expected verdict to be a Verdict, found str",
    ),
    "nan": (
        "return CaseResult(P, E, 'x', genuine(), {'loss': float('nan')})",
        "mine.py: ValueError: ",
    ),
    "floats": (
        "return CaseResult(R, E, 'x', counterexample=Counterexample('my-lemma', 'x', {'x': 0.5}))",
        "mine.py: TypeError: a counterexample holds exact parts; found float (0.5)",
    ),
    "constant": (
        "return CaseResult(P, E, 'x', genuine(), constants=('d ≥ 4',))",
        "mine.py: TypeError: CaseResult: expected constants to hold Constants, found str",
    ),
    "constant-of-numbers": (
        "return CaseResult(P, E, 'x', genuine(), constants=(Constant('width', 4, '2', '2 less'),))",
        "mine.py: TypeError: Constant: expected stated to be a str, found int",
    ),
    "refuted-falsely": (
        "raise Refuted('x', {}, certificate=replace(genuine(), claim='prompt-law'))",
        "my-lemma/refuted-falsely: refuted, but the kernel says not a certificate: ",
    ),
    "by-a-float": ("return CaseResult(R, S, 'x')", "refuted by sampling only: x"),
}


def test_whatever_a_users_code_does_proves_nothing(run, module, tmp_path: Path) -> None:
    """And refutes nothing; and the other cases are run."""
    text = HEAD + (
        "from dataclasses import replace\nfrom constructions.verdict import Undecided\n"
        "from verify.claims import Constant\n"
        "P, R, E, S = Verdict.PROVED, Verdict.REFUTED, Evidence.EXACT, Evidence.SAMPLED\nCHECKS = {}\n"
    )
    line_of = {}
    for name, (body, _) in UNDECIDED.items():
        text += f"def check():\n    {body}\nCHECKS[{name!r}] = check\n"
        line_of[name] = str(text.count("\n") - 1)
    text += "def cases(settings):\n    return [Case(name, check) for name, check in CHECKS.items()]\n"
    text += "CLAIMS = (Claim('my-lemma', 't', 's', 's', 'x', cases),)\n"
    out = tmp_path / "out"
    done = run("audit", "--module", module(text), "--out", out)
    assert done.code == 2
    (claim,) = json.loads((out / "report.json").read_text(encoding="utf-8"))["claims"]
    assert [case["name"] for case in claim["cases"]] == list(UNDECIDED)
    for case in claim["cases"]:
        name = case["name"]
        assert case["verdict"] == "undecided"
        assert case["summary"].startswith(UNDECIDED[name][1].replace("LINE", line_of[name]))
        assert "\n" not in case["summary"]
        assert (case["certificate"], case["kernel"], case["counterexample"]) == (None, None, None)
        assert f"  {name}: undecided: {case['summary']}\n" in done.out
    assert list((out / "certificates").iterdir()) == []
    assert not (out / "counterexamples").exists()


REFUSED: dict[str, tuple[str, str]] = {
    "syntax": ("x = 1\ndef broken(:\n", "mine.py:2: SyntaxError: "),
    "import": ("\nimport not_there\n", "mine.py:2: ModuleNotFoundError: No module named 'not_there'"),
    "exception": ("def f():\n    1 / 0\nf()\n", "mine.py:2: ZeroDivisionError: division by zero (while"),
    "exit": ("import sys\nsys.exit(0)\n", "mine.py:2: SystemExit: 0"),
    "bytes": ("# coding: klingon\n", "mine.py: expected Python, found text that is not what its encoding says"),
    "null byte": ("x = '\0'\n", "mine.py"),
    "empty": ("", "mine.py: expected CLAIMS, a tuple of claims, found none"),
    "one claim": (HEAD + "CLAIM = 1\n", "found CLAIM alone: write CLAIMS = (CLAIM,)"),
    "no tuple": (HEAD + "CLAIMS = claim(None)\n", "expected CLAIMS to be a tuple of one claim or more, found a Claim"),
    "none": ("CLAIMS = ()\n", "expected CLAIMS to be a tuple of one claim or more, found a tuple"),
    "text": ("CLAIMS = ('my-lemma',)\n", "mine.py: expected a Claim in CLAIMS, found 'my-lemma'"),
    "ours": (HEAD + "CLAIMS = (claim(None, 'prompt-law'),)\n",
             "mine.py: expected a slug of its own, found 'prompt-law', a claim of promptcert"),
    "slug": (HEAD + "CLAIMS = (claim(genuine, '../x'),)\n", "of a-z and 0-9, joined by -, found '../x'"),
    "long slug": (HEAD + "CLAIMS = (claim(genuine, 'a' * 200),)\n", "expected a slug"),
    "number": (HEAD + "CLAIMS = (claim(genuine, 7),)\n", "expected a slug of a-z and 0-9, joined by -, found 7"),
    "twice": (HEAD + "CLAIMS = (claim(genuine), claim(genuine))\n",
              "mine.py: expected a slug of its own, found 'my-lemma', a claim of mine.py"),
    "statement": (HEAD + "CLAIMS = (Claim('my-lemma', 't', '', 's', 'x', list),)\n", "a text as statement, found ''"),
    "cases": (HEAD + "CLAIMS = (Claim('my-lemma', 't', 's', 's', 'x', []),)\n",
              "claim my-lemma: expected cases to be a function, found a list"),
    "expected": (HEAD + "CLAIMS = (claim(genuine, expected='proved'),)\n", "expected a Verdict, found 'proved'"),
    "no list": (HEAD + "CLAIMS = (Claim('my-lemma', 't', 's', 's', 'x', lambda settings: None),)\n",
                "mine.py: claim my-lemma: its cases cannot be listed: mine.py: TypeError: 'NoneType'"),
    "listing": (HEAD + "CLAIMS = (Claim('my-lemma', 't', 's', 's', 'x', lambda settings: 1 / 0),)\n",
                "its cases cannot be listed: mine.py:14: ZeroDivisionError"),
    "no case": (HEAD + "CLAIMS = (Claim('my-lemma', 't', 's', 's', 'x', lambda settings: [1]),)\n",
                "expected a list of Case, found 1 in it"),
    "name": (HEAD + "CLAIMS = (claim(genuine, name='../../x'),)\n", "expected names of cases from a-z, 0-9, - and _"),
    "name twice": (HEAD + "CLAIMS = (Claim('my-lemma', 't', 's', 's', 'x', lambda s: 2 * [Case('a', list)]),)\n",
                   "expected each case once, found 'a' twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(refused, module, name: str) -> None:
    text, expected = REFUSED[name]
    line = refused(4, "audit", "--module", module(text))
    assert line.startswith("error: mine.py")
    assert expected in line


def test_no_two_cases_share_a_file(refused, module) -> None:
    text = HEAD + "CLAIMS = (claim(genuine, 'my-lemma', 'two-heads'), claim(genuine, 'my-lemma-two', 'heads'))\n"
    assert "expected names of cases that give files of their own, found 'heads', which is that of my-lemma with" in (
        refused(4, "audit", "--module", module(text))
    )


def test_refused_files(refused, inputs) -> None:
    assert "missing.py: cannot be read: No such file or directory" in refused(4, "audit", "--module", "missing.py")
    assert ".: cannot be read: Is a directory" in refused(4, "audit", "--module", ".")
    (inputs.folder / "mine.py").write_bytes(b"x = '\xff'\n")
    assert "mine.py: expected Python, found text" in refused(4, "audit", "--module", "mine.py")


def test_unknown_slug(refused, module) -> None:
    line = refused(4, "audit", "--module", module(GOOD), "--claim", "fermat")
    assert line.startswith("error: --claim: expected one of attention-lipschitz, ")
    assert "my-lemma" in line
    assert line.endswith("found 'fermat'\n")


def test_what_a_module_prints_goes_to_stderr(run, module) -> None:
    noisy = "print('imported')\n" + REFUTED.replace("def check():\n", "def check():\n    print('checked')\n")
    done = run("audit", "--module", module(noisy), "--format", "json")
    json.loads(done.out)
    assert "imported\n" in done.err
    assert "checked\n" in done.err


def test_a_time_limit_is_not_a_failed_case(refused, module) -> None:
    slow = HEAD + "def check():\n    while True:\n        try:\n            [i for i in range(10**6)]\n"
    slow += "        except Exception:\n            pass\nCLAIMS = (claim(check),)\n"
    assert "not finished within --max-seconds 0.5" in refused(
        3, "audit", "--module", module(slow), "--max-seconds", "0.5"
    )


def test_resume_runs_a_changed_module_again(module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And a case whose counterexample was changed."""
    monkeypatch.setattr("verify.audit.run_key", str)  # the code may be edited while this runs
    worked: list[str] = []

    def resumed(text: str) -> Any:
        worked.clear()
        report = audit(
            chosen(None, [str(module(text))]), Settings(), out=tmp_path / "out", resume=True,
            on_progress=lambda done, total, name: worked.append(name),
        )  # fmt: skip
        return case_of(report)["summary"]

    assert resumed(REFUTED) == "expected at most 1, found 2"
    assert worked == ["my-lemma: only"]
    assert resumed(REFUTED) == "expected at most 1, found 2"
    assert worked == ["my-lemma"]
    assert resumed(REFUTED.replace("at most 1", "at most 0")) == "expected at most 0, found 2"
    assert worked == ["my-lemma: only"]
    place = tmp_path / "out" / "counterexamples" / "my-lemma-only.json"
    document = json.loads(place.read_text(encoding="utf-8"))
    place.write_text(canonical({**document, "instance": {}}), encoding="utf-8")
    resumed(REFUTED.replace("at most 1", "at most 0"))
    assert worked == ["my-lemma: only"]
    assert seal(document) == json.loads(place.read_text(encoding="utf-8"))


def test_a_module_is_read_as_python_reads_it(module) -> None:
    """Nothing of the reader's own language settings goes into it."""
    text = "def f(x: int): pass\nassert f.__annotations__ == {'x': int}\n" + GOOD
    assert [claim.slug for claim in chosen(None, [str(module(text))])] == ["my-lemma"]


def test_a_module_is_found_again_without_its_file(module) -> None:
    """Its text goes along to other machines."""
    path = module(GOOD)
    origin = ModuleFile.read(path)
    path.unlink()
    sources._of_module_file.cache_clear()
    assert find(origin, "my-lemma").statement == "what I believe"
    assert find(None, "prompt-law") is REGISTRY["prompt-law"]


# --- installed packages ---------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A package that somebody installed, with claims."""

    def install(text: str, value: str = "somebodys_claims:CLAIMS") -> None:
        site = tmp_path / "site"
        info = site / "somebody-1.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (site / "somebodys_claims.py").write_text(text, encoding="utf-8")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[promptcert.claims]\nlemmas = {value}\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(__import__("sys").modules, "somebodys_claims", raising=False)

    return install


@pytest.mark.parametrize("value", ["somebodys_claims:CLAIMS", "somebodys_claims"])
def test_claims_of_an_installed_package(run_json, package, value: str) -> None:
    package(GOOD, value)
    slugs = [claim.slug for claim in chosen(None, [])]
    assert slugs == [*REGISTRY, "my-lemma"]
    code, report = run_json("audit", "--claim", "my-lemma")
    assert code == 0
    assert report["claims"][0]["origin"] == "somebody 1.2"
    claim = chosen(["my-lemma"], [])[0]
    assert isinstance(claim.origin, Installed)
    assert find(claim.origin, "my-lemma").slug == "my-lemma"


def test_installed_packages_are_loaded_only_where_they_are_asked_for(package, module, refused) -> None:
    package("raise RuntimeError('broken')\n")
    assert [claim.slug for claim in chosen(["prompt-law"], [])] == ["prompt-law"]
    assert [claim.slug for claim in chosen(None, [str(module(GOOD))])] == ["my-lemma"]
    with pytest.raises(InputError, match=r"^somebody 1\.2: entry point lemmas = somebodys_claims:CLAIMS: cannot be"):
        chosen(None, [])
    assert "RuntimeError: broken" in refused(4, "audit")


def test_an_installed_claim_that_is_named_like_another(package, module) -> None:
    package(GOOD)
    with pytest.raises(InputError, match=r"^somebody 1\.2: expected a slug of its own, .* a claim of mine\.py"):
        chosen(["my-lemma", "fermat"], [str(module(GOOD))])


def test_a_changed_package_is_another_one(package) -> None:
    package(GOOD)
    before = chosen(["my-lemma"], [])[0].origin
    assert before is not None
    first = before.fingerprint
    package(GOOD + "# more\n")
    assert before.fingerprint != first
