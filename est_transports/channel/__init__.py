"""TLS and DTLS without I/O: engines, their contexts, and the facts of a channel for the core."""
