# SPDX-License-Identifier: Apache-2.0
"""The section [http]: where the HTTP API listens, who may use it, and what it takes.

`HttpOptions.listens` is asked through `Config.http_listens`: admin.http_address is an older name
of the address.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from hproxy.config.address import Address, parse_listen
from hproxy.config.option import (
    MAX_SEC,
    ListensText,
    Number,
    OptionModel,
    Refusal,
    Whole,
    restart,
)

__all__ = ["HttpOptions"]

SHORTEST = 16
"""Characters of a token: nobody guesses one, however many they try."""


def _token(text: str) -> str:
    if len(text) < SHORTEST:
        raise Refusal(f"must have at least {SHORTEST} characters", "try: openssl rand -hex 24")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Refusal("must be printable ASCII without blanks", "it is sent in a header")
    return text


Token = Annotated[str, AfterValidator(_token)]


class HttpOptions(OptionModel):
    """[http]: the HTTP API, /metrics and /healthz."""

    address: Annotated[
        ListensText,
        restart(
            "HOST:PORT, [IPv6]:PORT or the path of a Unix socket; several with ';', empty is none. "
            "The default is for who has an admin port, and is waited for, with a warning, while "
            "another process has it."
        ),
    ] = "127.0.0.1:6080"
    token: Annotated[
        Token | None,
        restart("Bearer token that may do everything.", repr=False),
    ] = None
    token_file: Annotated[
        Path | None,
        restart(
            "File with that token. Without both one is made, and kept in http.token of data_dir."
        ),
    ] = None
    read_token: Annotated[
        Token | None, restart("Bearer token that may read but change nothing.", repr=False)
    ] = None
    metrics_token: Annotated[bool, restart("Whether /metrics wants a token as well.")] = False
    cert: Annotated[
        Path | None, restart("Certificate (PEM, chain included); with it HTTPS is spoken.")
    ] = None
    key: Annotated[
        Path | None, restart("Its private key (PEM); without it the key is in the cert file.")
    ] = None
    max_connections: Annotated[
        Whole, restart("Connections at once; whoever idles longest makes room.", ge=1, le=10_000)
    ] = 100
    max_body_kib: Annotated[
        Whole, restart("Longest body of a request.", ge=1, le=1 << 20, unit="KiB")
    ] = 4096
    timeout_sec: Annotated[
        Number,
        restart(
            "A request must be here within this, and its answer be taken within this.",
            gt=0,
            le=MAX_SEC,
        ),
    ] = 10

    @property
    def listens(self) -> tuple[Address, ...]:
        return tuple(parse_listen(text) for text in self.address.split(";") if text)

    @model_validator(mode="after")
    def _pairs(self) -> HttpOptions:
        if self.key and not self.cert:
            raise Refusal("is set but http.cert is not", "give http.cert too", ("http.key",))
        if self.token and self.token_file:
            raise Refusal(
                "is set and http.token too", "give one of them", ("http.token_file", "http.token")
            )
        return self
