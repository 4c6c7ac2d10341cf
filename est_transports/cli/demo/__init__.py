"""`est demo`: a CA, its server and a client, all on this machine."""
