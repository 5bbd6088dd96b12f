# SPDX-License-Identifier: Apache-2.0
"""sysbench as a load that goes on until it is told to stop, and says every second how it is."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Second", "Sysbench"]

# Those of the transactions that meet each other are its own affair.
IGNORED = "1213,1020,1205"
LINE = re.compile(
    r"\[ (\d+)s \] thds: \d+ tps: ([\d.]+) qps: ([\d.]+) .*?lat \(ms,99%\): ([\d.]+)"
    r" err/s: ([\d.]+) reconn/s: ([\d.]+)"
)
LONG_S = 3600


@dataclass(frozen=True, slots=True)
class Second:
    """What it said of one."""

    number: int
    transactions: float
    queries: float
    p99_ms: float
    errors: float
    reconnects: float


class Sysbench:
    """Runs from construction to `stop`."""

    def __init__(
        self, host: str, port: int, schema: str, *, threads: int, tables: int = 2, rows: int = 1000,
        workload: str = "oltp_read_write", prepared: bool = True, prepare: bool = True,
    ) -> None:  # fmt: skip
        """`prepare`: make the tables first; not where another one has."""
        self._common = [
            "sysbench", "--db-driver=mysql", "--mysql-user=hproxy", "--mysql-password=hproxy",
            f"--mysql-db={schema}", f"--tables={tables}", f"--table-size={rows}",
            f"--mysql-host={host}", f"--mysql-port={port}",
        ]  # fmt: skip
        if prepare:
            make = [*self._common, workload, "prepare"]
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL, timeout=60)
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `stop`
        self._process = subprocess.Popen(
            [
                *self._common, f"--threads={threads}", f"--time={LONG_S}", "--report-interval=1",
                "--percentile=99", f"--mysql-ignore-errors={IGNORED}",
                f"--db-ps-mode={'auto' if prepared else 'disable'}", workload, "run",
            ],
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """All it has said."""
        self._said.seek(0)
        return self._said.read()

    @property
    def seconds(self) -> list[Second]:
        """Every second of it so far."""
        return [
            Second(int(m[1]), *(float(m[group]) for group in range(2, 7)))
            for m in LINE.finditer(self.text)
        ]

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def faults(self) -> list[str]:
        """Lines that say of something wrong, and seconds with connections made anew."""
        wrong = [line for line in self.text.splitlines() if "FATAL" in line or "rror:" in line]
        wrong += [str(second) for second in self.seconds if second.reconnects]
        return wrong + ["it ended by itself"] * (not self.runs)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
