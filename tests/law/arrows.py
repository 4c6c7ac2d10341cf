"""The arrows of the house: which folder may import which. The only place that says so.

A folder is a package, or a module that stands at the top of one. `GROUND` is what everything of
its package may import, from the lowest line up; a line imports from the lines before it. Every
other folder imports what its row names, and the ground. A folder inside a folder has a row of its
own. Within a folder any order will do that has no cycle. `""` is the package itself, which hands
out public names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GROUND: Final[Mapping[str, tuple[str, ...]]] = {
    "est_core": (
        "_errors _oids",
        "arguments",
        "values",
        "_limits _instant credentials error_codes",
    ),
    "est_transports": ("_clock _faces error_codes",),
}

ARROWS: Final[Mapping[str, Mapping[str, str]]] = {
    "est_core": {
        # Bytes: DER, and those of HTTP's bodies and headers.
        "asn1": "",
        "codec": "asn1",
        # Proofs: what is hashed and compared.
        "auth": "",
        # Judgements.
        "channel": "",
        "checks": "asn1 channel",
        # The words of the protocol.
        "operation": "asn1 channel codec",
        "refusal_tag": "",
        "model": "codec operation refusal_tag",
        "policy": "auth channel checks codec model operation",
        "decisions": "codec",
        "uri": "model",
        "renewal_window": "",
        "events": "asn1 channel checks decisions model operation renewal_window uri",
        # Operations know no bytes of a wire, wires and machines no operation by name. Wires and
        # machines do not know each other, nor one wire the other.
        "operations": (
            "asn1 channel checks codec decisions events model operation policy renewal_window"
        ),
        "wires": "model operation policy refusal_tag",
        "wires.httpmap": "asn1 codec model operation policy refusal_tag uri wires",
        "wires.coapmap": "codec model operation policy refusal_tag uri wires",
        "server": "asn1 auth channel checks decisions events model operation operations policy",
        "client": "asn1 auth channel checks codec events model operation operations uri",
        # When there is something to ask a server for.
        "life_cycle": "renewal_window",
        # Which CAs a client trusts, from what it trusted and what a server sent.
        "trust": "asn1",
        # What people import.
        "": (
            "asn1 auth channel checks client decisions events model operation operations policy "
            "refusal_tag renewal_window server uri wires.coapmap wires.httpmap"
        ),
        "testing": (
            "asn1 channel client decisions events model operation operations policy server "
            "wires.httpmap"
        ),
    },
    "est_transports": {
        # Files of settings, and files on disk; what a process does that runs on and on.
        "toml": "",
        "files": "",
        "daemon": "",
        # Keys, certificates and trust; whose turn it is.
        "pki": "",
        "fairness": "",
        # A certificate and its key on disk.
        "pairs": "files pki",
        # From secure channels to requests and answers, without I/O.
        "channel": "fairness pki",
        "drive": "channel fairness pki",
        "http": "channel drive fairness",
        "coap": "channel drive fairness",
        # What everybody may read, over plain HTTP.
        "publication": "http",
        # How a connection gets to a server where there is a proxy between.
        "tunnels": "drive http",
        "client_config": "channel coap pki tunnels",
        # Runtimes, which do not know each other.
        "on_trio": "channel client_config coap drive fairness http publication tunnels",
        "on_asyncio": "channel client_config coap drive fairness http tunnels",
        "on_sockets": "channel client_config coap drive fairness http pki tunnels",
        "on_aiocoap": "coap drive",
        # What a server is asked to find out how it does.
        "doctor": "channel client_config coap drive http on_sockets pki tunnels",
        # The client that renews by itself.
        "agent": "channel client_config drive on_asyncio on_sockets on_trio pairs pki toml tunnels",
        # The reference CA. It knows no wire, and no wire knows it.
        "authority.stores": "fairness pki",
        "authority.authentication": "authority.stores fairness pki",
        "authority": "authority.authentication authority.stores pki",
        # Where all of it comes together, and people.
        "service.config": ("authority authority.authentication channel coap http publication toml"),
        "service.audit": "authority drive pki service.config",
        "service.backup": ("authority.stores service service.audit service.config toml"),
        "service": (
            "authority authority.authentication authority.stores channel coap daemon drive files "
            "http on_trio pki publication service.audit service.config toml"
        ),
        "cli": "files pairs pki",
        # No command of a client knows what a server is made of.
        "cli.client": "channel cli client_config doctor on_sockets pki tunnels",
        "cli.agent": "agent cli cli.client daemon drive pairs pki toml",
        "cli.server": (
            "authority authority.authentication authority.stores cli daemon drive files pki "
            "service service.audit service.backup service.config toml"
        ),
        "cli.demo": (
            "authority authority.stores cli cli.client cli.server drive on_trio pki service "
            "service.config"
        ),
        "__main__": "cli",
    },
}

APART: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "est_core": (
        ("operations server client", "wires"),
        ("server", "client"),
        ("wires.httpmap", "wires.coapmap"),
    ),
    "est_transports": (
        ("authority", "channel http coap drive on_*"),
        ("on_*", "on_*"),
    ),
}
"""Folders, with those inside, that do not know each other, by way of others neither.

A row above that joins two of them is wrong.
"""

Graph = Mapping[str, frozenset[str]]


def reachable(graph: Graph, start: str) -> frozenset[str]:
    """Return what arrows lead to from there, however many."""
    found: set[str] = set()
    todo = list(graph[start])
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += graph[node]
    return frozenset(found)
