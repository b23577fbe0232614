"""The pytest plugin, by pytest's own means: small suites run with it, and what they leave behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import core, settings
from hypothesis.internal.reflection import function_digest

import verify.claims  # noqa: F401 - what a suite in this process imports first is gone with it, and numpy loads only once
from verify.certificate import seal
from verify.pytest_plugin import PROFILES, _recorded, _Run

pytest_plugins = ["pytester"]
HEAD = """
import pytest
from hypothesis import given, strategies as st
from verify.counterexample import Refuted
claim = pytest.mark.claim("my-lemma")
"""
QUICK = """
from hypothesis import HealthCheck, Phase, settings
phases = [Phase.explicit, Phase.generate, Phase.shrink]
settings.register_profile("quick", max_examples=50, database=None, derandomize=False, deadline=None, phases=phases,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")
"""
GENUINE = """
from dataclasses import replace
from constructions.verdict import Evidence, Verdict
from verify.claims import CaseResult, Settings
from verify.claims.registry import REGISTRY
def proved():
    return REGISTRY["mlp-injectivity"].cases(Settings())[0].check()
"""


@pytest.fixture(autouse=True)
def _hypothesis_as_it_was() -> Iterator[None]:
    """The suites run in this process."""
    name, seed = settings.get_current_profile_name(), core.global_force_seed
    yield
    settings.load_profile(name)
    core.global_force_seed = seed


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider --strict-markers\njunit_family = xunit1\n")
    pytester.makeconftest(QUICK)
    return pytester


def files(folder: Path, part: str = "counterexamples") -> dict[str, Any]:
    """The files of that kind by name, without the hash that ends it."""
    found = {}
    for path in sorted((folder / part).glob("*.json")):
        document = json.loads(path.read_text(encoding="ascii"))
        assert seal(document) == document
        found[re.sub(r"-[0-9a-f]{8}(?=(-\d+)?$)", "", path.stem)] = document
    return found


def properties(junit: Path) -> dict[str, dict[str, str]]:
    """What stands beside each test in the JUnit file."""
    return {
        case.get("name", ""): {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
        for case in ET.parse(junit).iter("testcase")
    }


def test_a_failing_test_of_a_claim_leaves_its_smallest_counterexample(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        HEAD
        + """
@claim
@given(x=st.integers(), y=st.floats(0, 1), z=st.lists(st.fractions()), w=st.just(1j))
def test_small(tmp_path_factory, x, y, z, w):
    y = None
    assert x < 17 or len(z) < 1

@given(x=st.integers())
def test_without_marker(x):
    assert x < 17

@claim
def test_plain():
    assert 1 == 2
"""
    )
    result = suite.runpytest("--junitxml=junit.xml", "--hypothesis-seed=5")
    result.assert_outcomes(failed=3)
    found = files(suite.path / ".promptcert")
    assert list(found) == ["test_a_failing_test_of_a_claim_leaves_its_smallest_counterexample.py-test_small"]
    (document,) = found.values()
    assert document["claim"] == "my-lemma"
    assert document["instance"] == {"x": 17, "y": 0, "z": [0], "w": "1j"}
    assert document["evidence"] == "sampled"
    assert document["sentence"].startswith("AssertionError: assert (17 < 17 or ")
    command = document["reproduce"].split()
    name = "test_a_failing_test_of_a_claim_leaves_its_smallest_counterexample.py"
    assert command == ["pytest", f"{name}::test_small", "--hypothesis-seed=5"]
    (path,) = (suite.path / ".promptcert" / "counterexamples").iterdir()
    result.stdout.fnmatch_lines(
        [
            "*- promptcert -*",
            f"counterexample: promptcert show .promptcert/counterexamples/{path.name}",
            f"reproduce: pytest {name}::test_small --hypothesis-seed=5",
            "*- promptcert -*",
            f"reproduce: pytest {name}::test_plain",
        ]
    )
    assert result.stdout.str().count(" promptcert -") == 2
    assert (suite.path / ".promptcert" / ".gitignore").read_text() == "*\n"
    beside = properties(suite.path / "junit.xml")
    assert beside["test_small"] == {"promptcert-claim": "my-lemma", "promptcert-counterexample": str(path)}
    assert beside["test_without_marker"] == {}
    assert beside["test_plain"] == {"promptcert-claim": "my-lemma"}
    path.unlink()
    suite.runpytest(*command[1:]).assert_outcomes(failed=1)
    assert files(suite.path / ".promptcert") == found
    # it holds now: nothing is left that says otherwise
    source = suite.path / name
    source.write_text(source.read_text().replace("x < 17", "x == x"))
    suite.runpytest(*command[1:]).assert_outcomes(passed=1)
    assert files(suite.path / ".promptcert") == {}


def test_the_seed_that_hypothesis_chose_is_in_the_line(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_rare=HEAD
        + """
@claim
@given(x=st.integers(0, 10**30))
def test_rare(x):
    assert x % 5 != 3 or x < 1000
"""
    )
    suite.runpytest().assert_outcomes(failed=1)
    (document,) = files(suite.path / ".promptcert").values()
    command = document["reproduce"].split()
    assert re.fullmatch(r"--hypothesis-seed=\d+", command[-1])
    suite.runpytest(*command[1:]).assert_outcomes(failed=1)
    assert list(files(suite.path / ".promptcert").values()) == [document]


def test_refuted(suite: pytest.Pytester) -> None:
    """Named instances and drawn ones, in tests of every shape; a file of its own for each."""
    suite.makepyfile(
        test_shapes=HEAD
        + GENUINE
        + """
import unittest

def test_plain():
    raise Refuted("expected 1, found 2", {"x": 2}, evidence=Evidence.ENCLOSED)

@pytest.mark.parametrize("bound", [1, 2], ids=["a/b", "c[d]"])
@given(x=st.integers(0, 100))
def test_drawn(bound, x):
    if x > bound:
        raise Refuted(f"expected at most {bound}, found {x}")

@given(x=st.integers(0, 100))
def test_named(x):
    if x > 3:
        raise Refuted("no", {"twice": 2 * x})

@claim
class TestMethods:
    @given(x=st.integers(0, 100))
    def test_method(self, x):
        assert x < 5

    @pytest.mark.claim("another-lemma")
    @given(x=st.integers())
    def test_two_bugs(self, x):
        if x > 10:
            raise Refuted("too large")
        assert x > -10

@claim
class TestOfUnittest(unittest.TestCase):
    @given(x=st.integers(0, 100))
    def test_method(self, x):
        assert x < 6

def test_result(certify):
    found = Refuted("expected proved, found refuted", {"x": 1}).counterexample("my-lemma")
    certify(CaseResult(Verdict.REFUTED, Evidence.EXACT, "no", counterexample=found))

@claim
@given(x=st.integers(0, 9), data=st.data())
def test_draws(x, data):
    assert data.draw(st.integers(x, 9)) < 5

@claim
def test_without_traceback():
    pytest.fail("said so", pytrace=False)

def test_caught():
    with pytest.raises(Refuted):
        raise Refuted("as it should be")
"""
    )
    result = suite.runpytest("--promptcert-out=out", "--hypothesis-seed=1")
    result.assert_outcomes(failed=10, passed=1)
    result.stdout.fnmatch_lines(["said so", "reproduce: pytest test_shapes.py::test_without_traceback"])
    assert not (suite.path / ".promptcert").exists()
    assert not (suite.path / "out" / ".gitignore").exists()
    found = files(suite.path / "out")
    told = {name: (one["claim"], one["sentence"], one["instance"], one["evidence"]) for name, one in found.items()}
    module = "test_shapes.py"
    two = [told.pop(f"{module}-TestMethods-test_two_bugs{end}") for end in ("", "-2")]
    assert sorted(entry[2]["x"] for entry in two) == [-10, 11]
    assert {entry[0] for entry in two} == {"another-lemma"}
    assert told == {
        f"{module}-test_plain": (f"{module}::test_plain", "expected 1, found 2", {"x": 2}, "enclosed"),
        f"{module}-test_drawn-a-b": (
            f"{module}::test_drawn[a/b]", "expected at most 1, found 2", {"bound": 1, "x": 2}, "exact"
        ),
        f"{module}-test_drawn-c-d": (
            f"{module}::test_drawn[c[d]]", "expected at most 2, found 3", {"bound": 2, "x": 3}, "exact"
        ),
        f"{module}-test_named": (f"{module}::test_named", "no", {"twice": 8}, "exact"),
        f"{module}-TestMethods-test_method": ("my-lemma", "AssertionError: assert 5 < 5", {"x": 5}, "sampled"),
        f"{module}-TestOfUnittest-test_method": ("my-lemma", "AssertionError: assert 6 < 6", {"x": 6}, "sampled"),
        f"{module}-test_draws": (
            "my-lemma", "AssertionError: assert 5 < 5", {"x": 0, "data": "data(...)", "draws": ["Draw 1: 5"]}, "sampled"
        ),
        f"{module}-test_result": (f"{module}::test_result", "expected proved, found refuted", {"x": 1}, "exact"),
    }  # fmt: skip


def test_certify(suite: pytest.Pytester) -> None:
    """The kernel's sentence and the file; in a test with hypothesis those of the last example."""
    suite.makepyfile(
        test_proofs=HEAD
        + GENUINE
        + """
@claim
def test_proved(certify):
    done = certify(proved())
    assert done.sentence.startswith("mlp-injectivity: ")
    assert done.path.is_file()
    assert certify(proved().certificate).path != done.path

@given(x=st.integers())
def test_each_example(certify, x):
    if x == 0:
        certify(proved())

@pytest.fixture
def made(certify):
    return certify(proved())

def test_by_a_fixture(made):
    assert made.path.is_file()

def test_undecided(certify):
    certify(CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "a ball straddles zero"))

def test_false(certify):
    certify(replace(proved().certificate, claim="prompt-law"))
"""
    )
    result = suite.runpytest("--junitxml=junit.xml", "--hypothesis-seed=1")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E * verify.certified.NotProved: expected proved, found undecided: a ball straddles zero",
            "E * verify.certified.NotProved: expected a certificate that the kernel accepts, found not a *",
        ]
    )
    module = "test_proofs.py"
    made = files(suite.path / ".promptcert", "certificates")
    assert {document["claim"] for document in made.values()} == {"mlp-injectivity"}
    assert set(made) >= {f"{module}-test_proved", f"{module}-test_by_a_fixture"}
    assert not any("undecided" in name or "false" in name for name in made)
    beside = properties(suite.path / "junit.xml")
    assert beside["test_proved"]["promptcert-claim"] == "my-lemma"
    assert beside["test_proved"]["promptcert-kernel"].startswith("mlp-injectivity: ")
    assert Path(beside["test_by_a_fixture"]["promptcert-certificate"]).is_file()
    assert beside["test_undecided"] == {}


def test_with_xdist(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_many=HEAD
        + """
@claim
@pytest.mark.parametrize("n", range(4))
@given(x=st.integers())
def test_each(n, x):
    assert x < n
"""
    )
    result = suite.runpytest("-n", "2", "--promptcert-out=out", "--junitxml=junit.xml", "--hypothesis-seed=3")
    result.assert_outcomes(failed=4)
    assert result.stdout.str().count("reproduce: pytest 'test_many.py::test_each[") == 4
    found = files(suite.path / "out")
    assert [document["instance"] for document in found.values()] == [{"n": n, "x": n} for n in range(4)]
    beside = properties(suite.path / "junit.xml")
    paths = {str(path) for path in (suite.path / "out" / "counterexamples").iterdir()}
    assert {entry["promptcert-counterexample"] for entry in beside.values()} == paths


def test_a_strict_junit_file_stays_valid(suite: pytest.Pytester) -> None:
    """The family xunit2, the default, allows no properties of a test."""
    suite.makepyfile(test_x=HEAD + "@claim\n@given(st.integers())\ndef test_x(x):\n    assert x < 3\n")
    suite.runpytest("--junitxml=junit.xml", "-o", "junit_family=xunit2").assert_outcomes(failed=1)
    (case,) = ET.parse(suite.path / "junit.xml").iter("testcase")
    assert [child.tag for child in case] == ["failure"]
    assert "\nreproduce: pytest test_x.py::test_x --hypothesis-seed=" in (case[0].text or "")


def test_other_suites_are_left_alone(suite: pytest.Pytester) -> None:
    """The same JUnit file, the same output, no files; the plugin can be left out."""
    suite.makepyfile(
        test_others="""
import pytest
from hypothesis import given, strategies as st
def test_passes(record_property):
    record_property("mine", 1)
@given(st.integers())
def test_fails(x):
    assert x < 3
def test_skips():
    pytest.skip("not today")
@pytest.mark.xfail
def test_xfails():
    assert False
"""
    )
    runs = []
    for options in ((), ("-p", "no:promptcert")):
        result = suite.runpytest("--junitxml=junit.xml", "--hypothesis-seed=1", *options)
        result.assert_outcomes(passed=1, failed=1, skipped=1, xfailed=1)
        tree = ET.parse(suite.path / "junit.xml")
        for element in tree.iter():
            for name in ("time", "timestamp"):
                element.attrib.pop(name, None)
            if element.get("name", "").startswith("hypothesis-statistics"):
                element.attrib.clear()
        runs.append(ET.tostring(tree.getroot(), encoding="unicode"))
        assert "promptcert -" not in result.stdout.str()
    assert runs[0] == runs[1]
    assert not (suite.path / ".promptcert").exists()
    suite.makepyfile(test_marked="import pytest\n@pytest.mark.claim('my-lemma')\ndef test_marked(): pass\n")
    suite.runpytest("test_marked.py").assert_outcomes(passed=1)
    result = suite.runpytest_subprocess("test_marked.py", "-p", "no:promptcert")  # pytest remembers markers
    result.stdout.fnmatch_lines(["*'claim' not found in `markers` configuration option*"])


def test_markers(suite: pytest.Pytester) -> None:
    suite.runpytest("--markers").stdout.fnmatch_lines(["@pytest.mark.claim(slug): the test is about this claim; *"])
    suite.makepyfile(
        test_wrong="""
import pytest
@pytest.mark.claim
def test_nothing(): pass
@pytest.mark.claim("Not A Slug")
def test_words(): pass
@pytest.mark.claim("a", slug="b")
def test_more(): pass
"""
    )
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    expected = 'expected claim("a-slug") of a-z and 0-9, joined by -, found claim'
    result.stderr.fnmatch_lines_random(
        [
            f"*test_wrong.py::test_nothing: {expected}()",
            f"*test_wrong.py::test_words: {expected}('Not A Slug')",
            f"*test_wrong.py::test_more: {expected}('a', slug='b')",
        ]
    )


def test_profiles(suite: pytest.Pytester) -> None:
    """Settings change only where that is asked for."""
    suite.makepyfile(
        test_settings="from hypothesis import settings\ndef test_settings():\n    print('examples', "
        "settings.default.max_examples, settings.default.derandomize, settings.default.deadline)\n"
    )
    suite.runpytest("-s").stdout.fnmatch_lines(["*examples 50 False None"])
    for name, values in PROFILES.items():
        result = suite.runpytest("-s", f"--promptcert-profile={name}", "test_settings.py")
        result.stdout.fnmatch_lines([f"*examples {values['max_examples']} {values.get('derandomize', False)} None"])
    result = suite.runpytest("--promptcert-profile=ci", "--hypothesis-profile=default")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*expected one of --promptcert-profile and --hypothesis-profile, found both"])
    suite.makepyfile(test_failing=HEAD + "@claim\n@given(st.integers())\ndef test_x(x):\n    assert x < 3\n")
    suite.runpytest("test_failing.py", "--promptcert-profile=ci").stdout.fnmatch_lines(
        ["reproduce: pytest test_failing.py::test_x --promptcert-profile=ci"]
    )


def test_a_folder_that_cannot_be_written_does_not_hide_the_failure(suite: pytest.Pytester) -> None:
    (suite.path / "out").write_text("in the way")
    suite.makepyfile(test_full=HEAD + "def test_x():\n    raise Refuted('expected 1, found 2', {'x': 2})\n"
                     "def test_y():\n    raise Refuted('no', {'x': 0.5})\n")  # fmt: skip
    result = suite.runpytest("--promptcert-out=out")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E * verify.counterexample.Refuted: expected 1, found 2",
            "counterexample not saved: *out*",
            "counterexample not saved: *",
        ]
    )
    result = suite.runpytest("-k", "test_y")
    result.stdout.fnmatch_lines(["counterexample not saved: *a counterexample holds exact parts; found float (0.5)"])


def test_a_wrong_refutation_is_one_failed_test(suite: pytest.Pytester) -> None:
    """Slips in what is raised, and parts that break when they are written: the session goes on."""
    suite.makepyfile(
        test_slips=HEAD
        + """
class Odd(dict):
    def items(self):
        raise ZeroDivisionError

def test_evidence():
    raise Refuted("no", {"x": 2}, evidence="sampled")

def test_part():
    raise Refuted("no", Odd())

class Array:
    def tolist(self):
        raise IndexError

@given(x=st.just(Array()))
def test_argument(x):
    raise Refuted("no")

def test_good():
    pass
"""
    )
    result = suite.runpytest()
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E * TypeError: Refuted: expected evidence to be Evidence.EXACT, ENCLOSED or SAMPLED, found 'sampled'",
            "counterexample not saved: ZeroDivisionError",
            "counterexample not saved: IndexError",
        ]
    )


def test_hypothesis_recognises_a_test_that_is_listened_to() -> None:
    """Its database and its derandomised seeds go by the digest."""

    def inner(x: int) -> None:
        assert x < 3

    assert function_digest(_recorded(inner, _Run(object(), None))) == function_digest(inner)  # type: ignore[arg-type]


def test_the_start_stays_cheap() -> None:
    names = ("flint", "hypothesis", "numpy", "constructions", "sympy", "verify.certificate")
    code = f"import sys, verify.pytest_plugin; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
