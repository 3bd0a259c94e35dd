"""Decisions: every line of the table of thresholds, and what a trigger carries."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.config.config import Config
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection
from darc.model.observation import Observation
from darc.model.sources import Source
from darc.model.trigger import Trigger
from darc.node.read_observation import read_observation
from darc.science.freeze_time import freeze_time
from darc.services.amber_clustering.decisions import BeamField, Decider, Decision
from simulator.write_parsets import write_observation

START = 1_700_000_000.25
FIELD = BeamField(ra=83.6, dec=22.0, galactic_dm=100.0, galactic_model="made up")
PULSAR = Source("B0000+00", "pulsar", 56.0, None)
AMBER_COLUMNS = ("beam_id", "batch_id", "sample_id", "integration_step", "DM", "SNR")
FRB = Source("FRB 000000", "frb", 350.0, None)


@pytest.fixture(scope="module")
def in_tabs(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Observation:
    directory: Path = tmp_path_factory.mktemp("observation")
    made = write_observation(
        directory, task_id="dec001", source="BLANK", start=START, duration=60.0
    )
    return read_observation(made.parset, config.instrument)


@pytest.fixture(scope="module")
def in_sbs(in_tabs: Observation) -> Observation:
    return replace(in_tabs, nsynbeams=71)


@pytest.fixture
def decider(config: Config, in_tabs: Observation):
    def make(
        source: Source | None = None,
        field: BeamField | None = FIELD,
        observation: Observation = in_tabs,
        override: dict[str, object] | None = None,
        **changes: object,
    ) -> Decider:
        rules = config.amber_clustering
        if override is not None:
            block = replace(rules.thresh_lofar_override, **override)
            rules = replace(
                rules, lofar_trigger_sources=(FRB.name, PULSAR.name), thresh_lofar_override=block
            )
        rules = replace(rules, **changes)
        return Decider(rules, observation, config.instrument, field, source)

    return make


def candidates(*rows: dict[str, float]) -> Records:
    found = np.zeros(len(rows), CANDIDATE)
    for record, row in zip(found, rows, strict=True):
        usual = {"beam": 3, "downsampling": 10, "time": 12.5, "dm": 300.0, "snr": 30.0}
        for name, value in (usual | row).items():
            record[name] = value
    return found


def kinds(decision: Decision) -> tuple[bool, bool]:
    return bool(decision.iquv), decision.lofar is not None


# -- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "iquv", "lofar"),
    [
        ({"dm": 120.0}, True, False),  # 1.2 times the Milky Way's maximum
        ({"dm": 119.9}, False, False),
        ({"dm": 200.0}, True, True),  # 2.0 times
        ({"dm": 199.9}, True, False),
        ({"snr": 10.0}, True, False),
        ({"snr": 9.99}, False, False),
        ({"snr": 20.0}, True, True),
        ({"snr": 19.9}, True, False),
        ({"downsampling": 100}, True, False),
        ({"downsampling": 101}, False, False),
        ({"downsampling": 80}, True, True),
        ({"downsampling": 81}, True, False),
    ],
)
def test_thresholds_of_a_new_source(decider, row, iquv: bool, lofar: bool) -> None:
    assert kinds(decider().decide(candidates(row), 12)) == (iquv, lofar)


@pytest.mark.parametrize(
    ("row", "iquv", "lofar"),
    [
        ({"dm": 340.0}, True, True),  # source DM - 10
        ({"dm": 339.9}, False, False),
        ({"dm": 360.0}, True, True),
        ({"dm": 360.1}, False, False),
        ({"snr": 10.0}, True, False),
        ({"snr": 9.9}, False, False),
        ({"snr": 20.0}, True, True),
        ({"downsampling": 100}, True, False),  # as a new source
        ({"downsampling": 101}, False, False),
        ({"downsampling": 80}, True, True),
        ({"downsampling": 81}, True, False),
    ],
)
def test_thresholds_of_a_known_frb(decider, row, iquv: bool, lofar: bool) -> None:
    """Seen through a Milky Way so thick that nothing counts as new."""
    thick = replace(FIELD, galactic_dm=5000.0)
    decision = decider(FRB, thick).decide(candidates({"dm": 350.0} | row), 12)
    assert kinds(decision) == (iquv, lofar)


def test_a_known_source_needs_at_least_the_global_minimum(decider) -> None:
    near = Source("B0950+08", "pulsar", 3.0, None)
    decide = decider(near, replace(FIELD, galactic_dm=5000.0)).decide
    assert kinds(decide(candidates({"dm": 4.9}), 0)) == (False, False)
    assert kinds(decide(candidates({"dm": 5.0}), 0)) == (True, False)


def test_a_new_source_needs_at_least_the_global_minimum(decider) -> None:
    decide = decider(field=replace(FIELD, galactic_dm=1.0)).decide
    assert kinds(decide(candidates({"dm": 4.9}), 0)) == (False, False)
    assert kinds(decide(candidates({"dm": 5.0}), 0)) == (True, True)


@pytest.mark.parametrize(("count", "lofar"), [(100, True), (101, False)])
def test_too_many_raw_candidates_are_interference(decider, count: int, lofar: bool) -> None:
    many = candidates(*({"snr": 25.0 + n / 1000} for n in range(count)))
    assert kinds(decider().decide(many, 0)) == (True, lofar)
    known = [{"dm": 350.0, "snr": 25.0 + n / 1000} for n in range(count)]
    thick = replace(FIELD, galactic_dm=5000.0)
    assert kinds(decider(FRB, thick).decide(candidates(*known), 0)) == (True, True)


# -- pulsars, overrides, no pointing -------------------------------------------------------------


@pytest.mark.parametrize("override", [None, {"cb": None, "trigger_on_new_sources": True}])
def test_pulsars_never_trigger_lofar(decider, override) -> None:
    """Not as a new source either, where the Milky Way's model says too little."""
    thin = replace(FIELD, galactic_dm=10.0)
    decision = decider(PULSAR, thin, override=override).decide(candidates({"dm": 57.0}), 0)
    assert [trigger.name for trigger in decision.iquv] == ["pulsar"]
    assert decision.lofar is None


def test_a_new_source_beside_a_pulsar_triggers(decider) -> None:
    decision = decider(PULSAR).decide(candidates({"dm": 57.0, "snr": 90.0}, {}), 0)
    assert [trigger.name for trigger in decision.iquv] == ["pulsar", "candidate"]
    assert decision.lofar is not None
    assert decision.lofar.name == "candidate"


@pytest.mark.parametrize(
    ("cb", "there"),
    [(None, True), ((0,), True), ((7, 0), True), ((1,), False), ((1, 2), False)],
)
def test_an_override_holds_in_its_beams_only(decider, cb, there: bool) -> None:
    weak = candidates({"dm": 350.0, "snr": 10.0, "downsampling": 80})  # this one is of beam 0
    assert kinds(decider(FRB, override={"cb": cb}).decide(weak, 0)) == (True, there)


@pytest.mark.parametrize("row", [{"snr": 9.99}, {"snr": 12.0, "downsampling": 81}])
def test_an_override_has_its_own_limits(decider, row) -> None:
    decision = decider(FRB, override={"cb": None}).decide(candidates({"dm": 350.0} | row), 0)
    assert decision.lofar is None


@pytest.mark.parametrize("allowed", [True, False])
def test_an_override_says_whether_new_sources_trigger_meanwhile(decider, allowed: bool) -> None:
    rules = decider(FRB, override={"cb": None, "trigger_on_new_sources": allowed})
    assert kinds(rules.decide(candidates({"dm": 900.0}), 0)) == (True, allowed)


def test_an_overridden_source_in_another_beam_is_no_new_source(decider) -> None:
    rules = decider(FRB, override={"cb": (5,), "trigger_on_new_sources": True})
    assert rules.decide(candidates({"dm": 350.0}), 0).lofar is None
    assert rules.decide(candidates({"dm": 900.0}), 0).lofar is not None


def test_an_override_does_not_touch_other_sources(decider) -> None:
    rules = decider(None, override={"cb": (5,), "trigger_on_new_sources": False})
    assert kinds(rules.decide(candidates({}), 0)) == (True, True)


def test_without_pointing_new_sources_get_iquv_from_the_global_minimum_alone(decider) -> None:
    decide = decider(field=None).decide
    assert kinds(decide(candidates({"dm": 5.0, "snr": 99.0}), 0)) == (True, False)
    assert kinds(decide(candidates({"dm": 4.9, "snr": 99.0}), 0)) == (False, False)
    trigger = decide(candidates({}), 0).iquv[0]
    assert (trigger.ra, trigger.dec, trigger.ymw16, trigger.galactic_model) == (None,) * 4


def test_without_pointing_a_known_frb_still_triggers(decider) -> None:
    assert kinds(decider(FRB, None).decide(candidates({"dm": 350.0}), 0)) == (True, True)


def test_no_dump_where_the_observation_forbids_it(decider, in_tabs) -> None:
    decision = decider(observation=replace(in_tabs, enable_iquv=False)).decide(candidates({}), 0)
    assert kinds(decision) == (False, True)


# -- which one -----------------------------------------------------------------------------------


def test_the_strongest_is_passed_on_and_all_are_dumped(decider) -> None:
    rows = [{"dm": 250.0, "snr": 25.0}, {"dm": 900.0, "snr": 60.0}, {"dm": 2000.0, "snr": 30.0}]
    decision = decider().decide(candidates(*rows), 4)
    assert sorted(trigger.dm for trigger in decision.iquv) == [250.0, 900.0, 2000.0]
    assert decision.lofar is not None
    assert decision.lofar.dm == 900.0
    assert {trigger.window for trigger in decision.iquv} == {4}
    assert len({trigger.identity for trigger in decision.iquv}) == 3


def test_something_stronger_in_the_same_dm_bin_does_not_hide_the_known_source(decider) -> None:
    rows = candidates({"dm": 350.0, "snr": 25.0}, {"dm": 400.0, "snr": 99.0})
    decision = decider(FRB).decide(rows, 0)
    assert decision.iquv[0].src_name == FRB.name
    assert decision.iquv[0].snr == 25.0
    assert decision.lofar is not None
    assert decision.lofar.snr == 99.0


# -- pulses and lines ----------------------------------------------------------------------------


def widths(decision: Decision) -> list[int]:
    return [trigger.downsampling for trigger in decision.iquv]


@pytest.mark.parametrize("source", [None, FRB])
@pytest.mark.parametrize("moment", [12.2, 12.53])
def test_a_narrow_pulse_beside_a_wide_line_triggers(decider, source, moment: float) -> None:
    """In the same second and DM range, before the line and inside it."""
    pulse = {"dm": 350.0, "snr": 22.0, "time": moment}
    line = [{"dm": 345.0 + n / 20, "snr": 45.0, "downsampling": 1000} for n in range(200)]
    decision = decider(source).decide(candidates(*line, pulse), 12)
    assert [(one.snr, one.downsampling, one.count) for one in decision.iquv] == [(22.0, 10, 1)]
    assert decision.lofar is not None
    assert decision.lofar.identity == decision.iquv[0].identity


@pytest.mark.parametrize("source", [None, FRB])
def test_a_wide_line_triggers_nothing_nor_do_its_pieces(decider, source) -> None:
    """A boxcar inside a flat line has its S/N by the root of the width, and some noise."""
    line = {"dm": 350.0, "snr": 120.0, "downsampling": 1000, "time": 12.5}
    pieces = [
        {"dm": 352.0, "snr": 120 * math.sqrt(width / 1000) + 4, "downsampling": width, "time": time}
        for width, time in ((50, 12.51), (50, 12.55), (100, 12.54), (10, 12.5))
    ]
    assert widths(decider(source).decide(candidates(line, *pieces), 12)) == []
    pulse = {"dm": 352.0, "snr": 20.0, "time": 12.7}
    assert widths(decider(source).decide(candidates(line, *pieces, pulse), 12)) == [10]


def test_what_is_too_wide_for_lofar_alone_hides_no_narrower_pulse_from_it(decider) -> None:
    wide, pulse = {"snr": 60.0, "downsampling": 90}, {"snr": 25.0, "time": 12.9}
    decision = decider().decide(candidates(wide, pulse), 12)
    assert [(one.snr, one.downsampling) for one in decision.iquv] == [(60.0, 90)]
    assert decision.lofar is not None
    assert decision.lofar.snr == 25.0
    piece = {"snr": 40.0, "downsampling": 50, "time": 12.502}
    assert decider().decide(candidates(wide, piece), 12).lofar is None


def test_an_sb_alone_hides_no_pulse_of_another_moment(decider, in_sbs) -> None:
    loud = {"beam": 5, "snr": 99.0, "time": 12.1}
    pulse = [{"beam": beam, "snr": 30.0, "time": 12.6} for beam in range(0, 71, 12)]
    decision = decider(observation=in_sbs).decide(candidates(loud, *pulse), 12)
    assert [one.snr for one in decision.iquv] == [30.0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([10.0, 22.0, 60.0, 300.0]),
            st.sampled_from([1, 10, 90, 250, 1000]),
            st.sampled_from([120.0, 348.0, 352.0, 700.0]),
            st.sampled_from([12.0, 12.5, 12.504, 12.55, 12.9]),
        ),
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=100)
def test_the_same_identities_in_whatever_order_lines_come(
    config: Config, in_tabs: Observation, rows, chance
) -> None:
    rules = Decider(config.amber_clustering, in_tabs, config.instrument, FIELD, FRB)
    names = ("snr", "downsampling", "dm", "time")
    lines = [dict(zip(names, row, strict=True)) for row in rows]
    for number, line in enumerate(lines):
        line["snr"] += number / 1000  # of equal ones the first is taken
    decided = []
    for _ in range(2):
        decision = rules.decide(candidates(*lines), 12)
        lofar = decision.lofar
        triggers = [(one.identity, one.name, one.snr, one.downsampling) for one in decision.iquv]
        decided.append((triggers, lofar and (lofar.identity, lofar.snr)))
        assert all(trigger[3] <= 100 for trigger in triggers)
        chance.shuffle(lines)
    assert decided[0] == decided[1]


def test_every_window_with_a_pulse_of_the_crab_triggers_and_no_line(
    config: Config, in_tabs: Observation, shared_data: Path
) -> None:
    """The real sample, read and clustered here in plain numpy."""
    table = []
    for path in sorted((shared_data / "amber").glob("CB00_*.trigger")):
        header, *lines = path.read_text().splitlines()
        columns = [header.lstrip("# ").split().index(name) for name in AMBER_COLUMNS]
        table += [[float(line.split()[column]) for column in columns] for line in lines]
    beam, batch, sample, width, dm, snr = np.array(table).T
    time = batch * 1.024 + sample * width * TSAMP
    found = np.zeros(len(table), CANDIDATE)
    columns = {"beam": beam, "downsampling": width, "time": time, "dm": dm, "snr": snr}
    for name, values in columns.items():
        found[name] = values
    crab = Source("B0531+21", "pulsar", 56.77, None)
    rules = Decider(
        config.amber_clustering, in_tabs, config.instrument, replace(FIELD, galactic_dm=190.0), crab
    )
    pulses = (np.abs(dm - 56.77) <= 10) & (width <= 100) & (snr >= 10)
    windows = np.floor(time)
    assert len(set(windows[pulses])) == 29  # two of the 30 pulses are in one
    assert len(set(windows[(np.abs(dm - 56.77) <= 10) & ~pulses])) > 20
    for window in sorted(set(windows)):
        decision = rules.decide(found[windows == window], int(window))
        here = pulses & (windows == window)
        expected = [snr[here].max()] if here.any() else []
        assert [trigger.snr for trigger in decision.iquv] == expected
        assert all(one.downsampling <= 100 for one in decision.iquv)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([4.0, 56.0, 130.0, 349.0, 351.0, 900.0]),
            st.sampled_from([8.0, 10.0, 19.0, 20.0, 50.0]),
            st.sampled_from([1, 80, 81, 100, 101]),
            st.integers(0, 90),
        ),
        max_size=30,
    ),
    st.sampled_from([None, PULSAR, FRB]),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_the_books_balance_and_no_identity_is_given_twice(
    config: Config, in_tabs: Observation, rows, source, sbs: bool
) -> None:
    observation = replace(in_tabs, nsynbeams=71 if sbs else 1)
    rules = Decider(config.amber_clustering, observation, config.instrument, FIELD, source)
    names = ("dm", "snr", "downsampling", "beam")
    found = candidates(*(dict(zip(names, row, strict=True)) for row in rows))
    decision = rules.decide(found, 3)
    assert decision.clustered + sum(decision.rejected.values()) == len(rows)
    weak = sum(snr < 10 for _, snr, _, _ in rows)
    foreign = sum(snr >= 10 and sbs and beam >= 71 for _, snr, _, beam in rows)
    assert decision.rejected.get(Rejection.WEAK, 0) == weak
    assert decision.rejected.get(Rejection.FOREIGN, 0) == foreign
    identities = [trigger.identity for trigger in decision.iquv]
    assert len(identities) == len(set(identities))


# -- beams ---------------------------------------------------------------------------------------


def sb_rows(step: int) -> Records:
    """The same burst in every ``step``-th SB."""
    return candidates(*({"beam": beam, "snr": 40.0 - beam / 10} for beam in range(0, 71, step)))


@pytest.mark.parametrize(
    ("step", "kept"), [(12, True), (7, False), (5, False), (4, False), (1, False)]
)
def test_in_sbs_the_filter_wants_the_period_of_the_sky(decider, in_sbs, step, kept) -> None:
    """The period has to be from 11 to 14 SBs."""
    assert bool(decider(observation=in_sbs).decide(sb_rows(step), 0).iquv) is kept


def test_in_tabs_there_is_no_sb_filter(decider) -> None:
    assert decider().decide(candidates({"beam": 0}), 0).iquv


def test_the_sb_filter_can_be_switched_off(decider, in_sbs) -> None:
    one = candidates({"beam": 0})
    assert not decider(observation=in_sbs).decide(one, 0).iquv
    assert decider(observation=in_sbs, sb_filter=False).decide(one, 0).iquv


def test_two_sbs_have_no_period_and_stop_nothing(decider, in_tabs) -> None:
    assert (
        decider(observation=replace(in_tabs, nsynbeams=2)).decide(candidates({"beam": 1}), 0).iquv
    )


@pytest.mark.parametrize("beam", [71, 99_999])
def test_a_beam_that_cannot_be_is_rejected_and_counted(decider, in_sbs, beam: int) -> None:
    rows = candidates(*({"beam": b} for b in (0, 12, 24, 36, 48, 60)), {"beam": beam, "snr": 99.0})
    decision = decider(observation=in_sbs).decide(rows, 0)
    assert decision.rejected == {Rejection.FOREIGN: 1}
    assert (decision.clustered, decision.iquv[0].snr) == (6, 30.0)


# -- what a trigger carries ----------------------------------------------------------------------

K = 4.148808e3  # MHz2 pc-1 cm3 s
F_LOW, F_CENTRE, F_HIGH = 1219.60327, 1369.60327, 1519.60327  # MHz
F_REFERENCE = 1219.70092773 + 1535 * 300 / 1536  # centre of the highest channel
TSAMP = 81.92e-6  # s


def the_trigger(decision: Decision) -> Trigger:
    assert decision.lofar is not None
    return decision.lofar


def test_fields_of_a_new_source(decider) -> None:
    row = {"dm": 500.0, "snr": 40.0, "downsampling": 50, "time": 17.25, "beam": 7}
    trigger = the_trigger(decider().decide(candidates(row, {**row, "snr": 30.0}), 17))
    width = 50 * TSAMP
    assert (trigger.name, trigger.src_name) == ("candidate", None)
    assert trigger.dm == trigger.dm_cluster == 500.0
    assert trigger.width == pytest.approx(4.096)  # ms
    assert (trigger.downsampling, trigger.snr, trigger.count) == (50, 40.0, 2)
    assert (trigger.cb, trigger.sb) == (0, 7)
    assert trigger.dm_err == pytest.approx(width / (K * (F_LOW**-2 - F_HIGH**-2)), rel=1e-6)
    assert trigger.dm_err / trigger.width == pytest.approx(1.0, abs=0.1)
    # 8 dishes of 25 m, efficiency 0.6, 85 K, two polarisations, 300 MHz
    gain = 8 * 0.6 * math.pi * 12.5**2 / (2 * 1.380649e-23) * 1e-26
    flux = 40.0 * (85 / gain) / math.sqrt(2 * 300e6 * width)
    assert gain == pytest.approx(0.853, abs=1e-3)
    assert trigger.flux == pytest.approx(flux, rel=1e-6)
    later = K * 500.0 * (F_CENTRE**-2 - F_REFERENCE**-2)
    assert later > 0
    utc = datetime.fromisoformat(trigger.utc + "+00:00").timestamp()
    assert utc - START == pytest.approx(17.25 + later, abs=2e-6)
    assert trigger.tarr == 17.25
    assert (trigger.ra, trigger.dec) == (83.6, 22.0)
    assert (trigger.ymw16, trigger.galactic_model) == (100.0, "made up")
    assert (trigger.semiMaj, trigger.semiMin, trigger.importance) == (15, 15, 0.1)
    assert trigger.dt == TSAMP
    assert trigger.delta_nu_MHz == pytest.approx(300 / 1536)
    assert trigger.nu_GHz == pytest.approx(1.36960327)
    assert trigger.datetimesource.endswith(".BLANK")
    assert trigger.test is None
    assert trigger.identity == f"dec001/17/{trigger.dm_bin}"


def test_fields_of_a_known_source(decider) -> None:
    trigger = the_trigger(decider(FRB).decide(candidates({"dm": 352.0, "time": 9.0}), 9))
    assert (trigger.name, trigger.src_name) == ("frb", FRB.name)
    assert (trigger.dm, trigger.dm_err, trigger.dm_cluster) == (350.0, 0.0, 352.0)
    utc = datetime.fromisoformat(trigger.utc + "+00:00").timestamp()
    # By the DM that the time was found at: the other would move the pulse.
    later = K * 352.0 * (F_CENTRE**-2 - F_REFERENCE**-2)
    assert utc - START == pytest.approx(9.0 + later, abs=2e-6)


@pytest.mark.parametrize(
    ("lowest", "width", "n_channels", "dm", "edge_ms"),
    [
        (1219.70092773, 300 / 1536, 1536, 1000.0, 0.23),
        (403.125, 6.25, 64, 500.0, 25.0),
        (400.78125, 400 / 256, 256, 2000.0, 25.0),
        (4001.0, 2.0, 2048, 3000.0, 0.0469),
        (110.1, 0.2, 400, 150.0, 18.2),
    ],
)
def test_the_arrival_is_exact_in_any_band(
    decider, in_tabs, lowest: float, width: float, n_channels: int, dm: float, edge_ms: float
) -> None:
    """The times of a search are at the centre of the highest channel, not at the band's edge."""
    observation = replace(in_tabs, min_freq=lowest, bandwidth=width * n_channels, nchan=n_channels)
    found = decider(observation=observation).decide(candidates({"dm": dm, "time": 17.25}), 17)
    centres = lowest + width * np.arange(n_channels)
    later = K * dm * (centres.mean() ** -2 - centres.max() ** -2)
    trigger = found.iquv[0]
    utc = datetime.fromisoformat(trigger.utc + "+00:00").timestamp()
    assert utc - START == pytest.approx(17.25 + later, abs=2e-6)
    # What it was late by.
    late = K * dm * (centres.max() ** -2 - (centres.max() + width / 2) ** -2) * 1e3
    assert late == pytest.approx(edge_ms, rel=0.15)


def test_lofar_freezes_at_the_time_that_the_search_says(decider) -> None:
    """By way of the band's centre and back: only the first and the last frequency count."""
    trigger = the_trigger(decider().decide(candidates({"dm": 900.0, "time": 17.25}), 17))
    at = freeze_time(
        trigger.arrival,
        trigger.dm,
        f_centre=trigger.nu_GHz * 1e3,
        lofar_freq=200.0,
        buffer_length=5.0,
    )
    expected = 17.25 + K * 900.0 * (200.0**-2 - F_REFERENCE**-2) + 2.5
    assert at - START == pytest.approx(expected, abs=1e-5)


def test_the_flux_follows_the_dishes_that_were_used(decider, in_tabs) -> None:
    eight = the_trigger(decider().decide(candidates({}), 0))
    two = decider(observation=replace(in_tabs, n_dishes=2)).decide(candidates({}), 0)
    assert eight.flux is not None
    assert the_trigger(two).flux == pytest.approx(4 * eight.flux)


def test_a_trigger_travels_unchanged(decider) -> None:
    trigger = the_trigger(decider().decide(candidates({}), 0))
    assert Trigger.from_plain(trigger.to_plain()) == trigger
