"""Fair shares: scheduling by network, bounded queues, and eviction of connections when full."""

"""Fair shares: scheduling by network, bounded queues, and eviction of connections when full."""
