"""
Several processes that serve one port: what `twistd evcharge --workers N` does.

::

    parent                              worker, `python -m evcharge.process.workers.child`
      | listens, and never accepts        |
      | -- fd 3: a listening socket ----> |  accepts; from fd 4 on: further ones
      | -- stdin: settings, time, once -> |
      | -- stdin: the end --------------> |  the parent is gone: drains and ends
      | <- stdout: its log, as JSON ----- |
      | -- stdin: a question -----------> |  how it is, for those who watch
      | <- stdout: the answer ----------- |
      | <- stderr: what went wrong ------ |
      | -- stdin: what has to be done --> |  reads the TLS certificate again
      | -- stdin: the time, when it ----> |  goes by that: the parent alone looks at the
      |           is another one          |  system's clock, or at the database's
      | -- SIGTERM ---------------------> |  drains and ends

As the socket is the parent's, drivers are let in while a worker is started again: they wait.
"""
