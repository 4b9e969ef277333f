/* The demo's page: a chat over WebSocket, the HTTP behind it, and pushes by ws_uri.
 *
 * All data gets into the page as text (textContent): nothing that a client sent is ever parsed as HTML.
 *
 * Elements that scripts and tests may rely on:
 *   #status[data-state=connecting|open|lost]   the WebSocket      #lost, #lost-text, #reconnect   shown while there is none
 *   #members > li                              connected clients  #open-tab                       link to a second tab
 *   #chat-log > li[data-type=chat|pushed|notice]  messages        #message, #send                 the composer
 *   #target                                    whose ws_uri       #ws-uri                         that ws_uri
 *   #push-text, #push, #push-curl, #push-copy  the push           #close, #close-curl, #close-copy  the close
 *   #answer                                    the answer to a push
 *   #http-log > li[data-direction=callback|push][data-method][data-status]   one HTTP request each
 *   #view-chat, #view-http, #view-push         switch views on a narrow screen
 */
"use strict";

const MAX_MESSAGES = 300;
const MAX_EXCHANGES = 200;
const CLOSE_CODE = 4001;
const CLOSE_REASON = "bye";

/* Request headers that a card shows before it is opened, in this order. */
const SHOWN_HEADERS = ["Ws-Id", "Ws-Path", "Ws-Uri", "Ws-User", "Ws-Close-Code", "Ws-Close-Reason", "Ws-Closed-By",
  "Ws-Undelivered"];

/* And what the API's answer asks for. */
const SHOWN_ANSWER_HEADERS = ["Ws-User", "Ws-Join", "Ws-Publish"];

const $ = (id) => document.getElementById(id);

/* Make an element: properties are set, not parsed; children are elements or text. */
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("aria-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/* ---- names and colours ----------------------------------------------------------------------------------------- */

const me = { name: sessionStorage.getItem("name") || "", wsUri: "" };
const tab = Math.random().toString(36).slice(2); // what this tab calls itself, until it knows its ws_uri
const members = new Map(); // ws_uri -> name, of the other connected clients
const names = new Map(); // ws_uri -> name, of all clients, connected or not

const keyOf = (wsUri) => wsUri.slice(wsUri.lastIndexOf("/") + 1);

function hueOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return sum % 8;
}

function initials(name) {
  return name.split(/\s+/).map((word) => word[0] || "").join("").slice(0, 2).toUpperCase();
}

function avatar(name) {
  return make("span", { className: "avatar", "aria-hidden": "true", data: { hue: hueOf(name) } }, initials(name));
}

function shortKey(wsUri) {
  const key = keyOf(wsUri);
  return key.length > 10 ? `${key.slice(0, 8)}…` : key;
}

function shortUri(wsUri) {
  return wsUri.replace(/^[a-z]+:\/\//, "").slice(0, -keyOf(wsUri).length || undefined) + shortKey(wsUri);
}

function showMembers() {
  const here = [[me.wsUri, me.name, "you"], ...[...members].map(([uri, name]) => [uri, name, ""])]
    .filter(([uri]) => uri);
  $("members").replaceChildren(...here.map(([, name, note]) =>
    make("li", { title: name }, avatar(name), make("span", { className: note ? "me" : "visually-hidden" },
      note ? `${name} (${note})` : name))));
  const select = $("target");
  const chosen = select.value;
  select.replaceChildren(...(here.length ? here : [["", "no client", ""]]).map(([uri, name, note]) =>
    make("option", { value: uri }, note ? `me, ${name}` : name)));
  select.disabled = here.length === 0;
  select.value = here.some(([uri]) => uri === chosen) ? chosen : me.wsUri;
  showTarget();
}

/* ---- chat ------------------------------------------------------------------------------------------------------ */

/* Keep a scrolled list at its end, unless the reader has scrolled up. */
const atEnd = new Map(["chat-log", "http-scroll"].map((id) => [$(id), true]));
const heights = new Map(); // of those lists, when they were last measured

function toEnd(scroller) {
  scroller.scrollTop = scroller.scrollHeight;
}

function measure(scroller) {
  atEnd.set(scroller, scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48);
}

function following(scroller, change) {
  change();
  if (atEnd.get(scroller)) toEnd(scroller);
  return atEnd.get(scroller);
}

/* What appears beside a list, such as the countdown, makes it shorter: the end stays in view. */
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    heights.set(target, target.clientHeight);
    if (atEnd.get(target)) toEnd(target);
  }
});

for (const scroller of atEnd.keys()) {
  scroller.addEventListener("scroll", () => {
    if (scroller.clientHeight === heights.get(scroller)) measure(scroller); // if not, the reader did not scroll
  });
  resized.observe(scroller);
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

/* Fade a new item in, if it is visible. */
function appear(item) {
  if (still.matches || document.hidden || item.offsetParent === null) return;
  item.animate([{ opacity: 0, transform: "translateY(6px)" }, {}], { duration: 250, easing: "ease-out" });
}

function addMessage(item) {
  const log = $("chat-log");
  following(log, () => {
    log.append(item);
    appear(item);
    while (log.children.length > MAX_MESSAGES) log.firstElementChild.remove();
  });
}

function clock(date) {
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return make("time", { dateTime: date.toISOString() }, time);
}

function notice(text, ...more) {
  addMessage(make("li", { data: { type: "notice" } }, make("p", {}, text), ...more));
}

function addChat(name, text) {
  const mine = name === me.name;
  const bubble = make("p", { className: "bubble" }, text);
  const head = make("p", { className: "from" }, mine ? "you" : name, " ", clock(new Date()));
  addMessage(make("li", { data: { type: "chat", mine } }, ...(mine ? [] : [avatar(name)]),
    make("div", {}, head, bubble)));
}

function addPushed(data) {
  const text = typeof data === "string" ? data || "(an empty message)" : `(a binary message of ${data.size} bytes)`;
  addMessage(make("li", { data: { type: "pushed" } },
    make("span", { className: "avatar arrow", "aria-hidden": "true" }, "←"),
    make("div", {}, make("p", { className: "from" }, "pushed by HTTP ", clock(new Date())),
      make("p", { className: "bubble" }, text))));
}

function welcome(message) {
  me.name = String(message.name);
  me.wsUri = String(message.ws_uri);
  sessionStorage.setItem("name", me.name);
  members.clear();
  for (const member of message.members) remember(member);
  names.set(me.wsUri, me.name);
  document.title = `${me.name} · WSAAS demo`;
  if (members.size) {
    notice(`You are ${me.name}. ${members.size === 1 ? "One other client is" : `${members.size} other clients are`} connected.`);
  } else {
    notice(`You are ${me.name}.`, make("p", { className: "alone" }, " No other client is connected. ",
      make("a", { href: "/", target: "_blank", rel: "noopener" }, "Open a second tab"), " to chat between the two."));
  }
  $("target").value = "";
}

const RECEIVED = {
  joined(message) {
    if (message.tab === tab) {
      welcome(message);
    } else {
      remember(message);
      notice(`${message.name} joined`);
    }
    showMembers();
    renameExchanges();
  },
  left(message) {
    names.set(String(message.ws_uri), String(message.name));
    members.delete(String(message.ws_uri));
    const why = [message.code, message.reason && `“${message.reason}”`, message.by && `· closed by ${message.by}`];
    notice(`${message.name} left · ${why.filter(Boolean).join(" ")}`);
    showMembers();
  },
  chat(message) {
    if (me.wsUri && message.ws_uri !== me.wsUri && !members.has(String(message.ws_uri))) {
      remember(message); // a client that did not say that it is here
      showMembers();
    }
    addChat(String(message.name), String(message.text));
  },
};

function remember(member) {
  for (const said of document.querySelectorAll(".alone")) said.remove();
  members.set(String(member.ws_uri), String(member.name));
  names.set(String(member.ws_uri), String(member.name));
}

function received(data) {
  pulse("ws", "in");
  let message = null;
  try {
    message = JSON.parse(data);
  } catch {
    // Not one of the chat's own messages: it was pushed by HTTP.
  }
  const type = message && typeof message === "object" ? message.type : "";
  if (Object.hasOwn(RECEIVED, type)) RECEIVED[type](message);
  else addPushed(data);
}

/* ---- WebSocket ------------------------------------------------------------------------------------------------- */

let socket = null;
let failures = 0;
let retryTimer = 0;

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
  for (const id of ["send", "push", "close"]) $(id).disabled = state !== "open";
}

function connect() {
  clearInterval(retryTimer);
  $("lost").hidden = true;
  setStatus("connecting", "Connecting");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = new URLSearchParams(me.name ? { name: me.name, tab } : { tab });
  const opened = new WebSocket(`${scheme}://${location.host}/chat?${query}`);
  socket = opened;
  opened.addEventListener("open", () => {
    failures = 0;
    setStatus("open", "Connected");
    opened.send(""); // "here I am": the answer tells everybody, this tab too
    pulse("ws", "out");
  });
  opened.addEventListener("message", (event) => received(event.data));
  opened.addEventListener("close", (event) => {
    if (socket === opened) lost(event);
  });
}

/* Show why the connection ended, and reconnect: soon after a close, with growing pauses while the gateway is down. */
function lost(event) {
  const wasOpen = me.wsUri !== "";
  me.wsUri = "";
  members.clear();
  setStatus("lost", "Not connected");
  showMembers();
  const reason = event.reason ? ` “${event.reason}”` : "";
  if (wasOpen) notice(`Your connection was closed · ${event.code}${reason}`);
  const pause = wasOpen && event.code !== 1006 ? 4 : Math.min(30, 2 ** failures) * (0.75 + Math.random() / 2);
  failures += 1;
  const until = Date.now() + pause * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    $("lost-text").textContent = `${wasOpen ? "Closed" : "The gateway does not answer"}. Reconnecting in ${Math.max(left, 0)} s.`;
    if (left <= 0) connect();
  };
  $("lost").hidden = false;
  clearInterval(retryTimer);
  retryTimer = setInterval(tick, 250);
  tick();
}

function send(event) {
  event.preventDefault();
  const text = $("message").value;
  if (!text || !socket || socket.readyState !== WebSocket.OPEN) return;
  socket.send(text);
  pulse("ws", "out");
  $("message").value = "";
}

/* ---- pushes from this page ------------------------------------------------------------------------------------- */

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const closeQuery = `?code=${CLOSE_CODE}&reason=${encodeURIComponent(CLOSE_REASON)}`;

function showTarget() {
  const uri = $("target").value;
  const name = uri === me.wsUri ? "me" : names.get(uri) || "";
  const text = $("push-text").value;
  const data = `${text.startsWith("@") ? "--data-raw" : "-d"} ${quoted(text)}`; // curl reads -d @name from a file
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !uri;
  $("ws-uri").textContent = uri || "not connected";
  $("push-label").textContent = `Push to ${name}`;
  $("close-label").textContent = `Close ${name}`;
  $("push-curl").textContent = uri ? `curl -X PUT ${data} ${quoted(uri)}` : "curl -X PUT …";
  $("close-curl").textContent = uri ? `curl -X DELETE ${quoted(uri + closeQuery)}` : "curl -X DELETE …";
}

/* The path of a ws_uri: the page came from the gateway, so it sends pushes there, whatever WS_HOSTNAME says. */
function pathOf(wsUri) {
  return new URL(wsUri.includes("://") ? wsUri : `http://${wsUri}`).pathname;
}

async function request(method, query, body) {
  const uri = $("target").value;
  if (!uri) return;
  const answer = $("answer");
  answer.dataset.ok = "";
  answer.textContent = `${method} …`;
  try {
    const headers = body === undefined ? {} : { "Content-Type": "text/plain; charset=utf-8" };
    const response = await fetch(pathOf(uri) + query, { method, body, headers });
    const text = await response.text();
    answer.dataset.ok = String(response.ok);
    answer.replaceChildren(make("b", {}, `${method} → ${response.status}`), " ", make("code", {}, text.trim()));
  } catch (error) {
    answer.dataset.ok = "false";
    answer.textContent = `${method} got no answer: ${error.message}`;
  }
}

async function copy(button) {
  const source = $(button.dataset.copy);
  let done = true;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // No clipboard on a page that is neither https nor localhost: copy a selection instead.
    getSelection().selectAllChildren(source);
    done = document.execCommand("copy");
  }
  const said = done ? "Copied" : "Not copied";
  $("said").textContent = said;
  button.textContent = said;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/* ---- the HTTP log ---------------------------------------------------------------------------------------------- */

const cards = new Map(); // id of an exchange -> its list item
const counts = { callback: 0, push: 0 };
let stream = null;
let lastEvent = "";

const header = (headers, name) => (headers.find(([found]) => found.toLowerCase() === name.toLowerCase()) || [])[1];

function shownValue(name, value) {
  if (name === "Ws-Uri") return shortUri(value);
  if (name === "Ws-User") return decodeURIComponent(value);
  if (name === "Ws-Id") return value.replace(/^(.{6}).{10,}(-[^-]+)$/, "$1…$2");
  return value;
}

function bodyText(body) {
  if (body.binary) return `(${body.size} bytes, binary)`;
  return body.truncated ? `${body.text}… (${body.size} bytes)` : body.text;
}

function statusClass(exchange) {
  if (exchange.error) return "bad";
  if (exchange.status === null) return "pending";
  return exchange.status < 300 ? "good" : exchange.status < 500 ? "warn" : "bad";
}

function message(first, headers, body) {
  return make("pre", { tabIndex: 0 }, make("b", {}, first), "\n",
    ...headers.flatMap(([name, value]) => [make("i", {}, `${name}:`), ` ${value}\n`]), body && `\n${bodyText(body)}`);
}

function who(exchange) {
  const uri = exchange.direction === "push" ? exchange.target.split("?")[0] : header(exchange.headers, "Ws-Uri") || "";
  const name = [...names].find(([known]) => keyOf(known) === keyOf(uri))?.[1]
    || decodeURIComponent(header(exchange.headers, "Ws-User") || header(exchange.answer_headers, "Ws-User") || "");
  if (!name) return "";
  const you = name === me.name ? make("span", { className: "wide" }, " (you)") : "";
  return make("span", { className: "who", data: { hue: hueOf(name) } }, name, you);
}

/* Those headers of a list that a card shows. */
function found(headers, names) {
  return names.filter((name) => header(headers, name) !== undefined).map((name) =>
    make("span", {}, make("i", {}, name), " ", shownValue(name, header(headers, name)), " "));
}

function summary(exchange) {
  const push = exchange.direction === "push";
  const [path, query] = exchange.target.split("?");
  const keyed = push && !/(^|\/)(groups|users)\/|\/(all|batch|members)$/.test(path); // by a key, not by name
  const target = keyed ? `/${shortKey(path)}${query ? `?${query}` : ""}` : exchange.target;
  const facts = push ? [] : found(exchange.headers, SHOWN_HEADERS);
  const asked = push ? [] : found(exchange.answer_headers, SHOWN_ANSWER_HEADERS);
  const status = exchange.error ? "no answer" : exchange.status === null ? "…" : String(exchange.status);
  return [
    make("span", { className: "line" },
      make("span", { className: "arrow", title: push ? "push: to a ws_uri" : "callback: WSAAS to the API" }, push ? "←" : "→"),
      make("b", { className: "method", data: { method: exchange.method } }, exchange.method), " ",
      make("code", { className: "target" }, target), " ",
      make("b", { className: "code", data: { status: statusClass(exchange) } }, status), " ",
      exchange.elapsed && !push ? make("span", { className: "took" }, `${exchange.elapsed} ms`) : "", " ",
      who(exchange),
      clock(new Date(exchange.at * 1000))),
    facts.length ? make("span", { className: "facts" }, ...facts) : "",
    exchange.body.size ? make("code", { className: "body" }, bodyText(exchange.body)) : "",
    asked.length ? make("span", { className: "facts", title: "what the API's answer asks for" }, "← ", ...asked) : "",
  ];
}

function full(exchange) {
  const took = !exchange.elapsed || exchange.direction === "push" ? "" : ` after ${exchange.elapsed} ms`;
  const answer = exchange.error ? [make("p", {}, exchange.error)]
    : exchange.status === null ? [make("p", {}, "not answered yet")]
      : [message(String(exchange.status), exchange.answer_headers, exchange.answer_body)];
  return [make("h3", {}, "Request"), message(`${exchange.method} ${exchange.target}`, exchange.headers, exchange.body),
    make("h3", {}, `Answer${took}`), ...answer];
}

function fill(card) {
  const exchange = card.exchange;
  Object.assign(card.dataset, { direction: exchange.direction, method: exchange.method, status: exchange.status ?? "" });
  const details = card.firstElementChild;
  details.firstElementChild.replaceChildren(...summary(exchange));
  if (details.open) details.lastElementChild.replaceChildren(...full(exchange));
  if ($("http-log").lastElementChild === card) showLast(card);
}

/* On a narrow screen the chat shows the last request too. */
function showLast(card) {
  $("ticker").hidden = false;
  $("ticker").dataset.direction = card.exchange.direction;
  $("ticker-text").replaceChildren(summary(card.exchange)[0]);
}

/* After a hidden tab returns, changes arrive in the order of the answers; the log keeps the order of the requests. */
function place(card) {
  const [run, number] = card.exchange.id.split("-");
  let next = null;
  for (let earlier = $("http-log").lastElementChild; earlier; earlier = earlier.previousElementSibling) {
    const [itsRun, itsNumber] = earlier.exchange.id.split("-");
    if (itsRun !== run || Number(itsNumber) < Number(number)) break;
    next = earlier;
  }
  $("http-log").insertBefore(card, next);
}

function addExchange(exchange) {
  let card = cards.get(exchange.id);
  const isNew = card === undefined;
  if (isNew) {
    const details = make("details", {}, make("summary", {}), make("div", { className: "full" }));
    card = make("li", {}, details);
    details.addEventListener("toggle", () => {
      fill(card);
      measure($("http-scroll")); // the reader of a long card stays there
    });
    cards.set(exchange.id, card);
  }
  card.exchange = exchange;
  following($("http-scroll"), () => fill(card)); // an answer makes its card longer
  if (!isNew) return;
  const scroller = $("http-scroll");
  const followed = following(scroller, () => {
    place(card);
    appear(card);
    for (const [id, old] of cards) {
      if (cards.size <= MAX_EXCHANGES) break;
      old.remove();
      cards.delete(id);
    }
    showEmpty();
  });
  if (!followed) $("http-latest").hidden = false;
  counts[exchange.direction] += 1;
  showCounts();
  pulse(exchange.direction, exchange.direction === "callback" ? "out" : "in");
  showLast($("http-log").lastElementChild);
}

/* A client's name may arrive after its first request is shown. */
function renameExchanges() {
  following($("http-scroll"), () => {
    for (const card of cards.values()) fill(card);
  });
}

function showCounts() {
  $("count-callback").textContent = counts.callback;
  $("count-push").textContent = counts.push;
  $("http-badge").textContent = counts.callback + counts.push;
}

/* An empty pane says why it is empty. */
function showEmpty() {
  const hidden = [...document.querySelectorAll('[data-filter][aria-pressed="false"]')].map(({ dataset }) => dataset.filter);
  const empty = $("http-empty");
  empty.hidden = [...cards.values()].some(({ dataset }) => !hidden.includes(dataset.direction));
  if (hidden.length === 2) empty.textContent = "Callbacks and pushes are hidden. Choose above what to show.";
  else if (cards.size === 0) empty.textContent = "Each HTTP request between WSAAS and the API appears here.";
  else if (hidden[0] === "push") empty.textContent = "No callbacks so far. Pushes are hidden.";
  else empty.textContent = "No pushes so far. Callbacks are hidden.";
}

function clearLog() {
  cards.clear();
  counts.callback = counts.push = 0;
  $("http-log").replaceChildren();
  showEmpty();
  $("http-latest").hidden = true;
  $("ticker").hidden = true;
  showCounts();
}

/* A hidden tab closes its stream: browsers allow six HTTP/1.1 connections to a host, for all tabs together. */
function watch() {
  if (document.hidden) {
    stream?.close();
    stream = null;
  } else if (!stream) {
    stream = new EventSource(`/demo/traffic?since=${encodeURIComponent(lastEvent)}`);
    stream.addEventListener("message", (event) => {
      lastEvent = event.lastEventId;
      addExchange(JSON.parse(event.data));
    });
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return;
      stream = null; // refused: EventSource does not try again
      setTimeout(watch, 10000);
    });
  }
}

/* ---- the diagram at the top ------------------------------------------------------------------------------------ */

function pulse(link, direction) {
  const track = document.querySelector(`[data-link="${link}"]`);
  if (still.matches || document.hidden || track.querySelectorAll(".pulse").length > 6) return;
  const dot = make("i", { className: `pulse ${direction}` });
  dot.addEventListener("animationend", () => dot.remove());
  track.append(dot);
}

/* ---- start ----------------------------------------------------------------------------------------------------- */

function show(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("[data-show]")) {
    button.setAttribute("aria-pressed", String(button.dataset.show === view));
  }
  for (const scroller of atEnd.keys()) {
    atEnd.set(scroller, true);
    toEnd(scroller);
  }
}

$("composer").addEventListener("submit", send);
$("reconnect").addEventListener("click", connect);
$("target").addEventListener("change", showTarget);
for (const change of ["input", "change"]) $("push-text").addEventListener(change, showTarget);
$("push-form").addEventListener("submit", (event) => {
  event.preventDefault();
  showTarget();
  request("PUT", "", $("push-text").value);
});
$("close").addEventListener("click", () => request("DELETE", closeQuery));
$("http-clear").addEventListener("click", clearLog);
$("ticker").addEventListener("click", () => show("http"));
$("http-latest").addEventListener("click", () => toEnd($("http-scroll")));
$("http-scroll").addEventListener("scroll", () => {
  if (atEnd.get($("http-scroll"))) $("http-latest").hidden = true;
});
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => show(button.dataset.show));
}
for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    following($("http-scroll"), () => {
      $("http-log").classList.toggle(`without-${button.dataset.filter}`, !shown);
      showEmpty();
    });
  });
}
document.addEventListener("visibilitychange", watch);
watch();
showTarget();
connect();
