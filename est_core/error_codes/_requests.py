"""The error codes of DER, certificate requests, CSR attributes and certs-only messages."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

REQUESTS: Final = (
    Section(
        title="DER and what is in it",
        codes=(
            ErrorCode(
                code="der/empty",
                statuses=("400",),
                cause="no bytes",
                remedy="send DER: an element has at least two bytes",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/too-large",
                statuses=("413",),
                cause="more bytes than the limit for this place",
                remedy="send a smaller message, or raise the limit of the receiver",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/too-deep",
                statuses=("400",),
                cause="nested deeper than `Limits.der_depth`",
                remedy="leave out what nests that deep: no message of EST needs it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/too-many-nodes",
                statuses=("400",),
                cause="more elements than `Limits.der_nodes`",
                remedy=(
                    "send fewer attributes, extensions or names, or raise `der_nodes` of the "
                    "receiver"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/tag",
                statuses=("400",),
                cause="forbidden or non-minimal tag",
                remedy="write tags as X.690 8.1.2 does: tag numbers below 31 in one byte",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/length",
                statuses=("400",),
                cause="forbidden or non-minimal length",
                remedy="write each length in its shortest form (X.690 10.1)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/indefinite",
                statuses=("400",),
                cause="indefinite length where DER is required, or in a primitive element",
                remedy="encode with definite lengths: DER, not BER",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/truncated",
                statuses=("400",),
                cause="ends inside an element",
                remedy="send all bytes: what came is shorter than its first length says",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/trailing-bytes",
                statuses=("400",),
                cause="bytes after the end",
                remedy="send one element and nothing after it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/oid",
                statuses=("400",),
                cause="malformed object identifier",
                remedy="encode the object identifier as X.690 8.19 does",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="der/integer",
                statuses=("400",),
                cause="malformed integer",
                remedy="encode the integer in the fewest bytes, and at least one (X.690 8.3)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="attribute/string",
                statuses=("400",),
                cause="attribute value that is no text of its type; the text names it",
                remedy="write the text as UTF8String or PrintableString",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="attribute/too-long",
                statuses=("400",),
                cause="attribute text longer than `Limits.challenge_chars`",
                remedy="send a shorter text",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/revocation-challenge",
                statuses=("400",),
                cause=(
                    "revocationChallenge (RFC 7894 3.2) where nobody keeps it, or with more or "
                    "fewer values than one"
                ),
                remedy="leave it out, or send one value where `/csrattrs` lists it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/malformed",
                statuses=("400",),
                cause="not a PKCS#10 request, or one of another version than 1",
                remedy=(
                    "send a CertificationRequest (RFC 2986); `openssl req -in FILE -verify` "
                    "shows whether it is one"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/name",
                statuses=("400",),
                cause="a name, of the subject say, with a part that is no text of its type",
                remedy="write the part that the text names as UTF8String (RFC 5280 4.1.2.4)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/extensions",
                statuses=("400",),
                cause="extensionRequest that is none, or a needed extension that cannot be read",
                remedy="correct what the text names; the value is one SEQUENCE (RFC 2985 5.4.2)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/general-names",
                statuses=("400",),
                cause="malformed GeneralNames",
                remedy="write the subjectAltName as RFC 5280 4.2.1.6 does",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/change-subject-name",
                statuses=("400",),
                cause="malformed ChangeSubjectName",
                remedy="write the attribute as RFC 6402 2.8 does",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/duplicate-attribute",
                statuses=("400",),
                cause="extensionRequests, one of them perhaps of Microsoft, that differ",
                remedy="put all extensions into one extensionRequest",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/duplicate-extension",
                statuses=("400",),
                cause="an extension asked for twice, with different values",
                remedy="ask for each extension once; all names go into one subjectAltName",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/too-many-attributes",
                statuses=("400",),
                cause="more attributes than `Limits.csr_attributes`",
                remedy="leave out attributes that the CA does not need",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/too-many-extensions",
                statuses=("400",),
                cause="more extensions than `Limits.csr_extensions`",
                remedy="leave out extensions that the CA does not need",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/too-many-names",
                statuses=("400",),
                cause="more RDNs or GeneralNames than `Limits.names`",
                remedy="ask for fewer names in one certificate",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/signature-algorithm",
                statuses=("400",),
                cause="algorithm or parameters that are refused (MD5, SHA-1) or unknown",
                remedy="sign the request with SHA-256 or better, parameters as in RFC 5758",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csr/bad-signature",
                statuses=("400",),
                cause="the signature does not verify with the key in the request",
                remedy="sign the request last, with the private key of the public key in it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="key/unsupported",
                statuses=("400",),
                cause="public key of an unknown kind, or not a valid one of its kind",
                remedy="use an EC key on P-256, P-384 or P-521, an RSA key, or Ed25519",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="key/weak",
                statuses=("400",),
                cause="RSA key with a bad exponent or modulus",
                remedy=(
                    "make a new key with a maintained library: 2048 bits or more, exponent 65537"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csrattrs/malformed",
                cause="not a CsrAttrs",
                remedy=(
                    "correct the server's CSR attributes: a SEQUENCE of OIDs and attributes "
                    "(RFC 8951 3.4)"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="csrattrs/too-many-items",
                cause="more items than `Limits.csrattrs_items`",
                remedy="ask for fewer attributes in the server's CSR attributes",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="csrattrs/duplicate-extension-request",
                cause="more than one extensionRequest (RFC 9908 3.2)",
                remedy=(
                    "put all extensions into one extensionRequest of the server's CSR attributes"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="csrattrs/duplicate-template",
                cause="more than one template",
                remedy="keep one template in the server's CSR attributes",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="csrattrs/template",
                cause="malformed CertificationRequestInfoTemplate (RFC 9908 3.4)",
                remedy="correct the template in the server's CSR attributes",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="csrattrs/missing",
                statuses=("400",),
                cause=(
                    "the request lacks what /csrattrs asks for, and the policy enforces it; "
                    "the text names each thing that is missing or wrong"
                ),
                remedy="ask for /csrattrs first, and put into the request what the text names",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="csrattrs/unusable",
                cause="client: a request with all that the server asks for could be read by nobody",
                remedy=(
                    "correct the server's CSR attributes: their values must be those of a request"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="cms/malformed",
                cause="not a SignedData",
                remedy=(
                    "have the server send a certs-only message (RFC 7030 4.1.3), not bare "
                    "certificates"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="cms/content",
                cause="certs-only bag with content",
                remedy="have the server send certificates without content (RFC 7030 4.1.3)",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="cms/signed",
                cause="certs-only bag with a signer",
                remedy="have the server send certificates without a signature (RFC 7030 4.1.3)",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="cms/no-certificates",
                cause="empty bag",
                remedy="put at least one certificate into the server's answer",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="cms/too-many-certificates",
                cause="more certificates than `Limits.certificates`",
                remedy="send fewer certificates, or raise `certificates` of the client's limits",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="cms/bad-certificate",
                cause="a certificate, in a bag or bare, cannot be read",
                remedy="replace the certificate: `openssl x509 -text` shows what is wrong with it",
                audience=Audience.OPERATOR,
            ),
        ),
    ),
)
