# SPDX-License-Identifier: Apache-2.0
"""What a text would do, with that of the prepared statements it executes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from hproxy.protocols.mysql.effects import Effects
from hproxy.protocols.mysql.statement import Effect, Trait, Traits
from hproxy.protocols.mysql.variables import Assignment

__all__ = ["Plan", "explains", "merged"]

NO_TRAITS = Traits(Trait(0), Effect(0), b"")
# True of several only if it is true of each.
SHARED = Trait.READ | Trait.SAFE_REPEAT | Trait.NO_TABLE


@dataclass(frozen=True, slots=True)
class Plan:
    """What a text would do."""

    effects: tuple[Effects, ...] = ()
    """Of each of its statements, those of EXECUTE among them."""
    traits: Traits = NO_TRAITS
    """Those of the text and of what it executes, together."""
    digest: bytes = b""
    opaque: bool = False
    """It executes what we have not seen."""
    corrections: tuple[bytes, ...] = ()
    """Statements that put right what it will have read of another session's."""

    @property
    def needs_tracking_of_client(self) -> bool:
        """The client would see session_track_*: give the connection the client's own first."""
        return Effect.TRACKING in self.traits.effects

    @property
    def assignments(self) -> Iterable[Assignment]:
        """All items of its SETs."""
        return (item for effects in self.effects for item in effects.assignments)


def explains(effects: Effects) -> bool:
    """Whether a change of state that the server reports can be this statement's."""
    return bool(
        effects.assignments or effects.users or effects.unread_set
        or effects.use is not None or effects.dropped_schema is not None
        or effects.created or effects.dropped or effects.renamed
        or effects.prepared or effects.deallocated is not None
    )  # fmt: skip


def merged(found: Sequence[Traits]) -> Traits:
    """The traits of a text and of the texts that it executes."""
    if len(found) == 1:
        return found[0]
    any_of = reduce(lambda so_far, each: so_far | each.traits, found, Trait(0))
    all_of = reduce(lambda so_far, each: so_far & each.traits, found, any_of)
    traits = any_of & ~SHARED | all_of & SHARED
    effects = reduce(lambda so_far, each: so_far | each.effects, found, Effect(0))
    routines = tuple(dict.fromkeys(name for each in found for name in each.routines))
    return Traits(traits, effects, found[0].verb, routines)
