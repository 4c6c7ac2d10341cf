"""Where our ends say otherwise of a case of x509-limbo than its file expects, and why.

The profile of the cases is RFC 5280 to the letter, and that of the web's CAs where a case is called
`webpki::`. A difference that is not here fails `tests/transports/channel/test_limbo.py`, and so
does one that is here and is none any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.limbo import End


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One reason, and the cases that it explains for these ends."""

    title: str
    why: str
    cases: tuple[str, ...]
    ends: tuple[End, ...] = tuple(End)


DIFFERENCES: Final = (
    Difference(
        title="The key has to be for signatures",
        why="A handshake has the peer sign with its key, and RFC 5246 7.4.2 and RFC 8446 4.4.2.2"
        " want digitalSignature of a certificate that has keyUsage. The cases look at the path"
        " alone; their certificates are those of CAs.",
        cases=("pathlen::validation-ignores-pathlen-in-leaf", "rfc5280::ca-as-leaf"),
    ),
    Difference(
        title="One path is looked at",
        why="OpenSSL builds one path and judges it; it does not look for another one that might be"
        " better. That refuses where the cases accept, never the other way round, and who"
        " presents a certificate chooses what goes with it.",
        cases=(
            "rfc5280::nc::nc-forbids-alternate-chain-ica",
            "rfc5280::nc::nc-forbids-same-chain-ica",
        ),
    ),
    Difference(
        title="How long a path may be is not configured",
        why="The bound is eight intermediates for everybody. The cases ask for zero and one;"
        " a CA that wants so says it with pathLenConstraint, which is obeyed.",
        cases=("pathlen::max-chain-depth-0-exhausted", "pathlen::max-chain-depth-1-exhausted"),
    ),
    Difference(
        title="A server asks for no name",
        why="What is wrong is the name that the certificate has for the host asked for. A server"
        " has asked for none: whom a client's certificate names is up to the rules for names.",
        cases=(
            "rfc5280::san::ip-in-dns",
            "webpki::san::mismatch-domain-san",
            "webpki::san::mismatch-subdomain-san",
            "webpki::san::mismatch-subdomain-apex-san",
            "webpki::san::mismatch-apex-subdomain-san",
            "webpki::san::public-suffix-wildcard-san",
            "webpki::san::wildcard-embedded-leftmost-san",
            "webpki::san::wildcard-not-in-leftmost-san",
            "webpki::san::wildcard-match-across-labels-san",
            "webpki::san::wildcard-embedded-ulabel-san",
            "webpki::san::unicode-emoji-san",
            "webpki::san::no-san",
            "webpki::san::san-wildcard-only",
            "webpki::san::san-wildcard-only-tld",
            "webpki::v1-cert",
        ),
        ends=(End.SERVER,),
    ),
    Difference(
        title="Key identifiers only help to look for an issuer",
        why='RFC 5280 4.2.1.1 and 4.2.1.2 ask CAs for them "to facilitate certification path'
        " construction\". What counts is whether the issuer's key verifies the signature. Old"
        " CAs of manufacturers and small CAs of one's own leave them out.",
        cases=(
            "rfc5280::aki::leaf-missing-aki",
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::aki::cross-signed-root-missing-aki",
            "rfc5280::ski::root-missing-ski",
            "rfc5280::ski::intermediate-missing-ski",
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-ski-mismatch",
        ),
    ),
    Difference(
        title="An extension is obeyed whether or not it is marked as critical",
        why="The mark tells those who do not know an extension to refuse, and these are known."
        " RFC 5280 tells CAs which mark to set, and nobody becomes safer by refusing the other.",
        cases=(
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::pc::ica-noncritical-pc",
            "rfc5280::san::noncritical-with-empty-subject",
            "rfc5280::root-non-critical-basic-constraints",
            "webpki::eku::ee-critical-eku",
            "webpki::san::san-critical-with-nonempty-subject",
        ),
    ),
    Difference(
        title="An anchor is what the operator says it is",
        why="RFC 5280 6.1.1 (d): an anchor is a name and a key, and no extension of its certificate"
        " is needed. Its period of validity, its name constraints, its path length and what is"
        " critical are obeyed all the same, and so is cA where it is FALSE.",
        cases=("rfc5280::root-missing-basic-constraints", "rfc5280::ca-empty-subject"),
    ),
    Difference(
        title="An anchor may be for servers only",
        why="The Baseline Requirements of the web's CAs want no extendedKeyUsage in a root. Where"
        " it is there it is obeyed: the same root certifies no client.",
        cases=("webpki::eku::root-has-eku",),
        ends=(End.CLIENT,),
    ),
    Difference(
        title="What a certificate says as if it were that of a CA is without effect",
        why="Name constraints in the peer's own certificate constrain nobody, and a key without cA,"
        " or without keyCertSign, certifies nobody: such a certificate is refused as an issuer."
        " Devices have certificates with all bits of keyUsage set, and a server in a lab shows a"
        " self-signed one with cA.",
        cases=(
            "rfc5280::nc::not-allowed-in-ee-noncritical",
            "rfc5280::nc::not-allowed-in-ee-critical",
            "rfc5280::leaf-ku-keycertsign",
            "webpki::ee-basicconstraints-ca",
        ),
    ),
    Difference(
        title="A purpose is one that RFC 5280 knows",
        why="RFC 5280 4.2.1.12: no extendedKeyUsage is for every purpose, and so is"
        " anyExtendedKeyUsage. The web's CAs may issue neither. CAs of one's own do, and so do"
        " those of manufacturers, whose certificates are for whatever a device will be used for.",
        cases=("webpki::eku::ee-anyeku", "webpki::eku::ee-without-eku"),
    ),
    Difference(
        title="Serial numbers are compared and not judged",
        why="A serial number tells apart what one CA has issued. Which it chose is for the CA to"
        ' see to; of negative ones and zero RFC 5280 4.1.2.2 says that users "SHOULD be prepared'
        ' to gracefully handle such certificates".',
        cases=("rfc5280::serial::too-long", "rfc5280::serial::zero", "rfc5280::serial::negative"),
    ),
    Difference(
        title="A common name is no host",
        why="RFC 9525 2: a host is looked for in subjectAltName only, so nothing depends on what"
        " the common name has. That it has one of those names too is a rule of the web's CAs.",
        cases=(
            "webpki::cn::ipv4-hex-mismatch",
            "webpki::cn::ipv4-leading-zeros-mismatch",
            "webpki::cn::ipv6-uppercase-mismatch",
            "webpki::cn::ipv6-uncompressed-mismatch",
            "webpki::cn::ipv6-non-rfc5952-mismatch",
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::case-mismatch",
        ),
    ),
    Difference(
        title="Names with an underscore exist",
        why="They are not in the preferred name syntax, and hosts on internal networks have them."
        " The name matches that host and no other.",
        cases=("rfc5280::san::underscore-dns",),
    ),
    Difference(
        title="Name constraints may begin with a full stop",
        why="RFC 5280 has that form for URIs only; CAs write it for host names too, and"
        " OpenSSL takes it for all names below and not the name itself.",
        cases=("rfc5280::nc::invalid-dnsname-leading-period",),
    ),
    Difference(
        title="There is no list of public suffixes here",
        why="That nobody gets a wildcard for all of co.uk is for the CA to see to. A wildcard for a"
        " top-level domain matches nothing.",
        cases=(
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
        ),
    ),
    Difference(
        title="RSA keys need 2048 bits, and no multiple of eight",
        why="A key of 2052 bits is no weaker. It is the web's CAs that count in octets.",
        cases=(
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        ),
    ),
    Difference(
        title="A revocation list needs no number",
        why="The number tells which of two lists is the newer one, which here is in the file that"
        " the operator has put there. Small CAs leave it out.",
        cases=("crl::crlnumber-missing",),
    ),
)
"""All reasons. A case is explained by one for each end."""


def difference(name: str, end: End) -> Difference | None:
    """Return what explains that an end says otherwise of a case, None if nothing does."""
    found = [each for each in DIFFERENCES if name in each.cases and end in each.ends]
    return found[0] if found else None
