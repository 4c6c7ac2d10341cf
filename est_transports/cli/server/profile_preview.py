"""What would be issued for a request, for `est profile test`: asked, and printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from est_core import Limits, LocalProtocolError, RemoteProtocolError
from est_core.asn1.attributes import read_general_names
from est_core.asn1.oid_names import oid_name
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.checks.enforcement import general_name_text
from est_core.checks.issued import key_uses
from est_core.values import unchecked_value_class
from est_transports import _clock
from est_transports.authority.ca import CAUnavailable
from est_transports.authority.lint import UnsignedCertificate
from est_transports.authority.preview import preview
from est_transports.authority.profiles import Profile, Refused
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import print_json, print_line, print_pairs, warn
from est_transports.error_codes import find_error_code
from est_transports.pki.credential_files import load_request
from est_transports.pki.names import name_text
from est_transports.pki.trust import CredentialFileError
from est_transports.service.ca_loading import load_issuing_path
from est_transports.service.config.profiles import PURPOSES
from est_transports.service.config.settings import ServerConfig

_EXTENSION_NAMES: Final = {
    x509.AuthorityInformationAccess.oid: "authorityInfoAccess",
    x509.TLSFeature.oid: "tlsFeature",
}
_ACCESS_WORDS: Final = {
    AuthorityInformationAccessOID.OCSP: "OCSP",
    AuthorityInformationAccessOID.CA_ISSUERS: "CA issuers",
}
_PURPOSE_WORDS: Final = {oid: word for word, oid in PURPOSES.items()}


@unchecked_value_class
class Preview:
    """What would be issued by a profile, or the code and text of the refusal."""

    profile: str
    certificate: UnsignedCertificate | None = None
    refusal: tuple[str, str] | None = None


def preview_of(config: ServerConfig, profile: Profile, path: Path) -> Preview:
    """Return what would be issued for the request in a file. Raises CliError."""
    try:
        der = load_request(path)
        certificates, reserved = load_issuing_path(config, warn)
    except CredentialFileError as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc
    now = _clock.instant().wall
    try:
        found = preview(_request(der, config.limits), profile, reserved, certificates, now=now)
    except Refused as exc:
        return Preview(profile=profile.name, refusal=(exc.code, exc.text))
    except RemoteProtocolError as exc:
        return Preview(profile=profile.name, refusal=(exc.code, exc.message))
    except CAUnavailable as exc:
        return Preview(profile=profile.name, refusal=("server/ca-unavailable", str(exc)))
    except LocalProtocolError as exc:
        raise CliError(f"{config.ca.certificate}: {exc.message}", ExitCode.LOCAL) from exc
    return Preview(profile=profile.name, certificate=found)


def _request(der: bytes, limits: Limits) -> CertRequest:
    """Return a request, as a server takes it. Raises RemoteProtocolError."""
    csr = parse_cert_request(der, limits)
    if not signature_is_valid(csr):
        raise RemoteProtocolError("csr/bad-signature", "the CSR's signature does not verify")
    return csr


def print_preview(found: Preview, *, as_json: bool) -> None:
    """Print what would be issued, or why nothing would be."""
    if found.refusal is not None:
        _print_refusal(found.profile, *found.refusal, as_json=as_json)
    elif found.certificate is not None:
        _print_certificate(found.profile, found.certificate, as_json=as_json)


def _print_refusal(profile: str, code: str, text: str, *, as_json: bool) -> None:
    row = find_error_code(code)
    remedy = "" if row is None else row.remedy.replace("`", "")
    if as_json:
        values = {"issued": False, "profile": profile, "code": code, "reason": text}
        print_json({**values, "remedy": remedy or None})
        return
    print_line(f"would be refused by profile {profile}: {text} [{code}]")
    if remedy:
        print_line(f"remedy: {remedy}")


def _print_certificate(profile: str, found: UnsignedCertificate, *, as_json: bool) -> None:
    names = found.value(x509.SubjectAlternativeName)
    alternative = [] if names is None else _names(names)
    if as_json:
        print_json(
            {
                "issued": True,
                "profile": profile,
                "subject": name_text(found.plan.subject),
                "names": alternative,
                "issuer": name_text(found.issuer),
                "not_before": moment(found.begin),
                "not_after": moment(found.end),
                "extensions": [
                    {
                        "oid": each.oid.dotted_string,
                        "name": extension_name(each),
                        "critical": each.critical,
                        "value": value_text(each.value),
                        "der": each.value.public_bytes().hex(),
                    }
                    for each in found.extensions
                ],
            }
        )
        return
    print_line(f"would be issued by profile {profile}:")
    print_pairs(
        [
            ("subject", name_text(found.plan.subject) or "(empty subject)"),
            ("issuer", name_text(found.issuer)),
            ("not before", moment(found.begin)),
            ("not after", moment(found.end)),
            *((_title(each), value_text(each.value)) for each in found.extensions),
        ]
    )


def _title(extension: x509.Extension[x509.ExtensionType]) -> str:
    name = extension_name(extension)
    return f"{name} (critical)" if extension.critical else name


def extension_name(extension: x509.Extension[x509.ExtensionType]) -> str:
    """Return the name that RFC 5280 gives an extension, or the object identifier."""
    oid = extension.oid
    return _EXTENSION_NAMES.get(oid) or oid_name(oid.dotted_string)


def value_text(value: x509.ExtensionType) -> str:
    """Return what an extension says in one line; in hexadecimal where it has no words here."""
    match value:
        case x509.SubjectAlternativeName():
            return ", ".join(_names(value))
        case x509.BasicConstraints():
            return "CA" if value.ca else "no CA"
        case x509.KeyUsage():
            return ", ".join(key_uses(value))
        case x509.ExtendedKeyUsage():
            return ", ".join(_PURPOSE_WORDS.get(each, each) for each in _oids(value))
        case x509.SubjectKeyIdentifier():
            return value.digest.hex(":")
        case x509.AuthorityKeyIdentifier():
            return (value.key_identifier or b"").hex(":")
        case x509.CertificatePolicies():
            return ", ".join(map(_policy, value))
        case x509.CRLDistributionPoints():
            return ", ".join(str(name.value) for point in value for name in point.full_name or ())
        case x509.AuthorityInformationAccess():
            return ", ".join(_access(value))
        case x509.TLSFeature():
            return ", ".join(each.name for each in value)
        case _:
            return value.public_bytes().hex()


def _oids(purposes: x509.ExtendedKeyUsage) -> list[str]:
    return [oid.dotted_string for oid in purposes]


def _names(names: x509.SubjectAlternativeName) -> list[str]:
    encoded = read_general_names(names.public_bytes(), Limits())
    return [general_name_text(name) for name in encoded]


def _policy(policy: x509.PolicyInformation) -> str:
    texts = [str(each) for each in policy.policy_qualifiers or ()]
    return " ".join([policy.policy_identifier.dotted_string, *texts])


def _access(value: x509.AuthorityInformationAccess) -> Iterator[str]:
    for each in value:
        method = _ACCESS_WORDS.get(each.access_method, each.access_method.dotted_string)
        yield f"{method} {each.access_location.value}"
