# SPDX-License-Identifier: Apache-2.0
"""Texts of digests as options want them."""

from __future__ import annotations

import pytest

from hproxy.telemetry.digest_form import DigestForm

TEXT = b"SELECT A1 FROM t22 WHERE b=NULL AND c IS NOT NULL AND d IN (NULL,?)"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (DigestForm(), TEXT),
        (DigestForm(longest=9), b"SELECT A1"),
        (DigestForm(lowercase=True), TEXT.lower()),
        (
            DigestForm(no_digits=True),
            b"SELECT A? FROM t? WHERE b=NULL AND c IS NOT NULL AND d IN (NULL,?)",
        ),
        (
            DigestForm(replace_null=True),
            b"SELECT A1 FROM t22 WHERE b=? AND c IS NOT NULL AND d IN (?,?)",
        ),
        (
            DigestForm(longest=14, lowercase=True, no_digits=True),
            b"select a? from",
        ),
    ],
)
def test_options(form: DigestForm, text: bytes) -> None:
    assert form.write(TEXT) == text


@pytest.mark.parametrize(
    "text", [b"SELECT `NULL` FROM t", b"SELECT nullable FROM t", b"SELECT t.NULL", b"a IS NULL"]
)
def test_what_is_no_value_stays(text: bytes) -> None:
    assert DigestForm(replace_null=True).write(text) == text
