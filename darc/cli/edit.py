"""``darc edit``: open the configuration in an editor, and check it afterwards."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from darc.config.config import ConfigError
from darc.node.node_config import config_file, load_config


def edit_config() -> int:
    """Open the operator's configuration file; returns the exit status."""
    path = config_file()
    editor = os.environ.get("EDITOR")
    try:
        editor = load_config().master.editor or editor
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)  # which is what the editor is opened for
    if not editor and not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"no terminal for vi: set EDITOR, or change {path} by hand", file=sys.stderr)
        return 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*shlex.split(editor or "vi"), str(path)], check=False)
    except (OSError, ValueError) as error:  # no such program; a quote that is not closed
        print(f"editor {editor or 'vi'!r}: {error}; set EDITOR to another", file=sys.stderr)
        return 1
    try:
        config = load_config()
    except (ConfigError, OSError) as error:
        print(f"the configuration is broken; it is used by nobody yet:\n{error}", file=sys.stderr)
        return 1
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("the configuration is good; apply it with: darc reload")
    return 0
