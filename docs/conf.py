"""The documentation as a site: `make docs` writes it to docs/_build.

No page is fetched while it is built. The pages of the API are written here, one for each room in
ROOMS, from the modules that the room has: a module that is renamed, added or removed needs no edit.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.config import Config

import darc

#: What programs, scripts and services of others may import.
ROOMS = (
    "darc.control",
    "darc.queues",
    "darc.services.base",
    "darc.model",
    "darc.science",
    "darc.trigger_files",
    "darc.data_files",
    "darc.config",
    "darc.cluster",
    "darc.delivery",
)
API = Path(__file__).parent / "api"

project = "DARC"
author = "The DARC developers"
copyright = author
version = release = darc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"DARC {version}"
html_static_path: list[str] = []
html_copy_source = False
# A link to a heading of any page, as GitHub shows it.
myst_heading_anchors = 4

autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # What a module imports for others to import has its page where it is made.
    "ignore-module-all": True,
}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike"}
python_maximum_signature_line_length = 88
_ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[(.*?)\]\]")
# Type variables, and what is private or of rooms, libraries and packages without pages here.
_ELSEWHERE = rf"(?!({'|'.join(map(re.escape, ROOMS))})\.).*"
nitpick_ignore_regex = [("py:.*", _ELSEWHERE), ("py:.*", r".*\.([A-Z]|_\w+)")]


def setup(app: Sphinx) -> None:
    app.connect("config-inited", _write_api_pages)
    app.connect("autodoc-process-signature", _shorten_arrays)


def _write_api_pages(app: Sphinx, config: Config) -> None:
    """Write a page for each room, and remove those of rooms that are public no longer."""
    pages = {f"{room}.rst": _page(importlib.import_module(room)) for room in ROOMS}
    API.mkdir(exist_ok=True)
    for old in API.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = API / name
        # What has not changed is not read again.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _page(room: ModuleType) -> str:
    parts = [_headed(room.__name__, "="), f".. automodule:: {room.__name__}\n"]
    for module in _modules(room):
        parts += [_headed(module.rpartition(".")[2], "-"), f".. automodule:: {module}\n"]
    return "\n".join(parts)


def _shorten_arrays(
    app: Sphinx, what: str, name: str, value: object, options: object, *texts: str | None
) -> tuple[str | None, ...]:
    """Write NDArray[float64] for an array of any shape, as the code does."""
    return tuple(text and _ARRAY.sub(r"NDArray[\1]", text) for text in texts)


def _headed(name: str, line: str) -> str:
    return f"{name}\n{line * len(name)}\n"


def _modules(room: ModuleType) -> Iterator[str]:
    """Names of the modules in a room; those of packages inside it, too."""
    for module in pkgutil.walk_packages(getattr(room, "__path__", []), f"{room.__name__}."):
        if not module.name.endswith("__main__"):
            yield module.name
