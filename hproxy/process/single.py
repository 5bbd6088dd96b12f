# SPDX-License-Identifier: Apache-2.0
"""Head and one worker in one process (`--single`): the event loop, its signals, and its end.

TERM, INT, PROXYSQL SHUTDOWN SLOW   drain up to server.drain_sec, exit 0; a second one exits at once
PROXYSQL SHUTDOWN, KILL             exit 0 at once
PROXYSQL RESTART                    drain, and begin anew as this process was begun
USR1                                reopen logs
HUP                                 the configuration file and certificates anew
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import uvloop

from hproxy import __version__
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, HProxyError
from hproxy.process.boot import open_store, restored
from hproxy.process.head import Head
from hproxy.process.origin import Origin
from hproxy.process.outside import Outside
from hproxy.runtime import Runtime
from hproxy.runtime.listeners import GivenSockets
from hproxy.telemetry import log as logs

__all__ = ["serve"]

SWITCH_SEC = 0.001


def serve(
    config: Config,
    origin: Origin | None = None,
    outside: Outside | None = None,
    *,
    initial: bool = False,
) -> int:
    """Serve until a signal ends it; the exit status. Raises ConfigError when it cannot start.

    `initial`: what operators saved is set aside, the file counts."""
    # Threads of the admin port read what they were given while the loop serves: it waits for
    # the interpreter no longer than this.
    sys.setswitchinterval(SWITCH_SEC)
    return uvloop.run(_serve(config, origin or Origin(), outside or Outside(), initial))


async def _serve(config: Config, origin: Origin, outside: Outside, initial: bool) -> int:
    log = logs.get_logger("hproxy")
    log.info("starting", version=__version__)
    stop, now = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        (now if stop.is_set() else stop).set()

    def reload() -> None:
        work = asyncio.ensure_future(_reload(serving, log))
        reloads.add(work)
        work.add_done_callback(reloads.discard)

    serving: asyncio.Future[Head] = loop.create_future()
    reloads: set[asyncio.Future[None]] = set()
    # Before anybody can read that we serve: a signal sent then must find its handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGUSR1, logs.reopen)
    logs.on_reopen.append(outside.reopen)
    loop.add_signal_handler(signal.SIGHUP, reload)
    again = asyncio.Event()

    async def drained(seconds: str = "") -> str:
        await runtime.drain(float(seconds or runtime.config.server.drain_sec))
        return f"{len(runtime.services.registry)} clients left"

    try:
        runtime, head = await _started(config, origin, outside, initial, log)
        outside.opened()
        outside.serving(f"serves on {';'.join(runtime.listeners.addresses)}")
    except ConfigError as error:
        log.error("cannot start", code=error.full_code, reason=str(error))
        raise
    serving.set_result(head)
    runtime.port.control.process |= {
        "shutdown": _exit,
        "kill": _exit,
        "shutdown_slow": lambda: _set("shutting down", stop),
        "restart": lambda: _set("restarting", again, stop),
        "drain": drained,
    }
    beats = loop.create_task(outside.beats(), name="beats")
    await stop.wait()
    outside.stopping("draining", config.server.drain_sec, again.is_set())
    deadline_sec = runtime.config.server.drain_sec
    log.info("draining", deadline_sec=deadline_sec, connections=len(runtime.services.registry))
    drain = asyncio.ensure_future(runtime.drain(deadline_sec))
    hurry = asyncio.ensure_future(now.wait())
    await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    for task in (drain, hurry):
        task.cancel()
    await asyncio.gather(drain, hurry, return_exceptions=True)
    left = len(runtime.services.registry)
    await head.stop()
    await runtime.stop()
    beats.cancel()
    log.info("stopped", cut_off=left)
    if again.is_set():
        outside.stopped()
        outside.again()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return 0


async def _started(
    config: Config, origin: Origin, outside: Outside, initial: bool, log: Any
) -> tuple[Runtime, Head]:
    """Worker and head, serving. Raises ConfigError; then nothing is left of them."""
    store = open_store(config, log, initial=initial)
    read = config
    config = restored(config, store, log)
    # What a file says that is not understood, and what is wrong with what we start on.
    for doubt in dict.fromkeys((*read.notes, *config.warnings())):
        log.warning("configuration is doubtful", about=doubt.key, reason=str(doubt))
    runtime = Runtime(config, log)
    head = Head(runtime, store, origin, log)
    runtime.listeners.given = GivenSockets(dict(outside.given.take("listen")), alone=False)
    if head.server is not None:
        opened = dict(outside.given.take("admin"))
        head.server.listeners.given = GivenSockets(opened, alone=False)
    if head.http is not None:
        opened = dict(outside.given.take("http"))
        head.http.listeners.given = GivenSockets(opened, alone=False)
    logs.on_reopen.append(runtime.recorder.journal.reopen)  # whoever reads "serving" may ask
    try:
        runtime.start()
        await head.start()
    except ConfigError:
        await head.stop()
        await runtime.stop()
        raise
    return runtime, head


async def _reload(serving: asyncio.Future[Head], log: Any) -> None:
    try:
        found = await (await serving).reload()
    except HProxyError as error:
        log.error("not reloaded: nothing has changed", signal="HUP", reason=str(error))
    else:
        log.info("reloaded", text=found.text, warnings=found.warnings)


def _exit() -> str:
    """At once, and without a word: as ProxySQL does."""
    os._exit(0)


def _set(text: str, *events: asyncio.Event) -> str:
    for event in events:
        event.set()
    return text
