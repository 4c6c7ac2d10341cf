"""The client's side of the protocol, from what it asks for to what it got."""
