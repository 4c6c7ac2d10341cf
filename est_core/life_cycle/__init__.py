"""When a client renews its certificate, and what it does where that fails."""

from __future__ import annotations

from est_core.life_cycle.clock import CertificateLife as CertificateLife
from est_core.life_cycle.clock import ClockFault as ClockFault
from est_core.life_cycle.machine import LifeCycle as LifeCycle
from est_core.life_cycle.policy import RenewalPolicy as RenewalPolicy
from est_core.life_cycle.policy import WhenExpired as WhenExpired
from est_core.life_cycle.saved import state_of as state_of
from est_core.life_cycle.saved import state_text as state_text
from est_core.life_cycle.state import Attempt as Attempt
from est_core.life_cycle.state import LifeCycleState as LifeCycleState
from est_core.life_cycle.state import RenewalWindow as RenewalWindow
from est_core.life_cycle.steps import Alarm as Alarm
from est_core.life_cycle.steps import AskRenewalInfo as AskRenewalInfo
from est_core.life_cycle.steps import EnrollAnew as EnrollAnew
from est_core.life_cycle.steps import FetchCACerts as FetchCACerts
from est_core.life_cycle.steps import Renew as Renew
from est_core.life_cycle.steps import Step as Step
from est_core.life_cycle.steps import Stop as Stop
from est_core.life_cycle.steps import Wait as Wait
