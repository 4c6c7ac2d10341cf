"""Judgements on what a peer sent: pure functions over values."""
