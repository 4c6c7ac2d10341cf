"""PKCS#11 modules: which one is loaded, and that nobody waits for one for ever."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from est_transports.pki import Pkcs11Uri, TokenError
from est_transports.pki.token_modules import TokenThread, load_module, module_of, thread_of

NAME = "libtoken.so"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.touch()
    return path


def refused(uri: Pkcs11Uri, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(TokenError) as caught:
        module_of(uri, environ or {})
    assert caught.value.code == "token/no-module"
    return caught.value.message


def test_the_uri_names_the_module(module: Path) -> None:
    environ = {"PKCS11_MODULE_PATH": "/other.so"}
    assert module_of(Pkcs11Uri(module_path=str(module)), environ) == module
    assert module_of(Pkcs11Uri(), environ) == Path("/other.so")


def test_a_directory_has_the_module_of_that_name(module: Path) -> None:
    directory = str(module.parent)
    found = module_of(Pkcs11Uri(module_path=directory, module_name="Token"), {})
    assert found == module
    assert "has no module-name" in refused(Pkcs11Uri(module_path=directory))
    assert "no PKCS#11 module called other" in refused(
        Pkcs11Uri(module_path=directory, module_name="other")
    )


def test_one_file_under_two_names_is_one_module(module: Path) -> None:
    link = module.with_name("link.so")
    link.symlink_to(module)
    assert module_of(Pkcs11Uri(module_path=str(link)), {}) == module
    assert thread_of(module) is thread_of(module)


@pytest.mark.parametrize(
    "uri, environ",
    [
        (Pkcs11Uri(module_path="lib.so"), {}),
        (Pkcs11Uri(module_path="/a\0b"), {}),
        (Pkcs11Uri(), {"PKCS11_MODULE_PATH": "lib.so"}),
        (Pkcs11Uri(module_name="../lib"), {}),
        (Pkcs11Uri(module_name="there-is-none"), {}),
    ],
)
def test_what_names_no_file_is_refused(uri: Pkcs11Uri, environ: dict[str, str]) -> None:
    refused(uri, environ)


def test_what_cannot_be_loaded_is_refused_with_the_reason(module: Path) -> None:
    pytest.importorskip("pkcs11")
    for path, reason in ((module.with_name("missing.so"), "there is no such"), (module, "loaded")):
        with pytest.raises(TokenError, match=reason) as caught:
            load_module(path)
        assert caught.value.code == "token/no-module"


def test_what_somebody_else_may_change_is_not_loaded(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pkcs11")
    for each in (module, module.parent):
        mode = each.stat().st_mode
        each.chmod(mode | 0o002)
        with pytest.raises(
            TokenError, match=f"others than root and you may change {each}$"
        ) as caught:
            load_module(module)
        assert caught.value.code == "token/no-module"
        each.chmod(mode)
    about = module.stat()
    theirs = os.stat_result((about.st_mode, 1, 1, 1, 4711, *about[5:10]))
    monkeypatch.setattr(Path, "stat", lambda _path, **_more: theirs)
    with pytest.raises(TokenError, match="others than root and you"):
        load_module(module)


def test_without_the_extra_it_is_said_how_to_install_it(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(TokenError, match=r"pip install 'est-sansio\[client,pkcs11\]'") as caught:
        load_module(module)
    assert caught.value.code == "token/missing-extra"


def test_calls_are_made_in_one_thread_and_their_errors_come_back() -> None:
    thread = TokenThread(Path("/m.so"))
    names = {thread.call(lambda: threading.current_thread().name, 60, "it") for _ in range(3)}
    assert names == {"token: m.so"}
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0, 60, "it")
    with pytest.raises(TimeoutError, match="of its own"):
        thread.call(lambda: (_ for _ in ()).throw(TimeoutError("of its own")), 60, "it")


def test_a_token_that_does_not_answer_is_waited_for_no_longer_than_said() -> None:
    thread, ready = TokenThread(Path("/m.so")), threading.Event()
    for reason in (r"no answer within 0\.01 seconds", "still busy"):
        with pytest.raises(TokenError, match=f"the token: {reason}") as caught:
            thread.call(ready.wait, 0.01, "the token")
        assert caught.value.code == "token/slow"
    ready.set()
    assert answer_of(thread) == 7, "it goes on once the module has come back"


def answer_of(thread: TokenThread) -> int:
    """Return 7, as soon as the thread is there to say so."""
    while True:
        try:
            return thread.call(lambda: 7, 60, "the token")
        except TokenError:
            os.sched_yield()
