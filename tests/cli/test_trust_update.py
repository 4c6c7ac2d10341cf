"""est cacerts --update: a file of trust anchors follows its CA, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.cli.canned import CannedServer, canned_server
from tests.core.trust.cast import Ca, certificate, link, root
from tests.pki import HOUR_AGO, IN_TEN_YEARS, SERVER_AUTH, pki

ROOT = pki().ca.certificate
OLD = Ca(name="Test EST CA", begin=HOUR_AGO, end=IN_TEN_YEARS, key=pki().ca.key)  # type: ignore[arg-type]
NEW = replace(OLD, begin=HOUR_AGO + timedelta(minutes=1), key=Ca().key)
NEW_ROOT, LINK = root(NEW), link(NEW, OLD)
BAG = (ROOT, NEW_ROOT, LINK, link(OLD, NEW))


class Updating:
    """A file of trust anchors, and the command that has it follow its CA."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], directory: Path, server: CannedServer
    ) -> None:
        self._capsys = capsys
        self.server = server
        self.file = directory / "trust.pem"
        self.dates = directory / "trust.pem.dates"
        self.file.write_bytes(ROOT.public_bytes(Encoding.PEM))
        self.server.application.ca_certificates = BAG

    def run(self, *options: str | Path) -> tuple[int, str, str]:
        arguments = ["cacerts", self.server.url, "--trust", self.file, "--update", *options]
        code = main(list(map(str, arguments)))
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    @property
    def trusted(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.file.read_bytes())


@pytest.fixture
def updating(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Updating]:
    with canned_server() as server:
        yield Updating(capsys, tmp_path, server)


def sha256(of: x509.Certificate) -> str:
    return of.fingerprint(hashes.SHA256()).hex(":").upper()


@pytest.mark.req("EST-122", "EST-130")
def test_a_new_root_is_added_and_it_is_said_by_which_link(updating: Updating) -> None:
    code, out, err = updating.run()
    assert code == 0, err
    assert updating.trusted == [ROOT, NEW_ROOT]
    assert f"trusting CN=Test EST CA SHA-256 {sha256(NEW_ROOT)}, by its link certificate" in err
    assert sha256(LINK) in err
    assert f"from CN=Test EST CA SHA-256 {sha256(ROOT)}" in err
    assert [line.split("\t")[-1] for line in out.splitlines()] == [sha256(ROOT), sha256(NEW_ROOT)]


def test_a_second_time_nothing_changes_and_nothing_is_written(updating: Updating) -> None:
    updating.run()
    before = [path.stat().st_ino for path in (updating.file, updating.dates)]
    code, _, err = updating.run()
    assert (code, err) == (0, "")
    assert [path.stat().st_ino for path in (updating.file, updating.dates)] == before


@pytest.mark.req("EST-129", "EST-130")
def test_a_root_without_a_link_is_refused_with_its_code_and_the_file_is_left_alone(
    updating: Updating,
) -> None:
    updating.server.application.ca_certificates = (ROOT, NEW_ROOT)
    before = updating.file.read_bytes()
    code, _, err = updating.run()
    assert code == 0
    assert f"not trusted: CN=Test EST CA SHA-256 {sha256(NEW_ROOT)}: the answer has no link" in err
    assert "[trust/no-link]; add the link certificate (NewWithOld" in err
    assert updating.file.read_bytes() == before


def test_json_has_all_that_happened(updating: Updating) -> None:
    stranger = root(Ca(name="Stranger", begin=HOUR_AGO, end=IN_TEN_YEARS))
    alone = link(replace(NEW, key=Ca().key), OLD)
    updating.server.application.ca_certificates = (*BAG, stranger, alone)
    found = json.loads(updating.run("--json")[1])
    assert [each["sha256"] for each in found["trusted"]] == [sha256(ROOT), sha256(NEW_ROOT)]
    assert found["trusted"][0]["drop_after"] is not None
    assert found["trusted"][1]["superseded_at"] is None
    (added,) = found["added"]
    assert (added["link_sha256"], added["from_sha256"]) == (sha256(LINK), sha256(ROOT))
    codes = {each["code"]: each["sha256"] for each in found["refused"]}
    assert codes == {"trust/no-link": sha256(stranger), "trust/link-alone": sha256(alone)}


def test_an_old_root_goes_after_its_days_but_not_while_the_server_hangs_on_it(
    updating: Updating, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    updating.run("--keep-old-days", "0")
    assert updating.trusted == [ROOT, NEW_ROOT], "the server's own certificate hangs on it"
    updating.run("--keep-old-days", "0")
    assert updating.trusted == [ROOT, NEW_ROOT]
    below = replace(Ca(), name="127.0.0.1", begin=HOUR_AGO, is_ca=False, cert_sign=None)
    key = pki().server.key
    named = replace(
        below,
        key=key,  # type: ignore[arg-type]
        extra=(
            (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
            (x509.ExtendedKeyUsage([SERVER_AUTH]), False),
        ),
    )
    identity = replace(pki().server, certificate=certificate(named, NEW))
    identity = replace(identity, chain=(identity.certificate,))
    with canned_server(identity=identity) as server:
        server.application.ca_certificates = BAG
        url = server.url.replace("127.0.0.1", "localhost")
        arguments = ["cacerts", url, "--trust", str(updating.file), "--update"]
        assert main(arguments) == 0
        err = capsys.readouterr().err
        assert f"trusting no more CN=Test EST CA SHA-256 {sha256(ROOT)}" in err
        assert main(arguments) == 0
        assert capsys.readouterr().err == "", "its former root is nothing to tell of every day"
    assert updating.trusted == [NEW_ROOT]


def test_a_root_of_another_name_takes_an_option(updating: Updating) -> None:
    renamed = replace(NEW, name="Test EST CA G2")
    updating.server.application.ca_certificates = (root(renamed), link(renamed, OLD))
    assert "[trust/renamed]" in updating.run()[2]
    assert updating.trusted == [ROOT]
    updating.run("--allow-renamed")
    assert updating.trusted == [ROOT, root_in(updating, "Test EST CA G2")]


def root_in(updating: Updating, name: str) -> x509.Certificate:
    (found,) = (each for each in updating.trusted if each.subject.rfc4514_string() == f"CN={name}")
    return found


def test_a_renewed_root_takes_the_place_of_the_old_one(updating: Updating) -> None:
    renewed = root(replace(OLD, begin=HOUR_AGO + timedelta(minutes=2)))
    updating.server.application.ca_certificates = (renewed,)
    assert "by a new certificate of its own key" in updating.run()[2]
    assert updating.trusted == [renewed]


@pytest.mark.parametrize("text", ["{", "", "x" * 70_000, "\xff"])
def test_dates_that_cannot_be_read_begin_anew(updating: Updating, text: str) -> None:
    updating.dates.write_text(text, "latin-1")
    code, _, err = updating.run()
    assert code == 0
    assert ("its dates begin anew" in err) == bool(text)
    assert updating.trusted == [ROOT, NEW_ROOT]


def test_more_anchors_than_anybody_follows_are_told(updating: Updating) -> None:
    many = [root(Ca(name=f"Root {n}", begin=HOUR_AGO)) for n in range(64)]
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in (ROOT, *many))
    updating.file.write_bytes(pem)
    code, _, err = updating.run()
    assert (code, "at most 64 trust anchors" in err) == (5, True)
    assert updating.file.read_bytes() == pem


def test_dates_that_are_a_directory_are_told(updating: Updating) -> None:
    updating.dates.mkdir()
    code, _, err = updating.run()
    assert (code, "trust.pem.dates: cannot be read" in err) == (5, True)
    assert updating.trusted == [ROOT]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--update", "--fingerprint", "00" * 32), "--update goes with --trust"),
        (("--update", "--trust", "{file}", "--out", "."), "--update goes without --out"),
        (("--update", "--trust", "{file}", "--pem"), "--update goes without --out"),
        (("--trust", "{file}", "--keep-old-days", "3"), "go with --update"),
        (("--trust", "{file}", "--allow-renamed"), "go with --update"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    updating: Updating, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    given = [each.format(file=updating.file) for each in options]
    assert main(["cacerts", updating.server.url, *given]) == 2
    assert said in capsys.readouterr().err
    assert updating.server.connections == 0


def test_by_a_clock_that_is_unset_the_newest_that_is_verified_counts(updating: Updating) -> None:
    floor = f"{IN_TEN_YEARS - timedelta(days=3000):%Y-%m-%d}"
    code, _, err = updating.run("--clock-floor", floor)
    assert code == 0, err
    assert updating.trusted == [ROOT, NEW_ROOT]
