"""
What is decided, and by what: pure functions over records that were loaded.

An operation is data: what is asked for, at which moment. It says which records it looks at
(:meth:`~evcharge.rules.operation.Operation.add_needs`), and decides over a
:class:`~evcharge.rules.view.View` of these: it results in a value, which may be a refusal, and what
it changes is said in :mod:`~evcharge.rules.events`. A storage loads, saves the events, and
remembers them; it decides nothing.
"""
