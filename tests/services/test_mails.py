"""E-mails that are remembered, and what is attached to them."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.services.mails import Mail, attach
from darc.services.outbox import DeliveryError

texts = st.text(max_size=20)


@given(texts, texts, st.lists(texts), st.floats(allow_nan=False), st.lists(texts))
def test_what_is_remembered_of_a_mail_is_all_of_it(subject, text, to, until, files) -> None:
    mail = Mail(subject, text, tuple(to), until, tuple(map(Path, files)))
    assert Mail.from_plain(mail.to_plain()) == mail


def names(message: EmailMessage) -> list[str | None]:
    return [part.get_filename() for part in message.iter_attachments()]


def test_attachments_are_all_there_or_none(tmp_path: Path) -> None:
    """As the mail is tried again, and would have the first ones twice or the others never."""
    plots, unreadable, gone = (tmp_path / name for name in ("CB00.pdf", "CB01.pdf", "CB02.pdf"))
    plots.write_bytes(b"%PDF")
    unreadable.mkdir()
    message = EmailMessage()
    message.set_content("results")
    with pytest.raises(DeliveryError, match=r"CB01\.pdf cannot be attached: Is a directory"):
        attach(message, (plots, unreadable, gone))
    assert names(message) == []
    unreadable.rmdir()
    unreadable.write_bytes(b"%PDF")
    attach(message, (plots, unreadable, gone))
    assert names(message) == ["CB00.pdf", "CB01.pdf", "not_attached.txt"]
