"""Messages to a real broker, which goes away, is slow, and comes back."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import SetClock
from msgspec.structs import replace
from nodes import free_port, patience, wait_for

from darc.delivery import kafka_sender
from darc.delivery.credentials import CredentialsError, read_credentials
from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from darc.delivery.outbox import DeliveryError
from simulator.kafka_broker import KafkaBroker, TopicReader

_numbers = itertools.count()
SECRET = "s3cr3t-of-the-client-0123456789"


@pytest.fixture(scope="module")
def module_broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as made:
        yield made


@pytest.fixture
def broker(module_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    yield module_broker
    module_broker.start()
    module_broker.answer_after(0.0)


def client(address: str, timeout: float = 10.0) -> KafkaClient:
    settings = {"bootstrap.servers": address, "security.protocol": "plaintext"}
    return KafkaClient("gcn.nasa.gov", patience(timeout), settings)


@pytest.fixture
def topic() -> str:
    """One of the test's own."""
    return f"gcn.notices.{next(_numbers)}.frb"


@pytest.fixture
def sender(broker: KafkaBroker, topic: str) -> Iterator[KafkaSender]:
    made = KafkaSender(client(broker.address))
    made.warm_up(topic)
    yield made
    made.close()


@pytest.fixture
def reader(broker: KafkaBroker, topic: str) -> Iterator[TopicReader]:
    made = TopicReader(broker.address, [topic])
    yield made
    made.close()


def test_what_is_acknowledged_is_there_with_its_bytes_and_key(
    sender: KafkaSender, reader: TopicReader, topic: str
) -> None:
    for number in range(3):
        sender.send(topic, "20261122T193908-aaaaaa", b'{"record_number": %d}' % number)
    came = reader.wait_for(3, patience(20.0))
    assert [one.value for one in came] == [b'{"record_number": %d}' % number for number in range(3)]
    assert {one.key for one in came} == {"20261122T193908-aaaaaa"}


def test_a_broker_that_is_away_and_comes_back_during_an_attempt(
    broker: KafkaBroker, sender: KafkaSender, reader: TopicReader, topic: str
) -> None:
    broker.stop()
    timer = threading.Timer(1.0, broker.start)
    began = time.monotonic()
    timer.start()
    sender.send(topic, "key", b"back")
    assert time.monotonic() - began > 0.9
    timer.join()
    assert reader.wait_for(1, patience(20.0))[-1].value == b"back"


def _send_until_it_arrives(sender: KafkaSender, topic: str, value: bytes) -> None:
    def is_sent() -> bool:
        with contextlib.suppress(DeliveryError):
            sender.send(topic, "key", value)
            return True
        return False

    wait_for(is_sent, 20.0)


@pytest.mark.parametrize("grace", [kafka_sender.GRACE_SECONDS, 0.0])
def test_a_broker_that_stays_away_is_named_and_the_message_does_not_leave_later(
    broker: KafkaBroker,
    reader: TopicReader,
    topic: str,
    grace: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gives the message up: the client, or we, as the client has not told of it yet."""
    monkeypatch.setattr(kafka_sender, "GRACE_SECONDS", grace)
    made = KafkaSender(replace(client(broker.address), timeout=patience(1.0)))
    made.warm_up(topic)
    broker.stop()
    with pytest.raises(
        DeliveryError, match=rf"Kafka at {broker.address}: not acknowledged"
    ) as error:
        made.send(topic, "key", b"too late")
    assert not error.value.permanent
    broker.start()
    _send_until_it_arrives(made, topic, b"in time")
    came = reader.wait_for(1, patience(20.0))
    assert [one.value for one in came] == [b"in time"]
    made.close()


def test_an_error_of_before_is_not_told_of_a_broker_that_is_slow(
    broker: KafkaBroker, topic: str
) -> None:
    made = KafkaSender(client(broker.address, 2.0))
    made.warm_up(topic)
    broker.stop()
    with pytest.raises(DeliveryError, match=r"not acknowledged within .* \("):
        made.send(topic, "key", b"while it is away")
    broker.start()
    _send_until_it_arrives(made, topic, b"while it is there")
    broker.answer_after(patience(4.0))
    with pytest.raises(DeliveryError, match=r"not acknowledged within [\d.]+ s$"):
        made.send(topic, "key", b"while it is slow")
    made.close()


#: Sends with a connection of its own, until it is acknowledged; says so after each attempt.
SENDING = """
import sys
from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from darc.delivery.outbox import DeliveryError

address, topic, timeout = sys.argv[1:]
settings = {"bootstrap.servers": address, "security.protocol": "plaintext"}
sender = KafkaSender(KafkaClient("gcn.nasa.gov", float(timeout), settings))
for line in sys.stdin:
    try:
        sender.send(topic, "id", b"of another time")
        print("sent", flush=True)
    except DeliveryError as error:
        print(error, flush=True)
"""


@pytest.fixture
def clock(tmp_path: Path) -> SetClock:
    """That of the process that sends."""
    return SetClock(tmp_path)


@pytest.fixture
def told_to_send(broker: KafkaBroker, topic: str, clock: SetClock) -> Iterator[Callable[[], str]]:
    """Has a process of its own try to send a message, and returns what it says."""
    command = [sys.executable, "-c", SENDING, broker.address, topic, str(patience(2.0))]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | clock.environment,
    ) as process:
        said: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(
            target=lambda out=process.stdout: [said.put(line) for line in out], daemon=True
        ).start()

        def tell() -> str:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return said.get(timeout=patience(20.0))

        try:
            yield tell
        finally:
            process.kill()


def test_a_clock_that_is_ahead_for_a_moment_holds_up_no_message_for_that_long(
    clock: SetClock, told_to_send: Callable[[], str]
) -> None:
    """A wait of the client's library that begins then ends at that time of day, an hour later."""
    clock.set(3600)
    first = told_to_send()
    assert "sent" in first or "not acknowledged" in first
    clock.set(0)
    assert told_to_send() == "sent\n"


def test_a_broker_that_is_away_while_the_clock_is_ahead_is_connected_again(
    broker: KafkaBroker, clock: SetClock, told_to_send: Callable[[], str]
) -> None:
    wait_for(lambda: told_to_send() == "sent\n", 20.0)
    broker.stop()
    clock.set(3600)
    time.sleep(2.0)  # the library waits, for a second at most, before it connects again
    clock.set(0)
    broker.start()
    wait_for(lambda: told_to_send() == "sent\n", 20.0)


def test_an_acknowledgement_that_comes_late_is_waited_for(
    broker: KafkaBroker, sender: KafkaSender, reader: TopicReader, topic: str
) -> None:
    sender.send(topic, "key", b"first")
    broker.answer_after(1.0)
    began = time.monotonic()
    sender.send(topic, "key", b"late")
    assert time.monotonic() - began > 0.9
    broker.answer_after(0.0)
    came = reader.wait_for(2, patience(20.0))
    assert [one.value for one in came] == [b"first", b"late"]


def test_a_message_is_taken_back_when_it_must_not_leave_any_more(
    broker: KafkaBroker, sender: KafkaSender, reader: TopicReader, topic: str
) -> None:
    broker.stop()
    allowed = threading.Event()
    allowed.set()
    timer = threading.Timer(0.5, allowed.clear)
    timer.start()
    began = time.monotonic()
    with pytest.raises(DeliveryError):
        sender.send(topic, "key", b"withdrawn", allowed.is_set)
    assert time.monotonic() - began < patience(5.0)
    timer.join()
    broker.start()
    sender.send(topic, "key", b"another")
    came = reader.wait_for(1, patience(20.0))
    assert [one.value for one in came] == [b"another"]


def test_a_second_process_sends_the_same_bytes_again(
    broker: KafkaBroker, sender: KafkaSender, reader: TopicReader, topic: str
) -> None:
    """As one does that was killed before it had noted the acknowledgement."""
    second = KafkaSender(client(broker.address))
    for made in (sender, second):
        made.send(topic, "key", b"same")
    came = reader.wait_for(2, patience(20.0))
    second.close()
    assert len({(one.key, one.value) for one in came}) == 1


def test_too_large_a_message_is_given_up_at_once(sender: KafkaSender, topic: str) -> None:
    with pytest.raises(DeliveryError, match="too large") as error:
        sender.send(topic, "key", b"x" * 2**21)
    assert error.value.permanent


def test_a_wrong_setting_is_named(broker: KafkaBroker, topic: str) -> None:
    wrong = client(broker.address)
    made = KafkaSender(replace(wrong, settings={**wrong.settings, "no.such.setting": "1"}))
    with pytest.raises(DeliveryError, match=r"a setting of the client: .*no\.such\.setting"):
        made.send(topic, "key", b"x")


# -- credentials -------------------------------------------------------------------------------


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_credentials_are_read_from_a_file_of_the_owner(tmp_path: Path) -> None:
    text = f"# of GCN\n\nclient_id = me\nclient_secret={SECRET}\nssl.key.password = a = b\n"
    found = read_credentials(write(tmp_path / "kafka", text))
    assert found.values() == {
        "client_id": "me",
        "client_secret": SECRET,
        "ssl.key.password": "a = b",
    }
    assert SECRET not in f"{found} {found!r}"
    assert found.hide(f"refused: {SECRET}!") == "refused: ***!"


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (f"client_secret = {SECRET}", 0o640, r"others can read it \(mode 0640\).*chmod 600"),
        (f"client_secret = {SECRET}", 0o604, "others can read it"),
        (f"client_id = me\n{SECRET}", 0o600, ":2: not a line of `name = value`"),
        ("# nothing\n", 0o600, "no line of"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_file_that_is_not_used_is_named_without_what_it_holds(
    tmp_path: Path, text: str | None, mode: int, why: str, topic: str
) -> None:
    path = tmp_path / "kafka"
    if text is not None:
        write(path, text, mode)
    with pytest.raises(CredentialsError, match=why) as error:
        read_credentials(path)
    assert str(path) in str(error.value)
    assert SECRET not in str(error.value)
    made = KafkaSender(KafkaClient("gcn.nasa.gov", 1.0, {}, str(path)))
    with pytest.raises(DeliveryError, match=why):
        made.send(topic, "key", b"x")


def test_a_mark_of_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    text = f"\ufeffclient_id = me\r\nclient_secret = {SECRET}\r\n"
    found = read_credentials(write(tmp_path / "kafka", text))
    assert found.values() == {"client_id": "me", "client_secret": SECRET}


def test_a_secret_that_is_not_utf_8_is_not_changed_into_another(tmp_path: Path) -> None:
    path = write(tmp_path / "kafka", "")
    path.write_bytes(b"client_secret = gr\xfc\xdfe\n")
    with pytest.raises(CredentialsError, match="not text in UTF-8"):
        read_credentials(path)


def test_a_secret_is_in_no_log_and_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, topic: str
) -> None:
    """Where the log-in server and the broker are away."""
    path = write(tmp_path / "kafka", f"client_id = me\nclient_secret = {SECRET}\n")
    settings = {
        "bootstrap.servers": f"127.0.0.1:{free_port()}",
        "security.protocol": "sasl_plaintext",
        "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{free_port()}/token",
        "debug": "security",
    }
    caplog.set_level(logging.DEBUG)
    made = KafkaSender(KafkaClient("gcn.nasa.gov", 2.0, settings, str(path)))
    with pytest.raises(DeliveryError) as error:
        made.send(topic, "key", b"x")
    wait_for(lambda: caplog.records, 10.0)
    whole = "".join(traceback.format_exception(error.value)) + caplog.text + repr(vars(made))
    assert "OAUTHBEARER" in whole
    assert SECRET not in whole
    made.close()
