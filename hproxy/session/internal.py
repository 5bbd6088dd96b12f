# SPDX-License-Identifier: Apache-2.0
"""PROXYSQL INTERNAL SESSION: what the proxy knows of one session, as one object for JSON.

Names are ProxySQL's where it has them; `hproxy` has what only we know.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["session_info"]


def session_info(services: Services, connection: Connection) -> dict[str, Any]:
    """Only texts, numbers, lists and mappings."""
    session, account = connection.session, connection.account
    login = connection.login
    host, _, port = connection.peer.rpartition(":")
    info: dict[str, Any] = {
        "thread_session_id": connection.id,
        "age_ms": 0,
        "status": session.state if session is not None else "login",
        "autocommit": bool(getattr(session, "autocommit", True)),
        "current_hostgroup": -1,
        "default_hostgroup": account.hostgroup if account is not None else -1,
        "default_schema": _text(account.default_schema) if account is not None else "",
        "active_transactions": int(bool(session is not None and session.in_transaction)),
        "locked_on_hostgroup": -1,
        "user_attributes": "",
        "client": {
            "client_addr": {"address": host.strip("[]"), "port": _number(port)},
            "encrypted": connection.client_secure,
            "userinfo": {"username": _text(login.user) if login is not None else ""},
        },
        "backends": [],
    }
    backend, backend_login = connection.where()
    if backend is not None:
        info["current_hostgroup"] = backend.hostgroup
        info["backends"] = [
            {
                "hostgroup_id": backend.hostgroup,
                "address": backend.path or backend.host,
                "port": 0 if backend.path else backend.port,
                "mysql_thread_id": backend_login.backend_id if backend_login is not None else 0,
                "status": services.topology.status(backend).value,
            }
        ]
    if session is not None:
        info["queries"] = session.commands
        info["age_ms"] = round((monotonic() - session.began) * 1000) if session.began else 0
        info["client"]["stream"] = {
            "bytes_recv": session.client.bytes_in,
            "bytes_sent": session.client.bytes_out,
        }
    if connection.pooled and session is not None:
        info["hproxy"] = _shared(services, session)
    return info


def _shared(services: Services, session: Any) -> dict[str, Any]:
    settings = session.settings
    multiplexing = services.protocol.multiplexing
    return {
        "schema": _text(settings.schema),
        "collation": _text(settings.charset.collation),
        "variables": {_text(name): _text(value) for name, value in settings.variables},
        "user_variables": [_text(name) for name, _ in settings.users],
        "pins": multiplexing.reasons(session.pins, session.in_transaction),
        "multiplexed": session.held is None,
        "prepared_statements": session.statements.count if session.statements is not None else 0,
        "last_insert_id": session.last_insert_id,
        "status_flags": int(session.status),
    }


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
