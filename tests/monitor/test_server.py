"""The embedded server: what it gives, to whom, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from browsing import Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import patience, wait_for

from darc.monitor.page.page_files import open_below
from darc.monitor.page.page_server import SLOWEST
from darc.monitor.page.render_page import node_page


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(made_up.troubled(), max_pages=3, interval=0.2)


def ask(site: Site, path: str, method: str = "GET", headers: str = "") -> tuple[int, str, bytes]:
    """Status, headers and body of an answer, without a client that mends the path."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=patience(10.0)) as client:
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        client.sendall(request.encode("utf-8", "surrogateescape"))
        return split(read_all(client))


def read_all(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def split(data: bytes) -> tuple[int, str, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode(), body


def listen(site: Site, after: str = "") -> socket.socket:
    """An open page that has been told its first event."""
    client = socket.create_connection(("127.0.0.1", site.port), timeout=patience(10.0))
    client.sendall(f"GET /events?after={after} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def version(site: Site) -> str:
    body = ask(site, "/")[2].decode()
    return body.split('data-version="')[1].split('"')[0]


def test_the_pages(site: Site) -> None:
    for path, kind in (
        ("/", "text/html; charset=utf-8"),
        ("/index.html?x=1", "text/html; charset=utf-8"),
        ("/status.json", "application/json"),
        ("/icon-bad.svg", "image/svg+xml"),
        (f"/{node_page('arts003')}", "text/html; charset=utf-8"),
    ):
        status, headers, body = ask(site, path)
        assert status == 200
        assert f"Content-Type: {kind}" in headers
        assert f"Content-Length: {len(body)}" in headers
        assert "Content-Security-Policy: default-src 'none'" in headers
        assert "frame-ancestors 'none'" in headers
        assert "X-Content-Type-Options: nosniff" in headers
        # HEAD is the same without the body.
        again, same, nothing = ask(site, path, "HEAD")
        assert (again, nothing) == (200, b"")
        assert f"Content-Length: {len(body)}" in same


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    status, headers, _ = ask(site, "/", method)
    assert status == 405
    assert "Allow: GET, HEAD" in headers
    assert ask(site, "/", "BREW")[0] == 501


def test_files_of_web_dir_are_served_with_no_scripts_but_their_own(site: Site) -> None:
    (site.web_dir / "triggers").mkdir()
    (site.web_dir / "triggers" / "index.html").write_text("<p>plots</p>")
    (site.web_dir / "triggers" / "one.png").write_bytes(b"\x89PNG")
    status, headers, body = ask(site, "/triggers/index.html")
    assert (status, body) == (200, b"<p>plots</p>")
    assert "script-src 'self';" in headers
    assert "default-src 'none'" in headers
    assert ask(site, "/triggers/")[2] == b"<p>plots</p>"
    assert ask(site, "/triggers/one.png")[2] == b"\x89PNG"
    assert ask(site, "/triggers/two.png")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/triggers/../../secret",
        "/triggers/..%2f..%2fsecret",
        "//secret",
        "/./../secret",
        "/..\\secret",
        "/link",
        "/linked/secret",
        "/.hidden",
        "/triggers/.hidden",
        "/secret%00.html",
        "/%ff",
        "/pipe",
        "http://localhost/../secret",
    ],
)
def test_no_path_leaves_web_dir(site: Site, path: str) -> None:
    secret = site.web_dir.parent / "secret"
    secret.write_text("secret")
    (site.web_dir / "triggers").mkdir()
    for hidden in (site.web_dir / ".hidden", site.web_dir / "triggers" / ".hidden"):
        hidden.write_text("secret")
    (site.web_dir / "link").symlink_to(secret)
    (site.web_dir / "linked").symlink_to(site.web_dir.parent)
    os.mkfifo(site.web_dir / "pipe")  # whoever read it would wait for ever
    status, _, body = ask(site, path)
    assert status in (400, 404)
    assert b"secret" not in body


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "", "in", "up", "file", "~", "\0", "*"]), max_size=8))
def test_what_is_opened_is_below(tmp_path: Path, parts: list[str]) -> None:
    root = tmp_path / "web"
    if not root.exists():
        (root / "in").mkdir(parents=True)
        (root / "in" / "file").write_text("in")
        (tmp_path / "file").write_text("out")
        (root / "up").symlink_to(tmp_path)
    file = open_below(root, "/".join(parts))
    if file is not None:
        with file:
            assert file.read() == b"in"


def test_an_open_page_is_told_of_changes(site: Site) -> None:
    with listen(site, version(site)) as client:
        site.publish(made_up.healthy())
        told = b""
        while b"Running" not in told:
            told += client.recv(65536)
        assert b"event: parts" in told
        assert b"Content-Type: text/event-stream" in told


def test_an_open_page_is_told_that_nothing_has_changed(site: Site) -> None:
    with listen(site, version(site)) as client:
        told = b""
        while told.count(b"event: tick") < 3:
            told += client.recv(65536)
        assert b"event: parts" not in told


def test_a_page_that_was_cut_off_goes_on_where_it_was(site: Site) -> None:
    before = version(site)
    site.publish(made_up.healthy())
    for path, header in ((f"/events?after={before}", ""), ("/events?after=x", before)):
        with socket.create_connection(("127.0.0.1", site.port), timeout=patience(10.0)) as client:
            last = f"Last-Event-ID: {header}\r\n" if header else ""
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode())
            told = b""
            while b"Running" not in told:
                told += client.recv(65536)
            assert b"event: anew" not in told


def test_open_pages_are_limited_and_leave_room_for_others(site: Site) -> None:
    after = version(site)
    clients = [listen(site, after) for _ in range(3)]
    wait_for(lambda: site.server.open_pages == 3)
    assert ask(site, f"/events?after={after}")[0] == 503
    assert ask(site, "/")[0] == 200
    assert site.server.refused == 1
    for client in clients:
        client.close()
    # They are noticed to be gone, and their places are free.
    wait_for(lambda: site.server.open_pages == 0)


def test_a_large_file_may_take_its_time(site: Site) -> None:
    size = 30_000_000
    (site.server.web_dir / "CB00.pdf").write_bytes(bytes(size))
    with socket.create_connection(("127.0.0.1", site.port), timeout=patience(10.0)) as client:
        client.sendall(b"GET /CB00.pdf HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        (deadline,) = site.server.connections().values()
        assert deadline > time.monotonic() + size / SLOWEST
    wait_for(lambda: not site.server.connections())


def test_connections_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.server.places = 4
    silent = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(4)]
    wait_for(lambda: len(site.server.connections()) == 4)
    with socket.create_connection(("127.0.0.1", site.port), timeout=patience(10.0)) as one_more:
        assert one_more.recv(100) == b""
    assert site.server.refused == 1
    # One that says nothing, or a letter from time to time, is cut off.
    silent[0].sendall(b"GET / HTT")
    for connection in site.server.connections():
        site.server.allow(connection, -1e6)
    for client in silent:
        client.settimeout(patience(10.0))
        assert client.recv(100) == b""
        client.close()
    wait_for(lambda: not site.server.connections())
    assert ask(site, "/")[0] == 200


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_noise_is_answered_or_dropped(site: Site, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=patience(10.0)) as client:
        client.sendall(noise + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            read_all(client)
    assert ask(site, "/icon-good.svg")[0] == 200


def test_no_name_is_looked_up(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that does not answer would hold up the service."""

    def look_up(*arguments: object) -> None:
        raise AssertionError("a name was looked up")

    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo"):
        monkeypatch.setattr(socket, name, look_up)
    assert ask(make_site(made_up.healthy()), "/icon-good.svg")[0] == 200


def test_an_address_that_is_taken_is_an_error(site: Site, make_site: Callable[..., Site]) -> None:
    with pytest.raises(OSError, match="in use"):
        make_site(made_up.healthy(), port=site.port)
