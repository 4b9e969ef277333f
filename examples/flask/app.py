"""Rooms behind WSAAS, in Flask: /?room=7&name=Bob is Bob in room 7.

pip install flask && flask --app app run                              the API, on port 5000
API_URI=localhost:5000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080

It keeps no list of clients, and calls nobody. With the gateway's API_SECRET it accepts only signed calls.
"""

import hmac
import os
import time
from hashlib import sha256
from urllib.parse import parse_qs, quote, unquote

from flask import Flask, request

app = Flask(__name__)
app.register_error_handler(KeyError, lambda _: ({"code": "BAD_REQUEST"}, 400))  # a call without Ws-Path
secrets = os.environ.get("API_SECRET", "").split()


def is_signed():
    lines = [f"{name.lower()}:{value}" for name, value in request.headers if name.lower().startswith("ws-")]
    signed = sorted(line for line in lines if not line.startswith("ws-signature:"))
    text = "\n".join([request.method, *signed, sha256(request.get_data()).hexdigest()]).encode("latin-1")
    right = [b"v1=" + hmac.new(secret.encode(), text, "sha256").hexdigest().encode() for secret in secrets]
    given = request.headers.get("Ws-Signature", "").encode("latin-1").split()
    known = any(hmac.compare_digest(one, other) for one in right for other in given)
    return known and abs(time.time() - int(request.headers["Ws-Timestamp"])) < 300


@app.before_request
def check():
    return ({"code": "FORBIDDEN"}, 403) if secrets and not is_signed() else None


def asked(name):
    """A parameter of the client's URL, encoded: so it is one name, whatever the client wrote there."""
    query = parse_qs(request.headers["Ws-Path"].partition("?")[2])
    return quote(query.get(name, [""])[0], safe="")


def publish(body, kind="text"):
    return body, {"Ws-Publish": f"{kind} groups/{asked('room') or 'hall'}"}


@app.post("/websocket")
def connected():
    return {"code": "OK"}, {"Ws-Join": asked("room") or "hall", "Ws-User": asked("name")}


@app.put("/websocket")
def message():
    return publish(request.get_data(), "binary" if request.mimetype == "application/octet-stream" else "text")


@app.delete("/websocket")
def disconnected():
    left = publish(f"{unquote(request.headers.get('Ws-User', ''))} left")
    return left if "Ws-User" in request.headers else {"code": "OK"}
