"""The server's side of the protocol: one request in, one response out."""
