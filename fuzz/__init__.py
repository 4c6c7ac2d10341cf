"""Input that means harm, for every parser and every connection: `python -m fuzz --list`."""
