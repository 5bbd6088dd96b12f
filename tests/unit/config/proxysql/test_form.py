# SPDX-License-Identifier: Apache-2.0
"""Forms keep one spelling and say what is wrong with others, without showing a password."""

from __future__ import annotations

import pytest

from hproxy.config.option import Refusal
from hproxy.config.proxysql.form import FORMS, accounts, interfaces


@pytest.mark.parametrize(
    ("form", "text", "kept"),
    [
        ("interfaces", " 0.0.0.0:6033 ; /tmp/p.sock;", "0.0.0.0:6033;/tmp/p.sock"),
        ("interfaces", "", ""),
        ("accounts", "admin:admin; radmin:a:b ;", "admin:admin;radmin:a:b"),
        ("accounts", "open:", "open:"),
        ("networks", "10.0.0.0/8, ::1", "10.0.0.0/8, ::1"),
        ("networks", "*", "*"),
        ("networks", "localhost,10.0.0.1 ", "localhost,10.0.0.1"),
        ("version", "8.0.39-x", "8.0.39-x"),
        ("version", "", ""),
        ("no_detector", "0", "false"),
        ("names", "tx_isolation, version", "tx_isolation,version"),
    ],
)
def test_kept(form: str, text: str, kept: str) -> None:
    assert FORMS[form](text) == kept


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("interfaces", "6033", "has no port"),
        ("interfaces", "a:1;a:1", "a:1 is there twice"),
        ("accounts", "admin:secret;nobody", "account 2 is not USER:PASSWORD"),
        ("accounts", ":secret", "account 1 is not USER:PASSWORD"),
        ("accounts", "a:secret;a:secret", "account 2 has the name of an earlier one"),
        ("networks", "10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("version", "eight", "is not a server version"),
        ("version", "8.0.1\0", "is not a server version"),
        ("names", "a b", "'a b' is not a name of a variable"),
        ("fixed", "2.7.1", "cannot be set"),
        ("no_detector", "true", "there is no detector of SQL injection"),
    ],
)
def test_refused(form: str, text: str, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        FORMS[form](text)
    assert message in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_parsed() -> None:
    assert interfaces("a:1, b:2") == ("a:1", "b:2")
    assert accounts("a:b;c:d:e") == {"a": "b", "c": "d:e"}
