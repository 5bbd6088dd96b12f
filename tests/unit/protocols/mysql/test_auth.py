# SPDX-License-Identifier: Apache-2.0
"""Secrets, credentials and the plugin table: every plugin answered by itself, and by servers."""

from __future__ import annotations

import dataclasses
from base64 import b64encode
from hashlib import sha1, sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.auth import (
    CACHING_SHA2,
    CLEAR,
    ED25519,
    NATIVE,
    PARSEC,
    PLUGINS,
    SHA256,
    SHA256_REQUEST_PUBLIC_KEY,
    Credential,
    Form,
    Outcome,
    Plugin,
    Secret,
    new_scramble,
    strip_nul,
)
from hproxy.protocols.mysql.handshake import (
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
    OkPacket,
)
from hproxy.protocols.mysql.scramble import ed25519_public_key
from tests.captures.reading import conversations, load
from tests.support.garbage import garbage

NATIVE_OF_PASSWORD = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
SHA2_OF_PASSWORD = bytes.fromhex(
    "24412430303524506B6E387B7B5D6F7F1C1913337C69196408672976376B2E4D5948482E474B395247"
    "5A78524E4342353870326265652E7656376A4A45765865394C7A576433"
)
# SELECT ed25519_password('password')
KEY_OF_PASSWORD = b64encode(ed25519_public_key(b"password")).rstrip(b"=")
SECRETS = {
    Form.CLEAR: Secret.parse("password"),
    Form.NATIVE_HASH: Secret.parse(NATIVE_OF_PASSWORD),
    Form.SHA2_HASH: Secret.parse(SHA2_OF_PASSWORD),
    Form.EMPTY: Secret.parse(""),
    Form.ED25519_KEY: Secret.parse(KEY_OF_PASSWORD).under(ED25519),
}
KNOWN = Credential(b"password")
PAIRS = [(plugin, form) for plugin in PLUGINS.values() for form in Form if form in plugin.serves]


def check(plugin: Plugin, secret: Secret, credential: Credential) -> Outcome:
    """One login with `plugin`: our own client against our own server, in full if need be."""
    scramble = new_scramble(plugin.scramble_bytes)
    answer = plugin.respond(credential, scramble, True)
    assert answer is not None
    verdict = plugin.verify(secret, answer, scramble, None)
    if verdict.outcome is Outcome.FULL_NEEDED:
        assert credential.password is not None
        verdict = secret.verify_password(credential.password)
    assert verdict.accepted == (verdict.credential is not None)
    return verdict.outcome


# -- Secret -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", Form.EMPTY),
        (b"", Form.EMPTY),
        ("secret", Form.CLEAR),
        ("pässword", Form.CLEAR),
        (NATIVE_OF_PASSWORD, Form.NATIVE_HASH),
        (NATIVE_OF_PASSWORD.lower(), Form.NATIVE_HASH),
        (NATIVE_OF_PASSWORD[:-1], Form.CLEAR),
        (NATIVE_OF_PASSWORD + "0", Form.CLEAR),
        (NATIVE_OF_PASSWORD + "\n", Form.CLEAR),
        ("*" + "G" * 40, Form.CLEAR),
        (SHA2_OF_PASSWORD, Form.SHA2_HASH),
        (SHA2_OF_PASSWORD.decode("ascii"), Form.SHA2_HASH),
        (SHA2_OF_PASSWORD[:-1], Form.CLEAR),
        (SHA2_OF_PASSWORD + b"0", Form.CLEAR),
        ("0x" + SHA2_OF_PASSWORD.hex(), Form.SHA2_HASH),
        ("0X" + SHA2_OF_PASSWORD.hex().upper(), Form.SHA2_HASH),
        ("0x" + SHA2_OF_PASSWORD.hex()[:-2], Form.CLEAR),
        ("0x00", Form.CLEAR),
        ("0x", Form.CLEAR),
        ("$A$00Z$" + "x" * 63, Form.CLEAR),
        ("$A$005$" + "\n" * 20 + "x" * 43, Form.SHA2_HASH),
        ("$A$005$" + "x" * 20 + "!" * 43, Form.CLEAR),
    ],
)
def test_forms_are_told_by_their_look(text: str | bytes, form: Form) -> None:
    assert Secret.parse(text).form is form


def test_both_ways_to_write_a_hash_are_one_secret() -> None:
    assert Secret.parse("0x" + SHA2_OF_PASSWORD.hex()) == SECRETS[Form.SHA2_HASH]
    assert Secret.parse(NATIVE_OF_PASSWORD.lower()) == SECRETS[Form.NATIVE_HASH]
    assert SECRETS[Form.NATIVE_HASH].value == sha1(sha1(b"password").digest()).digest()


@given(st.binary(max_size=80))
def test_any_text_is_a_secret_that_accepts_itself(text: bytes) -> None:
    secret = Secret.parse(text)
    if secret.form in (Form.CLEAR, Form.EMPTY):
        assert secret.verify_password(text).accepted
        assert secret.credential == Credential(text)


@pytest.mark.parametrize("form", Form)
def test_nothing_shows_a_password(form: Form) -> None:
    secret = SECRETS[form]
    shown = repr(secret) + str(secret) + repr(Credential(b"password", b"password", b"password"))
    assert "password" not in shown.lower().replace("credential", "")
    assert NATIVE_OF_PASSWORD[1:9] not in shown
    assert form.name in repr(secret)


def test_secrets_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SECRETS[Form.CLEAR].value = b"other"  # type: ignore[misc]


def test_only_readable_secrets_open_backends_at_once() -> None:
    assert SECRETS[Form.CLEAR].credential == KNOWN
    assert SECRETS[Form.EMPTY].credential == Credential(b"")
    assert SECRETS[Form.NATIVE_HASH].credential is None
    assert SECRETS[Form.SHA2_HASH].credential is None


@pytest.mark.parametrize("form", [f for f in Form if f is not Form.EMPTY])
def test_the_password_itself_is_checked_against_every_form(form: Form) -> None:
    secret = SECRETS[form]
    verdict = secret.verify_password(b"password")
    assert verdict.accepted
    assert verdict.credential == KNOWN
    for wrong in (b"", b"Password", b"password\0", b"password" * 100, b"\0"):
        assert secret.verify_password(wrong).outcome is Outcome.REFUSED
    assert SECRETS[Form.EMPTY].verify_password(b"password").outcome is Outcome.REFUSED


def test_a_giant_password_is_refused_before_it_is_hashed() -> None:
    secret = SECRETS[Form.SHA2_HASH]
    assert secret.verify_password(b"x" * 10_000_000).outcome is Outcome.REFUSED


# -- plugins, both sides ------------------------------------------------------


@pytest.mark.parametrize(("plugin", "form"), PAIRS)
def test_right_and_wrong_password(plugin: Plugin, form: Form) -> None:
    secret = SECRETS[form]
    right = Credential(b"") if form is Form.EMPTY else KNOWN
    assert check(plugin, secret, right) is Outcome.ACCEPTED
    assert check(plugin, secret, Credential(b"wrong")) is Outcome.REFUSED
    if form is not Form.EMPTY:
        assert check(plugin, secret, Credential(b"")) is Outcome.REFUSED


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda p: p.name.decode())
def test_forms_a_plugin_cannot_serve_are_refused(plugin: Plugin) -> None:
    scramble = new_scramble(plugin.scramble_bytes)
    answer = plugin.respond(KNOWN, scramble, True)
    assert answer is not None
    for form, secret in SECRETS.items():
        if form not in plugin.serves:
            assert plugin.verify(secret, answer, scramble, None).outcome is Outcome.REFUSED


def test_what_each_plugin_serves() -> None:
    every = frozenset(Form)
    assert {name: plugin.serves for name, plugin in PLUGINS.items()} == {
        NATIVE: every - {Form.SHA2_HASH, Form.ED25519_KEY},
        CACHING_SHA2: every,
        ED25519: frozenset({Form.CLEAR, Form.EMPTY, Form.ED25519_KEY}),
        CLEAR: every,
        SHA256: frozenset(),
        PARSEC: frozenset(),
    }
    assert [name for name, plugin in PLUGINS.items() if plugin.reveals] == [CLEAR, SHA256]
    assert [p.name for p in PLUGINS.values() if p.scramble_bytes == 32] == [ED25519, PARSEC]


def test_native_teaches_enough_to_answer_natively() -> None:
    scramble = new_scramble()
    answer = PLUGINS[NATIVE].respond(KNOWN, scramble, False)
    assert answer is not None
    learned = SECRETS[Form.NATIVE_HASH].verify_native(answer, scramble).credential
    assert learned == Credential(sha1=sha1(b"password").digest())
    assert check(PLUGINS[NATIVE], SECRETS[Form.CLEAR], learned) is Outcome.ACCEPTED
    for name in (CACHING_SHA2, ED25519, CLEAR, SHA256, PARSEC):
        assert PLUGINS[name].respond(learned, scramble, True) is None


@pytest.mark.parametrize("form", [Form.NATIVE_HASH, Form.SHA2_HASH])
def test_the_fast_path_opens_after_a_full_login_and_teaches(form: Form) -> None:
    secret, scramble = SECRETS[form], new_scramble()
    plugin = PLUGINS[CACHING_SHA2]
    answer = plugin.respond(KNOWN, scramble, False)
    assert answer is not None
    assert plugin.verify(secret, answer, scramble, None).outcome is Outcome.FULL_NEEDED
    full = secret.verify_password(b"password").credential
    assert full is not None
    fast = plugin.verify(secret, answer, scramble, full.sha2_digest)
    assert fast.accepted
    assert fast.credential == Credential(sha256=sha256(b"password").digest())
    assert fast.credential.sha2_digest == full.sha2_digest
    assert check(plugin, SECRETS[Form.CLEAR], fast.credential) is Outcome.ACCEPTED
    assert PLUGINS[NATIVE].respond(fast.credential, scramble, True) is None
    wrong = plugin.respond(Credential(b"wrong"), scramble, False)
    assert wrong is not None
    assert plugin.verify(secret, wrong, scramble, full.sha2_digest).outcome is (Outcome.FULL_NEEDED)


@pytest.mark.parametrize("answer", [b"", b"\0"])
def test_both_empty_answers_of_sha2(answer: bytes) -> None:
    for form, secret in SECRETS.items():
        verdict = secret.verify_sha2(answer, new_scramble(), b"d" * 32)
        assert verdict.accepted == (form is Form.EMPTY)


def test_clear_passwords_are_never_sent_in_the_open() -> None:
    assert PLUGINS[CLEAR].respond(KNOWN, b"", False) is None
    assert PLUGINS[CLEAR].respond(KNOWN, b"", True) == b"password\0"
    assert PLUGINS[SHA256].respond(KNOWN, b"", False) == SHA256_REQUEST_PUBLIC_KEY
    assert PLUGINS[SHA256].respond(KNOWN, b"", True) == b"password\0"
    assert PLUGINS[SHA256].respond(Credential(b""), b"", False) == b"\0"
    assert strip_nul(b"password\0") == strip_nul(b"password") == b"password"


# -- Credential ---------------------------------------------------------------


def test_credentials_add_up() -> None:
    by_native = Credential(sha1=b"1" * 20)
    by_sha2 = Credential(sha256=b"2" * 32)
    both = by_native | by_sha2
    assert (both.native, both.sha2) == (b"1" * 20, b"2" * 32)
    assert both | Credential(sha1=b"3" * 20) == Credential(sha1=b"3" * 20, sha256=b"2" * 32)
    assert both | KNOWN == KNOWN
    assert KNOWN | by_native == Credential(b"password", b"1" * 20)
    assert (KNOWN | by_native).native == sha1(b"password").digest()


def test_an_unknown_credential_answers_nothing() -> None:
    nothing = Credential()
    assert nothing.native is nothing.sha2 is nothing.sha2_digest is None
    for plugin in PLUGINS.values():
        assert plugin.respond(nothing, new_scramble(32), True) is None


# -- real servers and clients -------------------------------------------------


def captured_answers() -> list[tuple[str, bytes, bytes, bytes, bytes]]:
    """(conversation, user, plugin, scramble, answer) of what real clients sent.

    Without first answers to a server that then asked for another plugin.
    """
    found = []
    for conversation in conversations("mysql"):
        if conversation.name.endswith("login_tls"):
            continue
        frames = conversation.frames
        greeting = Greeting.parse(frames[0].payload)
        response = HandshakeResponse.parse(frames[1].payload)
        switched = frames[2].remark == "auth switch"
        if response.plugin == greeting.plugin and not switched:
            found.append(
                (
                    conversation.name, response.user, response.plugin,
                    greeting.scramble, response.auth_response,
                )
            )  # fmt: skip
        for asked, answered in pairwise(frames):
            if not asked.client and asked.remark == "auth switch":
                switch = AuthSwitchRequest.parse(asked.payload)
                found.append(
                    (
                        conversation.name, response.user, switch.plugin,
                        switch.scramble, answered.payload,
                    )
                )  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("name", "user", "plugin", "scramble", "answer"),
    captured_answers(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_captured_answers_are_checked(
    name: str, user: bytes, plugin: bytes, scramble: bytes, answer: bytes
) -> None:
    # Every account's password is its name, but for the one that has none.
    secret = Secret.parse(b"" if user == b"empty" else user)
    if not PLUGINS[plugin].serves:
        assert plugin == PARSEC
        return  # not ours to check; test_handshake checks this signature
    verdict = PLUGINS[plugin].verify(secret, answer, scramble, None)
    assert verdict.accepted != name.endswith("login_refused")


# SHA-256 of the certificate the recorded MariaDB 11.8.9 had made for itself.
FINGERPRINT = bytes.fromhex("4041d675aba96b859a422462fdf86fc13381de206822a39034963c603ea8c7a8")


@pytest.mark.parametrize(
    ("name", "plugin", "texts"),
    [
        ("login_native", NATIVE, ["hproxy", "*F4DDD7E9120A68885CC011E5ED259A443D282BF3"]),
        ("login_ed25519", ED25519, ["ed"]),
    ],
)
def test_captured_proofs_of_a_certificate(name: str, plugin: bytes, texts: list[str]) -> None:
    frames = load(f"mysql/mariadb-11.8/{name}").frames
    greeting = Greeting.parse(frames[0].payload)
    capabilities = HandshakeResponse.parse(frames[1].payload).capabilities
    said = next(f.payload for f in frames if f.remark == "OK" and not f.client)
    proof = OkPacket.parse(said, capabilities).info
    for text in texts:
        secret = Secret.parse(text)
        assert secret.certificate_proof(plugin, greeting.scramble, FINGERPRINT) == proof
        assert secret.certificate_proof(plugin, greeting.scramble, bytes(32)) != proof


def test_who_cannot_vouch_for_a_certificate() -> None:
    scramble = new_scramble()
    able = {
        (plugin, form)
        for plugin in PLUGINS
        for form, secret in SECRETS.items()
        if secret.certificate_proof(plugin, scramble, FINGERPRINT) is not None
    }
    assert able == {
        (NATIVE, Form.CLEAR),
        (NATIVE, Form.NATIVE_HASH),
        (ED25519, Form.CLEAR),
        (ED25519, Form.ED25519_KEY),
    }


def test_only_a_hash_has_the_parts_of_one() -> None:
    with pytest.raises(ValueError, match="not a caching_sha2"):
        SECRETS[Form.CLEAR].sha2_parts()
    assert SECRETS[Form.SHA2_HASH].sha2_parts()[0] == 5


def test_captures_cover_the_plugins_of_both_servers() -> None:
    assert {plugin for _, _, plugin, _, _ in captured_answers()} == {
        NATIVE,
        CACHING_SHA2,
        ED25519,
        PARSEC,
    }


# -- garbage ------------------------------------------------------------------


@given(
    garbage(SHA2_OF_PASSWORD),
    st.sampled_from(sorted(PLUGINS)),
    st.sampled_from(Form),
    st.one_of(st.none(), st.binary(min_size=32, max_size=32)),
)
def test_garbage_answers_are_not_accepted(
    answer: bytes, name: bytes, form: Form, digest: bytes | None
) -> None:
    if name in (CLEAR, SHA256) and form is Form.SHA2_HASH:
        answer = answer[:8]  # as refused, and quicker
    plugin = PLUGINS[name]
    empty = answer in (b"", b"\0") and form is Form.EMPTY
    right = strip_nul(answer) == b"password" and plugin.reveals
    verdict = plugin.verify(SECRETS[form], answer, b"s" * plugin.scramble_bytes, digest)
    assert not verdict.accepted or empty or right


@given(garbage(SHA2_OF_PASSWORD, NATIVE_OF_PASSWORD.encode()))
def test_garbage_columns_are_secrets(text: bytes) -> None:
    assert isinstance(Secret.parse(text).form, Form)


# -- decoys, and checks that take long ------------------------------------------


@pytest.mark.parametrize("form", Form)
def test_a_decoy_is_checked_like_what_it_is_made_like(form: Form) -> None:
    secret = SECRETS[form]
    one, two = secret.decoy(), secret.decoy()
    assert one != two
    assert one.form is (Form.CLEAR if form is Form.EMPTY else form)
    assert Secret.parse(one.value) == one or form in (Form.NATIVE_HASH, Form.ED25519_KEY)
    assert one.is_slow == secret.is_slow
    if form is Form.SHA2_HASH:
        assert one.sha2_parts()[0] == secret.sha2_parts()[0]
    assert one.verify_password(b"password").outcome is Outcome.REFUSED


@pytest.mark.parametrize("form", Form)
def test_a_slow_check_comes_in_steps(form: Form) -> None:
    secret = SECRETS[form]

    def outcome(password: bytes) -> tuple[int, Outcome]:
        steps, count = secret.password_steps(password), 0
        while True:
            try:
                next(steps)
                count += 1
            except StopIteration as end:
                return count, end.value.outcome

    count, right = outcome(b"" if form is Form.EMPTY else b"password")
    assert right is Outcome.ACCEPTED
    assert outcome(b"wrong") == (count, Outcome.REFUSED)
    assert (count > 10) == secret.is_slow
    assert outcome(b"x" * 1000) == (0, Outcome.REFUSED)


def test_public_keys_are_told_by_the_plugin() -> None:
    """Without it 43 letters are a password like any other."""
    assert Secret.parse(KEY_OF_PASSWORD).form is Form.CLEAR
    assert Secret.parse(KEY_OF_PASSWORD).under(NATIVE).form is Form.CLEAR
    key = Secret.parse(KEY_OF_PASSWORD).under(ED25519)
    assert (key.form, key.value) == (Form.ED25519_KEY, ed25519_public_key(b"password"))
    for other in (b"password", KEY_OF_PASSWORD[:-1], KEY_OF_PASSWORD + b"=", b"*" * 43):
        assert Secret.parse(other).under(ED25519) == Secret.parse(other)
    assert key.credential is None
