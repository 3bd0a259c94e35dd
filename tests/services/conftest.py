"""The configuration that tests of services begin with."""

from __future__ import annotations

import pytest

from darc.config.config import Config
from darc.node.node_config import load_config
from darc.services.dada_trigger.settings import DadaTriggerSettings


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """As installed, with nothing changed."""
    empty = tmp_path_factory.mktemp("config") / "config.yaml"
    empty.write_text("")
    return load_config(empty)


@pytest.fixture(scope="session")
def rules(config: Config) -> DadaTriggerSettings:
    """Those of dumps."""
    return config.block("dada_trigger", DadaTriggerSettings)
