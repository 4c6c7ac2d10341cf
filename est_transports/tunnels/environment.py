"""The proxy that environment variables name, for who asks for it. Nothing reads them unasked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from est_core import EstUri, LocalProtocolError
from est_core.arguments import checked
from est_transports.tunnels.proxy import Proxy

_VARIABLES: Final = {"https": ("https_proxy", "all_proxy"), "coaps": ("all_proxy",)}
"""Never http_proxy: a program that runs as CGI has it of the header `Proxy` of any request."""


@checked
def proxy_from_environment(uri: EstUri, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that `https_proxy` or `all_proxy` names, with the exceptions of `no_proxy`.

    Each may be in capitals too; in small letters it wins, and where that is empty it is as if
    there were none. A server that is excepted gets a Proxy all the same, which `is_for` others: the
    server may point to one that is not. None where no variable names a proxy. Raises
    LocalProtocolError, naming the variable, for what is no proxy.
    """
    for name in _VARIABLES[uri.scheme]:
        found, text = _variable(name, environ)
        if not text:
            continue
        try:
            proxy = Proxy.parse(text)
        except LocalProtocolError as exc:
            raise LocalProtocolError(f"{found}: {exc.message}") from exc
        exceptions = re.split(r"[,\s]+", _variable("no_proxy", environ)[1])
        return replace(proxy, exceptions=tuple(each for each in exceptions if each))
    return None


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    found = next((each for each in (name, name.upper()) if each in environ), name)
    return found, environ.get(found, "").strip()
