"""What lists of injections say, put onto the queues of who reads the candidates."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from darc.candidates.injections import INJECTION_UNKNOWN, Injection, packages_of
from darc.queues.messages import Commit, ContentKind, Put
from darc.queues.plain_connection import pack
from darc.services.amber_listener.followed_observation import (
    INJECTIONS_NAME,
    READERS,
    FollowedObservation,
)
from darc.services.amber_listener.known_injections import KnownInjections
from darc.services.base.service import Service

log = logging.getLogger(__name__)


class InjectionRelay:
    """Reads the lists of injections, and hands on what is new before the lines that follow it.

    :param service: whose observations they are of
    """

    def __init__(self, service: Service[Any]) -> None:
        self._service = service
        self._of_before = KnownInjections()

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore the injections of observations that may be started again."""
        self._of_before.recover(memory)

    def start(self, following: FollowedObservation, memory: Mapping[str, Any]) -> None:
        """Hand on what earlier runs of an observation have known.

        :param memory: of this run
        """
        known = self._of_before.of(following.observation)
        following.injections.known.update(dict.fromkeys(known))
        if INJECTIONS_NAME not in memory:  # a new run, whose readers know nothing yet
            self._hand_on(following, known)

    def look(self, following: FollowedObservation) -> None:
        """Hand on what is new in the list, which may be gone at the next look."""
        found, problems = following.injections.read()
        for problem in problems:
            log.error("%s", problem)
            self._service.lost(INJECTION_UNKNOWN, "an injection", problem)
        self._hand_on(following, found)
        if found:
            log.info("injections: %d listed, %d new", len(following.injections.known), len(found))
            # After the readers have it: it is not handed on again to this run.
            memory = self._of_before.add(following.observation, found)
            self._service.commit(Commit(memory=memory))

    def _hand_on(self, following: FollowedObservation, found: Sequence[Injection]) -> None:
        key, readers = following.observation.key, self._service.services_here(*READERS)
        for plain in packages_of(found) if readers else ():
            put = Put(readers, ContentKind.PLAIN, pack(plain), key)
            memory = following.memory_without_files()
            self._service.commit(Commit(key, puts=(put,), memory=memory, durable=True))
