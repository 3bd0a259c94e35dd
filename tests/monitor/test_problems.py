"""What is wrong, in which order, and what to type."""

from __future__ import annotations

from typing import Any

import made_up
import pytest
from made_up import MASTER, NOW, ON_MASTER, cluster, node, service, silent
from msgspec.structs import replace

from darc.model.overview import Disk, Handover, LogLine, LossRecord, LossSummary, ThreadTrouble
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.findings import RuleContext
from darc.monitor.problems import Problem, find_problems
from darc.monitor.rules import DIED_LATELY_SECONDS, DIED_SECONDS
from darc.monitor.service_trends import ServiceTrends
from darc.monitor.shell_commands import ShellCommands

MASTER_NODE = node(MASTER, *ON_MASTER)


def problems(*nodes: NodeStatus) -> tuple[Problem, ...]:
    return find_problems(cluster(MASTER_NODE, *nodes), made_up.CONTEXT)


def only(*nodes: NodeStatus) -> Problem:
    found = problems(*nodes)
    assert len(found) == 1, [one.title for one in found]
    return found[0]


def worker(**changes: Any) -> NodeStatus:
    return node("arts003", **changes)


def with_service(name: str, state: str, **changes: Any) -> NodeStatus:
    others = [one for one in made_up.ON_WORKERS if one != name]
    return node("arts003", *others, service(name, state, **changes))


def test_nothing_wrong_is_nothing_said() -> None:
    assert find_problems(made_up.healthy(), made_up.CONTEXT) == ()


LOST = LossSummary(
    *("dump_too_late", "raw data lost", "Start dada_dbevent.", 3, True),
    (
        LossRecord(NOW - 900.0, "190518009", "190518009/1/2", "refused"),
        LossRecord(NOW - 60.0, "190518009", "190518009/41/7", "port 30001: [Errno 111] refused"),
    ),
)


def test_what_was_lost_is_a_problem_until_its_service_says_otherwise() -> None:
    problem = only(with_service("dada_trigger", "running", losses=(LOST,)))
    assert problem.grave
    assert problem.title == "arts003: raw data lost"
    assert problem.text == (
        "3 times, the last: 190518009: 190518009/41/7: port 30001: [Errno 111] refused."
        " Start dada_dbevent."
    )
    assert problem.since == NOW - 60.0
    assert problem.command == "darc --host arts003 --service dada_trigger get_attr losses"
    old = replace(LOST, recent=False)
    assert problems(with_service("dada_trigger", "running", losses=(old,))) == ()


def test_what_was_lost_is_told_of_a_node_that_was_stopped() -> None:
    stopped = node(
        "arts003", *(service(one, "stopped", losses=(LOST,)) for one in made_up.ON_WORKERS)
    )
    titles = [one.title for one in problems(stopped)]
    assert "arts003: all services are stopped" in titles
    assert "arts003: raw data lost" in titles


def test_a_bad_night_in_order() -> None:
    found = find_problems(made_up.troubled(), made_up.CONTEXT)
    assert [problem.title for problem in found] == [
        "arts033: the journal is full, nothing new is taken in",
        "voevent_generator on arts041 is stopped",
        "arts[038-040]: cannot be reached: nothing runs there",
        "arts011: no answer",
        "arts021 cannot hand in triggers for lofar_trigger",
        "amber_clustering on arts003 failed",
        "dada_trigger on arts017 is unresponsive",
        "amber_listener on arts012 died",
        "arts008: the disk of run_dir is nearly full",
        "The clock of arts025 is ahead",
        f"arts036 runs DARC 0.0.9, this host {made_up.__version__}",
        "amber_listener on arts029 is starting",
    ]
    assert [problem.grave for problem in found] == [True] * 8 + [False] * 4
    assert all(problem.command for problem in found)


@pytest.mark.parametrize(
    ("state", "command"),
    [
        ("stopped", "darc --host arts003 --service dada_trigger start"),
        ("failed", "darc --host arts003 --service dada_trigger start"),
        ("unresponsive", "darc --host arts003 --service dada_trigger restart"),
        ("starting", "ssh arts003 tail -n 50 /home/arts/darc/log/dada_trigger.log"),
    ],
)
def test_a_service_that_does_not_run(state: str, command: str) -> None:
    problem = only(with_service("dada_trigger", state, since=NOW - 60.0))
    assert state in problem.title
    assert problem.since == NOW - 60.0
    assert problem.command == command
    assert problem.grave


def test_what_starts_is_given_a_moment() -> None:
    assert not only(with_service("dada_trigger", "starting", since=NOW - 3.0)).grave
    # unless it was not asked to
    assert only(with_service("dada_trigger", "starting", since=NOW - 3.0, deaths=1)).grave


def test_why_a_service_ended_is_what_its_log_said_then() -> None:
    error = LogLine(NOW - 61.0, "ends: MemoryError")
    failed = with_service("dada_trigger", "failed", since=NOW - 60.0, last_error=error)
    assert only(failed).text == "ends: MemoryError"
    long_before = LogLine(NOW - 86400.0, "another matter")
    failed = with_service("dada_trigger", "failed", since=NOW - 60.0, last_error=long_before)
    assert only(failed).text == ""


@pytest.mark.parametrize(
    ("state", "how", "said_before", "text"),
    [
        # A kill leaves nothing in the log: what was said before has nothing to do with it.
        ("failed", "terminated by SIGKILL", 1.0, "It was ended with SIGKILL by somebody, or by"),
        ("failed", "terminated by SIGSEGV (core dumped)", 1.0, "It was ended with SIGSEGV (core"),
        ("failed", "exit status 1", 1.0, "ends: MemoryError"),
        ("failed", "exit status 1", 3600.0, "It ended with exit status 1; its log does not say"),
        ("failed", "can't find command '/x'", 3600.0, "It ended with can't find command '/x';"),
        # An error has nothing to do with what somebody stopped.
        ("stopped", "", 1.0, "Somebody stopped it."),
        ("stopping", "", 1.0, "Somebody stopped it."),
    ],
)
def test_why_a_service_ended_is_how_it_ended(
    state: str, how: str, said_before: float, text: str
) -> None:
    error = LogLine(NOW - 60.0 - said_before, "ends: MemoryError")
    ended = with_service("dada_trigger", state, since=NOW - 60.0, last_error=error, how=how)
    assert only(ended).text.startswith(text)


def test_a_death_is_told_for_a_while() -> None:
    def died(ago: float) -> tuple[Problem, ...]:
        return problems(with_service("dada_trigger", "running", died=NOW - ago, deaths=3))

    (now,) = died(1.0)
    assert now.title == "dada_trigger on arts003 died"
    assert now.grave
    (lately,) = died(DIED_SECONDS + 1.0)
    assert not lately.grave
    assert "It runs again." in lately.text
    assert "3 times" in lately.text
    assert died(DIED_LATELY_SECONDS + 1.0) == ()


def test_a_node_that_was_stopped_is_one_line() -> None:
    all_stopped = [service(name, "stopped", since=NOW - 9.0) for name in made_up.ON_WORKERS]
    problem = only(node("arts003", *all_stopped))
    assert problem.title == "arts003: all services are stopped"
    assert problem.command == "darc --host arts003 --service all start"


def test_the_same_on_many_nodes_is_one_line() -> None:
    stopped = [
        node(name, service("dada_trigger", "stopped", since=NOW - age), "processor")
        for age, name in enumerate(made_up.workers(), start=10)
    ]
    problem = only(*stopped)
    assert problem.title == "dada_trigger on arts[001-040] is stopped"
    assert problem.since == NOW - 49.0
    assert problem.command == (
        "for host in arts{001..040}; do darc --host $host --service dada_trigger start; done"
    )


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("Connection refused", "start_full_pipeline --nodes arts003"),
        ("no answer within 10 s", "ping -c 3 arts003"),
        ("No route to host", "ping -c 3 arts003"),
        ("Name or service not known", "getent hosts arts003"),
    ],
)
def test_a_node_that_cannot_be_reached(reason: str, command: str) -> None:
    problem = only(silent("arts003", reason, since=NOW - 33.0))
    assert (problem.command, problem.since) == (command, NOW - 33.0)
    assert problem.text == reason


def test_two_masters() -> None:
    other = only(worker(master="arts007"))
    assert other.title == "arts003 takes arts007 for the master"
    assert "Here it is arts041" in other.text
    alone = only(worker(master=None, role="standalone"))
    assert alone.title == "arts003 takes itself for a node on its own"
    assert problems(worker(master="arts041.example.org")) == ()


def test_triggers_that_cannot_be_handed_in() -> None:
    reached = Handover("voevent_generator", True, None, 0, "")
    not_reached = Handover("lofar_trigger", False, NOW - 70.0, 12, "Connection refused")
    problem = only(worker(handovers=(reached, not_reached)))
    assert problem.title == "arts003 cannot hand in triggers for lofar_trigger"
    assert problem.text == "12 waiting. Connection refused"
    assert problem.command == "darc --host arts041 --service lofar_trigger restart"


def test_what_the_master_does_not_do_any_more() -> None:
    ended = ThreadTrouble("housekeeping", "ended", NOW - 70.0, "KeyError: 'a'")
    problem = only(worker(threads=(ended,)))
    assert problem.title == "arts003: the periodic task housekeeping has ended"
    assert problem.grave
    hangs = ThreadTrouble("/share/{x}/parsets", "hangs", NOW - 70.0, "")
    problem = only(worker(threads=(hangs,)))
    assert problem.title == "arts003: /share/{x}/parsets: no answer"
    assert not problem.grave


def test_a_monitor_that_is_away_is_one_problem() -> None:
    """That logs and disks are not read follows from it."""
    away = ThreadTrouble("darc_monitor", "ended", NOW - 70.0, "")
    problem = only(worker(threads=(away,), read=NOW - 70.0))
    assert problem.grave
    assert problem.title == "darc_monitor on arts003 does not run"
    assert "observations and triggers go on" in problem.text
    assert problem.since == NOW - 70.0
    assert problem.command == "darc --host arts003 logs darc_monitor"
    problem = only(worker(threads=(replace(away, trouble="hangs"),)))
    assert problem.title == "darc_monitor on arts003 does not answer"


def test_no_room() -> None:
    assert "journal is full" in only(worker(journal_full=True)).title
    small = Disk("run_dir", "/data", 10**9, 5 * 10**8)
    assert only(worker(disks=(small,))).text == "0.5 GiB free (50 %) at /data"
    large = Disk("run_dir", "/data", 10**13, 10**10)
    assert "nearly full" in only(worker(disks=(large,))).title
    huge = Disk("run_dir", "/data", 10**15, 10**13)  # 1 %, but 9 TiB
    assert problems(worker(disks=(huge,))) == ()


def test_a_home_that_hangs() -> None:
    problem = only(worker(read=NOW - 100.0))
    assert problem.title == "arts003: logs and disks cannot be read"
    assert problem.since == NOW - 100.0
    assert problems(worker(read=0.0, master_started=NOW - 5.0)) == ()


def test_a_queue_that_is_not_emptied() -> None:
    late = with_service("dada_trigger", "running", queue=12_345, oldest=NOW - 45.0)
    problem = only(late)
    assert problem.title == "dada_trigger on arts003 is late"
    assert "12,345 entries" in problem.text
    assert problems(with_service("dada_trigger", "running", queue=9, oldest=NOW - 5.0)) == ()
    assert problems(with_service("processor", "running", queue=9, oldest=NOW - 4500.0)) == ()


def test_supervisord_that_hangs() -> None:
    problem = only(worker(supervisord="timed out"))
    assert "supervisord does not answer" in problem.title
    assert problem.command.startswith("stop_full_pipeline --nodes arts003 && ")


@pytest.mark.parametrize(("clock", "way"), [(2.5, "ahead"), (-7.0, "behind")])
def test_clocks(clock: float, way: str) -> None:
    problem = only(replace(worker(), clock=clock))
    assert problem.title == f"The clock of arts003 is {way}"
    assert problems(replace(worker(), clock=1.9)) == ()


def test_times_are_told_by_the_clock_of_this_host() -> None:
    late = replace(with_service("dada_trigger", "stopped", since=NOW + 100.0), clock=110.0)
    stopped = next(one for one in problems(late) if "stopped" in one.title)
    assert stopped.since == NOW - 10.0


def test_versions() -> None:
    problem = only(worker(version="99"))
    assert problem.title == f"arts003 runs DARC 99, this host {made_up.__version__}"
    told = replace(worker(), overview=None, reason="an overview of format 7, not 1")
    assert only(told).text == "an overview of format 7, not 1"


def test_the_masters_services_come_before_those_of_workers() -> None:
    stopped = service("lofar_trigger", "stopped")
    master = node(MASTER, stopped, "status_website", "voevent_generator")
    failed = with_service("amber_clustering", "failed")
    found = find_problems(cluster(master, failed), made_up.CONTEXT)
    assert [one.service for one in found] == ["lofar_trigger", "amber_clustering"]


def test_a_host_on_its_own() -> None:
    alone = node("here", service("processor", "stopped"), "dada_trigger", master=None)
    context = RuleContext({}, "", ShellCommands(alone=True))
    (problem,) = find_problems(cluster(alone), context)
    assert problem.command == "darc --service processor start"


def test_nodes_not_asked_yet_are_no_problem() -> None:
    asked = ClusterStatus(NOW, (NodeStatus("arts001", asked=False),))
    assert find_problems(asked, made_up.CONTEXT) == ()


# -- what is seen by looking for a while ----------------------------------------------------------


def look_back(
    history: ServiceTrends, *changes: dict[str, Any], every: float = 30.0
) -> tuple[str, ...]:
    """What is wrong in the end, with a processor that changes so."""
    found: tuple[Problem, ...] = ()
    for number, change in enumerate(changes):
        now = NOW + number * every
        ages = {name: now - age for name, age in change.items() if name in ("died", "oldest")}
        ill = service("processor", **{"now": now, **change, **ages})
        at_work = [one for one in made_up.ON_WORKERS if one != "processor"]
        seen = cluster(node("arts003", *at_work, ill, now=now), now=now)
        history.note(seen.nodes, now)
        found = find_problems(seen, made_up.CONTEXT, (), history)
    return tuple(one.title for one in found)


OFTEN = "processor on arts003 dies again and again"
GROWS = "The queue of processor on arts003 grows"


def deaths(*counts: int) -> list[dict[str, Any]]:
    return [{"deaths": count, "died": 1.0} for count in counts]


def test_a_service_that_dies_often() -> None:
    assert OFTEN not in look_back(ServiceTrends(), *deaths(1, 2))
    assert look_back(ServiceTrends(), *deaths(1, 2, 3)) == (OFTEN,)
    assert OFTEN in look_back(ServiceTrends(), *deaths(0, 3))  # between two looks
    assert OFTEN not in look_back(ServiceTrends(), *deaths(1, 2, 3), every=400.0)
    old = {"deaths": 7, "died": 90_000.0}
    assert look_back(ServiceTrends(), old, old) == ()
    # The node was started anew, and counts from the beginning.
    assert OFTEN not in look_back(ServiceTrends(), *deaths(2, 1, 2))


def test_it_is_over_when_it_lived_for_ten_minutes() -> None:
    """Also when another process goes on looking."""
    lived = [{"deaths": 3, "died": 1.0 + 100.0 * number} for number in range(1, 7)]
    history, again = ServiceTrends(), ServiceTrends()
    assert OFTEN in look_back(history, *deaths(1, 2, 3), *lived[:5], every=100.0)
    assert OFTEN not in look_back(ServiceTrends(), *deaths(1, 2, 3), *lived, every=100.0)
    again.recall(history.to_plain())
    assert again.to_plain() == history.to_plain()
    assert again.trend("arts003", "processor").dies_often == NOW - 1.0


def test_one_that_gave_up_begins_anew() -> None:
    failed = {"deaths": 4, "died": 1.0, "state": "failed"}
    titles = look_back(ServiceTrends(), *deaths(1, 2, 3), failed, *deaths(4))
    assert titles == ("processor on arts003 died",)


def test_a_death_that_is_seen_before_the_restart_counts() -> None:
    """The process has exited, and supervisord has not started another yet."""
    exited = {"deaths": 3, "died": 1.0, "state": "stopped", "how": "terminated by SIGKILL"}
    assert OFTEN in look_back(ServiceTrends(), *deaths(1, 2), exited, *deaths(3))
    by_hand = {"deaths": 3, "died": 1.0, "state": "stopped", "how": ""}
    assert OFTEN not in look_back(ServiceTrends(), *deaths(1, 2, 3), by_hand, *deaths(3))


def queue(*depths: int) -> list[dict[str, Any]]:
    return [{"queue": depth, "oldest": 700.0} for depth in depths]


def test_a_queue_that_grows() -> None:
    assert GROWS in look_back(ServiceTrends(), *queue(*range(900, 1600, 30)))
    assert GROWS not in look_back(
        ServiceTrends(), *queue(*range(1100, 1600, 30))
    )  # not for long yet
    assert GROWS not in look_back(ServiceTrends(), *queue(*range(300, 990, 30)))
    assert GROWS not in look_back(ServiceTrends(), *queue(*range(2000, 1100, -30)))
    assert GROWS not in look_back(ServiceTrends(), *queue(*[1500] * 25))
    # A reader that takes many at once
    assert GROWS not in look_back(ServiceTrends(), *queue(*[100, 900, 1700, 2500] * 6))
    young = [{"queue": depth, "oldest": 60.0} for depth in range(900, 1600, 30)]
    assert GROWS not in look_back(ServiceTrends(), *young)


def test_a_queue_grows_until_it_shrinks() -> None:
    rising = [*range(900, 1800, 30)]
    assert GROWS in look_back(ServiceTrends(), *queue(*rising, *[1800] * 25))
    assert GROWS not in look_back(ServiceTrends(), *queue(*rising, *range(1800, 1100, -30)))
