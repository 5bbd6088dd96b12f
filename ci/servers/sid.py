# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian sid on any Debian, without root and without a chroot.

A package list of its own is fetched from the mirror this machine uses, apt resolves the
whole closure (libc included) as if nothing were installed, and every package is unpacked
into one folder. Programs run through that folder's own dynamic loader, by a wrapper.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.servers.daemon import ServiceError, find, run

MULTIARCH = f"{platform.machine()}-linux-gnu"

WRAPPER = """#!/bin/sh
# Written by ci/services: run the unpacked program with the libraries unpacked beside it.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
lib=$root/usr/lib/{multiarch}
exec "$lib"/ld-linux-*.so.* --library-path "$lib:$root/usr/lib/mysql-router" "$root/{program}" "$@"
"""


def unpack(folder: Path, packages: Sequence[str], programs: Mapping[str, str]) -> None:
    """Fill `folder` with the closure of `packages` and `wrappers/<name>` for `programs`.

    The folder appears complete or not at all, so that its existence means it is usable.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="unpack-", dir=folder.parent))
    try:
        work.chmod(0o755)
        tree = work / "tree"
        tree.mkdir()
        for package in _download(work, packages):
            run([find("dpkg-deb", "dpkg"), "-x", package, tree])
        wrappers = tree / "wrappers"
        wrappers.mkdir()
        for name, program in programs.items():
            wrapper = wrappers / name
            wrapper.write_text(WRAPPER.format(multiarch=MULTIARCH, program=program))
            wrapper.chmod(0o755)
        tree.rename(folder)
    finally:
        shutil.rmtree(work)


def _download(work: Path, packages: Sequence[str]) -> list[Path]:
    """The .deb files of the closure."""
    lists, archives = work / "lists", work / "archives"
    for path in (lists / "partial", archives / "partial"):
        path.mkdir(parents=True)
    (work / "status").touch()
    source = work / "sid.list"
    source.write_text(f"deb {_mirror()} sid main\n")
    options = [
        f"-oDir::Etc::sourcelist={source}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::lists={lists}",
        f"-oDir::State::status={work / 'status'}",
        f"-oDir::Cache::archives={archives}",
        "-oDir::Cache::pkgcache=",
        "-oDir::Cache::srcpkgcache=",
        "-oAPT::Install-Recommends=false",
        "-oAPT::Sandbox::User=root",
        # A mirror that lags behind is good enough for a test server.
        "-oAcquire::Check-Valid-Until=false",
        "-oAcquire::Languages=none",
        "-oDebug::NoLocking=1",
    ]
    apt = find("apt-get", "apt")
    run([apt, *options, "update", "--error-on=any"])
    run([apt, *options, "--yes", "--download-only", "install", *packages])
    return sorted(archives.glob("*.deb"))


def _mirror() -> str:
    """The Debian mirror in this machine's own sources (never a security archive)."""
    wanted = ["--format", "$(REPO_URI)", "Created-By: Packages"]
    uris = run([find("apt-get", "apt"), "indextargets", *wanted]).split()
    for uri in uris:
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise ServiceError(f"no Debian mirror among the apt sources: {' '.join(uris) or 'none'}")
