# SPDX-License-Identifier: Apache-2.0
"""Prepared statements of a worker, of a client and of a backend connection."""

from __future__ import annotations

import gc
import random
import sys
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.statements import (
    BackendStatement,
    BackendStatements,
    ClientStatement,
    ClientStatements,
    Statement,
    StatementCache,
    execute,
)
from tests.native.profile import Profile
from tests.native.test_execution import LONG, NULL, STRING, execution, wire

READ, MORE, MALFORMED, UNTYPED = 1, 0, -1, 2
LATEST = 0xFFFFFFFF
NUMBER, TEXT = b"\1\0\0\0", b"\3abc"


def statement(name: str = "s", params: int = 1, *, sticky: bool = False) -> Statement:
    text = f"SELECT {name}".encode()
    return Statement(("class", b"test", text), text, params, 1, b"response", sticky=sticky)


# -- the cache of a worker -----------------------------------------------------


def test_a_statement_says_what_it_was_made_of() -> None:
    made = Statement("key", b"SELECT ?", 1, 2, [b"one", b"two"], "decided", sticky=True)
    assert (made.key, made.text, made.params, made.columns) == ("key", b"SELECT ?", 1, 2)
    assert (made.response, made.decision, made.sticky) == ([b"one", b"two"], "decided", True)
    made.decision = None
    assert made.decision is None
    assert made.uses == 0


def test_bad_statements_are_refused() -> None:
    with pytest.raises(TypeError):
        Statement(["no", "key"], b"SELECT 1", 0, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Statement("key", "SELECT 1", 0, 1)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        Statement("key", b"SELECT 1", 65_536, 1)
    with pytest.raises(ValueError, match="room for one"):
        StatementCache(0, 1)


def test_the_least_recently_used_goes() -> None:
    cache = StatementCache(3, 1 << 20)
    kept = [statement(name) for name in "abcd"]
    for each in kept[:3]:
        assert cache.put(each)
    assert cache.get(kept[0].key) is kept[0]
    gone: list[Statement] = []
    cache.evicted.append(gone.append)
    cache.put(kept[3])
    assert gone == [kept[1]]
    assert cache.keys() == [kept[n].key for n in (3, 0, 2)]
    assert cache.get(kept[1].key) is None
    assert (cache.hits, cache.misses, cache.evictions) == (1, 1, 1)


def test_execution_keeps_a_statement_in_the_cache() -> None:
    cache = StatementCache(2, 1 << 20)
    busy, idle = statement("busy"), statement("idle")
    cache.put(busy)
    cache.put(idle)
    pool = BackendStatements(10)
    pool.put(busy, 5)
    client = ClientStatements().add(busy)
    assert execute(client, pool, execution([LONG], NUMBER))[0] == READ
    assert busy.uses == 1
    cache.put(statement("new"))
    assert cache.get(busy.key) is busy
    assert cache.get(idle.key) is None


def test_bytes_are_limited() -> None:
    one = statement("one")
    cache = StatementCache(100, 3 * one.memory)
    for name in ("one", "two", "six", "ten"):
        assert cache.put(statement(name))
    assert len(cache) == 3
    assert cache.memory == 3 * one.memory
    large = Statement("large", bytes(4 * one.memory), 0, 0)
    assert not cache.put(large)
    assert len(cache) == 3


def test_memory_is_that_of_the_parts() -> None:
    plain = Statement("k", b"SELECT 1", 0, 1)
    text, response, schema = b"x" * 1000, [b"y" * 500, b"z" * 300], b"s" * 100
    full = Statement((schema, text), text, 0, 1, response)
    grown = 992 + 1 * (sys.getsizeof(response) - sys.getsizeof(b""))
    grown += sum(map(sys.getsizeof, response)) + sys.getsizeof(schema)
    assert full.memory == plain.memory + grown


def test_types_are_accounted_and_interned_within_the_limits() -> None:
    used = statement("used", params=2)
    cache = StatementCache(10, 1 << 20)
    cache.put(used)
    pool = BackendStatements(10)
    pool.put(used, 1)
    clients = ClientStatements()
    before = cache.memory
    one, two = clients.add(used), clients.add(used)
    for client in (one, two):
        execute(client, pool, execution([LONG, STRING], NUMBER + TEXT))
    assert one.types is two.types is not None
    assert used.interned == 1
    assert cache.memory - before == used.memory - statement("used", params=2).memory > 0
    for kind in range(100, 140):
        execute(one, pool, execution([kind, STRING], NUMBER + TEXT))
        assert one.types is not None
        assert one.types.wire == wire(kind, STRING)
    assert used.interned == 16
    assert cache.memory == used.memory
    cache.clear()
    assert (cache.memory, len(cache), cache.keys()) == (0, 0, [])


def test_types_that_do_not_fit_are_not_kept() -> None:
    used = statement("used", params=1)
    cache = StatementCache(10, used.memory)
    cache.put(used)
    pool = BackendStatements(10)
    pool.put(used, 1)
    client = ClientStatements().add(used)
    execute(client, pool, execution([LONG], NUMBER))
    assert client.types is not None
    assert used.interned == 0
    assert cache.memory == cache.max_bytes


def test_a_statement_outlives_the_cache() -> None:
    cache = StatementCache(1, 1 << 20)
    first = statement("first")
    cache.put(first)
    client = ClientStatements().add(first)
    cache.put(statement("second"))
    pool = BackendStatements(1)
    pool.put(first, 9)
    found, backend, sent = execute(client, pool, execution([LONG], NUMBER))
    assert (found, sent) == (READ, execution([LONG], NUMBER).replace(b"\7", b"\x09", 1))
    assert backend is not None
    del cache
    gc.collect()
    assert execute(client, pool, execution(None, NUMBER))[0] == READ


def test_putting_again() -> None:
    cache, other = StatementCache(2, 1 << 20), StatementCache(2, 1 << 20)
    one, same = statement(), statement()
    cache.put(one)
    assert cache.put(one)
    assert len(cache) == 1
    with pytest.raises(ValueError, match="another cache"):
        other.put(one)
    cache.put(same)  # the same key: two clients prepared at the same time
    assert cache.get(one.key) is same
    assert not cache.remove(one)
    assert cache.remove(same)
    assert other.put(one)
    assert cache.memory == 0


@given(st.lists(st.tuples(st.sampled_from("pgrc"), st.integers(0, 9)), max_size=60))
def test_the_cache_is_a_list_in_order_of_use(steps: list[tuple[str, int]]) -> None:
    cache = StatementCache(4, 1 << 20)
    model: list[Statement] = []
    known = [statement(str(n)) for n in range(10)]
    for step, n in steps:
        if step == "p":
            cache.put(known[n])
            model = [known[n], *(each for each in model if each is not known[n])][:4]
        elif step == "g":
            assert (cache.get(known[n].key) is known[n]) == (known[n] in model)
            if known[n] in model:
                model.insert(0, model.pop(model.index(known[n])))
        elif step == "r":
            assert cache.remove(known[n]) == (known[n] in model)
            model = [each for each in model if each is not known[n]]
        elif n == 0:
            cache.clear()
            model = []
        assert cache.keys() == [each.key for each in model]
        assert cache.memory == sum(each.memory for each in model)


def test_a_dropped_cache_leaves_nothing_behind() -> None:
    class Decision:
        pass

    def filled(decision: Decision) -> StatementCache:
        cache = StatementCache(5000, 1 << 30)
        for n in range(5000):
            made = statement(str(n))
            made.decision = decision
            cache.put(made)
        return cache

    decision = Decision()
    gone = weakref.ref(decision)
    cache = filled(decision)
    del cache, decision
    gc.collect()
    assert gone() is None


# -- the statements of a client ------------------------------------------------


def test_ids_count_from_one_and_do_not_come_back() -> None:
    clients = ClientStatements()
    one, two = clients.add(statement()), clients.add(statement())
    assert (one.client_id, two.client_id) == (1, 2)
    assert clients.remove(2)
    assert not clients.remove(2)
    assert clients.add(statement()).client_id == 3
    clients.clear()
    assert clients.find(1) is None
    assert clients.add(statement()).client_id == 4
    assert len(clients) == clients.count == 1


def test_ids_wrap_past_those_in_use() -> None:
    clients = ClientStatements(next_id=0xFFFFFFFD)
    ids = [clients.add(statement()).client_id for _ in range(4)]
    assert ids == [0xFFFFFFFD, 0xFFFFFFFE, 1, 2]
    clients = ClientStatements(next_id=0xFFFFFFFE)
    clients.add(statement())
    kept = clients.add(statement())
    assert kept.client_id == 1
    with pytest.raises(ValueError, match="no id"):
        ClientStatements(next_id=0)


def test_the_latest_has_a_name_of_its_own() -> None:
    """MariaDB's clients execute what they have just sent to be prepared, without waiting."""
    clients = ClientStatements()
    assert clients.find(LATEST) is None
    one, two = clients.add(statement()), clients.add(statement())
    assert clients.find(LATEST) is two
    clients.latest = None  # a prepare failed
    assert clients.find(LATEST) is None
    assert not clients.remove(LATEST)
    clients.latest = one
    assert clients.remove(LATEST)
    assert clients.find(LATEST) is clients.find(1) is None
    assert clients.find(2) is two


@given(
    st.integers(1, 0xFFFFFFFE), st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200)
)
def test_client_ids_are_a_dict(first: int, steps: list[tuple[bool, int]]) -> None:
    clients = ClientStatements(next_id=first)
    model: dict[int, ClientStatement] = {}
    shared = statement()
    for adding, n in steps:
        if adding:
            entry = clients.add(shared)
            assert entry.client_id not in model
            model[entry.client_id] = entry
        elif model:
            number = sorted(model)[n % len(model)]
            assert clients.remove(number)
            del model[number]
        assert len(clients) == len(model)
        assert all(clients.find(number) is entry for number, entry in model.items())
        assert clients.find(first ^ 0x8000) is model.get(first ^ 0x8000)
    assert {entry.client_id: entry for entry in clients.entries()} == model


@pytest.mark.parametrize("most", [1, 4, 5, 40])
def test_ids_that_fall_on_one_place_are_all_found(most: int) -> None:
    """A few statements that stay while others come and go."""
    chance = random.Random(most)
    clients = ClientStatements()
    model: dict[int, ClientStatement] = {}
    shared = statement()
    for _ in range(2000):
        if len(model) < most and (not model or chance.random() < 0.6):
            entry = clients.add(shared)
            model[entry.client_id] = entry
        else:
            number = chance.choice(sorted(model))
            assert clients.remove(number)
            del model[number]
            assert clients.find(number) is None
        assert len(clients) == len(model)
        assert all(clients.find(number) is entry for number, entry in model.items())


# -- the statements of a connection --------------------------------------------


def test_the_least_recently_used_is_closed() -> None:
    pool = BackendStatements(2)
    clients = ClientStatements()
    entries = [clients.add(statement(name)) for name in "abc"]
    assert pool.find(entries[0]) is None
    assert pool.put(entries[0].statement, 10) == []
    assert pool.put(entries[1].statement, 11) == []
    found = pool.find(entries[0])
    assert found is not None
    assert found.backend_id == 10
    assert pool.put(entries[2].statement, 12) == [11]
    assert pool.find(entries[1]) is None
    assert len(pool) == 2


def test_what_is_in_use_is_not_closed() -> None:
    pool = BackendStatements(1)
    pool.put(statement("a"), 10)
    pool.entries()[0].held = True
    assert pool.put(statement("b"), 11) == []
    assert pool.put(statement("c"), 12) == [11]
    for entry in pool.entries():
        entry.held = False
    assert pool.put(statement("d"), 13) == [10, 12]
    assert [entry.backend_id for entry in pool.entries()] == [13]


def test_taking_out() -> None:
    pool = BackendStatements(5)
    shared = statement()
    for number in (1, 2, 3):
        pool.put(shared, number)
    entries = pool.entries()
    assert pool.remove(entries[1])
    assert not pool.remove(entries[1])
    assert not pool.remove(BackendStatement(statement("other"), 9))
    assert [entry.backend_id for entry in pool.entries()] == [3, 1]
    pool.clear()
    assert (len(pool), pool.entries()) == (0, [])
    assert not pool.remove(entries[0])
    with pytest.raises(ValueError, match="room for one"):
        BackendStatements(0)


# -- executions ----------------------------------------------------------------


def test_the_types_of_another_client_are_replaced() -> None:
    shared = statement()
    pool = BackendStatements(5)
    pool.put(shared, 0x01020304)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    head = b"\x17\4\3\2\1\0\1\0\0\0\0"
    assert execute(one, pool, execution([LONG], NUMBER))[2] == head + b"\1\3\0" + NUMBER
    assert execute(one, pool, execution(None, NUMBER))[2] == head + b"\0" + NUMBER
    assert execute(two, pool, execution([STRING], TEXT))[2] == head + b"\1\xfd\0" + TEXT
    # one's types are not those of the connection any more; then they are.
    assert execute(one, pool, execution(None, NUMBER))[2] == head + b"\1\3\0" + NUMBER
    assert execute(one, pool, execution(None, NUMBER))[2] == head + b"\0" + NUMBER
    # A connection that one has never been on.
    other = BackendStatements(5)
    other.put(shared, 1)
    assert execute(one, other, execution(None, NUMBER))[2] == (
        b"\x17\1\0\0\0\0\1\0\0\0\0\1\3\0" + NUMBER
    )
    [backend] = pool.entries()
    assert backend.types is one.types
    backend.forget_types()
    assert execute(one, pool, execution(None, NUMBER))[2] == head + b"\1\3\0" + NUMBER
    assert shared.uses == 7


def test_without_types() -> None:
    shared = statement(params=2)
    pool = BackendStatements(5)
    pool.put(shared, 7)
    client = ClientStatements().add(shared)
    assert execute(client, pool, execution(None, NUMBER, nulls=b"\2")) == (UNTYPED, None, None)
    # Servers need no types for nothing but NULL.
    payload = execution(None, nulls=b"\3")
    assert execute(client, pool, payload)[2] == payload
    assert client.types is None


def test_malformed_records_nothing() -> None:
    shared = statement(params=2)
    pool = BackendStatements(5)
    pool.put(shared, 7)
    client = ClientStatements().add(shared)
    payload = execution([LONG, STRING], NUMBER + TEXT)
    for end in range(16):
        assert execute(client, pool, payload[:end]) == (MALFORMED, None, None)
    assert client.types is None
    # Attributes that have a value need types now: no server remembers theirs.
    payload = execution(None, NUMBER, count=3, nulls=b"\3")
    assert execute(client, pool, payload, attributes=True)[0] == MALFORMED
    assert shared.uses == 0


def test_unknown_to_the_connection() -> None:
    client = ClientStatements().add(statement())
    assert execute(client, BackendStatements(1), execution([LONG], NUMBER)) == (READ, None, None)


def test_names_of_types_do_not_matter() -> None:
    shared = statement()
    pool = BackendStatements(5)
    pool.put(shared, 7)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    execute(one, pool, execution([LONG], NUMBER, names=[b""]), attributes=True)
    execute(two, pool, execution([LONG], NUMBER, names=[b"a" * 200]), attributes=True)
    assert one.types is not None
    assert one.types.wire == wire(LONG)
    assert two.types is not None
    assert two.types.wire == one.types.wire


def test_bulk_executions_share_the_types() -> None:
    shared = statement()
    pool = BackendStatements(5)
    pool.put(shared, 7)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    bulk = b"\xfa\7\0\0\0\x80\0\3\0" + b"\0" + NUMBER
    bare = b"\xfa\7\0\0\0\0\0" + b"\0" + NUMBER
    assert execute(one, pool, bare)[0] == UNTYPED
    assert execute(one, pool, bulk)[2] == bulk
    assert execute(one, pool, bare)[2] == bare
    execute(two, pool, execution([STRING], TEXT))
    assert execute(one, pool, bare)[2] == bulk
    assert execute(one, pool, execution(None, NUMBER))[2] == execution(None, NUMBER)


# -- MySQL, which derives types from the first execution -----------------------


def test_classes_that_differ_are_kept_apart() -> None:
    shared = statement(sticky=True)
    pool = BackendStatements(5)
    pool.put(shared, 7)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    assert execute(one, pool, execution([LONG], NUMBER))[1] is not None
    assert execute(two, pool, execution([STRING], TEXT)) == (READ, None, None)
    pool.put(shared, 8)
    for client, payload, backend_id in (
        (two, execution([STRING], TEXT), 8),
        (one, execution([LONG], NUMBER), 7),
        (two, execution([252], TEXT), 8),  # BLOB: one class with VAR_STRING
        (one, execution([8], bytes(8)), 7),  # LONGLONG: one with LONG
        (one, execution(None, bytes(8)), 7),
    ):
        backend = execute(client, pool, payload)[1]
        assert backend is not None
        assert backend.backend_id == backend_id
    assert not one.mixed
    assert not two.mixed


NOTHING = [execution([NULL], nulls=b"\1"), execution([LONG], nulls=b"\1")]


@pytest.mark.parametrize("nothing", NOTHING, ids=["type", "bit"])
def test_null_decides_nothing(nothing: bytes) -> None:
    shared = statement(sticky=True)
    pool = BackendStatements(5)
    pool.put(shared, 7)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    assert execute(one, pool, nothing)[1] is not None
    assert execute(two, pool, execution([STRING], TEXT))[1] is not None
    # To one, a NULL has no type still: that is another statement, until it gives it one.
    assert execute(one, pool, nothing) == (READ, None, None)
    assert execute(two, pool, nothing)[1] is not None
    assert execute(one, pool, execution([STRING], TEXT))[1] is not None
    assert execute(one, pool, nothing)[1] is not None
    assert not one.mixed


def test_null_is_shared_where_nothing_is_shown() -> None:
    shared = Statement("key", b"DO ?", 1, 0, sticky=True)
    pool = BackendStatements(5)
    pool.put(shared, 7)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    assert execute(one, pool, execution([STRING], TEXT))[1] is not None
    assert execute(two, pool, NOTHING[0])[1] is not None


def test_signs_differ_and_do_not_mix() -> None:
    shared = statement(sticky=True)
    pool = BackendStatements(5)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    pool.put(shared, 7)
    assert execute(one, pool, execution([LONG], NUMBER))[1] is not None
    unsigned = execution([LONG | 0x8000], NUMBER)
    assert execute(two, pool, unsigned) == (READ, None, None)
    pool.put(shared, 8)
    for client, payload, backend_id in (
        (two, unsigned, 8),
        (one, unsigned, 8),
        (two, execution([LONG], NUMBER), 7),
    ):
        backend = execute(client, pool, payload)[1]
        assert backend is not None
        assert backend.backend_id == backend_id
    assert not one.mixed
    assert not two.mixed


def test_a_mixed_client_owns_what_it_mixed() -> None:
    shared = statement(sticky=True)
    pool = BackendStatements(2)
    pool.put(shared, 7)
    clients = ClientStatements()
    one, two = clients.add(shared), clients.add(shared)
    execute(one, pool, execution([LONG], NUMBER))
    execute(two, pool, execution([LONG], NUMBER))
    # Now a string: the server will take it for a number, as it would without us.
    backend = execute(one, pool, execution([STRING], TEXT))[1]
    assert backend is not None
    assert backend.backend_id == 7
    assert one.mixed
    assert backend.owner is one
    assert pool.owned == 1
    # Nobody else may use that one, and it is not evicted under its owner.
    assert execute(two, pool, execution([LONG], NUMBER)) == (READ, None, None)
    assert pool.put(shared, 8) == []
    assert pool.put(statement("other"), 9) == [8]
    assert execute(one, pool, execution([LONG], NUMBER))[1] is backend
    assert pool.retire() == [7]
    assert pool.retire() == []
    assert pool.owned == 0
    assert [entry.backend_id for entry in pool.entries()] == [9]


def test_a_text_is_prepared_a_few_times_at_most() -> None:
    shared = statement(sticky=True)
    pool = BackendStatements(100)
    closed = [number for n in range(20) for number in pool.put(shared, n)]
    assert closed == list(range(4))
    assert len(pool) == 16


# -- what it costs -------------------------------------------------------------


@pytest.mark.parametrize("sticky", [False, True])
def test_steady_state_allocates_nothing_and_calls_no_python(sticky: bool) -> None:
    shared = statement(params=2, sticky=sticky)
    cache = StatementCache(10, 1 << 20)
    cache.put(shared)
    pool = BackendStatements(10)
    pool.put(shared, 7)
    client = ClientStatements().add(shared)
    bound, bare = execution([LONG, STRING], NUMBER + TEXT), execution(None, NUMBER + TEXT)
    for payload in (bound, bare):
        execute(client, pool, payload)

    before = sys.getallocatedblocks()
    for _ in range(1000):
        execute(client, pool, bound)
        execute(client, pool, bare)
    assert sys.getallocatedblocks() - before < 20

    with Profile() as profile:
        execute(client, pool, bound)
        execute(client, pool, bare)
    assert profile.by_name() == {}
