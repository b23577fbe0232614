"""Where cases are made, and who may write: lost workers, a dask cluster, one run at a time in a folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from constructions.documents import InputError
from verify import audit as runner
from verify import executor
from verify.audit import audit
from verify.claims import Settings
from verify.claims.registry import REGISTRY
from verify.executor import Dask, Local
from verify.folder_lock import LOCK, locked
from verify.resumable import WorkerLostError, output_folder

FAST = "mlp-injectivity"
SLUGS = (FAST, "direction-lemma")


def certificates(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "certificates").iterdir()}


# --- one run at a time -------------------------------------------------------------------------------------------


def test_a_folder_in_use_is_refused(run, refused, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with output_folder(out, ("certificates", "cases")):
        line = refused(4, "audit", "--claim", FAST, "--out", out)
        assert f"{out}: expected a folder that no other run writes to, found process {os.getpid()} on " in line
        assert "wait for it or choose another --out" in line
        assert list((out / "certificates").iterdir()) == []
        (out / LOCK).write_text("[]")
        with pytest.raises(InputError, match="another process"), locked(out):
            pass
    assert (out / LOCK).read_bytes() == b""
    assert run("audit", "--claim", FAST, "--out", out).code == 0


def test_a_killed_run_holds_nothing(run, tmp_path: Path) -> None:
    """The lock goes with its process; the file that stays, and what the process had begun to write, hinder nobody."""
    out = tmp_path / "out"
    holding = f"""
import pathlib, time
from verify.resumable import output_folder
with output_folder(pathlib.Path({str(out)!r}), ("certificates", "cases")) as folder:
    (folder / "certificates" / ".begun.json.x.part").write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"process {process.pid} on "), locked(out):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads((out / LOCK).read_text())["process"] == process.pid
    assert run("audit", "--claim", FAST, "--out", out).code == 0
    assert not list(out.rglob("*.part"))


def test_a_full_disk(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line says which file and what to do; what was finished before is kept."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("audit", "--claim", FAST, "--out", whole).code == 0
    written, real = [0], os.fsync

    def full(descriptor: int) -> None:
        written[0] += 1
        if written[0] > 5:
            raise OSError(28, os.strerror(28))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = run("audit", "--claim", FAST, "--out", out)
    line = done.err
    assert (done.code, done.out, line.count("\n")) == (4, "", 1)
    assert len(list((out / "cases").iterdir())) == 2
    assert "cannot be written: No space left on device: make room, then run again" in line
    assert "2 of 6 cases are finished and kept: go on with --resume" in line
    assert not list(out.rglob("*.part"))
    assert run("audit", "--claim", FAST, "--out", out, "--resume").code == 0
    assert certificates(out) == certificates(whole)


# --- processes of this machine -----------------------------------------------------------------------------------


def test_a_killed_worker_is_named() -> None:
    with pytest.raises(WorkerLostError, match="a worker process was killed"):
        list(Local(jobs=2).run(exec, [("import os; os.kill(os.getpid(), 9)",)] * 2))


@pytest.mark.parametrize("url", [None, "dask://localhost:1"])
def test_a_lost_worker_ends_in_one_line(refused, run, monkeypatch, tmp_path: Path, url: str | None) -> None:
    def losing(self: Any, function: Any, arguments: Any) -> Iterator[Any]:
        task, result, _ = function(*arguments[0])
        yield task, result, runner.run_key(Settings())
        raise WorkerLostError("a worker process was killed")

    where = ["--jobs", "2"] if url is None else ["--executor", url]
    with monkeypatch.context() as patch:
        patch.setattr(Local if url is None else Dask, "run", losing)
        line = refused(3, "audit", "--claim", FAST, "--out", tmp_path, *where)
    assert line == (
        "error: a worker process was killed; nothing is claimed; "
        "1 of 6 cases are finished and kept: go on with --resume\n"
    )
    assert len(certificates(tmp_path)) == 1
    assert run("audit", "--claim", FAST, "--out", tmp_path, "--resume").code == 0


def test_one_case_at_a_time_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may have several threads; flint's precision is one number for all of them."""
    inside, most = [0], [0]

    def noting(*_: Any) -> str:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.01)
        inside[0] -= 1
        return "done"

    monkeypatch.setattr(runner, "run_case", noting)
    call = (None, FAST, "any", Settings(), False)
    threads = [threading.Thread(target=runner._named_case, args=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


# --- a dask cluster ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8786", "tcp://a:1", "dask://a", "dask://a:x", "dask://a:99999", "dask://a:1/x", "dask://[a:1"],
)
def test_bad_urls(refused, url: str) -> None:
    assert f"--executor: expected dask://HOST:PORT, found {url!r}" in refused(4, "audit", "--executor", url)


def test_jobs_and_executor_do_not_go_together(refused) -> None:
    assert "--jobs: expected without --executor" in refused(4, "audit", "--jobs", 2, "--executor", "dask://a:1")


def test_without_dask(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refused(4, "audit", "--claim", FAST, "--executor", "dask://localhost:8786")
    assert "expected the packages dask and distributed, found none: pip install 'promptcert[dask]'" in line


def test_nothing_answers(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a port that is closed nor a server that says nothing is waited for."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(executor, "SECONDS_TO_ANSWER", 0.3)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        url = f"dask://127.0.0.1:{server.getsockname()[1]}"
        assert f"--executor {url}: expected a dask scheduler" in refused(4, "audit", "--claim", FAST, "--executor", url)
        server.listen()
        line = refused(4, "audit", "--claim", FAST, "--executor", url)
        assert f"--executor {url}: expected a dask scheduler, found none that answers within 0.3 s" in line


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="needs dask")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as running:
        yield running


def test_dask_writes_the_same_bytes_though_a_worker_is_killed(run, cluster: Any, tmp_path: Path) -> None:
    """The run goes on with the other worker, and with the one that takes the place of the lost one."""
    claims = [REGISTRY[slug] for slug in SLUGS]
    report = audit(claims, Settings(), out=tmp_path / "here")
    url = cluster.scheduler_address.replace("tcp", "dask", 1)
    pids = [worker.pid for worker in cluster.workers.values()]
    alive: list[int] = []

    def kill_once(done: int, total: int, name: str) -> None:
        if done == 2:
            os.kill(pids[0], signal.SIGKILL)
            alive.append(total - done)

    there = audit(claims, Settings(), out=tmp_path / "there", executor=Dask.at(url), on_progress=kill_once)
    assert alive == [9]
    assert there == report
    assert certificates(tmp_path / "there") == certificates(tmp_path / "here")
    done = run("audit", "--claim", FAST, "--out", tmp_path / "again", "--executor", url)
    assert (done.code, done.err) == (0, "")
    assert certificates(tmp_path / "again").items() <= certificates(tmp_path / "here").items()


def test_workers_with_other_code_are_refused(refused, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_key", lambda *_: "the code here")
    url = cluster.scheduler_address.replace("tcp", "dask", 1)
    line = refused(4, "audit", "--claim", FAST, "--executor", url)
    assert "expected workers with the same promptcert and python-flint as here, found one with other code" in line
