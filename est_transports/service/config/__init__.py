"""The configuration of a server: est.toml as values."""
