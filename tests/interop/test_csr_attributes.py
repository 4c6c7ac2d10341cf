"""CSR attributes in each form as others read them: curl with openssl asn1parse, Bouncy Castle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PeerFinder
from tests.deployment import PASSWORD, USER, Deployment, prepared, serving
from tests.interop.java_peer import TLS_1_3, BouncyCastle
from tests.interop.openssl_peer import OpenSsl
from tests.programs import run

ASKED = """
[auth]
names = "any"
enforce_csrattrs = true

[csrattrs]
key_type = "EC P-256"
subject = ["CN"]
"""
FORMS = {
    "classic": (
        'signature = ["ecdsa-with-SHA256"]\n',
        ["commonName", "id-ecPublicKey", "prime256v1", "ecdsa-with-SHA256"],
    ),
    "both": (
        'form = "both"\n',
        ["commonName", "id-ecPublicKey", "prime256v1", "1.2.840.113549.1.9.16.2.61"],
    ),
    "template": ('form = "template"\n', ["1.2.840.113549.1.9.16.2.61", "commonName"]),
}
COMMON_NAME, EC_KEY, ECDSA = "2.5.4.3", "1.2.840.10045.2.1", "1.2.840.10045.4.3.2"
TEMPLATE = "1.2.840.113549.1.9.16.2.61"
OIDS = {
    "classic": {COMMON_NAME, EC_KEY, ECDSA},
    "both": {COMMON_NAME, EC_KEY, TEMPLATE},
    "template": {TEMPLATE},
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(form: str, tmp_path: Path) -> Iterator[Deployment]:
    directory = prepared(tmp_path / "ca")
    (directory / "est.toml").write_text(ASKED + FORMS[form][0])
    with serving(directory) as running:
        yield running


@pytest.mark.req("EST-238", "EST-256", "EST-269")
def test_curl_fetches_and_openssl_shows_them(
    server: Deployment, form: str, peer: PeerFinder, openssl: OpenSsl, tmp_path: Path
) -> None:
    url = server.url("csrattrs")
    fetched = run(
        *(peer("curl"), "--disable", "--noproxy", "*", "--silent", "--fail"),
        *("--cacert", str(server.ca_file), url),
    ).checked()
    decoded = run("base64", "-d", stdin=fetched.out).checked()
    shown = run(openssl.program, "asn1parse", "-inform", "DER", stdin=decoded.out).checked()
    text = shown.out.decode()
    assert text.split("\n")[0].split()[-2:] == ["cons:", "SEQUENCE"]
    for word in FORMS[form][1]:
        assert f":{word}" in text


def test_bouncy_castle_reads_each_form_and_enrolls_as_it_is_told(
    server: Deployment, form: str, bouncy_castle: BouncyCastle, openssl: OpenSsl, tmp_path: Path
) -> None:
    listed = set(bouncy_castle.run("csrattrs", *TLS_1_3).checked().out.decode().split())
    assert listed == OIDS[form]  # the template is an attribute that it does not know
    login = (f"user={USER}", f"password={PASSWORD}")
    new = ("subject=CN=java", "out=java.pem", "keyout=java.key")
    bouncy_castle.run("enroll", *TLS_1_3, *login, *new).checked()
    openssl.verify(server.ca_file, tmp_path / "java.pem")
