"""E-mail: to a real server, to one that behaves badly, and with texts that want to be headers."""

from __future__ import annotations

import asyncio
import email
import getpass
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nodes import free_port, patience

from darc.config.settings import MailSettings
from darc.delivery.mail import MAX_SUBJECT, make_message, send
from darc.delivery.outbox import DeliveryError

HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"),
    *("Content-Type", "Content-Transfer-Encoding"),
}
WAIT = patience(20.0)  # s, for what has to come


class Mailbox:
    """What a server took, and what it says: per command, replies that go before the usual one."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[tuple[str, list[str], EmailMessage]] = []
        self.replies: dict[str, list[str]] = {}
        self.refused_recipients: dict[str, str] = {}

    def _reply(self, command: str) -> str | None:
        replies = self.replies.get(command, [])
        return replies.pop(0) if replies else None

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if reply := self._reply("MAIL"):
            return reply
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if reply := self._reply("RCPT") or self.refused_recipients.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        if reply := self._reply("DATA"):
            return reply
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, message))
        return "250 taken"

    async def handle_QUIT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        return self._reply("QUIT") or "221 bye"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A real SMTP server, in a thread of its own."""
    box = Mailbox()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(box, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    )
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield box

    async def end() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(WAIT)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(WAIT)
    loop.close()


@contextmanager
def bad_server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does as it likes with a connection, until the client has gone; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(WAIT)
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(WAIT)
        assert not thread.is_alive()


def mail_settings(port: int) -> MailSettings:
    return MailSettings("127.0.0.1", port, None)


def message(*to: str, subject: str = "a subject", text: str = "a text\n") -> EmailMessage:
    recipients = to or ("one@example.org",)
    return make_message(subject, text, recipients, "darc@example.org", "node", message_id="id 7")


def failure(port: int, mail: EmailMessage | None = None, timeout: float = WAIT) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send(mail or message(), mail_settings(port), timeout)
    assert f"mail server 127.0.0.1:{port}: " in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


# -- to a real server ------------------------------------------------------------------------------


def test_what_arrives_is_what_was_sent(mailbox: Mailbox) -> None:
    text = "DM  557 ± 1 pc cm⁻³\n.\n..dots\n" + "long " * 300 + "\n\nend\n"
    mail = message("one@example.org", "Jörg <two@example.org>", subject="Ein Püls", text=text)
    send(mail, mail_settings(mailbox.port), WAIT)
    ((sender, recipients, arrived),) = mailbox.taken
    assert sender == "darc@example.org"
    assert recipients == ["one@example.org", "two@example.org"]
    assert arrived["Subject"] == "Ein Püls"
    assert arrived["To"] == "one@example.org, two@example.org"
    assert arrived.get_content().replace("\r\n", "\n") == text
    assert set(arrived.keys()) - {"X-Peer", "X-MailFrom", "X-RcptTo"} == HEADERS
    assert not arrived.defects


def test_refused_for_now_and_then_taken(mailbox: Mailbox) -> None:
    mailbox.replies["RCPT"] = ["451 4.7.1 greylisted"]
    error = failure(mailbox.port)
    assert not error.permanent
    assert str(error).endswith("recipients refused: one@example.org: 451 4.7.1 greylisted")
    send(message(), mail_settings(mailbox.port), WAIT)
    assert len(mailbox.taken) == 1


@pytest.mark.parametrize(
    ("command", "what"),
    [("MAIL", "sender refused"), ("RCPT", "recipients refused"), ("DATA", "message refused")],
)
@pytest.mark.parametrize(
    ("reply", "permanent"), [("550 5.7.1 no", True), ("451 later", False), ("421 down", False)]
)
def test_refusals(mailbox: Mailbox, command: str, what: str, reply: str, permanent: bool) -> None:
    mailbox.replies[command] = [reply]
    error = failure(mailbox.port)
    assert error.permanent == permanent
    assert f"{what}: " in str(error)
    assert str(error).endswith(reply)
    assert mailbox.taken == []


def test_some_recipients_refused_is_delivered_and_said(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.refused_recipients["gone@example.org"] = "550 no such user"
    send(message("gone@example.org", "one@example.org"), mail_settings(mailbox.port), WAIT)
    ((_, recipients, _),) = mailbox.taken
    assert recipients == ["one@example.org"]
    assert caplog.messages == [
        f"mail server 127.0.0.1:{mailbox.port}: accepted, but not for "
        "gone@example.org: 550 no such user"
    ]


def test_all_recipients_refused_one_of_them_for_now(mailbox: Mailbox) -> None:
    mailbox.refused_recipients = {"gone@example.org": "550 no", "full@example.org": "452 full"}
    error = failure(mailbox.port, message("gone@example.org", "full@example.org"))
    assert not error.permanent
    assert "gone@example.org: 550 no; full@example.org: 452 full" in str(error)


def test_taken_is_taken_whatever_the_goodbye(mailbox: Mailbox) -> None:
    mailbox.replies["QUIT"] = ["500 what"]
    send(message(), mail_settings(mailbox.port), WAIT)
    assert len(mailbox.taken) == 1


# -- to one that behaves badly ---------------------------------------------------------------------


def read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def drip(connection: socket.socket) -> None:
    """A reply that never ends, and never lets the client wait for long."""
    connection.settimeout(0.01)
    while True:
        try:
            connection.sendall(b"2")
            if connection.recv(4096) == b"":
                return
        except TimeoutError:
            continue
        except OSError:  # a hang-up, seen while sending
            return


def test_a_server_that_never_answers() -> None:
    with bad_server(read_to_the_end) as port:
        error = failure(port, timeout=0.2)
    assert not error.permanent
    assert str(error).endswith(("not sent within 0.2 s", "timed out"))


@pytest.mark.timeout(30)
def test_a_host_that_takes_no_connection() -> None:
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(3):  # as many as it keeps, which are never accepted, and more
            client = open_sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        error = failure(address[1], timeout=0.2)
    assert not error.permanent
    assert str(error).endswith("timed out")


def test_a_server_whose_reply_never_ends() -> None:
    limit = patience(0.5)  # in which the first of it comes
    with bad_server(drip) as port:
        error = failure(port, timeout=limit)
    assert not error.permanent
    assert str(error).endswith(f"not sent within {limit:g} s")


def test_a_server_that_closes_at_once() -> None:
    with bad_server(lambda connection: None) as port:
        error = failure(port)
    assert not error.permanent
    assert "closed" in str(error)


def test_a_server_that_does_not_serve_us() -> None:
    heard = []

    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"554 not\x1b[2J here\r\n")
        heard.append(connection.recv(4096))

    with bad_server(refuse) as port:
        error = failure(port)
    assert not error.permanent
    assert str(error).endswith("connection refused: 554 not?[2J here")
    assert heard == [b""]  # it is left at once: there may be no answer to anything


def test_a_server_that_talks_nonsense() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        read_to_the_end(connection)

    with bad_server(talk) as port:
        assert not failure(port).permanent


def test_a_server_that_goes_after_the_text() -> None:
    def go(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        for reply in (b"250 hello", b"250 ok", b"250 ok", b"354 go on"):
            connection.recv(4096)
            connection.sendall(reply + b"\r\n")
        while not connection.recv(65536).endswith(b"\r\n.\r\n"):
            pass

    with bad_server(go) as port:
        assert not failure(port).permanent


def test_no_server() -> None:
    error = failure(free_port())
    assert not error.permanent
    assert "refused" in str(error)


def test_a_host_that_cannot_be_a_name() -> None:
    with pytest.raises(DeliveryError, match=r"mail server \.\.:25: ") as caught:
        send(message(), MailSettings("..", 25, None), WAIT)
    assert not caught.value.permanent


# -- messages --------------------------------------------------------------------------------------


def test_sender_is_the_user_on_this_host() -> None:
    made = make_message("s", "t", ["a@b"], None, "arts_001.local", message_id="1")
    assert made["From"] == f"{getpass.getuser()}@arts_001.local"


def test_a_long_subject_is_cut() -> None:
    assert message(subject="x" * 10_000)["Subject"] == "x" * MAX_SUBJECT


def test_message_id_is_that_of_what_is_told() -> None:
    def made(identity: str, hostname: str = "arts001.example.org") -> str:
        mail = make_message("s", "t", ["a@b"], "a@b", hostname, message_id=identity)
        return str(mail["Message-ID"])

    assert made("190518009/3/7") == made("190518009/3/7")
    assert made("190518009/3/7") != made("190518009/3/8")
    assert made("1").endswith(".darc@arts001.example.org>")
    assert made("1", "..").endswith("@localhost>")
    assert "\n" not in made("1\r\nBcc: b@c", "h\r\nBcc: b@c")


@pytest.mark.parametrize(
    "address",
    [
        "a@x\r\nBcc: evil@y",
        "a@x\nevil@y",
        "a\n@x",
        "a@x, evil@y",
        "a@x;evil@y",
        "group: a@x;",
        "Name\r\nBcc: evil@y <a@x>",
        "a b@x",
        "a@",
        "@x",
        "<>",
        "",
        "a@x@y",
        "a\x00@x",
        "a..b@x",
        ".",
        "jörg@x",
        "u" * 65 + "@x",
        "u@" + "h" * 64,
        "u@" + ".".join(["h" * 60] * 5),
        "=?utf-8?q?a=0D=0ABcc:_evil@y?= <a@x>",
        "=?utf-8?q?a=0D=0Ax?=@x",
    ],
)
def test_what_is_no_address_gets_nothing(address: str, caplog: pytest.LogCaptureFixture) -> None:
    made = make_message("s", "t", [address, "good@x"], "a@b", "node", message_id="1")
    assert made["To"] == "good@x"
    assert caplog.messages == [
        f"left out of an e-mail: {address.strip()!r} is not an address; "
        "allowed: user@host, Name <user@host>"
    ]
    with pytest.raises(ValueError, match="has no valid recipient"):
        make_message("s", "t", [address], "a@b", "node", message_id="1")
    with pytest.raises(ValueError, match="is not an address"):
        make_message("s", "t", ["good@x"], address, "node", message_id="1")


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("root", "root"),
        (" a@x.org\n", "a@x.org"),
        ("Piet Jansen <p@x>", "p@x"),
        ('"Jansén, Piet" <p@x>', "p@x"),
        ("o'neill+d.a.r.c@x-1.example.org", "o'neill+d.a.r.c@x-1.example.org"),
        ("u" * 64 + "@" + ".".join(["h" * 63] * 2), "u" * 64 + "@" + ".".join(["h" * 63] * 2)),
    ],
)
def test_addresses(address: str, plain: str) -> None:
    made = make_message("s", "t", [address], address, "node", message_id="1")
    for header in ("To", "From"):
        assert made[header] == plain
        assert [entry.addr_spec for entry in made[header].addresses] == [plain]


_PIECES = [
    *("\r\n", "\n", " ", "\x00", "\ud800", "\u2028", "é", "x" * 80, "Bcc: evil@y", "a@x"),
    *("=?", "?=", "utf-8", "?q?", "?b?", "=0D=0A", "@", "<", ">", '"', ",", ";", ":", "\\", "."),
    *("=?utf-8?q?a=0D=0ABcc:_evil@y?=", "=?utf-8?q?", "=\x00utf-8?q?=0D=0Ax:y?="),
]
_TEXT = st.text(st.characters()) | st.lists(st.sampled_from(_PIECES)).map("".join)
_ADDRESS = st.builds(lambda name, user: f"{name} <{user}@x>", _TEXT, _TEXT)


@settings(deadline=None)
@given(_TEXT, _TEXT, st.lists(_TEXT | _ADDRESS, max_size=3), _TEXT, _TEXT)
@example("TEST\r\nBcc: all@example.org\r\n\r\nbody", "a\x00b\u2028c\ud800\r\n.\r\n", [], "i", "h")
@example("=?utf-8?q?a=0D=0ABcc:_evil@y?=", "", ["=?utf-8?q?a=0D=0ABcc:_evil@y?= <a@x>"], "", "")
@example("", "", ["a" * 100 + "@" + "b" * 100], "", "")
@example("x" * 10_000, "é" * 2000, ["é <é@é>"], "", "")
def test_nothing_becomes_a_header(
    subject: str, text: str, to: list[str], identity: str, hostname: str
) -> None:
    made = make_message(subject, text, [*to, "good@x"], "darc@b", hostname, message_id=identity)
    sent = made.as_bytes(policy=SMTP_POLICY)
    assert sent.isascii()
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    back = email.message_from_bytes(sent, policy=default)
    assert isinstance(back, EmailMessage)
    assert sorted(back.keys()) == sorted(HEADERS)
    assert str(back["Subject"]).isprintable()
    assert str(back["To"]).isprintable()
    assert len(back["To"].addresses) <= len(to) + 1
    assert back["From"] == "darc@b"
    assert back["To"].addresses[-1].addr_spec == "good@x"
    lines = back.get_content().replace("\r\n", "\n").split("\n")
    assert all(line.isprintable() for line in lines)
    if text.isprintable():
        assert lines == [text, ""]
