"""`est serve` where the system lets it open few files."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from est_transports.daemon.file_limit import raise_file_limit
from tests.cli.serve_process import serving
from tests.cli.test_staying_up import made, status

LIMITED = (
    "-c",
    "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
    "from est_transports.cli import main; sys.exit(main())",
    "serve",
)


@pytest.mark.parametrize("hard", [4096, 200])
def test_as_many_files_are_allowed_as_connections_need_or_it_is_said(
    hard: int, tmp_path: Path
) -> None:
    ca = made(tmp_path / "ca")
    (ca / "est.toml").write_text("[server]\nconnections_max = 1000\nhalf_open_max = 24\n")
    command = tuple(each.format(soft=96, hard=hard) for each in LIMITED)
    with serving(ca, command=command) as server:
        allowed = min(hard, 1024 + 64)
        assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (allowed, hard)
        assert status(server, "cacerts") == 200
    said = [line for line in server.log if "files may be open" in line]
    assert len(said) == (hard < 1024)
    assert all("only 200 files may be open: 1024 connections need 1088" in line for line in said)


@pytest.mark.parametrize(
    ("before", "allowed", "after"),
    [
        ((1024, 4096), 2000, (2000, 4096)),
        ((1024, 1500), 1500, (1500, 1500)),
        ((1024, resource.RLIM_INFINITY), 2000, (2000, resource.RLIM_INFINITY)),
        ((2048, 4096), 2000, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 2000, None),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, int],
    allowed: int,
    after: tuple[int, int] | None,
) -> None:
    asked = list[tuple[int, int]]()
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert raise_file_limit(2000) == allowed
    assert asked == ([] if after is None else [after])
