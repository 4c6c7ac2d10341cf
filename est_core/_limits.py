"""Every bound on what a peer can make us hold, decode, or wait for.

A limit is checked before the work it bounds. Numbers in comments are precedents.
"""

from __future__ import annotations

from dataclasses import fields

from est_core._errors import LocalProtocolError
from est_core.values import value_class


@value_class
class Limits:
    """Bounds, with the unit in the name. All are positive; LocalProtocolError otherwise."""

    head_bytes: int = 16 * 1024  # libEST 16 KiB, Apache and node 8 to 16 KiB
    target_bytes: int = 2048  # libEST 272; 8000 is the RFC 9112 recommendation for the open web
    header_count: int = 100  # libEST 64, Apache 100
    body_bytes: int = 64 * 1024  # libEST 8 KiB, GlobalSign 64 KiB; an ML-DSA request is 10 KiB
    response_body_bytes: int = 256 * 1024  # a rollover bag of post-quantum chains
    label_chars: int = 128  # libEST 128
    der_depth: int = 24  # a certificate is 10 deep, a CMC request 16
    der_nodes: int = 8192  # a request with 100 names has about 600
    csrattrs_items: int = 256
    csr_attributes: int = 64
    csr_extensions: int = 64
    names: int = 128  # parts of a subject's RDNs, or GeneralNames of a subjectAltName
    certificates: int = 64  # in one certs-only bag; rollover of a deep hierarchy is 12
    challenge_chars: int = 255  # ub-challengePassword, RFC 2985
    auth_header_bytes: int = 8 * 1024
    auth_params: int = 32
    challenges: int = 16  # schemes in one 401
    user_chars: int = 255  # libEST 255
    password_chars: int = 1024  # libEST 255
    error_text_chars: int = 512
    retry_after_min_s: int = 1
    retry_after_default_s: int = 60
    retry_after_max_s: int = 30 * 24 * 3600  # libEST 172 800
    decision_s: int = 60  # an application that has not answered by then makes it 503
    redirects: int = 5  # same origin
    credential_tries: int = 2  # libEST: a second 401 is final
    connects: int = 12  # connections one client exchange may ask for in a row

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:  # some are written into answers
                raise LocalProtocolError(f"{field.name} must be positive")

    @classmethod
    def constrained(cls) -> Limits:
        """Return bounds for a gateway with little memory: elliptic-curve sizes, short bags."""
        return cls(
            head_bytes=4 * 1024,
            target_bytes=512,
            header_count=32,
            body_bytes=8 * 1024,
            response_body_bytes=16 * 1024,
            der_nodes=1024,
            csrattrs_items=32,
            csr_attributes=16,
            csr_extensions=16,
            names=16,
            certificates=8,
            auth_header_bytes=1024,
            challenges=4,
        )
