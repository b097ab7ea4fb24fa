"""TCP, TLS and PROXY: from a socket to the lines of a connection, and who may have one."""
