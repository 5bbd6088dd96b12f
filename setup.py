# SPDX-License-Identifier: Apache-2.0
"""Compile every `_native/*.pyx` into `hproxy._native`, beside its `.pxd` and `.pyi`.

`HPROXY_DEBUG=1` turns bounds checks and line tracing on, in build folders of its own.
"""

import os
from pathlib import Path
from threading import Lock

from Cython.Build import cythonize
from Cython.Compiler.Errors import CompileError as CythonError
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

DEBUG = os.environ.get("HPROXY_DEBUG", "0") not in ("", "0")
GENERATED = Path("build/cython-debug" if DEBUG else "build/cython")
OBJECTS = "build/objects-debug" if DEBUG else "build/objects"
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


def stale(source: Path) -> bool:
    """Whether a map, or this file, is newer than the C generated from `source`.

    Cython looks for a module's own .pxd only beside its .pyx, so a changed map would
    rebuild the modules that cimport it but not its own: two layouts of one class.
    """
    generated = GENERATED / source.with_suffix(".c")
    inputs = [path.stat().st_mtime for path in (*MAPS, Path(__file__))]
    return generated.exists() and max(inputs) > generated.stat().st_mtime


class BuildNative(build_ext):
    """Generates each C file just before compiling it; extensions are built in parallel.

    A module that does not compile stops none of the others, as with `make -k`.
    """

    one_at_a_time = Lock()  # Cython is not thread-safe; the C compiler may run beside it

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.editable_mode or self.inplace:
            # Kept, where setuptools would throw the objects of an editable install away and
            # the first `make native` would compile everything again.
            self.build_lib, self.build_temp = f"{OBJECTS}/inplace", f"{OBJECTS}/temp"

    def run(self) -> None:
        in_place = self.inplace
        try:
            super().run()
        except CompileError:
            if in_place:
                built = [e for e in self.extensions if Path(self.get_ext_fullpath(e.name)).exists()]
                self.extensions = built
                self.copy_extensions_to_source()
            raise

    def build_extension(self, ext: Extension) -> None:
        with self.one_at_a_time:
            try:
                [generated] = cythonize(
                    [ext],
                    include_path=["."],
                    build_dir=str(GENERATED),
                    force=stale(Path(ext.sources[0])),
                    compiler_directives=DIRECTIVES,
                )
            except CythonError as error:
                # Cython has said where and why; its traceback would add nothing.
                raise CompileError(f"{error} does not compile") from None
        ext.sources, ext.depends = generated.sources, generated.depends
        super().build_extension(ext)


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
        "build": {"build_base": OBJECTS},
        "build_ext": {"parallel": JOBS},
    },
)
