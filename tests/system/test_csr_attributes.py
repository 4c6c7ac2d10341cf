"""CSR attributes as an operator writes them, over real sockets: for all, and for some clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Limits
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from tests.deployment import PASSWORD, USER, Deployment, est, prepared, serving
from tests.pki import Subject, pki
from tests.system.independent_client import BASIC, IndependentClient
from tests.system.requests import csr, dns, new_key

CONFIG = """
[auth]
names = "any"
csrattrs = "cert-or-http"
enforce_csrattrs = true

[csrattrs]
oids = ["1.2.3"]

[[csrattrs.for]]
user = "est*"
subject = ["CN={identity}"]
san = ["dns:{identity}.example"]

[[csrattrs.for]]
certificate = "own-*"
attributes = ["macAddress"]

[labels.own.csrattrs]
subject = ["CN", "O=Example"]
extensions = ["keyUsage=critical,digitalSignature"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = prepared(tmp_path_factory.mktemp("telling") / "ca")
    (directory / "est.toml").write_text(CONFIG)
    with serving(directory) as running:
        yield running


def told(client: IndependentClient, path: str, authorization: str | None) -> CsrAttrs:
    answer = client.get_with(path, authorization)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return parse_csrattrs(base64.b64decode(answer.body), Limits())


@pytest.mark.req("EST-237", "EST-238", "EST-249", "EST-269")
def test_each_client_is_told_its_own_on_one_url(server: Deployment, tmp_path: Path) -> None:
    trust = ("--trust", str(server.ca_file))
    user = ("--user", USER, "--password-stdin")
    out = tmp_path / "device"
    enroll = ("enroll", server.server + "/own", "--cn", "own-1", *trust, *user, "--out", str(out))
    est(*enroll, stdin=PASSWORD.encode()).checked()
    made = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
    assert made.subject.rfc4514_string() == "O=Example,CN=own-1"
    identity = (out / "cert.pem", out / "key.pem")
    with IndependentClient(server.port, server.ca_file) as client:
        assert "Cache-Control" not in client.get("cacerts").headers  # the same for everybody
    for _ in range(2):  # in any order, and again: nothing is kept from one client for the next
        with IndependentClient(server.port, server.ca_file) as by_user:
            named = told(by_user, "csrattrs", BASIC).template()
            assert named is not None
            assert named.subject is not None
            assert named.subject[0][0].value == b"\x0c\x07estuser"
        with IndependentClient(server.port, server.ca_file, identity=identity) as holder:
            assert told(holder, "csrattrs", None).oids() == ("1.3.6.1.1.1.1.22",)
            own = told(holder, "own/csrattrs", None)
            assert own.template() is not None
            assert own.oids() == ("2.5.4.3", "2.5.4.10")


@pytest.mark.req("EST-237")
def test_over_coap_too_each_client_is_told_its_own(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "ca")
    (directory / "est.toml").write_text(CONFIG + '[coap]\nlisten = "127.0.0.1:0"\n')
    with serving(directory) as server:
        trust = ("--trust", str(server.ca_file))
        user = ("--user", USER, "--password-stdin")
        for name, told_oid in (("own-1", "1.3.6.1.1.1.1.22"), ("other-1", "1.2.3")):
            out = tmp_path / name
            enroll = ("enroll", server.server + "/own", "--cn", name, *trust, *user)
            est(*enroll, "--out", str(out), stdin=PASSWORD.encode()).checked()
            identity = ("--cert", str(out / "cert.pem"), "--key", str(out / "key.pem"))
            url = f"coaps://127.0.0.1:{server.coap_port}"
            shown = est("csrattrs", url, *trust, *identity, "--json").checked()
            found = json.loads(shown.out)["csrattrs"]
            listed = [*found["attributes_to_fill"], *found["unknown"]]
            assert [each["oid"] for each in listed] == [told_oid]
            renew = ("reenroll", url, *trust, *identity, "--out", str(out), "--force")
            refused = est(*renew)
            assert refused.code == 1  # enforced over CoAP, by the same rule
            assert told_oid in refused.err or "macAddress" in refused.err
            given = ("--attr", "macAddress=00:1b", "--attr", "1.2.3=x", "--strict-csrattrs")
            est(*renew, *given).checked()


@pytest.mark.req("EST-237")
def test_a_client_is_held_to_what_it_is_told_itself(server: Deployment) -> None:
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(new_key(), "other"))
        assert answer.status == 400
        assert (
            b"asks for: subject commonName 'estuser' (it is another); extension subjectAltName"
            in answer.body
        )
        good = client.enroll(csr(new_key(), USER, dns("estuser.example")))
        assert good.status == 200


MADE = """
[auth]
enforce_csrattrs = true

[manufacturers.acme]
trust = ["acme.pem"]
field = "CN"

[[csrattrs.for]]
manufacturer = "acme"
subject = ["CN={identity}", "O=Example"]
"""


@pytest.mark.req("EST-237", "EST-249")
def test_a_manufacturers_device_is_told_its_name_by_the_certificate_it_came_with(
    tmp_path: Path,
) -> None:
    directory = prepared(tmp_path / "ca")
    maker = pki().manufacturer
    (directory / "acme.pem").write_bytes(maker.certificate.public_bytes(Encoding.PEM))
    (directory / "est.toml").write_text(MADE)
    identity = maker.issue(Subject(name="SN-17")).write(tmp_path, "idevid")
    with serving(directory) as server:
        with IndependentClient(server.port, server.ca_file) as stranger:
            assert stranger.get("csrattrs").status == 204
        with IndependentClient(server.port, server.ca_file, identity=identity) as device:
            template = told(device, "csrattrs", None).template()
            assert template is not None
            assert template.subject is not None
            assert [part.value for (part,) in template.subject] == [
                b"\x0c\x05SN-17",
                b"\x0c\x07Example",
            ]
        shown = ("--cert", str(identity[0]), "--key", str(identity[1]))
        out = tmp_path / "out"
        enroll = ("enroll", server.server, "--trust", str(server.ca_file), *shown)
        est(*enroll, "--cn", "whatever", "--out", str(out)).checked()
        made = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
        assert made.subject.rfc4514_string() == "O=Example,CN=SN-17"
