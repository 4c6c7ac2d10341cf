"""Which proxy: what its URL says, what it cannot carry, and that its login is never shown."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import EstUri, LocalProtocolError
from est_transports.client_config import ClientConfig
from est_transports.tunnels import Proxy
from tests.reached import reached, reaches

SECRET = "wasp-nest"


@pytest.mark.parametrize(
    "text, scheme, host, port, login",
    [
        ("http://proxy.example:3128", "http", "proxy.example", 3128, (None, None)),
        ("proxy.example:3128", "http", "proxy.example", 3128, (None, None)),
        (" HTTP://10.0.0.1:8080/ ", "http", "10.0.0.1", 8080, (None, None)),
        ("http://[2001:db8::1]:8080", "http", "2001:db8::1", 8080, (None, None)),
        ("http://u:p@h:1", "http", "h", 1, ("u", "p")),
        ("http://u@h:1", "http", "h", 1, ("u", None)),
        ("http://u:@h:1", "http", "h", 1, ("u", "")),
        ("http://u:a%40b%3A/c@h:1", "http", "h", 1, ("u", "a@b:/c")),
        ("http://u:a@b@h:1", "http", "h", 1, ("u", "a@b")),
        ("http://%C3%BC:%C3%A9@h:1", "http", "h", 1, ("ü", "é")),
        ("socks4://u@h:1", "socks4", "h", 1, ("u", None)),
        ("socks4a://h:1", "socks4a", "h", 1, (None, None)),
        ("socks5://u:p@h:1", "socks5", "h", 1, ("u", "p")),
        ("socks5h://h:1080", "socks5h", "h", 1080, (None, None)),
    ],
)
def test_a_url_names_a_proxy(
    text: str, scheme: str, host: str, port: int, login: tuple[str | None, str | None]
) -> None:
    proxy = Proxy.parse(text)
    assert (proxy.scheme, proxy.host, proxy.port) == (scheme, host, port)
    assert (proxy.user, proxy.password) == login
    assert str(proxy) == f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    assert ClientConfig(proxy=text).proxy == proxy  # type: ignore[arg-type]  # a natural argument


@pytest.mark.parametrize(
    "text, why",
    [
        ("https://h:1", "TLS to the proxy itself is not supported"),
        ("ftp://h:1", "begins with one of http, socks4"),
        ("http://h", "with its port"),
        ("http://h:x", "with its port"),
        ("http://h:1/path", "with its port"),
        ("http://h:1?q", "with its port"),
        ("http://h:0", "1 to 65535"),
        ("http://h:65536", "1 to 65535"),
        ("http://:1", "a name or an IP address"),
        ("http://a b:1", "a name or an IP address"),
        ("http://a\r\nb:1", "a name or an IP address"),
        ("http://2001:db8::1:80", "in brackets"),
        ("http://h%41:1", "a name or an IP address"),
        (f"http://u:{SECRET}@{'a' * 254}:1", "a name or an IP address"),
        (f"http://{SECRET}:1:2", "in brackets"),
        (f"http://u:%FF{SECRET}@h:1", "UTF-8"),
        (f"http://{'x' * 2048}:1", "too long"),
        (f"http://u:{SECRET}%0Ax@h:1", "control characters"),
        (f"http://a%3Ab:{SECRET}@h:1", "colon"),
        (f"socks4://u:{SECRET}@h:1", "no password"),
        ("socks5://u@h:1", "neither of them empty"),
        (f"socks5://:{SECRET}@h:1", "neither of them empty"),
        ("socks5://u:%C3%A9@h:1", "ASCII"),
        (f"socks5h://u:{'x' * 256}@h:1", "255"),
        ("socks4a://u%00x@h:1", "ASCII"),
    ],
)
def test_what_is_no_proxy_is_refused_without_repeating_it(text: str, why: str) -> None:
    with pytest.raises(LocalProtocolError, match=why) as caught:
        Proxy.parse(text)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown.replace(repr(text), "")
    assert SECRET not in str(caught.value)


def test_a_password_beside_the_url_is_the_users() -> None:
    assert Proxy.parse("socks5://u@h:1", password=SECRET).password == SECRET
    with pytest.raises(LocalProtocolError, match="given twice"):
        Proxy.parse("socks5://u:p@h:1", password=SECRET)
    with pytest.raises(LocalProtocolError, match="goes with a user"):
        Proxy.parse("socks5://h:1", password=SECRET)


def test_neither_the_user_nor_the_password_is_shown() -> None:
    proxy = Proxy.parse(f"http://hornet:{SECRET}@h:1")
    for shown in (repr(proxy), str(proxy), repr(ClientConfig(proxy=proxy))):
        assert SECRET not in shown
        assert "hornet" not in shown


ORIGIN = EstUri.parse("https://est.pki.example:8443")
SIX = EstUri.parse("https://[2001:db8::7]:443")
FOUR = EstUri.parse("https://10.1.2.3")


@pytest.mark.parametrize(
    "entry, uri, excepted",
    [
        ("*", ORIGIN, True),
        ("est.pki.example", ORIGIN, True),
        ("EST.PKI.Example.", ORIGIN, True),
        ("pki.example", ORIGIN, True),
        (".pki.example", ORIGIN, True),
        ("*.pki.example", ORIGIN, True),
        ("example", ORIGIN, True),
        ("ki.example", ORIGIN, False),
        ("st.pki.example", ORIGIN, False),
        ("a.est.pki.example", ORIGIN, False),
        ("pki.example:8443", ORIGIN, True),
        ("pki.example:443", ORIGIN, False),
        ("*:8443", ORIGIN, True),
        ("*:1", ORIGIN, False),
        (".", ORIGIN, False),
        ("*.", ORIGIN, False),
        ("", ORIGIN, False),
        ("10.0.0.0/8", ORIGIN, False),
        ("10.0.0.0/8", FOUR, True),
        ("10.1.2.3", FOUR, True),
        ("10.1.2.3:443", FOUR, True),
        ("10.1.2.3:444", FOUR, False),
        ("10.1.2.4", FOUR, False),
        ("2.3", FOUR, False),
        (".2.3", FOUR, False),
        ("10.0.0.0/99", FOUR, False),
        ("0.0.0.0/0", SIX, False),
        ("2001:db8::7", SIX, True),
        ("2001:0DB8:0::0007", SIX, True),
        ("[2001:db8::7]", SIX, True),
        ("[2001:db8::7]:443", SIX, True),
        ("[2001:db8::7]:444", SIX, False),
        ("2001:db8::/32", SIX, True),
        ("2001:db9::/32", SIX, False),
    ],
)
def test_an_exception_is_about_a_host_and_those_below_it(
    entry: str, uri: EstUri, excepted: bool
) -> None:
    proxy = Proxy(scheme="http", host="h", port=1, exceptions=("other.invalid", entry))
    assert proxy.is_for(uri) is not excepted
    assert ClientConfig(proxy=proxy).proxy_for(uri) is (None if excepted else proxy)


def test_without_exceptions_it_is_for_all() -> None:
    assert Proxy(scheme="http", host="h", port=1).is_for(ORIGIN)
    assert ClientConfig().proxy_for(ORIGIN) is None


URL = (
    r"(socks5h?|socks4a?|http)://([a-z]{1,3}(:[a-z%]{0,5})?@)?[a-z]{1,9}(\.[a-z]{1,3})?:[0-9]{1,5}"
)


@reaches(parsed=15)
@given(
    text=st.one_of(
        st.text(max_size=40),
        st.from_regex(URL, fullmatch=True),
    )
)
def test_a_text_is_a_proxy_or_refused(text: str) -> None:
    try:
        proxy = Proxy.parse(text)
    except LocalProtocolError:
        return
    reached("parsed")
    assert Proxy.parse(str(proxy)) == Proxy(scheme=proxy.scheme, host=proxy.host, port=proxy.port)


ENTRY = r"(\*|\[?[0-9a-f:.]{1,12}\]?(/[0-9]{1,3})?|\.?(pki\.)?example)(:(8443|443|[0-9]{1,5}))?"


@reaches(excepted=5)
@given(entry=st.one_of(st.text(max_size=30), st.from_regex(ENTRY, fullmatch=True)))
def test_no_exception_breaks_the_proxy(entry: str) -> None:
    proxy = Proxy(scheme="http", host="h", port=1, exceptions=(entry,))
    for uri in (ORIGIN, FOUR, SIX):
        if not proxy.is_for(uri):
            reached("excepted")
