"""Header fields by which proxies that end TLS tell a server behind them who its client is."""

from __future__ import annotations

import base64
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.deployment import USER


def headers_of_proxies(shown: x509.Certificate) -> dict[str, str]:
    """Return the header fields by which proxies that end TLS tell of their client's certificate."""
    pem = shown.public_bytes(Encoding.PEM).decode()
    quoted, der = quote(pem), base64.b64encode(shown.public_bytes(Encoding.DER)).decode()
    name = shown.subject.rfc4514_string()
    return {
        "X-SSL-Client-Cert": quoted,
        "X-SSL-Cert": quoted,
        "X-SSL-Client-Verify": "SUCCESS",
        "X-SSL-Client-S-DN": name,
        "X-SSL-Client-Serial": f"{shown.serial_number:X}",
        "SSL_CLIENT_CERT": quoted,
        "SSL-Client-Cert": quoted,
        "SSL-Client-Verify": "SUCCESS",
        "X-Client-Cert": quoted,
        "X-Client-Verified": "true",
        "X-ARR-ClientCert": der,
        "X-Amzn-Mtls-Clientcert": quoted,
        "X-Forwarded-Client-Cert": f'Subject="{name}";Cert="{quoted}"',
        "X-Forwarded-Tls-Client-Cert": der,
        "Client-Cert": f":{der}:",  # RFC 9440
        "Client-Cert-Chain": f":{der}:",
        "Forwarded": "for=192.0.2.1;proto=https",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-User": USER,
        "X-Remote-User": USER,
        "Remote-User": USER,
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "192.0.2.1",
    }
