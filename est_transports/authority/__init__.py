"""The reference CA: an application that issues by profile, and its stores."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.authority.application import (
        Authority as Authority,
    )
    from est_transports.authority.ca import (
        CAUnavailable as CAUnavailable,
        Enrollment as Enrollment,
        ReferenceCA as ReferenceCA,
        Refused as Refused,
        new_intermediate as new_intermediate,
        new_root as new_root,
        new_tls_identity as new_tls_identity,
    )
    from est_transports.authority.issuers import (
        Issuer as Issuer,
        IssuerError as IssuerError,
        given_issuer as given_issuer,
        make_issuer as make_issuer,
    )
    from est_transports.authority.profiles import (
        CertificatePlan as CertificatePlan,
        KeyKind as KeyKind,
        KeyUse as KeyUse,
        PlannedExtension as PlannedExtension,
        Profile as Profile,
        SanKind as SanKind,
    )
    from est_transports.authority.stores import (
        DuplicateSerial as DuplicateSerial,
        IssuedRecord as IssuedRecord,
        Store as Store,
        StoreBusy as StoreBusy,
        StoreError as StoreError,
        UserRecord as UserRecord,
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
            "ca": (
                "CAUnavailable Enrollment ReferenceCA Refused new_intermediate new_root "
                "new_tls_identity"
            ),
            "issuers": "Issuer IssuerError given_issuer make_issuer",
            "profiles": "CertificatePlan KeyKind KeyUse PlannedExtension Profile SanKind",
            "stores": "DuplicateSerial IssuedRecord Store StoreBusy StoreError UserRecord",
            "stores.passwords": "PasswordBusy PasswordChecks Users hash_password verify_password",
            "stores.sqlite": "SqliteStore",
        },
    )
