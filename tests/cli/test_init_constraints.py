"""`est init --permit` and `--exclude`: the name constraints of a new CA."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_transports.authority.issuers import given_issuer, make_issuer
from est_transports.service.initialisation import CaSpec
from tests.cli.test_server_commands import error_of, est, made
from tests.transports.ca_fakes import NOW, counting_entropy

HOST = ("--host", "est.plant.example")
PERMITTED = x509.NameConstraints(
    permitted_subtrees=[
        x509.DNSName("plant.example"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
        x509.RFC822Name(".plant.example"),
        x509.UniformResourceIdentifier(".plant.example"),
    ],
    excluded_subtrees=[x509.DNSName("office.plant.example"), x509.RFC822Name("a@plant.example")],
)
OPTIONS = (
    *("--permit", "dns:plant.example", "--permit", "ip:10.0.0.0/8"),
    *("--permit", "email:.plant.example", "--permit", "URI:.plant.example"),
    *("--exclude", "dns:office.plant.example", "--exclude", "email:a@plant.example"),
)


def constraints(path: Path) -> list[tuple[x509.ExtensionType, bool]]:
    """Return those of each certificate of a file, and whether they are critical."""
    return [
        (each.value, each.critical)
        for certificate in x509.load_pem_x509_certificates(path.read_bytes())
        for each in certificate.extensions
        if isinstance(each.value, x509.NameConstraints)
    ]


def test_a_new_root_has_the_constraints_that_were_given(tmp_path: Path) -> None:
    assert constraints(made(tmp_path / "ca", *HOST, *OPTIONS) / "ca.pem") == [(PERMITTED, True)]


def test_below_a_root_only_the_issuing_certificate_has_them(tmp_path: Path) -> None:
    directory = made(tmp_path / "ca", "--intermediate", *HOST, *OPTIONS)
    assert constraints(directory / "ca.pem") == []
    assert constraints(directory / "issuing.pem") == [(PERMITTED, True)]


def test_a_new_ca_has_none_unless_some_were_given(tmp_path: Path) -> None:
    assert constraints(made(tmp_path / "ca") / "ca.pem") == []


def test_the_hosts_of_the_server_have_to_be_within(tmp_path: Path) -> None:
    done = est("init", tmp_path / "ca", "--permit", "dns:plant.example")
    assert "'DNS:localhost' is outside of DNS:plant.example" in error_of(done)
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plant.example",
        "dns:",
        "dns:*.plant.example",
        "dns:.plant.example",
        "ip:10.0.0.1/8",
        "ip:plant",
        "email:..",
        "email:@plant.example",
        "uri:https://plant.example",
        "dir:CN=a",
    ],
)
def test_what_is_no_subtree_is_a_usage_error(text: str, tmp_path: Path) -> None:
    for option in ("--permit", "--exclude"):
        assert option in error_of(est("init", tmp_path / "ca", option, text), 2)
    assert not (tmp_path / "ca").exists()


def test_a_ca_that_is_there_gets_none() -> None:
    made_ca = make_issuer(
        "Plant", "EC P-256", intermediate=False, now=NOW, entropy=counting_entropy()
    )
    given = given_issuer(made_ca.certificates, made_ca.key, now=NOW)
    with pytest.raises(LocalProtocolError, match="has the name constraints that it has"):
        CaSpec(given=given, name_constraints=PERMITTED)


def test_a_server_that_is_renewed_takes_none(tmp_path: Path) -> None:
    done = est("init", tmp_path / "ca", "--renew-server", "--permit", "dns:plant.example")
    assert "--renew-server goes with --host only" in error_of(done, 2)
