# SPDX-License-Identifier: Apache-2.0
"""Forms of text that some variables want: addresses, accounts, networks, a version, names.

A form takes the text and gives it back in the one spelling that is kept, or raises Refusal.
An empty text always stands: it switches off what the variable is about.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from hproxy.config.address import AddressError, parse_listen
from hproxy.config.option import Refusal

__all__ = ["FORMS", "accounts", "interfaces"]

# Drivers take the numbers apart; what follows them is free, but it ends at a NUL on the wire.
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[ -~]{0,50}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _parts(text: str, separators: str) -> Iterator[str]:
    return (part.strip() for part in re.split(f"[{separators}]", text) if part.strip())


def interfaces(text: str) -> tuple[str, ...]:
    """Addresses to listen on, separated by ';' or ','. Raises Refusal."""
    found: list[str] = []
    for part in _parts(text, ";,"):
        try:
            address = str(parse_listen(part))
        except AddressError as error:
            raise Refusal(f"{part!r}: {error}", error.hint) from None
        if address in found:
            raise Refusal(f"{address} is there twice")
        found.append(address)
    return tuple(found)


def accounts(text: str) -> dict[str, str]:
    """Passwords by user of "user:password;user:password". Raises Refusal, which shows neither."""
    found: dict[str, str] = {}
    for number, part in enumerate(_parts(text, ";"), start=1):
        user, colon, password = part.partition(":")
        if not colon or not user:
            raise Refusal(f"account {number} is not USER:PASSWORD", "several are separated by ';'")
        if user in found:
            raise Refusal(f"account {number} has the name of an earlier one")
        found[user] = password
    return found


def _interfaces_text(text: str) -> str:
    return ";".join(interfaces(text))


def _accounts_text(text: str) -> str:
    return ";".join(f"{user}:{password}" for user, password in accounts(text).items())


def _networks_text(text: str) -> str:
    """Networks of "10.0.0.0/8, ::1"; `*` is every address, `localhost` a Unix socket as well."""
    for part in _parts(text, ","):
        if part in ("*", "localhost"):
            continue
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError:
            raise Refusal(f"{part!r} is not a network", "like 10.0.0.0/8, or * for all") from None
    return text.strip()


def _version_text(text: str) -> str:
    if text and not _VERSION.fullmatch(text):
        raise Refusal("is not a server version", 'like "8.0.39-hproxy", printable ASCII')
    return text


def _names_text(text: str) -> str:
    names = tuple(_parts(text, ","))
    for name in names:
        if not _NAME.fullmatch(name):
            raise Refusal(f"{name!r} is not a name of a variable", "several are separated by ','")
    return ",".join(names)


def _no_detector_text(text: str) -> str:
    if text.strip().lower() not in ("false", "0", "off", "no", ""):
        raise Refusal(
            "there is no detector of SQL injection",
            "the firewall's whitelist stops a statement into which something was injected",
        )
    return "false"


def _fixed(text: str) -> str:
    raise Refusal("cannot be set")


FORMS: dict[str, Callable[[str], str]] = {
    "interfaces": _interfaces_text,
    "accounts": _accounts_text,
    "networks": _networks_text,
    "version": _version_text,
    "names": _names_text,
    "no_detector": _no_detector_text,
    "fixed": _fixed,
}
