"""Composing of an event: once, into the bytes of each form that roads carry."""

from __future__ import annotations

import json as json_format
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from darc.config.config import Config
from darc.config.records import Struct, replace
from darc.model.arrival import utc_of
from darc.model.event import AlertType, Event, Notice, RoadName, Tense
from darc.model.trigger import Trigger
from darc.science import radiometer
from darc.services.base.measured_dm import measured_dm_error
from darc.services.voevent_generator.settings import VOEventGeneratorSettings

if TYPE_CHECKING:
    from darc.model import voevent

#: How a VOEvent cites those before it about the same event.
CITES = {AlertType.UPDATE: "supersedes", AlertType.RETRACTION: "retraction"}
FOLLOWUP = "followup"
#: Held by who loads or uses what validates VOEvents: a schema that two threads make, or use, at the
#: same time may be broken from then on.
LIBRARIES = threading.Lock()


class ComposedNotice(Struct, frozen=True):
    """A notice in the forms that roads carry.

    :param event: the event with the notice
    :param xml: VOEvent; empty: there is none, for the `problem`
    :param json: GCN notice; empty: no road carries it
    :param invalid: why there is no GCN notice, though a road carries it; empty: there is
    """

    event: Event
    xml: bytes
    json: bytes = b""
    invalid: str = ""
    problem: Exception | None = None

    @property
    def notice(self) -> Notice:
        return self.event.latest

    def content(self, road: RoadName) -> bytes:
        """Return the bytes for a road; empty: there are none."""
        return self.xml if road is RoadName.VTP else self.json


class Composer:
    """Composer by a configuration.

    :param settings: section of the service
    """

    def __init__(self, config: Config, settings: VOEventGeneratorSettings) -> None:
        self._config = config
        self._settings = settings

    def compose(
        self, event: Event, notice: Notice, *, earlier: str = "", json: bool
    ) -> ComposedNotice:
        """Compose a notice about an event.

        :param event: without the notice
        :param earlier: identifier of the VOEvent about an earlier burst of the source; empty: none
        :param json: whether a road carries GCN notices
        :raises ValueError: a value of the trigger or the configuration cannot be expressed, in
            neither form; likewise ArithmeticError
        """
        created = datetime.fromtimestamp(notice.at, UTC)
        trigger = self._as_measured(event)
        if notice.kind is AlertType.RETRACTION:
            # Whatever was thought of it before: who goes by this alone is not to point at it.
            trigger = replace(trigger, importance=0.0)
        problem: Exception | None = None
        try:
            with LIBRARIES:
                ivorn, xml = self._voevent(event, notice, trigger, created, earlier)
        except Exception as error:  # a defect here must not keep the other form from leaving
            if not json:
                raise
            problem, ivorn, xml = error, "", b""
        composed = ComposedNotice(event.with_notice(replace(notice, ivorn=ivorn)), xml)
        if not json:
            return composed
        from darc.services.voevent_generator.notice_schema import check_notice  # noqa: PLC0415

        try:
            content = self._json(event, notice)
            check_notice(content)
        except (ValueError, ArithmeticError, OSError) as error:
            if problem:
                raise problem from None
            return replace(composed, invalid=str(error))
        return replace(composed, json=content, problem=problem)

    def told(self, event: Event) -> dict[str, Any]:
        """Return the properties of a notice that says what is known of an event now.

        :raises ValueError: a value cannot be expressed, or is not valid; likewise ArithmeticError
        """
        from darc.services.voevent_generator.notice_schema import check_notice  # noqa: PLC0415

        content = self._json(event, event.latest)
        check_notice(content)
        properties: dict[str, Any] = json_format.loads(content)
        return properties

    # -- forms ---------------------------------------------------------------------------------

    def _json(self, event: Event, notice: Notice) -> bytes:
        from darc.model.notice import make_notice  # noqa: PLC0415 - see _warm_up of the service

        direction = self._direction(event.trigger)
        return make_notice(
            event,
            notice,
            self.setup(event.trigger),
            schema=self._settings.notice_schema,
            dm_error=measured_dm_error(event.trigger, self._config.instrument),
            rotation=direction.beam_rotation_angle if direction else None,
        )

    def _voevent(
        self, event: Event, notice: Notice, trigger: Trigger, created: datetime, earlier: str
    ) -> tuple[str, bytes]:
        """Make the VOEvent; return its identifier, too."""
        from darc.model import voevent  # noqa: PLC0415 - see _warm_up of the service

        settings = self._settings
        sender = voevent.Sender(
            settings.stream, settings.author_ivorn, settings.contact_name, settings.contact_email
        )
        measured = event.measured
        xml = voevent.make_voevent(
            trigger,
            self.setup(trigger),
            self._direction(trigger),
            sender,
            test=event.tense is not Tense.CURRENT,
            created=created,
            dm_error=measured.dm_error
            if measured and measured.dm_error is not None
            else measured_dm_error(trigger, self._config.instrument),
            citations=_citations(event, notice, earlier),
            reason=notice.reason,
            judged=_judged(event, notice),
            tns_name=event.tns_name,
        )
        return voevent.event_ivorn(trigger, sender, created), xml

    def _as_measured(self, event: Event) -> Trigger:
        """Return the trigger with what was measured since."""
        from darc.model.notice import arrival_at_centre  # noqa: PLC0415 - see _json

        trigger, measured = event.trigger, event.measured
        if event.verdict:
            trigger = replace(trigger, importance=1.0)
        elif measured and measured.probability is not None:
            trigger = replace(trigger, importance=measured.probability)
        if measured is None:
            return trigger
        arrival = arrival_at_centre(measured.arrival, measured.dm, trigger, self.setup(trigger))
        known = trigger.src_name is not None
        snr, flux = event.brightness
        return replace(
            trigger,
            dm=trigger.dm if known else measured.dm,
            dm_cluster=measured.dm,
            snr=snr,
            flux=flux,
            width=measured.width,
            utc=utc_of(arrival),
        )

    def _direction(self, trigger: Trigger) -> voevent.Direction | None:
        from darc.model import voevent  # noqa: PLC0415 - see _warm_up of the service
        from darc.science import sky  # noqa: PLC0415

        if trigger.ra is None or trigger.dec is None:
            return None
        at = trigger.arrival, self._config.instrument.position
        return voevent.Direction(
            *sky.galactic(trigger.ra, trigger.dec),
            sky.beam_rotation_angle(trigger.ra, trigger.dec, *at),
        )

    def setup(self, trigger: Trigger) -> voevent.ObservationSetup:
        """Return the observing setup of a trigger, with default values where it states none."""
        from darc.model.voevent import ObservationSetup  # noqa: PLC0415

        instrument = self._config.instrument
        gain = trigger.gain
        if gain is None:
            gain = radiometer.array_gain(
                instrument.dish_diameter, instrument.aperture_efficiency, instrument.n_dishes
            )
        nchan = trigger.nchan or instrument.nchan
        return ObservationSetup(
            observatory=instrument.observatory,
            backend=instrument.backend,
            bandwidth=trigger.nchan * trigger.delta_nu_MHz
            if trigger.nchan
            else instrument.bandwidth,
            nchan=nchan,
            npol=instrument.npol,
            bits_per_sample=instrument.bits_per_sample,
            gain=float(gain),
            tsys=instrument.tsys,
        )


def _citations(event: Event, notice: Notice, earlier: str) -> list[voevent.Citation]:
    from darc.model.voevent import Citation  # noqa: PLC0415 - see _warm_up of the service

    if notice.kind.is_first:
        return [Citation(earlier, FOLLOWUP)] if earlier else []
    before = [one.ivorn for one in event.notices if one.ivorn]
    if notice.kind is AlertType.UPDATE:
        before = before[-1:]
    return [Citation(ivorn, CITES[notice.kind]) for ivorn in before]


def _judged(event: Event, notice: Notice) -> str:
    """Return what the importance goes by; empty: the search's thresholds."""
    if notice.kind.is_first:
        return ""
    scale = "Importance from 0 (interference) to 1 (astrophysical)"
    if notice.kind is AlertType.RETRACTION:
        return f"{scale}: it was retracted"
    if event.verdict:
        return f"{scale}, by a person: {event.verdict}"
    if event.measured and event.measured.probability is not None:
        return f"{scale}, by a classifier: {event.measured.probability:.3g}"
    return ""
