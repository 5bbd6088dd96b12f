# SPDX-License-Identifier: Apache-2.0
"""Table mode: every plugin of a client, every form of a password, both kinds of backend."""

from __future__ import annotations

import subprocess
from hashlib import sha1

import pytest

from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.scramble import sha256_crypt
from tests.integration.conftest import ProxyFactory, direct
from tests.support.proxy import Proxy
from tests.support.recording_client import Login, RecordingClient, Refused
from tests.support.server import Server

PASSWORD = "hproxy"
TIMEOUT_S = 30
SALT = b"0123456789abcdefghij"
FORMS = {
    "clear": PASSWORD,
    "native": "*" + sha1(sha1(PASSWORD.encode()).digest()).hexdigest().upper(),
    "sha2": f"$A$005${(SALT + sha256_crypt(PASSWORD.encode(), SALT, 5000)).decode()}",
}
PLUGINS = (auth.NATIVE, auth.CACHING_SHA2, auth.ED25519, auth.CLEAR)

every_form = pytest.mark.parametrize("form", FORMS)
every_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=bytes.decode)
tls_or_not = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def table(proxy: ProxyFactory, server: Server, password: str, **more: object) -> Proxy:
    """A proxy that knows `hproxy` by `password`."""
    row = {"username": "hproxy", "password": password, **more}
    return proxy(server, auth="table", mysql_users=[row])


def log_in(proxy: Proxy, login: Login) -> RecordingClient:
    return RecordingClient(proxy.host, proxy.port, login)


def proven(form: str, plugin: bytes, tls: bool) -> bytes:
    """The plugin the client ends up with: its own where that can check the form, else ours."""
    if plugin == auth.NATIVE and form == "sha2":
        return auth.CACHING_SHA2
    if plugin == auth.ED25519 and form != "clear":
        return auth.CACHING_SHA2
    if plugin == auth.CLEAR and not tls:
        return auth.CACHING_SHA2
    return plugin


@every_form
@every_plugin
@tls_or_not
def test_plugins_and_forms(
    proxy: ProxyFactory, server: Server, form: str, plugin: bytes, tls: bool
) -> None:
    running = table(proxy, server, FORMS[form])
    # A hash opens a backend only after its password was seen once, whatever comes later.
    if form != "clear":
        with log_in(running, Login(plugin=auth.CACHING_SHA2, tls=True)) as client:
            assert client.query("SELECT 1")[0] == b"\x01"
    with log_in(running, Login(plugin=plugin, tls=tls)) as client:
        assert client.plugins[-1] == proven(form, plugin, tls)
        assert client.query("SELECT 1")[0] == b"\x01"


@tls_or_not
def test_full_authentication_of_a_hash_then_fast(
    proxy: ProxyFactory, server: Server, tls: bool
) -> None:
    """Known only as $A$: the first login reveals the password, the next ones do not."""
    comment = f"first seen {'under TLS' if tls else 'under RSA'}"
    running = table(proxy, server, FORMS["sha2"], comment=comment)
    for expected in (True, False, False):
        with log_in(running, Login(plugin=auth.CACHING_SHA2, tls=tls)) as client:
            assert client.full is expected
            assert client.query("SELECT 1")[0] == b"\x01"


def test_the_hash_a_server_shows(proxy: ProxyFactory, server: Server, mysql9: Server) -> None:
    ((shown,),) = direct(
        mysql9,
        "SELECT CONCAT('0x', HEX(authentication_string)) FROM mysql.user WHERE user = 'hproxy'",
    )
    with log_in(table(proxy, server, shown), Login()) as client:
        assert client.query("SELECT 1")[0] == b"\x01"


def test_native_hash_opens_native_backends_only(proxy: ProxyFactory, server: Server) -> None:
    running = table(proxy, server, FORMS["native"], comment="native logins only")
    login = Login(plugin=auth.NATIVE)
    if server.name == "mariadb":
        with log_in(running, login) as client:
            assert client.query("SELECT 1")[0] == b"\x01"
        return
    with pytest.raises(Refused) as refused:
        log_in(running, login)
    assert refused.value.packet.number == 1045


@pytest.mark.parametrize("wanted", [auth.ED25519, auth.NATIVE, auth.CACHING_SHA2], ids=bytes.decode)
@every_plugin
def test_an_account_can_demand_its_plugin(
    proxy: ProxyFactory, server: Server, plugin: bytes, wanted: bytes
) -> None:
    attributes = f'{{"auth_plugin": "{wanted.decode()}"}}'
    running = table(proxy, server, PASSWORD, attributes=attributes)
    with log_in(running, Login(plugin=plugin)) as client:
        assert client.plugins[-1] == wanted
        assert len(client.plugins) == 1 + (plugin != wanted or wanted == auth.ED25519)
        assert client.query("SELECT 1")[0] == b"\x01"


@pytest.mark.parametrize("default", ["mysql_native_password", "caching_sha2_password"])
def test_greeting_names_the_default(proxy: ProxyFactory, server: Server, default: str) -> None:
    running = proxy(server, auth="table", proxy={"default_auth_plugin": default})
    with log_in(running, Login()) as client:
        assert client.greeting.plugin == default.encode()
        assert client.plugins == [default.encode()]


@every_form
@every_plugin
@tls_or_not
def test_refusals_do_not_tell_which_half_was_wrong(
    proxy: ProxyFactory, server: Server, form: str, plugin: bytes, tls: bool
) -> None:
    running = table(proxy, server, FORMS[form])
    told = []
    for user, password in (("hproxy", "wrong"), ("nobody", "wrong"), ("hproxy", "")):
        with pytest.raises(Refused) as refused:
            log_in(running, Login(user=user, password=password, plugin=plugin, tls=tls))
        packet = refused.value.packet
        assert (packet.number, packet.sqlstate) == (1045, b"28000")
        told.append(packet.message.replace(user.encode(), b"USER"))
    assert told[0] == b"Access denied for user 'USER'@'127.0.0.1' (using password: YES)"
    assert told[1] == told[0]
    assert told[2].startswith(b"Access denied for user 'USER'@'127.0.0.1' (using password: ")


@every_plugin
def test_empty_password(proxy: ProxyFactory, server: Server, plugin: bytes) -> None:
    running = proxy(server, auth="table")
    with log_in(running, Login(user="empty", password="", plugin=plugin)) as client:
        assert client.query("SELECT 1")[0] == b"\x01"
    with pytest.raises(Refused) as refused:
        log_in(running, Login(user="empty", password="wrong", plugin=plugin))
    assert refused.value.packet.number == 1045


def test_accounts_that_need_tls(proxy: ProxyFactory, server: Server) -> None:
    running = table(proxy, server, PASSWORD, use_ssl=True)
    with pytest.raises(Refused) as refused:
        log_in(running, Login())
    assert refused.value.packet.number == 1045
    with log_in(running, Login(tls=True)) as client:
        assert client.query("SELECT 1")[0] == b"\x01"


def test_every_account_of_the_backend(proxy: ProxyFactory, server: Server) -> None:
    """Backends that ask the proxy for ed25519, native and caching_sha2_password in full."""
    running = proxy(server, auth="table")
    for user in ("ed", "native") if server.name == "mariadb" else ("sha2",):
        direct(server, "FLUSH PRIVILEGES")
        with log_in(running, Login(user=user, password=user)) as client:
            assert client.query("SELECT 1")[0] == b"\x01"


@pytest.mark.parametrize("backend", ["preferred", "required", "verify_ca"])
def test_backend_under_tls(proxy: ProxyFactory, server: Server, backend: str) -> None:
    tls = {"backend": backend, "backend_ca": str(server.ca)}
    running = proxy(server, auth="table", tls=tls)
    direct(server, "FLUSH PRIVILEGES")
    with log_in(running, Login()) as client:
        cipher = client.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        assert b"TLS" in b"".join(cipher) or b"AES" in b"".join(cipher)


@pytest.mark.parametrize("plugin", ["mysql_native_password", "caching_sha2_password"])
@pytest.mark.parametrize("ssl", ["--skip-ssl", "--ssl"])
def test_mariadb_client(
    proxy: ProxyFactory, server: Server, mariadb: Server, plugin: str, ssl: str
) -> None:
    running = proxy(server, auth="table")
    said = cli(running, str(mariadb.client), ssl, f"--default-auth={plugin}")
    assert said == b"1\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--ssl-mode=DISABLED", "--get-server-public-key"),
        ("--ssl-mode=REQUIRED",),
        (
            "--ssl-mode=REQUIRED",
            "--enable-cleartext-plugin",
            "--default-auth=mysql_clear_password",
        ),
    ],
    ids=["rsa", "tls", "clear"],
)
@pytest.mark.parametrize("form", ["clear", "sha2"])
def test_mysql_client(
    proxy: ProxyFactory, server: Server, mysql9: Server, arguments: tuple[str, ...], form: str
) -> None:
    running = table(proxy, server, FORMS[form], comment="mysql " + " ".join(arguments))
    for _ in range(2):
        assert cli(running, str(mysql9.client), *arguments) == b"1\n"


def cli(running: Proxy, client: str, *arguments: str) -> bytes:
    done = subprocess.run(
        [
            client,
            "--no-defaults",
            f"--host={running.host}",
            f"--port={running.port}",
            "--user=hproxy",
            f"--password={PASSWORD}",
            *arguments,
            "-N",
            "-e",
            "SELECT 1",
        ],
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout
