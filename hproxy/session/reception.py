# SPDX-License-Identifier: Apache-2.0
"""Logins on the fast lane: what the native Greeter is told, and what it asks.

    greet ──> Greeter ── the usual ──> admitted ──> session
                 └ anything else ──> unusual ──> Connector.serve ──> remember

What a login was like, once it has been through the Connector, is remembered; the next one that
says the same with a right proof gets its session without another look. Facts that only
COM_CHANGE_USER or a statement with effects asks for are filled in when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hproxy.session.login import login_options
from hproxy.session.registry import Connection
from hproxy.session.ruling import Ruling
from hproxy.session.services import Services

__all__ = ["Begun", "Reception"]


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that compiled code began and the slow lane goes on with."""

    guest: Any
    scrambles: tuple[bytes, ...]
    profile: Any
    """What the client was greeted with."""
    seconds: float
    """Left for it."""


class Reception:
    """Greets clients of sessions that share backend connections."""

    def __init__(
        self,
        services: Services,
        serve: Callable[[Any, Connection, Begun], Any],
        following: Callable[[Any, Any], Any],
    ) -> None:
        """`serve` logs a client in as ever; `following(settings, facts)` starts to follow one."""
        self._services = services
        self._serve = serve
        self._following = following
        self._ruling = Ruling(services)
        self._shortcut = services.protocol.shortcut
        self._fill_in = self.fill_in  # bound once, not for every client
        self._greeter = self._shortcut.Greeter(services.reactor, services, self)

    def greet(self, fd: int, connection: Connection) -> bool:
        """Greet a client that was accepted; False: nobody knows yet what as. Raises OSError."""
        seconds = self._services.settings.login_timeout
        taken: bool = self._greeter.greet(fd, connection, seconds)
        return taken

    def remember(
        self, begun: Begun, shortcut: Any, connection: Connection, facts: Any, ok: bytes
    ) -> None:
        """`connection` was let in and has a new session: others like it may be, too."""
        if shortcut is None or begun.guest.key is None:
            return
        account = connection.account
        if account is None or self._services.users.find(account.username) is not account:
            return  # the table was swapped while it logged in
        login, session = connection.login, connection.session
        admission = self._shortcut.admission(shortcut, login, facts, connection.kind, ok, session)
        self._greeter.remember(begun.guest, admission, shortcut.as_nobody)

    def forget(self) -> None:
        """What was remembered holds no more."""
        self._greeter.forget()

    # -- what the greeter asks -----------------------------------------------------

    def compose(self) -> Any:
        """The greeting of now; None while no backend was heard of."""
        services = self._services
        if not services.profiles:
            return None
        profile = services.protocol.meet(list(services.profiles.values()))
        options = login_options(services, Connection(0, "", services.log), None)
        machine: Any = services.protocol.client_login(options, profile)
        return self._shortcut.form(machine.greeting, services.settings, profile, services.heard)

    def goes_as_nobody(self, user: bytes) -> bool:
        """Whether this name is asked the same as one that is no account's."""
        users = self._services.users
        account = users.find(user) or users.decoy(user)
        return account is None or (
            account.plugin is None and not account.require_tls and account.secret.is_clear
        )

    def admitted(self, connection: Connection, session: Any, admission: Any, said: bytes) -> None:
        """Let in without a look, and counted by its account. `said`: see `fill_in`."""
        account = admission.account
        connection.account = account
        connection.kind = admission.kind
        connection.pooled = True
        connection.admission = admission
        connection.said = said
        connection.fill = self._fill_in
        connection.session = session
        connection.busy = None
        session.exact_insert_ids = account.asks_insert_id
        services = self._services
        asks = services.sharing.rules.asks_origin or services.track_hosts
        if asks or services.firewall.enabled:  # others of its account may be of another class
            session.set_salt(self._ruling.salt(session, connection))
        services.registry.totals.logins += 1
        if services.hosts:
            services.hosts.succeeded(connection.host)
        if services.guard.on:
            services.guard.welcome(connection.host, account.username)
        if services.recorder.journal.auditing:
            services.recorder.came(connection)
        connection.debug("logged in", user=account.username.decode("utf-8", "replace"))

    def unusual(
        self, guest: Any, channel: Any, scrambles: tuple[bytes, ...], profile: Any, seconds: float
    ) -> None:
        """Goes on as if nothing had been read; what was sent is known to `channel`."""
        connection: Connection = guest.connection
        begun = Begun(guest, scrambles, profile, seconds)
        login = self._serve(channel, connection, begun)
        connection.busy = self._services.tasks.spawn(login, f"login {connection.id}", begins=True)

    def abandoned(self, connection: Connection) -> None:
        """We end before the client has logged in."""
        self._services.registry.leave(connection)

    def broken(self, connection: Connection, error: BaseException) -> None:
        """A mistake of ours, or no memory: this client pays."""
        if isinstance(error, MemoryError):
            connection.log.error("out of memory", code="memory", state="login")
        else:
            connection.log.error("internal error", code="internal", exc_info=error)
        if connection.account is not None:
            self._services.users.leave(connection.account)
            connection.account = None
        self._services.registry.leave(connection)

    def fill_in(self, connection: Connection) -> None:
        """What a login knows and hardly anybody asks for."""
        admission, connection.admission = connection.admission, None
        said, connection.said = connection.said, b""
        connection.login = self._shortcut.again(admission.login, said)
        connection.follow = self._following(admission.settings, admission.facts)


def resumed(options: Any, begun: Begun | None) -> Any:
    """The options of a login that was begun elsewhere."""
    return options if begun is None else replace(options, scrambles=begun.scrambles)
