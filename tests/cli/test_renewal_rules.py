"""`est serve` with two workers: of enrollments for one name at once one is served."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from est_transports import _clock
from est_transports.service.initialisation import CaSpec, initialise
from tests.cli.serve_process import PASSWORD, USER, request, serving
from tests.cli.test_serve import add_user
from tests.docs.toml_edit import edited

CONFIG = """\
[server]
workers = 2
[profiles.client]
certificates_per_name = 1
same_key_renewals = 0
"""
CLIENTS = 4


def test_of_enrollments_for_one_name_at_two_workers_one_is_served(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), CONFIG), "utf-8")
    add_user(directory, USER, PASSWORD)
    with serving(directory) as server:
        begin = threading.Barrier(CLIENTS, timeout=20)
        answers: list[tuple[int, bytes]] = []

        def enroll() -> None:
            connection, body = server.connect(), request(USER)
            begin.wait()
            answers.append(connection.ask("simpleenroll", body, f"{USER}:{PASSWORD}"))
            connection.close()

        clients = [threading.Thread(target=enroll) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(20)
    statuses = sorted(status for status, _ in answers)
    assert statuses == [200, *[403] * (CLIENTS - 1)]
    refusals = [body for status, body in answers if status == 403]
    assert all(re.search(rb"\(code names/full, refusal \w{10}\)", body) for body in refusals)
