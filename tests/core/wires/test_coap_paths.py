"""Where a server has its operations, by the list of its resources: read, chosen, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    EstUri,
    Label,
    LocalProtocolError,
    RemoteProtocolError,
    Request,
)
from est_core.wires.coapmap import (
    CoapPaths,
    Code,
    ContentFormat,
    ResponseHead,
    discovery_request,
    read_discovery,
    write_request,
)
from est_core.wires.coapmap.link_format import MAX_ATTRIBUTES, MAX_LINKS, CoreLink, read_links
from est_core.wires.coapmap.paths import MAX_PATH_BYTES, MAX_SEGMENTS
from tests.damage import damaged
from tests.reached import reached, reaches, refusals

URI = EstUri.parse("coaps://est.example")
LIST = ResponseHead(code=Code.CONTENT, content_format=ContentFormat.LINK_FORMAT)
USUAL = (".well-known", "est")


def found(text: str, label: str | None = None, uri: EstUri = URI) -> CoapPaths:
    """Return where the operations are by that list."""
    return read_discovery(LIST, text.encode(), uri, Label(label) if label else None)


def refused(text: str, code: str = "coap/no-est") -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        found(text)
    assert caught.value.code == code


# Link format.


def a_link(*types: str) -> CoreLink:
    return CoreLink(target="/a", resource_types=types)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("", ()),
        ("</a>", (a_link(),)),
        ('</a>;rt="x y";ct=40,</b>;obs', (a_link("x", "y"), CoreLink(target="/b"))),
        ('</a>;title="a \\"b\\", <c>;rt=no";rt=yes', (a_link("yes"),)),
        ("</a>;rt=x;rt=y", (a_link("x"),)),
        ('</a> ; RT = "x" ,\r\n </b>', (a_link("x"), CoreLink(target="/b"))),
        ('</a>;ct="281 287";title*=UTF-8\'\'%e2%82%ac', (a_link(),)),
        ("<>", (CoreLink(target=""),)),
        ("</a>,", (a_link(),)),
    ],
)  # fmt: skip
def test_links_are_read_with_their_resource_types(text: str, links: tuple[CoreLink, ...]) -> None:
    assert read_links(text.encode()) == links


@pytest.mark.parametrize(
    "raw",
    [
        b"/a",
        b"</a",
        b"</a>;rt=",
        b'</a>;rt="x',
        b"</a>;rt=x y",
        b"</a>;;",
        b"<a b>",
        b"\xff",
        b",,",
    ],
)
def test_what_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_links(raw)
    assert caught.value.code == "coap/link-format"


def test_links_and_attributes_are_bounded() -> None:
    assert len(read_links(b",".join([b"</a>"] * MAX_LINKS))) == MAX_LINKS
    assert read_links(b"</a>" + b";x" * MAX_ATTRIBUTES)
    for raw in (b",".join([b"</a>"] * (MAX_LINKS + 1)), b"</a>" + b";x" * (MAX_ATTRIBUTES + 1)):
        with pytest.raises(RemoteProtocolError):
            read_links(raw)


PIECES = ["<", ">", "/est", "/crts", ";", ",", "rt", "=", '"', "\\", "%2e", "//", "é", " "]
TARGETS = ["/est/crts", "/a/sen", "/sren", "/%65st/att", "//est.example/est/skg", "/..", "/x", "/é"]
RESOURCE_TYPES = [";rt=ace.est.crts", ';rt="ace.est.sen x"', ";rt=", "", "", ";rt"]
ATTRIBUTES = [";ct=281", ';title="a,b"', ';x="\\""', ";y", "", ""]
LINKS = st.builds(
    lambda target, *attributes: f"<{target}>" + "".join(attributes),
    st.sampled_from(TARGETS),
    st.sampled_from(RESOURCE_TYPES),
    st.sampled_from(ATTRIBUTES),
)


@reaches(accepted=15)
@given(
    st.lists(LINKS, min_size=1, max_size=4).map(",".join)
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
)
def test_no_list_raises_anything_else_or_leads_to_no_path(text: str) -> None:
    try:
        paths = found(text)
    except RemoteProtocolError:
        return
    reached("accepted")
    for operation in OPERATIONS:
        path = paths.path(operation, None)
        assert path
        assert ".." not in path
        write_request(Request(operation=operation, payload=b""), URI, paths=paths)


GOOD_LISTS = (
    b'</est/crts>;rt="ace.est.crts";ct="281 287",</est/sen>;rt="ace.est.sen";ct="281 287"',
    b'<coaps://est.example:61617/est/att>;rt="ace.est.att";ct=285',
    b'</x>,</.well-known/est/sren>;rt="ace.est.sren a.b";title="a\\"b"',
)


@reaches(read=12, accepted=3)
@given(damaged(GOOD_LISTS))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with refusals("coap/link-format"):
        read_discovery(LIST, raw, URI)


# Choosing.


@pytest.mark.req("COAPS-005")
@pytest.mark.parametrize(
    ("text", "root"),
    [
        ('</.well-known/est/crts>;rt="ace.est.crts";ct="281 287"', USUAL),
        ('</est/crts>;rt="ace.est.crts";ct="281 287",</est/sen>;rt="ace.est.sen"', ("est",)),
        ('</est/skg>;rt="ace.est.skg"', ("est",)),
        ('</est/crts>;rt="certificate"', ("est",)),
        ("</sensors/temp>;rt=temperature,</a/b/sren>", ("a", "b")),
        ("</sensors/att>,</est/att>,</est/crts>,</est/sen>", ("est",)),
        ("</est/crts>,</est/web/crts>", ("est",)),
        ("<est/crts>", ("est",)),
        ("<coaps://est.example/est/crts>", ("est",)),
        ("<coaps://EST.example:5684/est/crts>", ("est",)),
        ("<//est.example/est/crts>", ("est",)),
        ("</%65st/crts>", ("est",)),
        ("</crts>,</sen>", ()),
    ],
)
def test_the_root_is_found(text: str, root: tuple[str, ...]) -> None:
    paths = found(text)
    assert paths.root == root
    assert paths.path(SIMPLEENROLL, None) == (*root, "sen")


def test_a_resource_type_names_any_path() -> None:
    paths = found('</c>;rt="x ace.est.crts",</e>;rt=ace.est.sen,</est/att>;rt=thing')
    assert paths.path(CACERTS, None) == ("c",)
    assert paths.path(SIMPLEENROLL, None) == ("e",)
    assert paths.path(SIMPLEREENROLL, None) == ("est", "sren")


def test_of_several_places_of_a_type_the_shortest_counts_then_the_first() -> None:
    text = '</a/x/crts>;rt="ace.est.crts",</b/crts>;rt="ace.est.crts",</c/crts>;rt="ace.est.crts"'
    assert found(text).path(CACERTS, None) == ("b", "crts")


@pytest.mark.parametrize(
    "text",
    [
        "</est/crts>,</est/web/crts>",
        "</est/web/crts>;rt=ace.est.crts,</est/crts>;rt=ace.est.crts",
        "</est/web/sen>;rt=ace.est.sen",
        "</est/crts>",
    ],
)
def test_a_label_stands_behind_the_root(text: str) -> None:
    paths = found(text, "web")
    assert paths.path(SIMPLEENROLL, Label("web")) == ("est", "web", "sen")


def test_with_a_label_the_places_of_others_do_not_count() -> None:
    text = "</x>;rt=ace.est.crts,</y/web>;rt=ace.est.crts,</z/web/q>;rt=ace.est.crts"
    paths = found(text, "web")
    assert paths.path(CACERTS, Label("web")) == ("z", "web", "q")
    plain = found("</crts>,</sen>", "web")
    assert plain.path(SIMPLEENROLL, Label("web")) == ("web", "sen")


def test_only_what_lies_elsewhere_is_kept_apart() -> None:
    text = "</est/crts>;rt=ace.est.crts,</est/sen>;rt=ace.est.sen,</a>;rt=ace.est.att"
    assert found(text) == CoapPaths(root=("est",), others={"att": ("a",)})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "</sensors/temp>;rt=temperature",
        "<coaps://other.example/est/crts>;rt=ace.est.crts",
        "<coaps://est.example:5685/est/crts>;rt=ace.est.crts",
        "<coap://est.example/est/crts>;rt=ace.est.crts",
        "<https://est.example/est/crts>;rt=ace.est.crts",
        "<//other.example/est/crts>;rt=ace.est.crts",
        "<coaps://est.example@other.example/est/crts>",
        "</est/../crts>",
        "</est/%2e%2e/crts>",
        "</est/crts?x=1>;rt=ace.est.crts",
        "</est//crts>",
        "</est/%ff/crts>",
        "</" + "a/" * 9 + "crts>",
        "</" + "a" * 256 + "/crts>",
        "</" + ("a" * 100 + "/") * 3 + "crts>",
        "</x>;rt=ace.est.other",
        "</x>;rt=crts",
        "</>",
        "<>;rt=ace.est.crts",
    ],
)
def test_what_is_elsewhere_or_no_path_of_est_does_not_count(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "head",
    [
        ResponseHead(code=Code.NOT_FOUND),
        ResponseHead(code=Code.CONTENT, content_format=0),
        ResponseHead(code=Code.CHANGED, content_format=ContentFormat.LINK_FORMAT),
    ],
)
def test_an_answer_that_is_no_list_names_nothing(head: ResponseHead) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_discovery(head, b"</est/crts>", URI)
    assert caught.value.code == "coap/no-est"


def test_the_list_is_asked_for_as_a_whole() -> None:
    head = discovery_request(URI)
    assert (head.code, head.path, head.query) == (Code.GET, (".well-known", "core"), ())
    assert (head.accept, head.host) == (ContentFormat.LINK_FORMAT, "est.example")
    assert discovery_request(EstUri.parse("coaps://[2001:db8::1]")).host is None


# A root that is given.


@pytest.mark.parametrize(
    ("text", "root"), [("/est", ("est",)), ("/a/b/", ("a", "b")), ("/", ()), ("/%65st", ("est",))]
)
def test_a_root_is_written_as_a_path(text: str, root: tuple[str, ...]) -> None:
    assert CoapPaths.below(text).root == root


@pytest.mark.parametrize(
    "text", ["", "est", "/a//b", "/a?b", "/a#b", "/a b\n", "/..", "/a/./b", "/" + "x" * 300]
)
def test_what_is_no_path_is_no_root(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        CoapPaths.below(text)


def test_a_root_may_have_as_many_segments_and_bytes_as_a_path() -> None:
    for root in (("a",) * MAX_SEGMENTS, ("a" * (MAX_PATH_BYTES - 1),)):
        assert CoapPaths(root=root).root == root
        with pytest.raises(LocalProtocolError):
            CoapPaths(root=(*root, "a"))


def test_a_root_that_no_request_can_have_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        CoapPaths(root=("a" * MAX_PATH_BYTES,))
    with pytest.raises(LocalProtocolError):
        CoapPaths(others={"crts": ("", "crts")})
