"""When a client renews its certificate, and what it does where that fails."""

from __future__ import annotations

from est_core.life_cycle.clock import CertificateLife, ClockFault
from est_core.life_cycle.machine import LifeCycle
from est_core.life_cycle.policy import RenewalPolicy, WhenExpired
from est_core.life_cycle.saved import state_of, state_text
from est_core.life_cycle.state import Attempt, LifeCycleState
from est_core.life_cycle.steps import (
    Alarm,
    AskRenewalInfo,
    EnrollAnew,
    FetchCACerts,
    Renew,
    Step,
    Stop,
    Wait,
)
from est_core.renewal_window import RenewalWindow

__all__ = [
    "Alarm",
    "AskRenewalInfo",
    "Attempt",
    "CertificateLife",
    "ClockFault",
    "EnrollAnew",
    "FetchCACerts",
    "LifeCycle",
    "LifeCycleState",
    "Renew",
    "RenewalPolicy",
    "RenewalWindow",
    "Step",
    "Stop",
    "Wait",
    "WhenExpired",
    "state_of",
    "state_text",
]
