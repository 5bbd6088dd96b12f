# SPDX-License-Identifier: Apache-2.0
"""Play for as long as wanted: python -m tests.torture --steps 100000 --seed 1 --server mariadb.

Without --proxy one is started; --direct plays direct against direct, which must not differ.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support.proxy import Proxy
from tests.support.recording_client import Login
from tests.support.server import Server, find_server
from tests.torture.campaign import Campaign, Plan, Result
from tests.torture.shrink import Replay, kind_of, report, shrink
from tests.torture.stage import staged
from tests.torture.step import read_script, write_script
from tests.torture.writer import CAPABILITIES, login_of

say = sys.stdout.write


def main() -> None:
    given = arguments()
    server = find_server(given.server)
    only = None
    if given.capabilities is not None:
        only = frozenset(filter(None, given.capabilities.upper().split("+")))
        if unknown := only - set(CAPABILITIES):
            sys.exit(f"unknown capabilities {sorted(unknown)}; known: {', '.join(CAPABILITIES)}")
    plan = Plan(
        given.seed, given.steps, given.sessions, given.hold, given.differences, given.kills, only
    )
    with ExitStack() as stack:
        address, proxy = way(given, server, stack)
        name = f"tz{secrets.token_hex(3)}"
        stage = stack.enter_context(staged(server, name))
        campaign = Campaign(stage, plan, address)
        replay = Replay(stage, campaign.expected, campaign.actual)

        def login(session: int) -> Login:
            return login_of(given.seed, session, server.name, only)

        if given.replay:
            history = read_script(Path(given.replay).read_text())
            found = replay.differs(history, login)
            say(
                "no difference\n" if found is None else f"differs at step {found[0]}: {found[1:]}\n"
            )
            sys.exit(found is not None)
        try:
            result = campaign.run(progress)
            progress(result)
            tell_all(given, result, replay, login)
        finally:
            if proxy is not None:
                for line in proxy.faults()[:20]:
                    say(f"log: {line}\n")
                if not proxy.running:
                    say(f"the proxy ended:\n{proxy.story(-50)}\n")
    sys.exit(bool(result.differences))


def tell_all(
    given: argparse.Namespace, result: Result, replay: Replay, login: Callable[[int], Login]
) -> None:
    """One of each kind, shrunk."""
    kinds = Counter(map(kind_of, result.differences))
    for number, difference in enumerate(result.differences):
        alike = kinds.pop(kind_of(difference), 0)
        if not alike:
            continue  # one of its kind was told
        small = shrink(replay, difference, login, given.shrink_s)
        say(f"\n--- difference {number + 1} (seed {given.seed}, {given.server}),")
        say(f" {alike} alike ---\n{report(difference, small)}")
        if given.keep:
            folder = Path(given.keep)
            folder.mkdir(parents=True, exist_ok=True)
            script = folder / f"{given.server}-{given.seed}-{difference.session}.script"
            script.write_text(write_script(difference.everybody if small is None else small[0]))
        sys.stdout.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", choices=["mariadb", "mysql"], default="mariadb")
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--hold", type=int, default=0, help="sessions amid something at a time")
    parser.add_argument("--differences", type=int, default=10, help="after how many it is enough")
    parser.add_argument("--kills", action="store_true", help="of connections nobody needs")
    parser.add_argument("--backends", type=int, default=0, help="backend connections, 0 for any")
    parser.add_argument("--capabilities", help="joined by +, '' for none; drawn when not given")
    parser.add_argument("--proxy", metavar="HOST:PORT")
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--session-mode", default="multiplex")
    parser.add_argument("--slow-lane", action="store_true", help="fast_lane = off")
    parser.add_argument("--replay", metavar="SCRIPT", help="play a kept script")
    parser.add_argument("--keep", metavar="FOLDER", help="where scripts of differences go")
    parser.add_argument("--shrink-s", type=float, default=60.0)
    return parser.parse_args()


def way(
    given: argparse.Namespace, server: Server, stack: ExitStack
) -> tuple[tuple[str, int], Proxy | None]:
    """Where the other side connects."""
    if given.direct:
        return (server.host, server.port), None
    if given.proxy:
        host, _, port = given.proxy.rpartition(":")
        return (host, int(port)), None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    config: dict[str, object] = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
        "proxy": {"auth": "table"},
        "logging": {"level": "info", "format": "json"},
        "mysql_servers": [{"hostname": server.host, "port": server.port}],
        "mysql_users": [{"username": "hproxy", "password": "hproxy"}],
    }
    if given.backends:
        config["mysql_servers"] = [
            {"hostname": server.host, "port": server.port, "max_connections": given.backends}
        ]
    proxy_section: dict[str, object] = {"auth": "table"}
    if given.session_mode != "default":
        proxy_section["session_mode"] = given.session_mode
    if given.slow_lane:
        proxy_section["fast_lane"] = False
    config["proxy"] = proxy_section
    proxy = stack.enter_context(Proxy(folder, config))
    return (proxy.host, proxy.port), proxy


def progress(result: Result) -> None:
    rate = result.steps / result.seconds if result.seconds else 0
    say(
        f"{result.steps:8,} steps {result.seconds:7.1f} s {rate:7.0f}/s"
        f"  {result.errors:,} answered by errors, {len(result.differences)} differences\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
