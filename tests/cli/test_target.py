"""Who is given the user's password."""

from __future__ import annotations

import pytest

from est_core import CredentialsRequested, EstUri, Password
from est_core.codec.authheader import basic_challenge
from est_transports.cli.client.login import Login

URI = EstUri.parse("https://est.example:8443/lab")


def asked_by(uri: str) -> CredentialsRequested:
    challenges = (basic_challenge("est"),)
    return CredentialsRequested(uri=EstUri.parse(uri), challenges=challenges, attempt=1)


@pytest.mark.req("EST-020")
@pytest.mark.parametrize(
    ("uri", "given"),
    [
        ("https://est.example:8443", True),
        ("https://EST.example:8443/other", True),
        ("https://est.example", False),
        ("https://evil.example:8443", False),
    ],
)
def test_a_password_is_for_the_server_that_was_named_and_for_no_other(
    uri: str, given: bool
) -> None:
    login = Login("estuser", "estpwd", uri=URI)
    credentials = login(asked_by(uri))
    assert credentials == (Password(user="estuser", password="estpwd") if given else None)
