"""Claims that are not ours: from a user's Python file (``audit --module FILE``) and from installed packages (entry
point ``promptcert.claims``). Both bring ``CLAIMS``, a sequence of claims; see docs/own-claims.md."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from constructions.documents import InputError
from constructions.verdict import Verdict
from verify.claims.claim import Case, Claim, Origin, Settings
from verify.claims.registry import REGISTRY

GROUP = "promptcert.claims"
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
MAX_NAME = 100
"""Slugs and names of cases are names of files."""


@dataclass(frozen=True)
class ModuleFile:
    """A user's file: its path as it was given and its text, which goes along to other processes."""

    path: str
    text: str

    @staticmethod
    def read(path: str | os.PathLike[str]) -> ModuleFile:
        """The file as it is now. Raises InputError."""
        name = os.fspath(path)
        try:
            return ModuleFile(name, importlib.util.decode_source(Path(path).read_bytes()))
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None
        except (SyntaxError, UnicodeDecodeError) as error:
            raise InputError(
                f"{name}: expected Python, found text that is not what its encoding says: {error}"
            ) from None

    def __str__(self) -> str:
        return self.path

    @property
    def options(self) -> tuple[str, ...]:
        return ("--module", self.path)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    def claims(self) -> tuple[Claim, ...]:
        """Raises InputError for a file that cannot be imported or has no claims."""
        return _of_module_file(self)


@cache
def _of_module_file(origin: ModuleFile) -> tuple[Claim, ...]:
    name = f"promptcert_module_{origin.fingerprint[:16]}_{hashlib.sha256(origin.path.encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = origin.path
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        with users_code():
            exec(compile(origin.text, origin.path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{said(error, origin.path)} (while it was imported)") from None
    return _demanded(module, origin.path, origin)


@dataclass(frozen=True)
class Installed:
    """The claims of an installed package, by its entry point ``name = value`` in the group ``promptcert.claims``."""

    distribution: str
    version: str
    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def options(self) -> tuple[str, ...]:
        return ()

    @property
    def fingerprint(self) -> str:
        """Version and source of the module that the entry point names, which need not be the whole package."""
        digest = hashlib.sha256(repr(self).encode())
        file = getattr(sys.modules.get(self.value.partition(":")[0].strip()), "__file__", None)
        if file is not None and os.path.isfile(file):
            digest.update(Path(file).read_bytes())
        return digest.hexdigest()

    def claims(self) -> tuple[Claim, ...]:
        """Raises InputError for a package whose claims cannot be loaded."""
        where = f"{self}: entry point {self.name} = {self.value}"
        try:
            with users_code():
                found = metadata.EntryPoint(self.name, self.value, GROUP).load()
        except (Exception, SystemExit) as error:
            raise InputError(f"{where}: cannot be loaded: {_one_line(error)}") from None
        return _demanded(found, where, self)


def installed() -> list[Installed]:
    """All entry points of installed packages, in a fixed order; nothing is imported."""
    found = []
    for entry in metadata.entry_points(group=GROUP):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist is not None else ("unknown", "unknown")
        found.append(Installed(name, version, entry.name, entry.value))
    return sorted(set(found), key=repr)


def find(origin: Origin | None, slug: str) -> Claim:
    """A claim again, in another process."""
    if origin is None:
        return REGISTRY[slug]
    return next(claim for claim in origin.claims() if claim.slug == slug)


def chosen(slugs: Sequence[str] | None, modules: Sequence[str]) -> list[Claim]:
    """What an audit runs. Without ``slugs``: the claims of the modules, or, without modules too, ours and those of
    installed packages. With ``slugs``: these, wherever they are from.

    Raises InputError for claims that cannot be loaded, that share a slug, or that are not there.
    """
    known = dict(REGISTRY)
    of_modules = [claim.slug for path in modules for claim in _added(known, ModuleFile.read(path))]
    if (slugs is None and not modules) or not known.keys() >= set(slugs or ()):
        for origin in installed():
            _added(known, origin)
    if slugs is None:
        return [known[slug] for slug in of_modules] if modules else list(known.values())
    for slug in slugs:
        if slug not in known:
            raise InputError(f"--claim: expected one of {', '.join(sorted(known))}, found {slug!r:.60}")
    return [claim for slug, claim in known.items() if slug in slugs]


def _added(known: dict[str, Claim], origin: ModuleFile | Installed) -> tuple[Claim, ...]:
    claims = origin.claims()
    for claim in claims:
        if claim.slug in known:
            other = known[claim.slug].origin
            whose = "a claim of promptcert" if other is None else f"a claim of {other}"
            raise InputError(f"{origin}: expected a slug of its own, found {claim.slug!r}, {whose}")
        known[claim.slug] = claim
    return claims


def listed(claim: Claim, settings: Settings) -> list[Case]:
    """The cases of a claim; those of a user's are looked at first. Raises InputError."""
    if claim.origin is None:
        return claim.cases(settings)
    where = f"{claim.origin}: claim {claim.slug}"
    try:
        with users_code():
            cases = list(claim.cases(settings))
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: its cases cannot be listed: {said(error, str(claim.origin))}") from None
    names = set()
    for case in cases:
        if not isinstance(case, Case):
            raise InputError(f"{where}: expected a list of Case, found {_kind(case)} in it")
        if not isinstance(case.name, str) or not NAME.fullmatch(case.name) or len(case.name) > MAX_NAME:
            raise InputError(
                f"{where}: expected names of cases from a-z, 0-9, - and _ (they name files), found {case.name!r:.60}"
            )
        if case.name in names:
            raise InputError(f"{where}: expected each case once, found {case.name!r} twice")
        names.add(case.name)
    return cases


@contextmanager
def users_code() -> Iterator[None]:
    """What a user's code prints goes to stderr: stdout carries the answer."""
    with redirect_stdout(sys.stderr):
        yield


def said(error: BaseException, path: str) -> str:
    """An exception of a user's code in one line: the last place in the user's file, and what was raised there."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{path}:{error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}:{lines[-1]}: {_one_line(error)}" if lines else f"{path}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    # hypothesis notes the arguments on an exception
    parts = [str(error), *dict.fromkeys(getattr(error, "__notes__", ()))]
    text = "; ".join(part for part in (_in_line(part) for part in parts) if part)
    return f"{type(error).__name__}: {text:.400}" if text else type(error).__name__


def _in_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


def _kind(value: object) -> str:
    return f"{value!r:.60}" if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def _demanded(found: Any, where: str, origin: Origin) -> tuple[Claim, ...]:
    """The claims of a module, or of the object that an entry point names."""
    if isinstance(found, ModuleType):
        if not hasattr(found, "CLAIMS"):
            hint = ", found CLAIM alone: write CLAIMS = (CLAIM,)" if hasattr(found, "CLAIM") else ", found none"
            raise InputError(f"{where}: expected CLAIMS, a tuple of claims{hint}")
        found = found.CLAIMS
    if not isinstance(found, list | tuple) or not found:
        raise InputError(f"{where}: expected CLAIMS to be a tuple of one claim or more, found {_kind(found)}")
    return tuple(_demand_claim(claim, where, origin) for claim in found)


def _demand_claim(claim: Any, where: str, origin: Origin) -> Claim:
    if not isinstance(claim, Claim):
        raise InputError(f"{where}: expected a Claim in CLAIMS, found {_kind(claim)}")
    if not isinstance(claim.slug, str) or not SLUG.fullmatch(claim.slug) or len(claim.slug) > MAX_NAME:
        raise InputError(f"{where}: expected a slug of a-z and 0-9, joined by -, found {claim.slug!r:.60}")
    for name in ("title", "statement", "source", "scope"):
        value = getattr(claim, name)
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{where}: claim {claim.slug}: expected a text as {name}, found {_kind(value)}")
    if not callable(claim.cases):
        raise InputError(f"{where}: claim {claim.slug}: expected cases to be a function, found {_kind(claim.cases)}")
    if not isinstance(claim.expected, Verdict):
        raise InputError(f"{where}: claim {claim.slug}: expected a Verdict, found {_kind(claim.expected)}")
    return replace(claim, origin=origin)
