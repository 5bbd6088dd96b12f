# SPDX-License-Identifier: Apache-2.0
"""Rows about what surrounds the proxy: peers, scheduled programs, REST routes, TLS per server.

Columns, defaults and ranges are ProxySQL's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from hproxy.config.address import MAX_PORT
from hproxy.config.option import OptionModel, Whole, live
from hproxy.config.table import MAX_INT32, upper

__all__ = ["MysqlServerSslParams", "ProxysqlServer", "RestapiRoute", "SchedulerJob"]

MAX_INTERVAL_MS = 100_000_000


class ProxysqlServer(OptionModel):
    """One row of proxysql_servers: a peer of this proxy."""

    hostname: Annotated[str, live("Host name or IP address of its admin port.", min_length=1)]
    port: Annotated[Whole, live("Its admin port.", ge=0, le=MAX_PORT)] = 6032
    weight: Annotated[Whole, live("Not used, as in ProxySQL.", ge=0, le=MAX_INT32)] = 0
    comment: Annotated[str, live("A remark.")] = ""


class SchedulerJob(OptionModel):
    """One row of scheduler: a program run again and again, never twice at once."""

    id: Annotated[Whole, live("Its number.", ge=1, le=MAX_INT32)]
    active: Annotated[bool, live("Whether it is run.")] = True
    interval_ms: Annotated[
        Whole, live("Time from one start to the next.", ge=100, le=MAX_INTERVAL_MS)
    ]
    filename: Annotated[str, live("Program, as a whole path.", min_length=1)]
    arg1: Annotated[str | None, live("First argument.")] = None
    arg2: Annotated[str | None, live("Second argument.")] = None
    arg3: Annotated[str | None, live("Third argument.")] = None
    arg4: Annotated[str | None, live("Fourth argument.")] = None
    arg5: Annotated[str | None, live("Fifth argument.")] = None
    comment: Annotated[str, live("A remark.")] = ""

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its arguments, up to the first that is not given."""
        command = [self.filename]
        for argument in (self.arg1, self.arg2, self.arg3, self.arg4, self.arg5):
            if argument is None:
                break
            command.append(argument)
        return tuple(command)


class RestapiRoute(OptionModel):
    """One row of restapi_routes: a program that answers a REST call."""

    id: Annotated[Whole, live("Its number.", ge=1, le=MAX_INT32)]
    active: Annotated[bool, live("Whether it answers.")] = True
    timeout_ms: Annotated[
        Whole, live("The program is ended after this.", ge=100, le=MAX_INTERVAL_MS)
    ]
    method: Annotated[Literal["GET", "POST"], BeforeValidator(upper), live("GET or POST.")]
    uri: Annotated[str, live("Last part of the address.", min_length=1)]
    script: Annotated[str, live("Program, as a whole path.", min_length=1)]
    comment: Annotated[str, live("A remark.")] = ""


class MysqlServerSslParams(OptionModel):
    """One row of mysql_servers_ssl_params: TLS towards one server, instead of what [tls] says."""

    hostname: Annotated[str, live("Server it is about.", min_length=1)]
    port: Annotated[Whole, live("Its port.", ge=0, le=MAX_PORT)] = 3306
    username: Annotated[str, live("User it is about; empty is every user.")] = ""
    ssl_ca: Annotated[str, live("Authorities (PEM file).")] = ""
    ssl_cert: Annotated[str, live("Certificate shown to it (PEM file).")] = ""
    ssl_key: Annotated[str, live("Its private key (PEM file).")] = ""
    ssl_capath: Annotated[str, live("Folder of authorities.")] = ""
    ssl_crl: Annotated[str, live("List of revoked certificates (PEM file).")] = ""
    ssl_crlpath: Annotated[str, live("Folder of such lists.")] = ""
    ssl_cipher: Annotated[str, live("Ciphers, in OpenSSL's words.")] = ""
    tls_version: Annotated[str, live("TLS versions, like TLSv1.2,TLSv1.3.")] = ""
    comment: Annotated[str, live("A remark.")] = ""
