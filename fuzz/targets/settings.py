"""Targets: files that operators write."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from est_transports.pki.credential_files import (
    CredentialFileError,
    load_pem_certificates,
    load_pem_crls,
    load_pem_private_key,
    load_request,
)
from est_transports.pki.revocation import Revocation
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.text import CONFIG_TEXT
from est_transports.toml.tables import ConfigError
from fuzz import corpus
from fuzz.target import Result, Shape, Target, accepted, furthest, passed, stopped

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def _file() -> Path:
    """Return where the file goes that is read; gone with the process."""
    directory = tempfile.TemporaryDirectory(prefix="est-fuzz-")
    atexit.register(directory.cleanup)
    return Path(directory.name) / CONFIG_FILE


def est_toml(data: bytes) -> Result:
    """An est.toml is refused by one line that names the file, or gives a policy."""
    file = _file()
    file.write_bytes(data)
    try:
        config = load_config(file)
    except ConfigError as error:
        text = str(error)
        assert text.startswith((f"{file}: ", f"{file} line "))
        assert "\n" not in text
        words = " ".join(word for word in error.reason.split()[:4] if word.isalpha())
        return (stopped if error.reason.startswith(("is not TOML", "is not UTF-8")) else passed)(
            words
        )
    assert config.policy().rows
    return accepted(f"ok {config.auth.require_pop} {len(config.labels)} {len(config.profiles)}")


def credential_files(data: bytes) -> Result:
    """A file is used, or refused by one line that names it, whatever is wanted of it."""
    file = _file()
    file.write_bytes(data)
    told: list[str] = []
    readers: tuple[Callable[[], object], ...] = (
        lambda: len(load_pem_certificates(file, left_out=told.append)),
        lambda: len(load_request(file)) > 0,
        lambda: judged_by(Revocation(crls=load_pem_crls(file))),
        lambda: type(load_pem_private_key(file)).__name__,
    )
    results = []
    for read in readers:
        try:
            results.append(accepted(str(read())))
        except CredentialFileError as error:
            assert str(error).startswith(f"{file}: ")
            assert "\n" not in str(error)
            words = " ".join(word for word in error.reason.split()[:4] if word.isalpha())
            results.append((stopped if words.startswith("is neither") else passed)(words))
    assert all(line.startswith(f"{file}: left out ") for line in told)
    return furthest(results)


def judged_by(revocation: Revocation) -> int:
    """Return how many lists a path was looked up in: whatever they hold, the answer is a text."""
    path = [x509.load_der_x509_certificate(der) for der in corpus.certificates()[:2]]
    assert all(revocation.problems(path, _NOW, lambda _: None))
    return len(revocation.crls)


def _texts() -> tuple[bytes, ...]:
    """Return the file that `est init` writes, as it is and with every key turned on."""
    lines = CONFIG_TEXT.splitlines()
    active = [line.removeprefix("#") if line.startswith("#") else line for line in lines]
    keys = [line for line in active if "=" in line or line.startswith("[")]
    sections = "\n".join(keys).split("\n[")
    every = [("[" + text if at else text).encode() for at, text in enumerate(sections)]
    return (CONFIG_TEXT.encode(), "\n".join(keys).encode(), *every)


_WORDS: Final = (
    *(b"[", b"]", b"[[", b"]]", b"=", b'"', b"'''", b"#", b"\n", b".", b"true", b"1e400", b"nan"),
    *(b"-1", b"0x10", b"9223372036854775808", b"1979-05-27", b"{a={}}", b"\\u0000", b"\xff"),
    *(b"[labels.x]\n", b"[profiles.client]\n", b"[csrattrs]\n", b"base64 = ", b"oids = ["),
    *(b"keyUsage=critical,", b"{identity}", b"hex:", b"dns:", b"CN=", b"CA:TRUE,pathlen:0"),
)

TARGETS: Final = (
    Target(
        run=credential_files,
        gate="is text or DER",
        goal="is used by one of the readers",
        modules=("est_transports.pki.credential_files", "est_transports.pki.revocation"),
        seeds=lambda: (*corpus.files(), *corpus.certificates(), *corpus.requests()),
        shape=Shape.LINES,
        words=(b"-----BEGIN ", b"-----END ", b"PRIVATE KEY-----", b"X509 CRL-----", b"\0", b"0"),
        max_bytes=16384,
    ),
    Target(
        run=est_toml,
        gate="is TOML",
        goal="is a configuration",
        modules=(
            "est_transports.service.config.reader",
            "est_transports.service.config.manufacturers",
            "est_transports.toml.places",
            "est_transports.toml.tables",
            "est_transports.service.config.settings",
            "est_transports.service.config.coap",
            "est_transports.service.config.listen",
            "est_transports.service.config.publication",
            "est_transports.service.config.ocsp",
            "est_transports.service.config.profiles",
            "est_transports.service.config.crl",
            "est_transports.service.config.crls",
            "est_transports.service.config.labels",
            "est_transports.service.config.renewal_rules",
            "est_transports.service.config.registration",
            "est_transports.service.config.csr_attributes",
            "est_transports.service.config.audit",
            "est_transports.service.config.renewal_info",
            "est_transports.authority.csr_attributes",
            "est_transports.pki.csr_words",
            "est_core.asn1.csr_demands",
        ),
        seeds=_texts,
        shape=Shape.LINES,
        words=_WORDS,
        max_bytes=16384,
    ),
)
