"""The reference CA: an application that issues by profile, and its stores."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.authority.application import (
        Authority as Authority,
    )
    from est_transports.authority.authentication.authenticator import (
        Authenticator as Authenticator,
        Scheme as Scheme,
    )
    from est_transports.authority.authentication.back_off import (
        Attempt as Attempt,
        BackOff as BackOff,
        BackOffLimits as BackOffLimits,
        BackOffs as BackOffs,
    )
    from est_transports.authority.authentication.look_ups import (
        LookUps as LookUps,
    )
    from est_transports.authority.authentication.server_secret import (
        ServerSecret as ServerSecret,
        new_code as new_code,
        new_token as new_token,
    )
    from est_transports.authority.authentication.tokens import (
        TokenVerifier as TokenVerifier,
    )
    from est_transports.authority.ca import (
        CAUnavailable as CAUnavailable,
        Enrollment as Enrollment,
        ReferenceCA as ReferenceCA,
        Refused as Refused,
    )
    from est_transports.authority.certificate_plan import (
        CertificatePlan as CertificatePlan,
        PlannedExtension as PlannedExtension,
    )
    from est_transports.authority.crls import (
        REVOCATION_REASONS as REVOCATION_REASONS,
        CrlSchedule as CrlSchedule,
        make_crl as make_crl,
    )
    from est_transports.authority.csr_attributes import (
        ClientRule as ClientRule,
        ClientRules as ClientRules,
        CsrWords as CsrWords,
    )
    from est_transports.authority.ocsp_identity import (
        OcspIdentity as OcspIdentity,
        new_ocsp_identity as new_ocsp_identity,
    )
    from est_transports.authority.ocsp_requests import (
        OcspQuestion as OcspQuestion,
        read_ocsp_request as read_ocsp_request,
    )
    from est_transports.authority.ocsp_responder import (
        OcspAnswer as OcspAnswer,
        OcspResponder as OcspResponder,
        OcspTimes as OcspTimes,
    )
    from est_transports.authority.issuers import (
        Issuer as Issuer,
        IssuerError as IssuerError,
        given_issuer as given_issuer,
        make_issuer as make_issuer,
    )
    from est_transports.authority.name_patterns import (
        NamePatterns as NamePatterns,
    )
    from est_transports.authority.new_ca import (
        new_intermediate as new_intermediate,
        new_root as new_root,
        new_tls_identity as new_tls_identity,
    )
    from est_transports.authority.profile_additions import (
        CertificatePolicy as CertificatePolicy,
        ProfileAdditions as ProfileAdditions,
    )
    from est_transports.authority.profiles import (
        KeyKind as KeyKind,
        KeyUse as KeyUse,
        Profile as Profile,
        SanKind as SanKind,
    )
    from est_transports.authority.renewal_rules import (
        RenewalRules as RenewalRules,
    )
    from est_transports.authority.renewal_windows import (
        RenewalSchedule as RenewalSchedule,
    )
    from est_transports.authority.stores import (
        CodeRecord as CodeRecord,
        CodeSpent as CodeSpent,
        CodeUse as CodeUse,
        CrlRecord as CrlRecord,
        DeviceRecord as DeviceRecord,
        DuplicateSerial as DuplicateSerial,
        IssuedRecord as IssuedRecord,
        KeyHistory as KeyHistory,
        RevokedRecord as RevokedRecord,
        SrpRecord as SrpRecord,
        Store as Store,
        StoreBusy as StoreBusy,
        StoreError as StoreError,
        TokenRecord as TokenRecord,
        UserRecord as UserRecord,
    )
    from est_transports.authority.stores.digest_records import (
        DigestRecord as DigestRecord,
        digest_record as digest_record,
        read_digest_record as read_digest_record,
    )
    from est_transports.authority.stores.passwords import (
        PasswordBusy as PasswordBusy,
        PasswordChecks as PasswordChecks,
        Users as Users,
        hash_password as hash_password,
        verify_password as verify_password,
    )
    from est_transports.authority.stores.sqlite import (
        SqliteStore as SqliteStore,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "application": "Authority",
            "authentication.authenticator": "Authenticator Scheme",
            "authentication.back_off": "Attempt BackOff BackOffLimits BackOffs",
            "authentication.look_ups": "LookUps",
            "authentication.server_secret": "ServerSecret new_code new_token",
            "authentication.tokens": "TokenVerifier",
            "ca": "CAUnavailable Enrollment ReferenceCA Refused",
            "certificate_plan": "CertificatePlan PlannedExtension",
            "crls": "REVOCATION_REASONS CrlSchedule make_crl",
            "ocsp_identity": "OcspIdentity new_ocsp_identity",
            "ocsp_requests": "OcspQuestion read_ocsp_request",
            "ocsp_responder": "OcspAnswer OcspResponder OcspTimes",
            "csr_attributes": "ClientRule ClientRules CsrWords",
            "issuers": "Issuer IssuerError given_issuer make_issuer",
            "name_patterns": "NamePatterns",
            "new_ca": "new_intermediate new_root new_tls_identity",
            "profile_additions": "CertificatePolicy ProfileAdditions",
            "profiles": "KeyKind KeyUse Profile SanKind",
            "renewal_rules": "RenewalRules",
            "renewal_windows": "RenewalSchedule",
            "stores": (
                "CodeRecord CodeSpent CodeUse CrlRecord DeviceRecord DuplicateSerial IssuedRecord "
                "KeyHistory RevokedRecord SrpRecord Store StoreBusy StoreError TokenRecord "
                "UserRecord"
            ),
            "stores.digest_records": "DigestRecord digest_record read_digest_record",
            "stores.passwords": "PasswordBusy PasswordChecks Users hash_password verify_password",
            "stores.sqlite": "SqliteStore",
        },
    )
