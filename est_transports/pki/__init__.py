"""Keys, certificates and trust, outside any handshake."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.pki.chains import (
        chain_problem as chain_problem,
        leading_to as leading_to,
    )
    from est_transports.pki.credential_files import (
        CredentialFileError as CredentialFileError,
        load_pem_certificates as load_pem_certificates,
        load_pem_crls as load_pem_crls,
        load_pem_private_key as load_pem_private_key,
    )
    from est_transports.pki.pkcs11_uri import (
        Pkcs11Uri as Pkcs11Uri,
        TokenError as TokenError,
    )
    from est_transports.pki.revocation import (
        Revocation as Revocation,
    )
    from est_transports.pki.signers import (
        CertificateSigner as CertificateSigner,
        LocalSigner as LocalSigner,
        Signer as Signer,
        SignerError as SignerError,
        SigningKey as SigningKey,
        signer_of as signer_of,
    )
    from est_transports.pki.token_keys import (
        OpenToken as OpenToken,
        TokenSigner as TokenSigner,
        generate_key as generate_key,
        open_signer as open_signer,
        open_token as open_token,
    )
    from est_transports.pki.trust import (
        TlsIdentity as TlsIdentity,
        TrustAnchors as TrustAnchors,
        by_fingerprint as by_fingerprint,
        load_identity as load_identity,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "chains": "chain_problem leading_to",
            "credential_files": (
                "CredentialFileError load_pem_certificates load_pem_crls load_pem_private_key"
            ),
            "pkcs11_uri": "Pkcs11Uri TokenError",
            "revocation": "Revocation",
            "signers": "CertificateSigner LocalSigner Signer SignerError SigningKey signer_of",
            "token_keys": "OpenToken TokenSigner generate_key open_signer open_token",
            "trust": "TlsIdentity TrustAnchors by_fingerprint load_identity",
        },
    )
