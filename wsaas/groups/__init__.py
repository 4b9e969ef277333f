"""Who belongs together, and how one message reaches them all: groups, users, everyone (protocol §6).

Nothing here knows HTTP or Autobahn. A publication is a value that can travel between processes.

``names``: names and targets, as they stand in paths and headers. ``left_out``: ``Ws-Except``. ``home``: the groups of
one process, as others see them. ``membership``: who is in what. ``turns``: what concerns many, one after another, in
slices. ``tasks``: the kinds of it. ``sweep``: members, each once. ``orders``: closing, joining and leaving as values.
``publishing``: publications, bounded and counted. ``repeats``: ``Idempotency-Key``. ``listing``: pages of members.
"""
