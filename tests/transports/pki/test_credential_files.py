"""Files in every form that tools write: all openers read the same forms, and name what is wrong."""

from __future__ import annotations

import base64
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.utils import CryptographyDeprecationWarning
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from est_core.asn1.cms import write_bag
from est_transports.pki import credential_files
from est_transports.pki.credential_files import (
    MAX_BLOCKS,
    CredentialFileError,
    load_pem_certificates,
    load_pem_crls,
    load_pem_private_key,
    load_request,
)
from est_transports.pki.trust import load_identity
from tests.core.asn1.build import GOST_KEY, certificate, p256, request, signed, subject_with
from tests.pki import pki
from tests.reached import reaches, refusals

PASSWORD: Final = b"open sesame"
CA: Final = pki().ca.certificate
OTHER: Final = pki().manufacturer.certificate
CRL: Final = pki().ca.crl(pki().client.certificate)
KEY: Final = pki().client.key
KEY_DER: Final = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
UNREADABLE: Final = certificate(key=GOST_KEY)


def pem(label: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).replace(b"\n\n", b"\n")
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label.encode(), body, label.encode())


def der_of(each: x509.Certificate) -> bytes:
    return each.public_bytes(Encoding.DER)


WANTED: Final[dict[str, tuple[str, bytes, Callable[[Path], bool]]]] = {
    "certificates": ("CERTIFICATE", der_of(CA), lambda path: load_pem_certificates(path)[0] == CA),
    "a request": ("CERTIFICATE REQUEST", request(), lambda path: load_request(path) == request()),
    "revocation lists": (
        "X509 CRL",
        CRL.public_bytes(Encoding.DER),
        lambda path: load_pem_crls(path) == (CRL,),
    ),
    "a key": (
        "PRIVATE KEY",
        KEY_DER,
        lambda path: load_pem_private_key(path).public_key() == KEY.public_key(),
    ),
}
FORMS: Final[dict[str, Callable[[str, bytes], bytes]]] = {
    "PEM": pem,
    "text before": lambda label, der: b"Data:\n    Version: 1 (0x0)\n\n" + pem(label, der),
    "text that begins like DER": lambda label, der: b"0\x05: a text\n" + pem(label, der),
    "text after": lambda label, der: pem(label, der) + b"\nIssuer: somebody\n",
    "CRLF": lambda label, der: pem(label, der).replace(b"\n", b"\r\n"),
    "CR": lambda label, der: pem(label, der).replace(b"\n", b"\r"),
    "byte order mark": lambda label, der: b"\xef\xbb\xbf" + pem(label, der),
    "UTF-16": lambda label, der: pem(label, der).decode().encode("utf-16"),
    "NULs at the end": lambda label, der: pem(label, der) + b"\0\0",
    "one line": lambda label, der: pem(label, base64.b64decode(base64.b64encode(der))),
    "DER": lambda _, der: der,
    "DER and a line end": lambda _, der: der + b"\r\n",
    "base64": lambda _, der: base64.b64encode(der),
    "base64 in lines": lambda _, der: base64.encodebytes(der),
    "base64 of PEM": lambda label, der: base64.b64encode(pem(label, der)),
    "parameters before": lambda label, der: pem("EC PARAMETERS", b"\6\1\1") + pem(label, der),
    "twice": lambda label, der: pem(label, der) + pem(label, der),
    "a wrong label": lambda _, der: pem("SOMETHING", der),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("label, der, reads", WANTED.values(), ids=WANTED)
def test_every_opener_reads_every_form(
    label: str,
    der: bytes,
    reads: Callable[[Path], bool],
    form: Callable[[str, bytes], bytes],
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(form(label, der))
    if form is FORMS["twice"] and label == "X509 CRL":
        assert load_pem_crls(path) == (CRL, CRL)
    else:
        assert reads(path)


@pytest.mark.parametrize(
    "label, reads",
    [
        ("X509 CERTIFICATE", "certificates"),
        ("TRUSTED CERTIFICATE", "certificates"),
        ("NEW CERTIFICATE REQUEST", "a request"),
        ("ANY PRIVATE KEY", "a key"),
    ],
)
def test_older_labels_are_known(label: str, reads: str, tmp_path: Path) -> None:
    _, der, good = WANTED[reads]
    path = tmp_path / "file"
    path.write_bytes(pem(label, der))
    assert good(path)


def test_what_openssl_says_of_a_trusted_certificate_is_passed_over(
    peer: Callable[[str], str], tmp_path: Path
) -> None:
    plain, trusted = tmp_path / "ca.pem", tmp_path / "trusted.pem"
    plain.write_bytes(CA.public_bytes(Encoding.PEM))
    command = [peer("openssl"), "x509", "-in", str(plain), "-trustout", "-addtrust", "clientAuth"]
    subprocess.run([*command, "-out", str(trusted)], check=True)
    assert b"TRUSTED CERTIFICATE" in trusted.read_bytes()
    assert load_pem_certificates(trusted) == (CA,)


@pytest.mark.parametrize("form", [pem, FORMS["DER"], FORMS["base64"]])
def test_certificates_come_in_a_bag_too(
    form: Callable[[str, bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "file.p7b"
    path.write_bytes(form("PKCS7", write_bag([der_of(CA), der_of(OTHER)])))
    assert set(load_pem_certificates(path)) == {CA, OTHER}


def test_certificates_come_one_after_the_other_in_der_too(tmp_path: Path) -> None:
    path = tmp_path / "file.der"
    path.write_bytes(der_of(CA) + der_of(OTHER))
    assert load_pem_certificates(path) == (CA, OTHER)


@pytest.mark.parametrize(
    "kind, encoding, password",
    [
        (kind, encoding, password)
        for kind in (PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8)
        for encoding in (Encoding.PEM, Encoding.DER)
        for password in (None, PASSWORD)
        # There is no such form.
        if (kind, encoding, password) != (PrivateFormat.TraditionalOpenSSL, Encoding.DER, PASSWORD)
    ],
)
def test_keys_in_every_format_are_opened(
    kind: PrivateFormat, encoding: Encoding, password: bytes | None, tmp_path: Path
) -> None:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    path = tmp_path / "key"
    path.write_bytes(KEY.private_bytes(encoding, kind, encryption))
    assert load_pem_private_key(path, password).public_key() == KEY.public_key()
    if password is not None:
        with pytest.raises(CredentialFileError, match="needs a password"):
            load_pem_private_key(path)
        with pytest.raises(CredentialFileError, match="the password is wrong"):
            load_pem_private_key(path, b"close sesame")


def test_a_key_and_its_certificate_may_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    entity = pki().client
    path.write_bytes(entity.key_pem + entity.chain_pem)
    assert load_identity(path, path).certificate == entity.certificate


def test_what_openssl_and_certtool_print_is_read(
    peer: Callable[[str], str], tmp_path: Path
) -> None:
    openssl = peer("openssl")
    commands: tuple[tuple[list[str], bytes, Callable[[Path], object]], ...] = (
        (
            [openssl, "x509", "-text"],
            CA.public_bytes(Encoding.PEM),
            lambda path: load_pem_certificates(path) == (CA,),
        ),
        (
            [openssl, "req", "-text"],
            pem("CERTIFICATE REQUEST", request()),
            lambda path: load_request(path) == request(),
        ),
        (
            [openssl, "crl", "-text"],
            pem("X509 CRL", CRL.public_bytes(Encoding.DER)),
            lambda path: load_pem_crls(path) == (CRL,),
        ),
        (
            [openssl, "pkey", "-text"],
            pem("PRIVATE KEY", KEY_DER),
            lambda path: load_pem_private_key(path).public_key() == KEY.public_key(),
        ),
        (
            [peer("certtool"), "--crq-info"],
            pem("CERTIFICATE REQUEST", request()),
            lambda path: load_request(path) == request(),
        ),
        (
            [peer("certtool"), "--certificate-info"],
            CA.public_bytes(Encoding.PEM),
            lambda path: load_pem_certificates(path) == (CA,),
        ),
    )
    path = tmp_path / "printed"
    for command, content, reads in commands:
        done = subprocess.run(command, input=content, capture_output=True, check=True)
        path.write_bytes(done.stdout)
        assert reads(path), command


# --- Something else ---------------------------------------------------------------------------


def text_of(load: Callable[[Path], object], content: bytes, directory: Path) -> str:
    path = directory / "file.pem"
    path.write_bytes(content)
    with pytest.raises(CredentialFileError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    for line in base64.encodebytes(KEY_DER).splitlines():
        assert line.decode() not in text
    return text


PUBLIC: Final = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PFX: Final = pkcs12.serialize_key_and_certificates(
    b"x", p256(), None, None, BestAvailableEncryption(PASSWORD)
)
OPENSSH: Final = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
ENCRYPTED: Final = KEY.private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD)
)


@pytest.mark.parametrize(
    "content, words",
    [
        (PFX, ("a PKCS#12 file", "`openssl pkcs12 -in file.pem -nodes`")),
        (pem("PKCS12", PFX), ("a PKCS#12 file", "`openssl pkcs12 -in file.pem -nodes`")),
        (base64.b64encode(PFX), ("a PKCS#12 file",)),
        (b"\x30\x80\2\1\3\x30\x80\6\x09*\x86H\x86\xf7\r\1\7\1", ("a PKCS#12 file",)),
        (OPENSSH, ("an OpenSSH private key (line 1)", "`ssh-keygen -p -m PKCS8 -f file.pem`")),
        (b"ssh-ed25519 AAAA me", ("an SSH public key",)),
        (b"\xfe\xed\xfe\xed\0\0\0\2", ("a Java keystore", "`keytool -importkeystore")),
        (PUBLIC, ("a public key (line 1)",)),
        (b"text\n" + PUBLIC, ("a public key (line 2)",)),
        (pem("EC PARAMETERS", b"\6\1\1"), ("parameters of a key",)),
        (b"", ("is empty",)),
        (b"hello world", ("neither PEM, nor DER, nor base64",)),
        (b"-----BEGIN NONSENSE\nMAA=\n", ("no proper first line of PEM (line 1)",)),
    ],
)
@pytest.mark.parametrize(
    "load, name",
    [
        (load_pem_certificates, "certificate"),
        (load_request, "certificate request"),
        (load_pem_crls, "revocation list"),
        (load_pem_private_key, "private key"),
    ],
)
def test_something_else_is_named_with_what_to_do(
    load: Callable[[Path], object],
    name: str,
    content: bytes,
    words: tuple[str, ...],
    tmp_path: Path,
) -> None:
    text = text_of(load, content, tmp_path)
    for word in words:
        assert word in text
    if not words[0].startswith(("is ", "neither", "no proper")):
        assert f"has no {name}, but " in text


def test_a_key_where_certificates_are_wanted_is_named_and_not_quoted(tmp_path: Path) -> None:
    text = text_of(load_pem_certificates, pem("PRIVATE KEY", KEY_DER), tmp_path)
    assert "has no certificate, but a private key (line 1)" in text
    text = text_of(load_pem_certificates, ENCRYPTED, tmp_path)
    assert "has no certificate, but an encrypted private key (line 1)" in text


def test_a_certificate_where_a_key_is_wanted_is_named(tmp_path: Path) -> None:
    text = text_of(load_pem_private_key, CA.public_bytes(Encoding.PEM), tmp_path)
    assert "has no private key, but a certificate (line 1)" in text


def test_two_of_what_there_is_to_be_one_of_are_refused_with_their_lines(tmp_path: Path) -> None:
    other = pki().server.key_pem
    text = text_of(load_pem_private_key, pem("PRIVATE KEY", KEY_DER) + other, tmp_path)
    assert "has 2 private keys (lines 1, " in text
    content = pem("CERTIFICATE REQUEST", request()) + pem("CERTIFICATE REQUEST", signed())
    text = text_of(load_request, content, tmp_path)
    assert "has 2 certificate requests (lines 1, " in text


def test_the_broken_block_is_named(tmp_path: Path) -> None:
    good = CA.public_bytes(Encoding.PEM)
    broken = good + b"\n-----BEGIN CERTIFICATE-----\nMIIB\n"
    assert "certificate 2 (line " in text_of(load_pem_certificates, broken, tmp_path)
    assert "lacks its last line" in text_of(load_pem_certificates, broken, tmp_path)
    bad = good.replace(b"MII", b"M*I", 1)
    assert "is not base64" in text_of(load_pem_certificates, bad, tmp_path)
    text = text_of(load_pem_crls, pem("X509 CRL", b"\x30\0"), tmp_path)
    assert "revocation list 1 (line 1) cannot be read" in text
    text = text_of(load_pem_private_key, pem("PRIVATE KEY", KEY_DER[:-9]), tmp_path)
    assert "its private key (line 1) cannot be read" in text


def test_blocks_are_bounded(tmp_path: Path) -> None:
    content = pem("CERTIFICATE", b"\x30\0") * (MAX_BLOCKS + 1)
    assert f"more than {MAX_BLOCKS} blocks" in text_of(load_pem_certificates, content, tmp_path)


# --- One among many ---------------------------------------------------------------------------


def test_one_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "trust.pem"
    path.write_bytes(
        CA.public_bytes(Encoding.PEM)
        + pem("CERTIFICATE", UNREADABLE)
        + b"-----BEGIN CERTIFICATE-----\nM-\n-----END CERTIFICATE-----\n"
        + OTHER.public_bytes(Encoding.PEM)
    )
    told: list[str] = []
    assert load_pem_certificates(path, left_out=told.append) == (CA, OTHER)
    first, second = told
    assert f"{path}: left out certificate 2 (line " in first
    assert "subject CN=device-1, SHA-256 " in first
    assert "1.2.643.7.1.1.1.1" in first
    assert "certificate 3 (line " in second
    assert "is not base64" in second
    assert "SHA-256" not in second
    with pytest.raises(CredentialFileError, match="certificate 2"):
        load_pem_certificates(path)


def test_the_only_one_and_the_one_that_is_needed_have_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / "trust.pem"
    path.write_bytes(pem("CERTIFICATE", UNREADABLE))
    told: list[str] = []
    with pytest.raises(CredentialFileError, match="subject CN=device-1, SHA-256 "):
        load_pem_certificates(path, left_out=told.append)
    path.write_bytes(pem("CERTIFICATE", UNREADABLE) + CA.public_bytes(Encoding.PEM))
    with pytest.raises(CredentialFileError, match="certificate 1"):
        load_pem_certificates(path, left_out=told.append, needs_first=True)
    assert told == []
    assert load_pem_certificates(path, left_out=told.append) == (CA,)


def test_one_in_a_bag_is_left_out_too(tmp_path: Path) -> None:
    path = tmp_path / "trust.p7b"
    path.write_bytes(pem("PKCS7", write_bag([UNREADABLE, der_of(CA)])))
    told: list[str] = []
    assert load_pem_certificates(path, left_out=told.append) == (CA,)
    assert len(told) == 1


def test_where_the_first_is_needed_another_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(CA.public_bytes(Encoding.PEM) + pem("CERTIFICATE", UNREADABLE))
    told: list[str] = []
    assert load_pem_certificates(path, left_out=told.append, needs_first=True) == (CA,)
    assert len(told) == 1


def test_a_key_that_needs_no_password_goes_before_one_that_does(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(ENCRYPTED + pem("PRIVATE KEY", KEY_DER))
    assert load_pem_private_key(path).public_key() == KEY.public_key()


def test_a_file_may_be_as_large_as_the_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    content = CA.public_bytes(Encoding.PEM)
    path.write_bytes(content)
    monkeypatch.setattr(credential_files, "MAX_FILE_BYTES", len(content))
    assert load_pem_certificates(path) == (CA,)
    path.write_bytes(content + b"\n")
    with pytest.raises(CredentialFileError, match=f"is larger than {len(content)} bytes"):
        load_pem_certificates(path)
    with pytest.raises(CredentialFileError, match="No such file"):
        load_pem_certificates(tmp_path / "missing.pem")


def test_what_is_base64_of_something_else_is_no_certificate(tmp_path: Path) -> None:
    text = text_of(load_pem_certificates, base64.b64encode(b"hello world"), tmp_path)
    assert text.endswith("is neither PEM, nor DER, nor base64 of DER")


def test_what_is_too_many_is_told_whatever_else_is_in_the_file(tmp_path: Path) -> None:
    keys = pem("PRIVATE KEY", KEY_DER) + pki().server.key_pem
    text = text_of(load_pem_private_key, CA.public_bytes(Encoding.PEM) + keys, tmp_path)
    assert "has 2 private keys (lines " in text


BROKEN: Final = b"-----BEGIN %b-----\nM-\n-----END %b-----\n"


@pytest.mark.parametrize(
    ("load", "label", "words"),
    [
        (load_request, b"CERTIFICATE", "the block CERTIFICATE (line 1) is not base64"),
        (load_pem_certificates, b"PKCS7", "the block PKCS7 (line 1) is not base64"),
        (load_pem_crls, b"X509 CRL", "revocation list 1 (line 1) is not base64"),
    ],
)
def test_a_block_that_is_no_base64_is_told_to_be_none(
    load: Callable[[Path], object], label: bytes, words: str, tmp_path: Path
) -> None:
    assert words in text_of(load, BROKEN % (label, label), tmp_path)


def test_a_bag_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    bag = bytearray(write_bag([der_of(CA)]))
    at = bag.index(der_of(CA))
    bag[at - 3] ^= 0x0F  # of the length of all certificates, or the tag before it
    text = text_of(load_pem_certificates, pem("PKCS7", bytes(bag)), tmp_path)
    assert "its PKCS#7 bag (line 1) cannot be read: " in text


def test_nothing_is_advised_about_an_encrypted_key_where_a_certificate_is_wanted(
    tmp_path: Path,
) -> None:
    assert "`" not in text_of(load_pem_certificates, ENCRYPTED, tmp_path)


# --- Warnings of the library ------------------------------------------------------------------


def test_odd_certificates_warn_nobody_and_raise_nothing(tmp_path: Path) -> None:
    odd = [
        certificate(serial=b"\0"),
        certificate(subject=subject_with(0x0C, b"x" * 65)),
        certificate(subject=subject_with(0x13, b"DEU", "2.5.4.6")),
    ]
    path = tmp_path / "odd.pem"
    path.write_bytes(b"".join(pem("CERTIFICATE", der) for der in odd))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_pem_certificates(path)
        assert [each.serial_number for each in found] == [0, 1, 1]
        assert len(found[1].subject.rfc4514_string()) == 68
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another warning", UserWarning, stacklevel=1)
        with pytest.raises(CryptographyDeprecationWarning):
            warnings.warn("something else", CryptographyDeprecationWarning, stacklevel=1)


# --- Damage -----------------------------------------------------------------------------------


@reaches(accepted=5)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_twins_raise_our_error_alone(data: st.DataObject, tmp_path: Path) -> None:
    label, der, _ = data.draw(st.sampled_from(list(WANTED.values())))
    form = data.draw(st.sampled_from(list(FORMS.values())))
    content = bytearray(form(label, der))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "file"
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path.write_bytes(bytes(content[:end]))
    for load in (load_pem_certificates, load_request, load_pem_crls, load_pem_private_key):
        with refusals(error=CredentialFileError):
            load(path)
