"""PKCS#11 modules: which one to load, and the one thread from which it is called.

A module is a shared library of the token's maker, and python-pkcs11 tells it that this program
calls it from one thread at a time (C_Initialize without locks). So each module has a thread of its
own here. That also bounds how long a token is waited for: a call into a module cannot be taken
back, but whoever waits for it can go on. Until it has returned, the module is busy for everybody.

A process that forks has to open its tokens after the fork.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from est_transports.pki.pkcs11_uri import Pkcs11Uri, TokenError

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - it is a class

T = TypeVar("T")

ANSWER_S: Final = 60.0
"""How long a token may take: a person may have to touch it, an RSA key to be found."""

MODULE_VARIABLE: Final = "PKCS11_MODULE_PATH"
"""The variable of the environment that names the module where the URI does not."""

_DIRECTORIES: Final = tuple(
    directory.format(os.uname().machine)
    for directory in ("/usr/lib/{}-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
)
_FOLDERS: Final = ("", "pkcs11", "softhsm")
_FORMS: Final = ("lib{}.so", "{}.so", "{}-pkcs11.so", "lib{}-pkcs11.so")
_ALL_TOKENS: Final = "p11-kit-proxy"

MISSING_EXTRA: Final = "token/missing-extra"
NO_MODULE: Final = "token/no-module"
SLOW: Final = "token/slow"


class TokenThread:
    """A thread that does one thing after the other, and is waited for no longer than said."""

    def __init__(self, module: Path) -> None:
        self._name = f"token: {module.name}"
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._overdue: Future[Any] | None = None
        self._started = False

    def call(self, function: Callable[[], T], timeout_s: float, what: str) -> T:
        """Return what the function returns, called in the thread. Raises what it raises.

        Raises TokenError token/slow if that takes longer, and at once while an earlier call that
        took longer has not come back.
        """
        with self._lock:
            if not self._started:
                # A daemon: what hangs in a module is not waited for when the program ends.
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._started = True
            if self._overdue is not None and not self._overdue.done():
                raise TokenError(SLOW, f"{what}: still busy with what it was asked before")
            future: Future[T] = Future()
            self._jobs.put(lambda: _fulfil(future, function))
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            if future.done():  # the function itself has raised it
                raise
            if not future.cancel():
                with self._lock:
                    self._overdue = future
            raise TokenError(SLOW, f"{what}: no answer within {timeout_s:g} seconds") from None

    def _run(self) -> None:
        while True:
            self._jobs.get()()


def _fulfil(future: Future[T], function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as exc:  # noqa: BLE001 - whoever waits gets it
        future.set_exception(exc)


@cache
def thread_of(module: Path) -> TokenThread:
    """Return the one thread from which a module is called."""
    return TokenThread(module)


def module_of(uri: Pkcs11Uri, environ: Mapping[str, str]) -> Path:
    """Return the module that a URI names, else the one of the environment, else of p11-kit.

    A module-path that is a directory has the module called module-name in it. Links are followed:
    a library that is loaded under two names is initialised twice, and fails. Raises TokenError
    token/no-module.
    """
    return _module_of(uri, environ).resolve()


def _module_of(uri: Pkcs11Uri, environ: Mapping[str, str]) -> Path:
    if uri.module_path is not None:
        path = _absolute(uri.module_path, "module-path")
        if path.is_dir():
            return _named(uri.module_name, (path,), f"module-path={path} is a directory")
        return path
    if uri.module_name is not None:
        return _named(uri.module_name, _usual_places(), "the usual directories were looked at")
    if given := environ.get(MODULE_VARIABLE):
        return _absolute(given, MODULE_VARIABLE)
    return _named(_ALL_TOKENS, _usual_places(), f"neither the URI nor {MODULE_VARIABLE} names one")


def load_module(path: Path) -> Library:
    """Return the module, loaded and initialised. In its thread only. Raises TokenError."""
    try:
        import pkcs11
    except ImportError:
        raise TokenError(
            MISSING_EXTRA,
            "a key in a token needs python-pkcs11: pip install 'est-sansio[client,pkcs11]'",
        ) from None
    _check_owner(path)
    try:
        return pkcs11.lib(str(path))
    except pkcs11.PKCS11Error as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise TokenError(
            NO_MODULE, f"{path}: cannot be loaded as a PKCS#11 module: {reason}"
        ) from exc


def _check_owner(path: Path) -> None:
    """Refuse what somebody else could have put there: it would run as we do. Raises TokenError.

    A URI may come from a file of another user, `key.uri` say, and root may be given that.
    """
    if not path.is_file():
        raise TokenError(NO_MODULE, f"{path}: there is no such PKCS#11 module")
    for each in (path, path.parent):
        about = each.stat()
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o002:
            raise TokenError(
                NO_MODULE, f"{path}: is not loaded: others than root and you may change {each}"
            )


def _usual_places() -> tuple[Path, ...]:
    return tuple(Path(each, folder) for each in _DIRECTORIES for folder in _FOLDERS)


def _named(name: str | None, places: tuple[Path, ...], why: str) -> Path:
    if name is None:
        raise TokenError(NO_MODULE, f"{why}, and the URI has no module-name")
    if "/" in name or "\0" in name:
        raise TokenError(NO_MODULE, "module-name is a path: that is what module-path is for")
    forms = [form.format(name.lower()) for form in _FORMS]
    for place in places:
        for form in forms:
            if (found := place / form).is_file():
                return found
    raise TokenError(NO_MODULE, f"there is no PKCS#11 module called {name}: {why}")


def _absolute(text: str, where: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise TokenError(NO_MODULE, f"{where} is no absolute path")
    return path
