"""Where the cases of an audit run: in this process, in several on this machine, or on the workers of a dask cluster.

A worker only computes. It writes no file that is kept and asks no kernel; what it found comes back to the process that
was started, which does both. So workers need not share a file system, one that dies takes nothing finished along, and
one that outlives its run cannot write into the folder of the next.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import joblib

from constructions.documents import InputError
from verify.resumable import WorkerLostError, in_processes

SCHEME = "dask"
SECONDS_TO_ANSWER = 10
"""How long a scheduler may take to answer, and then to have a worker."""

R = TypeVar("R")


@dataclass(frozen=True)
class Local:
    """Up to ``jobs`` processes of this machine.

    >>> sorted(Local(jobs=1).run(pow, [(2, 5), (3, 2)]))
    [9, 32]
    """

    jobs: int = 1

    def run(self, function: Callable[..., R], arguments: Sequence[tuple[Any, ...]]) -> Iterator[R]:
        """What each call returns, as they are finished. Raises WorkerLostError, and what ``function`` raises."""
        yield from in_processes([joblib.delayed(function)(*each) for each in arguments], self.jobs)


@dataclass(frozen=True)
class Dask:
    """The workers of a dask cluster, by the address of its scheduler. They are other machines, with code of their own:
    it is for the caller to see that it is the same."""

    host: str
    port: int

    @staticmethod
    def at(url: str) -> Dask:
        """The executor of ``dask://HOST:PORT``. Raises InputError.

        >>> Dask.at("dask://localhost:8786")
        Dask(host='localhost', port=8786)
        >>> Dask.at("http://localhost:8786")
        Traceback (most recent call last):
            ...
        constructions.documents.InputError: --executor: expected dask://HOST:PORT, found 'http://localhost:8786'
        """
        try:
            parts = urlsplit(url)
            if parts.scheme == SCHEME and parts.hostname and parts.port and url == f"{SCHEME}://{parts.netloc}":
                return Dask(parts.hostname, parts.port)
        except ValueError:  # a port that is no number, brackets that do not close
            pass
        raise InputError(f"--executor: expected dask://HOST:PORT, found {url[:80]!r}")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}://{host}:{self.port}"

    def run(self, function: Callable[..., R], arguments: Sequence[tuple[Any, ...]]) -> Iterator[R]:
        """As :meth:`Local.run`; a call whose worker is lost is made by another. Raises InputError where no cluster
        answers, WorkerLostError when the scheduler is gone or has given a call up."""
        if not arguments:
            return
        with self._client() as (distributed, client):
            # not through joblib's dask backend: it waits for ever for a case that the scheduler has given up
            futures = client.map(function, *zip(*arguments, strict=True), pure=False, batch_size=None)
            for future in distributed.as_completed(futures, loop=client.loop):
                yield future.result()

    @contextmanager
    def _client(self) -> Iterator[Any]:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise InputError(
                f"--executor {self}: expected the packages dask and distributed, found none: "
                "pip install 'promptcert[dask]'"
            ) from None
        for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]:
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said below, in one line
        address = str(self).replace(SCHEME, "tcp", 1)
        try:
            asyncio.run(_greeting(address))
            client = distributed.Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
        except Exception:  # whatever another kind of server does to the greeting
            raise InputError(
                f"--executor {self}: expected a dask scheduler, found none that answers within {SECONDS_TO_ANSWER} s"
            ) from None
        try:
            try:
                client.wait_for_workers(1, timeout=SECONDS_TO_ANSWER)
            except TimeoutError:
                raise InputError(
                    f"--executor {self}: expected a worker at least, found none within {SECONDS_TO_ANSWER} s: "
                    f"dask worker tcp://{self.host}:{self.port}"
                ) from None
            yield distributed, client
        except (distributed.scheduler.KilledWorker, distributed.CancelledError) as error:
            raise WorkerLostError(f"the cluster at {self} gave a case up ({_one_line(error)})") from None
        finally:
            client.close(timeout=SECONDS_TO_ANSWER)


Executor = Local | Dask


async def _greeting(address: str) -> None:
    """Raises unless a scheduler answers: the client's own time limit does not hold for a server that says nothing."""
    connect: Any = importlib.import_module("distributed.comm").connect
    comm = await asyncio.wait_for(connect(address, timeout=SECONDS_TO_ANSWER), SECONDS_TO_ANSWER)
    await comm.close()


def _one_line(error: BaseException) -> str:
    return f"{' '.join(str(error).split())[:200] or type(error).__name__}"
