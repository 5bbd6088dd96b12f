# SPDX-License-Identifier: Apache-2.0
"""What the two databases of the demo hold, and who may log in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hproxy.admin.embedded import EmbeddedDatabase

__all__ = ["ACCOUNTS", "CITIES", "PASSWORD", "SCHEMA", "databases"]

SCHEMA = "demo"
PASSWORD = "demo"
# user -> the hostgroup its sessions go to, and the databases in it.
ACCOUNTS = {
    "demo": (0, ("writer", "reader")),
    "writer": (1, ("writer",)),
    "reader": (2, ("reader",)),
}

CITIES = {
    "writer": (
        ("Amsterdam", "Netherlands", 933_680),
        ("Athens", "Greece", 643_452),
        ("Berlin", "Germany", 3_677_472),
        ("Copenhagen", "Denmark", 660_842),
        ("Dublin", "Ireland", 592_713),
        ("Kraków", "Poland", 804_237),
        ("Köln", "Germany", 1_084_831),
        ("Lisbon", "Portugal", 567_131),
        ("Prague", "Czechia", 1_384_732),
        ("Vienna", "Austria", 2_005_760),
    ),
    "reader": (
        ("Bogotá", "Colombia", 7_743_955),
        ("Cairo", "Egypt", 10_107_125),
        ("Lagos", "Nigeria", 15_946_000),
        ("Lima", "Peru", 10_092_000),
        ("Montréal", "Canada", 1_762_949),
        ("Nairobi", "Kenya", 4_397_073),
        ("Osaka", "Japan", 2_753_862),
        ("São Paulo", "Brazil", 11_451_999),
        ("Seoul", "South Korea", 9_411_440),
        ("Sydney", "Australia", 5_450_496),
    ),
}


def databases() -> list[EmbeddedDatabase]:
    """A writer and a reader, which refuses writes; each knows the accounts that lead to it."""
    return [
        EmbeddedDatabase(
            name,
            {user: PASSWORD for user, (_, members) in ACCOUNTS.items() if name in members},
            _script(cities),
            schema=SCHEMA,
            read_only=name == "reader",
        )
        for name, cities in CITIES.items()
    ]


def _script(cities: Iterable[tuple[str, str, int]]) -> Iterator[str]:
    yield """CREATE TABLE city (
        id INTEGER PRIMARY KEY,
        name VARCHAR(40) NOT NULL UNIQUE,
        country VARCHAR(40) NOT NULL,
        population INT)"""
    yield """CREATE TABLE visit (
        id INTEGER PRIMARY KEY,
        city_id INT NOT NULL REFERENCES city (id),
        guest VARCHAR(40) NOT NULL)"""
    for name, country, population in cities:
        values = f"'{name}', '{country}', {population}"
        yield f"INSERT INTO city (name, country, population) VALUES ({values})"
