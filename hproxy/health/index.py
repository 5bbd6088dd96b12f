# SPDX-License-Identifier: Apache-2.0
"""A view of the runtime by address and by hostgroup: made once per change, read per check."""

from __future__ import annotations

from collections.abc import Iterable

from hproxy.health.model import Address, Server, View

__all__ = ["Index"]


class Index:
    """One view; immutable."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._own: dict[Address, list[Server]] = {}
        self._members: dict[int, list[Server]] = {}
        for server in view.servers:
            self._own.setdefault(server.address, []).append(server)
            self._members.setdefault(server.hostgroup, []).append(server)
        self.lag_when_null = dict(view.lag_when_null)

    @property
    def addresses(self) -> Iterable[Address]:
        """Every server once."""
        return self._own.keys()

    def own(self, address: Address) -> list[Server]:
        """The rows of one server."""
        return self._own.get(address, [])

    def members(self, *hostgroups: int) -> list[Server]:
        """The rows of some hostgroups."""
        return [server for hostgroup in hostgroups for server in self._members.get(hostgroup, ())]

    def use_ssl(self, address: Address) -> bool:
        """Whether probes of it use TLS: where one of its rows says so."""
        return any(server.use_ssl for server in self.own(address))
