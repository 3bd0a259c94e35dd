"""Checks of external systems. Nothing is sent that they would act on."""

from __future__ import annotations

import functools
import importlib.util
import smtplib
import socket
from collections.abc import Iterator, Sequence

from darc.cli.check_results import ANSWER_SECONDS, Check, CheckedNode
from darc.config.config import Role
from darc.config.web_address import split
from darc.runtime.check_result import CheckResult, good, warn, wrong
from darc.runtime.service_traits import (
    OutsideAddress,
    OwnCheck,
    Reach,
    known_traits,
    own_check,
    traits_of,
)
from darc.runtime.tcp_client import connect_tcp


def outside_checks() -> tuple[Check, ...]:
    """Return a check for each system outside that the services of this package send to."""
    addresses = (
        Check(address.title, functools.partial(_outside, service, address))
        for service, traits in known_traits().items()
        for address in traits.outside
    )
    own = (
        Check(check.title, functools.partial(_own, service, check))
        for service, traits in known_traits().items()
        for check in traits.checks
    )
    return (*addresses, *own)


def _own(service: str, check: OwnCheck, checked: CheckedNode) -> Iterator[CheckResult]:
    if service in checked.config.services():
        yield from own_check(service, check)(checked.config)


def _outside(service: str, address: OutsideAddress, checked: CheckedNode) -> Iterator[CheckResult]:
    if service not in checked.config.services():
        return
    settings = checked.config.section(service)
    host = getattr(settings, address.host_key) if address.host_key else "localhost"
    remedy = address.remedy.format(host=host)
    ports: list[int] = [getattr(settings, key) for key in address.port_keys]
    sends = bool(getattr(settings, address.sends_key)) if address.sends_key else True
    if sends and address.needs and importlib.util.find_spec(address.needs[0]) is None:
        module, extra = address.needs
        yield wrong(
            f"{module} is not installed: nothing can be sent", f"pip install 'darc[{extra}]'"
        )
        return
    if address.reach is Reach.LISTENS:
        yield _listening(ports, remedy, checked)
        return
    try:
        if address.reach is Reach.CONNECTS:
            for port in ports:
                connect_tcp((host, port), ANSWER_SECONDS).close()
            text = f"{host}:{_listed(ports)} takes connections"
        else:
            found = socket.getaddrinfo(host, ports[0], type=socket.SOCK_DGRAM)
            text = f"{host} is {found[0][4][0]}, port {_listed(ports)} (UDP)"
    except OSError as error:
        off = "" if sends else " (nothing is sent there, as configured)"
        say = wrong if sends else warn
        yield say(f"{host}:{_listed(ports)}: {_why(error)}{off}", remedy)
    else:
        yield good(text)


def _listening(ports: Sequence[int], remedy: str, checked: CheckedNode) -> CheckResult:
    """Whether a process of this machine listens on each of the ports."""
    listen = {one.port for one in checked.listeners}
    if missing := [port for port in ports if port not in listen]:
        return warn(f"no process listens on {_listed(missing)}", remedy)
    return good(f"listens on {_listed(ports)}")


def _listed(ports: Sequence[int]) -> str:
    return " and ".join(map(str, ports))


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    return error.strerror or str(error)


def alarms(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check where alarms are sent: targets of chats, and Alertmanagers."""
    config = checked.config
    if config.role is Role.WORKER:
        return
    settings = config.alarms
    if not settings.chat and not settings.alertmanagers:
        yield good("no chats and no Alertmanagers are configured")
        return
    if settings.chat:
        from darc.delivery.delivery_checks import chat_targets  # noqa: PLC0415 - as it is used

        yield from chat_targets(settings.chat, config.chat)
    for url in settings.alertmanagers:
        parts = split(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            connect_tcp((parts.hostname or "", port), ANSWER_SECONDS).close()
        except OSError as error:
            remedy = "start the Alertmanager, or set alarms.alertmanagers"
            yield wrong(f"Alertmanager at {parts.netloc}: {_why(error)}", remedy)
        else:
            yield good(f"Alertmanager at {parts.netloc} takes connections")


def mail(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check the mail server: it is greeted, and left."""
    config = checked.config
    users = [
        name
        for name in config.services()
        if (section := traits_of(name).mails) and config.section(section).email_settings.to
    ]
    if not users:
        yield good("no e-mail recipients are configured")
        return
    where = f"{config.mail.host}:{config.mail.port}"
    remedy = "start the server, or set mail.host and mail.port"
    try:
        with smtplib.SMTP(config.mail.host, config.mail.port, timeout=ANSWER_SECONDS) as server:
            server.noop()
    except smtplib.SMTPException as error:
        yield wrong(f"{where}: {error}", remedy)
    except OSError as error:
        yield wrong(f"{where}: {_why(error)}", remedy)
    else:
        yield good(f"{where} answers, for {' and '.join(users)}")
