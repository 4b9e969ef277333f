// Echo and broadcast behind WSAAS, with Express.
//
// npm install && node server.js                                         the API, on port 3000
// API_URI=localhost:3000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
'use strict';
const express = require('express');

const app = express();
const clients = new Set(); // the ws_uri of everyone who is connected

app.use((req, res, next) => (req.get('Ws-Uri') ? next() : res.status(400).json({ code: 'BAD_REQUEST' })));
app.use(express.raw({ type: () => true, limit: '16mb' })); // every body as the bytes it is

app.route('/websocket')
  .post((req, res) => {
    clients.add(req.get('Ws-Uri'));
    res.json({ code: 'OK' });
  })
  .put(async (req, res) => {
    const [sender, type, body] = [req.get('Ws-Uri'), req.get('Content-Type') ?? 'text/plain', req.body];
    await Promise.all([...clients].filter((uri) => uri !== sender).map((uri) => push(uri, body, type)));
    res.set({ 'Ws-Reply': type === 'application/octet-stream' ? 'binary' : 'text', 'Content-Type': type }).send(body);
  })
  .delete((req, res) => {
    clients.delete(req.get('Ws-Uri'));
    res.json({ code: 'OK' });
  });

async function push(uri, body, type) {
  const url = uri.includes('://') ? uri : `http://${uri}`;
  const call = { method: 'PUT', body, headers: { 'Content-Type': type }, signal: AbortSignal.timeout(5000) };
  try {
    if ((await fetch(url, call)).status === 404) clients.delete(uri); // gone, and its DELETE is on the way
  } catch (error) {
    console.warn('not pushed:', error.message);
  }
}

app.listen(process.env.PORT ?? 3000, '127.0.0.1');
