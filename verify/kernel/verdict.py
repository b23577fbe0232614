"""From file names to answers: one line for each file, one exit code for all."""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import limits
from limits import DEADLINE, NotACertificate, OverLimits, Refuted, demand
from reading import Envelope, load

USAGE = """usage: python3 -I verify/kernel CERT.json...
       python3 -I verify/kernel --hash

Checks certificates, one line for each: true, false, not a certificate, or over limits. Exit code: 0 all true;
1 one is false; else 4 one is not a certificate; else 3 one is over limits.
--hash prints the sha256 of this checker, that of (cd verify/kernel && LC_ALL=C sha256sum *.py) | sha256sum"""

TRUE, FALSE, NOT_A_CERTIFICATE, OVER_LIMITS = "true", "false", "not a certificate", "over limits"
EXIT_CODES = ((FALSE, 1), (NOT_A_CERTIFICATE, 4), (OVER_LIMITS, 3))
USAGE_ERROR, OUTPUT_ERROR, INTERRUPTED = 4, 74, 130


class Statement(Protocol):
    """A claim about an instance, with its witness."""

    def check(self) -> str:
        """Say in one sentence what has been proved, or raise."""


READERS = {
    "attention-lipschitz": ("attention_lipschitz", "read"),
    "attention-split": ("attention_split", "read"),
    "contextual-mapping": ("contextual_mapping", "read"),
    "direction-lemma": ("direction_lemma", "read"),
    "joint-injectivity": ("joint_injectivity", "read"),
    "low-rank-memorization": ("low_rank", "read"),
    "mlp-injectivity": ("mlp_injectivity", "read"),
    "prompt-law": ("prompt_law", "read"),
    "prompt-length-bound": ("prompt_length", "read"),
    "prompted-injectivity": ("prompted_injectivity", "read"),
    "quantisation": ("quantisation", "read"),
    "several-heads": ("several_heads", "read"),
    "several-queries": ("several_queries", "read"),
    "universality-hardmax": ("universality_networks", "read_hardmax"),
    "universality-softmax": ("universality_networks", "read_softmax"),
    "unmemorizable-pair": ("unmemorizable_pair", "read"),
}
"""The module and the function that read a claim; a module is imported when the first certificate of its claim comes."""


@dataclass(frozen=True)
class Answer:
    """What the kernel says of one file."""

    verdict: str
    text: str


def read_file(path: str) -> bytes:
    """The content, up to one byte beyond the limit."""
    try:
        with open(path, "rb") as file:
            return file.read(limits.MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise NotACertificate(f"expected a readable file, found: {found}") from None


def reader(claim: str) -> Callable[[Envelope], Statement]:
    """What reads the certificates of one claim."""
    module, function = READERS[claim]
    read: Callable[[Envelope], Statement] = getattr(import_module(module), function)
    return read


def prove(data: bytes) -> str:
    """The claim and the sentence that a certificate proves; raises in every other case."""
    envelope = load(data)
    claim = envelope.claim.choice(*READERS)
    statement = reader(claim)(envelope)
    demand(envelope.intact, "sha256 is not that of the content")
    return f"{claim}: {statement.check()}"


def judge(path: str) -> Answer:
    """Check one file. Only the straight way through `prove` is true; every exception is another answer."""
    DEADLINE.start()
    try:
        sentence = prove(read_file(path))
    except NotACertificate as error:
        return Answer(NOT_A_CERTIFICATE, str(error))
    except Refuted as error:
        return Answer(FALSE, str(error))
    except OverLimits as error:
        return Answer(OVER_LIMITS, str(error))
    except MemoryError:
        return Answer(OVER_LIMITS, "out of memory")
    except Exception as error:
        return Answer(OVER_LIMITS, f"the kernel failed, and decides nothing: {type(error).__name__}: {error}")
    return Answer(TRUE, sentence)


def printable(text: str) -> str:
    """One line that standard output can take, whatever a file name contains."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return line.encode(encoding, "backslashreplace").decode(encoding)


def own_hash() -> str:
    """SHA-256 over the names and contents of the kernel's source files."""
    folder = Path(__file__).resolve().parent
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        total.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode())
    return total.hexdigest()


def main(arguments: list[str]) -> int:
    """Run the command; the result is the exit code."""
    if arguments == ["--hash"]:
        print(own_hash(), flush=True)
        return 0
    if not arguments or any(argument.startswith("-") for argument in arguments):
        print(USAGE, file=sys.stderr, flush=True)
        return USAGE_ERROR
    verdicts = set()
    for path in arguments:
        answer = judge(path)
        print(printable(f"{path}: {answer.verdict}: {answer.text}"), flush=True)
        verdicts.add(answer.verdict)
    for verdict, code in EXIT_CODES:
        if verdict in verdicts:
            return code
    return 0 if verdicts == {TRUE} else USAGE_ERROR


def run(arguments: list[str]) -> int:
    """`main`, without a traceback when nobody reads the output or the user interrupts."""
    try:
        return main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError:
        # Python flushes standard output once more at the end, and that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OUTPUT_ERROR
