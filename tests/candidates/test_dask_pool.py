"""Tasks on a Dask cluster: workers that die, a scheduler that goes, and one that is not there."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from beams import burst, job
from msgspec.structs import astuple, replace
from nodes import free_port, wait_for
from tasks_for_pools import Made

from darc.candidates import dask_pool
from darc.candidates.dask_pool import DaskPool, SchedulerError
from darc.candidates.dask_task import answer_of, run_packed
from darc.candidates.pool import DoneTask
from darc.candidates.pool_jobs import BeamFiles, ExtractionOutcome
from darc.config.settings import SchedulerTLS
from darc.model.processing_outcome import ClusterOutcome, ListedCandidate
from darc.queues.plain_connection import pack, unpack

pytestmark = [
    pytest.mark.usefixtures("_tasks_can_be_imported"),
    pytest.mark.skipif(not find_spec("distributed"), reason="distributed is not installed"),
]


def cluster(**more: Any) -> Any:
    import distributed  # noqa: PLC0415 - each test process collects all files

    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", **more
    )


@pytest.fixture
def scheduler() -> Iterator[Any]:
    with cluster() as made:
        yield made


@pytest.fixture
def pool(scheduler: Any) -> Iterator[DaskPool]:
    made = DaskPool(scheduler.scheduler_address)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_pool(_tasks_can_be_imported: None) -> Iterator[DaskPool]:
    """Of a cluster for tests after which nothing is left to do there, and all its workers live."""
    with cluster() as scheduler:
        made = DaskPool(scheduler.scheduler_address)
        yield made
        made.close()


def collect(pool: DaskPool, count: int) -> list[DoneTask]:
    done: list[DoneTask] = []

    def enough() -> bool:
        done.extend(pool.outcomes())
        return len(done) >= count

    wait_for(enough, 100.0)
    return done


def test_as_many_as_there_are_workers(shared_pool, tmp_path):
    pool = shared_pool
    wait_for(lambda: pool.free() == 2, 60.0)
    tasks = [Made(tmp_path, number=1), Made(tmp_path, "raise", 2)]
    for task in tasks:
        pool.submit(task)
    assert pool.free() == 0
    by_number = {one.task.number: one for one in collect(pool, 2)}
    assert (by_number[1].result, by_number[1].task) == (1, tasks[0])
    assert by_number[2].error == "ArithmeticError: on purpose"
    assert pool.free() == 2


def test_a_worker_that_is_killed_costs_nothing(pool, tmp_path):
    wait_for(lambda: pool.free() == 2, 60.0)
    task = Made(tmp_path, "sleep once")
    pool.submit(task)
    os.kill(wait_for(task.pids, 60.0)[0], signal.SIGKILL)
    assert [(one.result, one.error) for one in collect(pool, 1)] == [(0, "")]
    assert task.times() == 2


def test_a_worker_that_never_answers_is_given_up_and_gets_no_more(pool, tmp_path, monkeypatch):
    wait_for(lambda: pool.free() == 2, 60.0)
    task = Made(tmp_path, "sleep", 1)
    pool.submit(task)
    wait_for(task.pids, 60.0)
    with monkeypatch.context() as context:
        context.setattr(dask_pool, "TASK_SECONDS", 0.0)
        (given_up,) = collect(pool, 1)
    assert "no answer within" in given_up.error
    assert pool.free() == 1
    pool.submit(Made(tmp_path, "return", 2))
    assert [one.result for one in collect(pool, 1)] == [2]


def test_while_all_workers_are_away_nothing_is_given_up(scheduler, pool, tmp_path, monkeypatch):
    wait_for(lambda: pool.free() == 2, 60.0)
    task = Made(tmp_path, "sleep once", 1)
    pool.submit(task)
    wait_for(task.pids, 60.0)
    scheduler.scale(0)
    wait_for(lambda: pool.outcomes() == [] and pool.free() == 0 and not pool.capacity, 60.0)
    monkeypatch.setattr(dask_pool, "TASK_SECONDS", 0.0)
    assert pool.outcomes() == []
    monkeypatch.undo()
    scheduler.scale(2)
    assert [(one.result, one.error) for one in collect(pool, 1)] == [(1, "")]


def test_an_aborted_task_is_not_heard_of(pool, tmp_path):
    wait_for(lambda: pool.free() == 2, 60.0)
    pool.submit(Made(tmp_path, "sleep", 1))
    pool.submit(Made(tmp_path, "return", 2, "obs2"))
    pool.abort("obs1")
    assert [one.task.number for one in collect(pool, 1)] == [2]
    assert pool.free() == 2


def test_a_scheduler_that_comes_late_and_goes_and_comes_back(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dask_pool, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(dask_pool, "LONGEST_RETRY_SECONDS", 0.5)
    port = free_port()
    pool = DaskPool(f"tcp://127.0.0.1:{port}")
    try:
        wait_for(lambda: "not reached" in caplog.text, 60.0)
        assert pool.free() == 0
        task = Made(tmp_path, "sleep once")
        with cluster(scheduler_port=port):
            wait_for(lambda: pool.free() == 2, 60.0)
            pool.submit(task)
            wait_for(task.pids, 60.0)
        wait_for(lambda: pool.outcomes() == [] and pool.free() == 0, 60.0)
        with cluster(scheduler_port=port):
            assert [(one.result, one.error) for one in collect(pool, 1)] == [(0, "")]
    finally:
        pool.close()
    assert caplog.text.count("not reached") <= 3, "it is not said at each attempt"


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(SchedulerError, match=r"pip install darc\[dask\]"):
        dask_pool.connect("tcp://localhost:1", None)


# -- TLS -------------------------------------------------------------------------------------------


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_ca(directory: Path, name: str) -> Path:
    """A CA of one's own."""
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem")),
    )
    return directory / f"{name}.pem"


def make_certificate(directory: Path, ca: Path, name: str) -> SchedulerTLS:
    """A key, and a certificate that this CA has signed."""
    key, request, made = (directory / f"{name}.{end}" for end in ("key", "csr", "pem"))
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", str(key), "-out", str(request)),
    )
    openssl(
        *(
            "x509",
            "-req",
            "-in",
            str(request),
            "-CA",
            str(ca),
            "-CAkey",
            str(ca.with_suffix(".key")),
        ),
        *("-CAcreateserial", "-days", "2", "-out", str(made)),
    )
    return SchedulerTLS(str(ca), str(made), str(key))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SchedulerTLS]:
    """Of a cluster, of a node, and of a stranger whose CA is another."""
    directory = tmp_path_factory.mktemp("certificates")
    ca, other = make_ca(directory, "ca"), make_ca(directory, "other_ca")
    made = {name: make_certificate(directory, ca, name) for name in ("cluster", "node")}
    stranger = make_certificate(directory, other, "stranger")
    return {
        **made,
        "stranger": stranger,
        "impostor": SchedulerTLS(str(ca), stranger.certificate, stranger.key),
    }


@pytest.fixture(scope="module")
def secured(certificates: dict[str, SchedulerTLS], _tasks_can_be_imported: None) -> Iterator[Any]:
    import distributed  # noqa: PLC0415

    own = certificates["cluster"]
    proofs = distributed.Security(
        require_encryption=True,
        tls_ca_file=own.ca,
        **{f"tls_{role}_cert": own.certificate for role in ("scheduler", "worker", "client")},
        **{f"tls_{role}_key": own.key for role in ("scheduler", "worker", "client")},
    )
    with cluster(security=proofs, protocol="tls://") as made:
        yield made


def test_with_tls(secured: Any, certificates: dict[str, SchedulerTLS], tmp_path: Path) -> None:
    assert secured.scheduler_address.startswith("tls://")
    pool = DaskPool(secured.scheduler_address, certificates["node"])
    try:
        wait_for(lambda: pool.free() == 2, 60.0)
        pool.submit(Made(tmp_path, number=7))
        assert [(one.result, one.error) for one in collect(pool, 1)] == [(7, "")]
    finally:
        pool.close()


@pytest.mark.parametrize("who", ["stranger", "impostor", None])
def test_a_wrong_certificate_is_refused(
    secured: Any,
    certificates: dict[str, SchedulerTLS],
    who: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of another CA: the scheduler is not believed, or does not believe; likewise none."""
    monkeypatch.setattr(dask_pool, "CONNECT_SECONDS", 3.0)
    address = secured.scheduler_address
    with pytest.raises(SchedulerError, match="not reached"):
        dask_pool.connect(address if who else address.replace("tls", "tcp"), certificates.get(who))


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(SchedulerError, match=r"not reached.*No such file"):
        dask_pool.connect("tls://127.0.0.1:1", SchedulerTLS(missing, missing, missing))


# -- answers ---------------------------------------------------------------------------------------


def test_an_answer_that_makes_no_sense_is_no_result(shared_pool: DaskPool, tmp_path: Path) -> None:
    pool = shared_pool
    wait_for(lambda: pool.free() == 2, 60.0)
    pool.submit(Made(tmp_path, "lie"))
    (done,) = collect(pool, 1)
    assert "is no number" in done.error
    assert done.result is None


@pytest.mark.parametrize(
    "data",
    [
        *(pickle.dumps(5), pickle.dumps(["", 5]), b"", b"\x90", pack([]), pack(["", 5, 6])),
        *(pack([5, ""]), pack([b"", 5]), pack(["", None]), "text", 5, None, b"x" * 2**21),
    ],
    ids=repr,
)
def test_what_is_no_answer(data: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"answer|error|number|plain"):
        answer_of(Made(tmp_path), data)


def test_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert answer_of(Made(tmp_path), run_packed(Made(tmp_path, number=3))) == ("", 3)
    caplog.set_level(logging.CRITICAL)
    failed = run_packed(Made(tmp_path, "raise"))
    assert answer_of(Made(tmp_path), failed) == ("ArithmeticError: on purpose", None)


def test_all_that_an_extraction_says_comes_from_a_worker(tmp_path: Path) -> None:
    task = replace(job(BeamFiles(tmp_path, 0, 1), burst(1.0)), output=tmp_path)
    listed = ListedCandidate(0, 12.0, 500.0, 1.25, 4, 3, 0.75)
    said = ExtractionOutcome(
        task.pulse,
        ClusterOutcome.KEPT,
        "a reason",
        tmp_path / "a.hdf5",
        listed,
        0.5,
        ("CB00.fil", "is sampled otherwise"),
    )
    assert None not in astuple(said)
    assert task.from_plain(unpack(pack(task.to_plain(said)))) == said
