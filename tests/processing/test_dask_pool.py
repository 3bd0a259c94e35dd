"""Tasks on a Dask cluster: workers that die, a scheduler that goes, and one that is not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from nodes import free_port, wait_for
from tasks_for_pools import Made

from darc.processing import dask_pool
from darc.processing.dask_pool import DaskPool, SchedulerError
from darc.processing.pool import Done

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("_tasks_can_be_imported")


def cluster(**more: Any) -> Any:
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, **more
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


def collect(pool: DaskPool, count: int) -> list[Done]:
    done: list[Done] = []

    def enough() -> bool:
        done.extend(pool.outcomes())
        return len(done) >= count

    wait_for(enough, 100.0)
    return done


def test_as_many_as_there_are_workers(pool, tmp_path):
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
    wait_for(lambda: pool.outcomes() == [] and pool.free() == 0 and not pool._capacity, 60.0)
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
        dask_pool.connect("tcp://localhost:1")
