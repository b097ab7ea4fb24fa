"""
The processes that plan trips: a search holds its interpreter, and every other driver with it.

::

    server                              planner, `python -m evcharge.process.planners.child`
      | -- stdin: what is asked --------> |
      | -- stdin: its stations, in parts, |  the server sees to others in between
      |           then to begin --------> |  searches, until its time is up
      | <- stdout: what was found ------- |
      | <- stderr: what went wrong ------ |
      | -- stdin: the end --------------> |  ends

All are started with the first trip that has to be searched for. One that dies is followed by
another; what it was at is begun once more.
"""
