# SPDX-License-Identifier: Apache-2.0
"""Clients with state of their own that say nothing for long, and know what they are to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from tests.support.recording_client import Login, RecordingClient

__all__ = ["Crowd", "Idle"]

QUESTION = "SELECT @mine, @word, @@time_zone, @@sql_mode, @@character_set_client, DATABASE()"
LONGLONG = b"\x08\0"


class Idle:
    """One of them: user variables, session variables, a prepared statement bound to its types."""

    def __init__(self, host: str, port: int, number: int) -> None:
        self.client = RecordingClient(host, port, Login())
        client = self.client
        client.query(f"SET @mine = {number}, @word = 'w\u00f6rd {number}'")
        client.query(f"SET time_zone = '+{number % 13:02}:30', sql_mode = 'ANSI_QUOTES'")
        head = client.command(b"\x16SELECT ? + 1, @mine, HEX(@word)")[0]
        self._statement = head[1:5]
        self._value = number.to_bytes(8, "little")
        self._execute(b"\x01" + LONGLONG)  # the only time that it says of which type they are
        self.told = self.ask()

    def _execute(self, types: bytes) -> list[bytes]:
        head = b"\x17" + self._statement + b"\0\1\0\0\0\0"
        return self.client.command(head + types + self._value)

    def ask(self) -> tuple[list[bytes], list[bytes]]:
        """What it is told now."""
        return self.client.query(QUESTION), self._execute(b"\0")


class Crowd:
    """Many of them."""

    def __init__(self, host: str, port: int, number: int) -> None:
        self.clients: list[Idle] = []
        try:
            for each in range(number):
                self.clients.append(Idle(host, port, each))
        except BaseException:
            self.close()
            raise

    def forgotten(self) -> Sequence[int]:
        """The numbers of those that are told something else than before, or nothing."""
        wrong = []
        for number, client in enumerate(self.clients):
            try:
                if client.ask() != client.told:
                    wrong.append(number)
            except OSError:
                wrong.append(number)
        return wrong

    def close(self) -> None:
        for idle in self.clients:
            idle.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
