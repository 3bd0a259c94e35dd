"""Thresholds that are lowered for a while: they add triggers, and take none away."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_amber_clustering import START, Kept, entry, observation, service  # noqa: F401

from darc.candidates.injections import LISTED
from darc.model.candidate import CANDIDATE, records_to_bytes
from darc.model.lowered_threshold import LoweredThreshold
from darc.model.observation import Observation
from darc.queues.messages import ContentKind, QueueEntry
from darc.queues.plain_connection import pack
from darc.services.amber_clustering.deeper_search import lowered

ORDER = LoweredThreshold("k r", "notice of t, id 1, rule r", 7.0, START + 10, START + 20)


def order_entry(number: int, order: LoweredThreshold = ORDER) -> QueueEntry:
    content = pack(order.to_plain())
    return QueueEntry(number, ContentKind.PLAIN, content, "clu1", 0.0, 0.0)


def run(one: Kept, of: Observation, *entries: QueueEntry) -> list[tuple[int, float]]:
    """Windows and S/N of the dumps that are requested."""
    for each in entries:
        one.process(each, of)
    return [(trigger.window, trigger.snr) for trigger in one.sent("dada_trigger")]


def test_a_faint_burst_triggers_in_the_span_of_the_order_alone(service, observation):  # noqa: F811
    rules: dict[str, Any] = {"thresh_iquv": {"interval": 0}}
    weak = entry(2, 100.0, 5.1, 12.1, 25.1, snr=8.0)
    one = service(**rules)
    one.start_observation(observation, {})
    assert run(one, observation, weak, entry(3, 101.0)) == []
    one = service(**rules)
    one.start_observation(observation, {})
    assert run(one, observation, order_entry(1), weak, entry(3, 101.0)) == [(12, 8.0)]
    assert sorted(one.completed) == [1, 2, 3]
    assert one.sent("lofar_trigger") == []


def test_an_order_may_be_for_lofar_and_is_kept_over_a_death(service, observation):  # noqa: F811
    first = service()
    first.start_observation(observation, {})
    first.process(order_entry(1, replace(ORDER, iquv=False, lofar=True)), observation)
    again = service()
    again.start_observation(observation, first.memory)
    assert run(again, observation, entry(2, 100.0, 12.1, snr=8.0), entry(3, 101.0)) == []
    assert [trigger.window for trigger in again.sent("lofar_trigger")] == [12]


def test_an_order_is_replaced_by_one_of_its_key_that_ends_earlier(service, observation):  # noqa: F811
    one = service(thresh_iquv={"interval": 0})
    one.start_observation(observation, {})
    ended = order_entry(2, replace(ORDER, end=START + 13.5))
    faint = entry(3, 100.0, 12.1, 13.1, 14.1, snr=8.0)
    found = run(one, observation, order_entry(1), ended, faint, entry(4, 101.0))
    assert [window for window, _ in found] == [12, 13]


def test_usual_dumps_of_a_window_stay_beside_further_ones(service, observation):  # noqa: F811
    """Unchanged, also where faint candidates are in the same DM bin, and before the further."""
    bright, faint = entry(2, 100.0, 12.1), entry(4, 100.0, 12.3, snr=8.0, dm=3000.0)
    same_bin = entry(3, 100.0, 12.6, snr=8.0)

    def dumps(*entries: QueueEntry) -> list[Any]:
        one = service()
        one.start_observation(observation, {})
        for each in (*entries, entry(5, 101.0)):
            one.process(each, observation)
        # Of one request: a dump of a window keeps the next from leaving.
        return [
            replace(trigger, stages=type(trigger.stages)()) for trigger in one.sent("dada_trigger")
        ]

    (usual,) = dumps(bright, same_bin, faint)
    assert usual.snr == 30.0
    found = dumps(order_entry(1), bright, same_bin, faint)
    assert found[:1] == [usual]
    assert [(one.snr, one.dm) for one in found[1:]] == [(8.0, 3000.0)]


def test_an_injection_below_the_usual_threshold_triggers_nothing(service, observation):  # noqa: F811
    """Not even a notice of an injection: nobody looked for it at that threshold."""
    weak, real = entry(2, 100.0, 12.1, snr=8.0), entry(3, 100.0, 12.3, snr=8.0, dm=3000.0)
    order = order_entry(1, replace(ORDER, lofar=True))

    def sent(*injections: list[float]) -> list[tuple[str, float]]:
        one = service()
        one.start_observation(observation, {})
        content = pack({LISTED: list(injections)})
        list_entry = QueueEntry(5, ContentKind.PLAIN, content, "clu1", 0.0, 0.0)
        for each in (list_entry, order, weak, real, entry(4, 101.0)):
            one.process(each, observation)
        queues = "dada_trigger", "lofar_trigger", "voevent_generator"
        return [(queue, trigger.dm) for queue in queues for trigger in one.sent(queue)]

    listed = sent([12.1, 700.0, 8.0, 1.0])
    assert {dm for _, dm in listed} == {3000.0}  # what is real is found beside it
    assert {queue for queue, dm in sent() if dm == 700.0} >= {"dada_trigger"}


def test_a_window_that_has_settled_is_decided_about_again_when_it_closes(service, observation):  # noqa: F811
    one = service(settle=0.1)
    one.start_observation(observation, {})
    assert run(one, observation, entry(1, 100.0, 12.1, snr=8.0), entry(2, 100.5)) == []
    assert run(one, observation, order_entry(3), entry(4, 102.0)) == [(12, 8.0)]


def test_a_faint_dump_keeps_no_bright_one_from_leaving(service, observation):  # noqa: F811
    one = service()
    one.start_observation(observation, {})
    order = order_entry(1, replace(ORDER, end=START + 500))
    found = run(one, observation, order, entry(2, 100.0, 12.1, snr=8.0), entry(3, 101.0))
    assert found == [(12, 8.0)]
    found = run(one, observation, entry(4, 102.0, 15.1, snr=30.0), entry(5, 103.0))
    assert found[1:] == [(15, 30.0)]
    found = run(one, observation, entry(6, 104.0, 72.5, 76.1, snr=8.0), entry(7, 105.0))
    assert found[2:] == [(76, 8.0)]  # 72 is within a minute of the bright one
    # Both are kept over a death: neither leaves a minute too early.
    again = service()
    kept = {key: value for key, value in one.memory.items() if value is not None}
    again.start_observation(observation, kept)
    assert run(again, observation, entry(8, 106.0, 80.1, snr=8.0), entry(9, 107.0)) == []
    assert run(again, observation, entry(10, 108.0, 81.1), entry(11, 109.0)) == [(81, 30.0)]


def test_faint_candidates_hide_no_bright_burst_from_lofar(service, observation):  # noqa: F811
    """They would count against `max_cands_per_cluster`."""
    one = service()
    one.start_observation(observation, {})
    order = order_entry(1, replace(ORDER, lofar=True))
    faint = entry(2, 100.0, *np.linspace(12.0, 12.9, 150), snr=8.0)
    for each in (order, faint, entry(3, 100.0, 12.5), entry(4, 101.0)):
        one.process(each, observation)
    assert [(found.window, found.snr) for found in one.sent("lofar_trigger")] == [(12, 30.0)]
    assert [found.count for found in one.sent("lofar_trigger")] == [1]


def test_another_plain_value_is_no_order_and_is_counted(service, observation):  # noqa: F811
    one = service()
    one.start_observation(observation, {})
    bad = [None, {}, {"lowered_threshold": {}}, {"lowered_threshold": 1}, [ORDER.to_plain()]]
    bad += [{"lowered_threshold": ORDER.to_plain()["lowered_threshold"] | {"snr_min": -1.0}}]
    for number, plain in enumerate(bad, 1):
        content = pack(plain)
        one.process(QueueEntry(number, ContentKind.PLAIN, content, "clu1", 0.0, 0.0), observation)
    assert one.bad_entries == len(bad)
    assert sorted(one.completed) == list(range(1, len(bad) + 1))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.floats(10.0, 20.0),
            st.floats(5.5, 40.0),
            st.sampled_from([60.0, 400.0, 700.0, 705.0, 3000.0]),
            st.sampled_from([1, 10, 60, 90, 200]),
        ),
        min_size=1,
        max_size=25,
    ),
    limit=st.floats(5.0, 25.0),
)
def test_what_triggers_without_an_order_triggers_with_it_unchanged(
    service,  # noqa: F811
    observation,  # noqa: F811
    rows,
    limit,
):
    candidates = np.zeros(len(rows), CANDIDATE)
    for name, values in zip(
        ("time", "snr", "dm", "downsampling"), zip(*rows, strict=True), strict=True
    ):
        candidates[name] = values
    content = records_to_bytes(candidates)
    order = order_entry(1, replace(ORDER, snr_min=limit, lofar=True))

    def triggers(*before: QueueEntry) -> dict[str, list[Any]]:
        one = service(thresh_iquv={"interval": 0})
        one.start_observation(observation, {})
        kind = ContentKind.CANDIDATES
        after = QueueEntry(2, kind, content, "clu1", 100.0, 100.0), entry(3, 102.0)
        for each in (*before, *after):
            one.process(each, observation)
        return {
            queue: [replace(trigger, stages=type(trigger.stages)()) for trigger in one.sent(queue)]
            for queue in ("dada_trigger", "lofar_trigger")
        }

    usual, deeper = triggers(), triggers(order)
    for queue, found in usual.items():
        assert all(trigger in deeper[queue] for trigger in found)
        names = [trigger.identity for trigger in deeper[queue]]
        assert len(names) == len(set(names))
    known = [trigger.identity for trigger in usual["dada_trigger"]]
    further = [trigger for trigger in deeper["dada_trigger"] if trigger.identity not in known]
    assert all(trigger.snr >= limit for trigger in further)


def test_no_limit_is_raised(service):  # noqa: F811
    usual = service().settings
    assert lowered(usual, 50.0, 50.0) == usual
    found = lowered(usual, 7.0, None)
    assert (found.snr_min_global, found.thresh_iquv.snr_min, found.thresh_lofar.snr_min) == (
        7.0,
        7.0,
        usual.thresh_lofar.snr_min,
    )
    assert lowered(usual, None, 8.0).thresh_lofar.snr_min == 8.0
