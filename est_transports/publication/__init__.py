"""Plain HTTP for what everybody may read: CA certificates, revocation lists, OCSP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.publication.conversation import (
        PublicationConversation as PublicationConversation,
    )
    from est_transports.publication.conversation import (
        PublicationLimits as PublicationLimits,
    )
    from est_transports.publication.resources import (
        Publication as Publication,
    )
    from est_transports.publication.resources import (
        Published as Published,
    )
    from est_transports.publication.resources import (
        Resource as Resource,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "conversation": "PublicationConversation PublicationLimits",
            "resources": "Publication Published Resource",
        },
    )
