"""Keys, certificates and trust, outside any handshake."""
