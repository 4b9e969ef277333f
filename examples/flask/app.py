"""Echo and broadcast behind WSAAS, in Flask.

pip install flask && flask --app app run                              the API, on port 5000
API_URI=localhost:5000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080

With the gateway's API_SECRET it accepts only signed calls; with the gateway's PUSH_TOKEN its pushes carry the token.
"""

import hmac
import os
import time
from hashlib import sha256
from urllib.request import Request, urlopen

from flask import Flask, request

app = Flask(__name__)
app.register_error_handler(KeyError, lambda _: ({"code": "BAD_REQUEST"}, 400))  # a call without Ws-Uri
clients: set[str] = set()  # the ws_uri of each connected client
secrets, tokens = (os.environ.get(name, "").split() for name in ("API_SECRET", "PUSH_TOKEN"))


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


@app.post("/websocket")
def connected():
    clients.add(request.headers["Ws-Uri"])
    return {"code": "OK"}


@app.put("/websocket")
def message():
    body, content = request.get_data(), {"Content-Type": request.content_type or "text/plain"}
    token = {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
    for ws_uri in clients - {request.headers["Ws-Uri"]}:
        url = ws_uri if "://" in ws_uri else f"http://{ws_uri}"
        try:
            urlopen(Request(url, body, content | token, method="PUT"), timeout=5).close()  # nosec B310  # WSAAS's own
        except OSError as error:  # includes all errors of urllib
            if getattr(error, "code", None) == 404:  # disconnected; its DELETE is on the way
                clients.discard(ws_uri)
    kind = "binary" if request.mimetype == "application/octet-stream" else "text"
    return body, content | {"Ws-Reply": kind}


@app.delete("/websocket")
def disconnected():
    clients.discard(request.headers["Ws-Uri"])
    return {"code": "OK"}
