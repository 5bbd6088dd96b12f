# SPDX-License-Identifier: Apache-2.0
"""Proofs by hashing, against hashlib and the slow lane's arithmetic."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native import proof
from hproxy.protocols.mysql.scramble import (
    SCRAMBLE_ALPHABET,
    native_response,
    new_scramble,
    sha2_response,
)

SIZES = [*range(140), 191, 192, 1000]
RESPONSES = {
    20: (native_response, hashlib.sha1),
    32: (sha2_response, hashlib.sha256),
}


@pytest.mark.parametrize("size", SIZES)
def test_digests_of_every_padding(size: int) -> None:
    data = bytes(i * 7 & 0xFF for i in range(size))
    assert proof.sha1(data) == hashlib.sha1(data).digest()
    assert proof.sha256(data) == hashlib.sha256(data).digest()


@given(st.binary(max_size=300))
def test_digests(data: bytes) -> None:
    assert proof.sha1(data) == hashlib.sha1(data).digest()
    assert proof.sha256(data) == hashlib.sha256(data).digest()


@given(st.sampled_from([20, 32]), st.binary(min_size=1, max_size=80), st.data())
def test_right_and_wrong_proofs(size: int, password: bytes, data: st.DataObject) -> None:
    respond, digest = RESPONSES[size]
    inner = digest(password).digest()
    stored = digest(inner).digest()
    scramble = new_scramble()
    answer = respond(inner, scramble)
    assert proof.check(answer, scramble, stored)
    at, bit = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 7))
    wrong = bytearray(answer)
    wrong[at] ^= 1 << bit
    assert not proof.check(bytes(wrong), scramble, stored)
    assert not proof.check(answer, scramble[:-1] + bytes([scramble[-1] ^ 1]), stored)
    assert not proof.check(answer[:-1], scramble, stored)
    assert not proof.check(answer + b"\0", scramble, stored)
    assert not proof.check(b"", scramble, stored)


@pytest.mark.parametrize(("scramble", "stored"), [(19, 20), (21, 32), (20, 0), (20, 21)])
def test_lengths_that_are_none(scramble: int, stored: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        proof.check(b"", bytes(scramble), bytes(stored))


def test_scrambles() -> None:
    source = proof.ScrambleSource()
    drawn = [source.scramble() for _ in range(2000)]
    assert {len(scramble) for scramble in drawn} == {20}
    assert len(set(drawn)) == len(drawn)
    seen = set(b"".join(drawn))
    assert seen == set(SCRAMBLE_ALPHABET)
