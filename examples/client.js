// A WebSocket that comes back, for browsers:
//
//   const room = connect("ws://localhost:8080/?room=7", { onmessage: (event) => show(event.data) });
//   room.send("hello");
//
// Pauses are random, from nothing to a limit that doubles (full jitter): so a thousand pages do not come back at once.
"use strict";

// Another attempt would end in the same way: it was closed in order (1000), this page broke a rule (1002, 1003, 1007, 1009),
// it is not allowed (1008), or the API says so (3000 to 4999). Come back after all others: 1001, 1006, 1011 to 1014.
const isFinal = (code) => [1000, 1002, 1003, 1007, 1008, 1009].includes(code) || code >= 3000;

// url: a text, or a function that makes one, with a fresh token for each attempt
// onclose(event, again): the connection ended, and whether another attempt follows
function connect(url, { onopen, onmessage, onclose, first = 1000, longest = 30000, steady = 10000 } = {}) {
  let socket, timer, stopped = false, failures = 0;

  function open() {
    let opened = Infinity;
    socket = new WebSocket(typeof url === "function" ? url() : url);
    socket.onmessage = onmessage;
    socket.onopen = (event) => { opened = Date.now(); onopen?.(event); };
    socket.onclose = (event) => {
      if (Date.now() - opened > steady) failures = 0; // not if it is accepted, and then closed at once, again and again
      const again = !stopped && !isFinal(event.code);
      if (again) timer = setTimeout(open, Math.random() * Math.min(longest, first * 2 ** failures++));
      onclose?.(event, again);
    };
  }

  open();
  return {
    // Whether it was sent; what is not has to be sent again after the next onopen.
    send: (data) => socket.readyState === WebSocket.OPEN && (socket.send(data), true),
    close: () => { stopped = true; clearTimeout(timer); socket.close(1000); },
  };
}
