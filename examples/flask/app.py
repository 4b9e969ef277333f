"""Echo and broadcast behind WSAAS, in Flask.

pip install flask && flask --app app run                              the API, on port 5000
API_URI=localhost:5000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
"""

from urllib.request import Request, urlopen

from flask import Flask, request

app = Flask(__name__)
app.register_error_handler(KeyError, lambda _: ({"code": "BAD_REQUEST"}, 400))  # a call without Ws-Uri
clients: set[str] = set()  # the ws_uri of everyone who is connected


@app.post("/websocket")
def connected():
    clients.add(request.headers["Ws-Uri"])
    return {"code": "OK"}


@app.put("/websocket")
def message():
    body, content = request.get_data(), {"Content-Type": request.content_type or "text/plain"}
    for ws_uri in clients - {request.headers["Ws-Uri"]}:
        url = ws_uri if "://" in ws_uri else f"http://{ws_uri}"
        try:
            urlopen(Request(url, body, content, method="PUT"), timeout=5).close()
        except OSError as error:  # each error of urllib is one
            if getattr(error, "code", None) == 404:  # gone, and its DELETE is on the way
                clients.discard(ws_uri)
    kind = "binary" if request.mimetype == "application/octet-stream" else "text"
    return body, content | {"Ws-Reply": kind}


@app.delete("/websocket")
def disconnected():
    clients.discard(request.headers["Ws-Uri"])
    return {"code": "OK"}
