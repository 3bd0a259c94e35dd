"""The configuration as installed: it takes a tenth of a second to read."""

from __future__ import annotations

from darc.config.config import Config
from darc.node.node_config import load_config
from darc.runtime.paths import packaged

CONFIG: Config = load_config(packaged("conf/default.yaml"))
