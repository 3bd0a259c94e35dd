"""``darc edit``: open the configuration in an editor, and check it afterwards."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from darc.model.config import ConfigError
from darc.node.configuration import config_file, load_config


def edit_config() -> int:
    """Open the operator's configuration file; returns the exit status."""
    path = config_file()
    editor = os.environ.get("EDITOR")
    try:
        editor = load_config().master.editor or editor
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)  # which is what the editor is opened for
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([*shlex.split(editor or "vi"), str(path)], check=False)
    try:
        config = load_config()
    except (ConfigError, OSError) as error:
        print(f"the configuration is broken; it is used by nobody yet:\n{error}", file=sys.stderr)
        return 1
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("the configuration is good; apply it with: darc reload")
    return 0
