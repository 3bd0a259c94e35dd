"""DSA-110's stream: gulps of several searches over TCP, whatever connects and however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import free_port, patience
from test_amber_listener import Kept, order

from darc.model.candidate import candidates_from_bytes
from darc.model.observation import Observation
from darc.model.observation_build import build_observation
from darc.model.parset import parse_parset
from darc.node.losses import LOSSES
from darc.node.node_config import load_config
from darc.queues.messages import OrderState
from darc.services.amber_listener import followed_observation, service
from darc.trigger_files.candidate_source import CandidateSource, SourceContext, make_source
from darc.trigger_files.gulp_alignment import GulpAlignment
from darc.trigger_files.gulp_receiver import split_gulp
from darc.trigger_files.gulp_spool import GulpSpool, format_gulp, parse_marker, remove_old_spools
from simulator.engine_streams import EngineCandidate, EngineSearch, send_gulp

TSAMP = 1.048576e-3
A, B = "port 1", "port 2"


# -- which gulps are passed on -------------------------------------------------------------------


def texts(alignment: GulpAlignment) -> list[str]:
    return [event.text for event in alignment.take_events() if event.text]


def test_a_gulp_is_passed_on_when_all_searches_have_reported_it() -> None:
    alignment = GulpAlignment([A, B], 2, wait=1.0)
    alignment.add(A, 1, 10.0)
    assert alignment.pass_on(10.0) == 0
    alignment.add(B, 1, 10.5)
    assert alignment.pass_on(10.5) == 2
    assert texts(alignment) == []


def test_others_wait_for_a_missing_search_up_to_the_limit_and_then_no_more() -> None:
    alignment = GulpAlignment([A, B], 2, wait=1.0)
    alignment.add(A, 1, 10.0)
    assert alignment.due(10.25) == 0.75
    assert alignment.pass_on(11.0) == 1
    assert texts(alignment) == [f"{B} is missing in gulp 1: it has reported none"]
    alignment.add(A, 2, 12.0)
    assert alignment.pass_on(12.0) == 1
    assert texts(alignment) == []
    alignment.add(B, 3, 13.0)
    assert texts(alignment) == [f"{B} is back, with gulp 3"]
    assert alignment.pass_on(13.0) == 0
    alignment.add(A, 3, 13.0)
    assert alignment.pass_on(13.0) == 2


def test_a_search_that_lags_is_named_once_and_its_gulps_are_passed_on() -> None:
    alignment = GulpAlignment([A, B], 2, wait=1.0)
    for gulp in range(3):
        alignment.add(A, gulp, float(10 * gulp))
        alignment.pass_on(10.0 * gulp + 2)
    texts(alignment)
    for gulp in range(3):
        alignment.add(B, gulp, 30.0)
        assert alignment.pass_on(30.0) == 1
    assert texts(alignment) == [f"{B} lags: its gulp 0 came after the others were passed on"]


def test_a_jump_and_a_step_back_are_named() -> None:
    alignment = GulpAlignment([A], 1, wait=1.0)
    for gulp in (1, 2, 7, 3, 3):
        alignment.add(A, gulp, 0.0)
        assert alignment.pass_on(0.0) == 1
    events = alignment.take_events()
    assert [event.text for event in events if event.text] == [
        f"{A}: gulp 7 follows 2",
        f"{A}: gulp 3 follows 7: the number went back",
        f"{A}: gulp 3 came again",
        f"{A} lags: its gulp 3 came after the others were passed on",
    ]
    (jump,) = [event for event in events if event.loss and event.loss.id == "gulps_missed"]
    assert (jump.number, jump.what) == (4, f"{A}, gulps 3 to 6")


def test_searches_that_all_begin_anew_do_not_lag_and_wait_for_each_other() -> None:
    alignment = GulpAlignment([A, B], 2, wait=1.0)
    now = 0.0
    for gulp in (*range(4), *range(6)):  # the second time they come to numbers that are new
        now += 4.0
        alignment.add(A, gulp, now)
        assert alignment.pass_on(now) == 0
        alignment.add(B, gulp, now + 0.5)
        assert alignment.pass_on(now + 0.5) == 2
    events = alignment.take_events()
    assert [event.text for event in events if event.text] == [
        f"{search}: gulp 0 follows 3: the number went back" for search in (A, B)
    ]
    assert [event.counter for event in events].count("gulps") == 10
    assert not [event for event in events if event.loss or event.counter == "gulps_late"]


def test_one_of_those_that_begin_anew_may_be_missing() -> None:
    alignment = GulpAlignment([A, B], 2, wait=1.0)
    for gulp in (0, 1, 0, 1):
        alignment.add(A, gulp, 0.0)
        alignment.add(B, gulp, 0.0)
        assert alignment.pass_on(0.0) == 2
    texts(alignment)
    alignment.add(A, 2, 5.0)
    alignment.add(A, 3, 9.0)
    assert alignment.pass_on(9.5) == 2
    assert texts(alignment) == [f"{B} is missing in gulp 2: its last one was 1"]


def test_a_search_that_begins_anew_alone_lags_and_is_waited_for_once() -> None:
    alignment = GulpAlignment([A, B], 2, wait=1.0)
    for gulp in range(4):
        alignment.add(A, gulp, 0.0)
        alignment.add(B, gulp, 0.0)
        alignment.pass_on(0.0)
    alignment.add(A, 0, 10.0)
    assert alignment.pass_on(10.5) == 0
    assert alignment.pass_on(11.0) == 1
    for gulp in (1, 2):
        alignment.add(A, gulp, 20.0)
        assert alignment.pass_on(20.0) == 1
    assert texts(alignment) == [
        f"{A}: gulp 0 follows 3: the number went back",
        f"{A} lags: its gulp 0 came after the others were passed on",
    ]
    alignment.add(B, 4, 30.0)
    assert alignment.pass_on(31.0) == 1
    assert texts(alignment) == [f"{A} is missing in gulp 4: its last one was 2"]


def test_searches_of_one_port_are_named_by_their_hosts() -> None:
    alignment = GulpAlignment([], 3, wait=1.0)
    names = []
    for host in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        names.append(alignment.name_for(host, 5))
        alignment.add(names[-1], 5, 0.0)
    assert names == ["10.0.0.1", "10.0.0.1 (2)", "10.0.0.2"]
    assert alignment.pass_on(0.0) == 3
    alignment.add("10.0.0.2", 6, 10.0)
    assert alignment.pass_on(11.0) == 1
    (missing,) = [event for event in alignment.take_events() if event.text]
    assert missing.text == "2 of the 2 searches of 10.0.0.1 missing in gulp 6"
    assert missing.number == 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.permutations([0, 1, 2]), st.sampled_from([None, 0, 1, 2])), max_size=20),
)
def test_searches_of_one_host_are_counted_in_whatever_order_they_come(
    gulps: list[tuple[list[int], int | None]],
) -> None:
    """Each gulp comes from three searches in an order of its own, or one of them leaves it out."""
    alignment = GulpAlignment([], 3, wait=1.0)
    for gulp, (searches, left_out) in enumerate([([0, 1, 2], None), *gulps]):
        came = [search for search in searches if search != left_out]
        for _ in came:
            alignment.add(alignment.name_for("10.0.0.1", gulp), gulp, 10.0 * gulp)
        assert alignment.pass_on(10.0 * gulp + 2) == len(came)
    events = alignment.take_events()
    missed = sum(event.number for event in events if event.loss and event.loss.id == "gulps_missed")
    n_left_out = sum(left_out is not None for _, left_out in gulps)
    assert missed <= n_left_out  # one that leaves out the last ones has not been seen to
    assert sum(event.counter == "gulps_incomplete" for event in events) == n_left_out
    said = [event.text for event in events if event.text]
    assert not [text for text in said if "(" in text or "lags" in text or "back:" in text]
    assert all("search" in text and " of " in text for text in said)


def test_a_search_of_a_host_that_leaves_a_gulp_out_does_not_make_another_go_back() -> None:
    alignment = GulpAlignment([], 2, wait=1.0)
    for gulp in (5, 5, 7, 6, 7):  # one sends 5 and 7, the other 5, 6 and 7
        alignment.add(alignment.name_for("10.0.0.1", gulp), gulp, 0.0)
    events = alignment.take_events()
    assert [event.text for event in events] == ["a search of 10.0.0.1: gulp 7 follows 5"]
    assert sorted(alignment.last.values()) == [7, 7]
    # One that is sent again is no third search's.
    alignment.add(alignment.name_for("10.0.0.1", 7), 7, 0.0)
    assert len(alignment.last) == 2


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([A, B, "c"]), st.integers(0, 10**18), st.floats(0, 3)),
        max_size=40,
    )
)
def test_every_part_is_passed_on_once_within_the_limit(parts: list[tuple[str, int, float]]) -> None:
    alignment = GulpAlignment([A, B, "c"], 3, wait=1.0)
    now, passed = 0.0, 0
    arrived: list[float] = []
    for search, gulp, pause in parts:
        now += pause
        alignment.add(search, gulp, now)
        arrived.append(now)
        passed += alignment.pass_on(now)
        assert passed <= len(arrived)
        assert passed >= sum(when <= now - 1.0 for when in arrived)
    assert passed + alignment.pass_on(now, everything=True) == len(parts)
    assert alignment.due(now) == float("inf")


# -- what is on disk -----------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_line_of_a_sender_is_taken_for_a_marker(data: bytes) -> None:
    gulp = split_gulp(1, "host", data)
    spooled = format_gulp(gulp.number, "port 1", gulp.lines, gulp.half)
    lines = spooled.split(b"\n")[:-1]
    assert [number for number, line in enumerate(lines) if parse_marker(line)] == [0]
    half = bool(data) and not data.endswith(b"\n")
    named = gulp.number is not None
    assert len(lines) == 1 + data.count(b"\n") + half - named


def test_a_spool_begins_another_file_with_each_process(tmp_path: Path) -> None:
    first = GulpSpool(tmp_path)
    path, begin = first.append(format_gulp(7, "port 1", [b"x"], b""))
    assert begin == 0
    assert first.append(format_gulp(8, "port 1", [], b""))[1] == path.stat().st_size - len(
        format_gulp(8, "port 1", [], b"")
    )
    again = GulpSpool(tmp_path)
    assert again.last_gulps() == {"port 1": 8}
    assert again.append(b"#gulp 9 from port 1\n")[0] != path
    first.close(remove=False)
    again.close(remove=True)
    assert not tmp_path.exists()


def test_spools_of_old_observations_are_removed(tmp_path: Path) -> None:
    old, new, own, long = (tmp_path / name for name in ("old", "new", "own", "long"))
    for path in (old, new, own, long):
        path.mkdir()
    (long / "gulps").write_bytes(b"still written to")
    for path in (old, own, long):
        os.utime(path, (0, 0))
    remove_old_spools(tmp_path, except_for=own)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long", "new", "own"]
    remove_old_spools(tmp_path / "none", except_for=own)


# -- over TCP ------------------------------------------------------------------------------------


class Stream:
    """A listener with two searches."""

    def __init__(self, directory: Path, *, start_timeout: float = 100.0, **source: Any) -> None:
        self.ports = [free_port(), free_port()]
        keys = {"ports": self.ports, "gulp_wait": 0.3, "connection_timeout": 0.5} | source
        path = directory / "config.yaml"
        words = ", ".join(f"{key}: {value}" for key, value in keys.items())
        path.write_text(
            f"darc_master: {{end_delay: 20.0, run_dir: {directory}/run}}\n"
            "amber_clustering: {interval: 0.1}\n"
            f"amber_listener: {{start_timeout: {start_timeout}}}\n"
            f"instrument: {{tsamp: {TSAMP}, n_sbs: 1, candidate_source: dsa110,"
            f" source: {{{words}}}}}\n"
        )
        self.config = load_config(path)
        self.start = float(int(time.time()))
        self.search = EngineSearch(TSAMP, self.start)
        text = f"taskid=g1\nstart={self.start}\ntask.source.name=BLANK\nduration=600\nbeam=0\n"
        text += f"output_dir={directory}/output\n"
        self.observation: Observation = build_observation(
            parse_parset(text, "o"), None, None, self.config.instrument
        )
        self.listener = Kept(self.config)
        order(self.listener, self.observation)
        self.listener.turn()

    def line(self, time: float, beam: int = 0) -> bytes:
        return self.search.dsa_line(EngineCandidate(time, 100.0, 12.5, 3, beam))

    def send(self, search: int, gulp: int, *times: float, beam: int | None = None) -> None:
        beam = search if beam is None else beam
        lines = [self.line(time, beam) for time in times]
        send_gulp(("127.0.0.1", self.ports[search]), gulp, lines)

    def send_bytes(self, search: int, data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.ports[search])) as connection:
            connection.sendall(data)

    def taken(self) -> list[float]:
        found = [
            candidates_from_bytes(put.content)["time"]
            for commit in self.listener.commits
            for put in commit.puts
            if put.content
        ]
        return sorted(np.concatenate(found).round(2).tolist()) if found else []

    def until(self, condition: Callable[[], Any]) -> None:
        self.listener.turn_until(condition)

    def until_taken(self, *times: float) -> None:
        self.until(lambda: len(self.taken()) >= len(times))
        assert self.taken() == sorted(times)

    def counted(self, counter: str) -> int:
        counts = self.listener.counts.get(self.observation.task_id, {})
        return int(counts.get(counter, 0))

    def last_gulps(self) -> list[int]:
        """The last gulp of each search that has come."""
        return list(self.listener.sources[self.observation.task_id]["last gulp"].values())

    def addresses(self) -> set[str]:
        """Where this process listens on the ports."""
        found = psutil.Process().net_connections("tcp")
        listening = [one.laddr for one in found if one.status == psutil.CONN_LISTEN]
        return {address.ip for address in listening if address.port in self.ports}

    def stop(self) -> None:
        order(self.listener, self.observation, OrderState.STOPPED)
        self.until(lambda: self.listener.ended)

    def books(self) -> dict[str, int]:
        counts = self.listener.counts_now
        rejected = sum(number for key, number in counts.items() if key.startswith("rejected"))
        assert counts["lines"] == counts["headers"] + counts["candidates"] + rejected
        return {key: number for key, number in counts.items() if number}

    def close(self) -> None:
        self.listener.abort_observation(self.observation)


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    with closing(Stream(tmp_path)) as made:
        yield made


def losses(stream: Stream) -> dict[str, int]:
    return {kind: number for kind, number in stream.listener.metrics[LOSSES].items() if number}


def test_gulps_of_two_searches(stream: Stream) -> None:
    stream.send(0, 1, 0.5, 0.75)
    stream.send(1, 1, 0.25)
    stream.until_taken(0.25, 0.5, 0.75)
    stream.send(1, 2)
    stream.send(0, 2, 1.5)
    stream.until_taken(0.25, 0.5, 0.75, 1.5)
    stream.stop()
    assert stream.books() == {"lines": 8, "headers": 4, "candidates": 4, "gulps": 2}
    assert losses(stream) == {}
    assert not Path(stream.config.master.run_dir, "spool", "g1").exists()


def test_a_gulp_waits_for_the_other_search_and_no_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RECHECK_SECONDS", 600.0)  # it comes by itself
    with closing(Stream(tmp_path, gulp_wait=3.0)) as stream:
        began = time.monotonic()
        stream.send(0, 1, 0.5)
        while time.monotonic() < began + 1.0:
            stream.listener.turn()
        assert stream.taken() == []
        stream.until_taken(0.5)
        assert 2.9 < time.monotonic() - began < patience(5.0)
        assert stream.counted("gulps_incomplete") == 1
        assert losses(stream) == {"search_behind": 1}
        said = stream.listener.losses["search_behind"]["last"][0]
        assert said["what"] == f"port {stream.ports[1]}, gulp 1"


def test_a_gulp_that_was_received_outlives_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[CandidateSource] = []

    def made(context: SourceContext) -> CandidateSource:
        sources.append(make_source(context))
        return sources[-1]

    monkeypatch.setattr(followed_observation, "make_source", made)
    with closing(Stream(tmp_path)) as stream:
        _outlives_the_process(stream, sources)


def _outlives_the_process(stream: Stream, sources: list[CandidateSource]) -> None:
    stream.send(0, 5, 0.5)
    stream.send(1, 5, 0.25)
    spool = Path(stream.config.master.run_dir, "spool", "g1")
    stream.until(lambda: sum(path.stat().st_size for path in spool.glob("*")) > 100)
    committed = len(stream.taken())
    for _ in range(2):  # the second one has received nothing itself
        # As a process that is killed: nothing more of it, but that its ports are free.
        sources[-1].close(finished=False)
        assert not stream.addresses()
        again = Kept(stream.config)
        again.master = again.queue_link = stream.listener.master  # type: ignore[assignment]
        stream.listener = again
        order(again, stream.observation)
        stream.until(stream.addresses)
        stream.until(lambda before=committed: len(stream.taken()) + before >= 2)
        committed += len(stream.taken())
        assert committed == 2
    stream.send(0, 8, 1.0)  # 6 and 7 came while nobody listened
    stream.until(lambda: losses(stream).get("gulps_missed"))
    assert losses(stream)["gulps_missed"] == 2
    stream.stop()
    assert stream.books()["candidates"] == 3


def test_lines_that_are_none_are_rejected_and_the_rest_is_kept(stream: Stream) -> None:
    good = stream.line(0.5)
    half = stream.line(0.75)[:-9]
    bad = [
        b"8 1 2 60000.0 1 2\n",
        b"nan 1 2 60000.0 1 2 3 4\n",
        b"8 1 2 inf 1 2 3 4\n",
        b"8 1 2 1e300 1 2 3 4\n",
        b"-8 1 2 60000.0 1 2 3 4\n",
        b"8 1 2 60000.0 -1 2 3 4\n",
        b"\x00\xff\xfe garbage\n",
        b"#gulp 99 from nobody\n",
        b"\n",
        b"9" * 100_000 + b"\n",
    ]
    stream.send_bytes(0, b"1\n" + good + b"".join(bad) + half)
    stream.send(1, 1, 0.25)
    stream.until_taken(0.25, 0.5)
    stream.stop()
    assert stream.books() == {
        "lines": 15,
        "headers": 2,
        "candidates": 2,
        "gulps": 1,
        "gulps_cut": 1,
        "rejected_wrong_number_of_columns": 2,
        "rejected_not_finite": 2,
        "rejected_out_of_range": 2,
        "rejected_not_a_whole_number": 1,
        "rejected_not_text": 1,
        "rejected_empty": 1,
        "rejected_long_gulp_line": 1,
        "rejected_half_line": 1,
    }
    assert losses(stream) == {"gulp_cut": 1}


@pytest.mark.parametrize("first", [b"gulp one", b"-3", b"1.5", b"", b"9" * 30, b"\x00\x01"])
def test_a_message_without_a_gulp_number_is_rejected_line_by_line(
    stream: Stream, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stream.send_bytes(0, first + b"\n" + stream.line(0.5) * 3)
    stream.until(lambda: stream.counted("rejected_no_header"))
    stream.send(0, 1, 0.5)
    stream.send(1, 1)
    stream.until_taken(0.5)
    stream.stop()
    books = stream.books()
    assert (books["rejected_no_header"], books["rejected_bad_header"]) == (3, 1)
    assert any("no gulp number of 127.0.0.1" in text for text in caplog.messages)


def test_two_searches_that_claim_one_beam_are_named_once(
    stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    for gulp in range(3):
        stream.send(0, gulp, float(gulp), beam=17)
        stream.send(1, gulp, gulp + 0.5, beam=17)
    stream.until_taken(0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
    stream.until(lambda: stream.counted("beams_claimed_twice"))
    said = [text for text in caplog.messages if "beam 17 is claimed by two searches" in text]
    assert len(said) == 1
    assert all(f"port {port}" in said[0] for port in stream.ports)


def test_searches_of_one_host_on_one_port_claim_no_beams(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with closing(Stream(tmp_path, ports=[port], searches=2, gulp_wait=5.0)) as stream:
        stream.ports = [port, port]
        for gulp in range(4):
            for n, search in enumerate((0, 1) if gulp % 2 else (1, 0), 1):
                stream.send(search, gulp, gulp + search / 2, beam=search)
                stream.until(lambda gulp=gulp, n=n: stream.last_gulps().count(gulp) == n)
        stream.until_taken(*(number / 2 for number in range(8)))
        stream.stop()
        assert "beams_claimed_twice" not in stream.books()
        assert losses(stream) == {}
    assert not [text for text in caplog.messages if "claimed" in text]


def test_a_connection_that_sends_nothing_is_closed_in_time(stream: Stream) -> None:
    with socket.create_connection(("127.0.0.1", stream.ports[0])) as silent:
        silent.settimeout(patience(5))
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert 0.4 < time.monotonic() - began < patience(2)
    stream.until(lambda: stream.counted("connections_silent") == 1)


def test_a_connection_that_is_not_closed_is_used_as_far_as_it_came(stream: Stream) -> None:
    with socket.create_connection(("127.0.0.1", stream.ports[0])) as slow:
        slow.sendall(b"1\n" + stream.line(0.5) + stream.line(0.75)[:20])
        stream.until_taken(0.5)
    assert stream.counted("gulps_cut") == 1
    assert stream.counted("rejected_half_line") == 1


def test_a_gulp_beyond_the_limit_of_size_is_cut(tmp_path: Path) -> None:
    with closing(Stream(tmp_path, max_gulp_bytes=1024)) as stream:
        whole = b"1\n" + stream.line(0.5) * 100_000
        with contextlib.suppress(OSError):  # reset, or broken pipe
            stream.send_bytes(0, whole)
        stream.until(lambda: stream.counted("gulps_cut"))
        stream.until(lambda: stream.counted("candidates"))
        lines = whole[:1024].count(b"\n") - 1
        assert (stream.counted("candidates"), stream.counted("rejected_half_line")) == (lines, 1)
        assert losses(stream)["gulp_cut"] == stream.counted("gulps_cut") == 1


def test_strangers_do_not_fill_the_log(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        stream.send_bytes(0, b"GET / HTTP/1.1")
    for gulp in (1, 2):
        stream.send_bytes(0, f"{gulp}\n".encode() + stream.line(0.5)[:-9])
    stream.until(lambda: stream.counted("gulps_cut") == 7)
    assert losses(stream)["gulp_cut"] == 7
    cut = [text for text in caplog.messages if "was cut off" in text]
    assert [text.partition(" of ")[0] for text in cut] == ["gulp ?", "gulp 1", "gulp 2"]


def test_too_many_connections_are_refused_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Stream(tmp_path, max_connections=2, connection_timeout=20)) as stream:
        address = "127.0.0.1", stream.ports[0]
        held = [socket.create_connection(address) for _ in range(2)]
        for _ in range(5):
            with socket.create_connection(address) as another:
                another.settimeout(patience(5))
                assert another.recv(1) == b""
        stream.until(lambda: stream.counted("connections_refused") == 5)
        assert losses(stream) == {"connection_refused": 5}
        # A search that comes again and again does not fill the log.
        assert len([text for text in caplog.messages if "was refused: 2 are open" in text]) == 1
        for number, one in enumerate(held):
            one.sendall(f"{number}\n".encode() + stream.line(0.5 + number))
            one.close()
        stream.until_taken(0.5, 1.5)


def test_a_port_that_is_taken_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    blocker = socket.create_server(("127.0.0.1", port))
    with closing(Stream(tmp_path, ports=[port])) as stream:
        stream.until(lambda: [text for text in caplog.messages if f"127.0.0.1:{port}" in text])
        blocker.close()
        stream.ports = [port]

        def is_sent() -> bool:
            try:
                stream.send(0, 1, 0.5)
            except OSError:
                return False
            return True

        stream.until(is_sent)
        stream.until_taken(0.5)


def test_gulps_wait_while_they_cannot_be_spooled(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bytes] = []

    def full(self: GulpSpool, data: bytes) -> tuple[Path, int]:
        tries.append(data)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(GulpSpool, "append", full)
        for search, at in enumerate((0.5, 0.75)):
            with socket.create_connection(("127.0.0.1", stream.ports[search])) as sender:
                sender.sendall(b"1\n" + stream.line(at, search))
                sender.shutdown(socket.SHUT_WR)
                sender.settimeout(patience(5))
                assert sender.recv(1) == b""  # it is received; the next try is after that
            before = len(tries)
            stream.until(lambda before=before: len(tries) > before)
        assert stream.taken() == []
    stream.until_taken(0.5, 0.75)


def test_a_gulp_that_comes_just_after_the_stop_is_taken(stream: Stream) -> None:
    stream.send(0, 1, 0.5)
    stream.send(1, 1, 0.75)
    stream.until_taken(0.5, 0.75)
    order(stream.listener, stream.observation, OrderState.STOPPED)
    stream.listener.turn()
    assert not stream.listener.ended
    stream.send(0, 2, 1.5)
    stream.until(lambda: stream.listener.ended)
    assert stream.taken() == [0.5, 0.75, 1.5]


def test_it_listens_on_loopback_unless_told_otherwise(stream: Stream) -> None:
    assert stream.config.instrument.source.bind == "127.0.0.1"
    assert stream.addresses() == {"127.0.0.1"}


def test_a_stream_that_does_not_begin_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Stream(tmp_path, start_timeout=0.01)) as stream:
        places = f"gulps on 127.0.0.1, ports {stream.ports[0]}, {stream.ports[1]}"
        wanted = f"still missing 0 s after the start of the observation: {places}"
        stream.until(lambda: wanted in caplog.messages)
