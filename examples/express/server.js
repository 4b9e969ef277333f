// Echo and broadcast behind WSAAS, with Express.
//
// npm install && node server.js                                         the API, on port 3000
// API_URI=localhost:3000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
//
// With the gateway's API_SECRET it accepts only signed calls; with the gateway's PUSH_TOKEN its pushes carry the token.
'use strict';
const { createHash, createHmac, timingSafeEqual } = require('node:crypto');
const express = require('express');

const app = express();
const clients = new Set(); // the ws_uri of each connected client
const [secrets, tokens] = ['API_SECRET', 'PUSH_TOKEN'].map((name) => process.env[name]?.match(/\S+/g) ?? []);

app.use((req, res, next) => (req.get('Ws-Uri') ? next() : res.status(400).json({ code: 'BAD_REQUEST' })));
app.use(express.raw({ type: () => true, limit: '16mb' })); // keep every body as bytes
app.use((req, res, next) => (!secrets.length || isSigned(req) ? next() : res.status(403).json({ code: 'FORBIDDEN' })));

function isSigned(req) {
  const names = Object.keys(req.headers).filter((name) => name.startsWith('ws-') && name !== 'ws-signature');
  const signed = names.map((name) => `${name}:${req.headers[name]}`).sort();
  const hash = createHash('sha256').update(Buffer.isBuffer(req.body) ? req.body : '').digest('hex');
  const text = [req.method, ...signed, hash].join('\n');
  const right = secrets.map((secret) => 'v1=' + createHmac('sha256', secret).update(text, 'latin1').digest('hex'));
  const given = (req.get('Ws-Signature') ?? '').split(' ').filter((one) => one.length === 67);
  const same = (one, other) => timingSafeEqual(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1'));
  const known = right.flatMap((one) => given.map((other) => same(one, other))).includes(true);
  return known && Math.abs(Date.now() / 1000 - req.get('Ws-Timestamp')) < 300;
}

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
  const headers = { 'Content-Type': type, ...(tokens.length && { Authorization: `Bearer ${tokens[0]}` }) };
  const call = { method: 'PUT', body, headers, signal: AbortSignal.timeout(5000) };
  try {
    if ((await fetch(url, call)).status === 404) clients.delete(uri); // disconnected; its DELETE is on the way
  } catch (error) {
    console.warn('not pushed:', error.message);
  }
}

app.listen(process.env.PORT ?? 3000, '127.0.0.1');
