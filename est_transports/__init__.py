"""Transports for est_core: everything that touches sockets, keys, files, clocks and terminals.

It uses only the public names of est_core, so that anybody else's transport can do all that
these can.
"""
