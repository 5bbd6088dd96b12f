# SPDX-License-Identifier: Apache-2.0
"""Who can prove what to whom: stored secrets, learned credentials, and the plugin table.

    Secret        the password column of a user we serve: checks what a client answers
    Credential    what we know of a password: answers what a backend asks
    Verdict       how a check went, with the Credential it taught us

A clear-text secret does everything. From a hash, a login under mysql_native_password teaches
SHA1(password) and one on the fast path of caching_sha2_password SHA256(password): each opens
backends that ask for the same plugin. The full path teaches the password itself.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha1, sha256
from hmac import compare_digest
from typing import NamedTuple, Self

from hproxy.protocols.mysql.scramble import (
    ED25519_NONCE_BYTES,
    SCRAMBLE_BYTES,
    certificate_proof,
    crypt_noise,
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
    parsec_response,
    private_pem,
    public_pem,
    sha2_inner,
    sha2_response,
    sha256_crypt,
    sha256_crypt_steps,
)

# The arithmetic a login needs beside the table is re-exported, so that it imports one file.
__all__ = [
    "CACHING_SHA2",
    "CLEAR",
    "ED25519",
    "FAST_AUTH_OK",
    "FULL_AUTH_NEEDED",
    "NATIVE",
    "PARSEC",
    "PLUGINS",
    "REQUEST_PUBLIC_KEY",
    "SCRAMBLE_BYTES",
    "SHA256",
    "SHA256_REQUEST_PUBLIC_KEY",
    "Credential",
    "Form",
    "Outcome",
    "Plugin",
    "Secret",
    "Verdict",
    "decrypt_password",
    "encrypt_password",
    "generate_rsa_key",
    "load_rsa_key",
    "new_scramble",
    "parsec_response",
    "private_pem",
    "public_pem",
    "strip_nul",
]

NATIVE = b"mysql_native_password"
CACHING_SHA2 = b"caching_sha2_password"
SHA256 = b"sha256_password"
ED25519 = b"client_ed25519"
PARSEC = b"parsec"
CLEAR = b"mysql_clear_password"

# The one byte in AuthMoreData that answers caching_sha2_password's fast path ...
FAST_AUTH_OK = b"\x03"
FULL_AUTH_NEEDED = b"\x04"
# ... and the one by which a client without TLS asks for the server's key.
REQUEST_PUBLIC_KEY = b"\x02"
SHA256_REQUEST_PUBLIC_KEY = b"\x01"

# What MySQL itself allows; sha256_crypt's first step is quadratic in the length.
LONGEST_HASHED_PASSWORD = 256
ROUNDS_UNIT = 1000
SHA2_HASH = re.compile(rb"\$A\$([0-9A-Fa-f]{3})\$(.{20})([./0-9A-Za-z]{43})", re.DOTALL)
NATIVE_HASH = re.compile(rb"\*([0-9A-Fa-f]{40})")
KEY_FORM = re.compile(rb"[A-Za-z0-9+/]{43}")
HEX_FORM = re.compile(rb"0[xX]((?:[0-9A-Fa-f]{2})+)")


@dataclass(frozen=True, slots=True)
class Credential:
    """What we know of a password, at best the password. Never shows itself."""

    password: bytes | None = field(default=None, repr=False)
    sha1: bytes | None = field(default=None, repr=False)
    sha256: bytes | None = field(default=None, repr=False)

    def __or__(self, other: Credential) -> Credential:
        """Both together; `other` is the newer where they differ."""
        if other.password is not None:
            return other
        return Credential(self.password, other.sha1 or self.sha1, other.sha256 or self.sha256)

    @property
    def native(self) -> bytes | None:
        """SHA1(password), if known."""
        return self.sha1 if self.password is None else sha1(self.password).digest()

    @property
    def sha2(self) -> bytes | None:
        """SHA256(password), if known."""
        return self.sha256 if self.password is None else sha256(self.password).digest()

    @property
    def sha2_digest(self) -> bytes | None:
        """SHA256(SHA256(password)): what to remember to let the client in fast next time."""
        return None if (inner := self.sha2) is None else sha256(inner).digest()


class Outcome(Enum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FULL_NEEDED = "full needed"
    """Say FULL_AUTH_NEEDED and get the password itself, under TLS or RSA."""


class Verdict(NamedTuple):
    """How a check went; `credential` is what it taught us, only when ACCEPTED."""

    outcome: Outcome
    credential: Credential | None = None

    @property
    def accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED


REFUSED = Verdict(Outcome.REFUSED)
FULL_NEEDED = Verdict(Outcome.FULL_NEEDED)


def accepted(credential: Credential) -> Verdict:
    return Verdict(Outcome.ACCEPTED, credential)


class Form(Enum):
    EMPTY = "empty"
    CLEAR = "clear"
    NATIVE_HASH = "native hash"
    SHA2_HASH = "sha2 hash"
    ED25519_KEY = "ed25519 key"


@dataclass(frozen=True, slots=True)
class Secret:
    """The configured password of a user, in whichever form it was written.

    `value` is the clear text, the 20 bytes of SHA1(SHA1(password)), "$A$..." as it is, or the
    32 bytes of the public key that MariaDB stores for client_ed25519.
    """

    form: Form
    value: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The form is told by the look: anything that is not exactly a hash is clear text.

        "*" and 40 hex digits; "$A$", 3 hex digits of rounds / 1000, "$" and 63 characters;
        the latter also as 0x and hex, as SHOW CREATE USER prints it on request.
        """
        value = text.encode() if isinstance(text, str) else text
        if not value:
            return cls(Form.EMPTY, b"")
        if found := NATIVE_HASH.fullmatch(value):
            return cls(Form.NATIVE_HASH, bytes.fromhex(found[1].decode()))
        if SHA2_HASH.fullmatch(value):
            return cls(Form.SHA2_HASH, value)
        if found := HEX_FORM.fullmatch(value):
            unhexed = bytes.fromhex(found[1].decode())
            if SHA2_HASH.fullmatch(unhexed):
                return cls(Form.SHA2_HASH, unhexed)
        return cls(Form.CLEAR, value)

    def under(self, plugin: bytes) -> Secret:
        """The same as an account bound to `plugin` means it: 43 characters of base64 are the
        public key of client_ed25519, as MariaDB shows it."""
        if plugin == ED25519 and self.is_clear and KEY_FORM.fullmatch(self.value):
            return Secret(Form.ED25519_KEY, b64decode(self.value + b"="))
        return self

    @property
    def is_clear(self) -> bool:
        """Whether it is the password itself, and there is one."""
        return self.form is Form.CLEAR

    @property
    def credential(self) -> Credential | None:
        """What opens backends without waiting for a client; None for a hash."""
        return Credential(self.value) if self.form in (Form.CLEAR, Form.EMPTY) else None

    def verify_native(self, response: bytes, scramble: bytes) -> Verdict:
        """Check an answer of mysql_native_password."""
        if self.form is Form.EMPTY:
            return accepted(Credential(b"")) if not response else REFUSED
        if self.form in (Form.SHA2_HASH, Form.ED25519_KEY):
            return REFUSED
        clear = self.form is Form.CLEAR
        stored = sha1(sha1(self.value).digest()).digest() if clear else self.value
        inner = native_inner(response, scramble, stored)
        if inner is None:
            return REFUSED
        return accepted(Credential(self.value) if clear else Credential(sha1=inner))

    def verify_sha2(self, response: bytes, scramble: bytes, digest: bytes | None) -> Verdict:
        """Check a fast answer of caching_sha2_password.

        `digest` is what `Credential.sha2_digest` said after the last full login under this
        very secret, None when there was none: then a hash can only ask for the full path.
        """
        if response in (b"", b"\0"):  # how an empty password answers: both are in use
            return accepted(Credential(b"")) if self.form is Form.EMPTY else REFUSED
        if self.form is Form.EMPTY:
            return REFUSED
        if self.form is Form.CLEAR:
            stored = sha256(sha256(self.value).digest()).digest()
            if sha2_inner(response, scramble, stored) is None:
                return REFUSED
            return accepted(Credential(self.value))
        if digest is None:
            return FULL_NEEDED
        inner = sha2_inner(response, scramble, digest)
        # MySQL, too, lets a mismatch try in full.
        return FULL_NEEDED if inner is None else accepted(Credential(sha256=inner))

    def digest_for(self, plugin: bytes, learned: bytes | None) -> bytes | None:
        """The double hash that answers of `plugin` can be checked with, and nothing else.

        b"" for no password, None where it takes more; `learned` is as for `verify_sha2`.
        """
        if plugin not in (NATIVE, CACHING_SHA2):
            return None
        if self.form is Form.EMPTY:
            return b""
        clear = self.form is Form.CLEAR
        if plugin == CACHING_SHA2:
            return sha256(sha256(self.value).digest()).digest() if clear else learned
        if clear:
            return sha1(sha1(self.value).digest()).digest()
        return self.value if self.form is Form.NATIVE_HASH else None

    def verify_ed25519(self, response: bytes, nonce: bytes) -> Verdict:
        """Check a signature of client_ed25519; it takes the password, or its public key."""
        if self.form is Form.ED25519_KEY:  # which teaches nothing
            right = ed25519_verify(self.value, nonce, response)
            return accepted(Credential()) if right else REFUSED
        if self.form not in (Form.CLEAR, Form.EMPTY):
            return REFUSED
        if not ed25519_verify(ed25519_public_key(self.value), nonce, response):
            return REFUSED
        return accepted(Credential(self.value))

    def verify_password(self, password: bytes) -> Verdict:
        """Check the password itself. A "$A$" hash takes 0.5 us a round: 2 to 5 ms by default."""
        if self.form is Form.NATIVE_HASH:
            given, stored = sha1(sha1(password).digest()).digest(), self.value
        elif self.form is Form.ED25519_KEY:
            given, stored = ed25519_public_key(password), self.value
        elif self.form is Form.SHA2_HASH:
            if len(password) > LONGEST_HASHED_PASSWORD:
                return REFUSED
            thousands, salt, stored = self.sha2_parts()
            given = sha256_crypt(password, salt, thousands * ROUNDS_UNIT)
        else:
            given, stored = password, self.value
        return accepted(Credential(password)) if compare_digest(given, stored) else REFUSED

    def password_steps(self, password: bytes) -> Generator[None, None, Verdict]:
        """`verify_password` bit by bit, where it takes long: 0.1 ms each time it is resumed."""
        if self.form is not Form.SHA2_HASH or len(password) > LONGEST_HASHED_PASSWORD:
            return self.verify_password(password)
        thousands, salt, stored = self.sha2_parts()
        given = yield from sha256_crypt_steps(password, salt, thousands * ROUNDS_UNIT)
        return accepted(Credential(password)) if compare_digest(given, stored) else REFUSED

    @property
    def is_slow(self) -> bool:
        """Whether the password itself is checked by `password_steps`."""
        return self.form is Form.SHA2_HASH

    def decoy(self) -> Secret:
        """One of the same form that nobody knows: checked against it, all look alike."""
        if self.form is Form.ED25519_KEY:
            return Secret(Form.ED25519_KEY, ed25519_public_key(new_scramble()))
        if self.form is Form.NATIVE_HASH:
            return Secret(Form.NATIVE_HASH, sha1(new_scramble()).digest())
        if self.form is Form.SHA2_HASH:
            thousands, salt, stored = self.sha2_parts()
            value = b"$A$%03X$" % thousands + new_scramble(len(salt))
            return Secret(Form.SHA2_HASH, value + crypt_noise(len(stored)))
        return Secret(Form.CLEAR, new_scramble())

    def certificate_proof(self, plugin: bytes, scramble: bytes, fingerprint: bytes) -> bytes | None:
        """The text of the OK that vouches for our certificate, where `plugin` allows it.

        `scramble` is that of the greeting, `fingerprint` the certificate's SHA-256.
        """
        stored = None
        if plugin == NATIVE and self.form is Form.NATIVE_HASH:
            stored = self.value
        elif plugin == NATIVE and self.form is Form.CLEAR:
            stored = sha1(sha1(self.value).digest()).digest()
        elif plugin == ED25519 and self.form is Form.ED25519_KEY:
            stored = self.value
        elif plugin == ED25519 and self.form is Form.CLEAR:
            stored = ed25519_public_key(self.value)
        return None if stored is None else certificate_proof(stored, scramble, fingerprint)

    def sha2_parts(self) -> tuple[int, bytes, bytes]:
        """Thousands of rounds, salt and digest of a SHA2_HASH."""
        found = SHA2_HASH.fullmatch(self.value)
        if found is None:
            raise ValueError("not a caching_sha2_password hash")
        return int(found[1], 16), found[2], found[3]


def strip_nul(data: bytes) -> bytes:
    """A password as it comes in the clear: with a closing NUL, which some leave out."""
    return data.removesuffix(b"\0")


class Plugin(NamedTuple):
    """One authentication plugin, from both sides."""

    name: bytes
    serves: frozenset[Form]
    """The forms of secret we can check with it, as the server."""
    respond: Callable[[Credential, bytes, bool], bytes | None]
    """(credential, scramble, secure) -> our first answer, as the client; None = cannot."""
    verify: Callable[[Secret, bytes, bytes, bytes | None], Verdict]
    """(secret, response, scramble, sha2 digest or None) -> verdict, as the server."""
    scramble_bytes: int = SCRAMBLE_BYTES
    reveals: bool = False
    """The answer is the password: ask for it, and give it, only over a secure connection."""


def respond_native(credential: Credential, scramble: bytes, secure: bool) -> bytes | None:
    if credential.password == b"":
        return b""
    return None if (inner := credential.native) is None else native_response(inner, scramble)


def respond_sha2(credential: Credential, scramble: bytes, secure: bool) -> bytes | None:
    if credential.password == b"":
        return b"\0"
    return None if (inner := credential.sha2) is None else sha2_response(inner, scramble)


def respond_sha256(credential: Credential, scramble: bytes, secure: bool) -> bytes | None:
    if credential.password is None:
        return None
    if secure or not credential.password:
        return credential.password + b"\0"
    return SHA256_REQUEST_PUBLIC_KEY


def respond_ed25519(credential: Credential, nonce: bytes, secure: bool) -> bytes | None:
    return None if credential.password is None else ed25519_sign(credential.password, nonce)


def respond_clear(credential: Credential, scramble: bytes, secure: bool) -> bytes | None:
    return None if credential.password is None or not secure else credential.password + b"\0"


def respond_parsec(credential: Credential, scramble: bytes, secure: bool) -> bytes | None:
    """Nothing yet: the server then sends the account's salt, `parsec_response` answers that."""
    return None if credential.password is None else b""


def refuse(secret: Secret, response: bytes, scramble: bytes, digest: bytes | None) -> Verdict:
    return REFUSED


def verify_clear(secret: Secret, response: bytes, scramble: bytes, digest: bytes | None) -> Verdict:
    return secret.verify_password(strip_nul(response))


ANY = frozenset(Form)

PLUGINS: dict[bytes, Plugin] = {
    plugin.name: plugin
    for plugin in (
        Plugin(
            NATIVE,
            ANY - {Form.SHA2_HASH, Form.ED25519_KEY},
            respond_native,
            lambda secret, response, scramble, _: secret.verify_native(response, scramble),
        ),
        Plugin(CACHING_SHA2, ANY, respond_sha2, Secret.verify_sha2),
        Plugin(
            ED25519,
            frozenset({Form.CLEAR, Form.EMPTY, Form.ED25519_KEY}),
            respond_ed25519,
            lambda secret, response, nonce, _: secret.verify_ed25519(response, nonce),
            ED25519_NONCE_BYTES,
        ),
        Plugin(CLEAR, ANY, respond_clear, verify_clear, reveals=True),
        # Towards backends only: whoever has these two has one of the above as well.
        Plugin(SHA256, frozenset(), respond_sha256, refuse, reveals=True),
        Plugin(PARSEC, frozenset(), respond_parsec, refuse, ED25519_NONCE_BYTES),
    )
}
