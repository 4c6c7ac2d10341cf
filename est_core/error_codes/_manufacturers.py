"""The error codes of manufacturers' devices: who they are by the certificates they came with."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

MANUFACTURERS: Final = (
    Section(
        title="Manufacturers' devices",
        codes=(
            ErrorCode(
                code="manufacturer/no-value",
                statuses=("403",),
                cause=(
                    "the field that says which device this is, is missing in the client's "
                    "certificate, or empty"
                ),
                remedy=(
                    "look which field the manufacturer uses, and name that one as `field` of "
                    "`[manufacturers.NAME]`"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="manufacturer/several-values",
                statuses=("403",),
                cause="the field is there twice, so that the certificate is of two devices or none",
                remedy="name a `field` that is there once, or enroll the device with credentials",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="manufacturer/unreadable",
                statuses=("403",),
                cause=(
                    "the certificate cannot be read, or its field is no text, too long, or holds "
                    "what does not print"
                ),
                remedy="name another `field`, or enroll the device with credentials",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="manufacturer/other-issuer",
                statuses=("403",),
                cause=(
                    "`field` is certificateSerial, and another CA than the one in `trust` issued "
                    "the certificate: serial numbers are unique for one issuer alone"
                ),
                remedy="make a `[manufacturers.NAME]` for each issuing CA, with its certificate",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="manufacturer/unknown",
                statuses=("403",),
                cause=(
                    "the transport names a manufacturer for its trust anchor that the policy does "
                    "not know"
                ),
                remedy=(
                    "give `TrustAnchors.manufacturers` and `ServerPolicy.manufacturers` the same "
                    "names"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="manufacturer/not-in-request",
                statuses=("400",),
                cause=(
                    "a request of a manufacturer's device does not carry what its certificate says "
                    "of it, where it has to (`csr_field`); the answer says what is there"
                ),
                remedy="put the value of the device into that field of the request, once",
                audience=Audience.USER,
            ),
        ),
    ),
)
