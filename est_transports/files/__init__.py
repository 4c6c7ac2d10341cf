"""Files on disk: whose they are, and changes that are durable. It knows no certificates."""
