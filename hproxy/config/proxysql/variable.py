# SPDX-License-Identifier: Apache-2.0
"""One global variable: what it may hold, and whether that has an effect here.

    acts      "acts"      a new value has its effect at once
              "restart"   it is kept, and has its effect at the next start
              "ignored"   it is accepted and kept, `why` says why nothing follows

A variable that is the same thing as an option of the file names it in `option`; then the option's
default holds, and the two never differ. Numbers are `scale` times the variable there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hproxy.config.option import Refusal
from hproxy.config.proxysql.form import FORMS

__all__ = ["Variable", "choice", "flag", "number", "text"]

Acts = Literal["acts", "restart", "ignored"]
Kind = Literal["int", "bool", "text", "choice"]

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_TRUE = frozenset({"true", "1", "on", "yes"})
_FALSE = frozenset({"false", "0", "off", "no"})
# What fits a packet to a client many times over; a variable is a setting, not a document.
MAX_TEXT = 65_536


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, with its prefix in the name. Values are text, as in global_variables."""

    name: str
    default: str
    kind: Kind
    doc: str
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    acts: Acts = "acts"
    why: str = ""
    option: str = ""  # dotted key of the file
    scale: float = 1
    form: str = ""  # of FORMS
    secret: bool = False

    def check(self, value: str) -> str:
        """The value in the spelling that is kept. Raises Refusal."""
        if self.kind == "int":
            return str(self._whole(value.strip()))
        if self.kind == "bool":
            word = value.strip().lower()
            if word not in _TRUE | _FALSE:
                raise Refusal("must be true or false")
            return "true" if word in _TRUE else "false"
        if self.kind == "choice":
            return self._chosen(value.strip())
        if "\0" in value or len(value) > MAX_TEXT:
            raise Refusal(f"must be text of at most {MAX_TEXT} characters without NUL")
        return FORMS[self.form](value) if self.form else value

    def _whole(self, value: str) -> int:
        if not _WHOLE.fullmatch(value):
            raise Refusal("must be a whole number", f"from {self.low} to {self.high}")
        found = int(value)
        if found < self.low:
            raise Refusal(f"must be at least {self.low}")
        if found > self.high:
            raise Refusal(f"must be at most {self.high}")
        return found

    def _chosen(self, value: str) -> str:
        for allowed in self.choices:
            if value.lower() == allowed.lower():
                return allowed
        raise Refusal(f"must be one of {', '.join(self.choices)}")


def number(
    name: str,
    default: int,
    low: int,
    high: int,
    doc: str,
    *,
    option: str = "",
    scale: float = 1,
    acts: Acts = "acts",
    why: str = "",
) -> Variable:
    """A whole number from `low` to `high`."""
    return Variable(
        name=name,
        default=str(default),
        kind="int",
        doc=doc,
        low=low,
        high=high,
        acts=acts,
        why=why,
        option=option,
        scale=scale,
    )


def flag(
    name: str, default: bool, doc: str, *, option: str = "", acts: Acts = "acts", why: str = ""
) -> Variable:
    """true or false."""
    return Variable(
        name=name,
        default="true" if default else "false",
        kind="bool",
        doc=doc,
        acts=acts,
        why=why,
        option=option,
    )


def choice(
    name: str,
    choices: tuple[str, ...],
    doc: str,
    *,
    option: str = "",
    acts: Acts = "acts",
    why: str = "",
) -> Variable:
    """One of some words; the first is the default."""
    return Variable(
        name=name,
        default=choices[0],
        kind="choice",
        doc=doc,
        choices=choices,
        acts=acts,
        why=why,
        option=option,
    )


def text(
    name: str,
    default: str,
    doc: str,
    *,
    option: str = "",
    form: str = "",
    secret: bool = False,
    acts: Acts = "acts",
    why: str = "",
) -> Variable:
    """Any text, or one of a form."""
    return Variable(
        name=name,
        default=default,
        kind="text",
        doc=doc,
        acts=acts,
        why=why,
        option=option,
        form=form,
        secret=secret,
    )
