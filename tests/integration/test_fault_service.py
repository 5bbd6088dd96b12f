# SPDX-License-Identifier: Apache-2.0
"""A service in trouble with its machine: no descriptors, a full disk, a port or certificate that
cannot be had. What runs goes on; what cannot start says why, and with which option.

    clients ──> worker 0, worker 1 ──> one small server in the test
                prlimit, kill            prlimit on the angel: nobody can be replaced for a while
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pymysql
import pytest

from tests.support.certificate import certificate_pem
from tests.support.embedded import threaded
from tests.support.own_server import free_port
from tests.support.process import cpu_seconds, descriptors, eventually
from tests.support.proxy import COMMAND, Proxy, toml

START_S = 40.0
IDLE_SHARE = 0.1
"""Of a CPU, for a process that has nothing to do but to wait for descriptors."""


@dataclass
class Service:
    """One with two workers, and the file of its certificate."""

    proxy: Proxy
    certificate: Path

    def processes(self) -> dict[str, dict[str, Any]]:
        """By name: angel, head, worker 0, ..."""
        since = len(self.proxy.log)
        self.proxy.signal(signal.SIGUSR2)
        told = self.proxy.wait_for_log("state", since=since, logger="angel")
        return {
            f"worker {row['slot']}" if row["role"] == "worker" else row["role"]: row
            for row in told["processes"]
        }

    def pid(self, name: str) -> int:
        return int(self.processes()[name]["pid"])

    def client(self) -> Any:
        return pymysql.connect(
            host=self.proxy.host, port=self.proxy.port, user="demo", password="demo",
            connect_timeout=5, read_timeout=10,
        )  # fmt: skip

    def serves(self) -> bool:
        """Whether a new client is answered, whichever worker it comes to."""
        with suppress(pymysql.Error, OSError):
            for _ in range(6):
                with self.client() as client:
                    assert alive(client)
            return True
        return False


def alive(client: Any) -> bool:
    with suppress(pymysql.Error, OSError), client.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchall() == ((1,),))
    return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    certificate = folder / "both.pem"
    certificate.write_bytes(certificate_pem())
    with threaded() as server:
        sections = {
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
            "proxy": {"backends": [f"127.0.0.1:{server.port}"]},
            "tls": {"client": "preferred", "cert": str(certificate), "key": str(certificate)},
            # Nothing that is written there arrives, as on a disk that is full.
            "logging": {"file": "/dev/full", "stdout": True, "format": "json"},
        }
        with Proxy(folder, sections, ("--workers", "2"), single=False) as proxy:
            yield Service(proxy, certificate)


@contextmanager
def limited(pid: int, room: int) -> Iterator[None]:
    """It may open `room` descriptors more than it has."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    limit = descriptors(pid) + room
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def share_of_cpu(*pids: int) -> float:
    """What they use of a CPU, together, in the next second."""
    before, begun = sum(map(cpu_seconds, pids)), monotonic()
    sleep(1)
    return (sum(map(cpu_seconds, pids)) - before) / (monotonic() - begun)


# -- descriptors -------------------------------------------------------------------------


def test_workers_have_no_descriptors(service: Service) -> None:
    """They stop accepting without spinning, serve whom they have, and go on by themselves."""
    witnesses = [service.client() for _ in range(6)]
    assert all(map(alive, witnesses))
    pids = [service.pid(f"worker {slot}") for slot in (0, 1)]
    where = (service.proxy.host, service.proxy.port)
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(limited(pid, 8))
        crowd = [stack.enter_context(socket.create_connection(where)) for _ in range(60)]
        for pid in pids:
            eventually(lambda pid=pid: full(pid), "no descriptor is left")  # type: ignore[misc]
        service.proxy.wait_for_log("accepting paused", code="client.descriptors")
        assert share_of_cpu(*pids) < IDLE_SHARE
        assert all(map(alive, witnesses))
        for sock in crowd:
            sock.close()
        eventually(service.serves, "clients are served again", START_S)
    assert all(map(alive, witnesses))
    assert [service.pid(f"worker {slot}") for slot in (0, 1)] == pids
    for witness in witnesses:
        witness.close()


def full(pid: int) -> bool:
    return descriptors(pid) >= resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def test_the_angel_has_no_descriptors(service: Service) -> None:
    """A worker that dies then is replaced as soon as there are some; the others serve on."""
    eventually(lambda: service.processes().get("spare", {}).get("state") == "warm", "a spare",
               START_S)  # fmt: skip
    with limited(service.proxy.pid, 0):
        for name in ("worker 0", "worker 1"):
            os.kill(service.pid(name), signal.SIGKILL)
        service.proxy.wait_for_log("no process can be started")
        assert share_of_cpu(service.proxy.pid) < IDLE_SHARE
        assert service.proxy.running
    eventually(service.serves, "both are back", START_S)
    assert service.proxy.running


# -- a full disk -------------------------------------------------------------------------


def test_the_disk_is_full_for_logs(service: Service) -> None:
    """Lines are lost, clients are not, and reopening changes nothing of it."""
    service.proxy.signal(signal.SIGUSR1)
    assert service.serves()
    assert service.proxy.lines("serving")  # the other sink has its lines
    assert share_of_cpu(service.proxy.pid) < IDLE_SHARE


# -- what cannot be had ------------------------------------------------------------------


def refused(folder: Path, sections: Mapping[str, Any], *flags: str) -> str:
    """What `hproxy run` says on its way out; fails unless that is at once, and with exit code 1."""
    folder.mkdir(exist_ok=True)
    config = folder / "hproxy.toml"
    config.write_text(toml(sections))
    done = subprocess.run(
        [*COMMAND, "-c", str(config), *flags], capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    return said


def asking_for(folder: Path, **sections: Mapping[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
        "proxy": {"backends": ["127.0.0.1:1"]},
        "admin": {"address": ""},
    }
    for name, options in sections.items():
        base[name] = {**base.get(name, {}), **options}
    return base


@pytest.mark.parametrize(
    ("section", "key", "flags"),
    [
        ("server", "listen_addr", ("--workers", "1")),
        ("server", "listen_addr", ("--single",)),
        ("admin", "address", ("--workers", "1")),
    ],
)
def test_the_port_is_in_use(
    service: Service, tmp_path: Path, section: str, key: str, flags: tuple[str, ...]
) -> None:
    taken = f"127.0.0.1:{service.proxy.port}"
    said = refused(tmp_path, asking_for(tmp_path, **{section: {key: taken}}), *flags)
    assert f"{section}.{key}" in said
    assert taken in said
    assert service.serves()


def test_the_port_is_not_ours(tmp_path: Path) -> None:
    """An address of another machine."""
    said = refused(
        tmp_path, asking_for(tmp_path, server={"listen_addr": "192.0.2.1:6033"}), "--single"
    )
    assert "server.listen_addr" in said


@pytest.mark.parametrize("what", ["nothing", "a folder", "nonsense", "another's key"])
def test_the_certificate_cannot_be_read(tmp_path: Path, what: str) -> None:
    cert, key = broken(tmp_path, what)
    options = {"client": "preferred", "cert": str(cert), "key": str(key)}
    said = refused(tmp_path, asking_for(tmp_path, tls=options))
    assert "tls.cert" in said or "tls.key" in said
    assert str(tmp_path) in said


def broken(folder: Path, what: str) -> tuple[Path, Path]:
    """The files of a certificate and its key that cannot be used."""
    path, key = folder / "certificate.pem", folder / "key.pem"
    if what == "a folder":
        path.mkdir()
    elif what == "nonsense":
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n")
    elif what == "another's key":
        path.write_bytes(certificate_pem())
        key.write_bytes(certificate_pem.__wrapped__())
        return path, key
    return path, path


def test_the_log_cannot_be_opened(tmp_path: Path) -> None:
    options = {"file": str(tmp_path / "none/x.log")}
    assert "logging.file" in refused(tmp_path, asking_for(tmp_path, logging=options))


def test_the_data_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sections = asking_for(
        tmp_path,
        server={"data_dir": str(tmp_path / "file/data")},
        admin={"address": f"127.0.0.1:{free_port()}"},
    )
    assert "server.data_dir" in refused(tmp_path, sections, "--single")


def test_a_certificate_cannot_be_read_any_more(service: Service) -> None:
    """A reload changes nothing and says why, until it can."""
    before = shown(service)
    service.certificate.write_text("nonsense")
    since = len(service.proxy.log)
    service.proxy.signal(signal.SIGHUP)
    told = service.proxy.wait_for_log("not reloaded: nothing has changed", since=since)
    assert "tls.cert" in told["reason"]
    assert shown(service) == before
    service.certificate.write_bytes(certificate_pem.__wrapped__())
    service.proxy.signal(signal.SIGHUP)
    service.proxy.wait_for_log("reloaded", since=since)
    eventually(lambda: shown(service) != before, "the new one is shown")


def shown(service: Service) -> bytes:
    """The certificate that clients see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pymysql.connect(
        host=service.proxy.host, port=service.proxy.port, user="demo", password="demo", ssl=context
    ) as client:
        sock: ssl.SSLSocket = client._sock  # type: ignore[attr-defined]
        return sock.getpeercert(binary_form=True) or b""
