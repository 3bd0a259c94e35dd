"""What the master's half of the processing remembers of an observation, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from darc.model.observation import Observation
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import Commit
from darc.services.base.mails import MAIL, Mails
from darc.services.processor.processor_master import TOLD, ProcessorMasterManager
from simulator.write_parsets import write_observation

START = 1_700_000_000.0


class DiedError(Exception):
    pass


class Kept(ProcessorMasterManager):
    """Its first commits are kept; then it dies."""

    def prepare(self) -> None:
        super().prepare()
        self.memory: dict[str, Any] = {}
        self.lives = 100
        self.past = False

    def commit(self, commit: Commit) -> None:
        if self.lives == 0:
            raise DiedError
        self.lives -= 1
        self.memory.update(commit.memory)

    def is_past(self, observation: Observation) -> bool:
        return self.past


@pytest.fixture
def service(tmp_path: Path) -> Kept:
    path = tmp_path / "config.yaml"
    sections = {
        "cluster": {"master": "arts041", "workers": ["arts001"]},
        "processor": {"result_dir": str(tmp_path)},
        "processor_master": {"email_settings": {"to": "somebody@localhost"}},
    }
    path.write_text(yaml.safe_dump(sections))
    return Kept(load_config(path))


@pytest.fixture
def observation(tmp_path: Path, service: Kept) -> Observation:
    made = write_observation(
        tmp_path, task_id="pro1", source="R1", start=START, duration=8.0, more={"beams": "[0]"}
    )
    return read_observation(made.parset, service.config.instrument)


def test_a_missing_worker_is_told_of_once_its_mail_is_remembered(
    service: Kept, observation: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mails, "send", lambda self, mails: {})
    service.start_observation(observation, {"began": 1.0, "stopped": 2.0})
    service.lives = 1
    with pytest.raises(DiedError):
        service.tell_of(service.awaited["pro1"], {0: "arts001: no answer"})
    assert [key.startswith(MAIL) for key in service.memory] == [True]
    assert TOLD not in service.memory


@pytest.mark.parametrize("past", [False, True])
def test_results_that_were_there_before_it_began_count_unless_it_is_processed_again(
    service: Kept, observation: Observation, past: bool
) -> None:
    """The service may have been away for the whole of the observation."""
    service.past = past
    service.start_observation(observation, {})
    since = service.awaited["pro1"].publication.wanted.since
    assert (since <= START) == (not past)
