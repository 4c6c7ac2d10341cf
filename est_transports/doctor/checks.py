"""All checks, by subject, in the order in which they are made and shown."""

from __future__ import annotations

from typing import Final

from est_transports.doctor import (
    cacerts_checks,
    coap_checks,
    csrattrs_checks,
    http_checks,
    identity_checks,
    login_checks,
    option_checks,
    path_checks,
    reach_checks,
    tls_checks,
)
from est_transports.doctor.report import Check

CHECKS: Final[tuple[Check, ...]] = (
    *reach_checks.CHECKS,
    *tls_checks.CHECKS,
    *identity_checks.CHECKS,
    *http_checks.CHECKS,
    *cacerts_checks.CHECKS,
    *csrattrs_checks.CHECKS,
    *login_checks.CHECKS,
    *path_checks.CHECKS,
    *option_checks.CHECKS,
    *coap_checks.CHECKS,
)

SUBJECTS: Final = tuple(dict.fromkeys(check.subject for check in CHECKS))
"""What checks are about, in their order."""
