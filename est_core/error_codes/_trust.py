"""Error codes of following a CA to its new root."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

TRUST: Final = (
    Section(
        title="New roots",
        note=(
            "Why a client goes on without a root that came with the CA certificates. It keeps the "
            "trust anchors that it has."
        ),
        codes=(
            ErrorCode(
                code="trust/no-link",
                cause=(
                    "a root in the CA certificates is no trust anchor, and no link certificate "
                    "vouches for it"
                ),
                remedy=(
                    "add the link certificate (NewWithOld, RFC 4210 4.4) to the CA certificates "
                    "that the server sends"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/link-alone",
                cause=(
                    "the CA certificates have a link certificate, and not the root that it is for"
                ),
                remedy="add the new root to the CA certificates that the server sends",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/unknown-issuer",
                cause=(
                    "the link certificate of a root was issued by no trust anchor of the "
                    "client: by an intermediate, by a CA it does not know, or by one it has "
                    "dropped"
                ),
                remedy=(
                    "have the new root accepted by hand: by its fingerprint, from the CA's operator"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/key-identifier",
                cause=(
                    "the key identifiers of a root, its link certificate and the trust anchor "
                    "do not fit together: two CAs may have one name"
                ),
                remedy=(
                    "make the link certificate anew, with the key of the old root and for that "
                    "of the new one"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/link-signature",
                cause=(
                    "the link certificate of a root is not signed with the key of the trust "
                    "anchor that it names"
                ),
                remedy="make the link certificate anew, with the key of the old root",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/link-dates",
                cause=(
                    "the link certificate of a root has expired, or is not yet valid by the "
                    "client's clock"
                ),
                remedy=(
                    "check the client's clock; if it is right, have the new root accepted by "
                    "its fingerprint"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/anchor-dates",
                cause=(
                    "the trust anchor that vouches for a root has expired, or is not yet valid "
                    "by the client's clock"
                ),
                remedy=(
                    "check the client's clock; if it is right, have the new root accepted by "
                    "its fingerprint"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/link-unfit",
                cause=(
                    "a link certificate, or the trust anchor above it, is not that of a CA, or "
                    "has a critical extension that is not understood; or that anchor is no root"
                ),
                remedy=(
                    "make the link certificate anew, with the old root's key: basicConstraints "
                    "with CA, keyUsage with keyCertSign"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/root-unfit",
                cause=(
                    "a new root is not the certificate of a CA, or has a critical extension "
                    "that is not understood"
                ),
                remedy="make the root anew: basicConstraints with CA, keyUsage with keyCertSign",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/root-dates",
                cause="a new root has expired, or is not yet valid by the client's clock",
                remedy="check the client's clock; if it is right, there is nothing to do",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/weak",
                cause=(
                    "a new root, its link certificate or the anchor above has a key or a "
                    "signature that is too weak"
                ),
                remedy=(
                    "make a key of RSA 2048 bits or more or on P-256, P-384, P-521, and sign "
                    "with SHA-256"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/renamed",
                cause=(
                    "a root has another name than the trust anchor that certified its key, as "
                    "an issuing CA has"
                ),
                remedy=(
                    "keep the CA's name when its key changes, or allow other names "
                    "(`TrustPolicy.renamed`)"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/wider",
                cause=(
                    "a new root may certify what its link certificate or the old root may not: "
                    "longer paths, or other names"
                ),
                remedy=(
                    "give the new root the constraints that the old one and the link "
                    "certificate have"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/not-newer",
                cause=(
                    "a root is no newer than the trust anchor that certified it: it is the "
                    "former one"
                ),
                remedy="let it be: a client follows a CA forward only",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/dropped",
                cause=(
                    "a root was a trust anchor of the client, and was dropped after it had a "
                    "successor"
                ),
                remedy="let it be; if it is needed again, give it to the client by hand",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/too-many",
                cause=(
                    "the CA certificates, or the trust anchors with them, are more than a "
                    "client keeps"
                ),
                remedy="send the CA certificates of one CA, those of a rollover included",
                audience=Audience.OPERATOR,
            ),
        ),
    ),
)
