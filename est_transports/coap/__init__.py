"""CoAP without I/O: messages, blocks, and both sides of an association."""
