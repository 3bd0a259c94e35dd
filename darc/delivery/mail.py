"""E-mail: messages that are safe whatever text they contain, and sending them by SMTP."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import re
import smtplib
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage

from darc.config.settings import MailSettings
from darc.delivery.outbox import DeliveryError
from darc.delivery.total_timeout import cut_after

log = logging.getLogger(__name__)

MAX_SUBJECT = 200  # characters

# ASCII, with the lengths of RFC 5321 and 1035: longer or other addresses would be folded into an
# invalid header. A user without a host is one of the server's.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_HOST = r"[\w-]{1,63}(?:\.[\w-]{1,63})*"
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)(?:@({_HOST}))?", re.ASCII)
MAX_USER, MAX_ADDRESS = 64, 254  # characters
_NAMED = re.compile(r"[^<>]*<([^<>]*)>")


def make_message(
    subject: str,
    text: str,
    to: Sequence[str],
    sender: str | None,
    hostname: str,
    *,
    message_id: str,
) -> EmailMessage:
    """Return an e-mail of plain text, UTF-8.

    Subject and text cannot inject a header. Invalid addresses are left out, and logged.

    :param to: addresses, each ``user@host``, ``user`` or ``Name <user@host>``, of which the name
        is left out
    :param sender: address of the sender; None: <user of this process>@<host name>
    :param message_id: identity of the message; the same one gives the same Message-ID on this host,
        by which mail programs recognise duplicates
    :raises ValueError: the sender is not an address, or there are no valid recipients
    """
    addresses = []
    for entry in to:
        try:
            addresses.append(_address(entry))
        except ValueError as error:
            log.error("left out of an e-mail: %s", error)
    if not addresses:
        raise ValueError(f"the e-mail {_printable(subject)!r} has no valid recipient")
    message = EmailMessage()
    message["From"] = _address(f"{_user()}@{hostname}" if sender is None else sender)
    message["To"] = addresses
    # An encoded word would be decoded, with line breaks that it may contain.
    message["Subject"] = _printable(subject[:MAX_SUBJECT]).replace("=?", "= ?")
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = _message_id(message_id, hostname)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic replies
    lines = [_printable(line) for line in text.expandtabs().splitlines()]
    # Seven bits and short lines, which every server accepts.
    message.set_content("".join(f"{line}\n" for line in lines), cte="quoted-printable")
    return message


def send(message: EmailMessage, settings: MailSettings, timeout: float) -> None:
    """Send an e-mail by SMTP; it counts as delivered if accepted for at least one recipient.

    :param message: from :func:`make_message`
    :param timeout: total time, s, whatever the server does; slightly more if its name has several
        addresses
    :raises DeliveryError: it was not accepted; permanent if the server refuses (5xx) the sender,
        all recipients or the message
    """
    server = f"mail server {settings.host}:{settings.port}"
    smtp = smtplib.SMTP(local_hostname=_own_name(), timeout=timeout)
    with cut_after(timeout, smtp) as was_cut:
        try:
            refused = _hand_in(smtp, message, settings)
        except (OSError, UnicodeError) as error:  # those of smtplib are OSErrors
            permanent = _is_permanent(error)
            cut = was_cut.is_set() and not permanent
            why = f"not sent within {timeout:g} s" if cut else _reason(error)
            raise DeliveryError(f"{server}: {why}", permanent=permanent) from error
        finally:
            _quit(smtp)
    if refused:
        log.warning("%s: accepted, but not for %s", server, _replies(refused))


def _hand_in(
    smtp: smtplib.SMTP, message: EmailMessage, settings: MailSettings
) -> dict[str, tuple[int, bytes]]:
    """Send the message; return the refused recipients with the server's replies."""
    code, reply = smtp.connect(settings.host, settings.port)
    if code != 220:
        smtp.close()
        raise smtplib.SMTPConnectError(code, reply)
    (sender,) = message["From"].addresses
    recipients = [address.addr_spec for address in message["To"].addresses]
    return smtp.send_message(message, sender.addr_spec, recipients)


def _quit(smtp: smtplib.SMTP) -> None:
    """Send QUIT; errors do not matter, as the message was accepted or refused before."""
    try:
        smtp.quit()
    except OSError as error:
        log.debug("mail server, on QUIT: %s", error)
    finally:
        smtp.close()


def _is_permanent(error: Exception) -> bool:
    """Whether this message was refused permanently (5xx), not the whole connection."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(_is_final(code) for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError):
        return _is_final(error.smtp_code)
    return False


def _is_final(code: int) -> bool:
    return 500 <= code < 600


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"recipients refused: {_replies(error.recipients)}"
    if isinstance(error, smtplib.SMTPResponseException):
        what = {smtplib.SMTPSenderRefused: "sender", smtplib.SMTPDataError: "message"}
        reply = _reply(error.smtp_code, error.smtp_error)
        return f"{what.get(type(error), 'connection')} refused: {reply}"
    return _printable(str(error) or type(error).__name__)


def _replies(recipients: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address}: {_reply(code, text)}" for address, (code, text) in recipients.items()
    )


def _reply(code: int, text: bytes | str) -> str:
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    return _printable(f"{code} {' '.join(text.split())}")


def _own_name() -> str:
    """Return this host's name for the server, without the name lookup that smtplib does."""
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in containers
        return f"uid{os.getuid()}"


def _address(text: str) -> Address:
    """Parse a single address.

    :raises ValueError: it is invalid, or followed by anything else
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    found = _ADDRESS.fullmatch(named[1] if named else text)
    too_long = found and (len(found[1]) > MAX_USER or len(found[0]) > MAX_ADDRESS)
    if not found or too_long or not text.isprintable() or "=?" in text:
        raise ValueError(f"{text!r} is not an address; allowed: user@host, Name <user@host>")
    return Address("", found[1], found[2] or "")


def _message_id(identity: str, hostname: str) -> str:
    digest = hashlib.sha256(identity.encode(errors="backslashreplace")).hexdigest()[:32]
    place = re.sub(r"[^A-Za-z0-9.-]+|\.(?=\.)", "-", hostname).strip(".-") or "localhost"
    return f"<{digest}.darc@{place}>"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
