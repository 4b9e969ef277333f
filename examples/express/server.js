// Rooms behind WSAAS, with Express: /?room=7&name=Bob is Bob in room 7.
//
// npm install && node server.js                                         the API, on port 3000
// API_URI=localhost:3000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
//
// It keeps no list of clients, and calls nobody. With the gateway's API_SECRET it accepts only signed calls.
'use strict';
const express = require('express');
const { isSigned } = require('../../clients/gateway.js'); // or copy it here

const app = express();
const secrets = process.env.API_SECRET?.match(/\S+/g) ?? [];

app.use((req, res, next) => (req.get('Ws-Path') ? next() : res.status(400).json({ code: 'BAD_REQUEST' })));
app.use(express.raw({ type: () => true, limit: '16mb' })); // keep every body as bytes
app.use((req, res, next) => {
  if (!secrets.length || isSigned(secrets, req.method, req.headers, req.body)) next();
  else res.status(403).json({ code: 'FORBIDDEN' });
});

app.route('/websocket')
  .post((req, res) => res.set({ 'Ws-Join': room(req), 'Ws-User': asked(req, 'name') }).json({ code: 'OK' }))
  .put((req, res) => {
    const kind = req.get('Content-Type') === 'application/octet-stream' ? 'binary' : 'text';
    res.set('Ws-Publish', `${kind} groups/${room(req)}`).send(req.body);
  })
  .delete((req, res) => {
    const user = decodeURIComponent(req.get('Ws-User') ?? '');
    if (user) res.set('Ws-Publish', `text groups/${room(req)}`);
    res.send(`${user} left`);
  });

app.listen(process.env.PORT ?? 3000, '127.0.0.1');

function room(req) {
  return asked(req, 'room') || 'hall';
}

// A parameter of the client's URL, encoded: so it is one name, whatever the client wrote there.
function asked(req, name) {
  const query = new URLSearchParams(req.get('Ws-Path').split('?').slice(1).join('?'));
  return encodeURIComponent(query.get(name) ?? '');
}
