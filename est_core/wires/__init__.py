"""The wires: values of the protocol to heads and bodies of HTTP and CoAP, and back."""
