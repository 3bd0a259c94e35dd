"""The pages as files: each whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import made_up
from browsing import made_live

from darc.monitor.page.page_files import WebDirectory
from darc.monitor.page.render_page import INDEX, node_page


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_all_files_are_there_and_nothing_else(tmp_path: Path) -> None:
    live = made_live(made_up.troubled())
    WebDirectory(tmp_path / "new" / "web").write(live, ())
    assert files(tmp_path / "new" / "web") == {
        *(INDEX, "status.json"),
        *(f"icon-{verdict}.svg" for verdict in ("good", "bad", "changing", "unknown")),
        *(node_page(name) for name in (made_up.MASTER, *made_up.workers())),
    }


def test_a_nodes_page_is_written_when_something_has_changed_there(tmp_path: Path) -> None:
    live = made_live(made_up.healthy())
    directory = WebDirectory(tmp_path)
    directory.write(live, ())
    inodes = {name: (tmp_path / name).stat().st_ino for name in files(tmp_path)}
    directory.write(live, {"arts003"})
    changed = {name for name in files(tmp_path) if (tmp_path / name).stat().st_ino != inodes[name]}
    assert changed == {INDEX, "status.json", node_page("arts003")}


def test_pages_of_nodes_that_are_no_more_go(tmp_path: Path) -> None:
    WebDirectory(tmp_path).write(made_live(made_up.healthy()), ())
    (tmp_path / "triggers").mkdir()
    (tmp_path / "triggers" / "plot.html").write_text("not ours")
    fewer = made_live(made_up.cluster(made_up.node("arts001")))
    WebDirectory(tmp_path).remove_others(fewer)
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == ["arts001.html"]
    assert (tmp_path / "triggers" / "plot.html").exists()


def test_a_reader_never_sees_half_a_page(tmp_path: Path) -> None:
    live = made_live(made_up.troubled())
    directory = WebDirectory(tmp_path)
    directory.write(live, ())
    ends: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            ends.append((tmp_path / INDEX).read_text()[-8:].strip())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        directory.write(live, ())
    while len(ends) <= 10 and reader.is_alive():  # the processor may have been others'
        directory.write(live, ())
    done.set()
    reader.join()
    assert len(ends) > 10
    assert set(ends) == {"</html>"}


#: In a process of its own: a file may not grow beyond 20 kB there, as on a disk without room.
_FULL = """
import resource, signal, sys
sys.path[:0] = {paths!r}
import made_up
from browsing import made_live
from pathlib import Path
from darc.monitor.page.page_files import WebDirectory
live = made_live(made_up.troubled())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    WebDirectory(Path(sys.argv[1])).write(live, ("arts003",))
except OSError as error:
    print(error.errno)
"""


def test_a_disk_without_room_leaves_the_page_before(tmp_path: Path) -> None:
    WebDirectory(tmp_path).write(made_live(made_up.healthy()), ())
    before = {name: (tmp_path / name).read_text() for name in files(tmp_path)}
    here = Path(__file__).parent
    script = _FULL.format(paths=[str(here), str(here.parent)])
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["27"], said.stderr  # EFBIG
    assert files(tmp_path) == set(before)
    for name, text in before.items():
        assert (tmp_path / name).read_text() == text
