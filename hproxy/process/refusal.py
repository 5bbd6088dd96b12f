# SPDX-License-Identifier: Apache-2.0
"""An error as another process of the service reads it, so that operators hear the same words.

an operator's, a client's ── refused ──> answer ── refusal ──> RemoteError.original: an equal one
any other                 ── refused ──> answer ── refusal ──> RemoteError with its text
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hproxy.errors import (
    AdminError,
    ClientError,
    ConfigError,
    ConfigFinding,
    HProxyError,
    RemoteError,
)

__all__ = ["original", "refusal", "refused"]

ORIGINAL = {kind.code: kind for kind in (AdminError, ClientError)}
PLAIN = (str, int, float, bool)


def refused(error: HProxyError) -> dict[str, Any]:
    """The answer that refuses."""
    facts = {name: value for name, value in error.facts.items() if isinstance(value, PLAIN)}
    found: dict[str, Any] = {
        "error": str(error),
        "code": error.full_code,
        "reason": error.reason,
        "facts": facts,
    }
    if isinstance(error, ConfigError):
        found["findings"] = [asdict(finding) for finding in error.findings]
    return found


def refusal(answer: Mapping[str, Any]) -> RemoteError:
    """What such an answer is to who asked."""
    code = answer.get("code", "")
    error = RemoteError(answer["error"], remote=code)
    reason, facts = answer.get("reason", ""), answer.get("facts", {})
    kind, _, rest = code.partition(".")
    if kind in ORIGINAL:
        error.original = ORIGINAL[kind](reason, code=rest or None, **facts)
    elif kind == ConfigError.code:
        findings = [ConfigFinding(**finding) for finding in answer.get("findings", ())]
        error.original = ConfigError(reason, code=rest or None, findings=findings, **facts)
    return error


def original(error: HProxyError) -> HProxyError:
    """What was raised there, or an AdminError that says so."""
    if isinstance(error, RemoteError) and error.original is not None:
        return error.original
    return AdminError(str(error), code="service")
