"""
Faults: ``python -m bench.faults`` breaks what can break around a gateway, and checks that nothing is lost.

The gateway is a real process. Around it stand an API that answers by a script and keeps a ledger of every call
(``api.py``, ``ledger.py``), a TCP proxy with faults (``proxy.py``), and clients, honest ones (``clients.py``) and
hostile ones (``attackers.py``). Each scenario in ``scenarios/`` breaks one thing. Everything stays on loopback, has a
bound in count and time, and ends by itself.
"""
