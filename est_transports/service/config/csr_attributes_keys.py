"""The keys of [csrattrs] and [[csrattrs.for]] in words."""

from __future__ import annotations

from typing import Final

from est_transports.service.config.key import Key

CSRATTRS_KEYS: Final = (
    Key(
        name="subject", kind='parts such as `"CN"`, `"O=Example"`',
        meaning="parts of the subject, and no others: with `=` the value is told, else it is the"
        " client's. `{identity}` in a value is the name of the client that asks, where it is"
        " known: its user, what its manufacturer calls it, or the common name in its certificate",
    ),
    Key(
        name="key_type",
        kind='`"EC P-256"`, `"EC P-384"`, `"EC P-521"`, `"RSA 3072"` or another size, `"Ed25519"`,'
        ' `"ML-DSA-65"` and so on',
        meaning="kind of key",
    ),
    Key(
        name="signature", kind='algorithms such as `"ecdsa-with-SHA384"`',
        meaning="what signs the request, one of these; the classic form only",
    ),
    Key(
        name="san",
        kind='`"dns:NAME"`, `"ip:ADDRESS"`, `"email:..."`, `"uri:..."`, `"ip"`, `"dirname"`',
        meaning="names in subjectAltName, and more if the client has any; `ip` and `dirname` alone"
        " are the client's to fill. `{identity}` as in `subject`",
    ),
    Key(
        name="extensions",
        kind='such as `"keyUsage=critical,digitalSignature"`, `"extendedKeyUsage=clientAuth"`,'
        ' `"basicConstraints=CA:FALSE"`, `"1.2.3.4=hex:0500"`',
        meaning="extensions, by name or object identifier, in the manner of OpenSSL; DER in `hex:`"
        " or `base64:`. Without a value it is the client's to fill",
    ),
    Key(
        name="attributes",
        kind='such as `"macAddress"`, `"unstructuredName=gate"`, `"1.2.3.4=hex:0500"`',
        meaning="attributes of the request; without a value it is the client's, and in the classic"
        " form only",
    ),
    Key(
        name="oids", kind="object identifiers",
        meaning="items of the classic form that are no more than a name",
    ),
    Key(
        name="form",
        meaning="a list (RFC 8951), a template (RFC 9908), or both, where a client that knows the"
        " template ignores the list. None is the list where that says all, and else both",
    ),
    Key(name="base64", meaning="all of it, in DER and base64, instead of the other keys"),
    Key(
        name="for", kind="array of tables",
        meaning="what some clients are told instead: `[[csrattrs.for]]`, the first that matches",
    ),
)  # fmt: skip

CSRATTRS_FOR_KEYS: Final = (
    Key(
        name="user", kind="pattern",
        meaning="for users of such names. `auth.csrattrs` must not be `\"open\"`, but for TLS-SRP",
    ),
    Key(
        name="certificate", kind="pattern",
        meaning="for clients that show a certificate with such a common name",
    ),
    Key(
        name="issuer", kind="pattern",
        meaning="for clients whose certificate was issued by such a common name",
    ),
    Key(
        name="manufacturer", kind="NAME",
        meaning="for the devices of `[manufacturers.NAME]`",
    ),
    *(
        Key(name=key.name, kind=key.kind, meaning="as in `[csrattrs]`")
        for key in CSRATTRS_KEYS
        if key.name != "for"
    ),
)  # fmt: skip
