"""Lists of registration authorities for policies of tests."""

from __future__ import annotations

from est_core.checks.identity import RegistrationAuthorities
from tests.pki import Entity, common_name


def ras(*listed: Entity | str) -> RegistrationAuthorities:
    """Return the list with these certificates' subjects, or the names CN=..."""
    return RegistrationAuthorities(
        subjects=frozenset(
            common_name(each) if isinstance(each, str) else each.certificate.subject
            for each in listed
        )
    )
