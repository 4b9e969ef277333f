// WSAAS for a back end in Node 18 or later: check who calls, push, publish. Copy this file; it needs nothing else.
//
// if (!isSigned(secrets, req.method, req.headers, body)) ...   // answer with 403; body is a Buffer, as it came
//
// const gateway = new Gateway('http://localhost:8080', token);
// await gateway.push(wsUri, 'hello');                                   // text, or a Buffer as binary
// await gateway.publish(group('room 7'), 'hello', { key: '1' });        // to a group, user('bob') or 'all'
'use strict';
const { createHash, createHmac, timingSafeEqual } = require('node:crypto');

/**
 * Tell whether a callback comes from the gateway, as it was sent, and not long ago.
 *
 * @param {string[]} secrets those of API_SECRET, one of which is enough
 * @param {string} method of the request
 * @param {Object<string, string>} headers all of the request, as Node has them: names in lower case
 * @param {Buffer} body as it came; anything else counts as empty, as frameworks leave it without a body
 * @param {number} tolerance seconds between its time and this clock
 */
function isSigned(secrets, method, headers, body, tolerance = 300) {
  const names = Object.keys(headers).filter((name) => name.startsWith('ws-') && name !== 'ws-signature');
  const lines = names.map((name) => `${name}:${headers[name]}`).sort();
  const hash = createHash('sha256').update(Buffer.isBuffer(body) ? body : '').digest('hex');
  const text = Buffer.from([method, ...lines, hash].join('\n'), 'latin1');
  const given = (headers['ws-signature'] ?? '').split(' ').map((each) => Buffer.from(each, 'latin1'));
  let known = false;
  for (const secret of secrets) {
    const right = Buffer.from('v1=' + createHmac('sha256', secret).update(text).digest('hex'));
    for (const each of given) known = (each.length === right.length && timingSafeEqual(each, right)) || known;
  }
  return known && Math.abs(Date.now() / 1000 - headers['ws-timestamp']) <= tolerance;
}

/** The target of a group, or of a user, whatever is in the name. */
const group = (name) => `groups/${encode(name)}`;
const user = (name) => `users/${encode(name)}`;
const encode = (name) => encodeURIComponent(name).replaceAll('*', '%2A');

/** The gateway's answer is no success. `code` is NOT_FOUND when the client is gone. */
class Refused extends Error {
  constructor(status, code, message) {
    super(`${status} ${code}: ${message}`);
    Object.assign(this, { name: 'Refused', status, code });
  }
}

/** Where messages are pushed and published. It follows no redirects, and a token goes nowhere but to `base`. */
class Gateway {
  #base;
  #headers;
  #timeout;

  /**
   * @param {string} base the gateway's WS_HOSTNAME
   * @param {string} [token] one of PUSH_TOKEN; to publish, of PUBLISH_TOKEN
   * @param {number} timeout milliseconds for each request
   */
  constructor(base = 'http://localhost:8080', token = '', timeout = 10_000) {
    this.#base = absolute(base).replace(/\/+$/, '');
    this.#headers = token ? { Authorization: `Bearer ${token}` } : {};
    this.#timeout = timeout;
  }

  /**
   * Send one message to one client. Repeated with the same `key`, it is sent once. With `confirm`, the answer waits so
   * many milliseconds for the client's pong; without one, `code` says UNCONFIRMED.
   */
  push(wsUri, message, { key, confirm } = {}) {
    return this.#ask('PUT', wsUri, message, { 'Idempotency-Key': key, 'Ws-Confirm': confirm });
  }

  /** Close one client's connection; or all of a target: `close(user('bob'), 4001)`. */
  close(wsUri, code = 1000, reason = '') {
    return this.#ask('DELETE', `${wsUri}?code=${code}&reason=${encodeURIComponent(reason)}`);
  }

  /**
   * Send one message to each member of a target. `leaveOut` has the Ws-Id of those who do not get it; with `skipSlow`,
   * members without room are passed over instead of closed. The answer has the counts `members`, `sent` and so on.
   */
  publish(target, message, { key, leaveOut = [], skipSlow = false } = {}) {
    const headers = { 'Idempotency-Key': key, 'Ws-Except': leaveOut.join(', '), 'Ws-Slow': skipSlow ? 'skip' : '' };
    return this.#ask('PUT', target, message, headers);
  }

  /** What is known of a connection; or how many `members` a target has. */
  describe(wsUriOrTarget) {
    return this.#ask('GET', wsUriOrTarget);
  }

  async #ask(method, place, message, headers = {}) {
    // Only of this gateway: who forges a callback must not have the token sent elsewhere.
    let url = absolute(place);
    if (/^(groups|users)\/|^all(\?|$)/.test(place)) url = `${this.#base}/${place}`;
    else if (!url.startsWith(`${this.#base}/`)) throw new TypeError('this is no ws_uri of this gateway');
    const kind = typeof message === 'string' ? 'text/plain; charset=utf-8' : 'application/octet-stream';
    const asked = Object.entries(headers).filter(([, value]) => value);
    const answer = await fetch(url, {
      method,
      body: message,
      redirect: 'manual',
      signal: AbortSignal.timeout(this.#timeout),
      headers: { 'Content-Type': kind, ...this.#headers, ...Object.fromEntries(asked) },
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok && said.code) return said;
    throw new Refused(answer.status, said.code, said.message ?? 'this is no answer of WSAAS');
  }
}

const absolute = (uri) => (uri.includes('://') ? uri : `http://${uri}`);

module.exports = { isSigned, group, user, Refused, Gateway };
