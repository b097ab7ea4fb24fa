"""
The processes that plan trips: a search holds its interpreter, and every other driver with it.

::

    server                              planner, `python -m evcharge.process.planners.child`
      | -- stdin: stations, in parts ---> |  those that are not as it knows them; the server
      |                                   |  sees to others in between
      | -- stdin: a trip ---------------> |  searches among them, until its time is up
      | <- stdout: what is told of it --- |
      | <- stderr: what went wrong ------ |
      | -- stdin: the end --------------> |  ends

All are started with the first trip that has to be searched for. One that dies is followed by
another; what it was at is begun once more.
"""
