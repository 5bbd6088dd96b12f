# SPDX-License-Identifier: Apache-2.0
"""The live values of all variables: read when needed, changed all at once, told to who listens.

    update({...}) ──check every value──> one refused: ConfigError, nothing has changed
                                    └──> all set, then on_change(names that differ)

Values are text, as in global_variables; numbers and flags are kept beside it, so that reading
one is a lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hproxy.config.option import Refusal
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables import VARIABLES, find_variable
from hproxy.errors import ConfigError, ConfigFinding

__all__ = ["MASK", "Values", "refused"]

MASK = "***"
_NONE: Mapping[str, str] = MappingProxyType({})


class Values:
    """The values of all variables of the registry; names have their prefix."""

    __slots__ = ("_flags", "_numbers", "_texts", "on_change")

    def __init__(self, initial: Mapping[str, str] = _NONE) -> None:
        """`initial` is trusted: an option of the file may hold what the variable may not."""
        self._texts = {name: variable.default for name, variable in VARIABLES.items()}
        self._numbers: dict[str, int] = {}
        self._flags: dict[str, bool] = {}
        self.on_change: list[Callable[[set[str]], object]] = []
        for name, value in (self._texts | dict(initial)).items():
            self._put(VARIABLES[name], value)

    def text(self, name: str) -> str:
        """The value as it is written. Raises KeyError."""
        return self._texts[name]

    def number(self, name: str) -> int:
        """The value of a whole number. Raises KeyError."""
        return self._numbers[name]

    def flag(self, name: str) -> bool:
        """The value of true or false. Raises KeyError."""
        return self._flags[name]

    def items(self, prefix: str = "") -> list[tuple[str, str]]:
        """Names and values, sorted by name."""
        return [pair for pair in sorted(self._texts.items()) if pair[0].startswith(prefix)]

    def check(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """What would change, in the spelling that is kept. Raises ConfigError with findings."""
        changed, findings = self._judge(mapping)
        if findings:
            raise ConfigError(findings=findings)
        return changed

    def settle(self, mapping: Mapping[str, str]) -> tuple[dict[str, str], list[ConfigFinding]]:
        """What would change without the values that are wrong, and what is wrong with those."""
        return self._judge(mapping)

    def update(self, mapping: Mapping[str, str]) -> set[str]:
        """Set values; returns the names of those that changed.

        Raises ConfigError with findings, and then nothing has changed."""
        return self.adopt(self.check(mapping))

    def adopt(self, mapping: Mapping[str, str]) -> set[str]:
        """Set values that are trusted, as `variables_of` gives them; returns what changed."""
        names = {name for name, value in mapping.items() if self._texts[name] != value}
        for name in names:
            self._put(VARIABLES[name], mapping[name])
        if names:
            for tell in tuple(self.on_change):
                tell(names)
        return names

    def _judge(self, mapping: Mapping[str, str]) -> tuple[dict[str, str], list[ConfigFinding]]:
        changed: dict[str, str] = {}
        findings: list[ConfigFinding] = []
        for name, value in mapping.items():
            try:
                variable = find_variable(name)
                if self._texts[variable.name] == value:
                    continue  # what is there stands, even if only the file could say it
                checked = variable.check(value)
            except Refusal as refusal:
                findings.append(refused(name, value, refusal))
            else:
                if self._texts[variable.name] != checked:
                    changed[variable.name] = checked
        return changed, findings

    def _put(self, variable: Variable, value: str) -> None:
        self._texts[variable.name] = value
        if variable.kind == "int":
            self._numbers[variable.name] = int(value)
        elif variable.kind == "bool":
            self._flags[variable.name] = value == "true"


def refused(name: str, value: str, refusal: Refusal, source: str = "") -> ConfigFinding:
    """The finding about one value; secrets, and values of unknown names, are not shown."""
    try:
        variable = find_variable(name)
    except Refusal:
        return ConfigFinding(source, name, refusal.message, None, refusal.hint)
    shown = MASK if variable.secret else f'"{value[:80]}"' if value.isprintable() else repr(value)
    return ConfigFinding(source, variable.name, refusal.message, shown, refusal.hint)
