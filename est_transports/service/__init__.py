"""A server made of a configuration: read, loaded, run, watched."""
