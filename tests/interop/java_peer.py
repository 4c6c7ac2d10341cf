"""Bouncy Castle's EST client, driven by java/EstPeer.java, which is compiled on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.conftest import PeerFinder
from tests.deployment import Deployment
from tests.programs import Ended, run

SOURCE: Final = Path(__file__).with_name("java") / "EstPeer.java"
JARS: Final = tuple(
    f"/usr/share/java/{name}.jar" for name in ("bcprov", "bcpkix", "bcutil", "bctls")
)
# A program that runs for half a second gains nothing from an optimizing compiler.
QUICK_START: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

TLS_1_3: Final = ("provider=SunJSSE", "tls=TLSv1.3")
TLS_1_2: Final = ("provider=SunJSSE", "tls=TLSv1.2")
OWN_TLS: Final = ("provider=BCJSSE", "tls=TLSv1.2")
"""Bouncy Castle's own TLS, the only one in Java that tells the channel binding."""


class BouncyCastle:
    """The client, trusting a deployment's CA."""

    def __init__(
        self, peer: PeerFinder, deployment: Deployment, classes: Path, directory: Path
    ) -> None:
        self.program = peer("java")
        self.deployment = deployment
        self.directory = directory
        self._path = ":".join([*(peer(jar) for jar in JARS), str(classes)])
        if not any(classes.iterdir()):
            _compile(peer("javac"), self._path, classes)

    def run(self, operation: str, *options: str) -> Ended:
        """Run one operation; options are those of EstPeer.java."""
        return run(
            self.program,
            *QUICK_START,
            *("-classpath", self._path, "EstPeer", operation),
            *("host=localhost", f"port={self.deployment.port}"),
            f"trust={self.deployment.ca_file}",
            *options,
            directory=self.directory,
        )


def _compile(javac: str, path: str, classes: Path) -> None:
    quickly = [f"-J{option}" for option in QUICK_START]
    run(javac, *quickly, "-d", str(classes), "-classpath", path, str(SOURCE)).checked()
