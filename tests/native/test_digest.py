# SPDX-License-Identifier: Apache-2.0
"""Normalised texts and their hashes, compared with the twin that the lexer's tokens make."""

from __future__ import annotations

import ctypes
import mmap
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hproxy._native.digest import TEXT_BYTES, Digester, digest, first_comment, stable_hash
from hproxy.protocols.mysql.lexer import (
    ANSI_QUOTES,
    GBK,
    NO_BACKSLASH_ESCAPES,
    Kind,
    tokens,
)
from tests.native.digest_reference import reference_digest
from tests.unit.protocols.mysql.test_lexer import MODES


def hashed(sql: bytes, modes: int = 0) -> tuple[int, int]:
    digester = Digester()
    digester.read(sql, modes)
    return digester.low, digester.high


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"", b""),
        (b" /* */ ;; ; -- x", b""),
        (b"SELECT c FROM sbtest1 WHERE id=5046", b"SELECT c FROM sbtest1 WHERE id=?"),
        (b"SELECT c\nFROM\t`t` -- x\nWHERE  id = ?;", b"SELECT c FROM `t` WHERE id=?"),
        (b"SELECT * FROM t", b"SELECT * FROM t"),
        (b"SELECT t.*, a*b, COUNT( * )FROM t", b"SELECT t.*,a * b,COUNT(*) FROM t"),
        (b"SELECT NULL, TRUE, 1", b"SELECT NULL,TRUE,?"),
        (b"SELECT now (), now(), `now` ()", b"SELECT now (),now(),`now`()"),
        (b"a IN (1)", b"a IN (?)"),
        (b"a IN (1, 'b')", b"a IN (?,...)"),
        (b"a IN(1,2,3)and b", b"a IN(?,...) and b"),
        (b"f(1,2,a,3,4),5", b"f(?,...,a,?,...),?"),
        (b"LIMIT 1, 2", b"LIMIT ?,..."),
        (b"VALUES (1),(2),(3) AS", b"VALUES (?),... AS"),
        (b"VALUES (1,'a'), (2,'b')", b"VALUES (?,...),..."),
        (b"VALUES (1,2),(3,4),(5),(6),(7,8)", b"VALUES (?,...),...,(?),...,(?,...)"),
        (b"VALUES (1,NULL),(2,NULL)", b"VALUES (?,NULL),(?,NULL)"),
        (b"(1),(2,(3))", b"(?),(?,(?))"),
        (b"IN ((1,2),(3,4))", b"IN ((?,...),...)"),
        (b"(1),2,(3)", b"(?),?,(?)"),
        (b"(1 2),(1 2)", b"(? ?),(? ?)"),
        (b"f(1),g(2)", b"f(?),g(?)"),
        (b"(-1,+2,-.5,-0x1F)", b"(?,...)"),
        (b"a=-1 AND b<+2 AND c:=-3", b"a=? AND b<? AND c:=?"),
        (b"a -1, SELECT -1, a- 1, a=- 1, a=-1x, a=-b", b"a-?,SELECT-?,a-?,a= -?,a= -1x,a= -b"),
        (b"_utf8'a' 'b' N'c' x'41'", b"_utf8 ? ? ? ?"),
        (b"{d '2020-01-01'} AND", b"{d ?} AND"),
        (b"a - - b", b"a- -b"),
        (b"a / * b < = c : = d - > e", b"a/ * b< =c: =d- >e"),
        (b"a||b&&!c->'$.x'->>'$.y'", b"a||b&& !c->?->>?"),
        (b"SELECT @a := @@session.sql_mode, @`b c`", b"SELECT @a:=@@session.sql_mode,@`b c`"),
        (b"'root'@'%'", b"? @'%'"),
        (b"SELECT /*+ NO_MRR(t) */ 1", b"SELECT /*+ NO_MRR(t) */ ?"),
        (b"/*!40101 SET NAMES utf8 */;", b"SET NAMES utf8"),
        (b"COUNT/**/(*)", b"COUNT (*)"),
        (b"a;b ; ;c;", b"a;b;c"),
        (b"a . b.`c` . 1e5", b"a.b.`c`.?"),
        (b"t.1e5 t.x'1'", b"t.1e5 t.x ?"),
        (b"\\N", b"\\N"),
    ],
)
def test_text(sql: bytes, expected: bytes) -> None:
    assert reference_digest(sql) == expected
    assert digest(sql) == expected


def test_modes() -> None:
    sql = b"SELECT \"a\" , 'b\\' , '"
    assert digest(sql) == b"SELECT ?,..."
    assert digest(sql, ANSI_QUOTES) == b'SELECT "a",?'
    assert digest(sql, NO_BACKSLASH_ESCAPES) == b"SELECT ?,..."
    assert digest(b"'\x81\\' , a", GBK) == b"?,a"


WORDS = [
    *b"SELECT FROM WHERE a b.c `x` `x``y` NULL 1 -1 +2 .5 1.5e3 0x1F 0b01 1a".split(),
    *b"t.1e5 'a' 'it''s' \"q\" 'a\\'b' N'n' x'41' _utf8 ? ( ) , ; = <=> < > <=".split(),
    *b">= <> != := - + * / % . : & | && || -> ->> << >> ! ~ { } @v @'v' @`v`".split(),
    *b"@@x @@session.x @ /*+h*/ /*c*/ /*! */ /*!50110 #c\n".split(b" "),
    *[b"-- c\n", b"--", b"(1)", b"(1,2)", b"(1),(2)", b"(1,'a'),(2,'b')", b"IN (1,2,3)", b",,"],
    *[b"\\", b"'", b'"', b"`", b"\0", b"\x81", b"\xe0\\", b"\xb0`", b"\xff", b"\x81\x30\x81\x30"],
    *[b"0x", b"1e", b"x'", b"@@`s`.`x`", b"/*", b"*/", b"/*M!", b"\n", b"\t", b"VALUES (", b"),("],
]
SPACED = st.lists(st.sampled_from(WORDS), max_size=30).map(b" ".join)
TIGHT = st.lists(st.sampled_from([*WORDS, b" "]), max_size=40).map(b"".join)
SQL = SPACED | TIGHT | st.binary(max_size=80)


@settings(max_examples=500)
@given(SQL, st.sampled_from(MODES))
def test_native_is_as_its_twin(sql: bytes, modes: int) -> None:
    assert digest(sql, modes) == reference_digest(sql, modes)


# Without what a server refuses anyhow: names that look like half a number, a lone @.
SOUND = [word for word in WORDS if word[:2] not in (b"1e", b"1a", b"t.", b"@", b"@@", b".", b"/*")]


@given(st.lists(st.sampled_from(SOUND), max_size=20), st.sampled_from([b"", b" "]))
def test_what_is_left_is_cut_as_before(words: list[bytes], glue: bytes) -> None:
    """Nothing runs together and nothing falls apart: a classifier may read either text."""
    sql = glue.join(words)
    text = digest(sql)
    if b"..." in text or b"@" in text:
        return
    values = (Kind.STRING, Kind.NUMBER, Kind.PARAMETER)
    before = [b"?" if token.kind in values else token.text for token in tokens(sql)]
    after = [token.text for token in tokens(text)]
    # Signs and semicolons may have gone.
    assert [t for t in after if t not in SPARED] == [t for t in before if t not in SPARED]


SPARED = (b"-", b"+", b";")


@given(SQL, SQL, st.sampled_from(MODES))
def test_equal_texts_have_equal_hashes_and_others_not(one: bytes, two: bytes, modes: int) -> None:
    for other in (two, b" " + one + b"/* */;", one.replace(b"1", b"2")):
        same = reference_digest(one, modes) == reference_digest(other, modes)
        assert (hashed(one, modes) == hashed(other, modes)) is same


@pytest.mark.fuzz
def test_random_pieces_and_cuts() -> None:
    """Many, with the same digester: nothing is left over from the statement before."""
    chance = random.Random(3)
    digester = Digester()
    for _ in range(20_000):
        glue = chance.choice([b"", b" ", b""])
        sql = glue.join(chance.choices(WORDS, k=chance.randrange(25)))
        if chance.random() < 0.3:
            sql = sql[: chance.randrange(len(sql) + 1)] + chance.randbytes(chance.randrange(4))
        modes = chance.choice(MODES)
        expected = reference_digest(sql, modes)
        assert digester.read(sql, modes) == expected, (sql, modes)
        assert (digester.size, digester.total, digester.truncated) == (
            len(expected),
            len(expected),
            False,
        )


def chance_text(chance: random.Random, size: int) -> bytes:
    """A statement whose normalised text is about `size` bytes long."""
    parts = []
    length = 0
    while length < size:
        part = chance.choice([*WORDS[:30], b"w" * chance.randrange(1, 300), b"(1),(2)", b";"])
        part += chance.choice([b" ", b",", b"  ", b"/**/"])
        parts.append(part)
        length += len(part)
    return b"".join(parts)


@pytest.mark.parametrize("seed", range(60))
def test_long_texts_are_cut_and_hashed_whole(seed: int) -> None:
    chance = random.Random(seed)
    sql = chance_text(chance, chance.choice([4000, 8200, 8300, 12_300, 30_000]))
    expected = reference_digest(sql)
    digester = Digester()
    assert digester.read(sql) == expected[:TEXT_BYTES]
    assert digester.size == min(len(expected), TEXT_BYTES)
    assert digester.total == len(expected)
    assert digester.truncated is (len(expected) > TEXT_BYTES)
    # The same text met in other pieces, and its end one byte different.
    assert hashed(sql) == hashed(b"/* other */" + sql.replace(b"/**/", b" \n") + b" ;")
    assert hashed(sql + b" x") != hashed(sql + b" y")


@pytest.mark.parametrize("length", [*range(40), *range(4080, 4112), *range(8100, 8230, 3), 70_000])
def test_every_byte_counts(length: int) -> None:
    """Above what is kept as well."""
    chance = random.Random(length)
    name = bytearray(b"n" * length)
    plain = hashed(b"`" + name)
    assert digest(b"`" + name) == (b"`" + name)[:TEXT_BYTES]
    assert plain == hashed(b" `" + name)
    assert plain != hashed(b"`" + name + b"n")
    for at in chance.sample(range(length), min(length, 20)):
        name[at] ^= 1 << chance.randrange(5)
        assert hashed(b"`" + name) != plain
        name[at] = ord(b"n")


@pytest.mark.parametrize("row", [b"(1)", b"(1,2)"])
@pytest.mark.parametrize("before", range(8110, 8150))
def test_rows_are_taken_back_wherever_the_buffer_ends(row: bytes, before: int) -> None:
    sql = b"w" * before + b" " + b",".join([row] * 9) + b"," + b"1,2,3,4"
    whole = reference_digest(sql)
    digester = Digester()
    assert digester.read(sql) == whole[:TEXT_BYTES]
    assert digester.total == len(whole)
    assert hashed(sql) == hashed(b"w" * before + b" " + row + b"," + row + b",5,6")


def test_a_long_list_is_short() -> None:
    sql = b"INSERT INTO t VALUES " + b",".join([b"(1,'a',-2.5)"] * 10_000)
    assert digest(sql) == b"INSERT INTO t VALUES (?,...),..."
    assert digest(b";" * 100_000 + b"a" + b";" * 100_000) == b";a"


def test_modes_are_part_of_the_hash() -> None:
    """The same text may be cut differently."""
    found = {hashed(b"SELECT a", modes) for modes in MODES}
    assert len(found) == len(MODES)


def test_halves_are_independent() -> None:
    pairs = [hashed(b"SELECT a%d" % n) for n in range(20_000)]
    for half in zip(*pairs, strict=True):
        assert len(set(half)) == len(pairs)
        # Each bit is set about half the time: 20,000 flips stray by 71, seven times that never.
        for bit in range(64):
            assert abs(sum(value >> bit & 1 for value in half) - 10_000) < 500


def test_the_hash_is_this_process_own() -> None:
    script = (
        "from hproxy._native.digest import Digester, stable_hash\n"
        "d = Digester(); text = d.read(b'SELECT 1'); print(d.low, d.high, stable_hash(text))"
    )
    low, high, stable = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert (int(low), int(high)) != hashed(b"SELECT 1")
    assert int(stable) == stable_hash(b"SELECT ?")


def test_stable_hash() -> None:
    """The published values of FNV-1a."""
    assert stable_hash(b"") == 0xCBF29CE484222325
    assert stable_hash(b"a") == 0xAF63DC4C8601EC8C
    assert stable_hash(b"foobar") == 0x85944171F73967E8


@pytest.mark.parametrize("wrong", [None, "text", 1])
def test_only_bytes_have_a_digest(wrong: object) -> None:
    with pytest.raises(TypeError):
        digest(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        stable_hash(wrong)  # type: ignore[arg-type]


class GuardedPage:
    """A page of memory; reading behind it kills the process."""

    def __init__(self) -> None:
        self.size = mmap.PAGESIZE
        self.pages = mmap.mmap(-1, 2 * self.size)
        self.cells = (ctypes.c_char * (2 * self.size)).from_buffer(self.pages)
        self.protect(0)

    def protect(self, access: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        behind = ctypes.c_void_p(ctypes.addressof(self.cells) + self.size)
        assert libc.mprotect(behind, ctypes.c_size_t(self.size), access) == 0

    def put(self, data: bytes) -> memoryview:
        """`data`, its last byte the last of the page."""
        start = self.size - len(data)
        self.pages[start : self.size] = data
        return memoryview(self.pages)[start : self.size]

    def close(self) -> None:
        self.protect(mmap.PROT_READ | mmap.PROT_WRITE)
        del self.cells
        self.pages.close()


@pytest.mark.fuzz
def test_nothing_is_read_behind_the_end() -> None:
    page = GuardedPage()
    digester = Digester()
    chance = random.Random(5)
    try:
        for _ in range(5_000):
            sql = chance.choice([b"", b" "]).join(chance.choices(WORDS, k=chance.randrange(1, 12)))
            modes = chance.choice(MODES)
            # Every cut of it, so that each token stops in each of its bytes.
            for size in range(len(sql)):
                with page.put(sql[:size]) as view:
                    digester.read(view, modes)
            assert digester.total == len(reference_digest(sql[:-1], modes))
    finally:
        page.close()


@pytest.mark.parametrize(
    ("sql", "inside"),
    [
        (b"", b""),
        (b"SELECT 1", b""),
        (b"/* a=1 */ SELECT 1 /* b */", b" a=1 "),
        (b"SELECT '/* no */' /*yes*/", b"yes"),
        (b"SELECT `/* no */` -- /* no */\n/*yes*/", b"yes"),
        (b"SELECT 1 # /* no */", b""),
        (b"SELECT /*! 1 /* in */ + 2 */ /* x */", b" in "),
        (b"SELECT /*M! 1 */ /* x */", b" x "),
        (b"SELECT /*+ hint */ /* x */", b" x "),
        (b"SELECT /**/ /* x */", b""),
        (b"SELECT 1 /* x", b""),
        (b"SELECT 1 /*/", b""),
        (b"/*x*/", b"x"),
    ],
)
def test_first_comment(sql: bytes, inside: bytes) -> None:
    assert first_comment(sql) == inside
    digester = Digester()
    digester.read(sql)
    at, size = digester.comment_at, digester.comment_size
    assert sql[max(at, 0) : max(at, 0) + size] == inside
    assert hashed(sql) == hashed(sql.replace(b"/*" + inside + b"*/", b" ", 1) if at >= 0 else sql)
