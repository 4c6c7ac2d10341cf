"""HTTP/1.1 without I/O: messages, and both sides of a connection."""
