"""Rooms behind WSAAS, in Flask: /?room=7&name=Bob is Bob in room 7.

pip install flask && flask --app app run                              the API, on port 5000
API_URI=localhost:5000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080

It keeps no list of clients, and calls nobody. With the gateway's API_SECRET it accepts only signed calls.
"""

import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

from flask import Flask, request

sys.path.append(str(Path(__file__).parents[2] / "clients"))  # or copy gateway.py here
from gateway import is_signed

app = Flask(__name__)


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


def publish(body, kind="text"):
    return body, {"Ws-Publish": f"{kind} groups/{asked('room') or 'hall'}"}


def asked(name):
    """A parameter of the client's URL, encoded: so it is one name, whatever the client wrote there."""
    query = parse_qs(request.headers["Ws-Path"].partition("?")[2])
    return quote(query.get(name, [""])[0], safe="")


# What follows is about callers that are no gateway.
app.register_error_handler(KeyError, lambda _: ({"code": "BAD_REQUEST"}, 400))  # a call without Ws-Path
secrets = os.environ.get("API_SECRET", "").split()


@app.before_request
def check():
    if secrets and not is_signed(secrets, request.method, request.headers, request.get_data()):
        return {"code": "FORBIDDEN"}, 403
    return None
