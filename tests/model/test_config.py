"""The configuration: defaults, merging, errors with file and line, roles and services."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import hypothesis
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from darc.config import settings
from darc.config.config import NODE_SECTIONS, Config, ConfigError, Layer, Role, parse_config
from darc.config.config_layers import expand_hosts
from darc.config.typed import Contradiction, CrossChecked, Range
from darc.node.node_config import load_config
from darc.runtime.paths import packaged
from darc.runtime.service_traits import built_in_sections

SECTIONS = {**NODE_SECTIONS, **built_in_sections()}
DEFAULT = Layer("default.yaml", packaged("conf/default.yaml").read_text())
ARTS = Layer("arts.yaml", packaged("conf/arts.yaml").read_text())


def parse(*texts: str, hostname: str = "host") -> Config:
    def instruments(name: str) -> Layer:
        if name != "arts":
            raise FileNotFoundError(name)
        return ARTS

    layers = [DEFAULT, *(Layer("my.yaml", text) for text in texts)]
    return parse_config(
        layers,
        services=built_in_sections(),
        home="/home/me",
        darc_home="/d",
        hostname=hostname,
        instruments=instruments,
    )


def problems(*texts: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(*texts)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_the_default_is_whole_and_without_warnings() -> None:
    config = parse()
    assert config.warnings == ()
    assert config.master.port == 51000
    assert config.master.run_dir == "/d/run/host"
    assert config.amber_clustering.thresh_lofar_override.cb == (0,)
    assert config.amber_clustering.thresh_iquv.dm_frac_min == 1.2
    assert config.processor.extractor.rfi_clean_type == "isolated"
    assert config.status_website.service_to_name["dada_trigger"] == "IQUV triggering"
    assert config.lofar_trigger.email_settings.to == ()


def test_the_default_holds_every_section_and_nothing_else() -> None:
    assert sorted(yaml.safe_load(DEFAULT.text)) == sorted(SECTIONS)


def test_the_instrument_is_arts() -> None:
    arts = parse().instrument
    assert arts.f_low == pytest.approx(1219.60327, abs=1e-5)
    assert arts.f_high == pytest.approx(1519.60327, abs=1e-5)
    assert arts.f_centre == pytest.approx(1369.60327, abs=1e-5)
    assert arts.channel_width == 300 / 1536
    assert arts.position[2] == 5064922.99755


def test_log_files_are_named_by_service_and_host() -> None:
    config = parse("darc_master: {services_worker_rt: [mine, other]}\nmine: {log_file: /x}")
    assert config.log_file("amber_listener") == "/d/log/amber_listener.host.log"
    assert config.log_file("processor_master") == "/d/log/processor.host.log"
    assert config.log_file("darc_master") == "/d/log/darc_master.host.log"
    assert config.log_file("mine") == "/x"
    assert config.log_file("other") == "/d/log/other.host.log"


def test_later_layers_are_laid_over_by_key() -> None:
    config = parse(
        "amber_clustering: {interval: 2, thresh_iquv: {snr_min: 12}}\nmail:\nprocessor: {}",
        "amber_clustering:\n  interval: 3\n  thresh_iquv:\n  lofar_trigger_sources: [A, B]",
    )
    assert config.amber_clustering.interval == 3.0
    assert isinstance(config.amber_clustering.interval, float)
    assert config.amber_clustering.thresh_iquv == settings.IquvThresholds(1.2, 100, 12, 60)
    assert config.amber_clustering.lofar_trigger_sources == ("A", "B")
    assert config.mail.port == 25


@pytest.mark.parametrize(
    ("text", "cb"), [("3", (3,)), ("[1, 2]", (1, 2)), ("null", None), ("[]", ())]
)
def test_one_value_or_a_list(text: str, cb: tuple[int, ...] | None) -> None:
    config = parse(f"amber_clustering: {{thresh_lofar_override: {{cb: {text}}}}}")
    assert config.amber_clustering.thresh_lofar_override.cb == cb
    mail = parse("processor_master: {email_settings: {to: a@b}}").processor_master.email_settings
    assert mail.to == ("a@b",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "amber_clustering:\n\n  interval: fast",
            "my.yaml:3: amber_clustering.interval: 'fast' is not a number; "
            "allowed: a number from 0.01 to 60",
        ),
        (
            "darc_master:\n  port: 0",
            "my.yaml:2: darc_master.port: 0 is not allowed; allowed: a whole number "
            "from 1 to 65535",
        ),
        ("mail: {port: 65536}", "my.yaml:1: mail.port: 65536 is not allowed"),
        ("mail: {port: 25.0}", "my.yaml:1: mail.port: 25.0 is not a whole number"),
        ("mail: {port: true}", "my.yaml:1: mail.port: true is not a whole number"),
        ("mail: {port: null}", "my.yaml:1: mail.port: null is not a whole number"),
        ("mail: {host: 3}", "my.yaml:1: mail.host: 3 is not a text"),
        ("mail: {host: ''}", "my.yaml:1: mail.host: '' is not allowed"),
        ("mail: {sender: [a]}", "my.yaml:1: mail.sender: a list of 1 is not a text"),
        ("mail: 3", "my.yaml:1: mail: 3 is not a mapping"),
        ("processor: {interval: .inf}", "processor.interval: inf is not a number"),
        ("processor: {interval: .nan}", "processor.interval: nan is not a number"),
        ("processor: {interval: yes}", "processor.interval: true is not a number"),
        ("lofar_trigger: {test: 1}", "lofar_trigger.test: 1 is not true or false"),
        ("darc_master: {mode: fast}", "allowed: one of real-time, offline, mixed"),
        ("processor:\n extractor:\n  ndm: x", "my.yaml:3: processor.extractor.ndm: 'x'"),
        ("processor: {clustering: 1}", "processor.clustering: 1 is not a mapping"),
        (
            "amber_clustering: {thresh_lofar_override:\n {cb: [0,\n -1]}}",
            "my.yaml:3: amber_clustering.thresh_lofar_override.cb: -1 is not allowed",
        ),
        ("instrument: {position: [1, 2]}", "instrument.position: a list of 2 is not a list"),
        ("instrument: {base: gmrt}", "my.yaml:1: instrument.base: 'gmrt' cannot be read"),
        ("instrument: {base: 3}", "my.yaml:1: instrument.base: 3 is not a name"),
        (
            "amber_clustering:\n  sb_filter_period_min: 15",
            "amber_clustering.sb_filter_period_max: 15.0 is not above sb_filter_period_min",
        ),
        (
            "processor: {clustering: {\nsb_filter_period_max: 3}}",
            "my.yaml:2: processor.clustering.sb_filter_period_max: 3.0 is not above",
        ),
        ("dada_trigger: {min_window_size: 0}", "dada_trigger.min_window_size: 0 is not allowed"),
        (
            "control: {allow_unsigned_from: [10.0.0.0/8,\n arts001]}",
            "my.yaml:2: control.allow_unsigned_from: 'arts001' is not an address",
        ),
        ("cluster: {workers: [a]}", "cluster.master: null with workers"),
        (
            "cluster: {master: a, workers:\n ['b', 'c[2-1]']}",
            "my.yaml:2: cluster.workers: 'c[2-1]'",
        ),
        ("cluster: {master: a, workers: [b, b]}", "cluster.workers: b is listed twice"),
        ("cluster: {master: a, workers: ['a']}", "cluster.workers: a is listed twice"),
        ("cluster: {master: 'a[1-2]'}", "cluster.master: 'a[1-2]' is more than one host"),
        ("cluster: {master: 'a b'}", "cluster.master: 'a b' is not a host name"),
        (
            "voevent_generator:\n  stream: a b",
            "my.yaml:2: voevent_generator.stream: 'a b' is not an IVOA identifier",
        ),
        ("mail:\n  port: 1\n  port: 2", "my.yaml:3: port: duplicate key, first in line 2"),
        ("mail:\n  port: [1", "my.yaml:2: not valid YAML"),
        ("mail:\n  host: a\x00b", "my.yaml:2: not valid YAML"),
        ("mail: !!python/object:os.x {}", "my.yaml:1: the tag"),
        ("mail: {host: !secret x}", "my.yaml:1: the tag !secret is not allowed"),
        ("mail: &a {x: *a}", "my.yaml:1: an alias inside its own anchor"),
        ("? [a]\n: 1", "my.yaml:1: a key must be a scalar"),
        ("- a\n- b", "my.yaml:1: a list of 2 is not a mapping"),
        ("[" * 5000, "my.yaml:1: nested too deeply"),
    ],
)
def test_an_error_names_file_line_and_what_is_allowed(text: str, message: str) -> None:
    found = problems(text)
    assert any(message in problem for problem in found), found


_TLS = "scheduler_tls: {ca: /a, certificate: /b, key: /c}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("scheduler: null", ""),
        ("scheduler: tcp://127.0.0.1:8786", ""),
        ("scheduler: tcp://localhost:8786", ""),
        ("scheduler: 'tcp://[::1]:8786'", ""),
        (f"scheduler: tls://arts041:8786, {_TLS}", ""),
        ("scheduler: tcp://arts041:8786, scheduler_unencrypted: true", ""),
        ("scheduler: tcp://arts041:8786", "processor.scheduler: tcp://arts041:8786: anyone on"),
        ("scheduler: arts041:8786", "processor.scheduler: arts041:8786: anyone on the network"),
        ("scheduler: tcp://10.0.0.1:8786", "or processor.scheduler_unencrypted: true"),
        ("scheduler: tls://arts041:8786", "without processor.scheduler_tls; allowed: TLS files"),
        (f"scheduler: tcp://localhost:1, {_TLS}", "processor.scheduler_tls: not used for tcp://"),
        ("scheduler: inproc://x", "processor.scheduler: 'inproc://x' is not a scheduler address"),
        (f"scheduler: tls://a:1, {_TLS[:-10]}" + "}", "processor.scheduler_tls.key: missing"),
    ],
)
def test_where_a_scheduler_may_be(text: str, wrong: str) -> None:
    found = problems(f"processor: {{{text}}}") if wrong else ()
    if wrong:
        assert len(found) == 1
        assert wrong in found[0]
        assert found[0].startswith("my.yaml:1: ")
    else:
        assert parse(f"processor: {{{text}}}").processor


def test_all_errors_are_named_at_once() -> None:
    found = problems(
        "mail: {port: x}\nprocessor: {interval: -1, classifier: {ndm: 0}}\n"
        "mail2: {}\namber_listener:\n  start_timeout: a\n  start_timeout: 3"
    )
    assert len(found) == 5


def test_an_instrument_without_its_base_is_one_error() -> None:
    assert len(problems("instrument: {base: gmrt}")) == 1


def test_data_files_by_default_and_by_name() -> None:
    default = ("filterbank", ("CB{cb:02d}.fil", "CB{cb:02d}_{tab:02d}.fil"))
    arts = parse().instrument
    assert (arts.data_directory, arts.data_files) == default
    mine = parse("instrument: {data_directory: psrfits, data_files: ['b{cb}_*.sf']}").instrument
    assert (mine.data_directory, mine.data_files) == ("psrfits", ("b{cb}_*.sf",))


@pytest.mark.parametrize("name", ["/data/{cb}.fil", "{cb", "{}", "{beam}.fil", "{cb:q}", "{cb.x}"])
def test_a_name_of_data_files_that_cannot_be_is_an_error(name: str) -> None:
    (problem,) = problems(f"instrument:\n  data_files: ['{name}']")
    assert "my.yaml:2: instrument.data_files: " in problem
    assert name in problem
    assert "names relative to data_directory" in problem


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("min_freq: 1.2495", "min_freq: 1.2495 MHz is below the band of any receiver; allowed"),
        ("min_freq: 1.2495", "from 8, as 1249.5 for 1.2495 GHz"),
        ("min_freq: 200000, bandwidth: 200", None),
        ("bandwidth: 0.3", "bandwidth: 0.3 MHz at 1219.7 MHz is no band of a receiver; allowed"),
        ("bandwidth: 0.3", "as 300 for 0.3 GHz"),
        ("bandwidth: 3e5", "bandwidth: 300000 MHz from 1219.7 MHz on is no band of a receiver"),
        ("bandwidth: 0.856, nchan: 4096, min_freq: 856, n_sbs: 1", "channels of 208.984 Hz cannot"),
        ("bandwidth: 2450, nchan: 1, n_sbs: 1", "is no band of a receiver"),
        ("tsamp: 0.08192", "tsamp: 0.08192 s: a batch of 12500 samples takes 1024 s; allowed: s"),
        ("tsamp: 0.08192", "not ms, as 8.192e-05 for 0.08192 ms"),
        ("tsamp: 5.12", "a batch of 12500 samples takes 64000 s"),
        ("data_tsamp: 0.08192", "data_tsamp: 0.08192 s, where the search has 8.192e-05 s"),
        ("data_tsamp: 8.192e-05", None),
        ("position: [6.6, 52.9, 16]", "position: [6.6, 52.9, 16] is 55.65941 m from the Earth's"),
        ("position: [3828.630, 443.593, 5064.923]", "ITRF x, y, z in m; not longitude"),
        ("dish_diameter: 2500", "dish_diameter: 2500 m is no dish; allowed: m, from 0.1 to 1000"),
        ("dish_diameter: 0.025", "dish_diameter: 0.025 m is no dish"),
        ("n_subbands: 31", "n_subbands: 31 subbands of 1536 channels (nchan); allowed: a divisor"),
        ("n_subbands: 31, n_sbs: 1", None),
        ("sb_band_low: 1.201", "sb_band_low: 1.201 MHz is below the band"),
        ("sb_reference_freq: 1.501", "sb_reference_freq: 1.501 MHz is below the band"),
        ("sb_reference_freq: 1.501, sb_table: /a/table", None),
    ],
)
def test_what_no_receiver_has_is_refused(keys: str, said: str | None) -> None:
    text = "instrument:\n  {" + keys + "}"
    if said is None:
        parse(text)
        return
    (problem,) = problems(text)
    assert problem.startswith("my.yaml:2: instrument.")
    assert said in problem


def test_subbands_that_do_not_fit_the_channels_are_named_where_they_are() -> None:
    (problem,) = problems("instrument: {nchan: 1500}")
    assert problem.startswith("arts.yaml:24: instrument.n_subbands: 32 subbands of 1500 channels")


def test_frequencies_and_bandwidths_in_ghz_are_both_named() -> None:
    found = problems("instrument:\n  min_freq: 1.2197\n  bandwidth: 0.3")
    assert [problem[:30] for problem in found] == [
        "my.yaml:2: instrument.min_freq",
        "my.yaml:3: instrument.bandwidt",
    ]


@pytest.mark.parametrize(
    ("min_freq", "bandwidth", "nchan", "tsamp", "diameter"),
    [
        (8.0, 24.5, 4096, 8e-3, 50.0),  # UTR-2
        (10.0, 80.0, 400, 5.12e-6, 31.0),  # LOFAR, low band, subbands as they are
        (110.0, 78.0, 6400, 655.36e-6, 31.0),  # high band
        (240.0, 0.1953125, 1, 5.12e-6, 31.0),  # one subband
        (109.0, 2.5, 32, 12.5e-3, 200.0),  # Pushchino
        (30.0, 50.0, 1024, 1e-3, 20.0),
        (400.2, 400.0, 1024, 983.04e-6, 20.0),  # CHIME
        (400.0, 400.0, 16384, 983.04e-6, 20.0),
        (400.0, 400.0, 1024, 2.56e-6, 20.0),  # its baseband
        (300.0, 200.0, 4096, 1310.72e-6, 45.0),  # uGMRT
        (1060.0, 400.0, 16384, 655.36e-6, 45.0),
        (1311.3, 187.5, 768, 262e-6, 4.65),  # DSA-110
        (856.0, 856.0, 1024, 306.24e-6, 13.5),  # MeerKAT
        (704.0, 3328.0, 3328, 64e-6, 64.0),  # Parkes' wide band
        (1000.0, 500.0, 4096, 49.152e-6, 300.0),  # FAST
        (1280.0, 250.0, 2048, 65e-6, 0.2),  # GReX
        (744.0, 336.0, 288, 0.11, 12.0),  # CRACO
        (32_000.0, 16.0, 16, 1e-4, 70.0),  # a channel of the Deep Space Network
        (42_000.0, 8000.0, 4096, 1e-4, 100.0),
    ],
)
def test_what_receivers_have_is_accepted(
    min_freq: float, bandwidth: float, nchan: int, tsamp: float, diameter: float
) -> None:
    found = parse(
        f"instrument: {{min_freq: {min_freq}, bandwidth: {bandwidth}, nchan: {nchan}, tsamp:"
        f" {tsamp}, dish_diameter: {diameter}, n_sbs: 1, batch_length_samples: 1024}}"
    ).instrument
    assert found.nchan == nchan


def test_keys_over_the_instrument_win_over_its_base() -> None:
    assert parse("instrument: {n_tabs: 9}").instrument.n_tabs == 9
    assert parse("instrument: {n_tabs: 9}").instrument.n_sbs == 71


def test_placeholders() -> None:
    config = parse(
        "cluster: {python: '{home}/{hostname}{x}'}\nprocessor: {result_dir: '{darc_home}'}"
    )
    assert config.cluster.python == "/home/me/host{x}"
    assert config.processor.result_dir == "/d"


def test_numbers_with_exponents_are_numbers() -> None:
    assert parse("processor: {interval: 1e-1}").processor.interval == 0.1


def test_unknown_keys_are_warnings_with_the_nearest_name() -> None:
    config = parse(
        "amber_clusterin: {}\nprocessor:\n  num_extractors: 3\n  server_auth: hush\n"
        "  plot_script: x\n  extractor: {zzz: 1}\ndarc_master: {master_commands: [a]}"
    )
    assert config.warnings == (
        "my.yaml:7: darc_master.master_commands: no longer used",
        "my.yaml:3: processor.num_extractors: unknown, ignored; did you mean num_extractor?",
        "my.yaml:4: processor.server_auth: no longer used: the cluster's secret file takes its "
        "place",
        "my.yaml:5: processor.plot_script: no longer used",
        "my.yaml:6: processor.extractor.zzz: unknown, ignored",
        "my.yaml:1: amber_clusterin: unknown, ignored; did you mean amber_clustering?",
    )


CLUSTER = "cluster: {master: arts041, workers: ['arts[001-040]']}\n"
MASTER_MIX = (
    "offline_processing status_website voevent_generator lofar_trigger processor".split()  # noqa: SIM905
)
WORKER_MIX = (
    "offline_processing amber_listener amber_clustering dada_trigger processor".split()  # noqa: SIM905
)


def test_roles_in_the_cluster() -> None:
    master = parse(CLUSTER, hostname="arts041")
    assert master.role is Role.MASTER
    assert list(master.services()) == MASTER_MIX
    assert master.nodes()[:2] == ("arts041", "arts001")
    assert len(master.nodes()) == 41
    assert master.bind_address == "0.0.0.0"
    assert master.master_host == "localhost"
    worker = parse(CLUSTER, hostname="arts040")
    assert worker.role is Role.WORKER
    assert list(worker.services()) == WORKER_MIX
    assert worker.master_host == "arts041"
    assert parse(CLUSTER + "control: {bind: 10.0.0.1}").bind_address == "10.0.0.1"


def test_a_host_that_is_in_no_cluster_runs_the_services_of_both() -> None:
    for config in (parse(), parse(CLUSTER)):
        assert config.role is Role.STANDALONE
        assert config.nodes() == ("host",)
        assert list(config.services()) == MASTER_MIX + WORKER_MIX[1:4]
        assert config.bind_address == "127.0.0.1"


@pytest.mark.parametrize(
    ("mode", "master", "worker"),
    [
        ("real-time", MASTER_MIX[1:], WORKER_MIX[1:]),
        ("offline", ["offline_processing", "status_website"], ["offline_processing"]),
        ("mixed", MASTER_MIX, WORKER_MIX),
    ],
)
def test_services_by_mode(mode: str, master: list[str], worker: list[str]) -> None:
    text = CLUSTER + f"darc_master: {{mode: {mode}}}"
    assert list(parse(text, hostname="arts041").services()) == master
    assert list(parse(text, hostname="arts001").services()) == worker


def test_host_ranges() -> None:
    assert expand_hosts(["a[08-10]", "b", "c[1,3-4].x"]) == (
        *("a08", "a09", "a10", "b", "c1.x", "c3.x", "c4.x"),
    )
    with pytest.raises(ValueError, match="more than"):
        expand_hosts(["a[0-99999999999]"])


@dataclasses.dataclass(frozen=True, slots=True)
class Further:
    level: Annotated[float, Range(0, 1)]
    name: str = "x"


def test_the_block_of_a_further_service() -> None:
    head = "darc_master: {services_worker_mix: [mine]}\n"
    config = parse(head + "mine: {level: 1, name: '{hostname}'}")
    assert config.warnings == ()
    assert config.block("mine", Further) == Further(1.0, "host")
    assert config.block("processor", settings.ProcessorSettings) is config.processor
    with pytest.raises(TypeError):
        config.block("processor", Further)
    for text, message in (
        ("mine: {level: 2}", "my.yaml:2: mine.level: 2 is not allowed; allowed: a number from 0"),
        ("mine: {}", "my.yaml:2: mine.level: missing"),
        ("mine:", "my.yaml:2: mine.level: missing"),
        ("", "the configuration: mine.level: missing"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse(head + text).block("mine", Further)


@dataclasses.dataclass(frozen=True, slots=True)
class Limits(CrossChecked):
    low: Annotated[float, Range(0, 10)]
    high: Annotated[float, Range(0, 10)]

    def contradictions(self) -> Iterator[Contradiction]:
        if self.low > self.high:
            yield Contradiction("high", "below low", f"a number from {self.low}")


def test_values_of_a_further_service_that_contradict_each_other() -> None:
    head = "darc_master: {services_worker_mix: [mine]}\n"
    good = parse(head + "mine: {low: 1, high: 2}").block("mine", Limits)
    assert good == Limits(1.0, 2.0)
    with pytest.raises(ConfigError) as caught:
        parse(head + "mine:\n  low: 3\n  high: 2").block("mine", Limits)
    expected = "my.yaml:4: mine.high: below low; allowed: a number from 3.0"
    assert caught.value.problems == (expected,)


def test_settings_by_their_class() -> None:
    config = parse()
    assert config.of(settings.ProcessorSettings) is config.section("processor")
    with pytest.raises(LookupError):
        config.of(Limits)
    with pytest.raises(AttributeError):
        config.section("mine")


def test_unknown_keys_of_a_further_service_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    config = parse("darc_master: {services_worker_mix: [mine]}\nmine: {level: 1, nam: y}")
    config.block("mine", Further)
    assert "my.yaml:2: mine.nam: unknown, ignored; did you mean name?" in caplog.text


def test_a_section_of_no_service_is_unknown() -> None:
    assert "mine" not in parse("mine: {a: 1}").further


_words = st.text("ab[]{}:-,1 \n", max_size=6)
_leaves = st.none() | st.booleans() | st.integers() | st.floats() | _words
_keys = st.sampled_from(["interval", "port", "workers", "thresh_iquv", "cb", "to", "base"])
_trees = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | _words, inner, max_size=3),
    max_leaves=6,
)


def _outcome(text: str) -> tuple[str, ...]:
    try:
        return parse(text).warnings
    except ConfigError as error:
        return error.problems


# Each example parses the whole default.
@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(sorted(SECTIONS)), _trees, max_size=3))
def test_any_yaml_is_taken_or_refused(tree: dict[str, object]) -> None:
    for message in _outcome(yaml.safe_dump(tree)):
        assert message.startswith(("my.yaml:", "default.yaml:"))


@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text())
def test_any_text_is_taken_or_refused(text: str) -> None:
    for message in _outcome(text):
        assert message.startswith("my.yaml:")


class TestFiles:
    """The files of a node and the environment."""

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DARC_HOME", str(tmp_path))
        monkeypatch.setenv("DARC_HOSTNAME", "arts002")
        monkeypatch.delenv("DARC_CONFIG", raising=False)

    def test_the_file_in_the_home_need_not_exist(self, tmp_path: Path) -> None:
        assert load_config().hostname == "arts002"
        (tmp_path / "config.yaml").write_text("mail: {port: 26}")
        assert load_config().mail.port == 26
        assert load_config().darc_home == str(tmp_path)

    def test_the_example_of_the_cluster(self) -> None:
        config = load_config(packaged("conf/arts_cluster.yaml"))
        assert config.role is Role.WORKER

    def test_a_named_file_must_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(FileNotFoundError):
            load_config(tmp_path / "none.yaml")
        monkeypatch.setenv("DARC_CONFIG", str(tmp_path / "other.yaml"))
        with pytest.raises(FileNotFoundError):
            load_config()
        (tmp_path / "other.yaml").write_text("mail: {port: 27}")
        assert load_config().mail.port == 27

    def test_errors_name_the_whole_path(self, tmp_path: Path) -> None:
        file = tmp_path / "config.yaml"
        file.write_text("mail: {port: x}")
        with pytest.raises(ConfigError, match=f"^{file}:1: mail.port: 'x'"):
            load_config()
        file.write_bytes(b"mail: \xff")
        with pytest.raises(ConfigError, match="not UTF-8"):
            load_config()

    def test_another_instrument_by_path(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine.yaml"
        text = ARTS.text.replace("n_tabs: 12", "n_tabs: 1")
        # As it was before there were names of data files.
        lines = [line for line in text.splitlines() if "data_" not in line and "CB{" not in line]
        mine.write_text("\n".join(lines))
        (tmp_path / "config.yaml").write_text("instrument: {base: '{darc_home}/mine.yaml'}")
        assert load_config().instrument.n_tabs == 1
        for name in ("mine.yaml", "../conf/arts", "none"):
            (tmp_path / "config.yaml").write_text(f"instrument: {{base: {name}}}")
            with pytest.raises(ConfigError, match="cannot be read"):
                load_config()

    def test_packaged_files(self) -> None:
        assert packaged("conf/arts.yaml").is_file()
        assert packaged("supervisor").is_dir()
        with pytest.raises(FileNotFoundError, match="looked for"):
            packaged("conf/none.yaml")


def test_settings_need_the_standard_library_only() -> None:
    code = (
        "import sys, darc.config.settings, darc.runtime.paths;"
        "assert not {'yaml', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
