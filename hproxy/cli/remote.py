# SPDX-License-Identifier: Apache-2.0
"""Which service a command talks to, and how its answer is shown: what `ctl` and `top` share.

    where    --url, else HPROXY_URL, else what [http] of the configuration says
    token    --token, else HPROXY_TOKEN, else http.token, http.token_file, or the one the proxy made

The options may stand before the command or behind it. The configuration is -c FILE, HPROXY_CONFIG
or the defaults, with HPROXY_* counted as `hproxy run` does: on the machine of the proxy, as its
user, nothing needs to be given.
"""

from __future__ import annotations

import functools
import os
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hproxy.control.client import Client, Target, explained
from hproxy.errors import AdminError, ConfigError

if TYPE_CHECKING:
    from hproxy.config.schema import Config

__all__ = ["Remote", "columns", "remote", "remote_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
EXIT_REFUSED = 1
ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
OF_NO_MATTER = "127.0.0.1:6032"
OF_USE = {"http": ("address", "token", "token_file", "cert", "key"), "server": ("data_dir",)}
FILES = {"http.token_file", "http.cert", "http.key", "server.data_dir"}
NARROW = 100
"""Characters of a text in a table, unless --wide."""


def remote_options(command: Decorated) -> Decorated:
    """Adds them to a command or group; `remote` gathers what was given."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            context.ensure_object(dict)[parameter.name] = value

    made = functools.partial(click.option, expose_value=False, callback=keep)
    for option in (
        made("--wide", is_flag=True, help="Show long texts whole."),
        made("--json", "as_json", is_flag=True, help="JSON, as the service tells it."),
        made("--insecure", is_flag=True, help="Any certificate will do."),
        made("--ca", metavar="FILE", help="Authorities for https (PEM)."),
        made("--timeout", type=float, metavar="SEC", help="Wait so long for an answer (30)."),
        made("--token", metavar="TOKEN", help="Else HPROXY_TOKEN, or the configuration's."),
        made("--url", metavar="URL", help="http(s)://HOST:PORT or unix:/path; else HPROXY_URL."),
        made("-c", "--config", metavar="FILE", help="The proxy's; tells address and token."),
    ):
        command = option(command)
    return command


def remote(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose first argument is a `Remote`; what the service refuses ends it with 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        found: Remote | None = None
        try:
            found = Remote.of(click.get_current_context().ensure_object(dict), os.environ)
            return command(found, *args, **kwargs)
        except AdminError as error:
            click.echo(f"hproxy: {explained(error)}", err=True)
            sys.exit(EXIT_REFUSED)
        except BrokenPipeError:  # `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_REFUSED)
        finally:
            if found is not None:
                found.client.close()

    return remote_options(run)


@dataclass(slots=True)
class Remote:
    """A service, and how to show what it answers."""

    client: Client
    as_json: bool = False
    wide: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], environ: Mapping[str, str]) -> Remote:
        """From options and environment. Raises AdminError, ConfigError."""
        url = given.get("url") or ("" if given.get("config") else environ.get("HPROXY_URL", ""))
        token = given.get("token") or environ.get("HPROXY_TOKEN", "")
        config = None
        if not (url and token):
            config = _config(given.get("config") or environ.get("HPROXY_CONFIG"), environ)
        target = Target.parse(url) if url else _target(config)
        if not token and config is not None:
            token = _token(config)
        client = Client(
            target,
            token,
            context=_context(target, given, None if url else config),
            **({"timeout_sec": given["timeout"]} if "timeout" in given else {}),
        )
        return cls(client, bool(given.get("as_json")), bool(given.get("wide")))

    def show(
        self, answer: Any, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]
    ) -> None:
        """`answer` as JSON, or `rows` as a table of the columns of `names` (title: key)."""
        if self.as_json:
            self.json(answer)
            return
        for line in columns(rows, names, None if self.wide else NARROW):
            click.echo(line)

    def said(self, answer: Any, *texts: str) -> None:
        """`answer` as JSON, or these lines."""
        if self.as_json:
            self.json(answer)
            return
        for text in texts:
            if text:
                click.echo(text)

    def json(self, answer: Any) -> None:
        """For programs."""
        import orjson

        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))


def columns(
    rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], most: int | None = None
) -> list[str]:
    """Lines of a table; numbers to the right, long texts cut to `most` characters."""
    if not rows:
        return ["(none)"]
    keys = list(names.values())
    texts = [[cell(row.get(key), most) for key in keys] for row in rows]
    right = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in keys]
    widths = [max(len(title), *(len(line[at]) for line in texts)) for at, title in enumerate(names)]
    return [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in ([*names], *texts)
    ]


def cell(value: Any, most: int | None = None) -> str:
    """One value, on one line and without what a terminal would obey."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


# -- where, and who ------------------------------------------------------------------


def _config(path: str | None, environ: Mapping[str, str]) -> Config:
    """The proxy's. One that has become wrong since it was read tells where to go all the same."""
    from hproxy.config.load import load_config

    # One that names an admin port may be without backends: we want none.
    flags: dict[str, object] = {"admin": OF_NO_MATTER}
    file = None if path is None else Path(path)
    try:
        return load_config(file, flags, environ)
    except ConfigError as error:
        kept = None if file is None else _of_use(file)
        if kept is None or any(finding.key.startswith("http") for finding in error.findings):
            raise
        with suppress(ConfigError):
            config = load_config(None, flags | kept, environ)
            click.echo(f"warning: `hproxy check -c {file}` finds mistakes", err=True)
            return config
        raise


def _of_use(file: Path) -> dict[str, object] | None:
    """Options of a wrong file that say where the service is; None if it cannot be read at all."""
    import tomllib

    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
        found = {
            f"{section}.{name}": value
            for section, names in OF_USE.items()
            for name, value in tree.get(section, {}).items()
            if name in names
        }
    except (OSError, ValueError, AttributeError):
        return None
    for name in set(found) & FILES:
        found[name] = str(file.absolute().parent / str(found[name]))
    return found


def _target(config: Config | None) -> Target:
    if config is None or not config.http_listens:
        raise AdminError("the configuration has no http.address", code="url", hint="give --url")
    address = config.http_listens[0]
    if address.path:
        return Target(path=address.path)
    return Target(
        ANYWHERE.get(address.host, address.host), address.port, config.http.cert is not None
    )


def _token(config: Config) -> str:
    """The one that is given, or kept in a file we may read; without it some things still go."""
    from hproxy.control.tokens import token_path

    if config.http.token:
        return config.http.token
    try:
        return token_path(config).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _context(
    target: Target, given: Mapping[str, Any], config: Config | None
) -> ssl.SSLContext | None:
    if not target.secure:
        return None
    try:
        if "ca" in given:
            return ssl.create_default_context(cafile=given["ca"])
        context = ssl.create_default_context()
        if config is not None and config.http.cert is not None:
            # We know the certificate itself; the name in it need not be "127.0.0.1".
            context.load_verify_locations(config.http.cert)
            context.check_hostname = False
    except (OSError, ssl.SSLError) as error:
        raise AdminError(f"authorities cannot be read: {error}", code="ca") from error
    if given.get("insecure"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
