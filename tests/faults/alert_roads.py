"""Receivers of what a node says about bursts, by every road but VTP: see `Outside` for that one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from faults.alert_record import TEST_TOPIC, TOPIC, Arrived
from faults.kafka_road import KafkaRoad

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "alarms"))

from receivers import Webhook

#: Of an attempt (s): short, so that one that fails is soon followed by another.
TIMEOUT = 1.0


class _NoticeHook(Webhook):
    """A webhook that keeps what it took, byte for byte; while `is_away`, it takes nothing."""

    def __init__(self, *, public: bool) -> None:
        self.notices: list[Arrived] = []
        self._public = public
        super().__init__()

    def take(self, content: bytes) -> None:
        self.notices.append(Arrived("webhook", content, self._public, time.time()))

    @contextmanager
    def away(self) -> Iterator[None]:
        self.answers = [503] * 10_000
        try:
            yield
        finally:
            self.answers = []


class AlertRoads:
    """A Kafka broker, webhooks and a directory, until `close`."""

    def __init__(self) -> None:
        with ExitStack() as opened:
            self.kafka = KafkaRoad([TOPIC, TEST_TOPIC])
            opened.callback(self.kafka.close)
            self._hooks = [
                opened.enter_context(_NoticeHook(public=public)) for public in (True, False)
            ]
            self._opened = opened.pop_all()
        self._seen = 0, [0, 0]
        self._files_seen: set[str] = set()

    def close(self) -> None:
        self._opened.close()

    def configuration(self) -> dict[str, Any]:
        """Of voevent_generator."""
        burst, test = (hook.url for hook in self._hooks)
        return {
            "roads": ["vtp", "kafka", "webhook", "file"],
            "kafka": {
                "topic": TOPIC,
                "test_topic": TEST_TOPIC,
                "timeout": TIMEOUT,
                "client": {
                    "bootstrap.servers": self.kafka.address,
                    "security.protocol": "plaintext",
                    "reconnect.backoff.max.ms": 200,
                },
            },
            "webhook": {"url": burst, "test_url": test, "timeout": TIMEOUT},
        }

    def begin(self) -> None:
        """What came so far is of others."""
        hooks = [len(hook.notices) for hook in self._hooks]
        self._seen = len(self.kafka.received()), hooks

    def go_away(self, duration: float) -> None:
        """Take nothing for a while (s)."""
        with ExitStack() as away:
            for hook in self._hooks:
                away.enter_context(hook.away())
            thread = threading.Thread(target=self.kafka.go_away, args=(duration,))
            thread.start()
            time.sleep(duration)
            thread.join()

    def arrived(self, directory: Path) -> list[Arrived]:
        """What came since `begin`, in order on each road.

        :param directory: of the files
        """
        messages, hooks = self._seen
        found = [
            Arrived("kafka", one.value, one.topic == TOPIC, one.time)
            for one in self.kafka.received()[messages:]
        ]
        for hook, count in zip(self._hooks, hooks, strict=True):
            found += hook.notices[count:]
        paths = {path.name: path for path in directory.glob("*.json")}
        new = [path for name, path in paths.items() if name not in self._files_seen]
        self._files_seen |= set(paths)
        written = sorted((path.stat().st_mtime, path) for path in new)
        return found + [Arrived("file", path.read_bytes(), None, at) for at, path in written]
