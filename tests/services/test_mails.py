"""E-mails that are remembered, and what is attached to them."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darc.model.observation import Observation
from darc.node.configuration import load_config
from darc.node.observation_files import read_observation
from darc.queues.messages import Commit
from darc.replay.observation import write_observation
from darc.services.mails import MAIL, Mail, attach
from darc.services.outbox import DeliveryError
from darc.services.processor_master import TOLD, ProcessorMasterManager

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


class DiedError(Exception):
    pass


class Dying(ProcessorMasterManager):
    """Dies once its first commit is made."""

    def prepare(self) -> None:
        super().prepare()
        self.memory: dict[str, Any] = {}

    def commit(self, commit: Commit) -> None:
        if self.memory:
            raise DiedError
        self.memory.update(commit.memory)

    def is_past(self, observation: Observation) -> bool:
        return False


def test_a_missing_worker_is_told_of_once_its_mail_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    sections = {
        "cluster": {"master": "arts041", "workers": ["arts001"]},
        "processor": {"result_dir": str(tmp_path)},
        "processor_master": {"email_settings": {"to": "somebody@localhost"}},
    }
    config.write_text(yaml.safe_dump(sections))
    service = Dying(load_config(config))
    monkeypatch.setattr(service._mails, "send", lambda mails: {})
    made = write_observation(
        tmp_path, task_id="pro1", source="R1", start=1.7e9, duration=8.0, more={"beams": "[0]"}
    )
    observation = read_observation(made.parset, service.config.instrument)
    service.memory = {}
    service.start_observation(observation, {"began": 1.0, "stopped": 2.0})
    with pytest.raises(DiedError):
        service._tell_of(service._gatherings["pro1"], {0: "arts001: no answer"})
    assert [key.startswith(MAIL) for key in service.memory] == [True]
    assert TOLD not in service.memory
