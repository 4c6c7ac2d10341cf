"""TOML files, read key by key so that nothing in them goes unnoticed."""
