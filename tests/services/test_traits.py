"""What a service is, is declared once, in its folder."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import pytest

from darc.cli import attribute_names
from darc.config.config import Config
from darc.node.node_config import load_config
from darc.runtime.service_traits import ServiceTraits, known_traits, own_check, traits_of
from darc.services.base.service import Service


@pytest.fixture(scope="module")
def classes() -> dict[str, list[type[Service[Any]]]]:
    """The classes of this package, by service."""
    found: dict[str, list[type[Service[Any]]]] = {name: [] for name in attribute_names.attributes()}
    waiting: list[type[Service[Any]]] = [Service]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.startswith("darc.services.") and hasattr(one, "name"):
            found[one.name].append(one)
    return found


def test_a_class_has_the_traits_of_its_folder(classes: dict[str, list[type[Service[Any]]]]) -> None:
    assert set(classes) == set(known_traits())
    for name, kinds in classes.items():
        assert kinds
        for kind in kinds:
            assert kind.traits is traits_of(name), kind


def test_what_traits_name_is_there(
    classes: dict[str, list[type[Service[Any]]]], config: Config
) -> None:
    for name, traits in known_traits().items():
        settings = config.section(name)
        port = traits.port
        keys = [traits.directory, *((port.key, port.bind_key) if port else ())]
        for key in filter(None, keys):
            assert hasattr(settings, key), (name, key)
        if traits.mails:
            assert hasattr(config.section(traits.mails), "email_settings"), name
        for kind in classes[name]:
            assert traits.sections[kind.section or name] is kind.settings_type
        outside = [key for one in traits.outside for key in (*one.port_keys, one.host_key)]
        for key in filter(None, (*outside, *(one.sends_key for one in traits.outside))):
            assert hasattr(settings, key), (name, key)
        for check in traits.checks:
            assert callable(own_check(name, check)), (name, check)
        for series in traits.measured:
            assert any(series.attribute in kind.attributes for kind in classes[name]), series
        is_switched = any("send_events" in kind.switches for kind in classes[name])
        assert is_switched is (traits.external is not None)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Config:
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    return load_config()


def test_those_of_others_have_the_usual_ones() -> None:
    assert traits_of("trigger_counter") == traits_of("base") == ServiceTraits()


def test_a_service_of_before_says_itself_whether_it_observes() -> None:
    class Own(Service[Any]):
        name = "own"
        observes: ClassVar[bool] = False

    class Usual(Service[Any]):
        name = "usual"

    assert not Own.traits.observes
    assert Usual.traits.observes


def test_traits_load_no_service() -> None:
    code = (
        "import sys; from darc.runtime.service_traits import known_traits;"
        " assert known_traits()['processor'].unhurried;"
        " heavy = {'numpy', 'astropy', 'twisted', 'yaml', 'darc.services.base.service'};"
        " heavy |= {one for one in sys.modules if one.endswith('.checks')};"
        " sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
