"""The pytest plugin: marker ``claim``, fixture ``certify``, failing tests leave counterexamples.

See docs/testing-in-ci.md. pytest loads it by its entry point, ``-p no:promptcert`` leaves it out. It is read at the
start of every run, so it imports nothing of the package before a test needs it.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import shlex
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from verify.certificate import Certificate
    from verify.certified import Certified
    from verify.claims.claim import CaseResult
    from verify.counterexample import Counterexample

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
PROFILES: dict[str, dict[str, Any]] = {
    "dev": {"max_examples": 50, "derandomize": False},
    "ci": {"max_examples": 100, "derandomize": True},
    "nightly": {"max_examples": 2000, "derandomize": False},
}
"""Exact arithmetic has no steady pace: none of them has a deadline. In "ci" hypothesis does not go on to explain its
example: that runs a hundred more under a tracer, and says different things on different machines."""
KEPT = 20
"""So many of the last failures of a test are remembered: hypothesis ends with the smallest of each kind."""


@dataclass
class _Run:
    """One run of one test: what hypothesis drew when it failed, and what was certified."""

    item: pytest.Item
    slug: str | None
    failures: deque[tuple[BaseException, Mapping[str, Any]]] = field(default_factory=lambda: deque(maxlen=KEPT))
    certificates: dict[Path, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A file name of its own for every test."""
        nodeid = self.item.nodeid
        file, _, test = nodeid.partition("::")
        words = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{file.rpartition('/')[2]}-{test}").strip("-.")
        return f"{words[:80]}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"

    def arguments(self, error: BaseException) -> Mapping[str, Any] | None:
        """What hypothesis drew for the run of the test that ended with this error."""
        return next((drawn for failed, drawn in self.failures if failed is error), None)


CURRENT = pytest.StashKey[_Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("promptcert", "promptcert")
    group.addoption(
        "--promptcert-out",
        metavar="DIR",
        help="where certificates and counterexamples go (default: .promptcert in the root folder)",
    )
    group.addoption(
        "--promptcert-profile",
        choices=sorted(PROFILES),
        help="load this profile of hypothesis settings (without it, settings are as the project has them)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "claim(slug): the test is about this claim; its failures leave counterexamples")
    name = config.getoption("promptcert_profile")
    if name is not None:
        if config.getoption("--hypothesis-profile", None) is not None:
            raise pytest.UsageError("expected one of --promptcert-profile and --hypothesis-profile, found both")
        from hypothesis import HealthCheck, Phase, settings

        slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
        for key, values in PROFILES.items():
            phases = [phase for phase in settings().phases if key != "ci" or phase is not Phase.explain]
            settings.register_profile(
                f"promptcert-{key}", deadline=None, suppress_health_check=slow, phases=phases, **values
            )
        settings.load_profile(f"promptcert-{name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wrong = []
    for item in items:
        marker = item.get_closest_marker("claim")
        if marker is not None and _slug(item) is None:
            found = ", ".join([*map(repr, marker.args), *(f"{key}={value!r}" for key, value in marker.kwargs.items())])
            wrong.append(f'{item.nodeid}: expected claim("a-slug") of a-z and 0-9, joined by -, found claim({found})')
    if wrong:
        raise pytest.UsageError(*wrong)


def _slug(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("claim")
    if marker is None or len(marker.args) != 1 or marker.kwargs:
        return None
    slug = marker.args[0]
    return slug if isinstance(slug, str) and SLUG.fullmatch(slug) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    run = _Run(item, _slug(item))
    item.config.stash[CURRENT] = run
    _remove_earlier(item.config, run.name)
    if run.slug is not None:
        _note(run, "claim", run.slug)
    try:
        return (yield)
    finally:
        del item.config.stash[CURRENT]


def _note(run: _Run, name: str, value: str) -> None:
    """A property of the test, for reports. A JUnit file of the family xunit2 has none: its schema allows no more."""
    config = run.item.config
    if config.getoption("xmlpath", None) is None or config.getini("junit_family") != "xunit2":
        run.item.user_properties.append((f"promptcert-{name}", value))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Listens to what hypothesis draws; only where a counterexample may come of it."""
    run = item.config.stash.get(CURRENT, None)
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    inner = getattr(handle, "inner_test", None)
    concerned = run is not None and (run.slug is not None or "verify.counterexample" in sys.modules)
    if inner is None or inspect.iscoroutinefunction(inner) or not concerned:
        return (yield)
    assert run is not None
    handle.inner_test = _recorded(inner, run)  # type: ignore[union-attr]
    try:
        return (yield)
    finally:
        handle.inner_test = inner  # type: ignore[union-attr]


def _recorded(inner: Callable[..., Any], run: _Run) -> Callable[..., Any]:
    signature = inspect.signature(inner)
    parameters = set(getattr(getattr(run.item, "callspec", None), "params", ()))
    fixtures = set(getattr(run.item, "fixturenames", ())) - parameters

    @functools.wraps(inner)  # hypothesis looks at source and signature
    def recording(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        run.certificates.clear()
        try:
            return inner(*args, **kwargs)
        except BaseException as error:
            drawn = signature.bind(*args, **kwargs).arguments
            run.failures.append((error, {k: v for k, v in drawn.items() if k != "self" and k not in fixtures}))
            raise

    return recording


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    run = item.config.stash.get(CURRENT, None)
    if run is not None:
        for path, sentence in run.certificates.items():
            _note(run, "certificate", str(path))
            _note(run, "kernel", sentence)
        run.certificates.clear()
    report = yield
    if report.failed and call.when == "call" and call.excinfo is not None and run is not None:
        known = len(item.user_properties)
        lines = _told(run, call.excinfo.value)
        report.user_properties += item.user_properties[known:]
        if lines:
            _append(report, "\n".join(lines))
    return report


def _append(report: pytest.TestReport, text: str) -> None:
    add = getattr(report.longrepr, "addsection", None)  # not there where a test fails without a traceback
    if add is not None:
        add("promptcert", text)
    else:
        report.longrepr = f"{report.longrepr}\n{text}"


def _told(run: _Run, error: BaseException) -> list[str]:
    """Saves a counterexample for each error that is one; the lines that the failure message ends with."""
    again = _reproduce(run.item)
    lines = []
    for number, one in enumerate(_leaves(error), start=1):
        path = _folder(run.item.config) / "counterexamples" / f"{run.name}{'' if number == 1 else f'-{number}'}.json"
        try:
            found = _counterexample(run, one, again)
            if found is None:
                continue
            _prepare(run.item.config, path.parent)
            found.write(path)
        except Exception as reason:  # parts are what a test made of them: whatever they do, the other tests go on
            lines.append(f"counterexample not saved: {str(reason) or type(reason).__name__}")
            continue
        _note(run, "counterexample", str(path))
        lines.append(f"counterexample: promptcert show {shlex.quote(_short(path, run.item.config))}")
    if lines or run.slug is not None:
        lines.append(f"reproduce: {again}")
    return lines


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _counterexample(run: _Run, error: BaseException, again: str) -> Counterexample | None:
    """What a failure refutes: what it says itself, or, in a test of a claim, what hypothesis ended with."""
    drawn = run.arguments(error)
    if run.slug is None and "verify.counterexample" not in sys.modules:
        return None
    from constructions.verdict import Evidence
    from verify.counterexample import Counterexample, Refuted

    claim = run.slug or run.item.nodeid
    arguments = None if drawn is None else {name: _exact(value) for name, value in drawn.items()}
    draws = [line for note in getattr(error, "__notes__", ()) for line in note.splitlines() if line.startswith("Draw ")]
    if arguments is not None and draws:
        arguments["draws"] = draws  # what the test drew while it ran, as hypothesis tells it
    if isinstance(error, Refuted):
        return error.counterexample(claim, arguments, reproduce=again)
    if run.slug is None or arguments is None:
        return None
    first = next(iter(str(error).strip().splitlines()), "")
    sentence = f"{type(error).__name__}: {first:.300}" if first else type(error).__name__
    return Counterexample(claim, sentence, arguments, Evidence.SAMPLED, again)


def _exact(value: Any) -> Any:
    """An argument in a form that a counterexample can hold: a finite float as the rational that it is, anything that
    has no exact form as the text that stands for it."""
    from verify.counterexample import part

    match value:
        case float() if value - value == 0:
            return Fraction(value)
        case Mapping():
            return {str(name): _exact(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_exact(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _exact(value.tolist())
    try:
        return part(value)
    except TypeError:
        return repr(value)


def _reproduce(item: pytest.Item) -> str:
    """The command that runs the test again as it ran."""
    config = item.config
    words = ["pytest", _relative_nodeid(item)]
    given = (("--promptcert-profile", "promptcert_profile"), ("--hypothesis-profile", "--hypothesis-profile"))
    words += [f"{option}={value}" for option, name in given if (value := config.getoption(name, None)) is not None]
    seed = config.getoption("--hypothesis-seed", None)
    if seed is None:
        seed = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_generated_seed", None)
    if seed is not None and hasattr(getattr(item, "obj", None), "hypothesis"):
        words.append(f"--hypothesis-seed={seed}")
    return shlex.join(words)


def _relative_nodeid(item: pytest.Item) -> str:
    path, separator, rest = item.nodeid.partition("::")
    full = item.config.rootpath / path
    return f"{_short(full, item.config)}{separator}{rest}"


def _short(path: Path, config: pytest.Config) -> str:
    """The path as a user types it where pytest was started."""
    here = config.invocation_params.dir
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _folder(config: pytest.Config) -> Path:
    given = config.getoption("promptcert_out")
    return config.rootpath / ".promptcert" if given is None else config.invocation_params.dir / given


def _prepare(config: pytest.Config, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ignore = _folder(config) / ".gitignore"
    if config.getoption("promptcert_out") is None and not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def _remove_earlier(config: pytest.Config, name: str) -> None:
    """What an earlier run of this test left says nothing about this one."""
    for part in ("certificates", "counterexamples"):
        folder = _folder(config) / part
        if folder.is_dir():
            for path in (*folder.glob(f"{name}.json"), *folder.glob(f"{name}-[0-9]*.json")):
                path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def certify(request: pytest.FixtureRequest) -> Callable[[Certificate | CaseResult], Certified]:
    """Writes the certificate of something proved and has the kernel check it; the test fails on anything else.

    ``certify(found)`` takes a certificate or the result of a case and returns the ``path`` of the file and the kernel's
    ``sentence``. In a test with hypothesis the file of the last example remains.
    """
    config = request.config

    def certify(found: Certificate | CaseResult) -> Certified:
        __tracebackhide__ = True
        from verify.certified import certified

        run = config.stash.get(CURRENT, None)
        if run is None:
            raise RuntimeError("certify: expected a test that is running, found none")
        number = len(run.certificates) + 1
        path = _folder(config) / "certificates" / f"{run.name}{'' if number == 1 else f'-{number}'}.json"
        _prepare(config, path.parent)
        done = certified(found, path)
        run.certificates[path] = done.sentence
        return done

    return certify
