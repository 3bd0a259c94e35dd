"""A burst is told to people by a real service, and retracted as they are told to."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from alerts import put, told, trigger
from nodes import node, only, patience, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "alarms"))

from receivers import Webhook

SERVICE = "voevent_generator"
WAIT = 60.0
CANARY = "c4n4ryt0k3n4ch4ts"


def test_a_burst_is_told_and_retracted_by_the_command_in_its_message(
    test_run: str, tmp_path: Path
) -> None:
    """Each target has it once, also one that was away. No secret is anywhere but in its file."""
    pytest.importorskip("apprise", reason="the extra `chat` is not installed")
    targets = tmp_path / "targets"
    targets.touch(0o600)
    with Webhook() as team, Webhook() as away:
        away.answers = [500]
        targets.write_text(
            f"team = mmost://127.0.0.1:{team.port}/{CANARY}\n"
            f"away = mmost://127.0.0.1:{away.port}/{CANARY}\n"
        )
        ours = {
            "send_events": True,
            "test": False,
            "roads": ["file", "chat"],
            "chat": {"targets": ["team", "away"]},
        }
        chat = {"targets": str(targets)}
        with node(test_run, darc_master=only(SERVICE), voevent_generator=ours, chat=chat) as site:
            site.start()
            put(site, SERVICE, trigger(dm=612.0))
            (first,) = team.wait_for(1, patience(WAIT))
            assert first["text"].startswith("Burst: S/N 20.0, DM 612.0")
            wait_for(lambda: len(away.asked) >= 2, WAIT)  # it is asked again, team is not
            assert len(team.received) == 1
            lines = first["text"].splitlines()
            (command,) = [line.partition(": ")[2] for line in lines if "To retract" in line]
            result = site.run(*shlex.split(command))
            assert result.returncode == 0, result.stderr
            wait_for(lambda: len(team.received) == 2, WAIT)
            assert team.received[1]["text"].startswith("RETRACTED burst: ")
            assert "Retracted by a person: interference" in team.received[1]["text"]
            wait_for(lambda: told(site, SERVICE, "events_waiting") == [], WAIT)
            (event,) = told(site, SERVICE, "events")
            states = [notice["roads"] for notice in event["notices"]]
            assert states == [{"file": "acknowledged", "chat": "acknowledged"}] * 2
            assert len(team.received) == 2
            secret = [
                path
                for path in site.home.rglob("*")
                if path.is_file() and CANARY.encode() in path.read_bytes()
            ]
            assert secret == []
