"""``darc edit``: open the configuration in an editor, and check it afterwards."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from darc.config.config import ConfigError
from darc.node.node_config import config_file, load_config


def edit_config() -> int:
    """Open the operator's configuration file; return the exit status."""
    path = config_file()
    editor = os.environ.get("EDITOR")
    try:
        editor = load_config().master.editor or editor
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)  # to be corrected in the editor
    if not editor and not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"no terminal for vi: set EDITOR, or change {path} by hand", file=sys.stderr)
        return 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*shlex.split(editor or "vi"), str(path)], check=False)
    except (OSError, ValueError) as error:  # no such program, or an unclosed quote
        print(f"editor {editor or 'vi'!r}: {error}; set EDITOR to another", file=sys.stderr)
        return 1
    try:
        config = load_config()
    except (ConfigError, OSError) as error:
        print(f"the configuration is invalid; it is not in use yet:\n{error}", file=sys.stderr)
        return 1
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("the configuration is valid; apply it with: darc reload")
    return 0
