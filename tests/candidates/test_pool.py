"""A pool of processes: deaths, errors, tasks without an end, and the end of who has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from nodes import wait_for
from tasks_for_pools import Made

from darc.candidates import pool as pools
from darc.candidates.pool import DoneTask, LocalPool

pytestmark = pytest.mark.usefixtures("_tasks_can_be_imported")


@pytest.fixture
def pool() -> Iterator[LocalPool]:
    made = LocalPool(2)
    yield made
    made.close()


def collect(pool: LocalPool, count: int) -> list[DoneTask]:
    done: list[DoneTask] = []

    def enough() -> bool:
        done.extend(pool.outcomes())
        return len(done) >= count

    wait_for(enough, 60.0)
    return done


def test_tasks_are_done_side_by_side(pool, tmp_path):
    assert pool.free() == 2
    tasks = [Made(tmp_path, number=number) for number in range(6)]
    done: list[DoneTask] = []
    for task in tasks:
        wait_for(lambda: done.extend(pool.outcomes()) or pool.free() > 0, 60.0)
        pool.submit(task)
    done += collect(pool, 6 - len(done))
    assert sorted(one.result for one in done) == list(range(6))
    assert all(one.task is tasks[one.result] and not one.error for one in done)
    assert len({pid for task in tasks for pid in task.pids()}) <= 2


def test_what_a_task_raises_is_its_error(pool, tmp_path):
    pool.submit(Made(tmp_path, "raise"))
    assert collect(pool, 1)[0].error == "ArithmeticError: on purpose"
    pool.submit(Made(tmp_path, number=5))
    assert collect(pool, 1)[0].result == 5


def test_a_process_that_dies_costs_a_try(pool, tmp_path):
    pool.submit(Made(tmp_path, "die once", 1))
    pool.submit(Made(tmp_path, "die", 2))
    by_number = {one.task.number: one for one in collect(pool, 2)}
    assert (by_number[1].result, by_number[1].error) == (1, "")
    assert by_number[1].task.times() == 2
    assert by_number[2].error == "the process died 2 times, the last one of signal 9"
    assert by_number[2].task.times() == 2
    assert pool.free() == 2


@pytest.mark.parametrize("what", ["return", "die"])
def test_waiting_ends_when_there_is_something(pool, tmp_path, what):
    pool.submit(Made(tmp_path, what))
    done: list[DoneTask] = []
    while not done:
        pool.wait(1e6)  # an answer ends it, and so does a death
        done = pool.outcomes()
    assert bool(done[0].error) == (what == "die")


def test_a_task_without_an_end_is_ended(pool, tmp_path, monkeypatch):
    task = Made(tmp_path, "sleep")
    pool.submit(task)
    wait_for(task.pids)
    monkeypatch.setattr(pools, "TASK_SECONDS", 0.0)
    assert "no answer within" in collect(pool, 1)[0].error
    assert not psutil.pid_exists(task.pids()[0])


def test_an_aborted_task_is_ended_and_not_heard_of(pool, tmp_path):
    task, other = Made(tmp_path, "sleep", 1), Made(tmp_path, "sleep once", 2, "obs2")
    for one in (task, other):
        pool.submit(one)
        wait_for(one.pids)
    pool.abort("obs1")
    assert not psutil.pid_exists(task.pids()[0])
    assert pool.free() == 1
    os.kill(other.pids()[0], signal.SIGKILL)
    assert [one.result for one in collect(pool, 1)] == [2]


def test_a_process_with_nothing_to_do_is_ended(pool, tmp_path, monkeypatch):
    task = Made(tmp_path)
    pool.submit(task)
    collect(pool, 1)
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.0)
    assert pool.outcomes() == []
    assert not psutil.pid_exists(task.pids()[0])


def test_processes_end_with_who_has_the_pool_however_that_ends(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from tasks_for_pools import Made\n"
        "from darc.candidates.pool import LocalPool\n"
        "pool = LocalPool(2)\n"
        "pool.submit(Made(Path(sys.argv[1]), 'sleep', 1))\n"
        "pool.submit(Made(Path(sys.argv[1]), 'return', 2))\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as service:
        try:
            tasks = [Made(tmp_path, "sleep", 1), Made(tmp_path, "return", 2)]
            pids = [wait_for(task.pids, 60.0)[0] for task in tasks]
        finally:
            service.kill()
    wait_for(lambda: not any(map(psutil.pid_exists, pids)))
