"""What a command makes of the certificates that came: whom it takes for their issuers."""

from __future__ import annotations

from pathlib import Path

import pytest

from est_core import Enrolled
from est_transports.cli.client.received_certificate import UNTRUSTED, Destination, checked_chain
from est_transports.cli.errors import CliError, ExitCode
from tests.pki import Authority, Subject, new_key, pki


def test_a_certificate_that_a_device_signed_is_not_of_the_ca(tmp_path: Path) -> None:
    key = new_key()
    device = pki().ca.issue(Subject(name="device", key=key)).certificate
    forged = Authority("device", key=key).issue(Subject(name="other")).certificate
    enrolled = Enrolled(certificate=forged, others=(device,))
    destination = Destination(directory=tmp_path, force=False, with_key=True)
    with pytest.raises(CliError) as caught:
        checked_chain(enrolled, destination, trusted=(pki().ca.certificate,), accept_changes=True)
    assert (caught.value.code, caught.value.error_code) == (ExitCode.REFUSED, UNTRUSTED)
    assert [path.name for path in tmp_path.iterdir()] == [destination.refused.name]
    # An anchor may be older than the extension that says what a CA is.
    assert checked_chain(enrolled, destination, trusted=(device,), accept_changes=True) == (device,)
