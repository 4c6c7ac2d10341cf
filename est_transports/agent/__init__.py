"""The agent that gets certificates, renews them in time, and never loses one."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.agent.actions import (
        Action as Action,
        Answer as Answer,
        Ask as Ask,
        HookResult as HookResult,
        Outcome as Outcome,
        RunHook as RunHook,
    )
    from est_transports.agent.asyncio_loop import (
        run_agents_on_asyncio as run_agents_on_asyncio,
        run_pass_on_asyncio as run_pass_on_asyncio,
    )
    from est_transports.agent.by_hand import (
        discard as discard,
        roll_back as roll_back,
    )
    from est_transports.agent.certificate import (
        CertificateAgent as CertificateAgent,
    )
    from est_transports.agent.config import (
        load_agent_settings as load_agent_settings,
    )
    from est_transports.agent.driving import (
        advance as advance,
    )
    from est_transports.agent.errors import (
        AgentError as AgentError,
    )
    from est_transports.agent.hooks import (
        run_hook as run_hook,
    )
    from est_transports.agent.settings import (
        AgentSettings as AgentSettings,
        CertificateSettings as CertificateSettings,
        Credentials as Credentials,
        HookFailure as HookFailure,
        HookSettings as HookSettings,
    )
    from est_transports.agent.slots import (
        Slots as Slots,
    )
    from est_transports.agent.sockets_loop import (
        run_agents as run_agents,
        run_pass as run_pass,
    )
    from est_transports.agent.status import (
        CertificateStatus as CertificateStatus,
        Standing as Standing,
        certificate_status as certificate_status,
    )
    from est_transports.agent.trio_loop import (
        run_agents_on_trio as run_agents_on_trio,
        run_pass_on_trio as run_pass_on_trio,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "actions": "Action Answer Ask HookResult Outcome RunHook",
            "asyncio_loop": "run_agents_on_asyncio run_pass_on_asyncio",
            "by_hand": "discard roll_back",
            "certificate": "CertificateAgent",
            "config": "load_agent_settings",
            "driving": "advance",
            "errors": "AgentError",
            "hooks": "run_hook",
            "settings": ("AgentSettings CertificateSettings Credentials HookFailure HookSettings"),
            "slots": "Slots",
            "sockets_loop": "run_agents run_pass",
            "status": "CertificateStatus Standing certificate_status",
            "trio_loop": "run_agents_on_trio run_pass_on_trio",
        },
    )
