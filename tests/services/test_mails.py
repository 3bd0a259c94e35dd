"""E-mails that are remembered, and what is attached to them."""

from __future__ import annotations

import errno
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
from default_config import CONFIG
from hypothesis import given
from hypothesis import strategies as st
from nodes import wait_for

from darc.delivery.outbox import DeliveryError
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.runtime.untrusted_files import read_regular
from darc.services.base import mails
from darc.services.base.mails import AGE_LIMIT, Mail, Mails, attach

TO = "somebody@example.org"
texts = st.text(max_size=20)


class Mailing:
    """What e-mails need of a service."""

    config = CONFIG

    def __init__(self) -> None:
        self.losses: list[tuple[str, str, str]] = []
        self.memory: dict[str, object] = {}

    def lost(self, kind: LossKind, what: str, why: str) -> None:
        self.losses.append((kind.id, what, why))

    def commit(self, commit: Commit) -> None:
        self.memory |= commit.memory


@given(texts, texts, st.lists(texts), st.floats(0, 1e9), st.lists(texts))
def test_what_is_remembered_of_a_mail_is_all_of_it(subject, text, to, ago, files) -> None:
    mail = Mail(subject, text, tuple(to), tuple(map(Path, files)), Since.now(ago))
    assert Mail.from_plain(mail.to_plain()) == mail


def test_a_mail_that_an_earlier_version_remembered() -> None:
    """It kept the time of day at which it is given up."""
    mail = Mail.from_plain(["subject", "text", time.time() + 60.0, [TO], []])
    assert mail.since.age() == pytest.approx(AGE_LIMIT - 60.0, abs=5.0)


def test_a_mail_that_is_too_old_is_lost_and_counted() -> None:
    service = Mailing()
    mails = Mails(service, ())
    old = Mail("subject", "text", (TO,), since=Since.now(AGE_LIMIT + 1.0))
    mails.send(mails.memory("190518009 results", old))
    assert service.memory == {}

    def is_deleted() -> bool:
        mails.delete_sent()
        return service.memory == {"mail 190518009 results": None}

    wait_for(is_deleted)
    ((kind, what, why),) = service.losses
    assert (kind, what) == ("mail_given_up", "190518009 results")
    assert "expired before the first attempt" in why
    assert not mails.waiting


def names(message: EmailMessage) -> list[str | None]:
    return [part.get_filename() for part in message.iter_attachments()]


def test_attachments_are_all_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the mail is tried again, and would have the first ones twice or the others never."""
    plots, unreadable, gone = (tmp_path / name for name in ("CB00.pdf", "CB01.pdf", "CB02.pdf"))
    plots.write_bytes(b"%PDF")
    unreadable.write_bytes(b"%PDF")
    message = EmailMessage()
    message.set_content("results")

    def fail(path: Path, *arguments: object) -> bytes:
        if path == unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return read_regular(path, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(mails, "read_regular", fail)
        with pytest.raises(DeliveryError, match=r"CB01\.pdf cannot be attached: Input/output"):
            attach(message, (plots, unreadable, gone))
    assert names(message) == []
    attach(message, (plots, unreadable, gone))
    assert names(message) == ["CB00.pdf", "CB01.pdf", "not_attached.txt"]
