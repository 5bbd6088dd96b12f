# SPDX-License-Identifier: Apache-2.0
"""What the program tells the outside: log lines."""

from hproxy.telemetry.log import Logger, configure, get_logger, reopen, set_level

__all__ = ["Logger", "configure", "get_logger", "reopen", "set_level"]
