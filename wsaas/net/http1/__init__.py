"""HTTP/1.1 in both directions: heads, bodies and answers, and the connections that carry them.

Nothing here knows what a request or an answer means.

From clients and pushers: ``site`` (a listener), ``connection`` and ``server`` (one connection), ``request_head``,
``request_body``, ``page`` (twisted.web's resources), ``route`` (what a request may be), ``deadlines``, ``forwarded``
(``X-Forwarded-*``), ``refusals`` (their lines of log). To the API: ``agent``, ``client`` (one request), ``pool``
(kept connections), ``parser`` and ``known_heads`` (answers), ``headers``. Both: ``messages``.
"""
