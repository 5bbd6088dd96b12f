# SPDX-License-Identifier: Apache-2.0
"""What Python is called meanwhile: the proof that steady state costs none."""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any


class Profile:
    """Names of all Python and builtin functions that are called between enter and exit.

    The garbage collector is held back meanwhile: it runs when it likes, and calls whoever
    registered with it (hypothesis does), which is no part of what is counted.
    """

    def __init__(self) -> None:
        self.called: list[str] = []

    def __enter__(self) -> Profile:
        self._collecting = gc.isenabled()
        gc.disable()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        if self._collecting:
            gc.enable()

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        # The debug build shows its compiled functions, too: they are what is meant to run.
        if event == "call" and not frame.f_code.co_filename.endswith((".pyx", ".pxd")):
            self.called.append(frame.f_code.co_qualname)
        elif event == "c_call":
            self.called.append(argument.__qualname__)

    def by_name(self) -> dict[str, int]:
        """How often each was called, the profile's own end left out."""
        found = {name: self.called.count(name) for name in set(self.called)}
        assert found.pop("Profile.__exit__") == found.pop("setprofile") == 1
        return found
