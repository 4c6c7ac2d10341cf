"""Who a client is, for the reference CA: a module for each kind of credentials."""
