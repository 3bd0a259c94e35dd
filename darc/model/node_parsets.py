"""Parsets of a cluster's nodes, derived from the telescope's parset."""

from __future__ import annotations

import bz2
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from pathlib import PurePosixPath
from typing import Any, TypeVar

from darc.config.instrument import Instrument
from darc.config.records import Struct
from darc.model.observation import ObservationError, ObservationProblem
from darc.model.observation_build import ParsetKeys, build_observation
from darc.model.parset import Parset, ParsetValue, parse_parset
from darc.model.parset_values import (
    BANDWIDTH,
    BOOLEAN,
    COUNT,
    DURATION,
    FREQUENCY,
    NAME,
    NUMBER,
    PORT,
    TASK_ID,
    TSAMP,
    to_integers,
    within,
)

T = TypeVar("T")
D = TypeVar("D")

MASTER_NAME = "darc_master.parset"

_ARTS = "ARTSSurveyControl."
_SURVEY = "arts.survey."
_MODE = re.compile(r"arts_sc([0-9]{1,3})_\w+")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[-T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?")
_PLACE = re.compile(r"\{([^{}]*)\}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_UTC = "a time (UTC) such as 2019-05-18 23:51:13"


class NodeParsets(Struct, frozen=True):
    """Texts of the nodes' parsets for an observation.

    :param beams: all compound beams observed
    :param master: text of the master node's parset
    :param workers: text of a worker's parset, by its compound beam
    """

    task_id: str
    datetimesource: str
    beams: tuple[int, ...]
    master: str
    workers: Mapping[int, str]


def worker_name(beam: int) -> str:
    """Return the file name of a worker's parset."""
    return f"darc_CB{beam:02d}.parset"


def make_node_parsets(telescope: Parset, instrument: Instrument, *, home: str) -> NodeParsets:
    """Return the parsets of the master and the workers.

    Values of band, sampling and beams that the telescope's parset lacks come from the instrument.
    If the parset gives the page size of the recorded data, the observation starts with the page
    that contains `task.startTime`, and has as many whole pages as fit into `task.duration`.

    :param telescope: the telescope's parset
    :param instrument: defaults of band, sampling and beams
    :param home: value of the placeholder {home} in paths
    :raises ObservationError: keys are missing or values invalid; lists all problems
    """
    keys = _TelescopeKeys(telescope)
    common = _common(keys, instrument, home)
    of_workers = _worker_paths(keys, common, home)
    embedded = _embedded(keys)
    if keys.problems:
        raise ObservationError(*keys.problems)
    observed: tuple[int, ...] = common["beams"]
    # Other problems of the telescope's parset are reported here once, not by forty nodes.
    name = f"{telescope.name} ({MASTER_NAME})"
    build_observation(parse_parset(_lines(common), name), telescope, None, instrument)
    return NodeParsets(
        common["taskid"],
        common["datetimesource"],
        observed,
        _lines({**common, "parset": embedded}),
        {
            beam: _lines({**common, **of_workers, "beam": beam, "parset": embedded})
            for beam in observed
        },
    )


class _TelescopeKeys(ParsetKeys):
    """Values of the telescope's parset by key, converted from text."""

    def __init__(self, parset: Parset) -> None:
        super().__init__([parset], [])
        self.parset = parset

    def get(self, key: str, convert: Callable[[str], T], allowed: str, default: D) -> T | D:
        return super().get(key, lambda value: convert(_text(value)), allowed, default)


def _common(keys: _TelescopeKeys, instrument: Instrument, home: str) -> dict[str, Any]:
    """Return the keys common to master and workers; only valid if there are no problems."""
    start = keys.need("task.startTime", _time, _UTC) or _EPOCH
    source = keys.need("task.source.name", *NAME) or ""
    moment = start.strftime("%Y-%m-%d-%H:%M:%S")
    found: dict[str, Any] = {
        "taskid": keys.need("task.taskID", *TASK_ID),
        "datetimesource": f"{moment}.{source}",
        "date": moment[:10].replace("-", ""),
        "utc_start": moment,
        "time_unit": keys.get(_ARTS + "time_unit", *COUNT, instrument.time_unit),
        "beams": _beams(keys, instrument.n_compound_beams - 1),
        "min_freq": keys.get(_ARTS + "min_freq", *FREQUENCY, instrument.min_freq),
        "bw": keys.get(_ARTS + "bw", *BANDWIDTH, instrument.bandwidth),
        "nchan": keys.get(_ARTS + "nchan", *COUNT, instrument.nchan),
        **_science_case(keys, instrument),
        "snrmin": keys.get(_SURVEY + "snr_threshold", *NUMBER, None),
        "proctrigger": keys.get(_SURVEY + "process_triggers", *BOOLEAN, None),
        "enable_iquv": keys.get(_SURVEY + "enable_iquv", *BOOLEAN, None),
    }
    for kind in ("network_port_event_i", "network_port_event_iquv"):
        found[kind] = keys.get(_ARTS + kind, *PORT, None)
    found |= _times(keys, start, found)
    places = {"home": home, **{key: found[key] for key in ("date", "datetimesource")}}
    for key in ("amber_dir", "output_dir"):
        found[key] = keys.need(_ARTS + key, *_path(places))
    return found


def _worker_paths(keys: _TelescopeKeys, common: Mapping[str, Any], home: str) -> dict[str, Any]:
    """Return the paths of AMBER's configuration on a worker, relative to `master_dir`."""
    places = {"home": home, **{key: common[key] for key in ("date", "datetimesource")}}
    master_dir = keys.get(_ARTS + "master_dir", *_path(places), None)
    below = _path(places, master_dir or "")
    return {
        "master_dir": master_dir,
        "amber_config": keys.need(_ARTS + "amber_config", *below),
        "amber_conf_dir": keys.get(_ARTS + "amber_conf_dir", *below, None),
    }


def _science_case(keys: _TelescopeKeys, instrument: Instrument) -> dict[str, Any]:
    """Return sampling and beams; with science cases, those of the selected case."""
    has_cases = any(key.startswith(_ARTS + "sc") for key in keys.parset.values)
    case = None
    if has_cases:
        case = keys.need("task.observingMode", _case, "arts_sc<number>_<mode>")
    if case is None:
        return {
            "tsamp": instrument.tsamp,
            "ntabs": instrument.n_tabs,
            "nsynbeams": instrument.n_sbs,
        }
    prefix = f"{_ARTS}sc{case}."
    mode = keys.need(_SURVEY + "science_mode", _science_mode, "TAB or IAB") or "tab"
    return {
        "science_case": case,
        "tsamp": keys.need(prefix + "tsamp", *TSAMP),
        "page_size": keys.need(prefix + "page_size", *COUNT),
        "ntabs": keys.need(f"{prefix}{mode}.ntabs", *COUNT),
        "nsynbeams": keys.need(f"{prefix}{mode}.nsynbeams", *COUNT),
    }


def _times(keys: _TelescopeKeys, start: datetime, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return first packet and duration, in whole pages if a page size is known."""
    key = "task.duration"
    if keys.has(key) or not keys.has("task.stopTime"):
        seconds = keys.need(key, *DURATION)
        length = None if seconds is None else Fraction(repr(seconds))
    else:
        key = "task.stopTime"
        stop = keys.need(key, _time, _UTC)
        length = None if stop is None else _exact(stop - start)
    begin = _exact(start - _EPOCH)
    if length is None:
        return {}
    page = Fraction(0)
    if found.get("page_size") and found["tsamp"]:
        page = found["page_size"] * Fraction(repr(found["tsamp"]))
        begin, length = begin // page * page, length // page * page
    if length <= 0:
        allowed = f"at least a page of {float(page)} s" if page else "after task.startTime"
        keys.problems.append(keys.parset.problem(key, allowed))
    return {"startpacket": floor(begin * found["time_unit"]), "duration": float(length)}


def _beams(keys: _TelescopeKeys, last: int) -> tuple[int, ...]:
    allowed = f"a list of compound beams, each 0 to {last}"

    def convert(text: str) -> tuple[int, ...]:
        return tuple(within(beam, 0, last) for beam in to_integers(text))

    key = _SURVEY + "beams"
    if not keys.has(key):
        key = "task.beamSet.0.compoundBeams"
    listed = keys.get(key, convert, allowed, tuple(range(last + 1)))
    missing = keys.get(_ARTS + "missing_beams", convert, allowed, ())
    observed = tuple(sorted({*listed} - {*missing}))
    if not observed:
        what = "no compound beam remains"
        keys.problems.append(
            ObservationProblem(
                keys.parset.name, keys.parset.lines.get(key, 0), key, None, allowed, what
            )
        )
    return observed


def _path(places: Mapping[str, str], below: str = "") -> tuple[Callable[[str], str], str]:
    """Return a converter of values to paths, and a description of allowed values.

    :param below: directory of relative paths; if empty, only absolute paths are allowed
    """

    def convert(text: str) -> str:
        unknown = {name for name in _PLACE.findall(text) if name not in places}
        path = str(PurePosixPath(below) / _PLACE.sub(lambda match: places.get(match[1], ""), text))
        # A # ends a line of a parset.
        if unknown or not path.startswith("/") or not path.isprintable() or "#" in path:
            raise ValueError(text)
        return path

    allowed = "an absolute path" if not below else f"a path, if relative below {below}"
    names = ", ".join(f"{{{name}}}" for name in places)
    return convert, f"{allowed}, without #; placeholders: {names}"


def _embedded(keys: _TelescopeKeys) -> str:
    """Return the telescope's parset as it is embedded in the nodes' parsets."""
    parset = keys.parset
    text = "".join(f"{key} = {_text(value)}\n" for key, value in sorted(parset.values.items()))
    read = parse_parset(text, parset.name).values
    for key, value in parset.values.items():
        if read.get(key) != value:
            keys.problems.append(parset.problem(key, "a key and a value without line breaks"))
    return bz2.compress(text.encode()).hex()


def _lines(values: Mapping[str, Any]) -> str:
    """Return the text of a parset; unknown values are left out."""
    known = {key: value for key, value in values.items() if value is not None}
    return "".join(f"{key} = {_text(value)}\n" for key, value in known.items())


def _text(value: ParsetValue) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def _time(text: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    moment = f"{match[1]} {match[2]}{match[3] or '.0'}"
    return datetime.strptime(moment, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


def _exact(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), 10**6)


def _case(text: str) -> int:
    match = _MODE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1])


def _science_mode(text: str) -> str:
    if text not in ("TAB", "IAB"):
        raise ValueError(text)
    return text.lower()
