"""Discovery of the paths of a server's operations on CoAP, between a request and its answer.

What is asked for is asked below /.well-known/est, or wherever the owner says. A server that has
nothing there answers 4.04 to the first request, and has done nothing: so it is asked for the list
of its resources, once on an association, and for the same thing again where the list says.
RFC 9148 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

from est_core import EstUri, Label, LocalProtocolError, RemoteProtocolError, Request, coapmap
from est_core.wires.coapmap import CoapPaths, Code, RequestHead
from est_transports.coap.client_wire import ResponseReceived

_USUAL = CoapPaths()


class PathDiscovery:
    """Where the operations of one association's server are, as far as it is known.

    `ask` what is wanted, and send `next_message`; give each answer to `take`, which returns the one
    that counts, or None: then send `next_message` again.
    """

    def __init__(
        self, *, root: str | None, discover: bool, tell: Callable[[CoapPaths], None]
    ) -> None:
        self._given = _USUAL if root is None else CoapPaths.below(root)
        self._may_discover = root is None
        self._discover_first = discover
        self._tell = tell
        self._paths = self._given
        self._listed_for: tuple[Label | None] | None = None
        self._wanted: tuple[Request, EstUri] | None = None
        self._not_found: ResponseReceived | None = None
        self._is_listing = False
        self._is_confirmed = False

    def ask(self, request: Request, uri: EstUri) -> None:
        """Want this answered next."""
        self._wanted = request, uri
        self._not_found = None
        if self._listed_for is not None and self._listed_for != (self._label,):
            self._paths, self._listed_for, self._is_confirmed = self._given, None, False
        self._is_listing = self._discover_first and self._is_unlisted

    def next_message(self) -> tuple[RequestHead, bytes]:
        """Return what is to be sent. Raises LocalProtocolError for what CoAP cannot carry."""
        request, uri = self._expect()
        if self._is_listing:
            return coapmap.discovery_request(uri), b""
        return coapmap.write_request(request, uri, paths=self._paths)

    def take(self, answer: ResponseReceived) -> ResponseReceived | None:
        """Return the answer to what was asked, None if there is another message to be sent.

        Raises RemoteProtocolError("coap/no-est", "coap/link-format") where the list was to be asked
        for first, and says nothing.
        """
        if self._is_listing:
            return self._take_list(answer)
        if answer.head.code != Code.NOT_FOUND:
            self._is_confirmed = True  # what else is not there is not offered
        elif self._is_unlisted and not self._is_confirmed:
            self._not_found, self._is_listing = answer, True
            return None
        return answer

    def _take_list(self, answer: ResponseReceived) -> ResponseReceived | None:
        request, uri = self._expect()
        before, first = self._paths.path(request.operation, self._label), self._not_found
        self._is_listing, self._listed_for = False, (self._label,)
        try:
            paths = coapmap.read_discovery(answer.head, answer.payload, uri, self._label)
        except RemoteProtocolError:
            if first is None:
                self._listed_for = None
                raise
            return first
        self._paths = paths
        if paths != _USUAL:
            self._tell(paths)
        is_elsewhere = paths.path(request.operation, self._label) != before
        return None if is_elsewhere else first

    @property
    def _is_unlisted(self) -> bool:
        return self._may_discover and self._listed_for is None

    @property
    def _label(self) -> Label | None:
        request, uri = self._expect()
        return request.label or uri.label

    def _expect(self) -> tuple[Request, EstUri]:
        if self._wanted is None:
            raise LocalProtocolError("nothing was asked for")
        return self._wanted
