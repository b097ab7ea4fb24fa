"""
TLS around the drivers' protocol.

::

    certificate.py  reads the certificate and its key, again on SIGHUP -> what encrypts a connection
    alpn.py         what of that which a client says that it could speak is spoken
    connection.py   the protocol around the drivers', whose connections are closed by halves
"""
