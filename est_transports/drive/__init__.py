"""What serving a request and driving a client exchange come down to on every wire."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.drive.application import (
        Application as Application,
        AsyncApplication as AsyncApplication,
        answer as answer,
        answer_async as answer_async,
        ask as ask,
        ask_async as ask_async,
    )
    from est_transports.drive.authentication_results import (
        AuthenticationOutcome as AuthenticationOutcome,
        AuthenticationResult as AuthenticationResult,
        Judged as Judged,
        ProvenBy as ProvenBy,
    )
    from est_transports.drive.client import (
        AwaitCredentials as AwaitCredentials,
        ClientDriver as ClientDriver,
        ClientStep as ClientStep,
        Connect as Connect,
        ConnectError as ConnectError,
        ExchangeSettings as ExchangeSettings,
        Link as Link,
        Lost as Lost,
        Read as Read,
        Write as Write,
        connect_failure as connect_failure,
    )
    from est_transports.drive.events import (
        EnrollmentAnswered as EnrollmentAnswered,
        EnrollmentAsked as EnrollmentAsked,
        ErrorOccurred as ErrorOccurred,
        Event as Event,
        HandshakeFailed as HandshakeFailed,
        RequestAnswered as RequestAnswered,
        each_event as each_event,
        events_of as events_of,
    )
    from est_transports.drive.observe import (
        JsonFormatter as JsonFormatter,
        Observe as Observe,
        TextFormatter as TextFormatter,
        log_request as log_request,
        observers as observers,
        request_fields as request_fields,
    )
    from est_transports.drive.open_request import (
        Ask as Ask,
        Finished as Finished,
        OpenRequest as OpenRequest,
        session_with as session_with,
    )
    from est_transports.drive.records import (
        Phases as Phases,
        Record as Record,
        Requested as Requested,
        Wire as Wire,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "application": "Application AsyncApplication answer answer_async ask ask_async",
            "authentication_results": (
                "AuthenticationOutcome AuthenticationResult Judged ProvenBy"
            ),
            "client": (
                "AwaitCredentials ClientDriver ClientStep Connect ConnectError ExchangeSettings "
                "Link Lost Read Write connect_failure"
            ),
            "events": (
                "EnrollmentAnswered EnrollmentAsked ErrorOccurred Event HandshakeFailed "
                "RequestAnswered each_event events_of"
            ),
            "observe": "JsonFormatter Observe TextFormatter log_request observers request_fields",
            "open_request": "Ask Finished OpenRequest session_with",
            "records": "Phases Record Requested Wire",
        },
    )
