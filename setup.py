# SPDX-License-Identifier: Apache-2.0
"""Compile every `_native/*.pyx` into `hproxy._native`, beside its `.pxd` and `.pyi`.

`HPROXY_DEBUG=1` turns bounds checks and line tracing on, in build folders of its own.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("HPROXY_DEBUG", "0") not in ("", "0")
GENERATED = Path("build/cython-debug" if DEBUG else "build/cython")
JOBS = os.cpu_count() or 1

SOURCES = sorted(Path("_native").glob("*.pyx"))
HEADERS = sorted(Path("_native/c").glob("*.h"))
MAPS = sorted(Path("hproxy/_native").glob("*.pxd"))

# No -march=native: a wheel must run on every machine of its architecture.
OPTIMISE = ["-O3", "-g1", "-fno-plt", "-fno-semantic-interposition"]
if DEBUG:
    OPTIMISE = ["-O0", "-g", "-UNDEBUG"]
# The two exceptions are about code Cython generates, not about ours.
WARN = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "linetrace": DEBUG,
}


def stale() -> bool:
    """Whether a map, or this file, is newer than generated C.

    Cython looks for a module's own .pxd only beside its .pyx, so a changed map would
    rebuild the modules that cimport it but not its own: two layouts of one class.
    """
    generated = [GENERATED / path.with_suffix(".c") for path in SOURCES]
    made = [path.stat().st_mtime for path in generated if path.exists()]
    inputs = [path.stat().st_mtime for path in (*MAPS, Path(__file__))]
    return bool(made) and max(inputs) > min(made)


class BuildNative(build_ext):
    """Generates the C only when it is about to be compiled: metadata needs no compiler."""

    def run(self) -> None:
        generated = cythonize(
            self.extensions,
            include_path=["."],
            build_dir=str(GENERATED),
            force=stale(),
            nthreads=JOBS,
            # As `make -k`: one broken module must not hide what the others have to say.
            exclude_failures=True,
            compiler_directives=DIRECTIVES,
        )
        c = {extension.name: extension for extension in generated}
        broken = [extension.name for extension in self.extensions if extension.name not in c]
        self.extensions = [extension for extension in self.extensions if extension.name in c]
        for extension in self.extensions:
            extension.sources = c[extension.name].sources
            extension.depends = c[extension.name].depends
        super().run()
        if broken:
            raise SystemExit(f"setup.py: does not compile: {', '.join(broken)}")


setup(
    cmdclass={"build_ext": BuildNative},
    ext_modules=[
        Extension(
            f"hproxy._native.{path.stem}",
            [str(path)],
            include_dirs=["_native/c"],
            depends=[*map(str, HEADERS)],
            define_macros=[("CYTHON_TRACE", "1")] if DEBUG else [],
            extra_compile_args=[*OPTIMISE, *WARN],
        )
        for path in SOURCES
    ],
    options={
        "build": {"build_base": "build/objects-debug" if DEBUG else "build/objects"},
        "build_ext": {"parallel": JOBS},
    },
)
