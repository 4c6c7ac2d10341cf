"""The pure halves of authentication schemes: what is computed, compared, and put into a nonce."""
