"""Every way to install: a wheel, an editable install, a plain checkout. Needs no network."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from msgspec import Struct
from nodes import Node, only, patience

from darc import __version__

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("darc", "bin", "conf", "supervisor")
SCRIPTS = sorted(path.name for path in (ROOT / "bin").iterdir())
SMALL = only("status_website")
# Printed by each installation: where it is, and whether all that comes with it is found.
FOUND = """
import darc, jinja2, numpy
from darc.node.node_config import load_config
from darc.runtime.paths import packaged
for name in ("conf/default.yaml", "conf/arts.yaml", "conf/source_list.yaml",
             "conf/galaxy_ymw16.npz", "conf/gcn_frb.schema.json", "conf/samples/sample.fil",
             "conf/samples/sample.trigger", "conf/samples/sample.parset",
             "supervisor/supervisord.conf", "supervisor/defaults.conf"):
    assert packaged(name).is_file(), name
jinja2.Environment(loader=jinja2.PackageLoader("darc")).get_template("page.html")
for service in ("darc_master", *load_config().services()):
    assert packaged(f"supervisor/{service}.conf").is_file(), service
print(darc.__file__)
"""


def copy_of_project(directory: Path) -> Path:
    """A checkout; building leaves traces, which are not for the project's own."""
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part, directory / part, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, directory)
    return directory


def pip(python: Path, *words: str) -> None:
    options = ("--disable-pip-version-check", "--quiet")
    alone = ("--no-deps", "--no-index", "--no-build-isolation")
    command = [sys.executable, "-m", "pip", "--python", str(python), *options, words[0], *alone]
    result = subprocess.run(
        [*command, *words[1:]], capture_output=True, text=True, timeout=patience(110), check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_project(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    source = copy_of_project(directory / "source")
    pip(Path(sys.executable), "wheel", "--wheel-dir", str(directory), str(source))
    (built,) = directory.glob("*.whl")
    return built


class Installation(Struct, frozen=True):
    """A Python environment in which there is no DARC but the one installed."""

    kind: str
    package: Path  # where `darc` has to come from
    scripts: Path
    environment: dict[str, str]


def dependencies(directory: Path) -> Path:
    """What the tests' environment has, without its own DARC."""
    place = directory / "dependencies"
    if not place.exists():
        place.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "darc" not in path.name.lower():
                (place / path.name).symlink_to(path)
    return place


@pytest.fixture(params=["wheel", "editable", "checkout"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    place = tmp_path / "venv"
    venv.create(place, symlinks=True)
    python = place / "bin" / "python3"
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place)}))
    source = request.getfixturevalue("checkout")
    package, scripts = source / "darc", place / "bin"
    environment = {name: text for name, text in os.environ.items() if "PYTHON" not in name}
    environment["PATH"] = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    if request.param == "wheel":
        pip(python, "install", str(request.getfixturevalue("wheel")))
        package = packages / "darc"
    elif request.param == "editable":
        source = copy_of_project(tmp_path / "source")
        # The build needs setuptools, from where the tests have it.
        (packages / "others.pth").write_text(f"{dependencies(tmp_path)}\n")
        pip(python, "install", "--ignore-installed", "--editable", str(source))
        package = source / "darc"
    else:
        environment["PYTHONPATH"] = str(source)
        scripts = source / "bin"
    (packages / "others.pth").write_text(f"{dependencies(tmp_path)}\n")
    return Installation(request.param, package, scripts, environment)


def run(installation: Installation, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=installation.environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )


def test_an_installation_is_whole_and_runs_a_node(
    installation: Installation, make_node: Callable[..., Node]
) -> None:
    node = make_node(darc_master=SMALL)
    # A node of this installation, whose scripts are not those of the tests' environment.
    mine = {name: node.environment[name] for name in node.environment if name.startswith("DARC_")}
    installation.environment.update(mine)

    found = run(installation, "python3", "-c", FOUND)
    assert found.stdout == f"{installation.package / '__init__.py'}\n", found.stderr

    darc_command = ["darc"]
    if installation.kind == "checkout":
        darc_command = ["python3", "-m", "darc.control"]
    version = run(installation, *darc_command, "--version")
    assert version.stdout == f"darc {__version__}\n", version.stderr

    assert [name for name in SCRIPTS if not (installation.scripts / name).exists()] == []
    try:
        started = run(installation, str(installation.scripts / "darc_start_all_services"))
        assert started.returncode == 0, started.stdout + started.stderr
        status = run(installation, *darc_command, "--service", "all", "status")
        assert status.stdout.endswith("message: {'status_website': 'running'}\n")
        # Not a process of it is from another installation.
        python = installation.environment["PATH"].split(os.pathsep)[0]
        assert {process.cmdline()[0].rpartition("/")[0] for process in node.processes()} == {python}
    finally:
        stopped = run(installation, str(installation.scripts / "darc_stop_master"))
    assert stopped.returncode == 0, stopped.stderr
    assert node.processes() == []


def test_a_wheel_has_every_module_and_data_file_and_nothing_beside_darc(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"darc-{__version__}"
    tops = {name.split("/")[0] for name in names}
    assert tops == {"darc", f"{info}.data", f"{info}.dist-info"}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "darc").rglob("*.py")}
    data = {f"darc/{path.relative_to(ROOT)}" for path in (ROOT / "supervisor").iterdir()}
    data |= {f"darc/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.*")}
    found = (path for path in (ROOT / "darc/templates").rglob("*") if path.is_file())
    templates = {str(path.relative_to(ROOT)) for path in found}
    data |= {"darc/py.typed", "darc/model/VOEvent-v2.0.xsd"}
    assert (modules | data | templates) - names == set()
    assert {f"{info}.data/scripts/{script}" for script in SCRIPTS} - names == set()


def test_the_metadata_are_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"darc-{__version__}.dist-info"
        metadata: Message = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        names = archive.namelist()
    assert metadata["Name"] == "darc"
    assert metadata["Version"] == __version__
    assert metadata["License"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert set(metadata.get_all("Provides-Extra", [])) >= {"galaxy", "test", "lint"}
    requirements = " ".join(metadata.get_all("Requires-Dist", []))
    for needed in ("supervisor", "numpy", "astropy", "pyyaml", "psutil", "jinja2", "msgpack"):
        assert needed in requirements
    assert "darc = darc.control:command" in entry_points
    assert any(name.rpartition("/")[2] == "LICENSE" for name in names)


@pytest.mark.parametrize("on_path", [False, True])
def test_the_checkouts_supervisor_directory_does_not_hide_the_library(on_path: bool) -> None:
    assert {path.suffix for path in (ROOT / "supervisor").iterdir()} == {".conf"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} if on_path else dict(os.environ)
    result = subprocess.run(
        [sys.executable, "-c", "import supervisor; print(supervisor.__file__)"],
        env=environment,
        cwd=ROOT,  # which is first on Python's path
        capture_output=True,
        text=True,
        timeout=patience(30),
        check=True,
    )
    assert result.stdout.startswith(sysconfig.get_path("purelib"))


def test_setup_cfg_lists_every_package_and_script() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    packages = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "darc").rglob("*.py")}
    listed = parser["options"]["packages"].split()
    assert {name.replace("/", ".") for name in packages} - set(listed) == set()
    assert sorted(parser["options"]["scripts"].split()) == [f"bin/{name}" for name in SCRIPTS]
