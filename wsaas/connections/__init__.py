"""One client's life: its states, the order of its messages, its room, its timers, its one DELETE.

No I/O: nothing here knows HTTP, Autobahn or treq. What it needs of them is declared in :mod:`.interfaces`.

``connection``: what happens in which state. ``states``: their names. ``inbox``: messages to the API. ``outbox``:
messages to the client. ``messages``: the small values, among them close codes and who may close. ``registry``: from a
key to its connection. ``wishes``: users and groups, as answers change them. ``identity``: keys and tags. ``totals``:
what all share. ``retry``: pauses between attempts of a message (those of a DELETE: ``callbacks.disconnects``).
``keepalive``, ``close_timeout``, ``timer_wheel``: time. ``confirmations`` and ``idempotency``: pushes to be sure of.
``admission`` and ``addresses``: who may connect. ``log``: what the log says of connections.
"""
