"""What comes from others as XML is read, and nothing that it names is."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from voevents import read_event

from darc.model.voevent_xml import add, check, new_event, read, to_bytes

LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A web server: its address, and what it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


def event() -> bytes:
    made = new_event("ivo://nl.example/alert#1", "test")
    add(add(made, "What"), "Param", name="dm", value="500.0", unit=None)
    return to_bytes(made)


def test_what_is_made_is_read() -> None:
    parsed = read(event())
    check(parsed)
    assert parsed.get("ivorn") == "ivo://nl.example/alert#1"
    assert dict(parsed.find(".//Param").items()) == {"name": "dm", "value": "500.0"}
    assert read_event(event()).get("role") == "test"


def with_doctype(declarations: str, inside: str, encoding: str = "utf-8") -> bytes:
    body = event().decode().partition("?>")[2].replace("500.0", inside)
    doctype = f"<!DOCTYPE x {declarations}>" if declarations else "<!DOCTYPE x>"
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{doctype}{body}'.encode(encoding)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize(
    ("declarations", "inside"),
    [
        ("", "500.0"),
        (f'[<!ENTITY a0 "ha">{LAUGHS}]', "&a11;"),
        ('[<!ENTITY a SYSTEM "{secret}">]', "&a;"),
        ('[<!ENTITY % a SYSTEM "{address}/a"> %a;]', "500.0"),
        ('SYSTEM "{address}/b.dtd"', "500.0"),
        ('PUBLIC "c" "{address}/c.dtd" [<!ENTITY a "b">]', "&a;"),
    ],
)
def test_a_document_type_is_refused_unread(
    declarations: str, inside: str, encoding: str, asked: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, paths = asked
    secret = tmp_path / "secret"
    secret.write_text("secret")
    filled = declarations.replace("{address}", address).replace("{secret}", secret.as_uri())
    with pytest.raises(
        ValueError, match=r"^a document type is not allowed in a VOEvent; not read$"
    ):
        read(with_doctype(filled, inside, encoding))
    assert paths == []


def test_schemas_and_inclusions_are_not_looked_up(asked: tuple[str, list[str]]) -> None:
    address, paths = asked
    message = event().replace(b"http://www.ivoa.net/xml/VOEvent/VOEvent", f"{address}/V".encode())
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{address}/i"/>'
    check(read(message))
    parsed = read(message.replace(b"<What>", f"<What>{include}".encode()))
    with pytest.raises(ValueError, match=r"not a VOEvent: .*include"):
        check(parsed)
    assert paths == []


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"rubbish",
        b"<a>",
        b"<a/><b/>",
        b"<a>&b;</a>",
        b"<a b='&b;'/>",
        b"<a>\0</a>",
        b"\xff\xfe",
        b"<a:b/>",
        b'<?xml version="1.0" encoding="rot13"?><a/>',
        b'<?xml version="1.0" encoding="none-such"?><a/>',
        b'<?xml version="1.0" encoding="shift_jis"?><a/>',
        b"<a>" * 100_000 + b"</a>" * 100_000,
    ],
)
def test_what_is_no_xml(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"not XML|multi-byte"):
        read(message)


@pytest.mark.parametrize(
    ("role", "children"),
    [("joke", ["What"]), ("test", ["Whatever"]), ("test", ["Who", "Who"])],
)
def test_what_is_no_voevent(role: str, children: list[str]) -> None:
    made = new_event("ivo://a/b#c", role)
    for child in children:
        add(made, child)
    with pytest.raises(ValueError, match="not a VOEvent: "):
        check(made)


@pytest.mark.parametrize("text", ["a\0b", "a\x1b[0m", "\ufffe"])
def test_what_cannot_be_in_xml(text: str) -> None:
    with pytest.raises(ValueError, match="XML"):
        add(new_event("ivo://a/b#c", "test"), "Description", text)
    with pytest.raises(ValueError, match="XML"):
        add(new_event("ivo://a/b#c", "test"), "Param", name=text)
