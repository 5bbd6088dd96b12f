# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of MySQL password proofs: bytes in, bytes out, no packets.

    mysql_native_password   SHA1(p) ^ SHA1(scramble + SHA1(SHA1(p)))
    caching_sha2_password   SHA256(p) ^ SHA256(SHA256(SHA256(p)) + scramble), the fast path;
                            else the password itself, under RSA or TLS
    client_ed25519          an Ed25519 signature whose expanded key is SHA512(p)
    parsec                  an Ed25519 signature whose key is PBKDF2(p, salt of the account)

What a server stores: SHA1(SHA1(p)) or sha256_crypt(p). Both xor forms give the one who
knows the stored value the inner hash of p: enough to answer the same challenge elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from hashlib import pbkdf2_hmac, sha1, sha256, sha512
from hmac import compare_digest

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl import bindings
from nacl.exceptions import BadSignatureError

from hproxy.errors import AuthError
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = [
    "ED25519_NONCE_BYTES",
    "SCRAMBLE_BYTES",
    "certificate_proof",
    "decrypt_password",
    "ed25519_public_key",
    "ed25519_sign",
    "ed25519_verify",
    "encrypt_password",
    "generate_rsa_key",
    "load_rsa_key",
    "native_inner",
    "native_response",
    "new_scramble",
    "parsec_key",
    "parsec_response",
    "private_pem",
    "public_pem",
    "sha2_inner",
    "sha2_response",
    "sha256_crypt",
]

SCRAMBLE_BYTES = 20
ROUNDS_A_STEP = 200  # 0.1 ms
ED25519_NONCE_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
RSA_BITS = 2048
PARSEC_KDF = ord("P")
PARSEC_LEAST_ROUNDS = 1024
# 65,536 rounds, 40 ms of ours: the server chooses the number, so it must have an end.
PARSEC_MOST_DOUBLINGS = 6

# 7-bit as the servers draw them; without NUL, which would end the scramble for C clients,
# and without "$", which would end the salt in a stored hash.
SCRAMBLE_ALPHABET = bytes(sorted(set(range(1, 128)) - {ord("$")}))

CRYPT_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Which bytes of the digest make up each group of four characters (the last has three).
CRYPT_ORDER = (
    (0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14),
    (15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29),
)  # fmt: skip

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


def new_scramble(length: int = SCRAMBLE_BYTES) -> bytes:
    """Random bytes to challenge a client with; about 7 bits of chance in each."""
    return bytes(secrets.choice(SCRAMBLE_ALPHABET) for _ in range(length))


def crypt_noise(length: int) -> bytes:
    """What could be a "$5$" hash, of no password anybody knows."""
    return bytes(secrets.choice(CRYPT_ALPHABET) for _ in range(length))


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def native_response(inner: bytes, scramble: bytes) -> bytes:
    """The answer of mysql_native_password, from `inner` = SHA1(password)."""
    return xor(inner, sha1(scramble[:SCRAMBLE_BYTES] + sha1(inner).digest()).digest())


def native_inner(response: bytes, scramble: bytes, stored: bytes) -> bytes | None:
    """SHA1(password) if `response` proves it to the holder of `stored`, SHA1(SHA1(password))."""
    if len(response) != len(stored):
        return None
    inner = xor(response, sha1(scramble[:SCRAMBLE_BYTES] + stored).digest())
    return inner if compare_digest(sha1(inner).digest(), stored) else None


def sha2_response(inner: bytes, scramble: bytes) -> bytes:
    """The fast answer of caching_sha2_password, from `inner` = SHA256(password)."""
    stored = sha256(inner).digest()
    return xor(inner, sha256(stored + scramble[:SCRAMBLE_BYTES]).digest())


def sha2_inner(response: bytes, scramble: bytes, stored: bytes) -> bytes | None:
    """SHA256(password) if `response` proves it to the holder of SHA256(SHA256(password))."""
    if len(response) != len(stored):
        return None
    inner = xor(response, sha256(stored + scramble[:SCRAMBLE_BYTES]).digest())
    return inner if compare_digest(sha256(inner).digest(), stored) else None


def sha256_crypt(password: bytes, salt: bytes, rounds: int) -> bytes:
    """The 43 characters of the "$5$" hash, with the salt taken whole.

    crypt(3) would cut the salt at 16 bytes and knows no rounds written in hex; MySQL has 20
    and counts in thousands. Checked against hashes of a MySQL 9.7. About 0.5 us a round.
    """
    steps = sha256_crypt_steps(password, salt, rounds)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: bytes = end.value
            return found


def sha256_crypt_steps(password: bytes, salt: bytes, rounds: int) -> Generator[None, None, bytes]:
    """The same bit by bit: after every ROUNDS_A_STEP others may have their turn."""
    length = len(password)
    other = sha256(password + salt + password).digest()
    first = sha256(password + salt + repeat(other, length))
    bits = length
    while bits:
        first.update(other if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    password = repeat(sha256(password * length).digest(), length)
    salt = repeat(sha256(salt * (16 + digest[0])).digest(), len(salt))
    for i in range(rounds):
        if i % ROUNDS_A_STEP == ROUNDS_A_STEP - 1:
            yield
        head, tail = (password, digest) if i & 1 else (digest, password)
        middle = (salt if i % 3 else b"") + (password if i % 7 else b"")
        digest = sha256(head + middle + tail).digest()
    out = bytearray()
    for a, b, c in CRYPT_ORDER:
        crypt_characters(out, digest[a] << 16 | digest[b] << 8 | digest[c], 4)
    crypt_characters(out, digest[31] << 8 | digest[30], 3)
    return bytes(out)


def repeat(data: bytes, length: int) -> bytes:
    """`data` over and over, `length` bytes of it."""
    return (data * (length // len(data) + 1))[:length]


def crypt_characters(out: bytearray, word: int, count: int) -> None:
    """Append the low `count` groups of 6 bits, lowest first."""
    for _ in range(count):
        out.append(CRYPT_ALPHABET[word & 0x3F])
        word >>= 6


def generate_rsa_key() -> rsa.RSAPrivateKey:
    """A key to receive passwords under; about 0.1 s."""
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def load_rsa_key(pem: bytes) -> rsa.RSAPrivateKey:
    """An unencrypted private key in PEM. Raises ValueError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"not a usable private key: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("a private key, but not of RSA")
    return key


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """The form `load_rsa_key` reads."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """What a client asks for and gets in AuthMoreData."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def encrypt_password(password: bytes, scramble: bytes, pem: bytes) -> bytes:
    """The password for a server whose public key is `pem`.

    Raises MalformedPacket for what is no RSA key, or no scramble to mix the password with;
    AuthError for a password too long for the key.
    """
    if not scramble:
        raise MalformedPacket("scramble", "empty")
    try:
        key = serialization.load_pem_public_key(pem)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise MalformedPacket("public key", str(error)) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise MalformedPacket("public key", "not of RSA")
    plain = password + b"\0"
    room = key.key_size // 8 - 2 * hashes.SHA1.digest_size - 2
    if len(plain) > room:
        raise AuthError("the password is too long for the backend's key", code="rsa")
    return key.encrypt(xor(plain, repeat(scramble[:SCRAMBLE_BYTES], len(plain))), OAEP)


def decrypt_password(key: rsa.RSAPrivateKey, encrypted: bytes, scramble: bytes) -> bytes | None:
    """The password a client sent under our public key; None if it did not."""
    if len(encrypted) != key.key_size // 8 or not scramble:
        return None
    try:
        mixed = key.decrypt(encrypted, OAEP)
    except ValueError:
        return None
    plain = xor(mixed, repeat(scramble[:SCRAMBLE_BYTES], len(mixed)))
    return plain[:-1] if plain.endswith(b"\0") else None


def ed25519_secret(password: bytes) -> tuple[bytes, bytes]:
    """The clamped scalar and the prefix of nonces: RFC 8032 with the password as the seed."""
    digest = bytearray(sha512(password).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    return bytes(digest[:32]), bytes(digest[32:])


def ed25519_public_key(password: bytes) -> bytes:
    """What MariaDB stores (in base64) for `password`."""
    scalar, _ = ed25519_secret(password)
    return bindings.crypto_scalarmult_ed25519_base_noclamp(scalar)


def ed25519_sign(password: bytes, nonce: bytes) -> bytes:
    """The answer of client_ed25519.

    Spelt out because libraries take seeds of 32 bytes only; MariaDB hashes any password.
    """
    scalar, prefix = ed25519_secret(password)
    public = bindings.crypto_scalarmult_ed25519_base_noclamp(scalar)
    r = bindings.crypto_core_ed25519_scalar_reduce(sha512(prefix + nonce).digest())
    commitment = bindings.crypto_scalarmult_ed25519_base_noclamp(r)
    k = bindings.crypto_core_ed25519_scalar_reduce(sha512(commitment + public + nonce).digest())
    product = bindings.crypto_core_ed25519_scalar_mul(k, scalar)
    return commitment + bindings.crypto_core_ed25519_scalar_add(product, r)


def ed25519_verify(public_key: bytes, nonce: bytes, signature: bytes) -> bool:
    """Whether the holder of the password behind `public_key` signed `nonce`."""
    if len(signature) != ED25519_SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + nonce, public_key)
    except BadSignatureError:
        return False
    return True


def parsec_key(password: bytes, ext_salt: bytes) -> Ed25519PrivateKey:
    """The signing key of an account; `ext_salt` is "P", doublings of 1024 rounds, the salt.

    Raises MalformedPacket. Its public half is what MariaDB stores.
    """
    if len(ext_salt) < 3 or ext_salt[0] != PARSEC_KDF or ext_salt[1] > PARSEC_MOST_DOUBLINGS:
        raise MalformedPacket("parsec salt", f"{len(ext_salt)} bytes of another kind")
    rounds = PARSEC_LEAST_ROUNDS << ext_salt[1]
    seed = pbkdf2_hmac("sha512", password, ext_salt[2:], rounds, 32)
    return Ed25519PrivateKey.from_private_bytes(seed)


def parsec_response(password: bytes, scramble: bytes, ext_salt: bytes) -> bytes:
    """The answer to a parsec salt: a scramble of ours, and both signed. About 1 ms."""
    own = secrets.token_bytes(len(scramble))
    return own + parsec_key(password, ext_salt).sign(scramble + own)


def certificate_proof(stored: bytes, scramble: bytes, fingerprint: bytes) -> bytes:
    """The text of an OK by which MariaDB 11.4+ vouches for a certificate nobody signed.

    `stored` is what servers keep of the password, `scramble` that of the greeting whatever
    plugin was switched to, `fingerprint` the SHA-256 of the certificate's DER form. Clients
    that verify certificates refuse one without a known signer unless the OK says this.
    """
    digest = sha256(stored + scramble[:SCRAMBLE_BYTES] + fingerprint).hexdigest()
    return b"\x01" + digest.upper().encode()
