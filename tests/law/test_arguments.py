"""Whatever is given to a public name and is of no type it takes is refused there and then."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from itertools import chain
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

import pytest

from est_core import LocalProtocolError
from tests.docs.api_page import MODULES

NOT_FOR_CALLERS: Final = frozenset(
    {
        *("ProtocolError", "LocalProtocolError", "ServerExchange"),
        *("CheckedHead", "Asking", "Reading", "Attempt"),
    }
)
"""The errors that say so themselves, and what only our own code makes, for each request."""
UNTYPED: Final = frozenset({"self", "cls", "return"})


INNER: Final = """
    authority.application authority.ca authority.issuers authority.new_ca authority.profiles
    authority.stores.passwords authority.stores.sqlite channel.dtls channel.dtls_context
    channel.dtls_limits channel.dtls_mux channel.errors channel.tls coap.client coap.client_wire
    coap.limits coap.server coap.server_wire coap.settings drive.addresses drive.application
    drive.client drive.consult drive.observe drive.open_request drive.records http.client
    http.client_wire http.server http.server_wire http.settings on_sockets.connection
    on_sockets.server on_sockets.ssl_sockets on_trio.server pki.chains pki.hosts pki.serials
    pki.signers pki.trust service.ca_loading service.config.listen
    service.config.reader service.config.settings
    service.errors service.initialisation service.listening service.loading service.processes
""".split()
"""Modules of est_transports behind faces: what they have besides holds its arguments too."""


class Nonsense:
    """Of no type that anything takes, and with no methods."""


NONSENSE: Final = Nonsense()
REFUSAL: Final = re.compile(r"(?P<name>\w+) must be .+, not Nonsense")


class Argument(NamedTuple):
    """One argument of something public."""

    call: Callable[..., Any]
    shown: str
    name: str
    hint: object
    required: tuple[str, ...]


def _public() -> Iterator[tuple[str, object]]:
    seen: set[int] = set()
    inner = (f"est_transports.{name}" for name in INNER)
    for module_name in chain(chain.from_iterable(MODULES.values()), inner):
        module = import_module(module_name)
        faces = getattr(module, "__all__", None)
        for name in faces or vars(module):
            found = getattr(module, name, None)  # a face imports it only now
            owner = str(getattr(found, "__module__", ""))
            ours = owner.startswith(("est_core", "est_transports"))
            if name.startswith("_") or not ours or id(found) in seen:
                continue
            if faces is None and owner != module_name:
                continue
            seen.add(id(found))
            yield f"{module_name}.{name}", found


def _is_made(kind: type) -> bool:
    """True for a class that is made by calling it with arguments of its own."""
    return (
        not issubclass(kind, Enum | tuple)
        and kind.__name__ not in NOT_FOR_CALLERS
        and not getattr(kind, "_is_protocol", False)
        and "__init__" in vars(kind)
        and len(inspect.signature(kind).parameters) > 0
    )


CLASSES: Final = {
    shown: found for shown, found in _public() if isinstance(found, type) and _is_made(found)
}


def _hints(kind: type) -> dict[str, object]:
    annotated: Any = kind if is_dataclass(kind) else kind.__init__  # type: ignore[misc]
    return typing.get_type_hints(annotated, include_extras=True)


def _takes_anything(hint: object) -> bool:
    if get_origin(hint) is Annotated:
        return _takes_anything(get_args(hint)[0])
    members = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(member in (Any, object) or isinstance(member, typing.TypeVar) for member in members)


def _arguments() -> Iterator[Argument]:
    for shown, kind in CLASSES.items():
        parameters = inspect.signature(kind).parameters
        required = tuple(
            name for name, each in parameters.items() if each.default is inspect.Parameter.empty
        )
        for name, hint in _hints(kind).items():
            if name in parameters and name not in UNTYPED and not _takes_anything(hint):
                yield Argument(kind, shown, name, hint, required)


ARGUMENTS: Final = tuple(_arguments())


@pytest.mark.parametrize(
    "argument", ARGUMENTS, ids=lambda argument: f"{argument.shown}-{argument.name}"
)
def test_what_no_argument_takes_is_refused_where_it_is_given(argument: Argument) -> None:
    """All that is required is nonsense too: types are looked at before anything is done."""
    given: dict[str, object] = {argument.name: NONSENSE}
    given |= {name: NONSENSE for name in argument.required if name != argument.name}
    with pytest.raises(LocalProtocolError) as caught:
        argument.call(**given)
    found = REFUSAL.search(str(caught.value))
    assert found, str(caught.value)
    assert found["name"] in given


def _is_choosy(function: Callable[..., object]) -> bool:
    """True for a function with an argument that it needs, of a type."""
    hints = typing.get_type_hints(function)
    return any(
        each.default is inspect.Parameter.empty and not _takes_anything(hints.get(name, Any))
        for name, each in inspect.signature(function).parameters.items()
    )


FUNCTIONS: Final = {
    shown: found
    for shown, found in _public()
    if inspect.isfunction(found) and hasattr(found, "__wrapped__") and _is_choosy(found)
}
"""Those that check their arguments: all but the innermost, which others call many times over."""


def test_functions_at_the_seams_check_their_arguments() -> None:
    names = {name.rpartition(".")[2] for name in FUNCTIONS}
    assert {"request_info", "renewal_request_info", "parse_cert_request", "parse_csrattrs"} <= names
    for module in ("est_core.wires.httpmap", "est_core.wires.coapmap"):
        for name in ("check_head", "read", "write", "write_request", "read_response"):
            assert f"{module}.{name}" in FUNCTIONS


@pytest.mark.parametrize("shown", FUNCTIONS)
def test_nonsense_is_refused_by_functions_where_it_is_given(shown: str) -> None:
    function = FUNCTIONS[shown]
    parameters = inspect.signature(function).parameters.items()
    given = {name: NONSENSE for name, each in parameters if each.default is inspect.Parameter.empty}
    with pytest.raises(LocalProtocolError, match=r"must be .+, not Nonsense"):
        function(**given)


def test_an_argument_by_an_unknown_name_is_a_type_error() -> None:
    for kind in CLASSES.values():
        with pytest.raises(TypeError):
            kind(nobody_knows_this=NONSENSE)
