"""Examines an EST server: what it does, what that means, and what to do about it."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.doctor.checks import (
        CHECKS as CHECKS,
        SUBJECTS as SUBJECTS,
    )
    from est_transports.doctor.config import (
        DoctorConfig as DoctorConfig,
    )
    from est_transports.doctor.examination import (
        examine as examine,
    )
    from est_transports.doctor.findings import (
        Severity as Severity,
    )
    from est_transports.doctor.report import (
        Check as Check,
        Finding as Finding,
        Report as Report,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "checks": "CHECKS SUBJECTS",
            "config": "DoctorConfig",
            "examination": "examine",
            "findings": "Severity",
            "report": "Check Finding Report",
        },
    )
