"""The commands of the install page that root runs, in a world of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks

AS_ROOT = [
    block.text
    for block in blocks(DOCS / "how-to" / "install.md")
    if block.verb == "not" and "test_install_page.py" in block.rest
]

WORLD = r"""
set -eu
scratch=$1 python=$2 paths=$3
# Only this process sees what is mounted from here on. The interpreter and the packages may be where
# only root can go; the user of the service finds them in places of its own.
mount -t tmpfs -o mode=755 world /opt
mkdir -p /opt/base /opt/est/bin
mount --bind "$4" /opt/base
number=0 found=
IFS=:
for path in $paths; do
    number=$((number + 1))
    mkdir "/opt/path$number"
    mount --bind "$path" "/opt/path$number"
    found="$found:/opt/path$number"
done
unset IFS
cat > /opt/est/bin/est <<END
#!/bin/sh
export PYTHONHOME=/opt/base PYTHONPATH=${found#:} PYTHONDONTWRITEBYTECODE=1
exec /opt/base/bin/$python -m est_transports "\$@"
END
chmod 755 /opt/est/bin/est
cp -a /etc "$scratch/whole-etc"
mount --bind "$scratch/whole-etc" /etc
mount -t tmpfs -o mode=755 lib /var/lib
PASSWORD=secret
hostname() { echo est.example; }
"""

CHECKS = r"""
echo == checks ==
stat -c '%U %a %n' /var/lib/est /var/lib/est/ca /var/lib/est/ca/*
runuser -u est -- /opt/est/bin/est user list /var/lib/est/ca
/opt/est/bin/est init /var/lib/est/ca --renew-server >/dev/null
stat -c '%U %a %n' /var/lib/est/ca/server-key.pem /var/lib/est/ca/est.db
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users")
def test_the_commands_that_root_runs_make_a_directory_that_is_the_services_own(
    tmp_path: Path,
) -> None:
    for program in ("unshare", "useradd", "runuser"):
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"{program} is not installed")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no world of its own can be made here")
    assert len(AS_ROOT) == 2
    packages = Path(pytest.__file__).parents[1]
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    script = WORLD + "".join(AS_ROOT) + CHECKS
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "bash", tmp_path, python,
         f"{ROOT}:{packages}", sys.base_prefix],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.partition("== checks ==\n")[2].splitlines()
    assert told[0] == "est 700 /var/lib/est"
    assert told[1] == "est 700 /var/lib/est/ca"
    assert {line.split()[0] for line in told if line.startswith(("est ", "root "))} == {"est"}
    assert "device" in told
    assert "est 600 /var/lib/est/ca/ca-key.pem" in told
    assert told[-2:] == [
        "est 600 /var/lib/est/ca/server-key.pem", "est 600 /var/lib/est/ca/est.db",
    ]  # fmt: skip
    assert "https://est.example:8443" in done.stdout
