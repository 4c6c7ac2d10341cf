"""The options --root and --discover: where a server on CoAP has its operations."""

from __future__ import annotations

from est_core import EstUri, LocalProtocolError
from est_core.values import unchecked_value_class
from est_core.wires.coapmap import CoapPaths
from est_transports.cli.errors import CliError, ExitCode


@unchecked_value_class
class CoapPathOptions:
    """A root that was given, and whether the list of resources is asked for first."""

    root: str | None = None
    discover: bool = False


def coap_path_options(uri: EstUri, root: str | None, *, discover: bool) -> CoapPathOptions:
    """Return what the options say; CoAP's servers alone may have another root.

    Raises CliError (USAGE). RFC 9148 4.1.
    """
    if root is None and not discover:
        return CoapPathOptions()
    option = "--discover" if root is None else "--root"
    if uri.scheme != "coaps":
        raise CliError(
            f"{uri}: {option} is about coaps://",
            ExitCode.USAGE,
            "over HTTPS all servers have EST below /.well-known/est",
        )
    if root is not None and discover:
        raise CliError("--root and --discover exclude each other", ExitCode.USAGE)
    try:
        CoapPaths.below(root or "/")
    except LocalProtocolError as exc:
        raise CliError(f"--root: {exc.message}", ExitCode.USAGE) from exc
    return CoapPathOptions(root=root, discover=discover)
