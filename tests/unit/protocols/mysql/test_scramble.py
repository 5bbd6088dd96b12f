# SPDX-License-Identifier: Apache-2.0
"""Password arithmetic against published vectors, PyMySQL, crypt(3) and real servers' hashes."""

from __future__ import annotations

import base64
from contextlib import suppress
from hashlib import sha1, sha256

import pymysql._auth as oracle
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from hproxy.errors import AuthError
from hproxy.protocols.mysql.scramble import (
    ED25519_NONCE_BYTES,
    decrypt_password,
    ed25519_public_key,
    ed25519_sign,
    ed25519_verify,
    encrypt_password,
    generate_rsa_key,
    load_rsa_key,
    native_inner,
    native_response,
    new_scramble,
    parsec_key,
    parsec_response,
    private_pem,
    public_pem,
    sha2_inner,
    sha2_response,
    sha256_crypt,
)
from hproxy.protocols.mysql.wire import MalformedPacket
from tests.support.garbage import garbage

passwords = st.binary(min_size=1, max_size=100)
scrambles = st.binary(min_size=20, max_size=20)
nonces = st.binary(min_size=32, max_size=32)

KEY = generate_rsa_key()

# MySQL 9.7.4, SELECT HEX(authentication_string) FROM mysql.user: salts have any 7-bit bytes.
MYSQL_HASHES = [
    (
        b"password",
        "24412430303524506B6E387B7B5D6F7F1C1913337C69196408672976376B2E4D5948482E474B395247"
        "5A78524E4342353870326265652E7656376A4A45765865394C7A576433",
    ),
    (
        b"x",
        "24412430303524347F4277536F30063075457670717929386F23416B5458795162715746716C516B7A"
        "553631666D30694D7933556446467739523763596C59593176766A4434",
    ),
    (
        b"p" * 100,
        "24412430303524385D0C6C4B1A0E3C2329605776210838520A6E382F356338796D5A36305363455565"
        "4835747736724D46696D574A4A2E3243726450614C506D38372E477630",
    ),
    (
        b"hproxy",
        "24412430304124021E576B1A175B01400C5B4A586818067E4246036374744C754B754A67456E6C5144"
        "39744747734C334C4944424C63466764437833637A314F2E7836745942",
    ),
    (
        "a much longer password with ünïcödé, "
        "well beyond sixteen and even thirty-two bytes 0123456789".encode(),
        "2441243030412457700F2A336E28106E21550E330575184F7E5D33356E79763061784A716E57617375"
        "6A694A6C57786D5034584E647736445A32664D4C3933526376474C702F",
    ),
]
# MariaDB 11.8.9's own caching_sha2_password draws printable salts.
MARIADB_HASH = b"$A$005$?vldH.QRbN)S6rdFp,{|esZvKNu4e/zFFm0wQcmUOg5gGw8PR4Mow5yhu6iX1u8"

# "openssl passwd -5"; for salts of at most 16 bytes MySQL's form is crypt(3)'s.
CRYPT_HASHES = [
    (b"Hello world!", b"saltstring", 5000, b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    (b"Hello world!", b"saltstringsaltst", 10000, b"3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    (
        b"a very much longer text to encrypt.  This one even stretches over morethan one line.",
        b"anotherlongsalts",
        1400,
        b"Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
    ),
    (b"x" * 100, b"abcdefgh", 1234, b"CV2Do.vikwoafz0ndYWGpA38C/YNcsSqVqGolEWWZp1"),
    (b"", b"x", 5000, b"yHbtfs4Y8t6X1xcJemNX.4JQRfUTafA2qQenWGLBee2"),
]


def test_scrambles_have_neither_nul_nor_dollar() -> None:
    seen = set()
    for length in (20, 32):
        for _ in range(200):
            scramble = new_scramble(length)
            assert len(scramble) == length
            assert not {0, ord("$")} & set(scramble)
            assert max(scramble) < 128
            seen.add(scramble)
    assert len(seen) == 400


# -- mysql_native_password ----------------------------------------------------


@given(passwords, scrambles)
def test_native_equals_pymysql(password: bytes, scramble: bytes) -> None:
    response = native_response(sha1(password).digest(), scramble)
    assert response == oracle.scramble_native_password(password, scramble)


@given(passwords, scrambles, passwords)
def test_native_is_checked_and_teaches(password: bytes, scramble: bytes, other: bytes) -> None:
    inner = sha1(password).digest()
    stored = sha1(inner).digest()
    response = native_response(inner, scramble)
    assert native_inner(response, scramble, stored) == inner
    # With the closing NUL of the wire it is the same challenge.
    assert native_response(inner, scramble + b"\0") == response
    if other != password:
        wrong = native_response(sha1(other).digest(), scramble)
        assert native_inner(wrong, scramble, stored) is None
    assert native_inner(response[:-1], scramble, stored) is None
    assert native_inner(b"", scramble, stored) is None


# -- caching_sha2_password, fast ----------------------------------------------


@given(passwords, scrambles)
def test_sha2_equals_pymysql(password: bytes, scramble: bytes) -> None:
    response = sha2_response(sha256(password).digest(), scramble)
    assert response == oracle.scramble_caching_sha2(password, scramble)


@given(passwords, scrambles, passwords)
def test_sha2_is_checked_and_teaches(password: bytes, scramble: bytes, other: bytes) -> None:
    inner = sha256(password).digest()
    stored = sha256(inner).digest()
    response = sha2_response(inner, scramble)
    assert sha2_inner(response, scramble, stored) == inner
    if other != password:
        wrong = sha2_response(sha256(other).digest(), scramble)
        assert sha2_inner(wrong, scramble, stored) is None
    assert sha2_inner(response + b"\0", scramble, stored) is None


# -- sha256_crypt -------------------------------------------------------------


@pytest.mark.parametrize(("password", "stored"), MYSQL_HASHES)
def test_hashes_of_mysql_9(password: bytes, stored: str) -> None:
    text = bytes.fromhex(stored)
    rounds = int(text[3:6], 16) * 1000
    assert sha256_crypt(password, text[7:27], rounds) == text[27:]
    assert sha256_crypt(password + b"!", text[7:27], rounds) != text[27:]


def test_a_hash_of_mariadb_11_8() -> None:
    assert sha256_crypt(b"secret", MARIADB_HASH[7:27], 5000) == MARIADB_HASH[27:]


@pytest.mark.parametrize(("password", "salt", "rounds", "expected"), CRYPT_HASHES)
def test_hashes_of_crypt(password: bytes, salt: bytes, rounds: int, expected: bytes) -> None:
    assert sha256_crypt(password, salt, rounds) == expected


# -- RSA ----------------------------------------------------------------------


@given(st.binary(max_size=213), scrambles)
def test_rsa_round_trip(password: bytes, scramble: bytes) -> None:
    sealed = encrypt_password(password, scramble, public_pem(KEY))
    assert decrypt_password(KEY, sealed, scramble) == password


@given(st.binary(max_size=100), scrambles)
def test_what_pymysql_encrypts_we_decrypt(password: bytes, scramble: bytes) -> None:
    sealed = oracle.sha2_rsa_encrypt(password, scramble, public_pem(KEY))
    assert decrypt_password(KEY, sealed, scramble) == password


def test_rsa_refuses() -> None:
    scramble = new_scramble()
    sealed = encrypt_password(b"secret", scramble, public_pem(KEY))
    assert decrypt_password(generate_rsa_key(), sealed, scramble) is None
    assert decrypt_password(KEY, sealed[:-1], scramble) is None
    assert decrypt_password(KEY, b"", scramble) is None
    assert decrypt_password(KEY, bytes(256), scramble) is None
    # Another scramble gives other bytes; without the NUL at the end it is no password.
    assert decrypt_password(KEY, sealed, bytes(b ^ 1 for b in scramble)) is None


def test_a_password_too_long_for_the_key() -> None:
    assert encrypt_password(b"x" * 213, new_scramble(), public_pem(KEY))
    with pytest.raises(AuthError, match="too long"):
        encrypt_password(b"x" * 214, new_scramble(), public_pem(KEY))


def pem_of_a_curve() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def test_keys_of_another_kind_are_refused() -> None:
    private, public = pem_of_a_curve()
    with pytest.raises(MalformedPacket, match="not of RSA"):
        encrypt_password(b"secret", new_scramble(), public)
    with pytest.raises(ValueError, match="not of RSA"):
        load_rsa_key(private)


def test_a_key_under_a_passphrase_is_refused() -> None:
    pem = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    with pytest.raises(ValueError, match="not a usable private key"):
        load_rsa_key(pem)


def test_a_server_s_short_key_is_used_as_far_as_it_goes() -> None:
    # Too weak for us to make, but a server's choice is not ours; OAEP leaves it 86 bytes.
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    scramble = new_scramble()
    sealed = encrypt_password(b"x" * 85, scramble, public_pem(small))
    assert decrypt_password(small, sealed, scramble) == b"x" * 85
    with pytest.raises(AuthError):
        encrypt_password(b"x" * 86, scramble, public_pem(small))


def test_keys_are_kept_in_pem() -> None:
    again = load_rsa_key(private_pem(KEY))
    assert public_pem(again) == public_pem(KEY)
    assert public_pem(KEY).startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert KEY.key_size == 2048


@given(garbage(public_pem(KEY), private_pem(KEY)))
def test_garbage_keys_are_refused_or_still_keys(data: bytes) -> None:
    # AuthError: damage may leave a readable key that is too short for the password.
    with suppress(MalformedPacket, AuthError):
        encrypt_password(b"secret", b"x" * 20, data)
    with suppress(ValueError):
        load_rsa_key(data)


# -- client_ed25519 -----------------------------------------------------------


def test_public_keys_of_mariadb() -> None:
    """SELECT ed25519_password(...) of MariaDB 10.11; the first is in its manual as well."""
    for password, stored in (
        (b"secret", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"),
        (b"ed", "50yqC5nJMDgmhbbRHiZfzuSPJH4arqnIZvKTdFvw9J0"),
    ):
        assert base64.b64encode(ed25519_public_key(password)).rstrip(b"=") == stored.encode()


@given(st.binary(max_size=100), nonces)
def test_ed25519_equals_pymysql(password: bytes, nonce: bytes) -> None:
    assert ed25519_sign(password, nonce) == oracle.ed25519_password(password, nonce)


@given(st.binary(max_size=100), nonces, st.integers(0, 63), st.integers(1, 255))
def test_ed25519_is_checked(password: bytes, nonce: bytes, at: int, flip: int) -> None:
    public = ed25519_public_key(password)
    signature = ed25519_sign(password, nonce)
    assert ed25519_verify(public, nonce, signature)
    assert not ed25519_verify(ed25519_public_key(password + b"!"), nonce, signature)
    assert not ed25519_verify(public, nonce[:-1] + bytes([nonce[-1] ^ 1]), signature)
    broken = bytearray(signature)
    broken[at] ^= flip
    assert not ed25519_verify(public, nonce, bytes(broken))


# -- parsec -------------------------------------------------------------------


def stored_parsec(text: str) -> tuple[bytes, bytes]:
    """(salt as it is sent, public key) of an authentication string of MariaDB."""
    kind, salt, key = text.split(":")
    return (
        b"P" + bytes([int(kind[1:])]) + base64.b64decode(salt + "=="),
        base64.b64decode(key + "=="),
    )


# MariaDB 11.8.9, identified via parsec using password('secret'), and of ('').
PARSEC_SECRET = "P0:MF1dehOBn6P2l09UElJ/Aum+:UxzdY5WXnQ4KAgm7fzcppJcIZHACSKMhvvPyhWhTwkQ"
PARSEC_EMPTY = "P0:+t7O/sU6XeaMUiRm49OSPE8E:h1pAfM9dcdskJe2VFlbvUSRhMk9tMlB/aemRdbJDj1I"


@pytest.mark.parametrize(("password", "stored"), [(b"secret", PARSEC_SECRET), (b"", PARSEC_EMPTY)])
def test_parsec_keys_of_mariadb(password: bytes, stored: str) -> None:
    ext_salt, public = stored_parsec(stored)
    assert parsec_key(password, ext_salt).public_key().public_bytes_raw() == public
    nonce = new_scramble(32)
    answer = parsec_response(password, nonce, ext_salt)
    assert len(answer) == 32 + 64
    assert ed25519_verify(public, nonce + answer[:32], answer[32:])
    assert parsec_response(password, nonce, ext_salt) != answer
    wrong = parsec_response(password + b"!", nonce, ext_salt)
    assert not ed25519_verify(public, nonce + wrong[:32], wrong[32:])


@pytest.mark.parametrize("ext_salt", [b"", b"P", b"P\0", b"Q\0salt", b"P\x07salt", b"P\xffsalt"])
def test_parsec_salts_that_are_refused(ext_salt: bytes) -> None:
    with pytest.raises(MalformedPacket, match="parsec salt"):
        parsec_response(b"secret", b"n" * 32, ext_salt)


@given(garbage())
def test_garbage_signatures_are_refused(data: bytes) -> None:
    assert not ed25519_verify(ed25519_public_key(b"ed"), b"n" * ED25519_NONCE_BYTES, data)
