"""Text and byte formats of EST messages: each module reads and writes one of them."""
