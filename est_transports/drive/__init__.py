"""What serving a request and driving a client exchange come down to on every wire."""
