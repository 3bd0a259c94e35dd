"""The client of the Transient Name Server, and a server that behaves badly."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import patience

from darc.delivery.outbox import DeliveryError
from darc.delivery.tns_client import (
    LONGEST_WAIT,
    USUAL_WAIT,
    Bot,
    ReportKnownError,
    ReportRefusedError,
    ReportUnsureError,
    TNSClient,
)
from simulator import name_server
from simulator.name_server import NameServer, says, throttles

KEY = "a-key-of-the-bot-0123456789abcdef"
REPORT: dict[str, Any] = {
    "internal_name": "arts_20261122T193908-4f1a2b",
    "reporter": "A. Person",
    "reporting_groupid": "1",
    "groupid": "1",
    "discovery_datetime": "2026-11-22 19:39:08.123456",
    "dm": "500",
}


def data(**changes: Any) -> bytes:
    return json.dumps({"frb_report": {"0": {**REPORT, **changes}}}).encode()


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(KEY) as made:
        yield made


@pytest.fixture(scope="module")
def module_server() -> Iterator[NameServer]:
    with NameServer(KEY) as made:
        yield made


def client(server: NameServer, key: str = KEY, timeout: float = 5.0) -> TNSClient:
    return TNSClient(server.url, Bot(7, "DARC bot", key), timeout)


def test_a_burst_gets_its_name(server: NameServer) -> None:
    server.not_yet = 1
    ours = client(server)
    assert ours.find(str(REPORT["internal_name"])) == ""
    number = ours.submit(data())
    with pytest.raises(DeliveryError, match="report 1001 is not processed yet") as error:
        ours.name_given(number)
    assert not error.value.permanent
    assert ours.name_given(number) == "FRB 20261122A"
    assert ours.find(str(REPORT["internal_name"])) == "FRB 20261122A"
    # As the TNS wants to know a bot.
    agents = {one.agent for one in server.received}
    (agent,) = agents
    assert json.loads(agent.removeprefix("tns_marker")) == {
        "tns_id": 7,
        "type": "bot",
        "name": "DARC bot",
    }


def test_what_is_missing_is_named_by_the_refusal(server: NameServer) -> None:
    ours = client(server)
    number = ours.submit(data(dm="", reporter=""))
    with pytest.raises(ReportRefusedError) as error:
        ours.name_given(number)
    assert str(error.value).endswith("reporter: Required field.; dm: Required field.")


def test_the_same_report_again_is_known(server: NameServer) -> None:
    ours = client(server)
    assert ours.name_given(ours.submit(data())) == "FRB 20261122A"
    with pytest.raises(ReportKnownError, match="An identical FRB report"):
        ours.name_given(ours.submit(data()))


def test_a_message_that_repeats_itself_holds_nothing_up(server: NameServer) -> None:
    """What looks through it lets no other thread run: alerts would wait, too."""
    told = {"id_code": 400, "data": {"message": "identical report " * 60_000}}
    server.troubles = [says(400, json.dumps(told).encode())]
    began = time.monotonic()
    with pytest.raises(ReportRefusedError, match="identical report"):
        client(server).submit(data())
    assert time.monotonic() - began < patience(3.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ReportRefusedError),
        (401, ReportRefusedError),
        (403, ReportRefusedError),
        (404, ReportRefusedError),
        (302, ReportRefusedError),
        (408, ReportUnsureError),
        (500, ReportUnsureError),
        (502, ReportUnsureError),
        (503, ReportUnsureError),
        (504, ReportUnsureError),
    ],
)
def test_a_status_says_whether_a_report_may_have_been_taken(
    server: NameServer, status: int, kind: type[DeliveryError]
) -> None:
    server.troubles = [says(status, b"<html>no</html>", Location="http://elsewhere.example/")]
    with pytest.raises(kind) as error:
        client(server).submit(data())
    assert type(error.value) is kind
    assert error.value.permanent is (kind is ReportRefusedError)
    assert len(server.received) == 1
    # Whatever is asked, the answer of a later question is as bad.
    server.troubles = [says(status)]
    if status not in (400, 404):
        with pytest.raises(DeliveryError) as error:
            client(server).name_given("1001")
        assert not error.value.permanent


@pytest.mark.parametrize(
    "trouble",
    [
        name_server.closes,
        name_server.loses_answer,
        name_server.loses_half,
        name_server.hangs,
        name_server.drips,
        name_server.floods,
        says(200, b'{"id_code":200,"data":'),
        says(200, b"[" * 100_000),
        says(200, b"[1]"),
        says(200, b'{"id_code":200,"data":{"report_id":"../1"}}'),
        says(200, b'{"id_code":200,"data":null}'),
        says(200, b"\xff\xfe\x00"),
        says(200, b"\x1f\x8b\x08", Content_Encoding="gzip"),
    ],
)
def test_an_answer_that_is_none_leaves_us_unsure_in_time(
    server: NameServer, trouble: name_server.Trouble
) -> None:
    server.troubles = [trouble]
    began = time.monotonic()
    with pytest.raises(ReportUnsureError) as error:
        client(server, timeout=0.5).submit(data())
    assert time.monotonic() - began < patience(5.0)
    assert not error.value.permanent
    server.troubles = [trouble]
    with pytest.raises(DeliveryError):
        client(server, timeout=0.5).name_given("1")
    server.troubles = [trouble]
    try:
        found = client(server, timeout=0.5).find("x")
    except DeliveryError:
        found = ""
    assert found == ""


def test_a_server_that_is_not_there_has_nothing(server: NameServer) -> None:
    ours = client(server)
    server.close()
    with pytest.raises(DeliveryError, match="Connection refused") as error:
        ours.submit(data())
    assert not isinstance(error.value, ReportUnsureError)


@pytest.mark.parametrize(
    ("trouble", "wait"),
    [
        (throttles(17), 17.0),
        (throttles(10**8), LONGEST_WAIT),
        (says(429), USUAL_WAIT),
        (says(429, b"{", Retry_After="90"), 90.0),
        (says(429, b"{", Retry_After="Tue, 01 Dec 2026 15:00:00 GMT"), USUAL_WAIT),
        (says(429, b"{", x_rate_limit_reset="-5"), USUAL_WAIT),
    ],
)
def test_it_is_left_alone_for_as_long_as_it_says(
    server: NameServer, trouble: name_server.Trouble, wait: float
) -> None:
    server.troubles = [trouble] * 3
    ours = client(server)
    for ask in (lambda: ours.submit(data()), lambda: ours.name_given("1"), lambda: ours.find("x")):
        with pytest.raises(DeliveryError, match="asked too often") as error:
            ask()
        assert (type(error.value), error.value.wait) == (DeliveryError, wait)


def test_a_key_is_in_no_text(server: NameServer) -> None:
    echo = json.dumps({"id_code": 400, "id_message": f"wrong key {KEY}\nin\x1b[1m line"}).encode()
    server.troubles = [says(400, echo)]
    with pytest.raises(ReportRefusedError) as error:
        client(server).submit(data())
    assert KEY not in repr(error.value)
    assert str(error.value).endswith("wrong key *** in?[1m line")
    assert error.value.__cause__ is None
    bot = Bot(7, "DARC bot", KEY)
    assert KEY not in f"{bot} {bot!r}"


def test_a_wrong_key_is_refused(server: NameServer) -> None:
    with pytest.raises(ReportRefusedError, match="does not know the bot or its key"):
        client(server, key="another").submit(data())


@pytest.mark.parametrize("name", ["SN 2026abc", "2026abc", "20261122A; DROP", "FRB", "2026112A"])
def test_what_is_no_name_of_a_burst_is_not_taken_for_one(server: NameServer, name: str) -> None:
    told = {"data": {"feedback": {"frb_report": [{"100": {"objname": name}}]}}}
    server.troubles = [says(200, json.dumps(told).encode())]
    with pytest.raises(DeliveryError, match="not the name of a burst"):
        client(server).name_given("1")


def test_names_that_contradict_each_other_are_not_taken(server: NameServer) -> None:
    found = [{"objname": "20261122A"}, {"objname": "20261122B"}]
    server.troubles = [says(200, json.dumps({"data": found}).encode())]
    with pytest.raises(DeliveryError, match="20261122A, 20261122B"):
        client(server).find("x")


def test_both_forms_of_the_answers_are_read(server: NameServer) -> None:
    """Lists of old and objects of new, by the samples in docs/tns.md."""
    ours = client(server)
    entry = {"101": {"message": "Object exists.", "objname": "20261122C"}}
    numbered = {"message": "Object exists.", "message_id": 101, "objname": "20261122C"}
    listed = {"101": [{"message": "Object exists.", "objname": "20261122C"}]}
    for feedback in ([entry], {"0": entry}, [numbered], {"0": {"frb_rep": [numbered]}}, listed):
        told = {"id_code": 200, "data": {"feedback": {"frb_report": feedback}}}
        server.troubles = [says(200, json.dumps(told).encode())]
        assert ours.name_given("1") == "FRB 20261122C"
    for reply in ([{"objname": "20261122C"}], {"reply": [{"objname": "20261122C"}]}):
        server.troubles = [says(200, json.dumps({"data": reply}).encode())]
        assert ours.find("x") == "FRB 20261122C"
    server.troubles = [says(200, json.dumps({"id_code": 400, "id_message": "no"}).encode())]
    with pytest.raises(ReportRefusedError, match=r": no$"):
        ours.name_given("1")


@pytest.mark.parametrize(
    "body",
    [
        b'{"id_code":500,"id_message":"Internal error","data":[]}',
        b'{"id_code":401,"id_message":"Unauthorized"}',
        b'{"id_code":"429","data":{}}',
        b'{"id_message":"Maintenance"}',
        b"{}",
    ],
)
def test_only_an_answer_says_that_nothing_is_known(server: NameServer, body: bytes) -> None:
    """What was not found would be sent again."""
    server.troubles = [says(200, body)]
    with pytest.raises(DeliveryError):
        client(server).find("x")


def test_an_answer_whose_own_status_is_another_goes_by_that(server: NameServer) -> None:
    ours = client(server)

    def told(code: int) -> name_server.Trouble:
        return says(200, json.dumps({"id_code": code, "id_message": "no", "data": {}}).encode())

    for code in (401, 404, 429, 503):  # none of them is about the report: it stays there
        server.troubles = [told(code)]
        with pytest.raises(DeliveryError) as error:
            ours.name_given("1")
        assert type(error.value) is DeliveryError
    server.troubles = [told(429)]
    with pytest.raises(DeliveryError, match="asked too often") as error:
        ours.submit(data())
    assert type(error.value) is DeliveryError
    server.troubles = [told(408)]
    with pytest.raises(ReportUnsureError):
        ours.submit(data())
    server.troubles = [told(404)]
    assert ours.find("x") == ""


def test_what_is_refused_by_another_than_the_tns_is_asked_for_again(server: NameServer) -> None:
    server.troubles = [says(400, b"<html>Bad request</html>")]
    with pytest.raises(DeliveryError) as error:
        client(server).name_given("1")
    assert not error.value.permanent


def test_a_name_that_comes_with_a_refusal_is_one(server: NameServer) -> None:
    feedback = {"frb_report": [{"101": {"message": "Object exists.", "objname": "20261122C"}}]}
    told = {"id_code": 400, "id_message": "Bad request", "data": {"feedback": feedback}}
    for status in (200, 400):
        server.troubles = [says(status, json.dumps(told).encode())]
        assert client(server).name_given("1") == "FRB 20261122C"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "feedback", "frb_report", "100", "objname", "message", "report_id"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
def test_whatever_it_answers_ends_in_a_name_or_an_error(
    module_server: NameServer, body: bytes
) -> None:
    ours = client(module_server)
    module_server.troubles = [says(200, body)] * 3
    for ask in (lambda: ours.submit(data()), lambda: ours.name_given("1"), lambda: ours.find("x")):
        said, why = "", ""
        try:
            said = ask()
        except DeliveryError as error:
            why = str(error)
        assert len(why) < 400
        assert re.fullmatch(r"|[0-9]{1,20}|FRB [0-9]{8}[A-Za-z]{1,6}", said)
    assert module_server.troubles == []  # each was answered so
