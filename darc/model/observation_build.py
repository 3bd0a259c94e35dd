"""Construction of an observation from its parsets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from darc.config import ranges
from darc.config.instrument import Instrument
from darc.model.observation import Observation, ObservationError, ObservationProblem, Pointing
from darc.model.parset import Parset, embedded_parset
from darc.model.parset_values import (
    BANDWIDTH,
    COUNT,
    DURATION,
    FREQUENCY,
    INTEGER,
    NAME,
    NUMBER,
    PORT,
    TASK_ID,
    TSAMP,
    UTC_LENGTH,
    allowed,
    to_angles,
    to_date,
    to_datetimesource,
    to_integer,
    to_integers,
    to_name,
    to_names,
    to_number,
    to_path,
    to_utc,
    within,
)

T = TypeVar("T")
D = TypeVar("D")

_PHASE_CENTRE = re.compile(r"task\.beamSet\.0\.compoundBeam\.([0-9]{1,6})\.phaseCenter")
_OPENCL_DEVICE = re.compile(r"^[ \t]*opencl_device[ \t]*=([^#\n]*)", re.MULTILINE)
#: A time as the names of observations have it.
_SURVEY_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})-([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)"
)
PATH = "a path, without NUL and not above 4095 bytes"
_TIME = "a time such as 2019-05-18-23:51:13"
_UTC = f"{_TIME}, from 1990 to 2200"


def build_observation(
    parset: Parset,
    master_parset: Parset | None,
    amber_config_text: str | None,
    instrument: Instrument,
) -> Observation:
    """Return the observation that parsets describe.

    A value missing from the node's parset is taken from the telescope's parset in its key
    `parset`, then from the master's parset and the telescope's in that, then from the instrument.

    :param parset: the node's parset: a worker's if it has the key `beam`, else a master's
    :param master_parset: the master's parset, if there is one
    :param amber_config_text: content of the file `amber_config`; required on a worker
    :param instrument: defaults
    :raises ObservationError: keys are missing or values invalid; lists all problems
    """
    problems: list[ObservationProblem] = []
    keys = ParsetKeys(_chain(parset, master_parset, problems), problems)
    is_worker = "beam" in parset.values
    last_beam = instrument.n_compound_beams - 1
    beams = f"a compound beam of this instrument, 0 to {last_beam}"

    def beam_number(value: Any) -> int:
        return within(to_integer(value), 0, last_beam)

    # Only from the node's own parset: the master's covers all beams.
    beam = ParsetKeys([parset], problems).get("beam", beam_number, beams, None)
    time_unit = keys.get("time_unit", *COUNT, instrument.time_unit)
    directory = _datetimesource(keys)
    dishes = keys.get("task.telescopes", to_names, "a list of names", None) or ()
    worker_path = keys.needed_path if is_worker else keys.path
    # Other search engines have neither AMBER's configuration nor its directory.
    is_amber = instrument.candidate_source == "amber"
    amber_path = worker_path if is_amber else keys.path
    amber_config = amber_path("amber_config") or ""
    start = _start_of(keys, time_unit)
    found: dict[str, Any] = {
        "task_id": keys.need("taskid", *TASK_ID, "task.taskID"),
        "datetimesource": directory,
        "date": keys.get("date", to_date, "YYYYMMDD", directory[:10].replace("-", "")),
        "source": keys.get("task.source.name", *NAME, directory[UTC_LENGTH + 1 :]),
        "start": start,
        "utc_start": keys.get("utc_start", to_utc, _UTC, directory[:UTC_LENGTH]),
        "duration": keys.need("duration", *DURATION),
        "proctrigger": keys.get("proctrigger", bool, "True or False", True),
        "enable_iquv": keys.get("enable_iquv", bool, "True or False", True),
        "beam": beam,
        "beams": _beams(keys, beam, last_beam),
        "source_beam": keys.get("task.source.beam", beam_number, beams, None),
        "pointings": _pointings(keys, last_beam),
        "reference_frame": keys.get(
            "task.directionReferenceFrame", _frame, "J2000 or HADEC", "J2000"
        ),
        "dishes": dishes,
        "n_dishes": len(dishes) or instrument.n_dishes,
        "min_freq": keys.get("min_freq", *FREQUENCY, instrument.min_freq),
        "bandwidth": keys.get("bw", *BANDWIDTH, instrument.bandwidth),
        "nchan": keys.get("nchan", *COUNT, instrument.nchan),
        "tsamp": keys.get("tsamp", *TSAMP, instrument.tsamp),
        "ntabs": keys.get("ntabs", *COUNT, instrument.n_tabs),
        "nsynbeams": keys.get("nsynbeams", *COUNT, instrument.n_sbs),
        "science_case": keys.get("science_case", *INTEGER, None),
        "snrmin": keys.get("snrmin", *NUMBER, None),
        "amber_dir": amber_path("amber_dir") or "",
        "amber_config": amber_config,
        "amber_instances": _instances(keys, amber_config, amber_config_text, is_worker),
        "amber_conf_dir": keys.path("amber_conf_dir") or "",
        "output_dir": worker_path("output_dir") or "",
        "master_dir": keys.path("master_dir") or "",
        "event_port_i": keys.get("network_port_event_i", *PORT, None),
        "event_port_iquv": keys.get("network_port_event_iquv", *PORT, None),
        "config_file": parset.name,
        "candidate_dir": keys.path("candidate_dir") or "",
    }
    if is_worker and not is_amber:
        _check_candidate_dir(keys, found, instrument)
    if problems:
        raise ObservationError(*problems)
    observation = Observation(**found)
    if observation.f_low <= 0:
        highest = (
            f"a number below 2 x nchan x min_freq = {2 * observation.nchan * observation.min_freq}"
        )
        raise ObservationError(keys.problem("bw", highest, str(observation.bandwidth)))
    return observation


class ParsetKeys:
    """Values by key from the first parset that has the key; collects problems."""

    def __init__(self, chain: Sequence[Parset], problems: list[ObservationProblem]) -> None:
        self.chain = chain
        self.problems = problems

    def has(self, key: str) -> bool:
        return self._holder(key) is not None

    def get(self, key: str, convert: Callable[[Any], T], allowed: str, default: D) -> T | D:
        """Return the converted value of a key; the default if it is missing or invalid."""
        parset = self._holder(key)
        if parset is None:
            return default
        try:
            return convert(parset.values[key])
        except ValueError:
            self.problems.append(parset.problem(key, allowed))
            return default

    def need(
        self, key: str, convert: Callable[[Any], T], allowed: str, instead: str = ""
    ) -> T | None:
        """Return the value of a required key or its alternative; None if there is a problem."""
        for name in (key, instead):
            if self._holder(name) is not None:
                return self.get(name, convert, allowed, None)
        name = f"{key} (or {instead})" if instead else key
        self.problems.append(ObservationProblem(self.chain[0].name, 0, name, None, allowed))
        return None

    def problem(self, key: str, allowed: str, default: str) -> ObservationProblem:
        """Return the problem of an invalid value of a key, or of its default."""
        parset = self._holder(key)
        if parset is None:
            return ObservationProblem(self.chain[0].name, 0, key, default, allowed)
        return parset.problem(key, allowed)

    def path(self, key: str) -> str | None:
        """Return the value of an optional key."""
        return self.get(key, to_path, PATH, None)

    def needed_path(self, key: str) -> str | None:
        return self.need(key, to_path, PATH)

    def _holder(self, key: str) -> Parset | None:
        # In a parset an empty value, `dada_dir=`, means: not set.
        return next((parset for parset in self.chain if parset.values.get(key, "") != ""), None)


def _chain(
    parset: Parset, master: Parset | None, problems: list[ObservationProblem]
) -> list[Parset]:
    chain = []
    for entry in (parset, master):
        if entry is None:
            continue
        chain.append(entry)
        try:
            embedded = embedded_parset(entry)
        except ObservationError as error:
            problems += error.problems
        else:
            chain += [embedded] if embedded else []
    return chain


def _beams(keys: ParsetKeys, beam: int | None, last: int) -> tuple[int, ...]:
    everything = (beam,) if beam is not None else tuple(range(last + 1))
    allowed = f"a list of compound beams, each 0 to {last}"
    of_telescope = keys.get("task.beamSet.0.compoundBeams", _integers(last), allowed, everything)
    return keys.get("beams", _integers(last), allowed, of_telescope)


def _pointings(keys: ParsetKeys, last: int) -> tuple[Pointing, ...]:
    """Return the pointings in the first parset that has any."""
    for parset in keys.chain:
        found = []
        for key, value in parset.values.items():
            match = _PHASE_CENTRE.fullmatch(key)
            if match is None:
                continue
            try:
                longitude, latitude = to_angles(str(value))
                within(abs(longitude), 0, 360)
                within(abs(latitude), 0, 90)
                found.append(Pointing(within(int(match[1]), 0, last), longitude, latitude))
            except ValueError:
                allowed = f"[<longitude>deg, <latitude>deg], for beams 0 to {last}"
                keys.problems.append(parset.problem(key, allowed))
                return ()
        if found:
            return tuple(sorted(found, key=lambda pointing: pointing.beam))
    return ()


def _instances(keys: ParsetKeys, config: str, text: str | None, is_worker: bool) -> int:
    """Return the number of AMBER instances: the length of the list `opencl_device`."""
    if text is None:
        if config and is_worker:
            allowed = "a file that can be read"
            keys.problems += [
                parset.problem("amber_config", allowed)
                for parset in keys.chain
                if parset.values.get("amber_config") == config
            ][:1]
        return 0
    allowed = "a list with an entry per AMBER instance"
    match = _OPENCL_DEVICE.search(text)
    if match is None:
        keys.problems.append(ObservationProblem(config, 0, "opencl_device", None, allowed))
        return 0
    try:
        return within(len(to_integers(match[1].strip())), 1, 1000)
    except ValueError:
        line = text.count("\n", 0, match.start()) + 1
        keys.problems.append(
            ObservationProblem(config, line, "opencl_device", match[1].strip(), allowed)
        )
        return 0


def _start_of(keys: ParsetKeys, time_unit: int) -> float | None:
    """Return the start (Unix s): `startpacket`, or `start` as a time or Unix s."""
    if keys.has("start") and not keys.has("startpacket"):
        return keys.get("start", _moment, f"{_UTC}, or Unix time", None)
    allowed_start = f"Unix time x {time_unit}, from 1990 to 2200"
    return keys.need("startpacket", lambda value: _start(value, time_unit), allowed_start)


def _moment(value: Any) -> float:
    """Return the Unix time of a UTC such as 2019-05-18T23:51:13.5, or of a number (s)."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return allowed(round(float(value), 6), ranges.START)
    text = str(value).strip().removesuffix("Z").removesuffix("+00:00")
    if match := _SURVEY_TIME.fullmatch(text):
        text = f"{match[1]}T{match[2]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return allowed(round(to_number(text), 6), ranges.START)
    if moment.tzinfo is not None:
        raise ValueError(value)
    return allowed(round(moment.replace(tzinfo=UTC).timestamp(), 6), ranges.START)


def _datetimesource(keys: ParsetKeys) -> str:
    """Return `datetimesource`; without one it is made of the start and the source."""
    if not keys.has("datetimesource") and keys.has("start") and keys.has("task.source.name"):
        source = keys.get("task.source.name", *NAME, None)
        start = keys.get("start", _moment, f"{_UTC}, or Unix time", None)
        if start is None or source is None:
            return ""
        return _dated(start, source)
    names = f"{_TIME}.<source>, without /, from 1990 to 2200"
    return keys.need("datetimesource", to_datetimesource, names) or ""


def made_datetimesource(values: Mapping[str, Any]) -> str | None:
    """Return the `datetimesource` of an observation that has none; None: it cannot be made.

    :param values: of its parset
    """
    try:
        return _dated(_moment(values["start"]), to_name(values["task.source.name"]))
    except (KeyError, ValueError):
        return None


def _dated(start: float, source: str) -> str:
    return f"{datetime.fromtimestamp(int(start), UTC):%Y-%m-%d-%H:%M:%S}.{source}"


def _check_candidate_dir(keys: ParsetKeys, found: dict[str, Any], instrument: Instrument) -> None:
    """Report a missing directory of candidate files."""
    listens = instrument.candidate_source == "dsa110" and instrument.source.ports
    if listens or instrument.source.directory or found["candidate_dir"] or found["amber_dir"]:
        return
    allowed_path = f"{PATH}; or instrument.source.directory in the configuration"
    name = keys.chain[0].name
    keys.problems.append(ObservationProblem(name, 0, "candidate_dir", None, allowed_path))


def _start(value: Any, time_unit: int) -> float:
    return allowed(round(to_integer(value) / time_unit, 6), ranges.START)


def _integers(last: int) -> Callable[[Any], tuple[int, ...]]:
    def convert(value: Any) -> tuple[int, ...]:
        numbers = value if isinstance(value, tuple) else to_integers(str(value))
        if not numbers:
            raise ValueError(value)
        return tuple(within(number, 0, last) for number in numbers)

    return convert


def _frame(value: Any) -> str:
    if value not in ("J2000", "HADEC"):
        raise ValueError(value)
    return str(value)
