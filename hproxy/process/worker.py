# SPDX-License-Identifier: Apache-2.0
"""One process that serves: the event loop, its signals, and its end.

TERM and INT drain up to DRAIN_SEC and exit 0; a second one exits at once. USR1 reopens logs, HUP
says that there is no reload yet instead of ending the process.
"""

from __future__ import annotations

import asyncio
import signal

import uvloop

from hproxy import __version__
from hproxy.config.schema import Config
from hproxy.errors import ConfigError
from hproxy.runtime import Runtime
from hproxy.telemetry import log as logs

__all__ = ["serve"]

DRAIN_SEC = 30.0


def serve(config: Config) -> int:
    """Serve until a signal ends it; the exit status. Raises ConfigError when it cannot start."""
    return uvloop.run(_serve(config))


async def _serve(config: Config) -> int:
    log = logs.get_logger("hproxy")
    log.info("starting", version=__version__)
    stop, now = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        (now if stop.is_set() else stop).set()

    def reload() -> None:
        log.warning("reload is not in this version: nothing has changed", signal="HUP")

    # Before anybody can read that we serve: a signal sent then must find its handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGUSR1, logs.reopen)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        runtime = Runtime(config, log)
        runtime.start()
    except ConfigError as error:
        log.error("cannot start", code=error.full_code, reason=str(error))
        raise
    await stop.wait()
    log.info("draining", deadline_sec=DRAIN_SEC, connections=len(runtime.services.registry))
    drain = asyncio.ensure_future(runtime.drain(DRAIN_SEC))
    hurry = asyncio.ensure_future(now.wait())
    await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    for task in (drain, hurry):
        task.cancel()
    await asyncio.gather(drain, hurry, return_exceptions=True)
    left = len(runtime.services.registry)
    await runtime.stop()
    log.info("stopped", cut_off=left)
    return 0
