"""The commands of who runs a CA: init, serve, user, certs."""
