"""The API's side: POST, PUT and DELETE on ``API_URI``, and the record of which DELETEs are still pending.

Nothing here knows frames or pushes.

``calls``: what each of them carries, header by header. ``access``: what all of them share, with the headers that
never change. ``client``: treq's client. ``failures``: why a call failed, in the words of the log. ``answers``: what
the API's answers mean. ``hints``: what is likely wrong with one. ``publishing``: what they publish, until there is
room. ``disconnects``: DELETEs, and their retries.
``journal``, ``journal_file``, ``state_dir``: pending DELETEs on disk. ``slots``: how many calls at once. ``breaker``:
whether the API is down. ``signature``: ``Ws-Signature``. ``tracing``: ``traceparent``.
"""
