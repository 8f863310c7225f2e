// A conformance run of graphql-transport-ws: what its PROTOCOL.md asks of a server, message by message on a bare
// WebSocket, then the published client of graphql-ws.
import assert from "node:assert/strict";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import {
  CHANGES,
  ENCOURS_SHORT_TOKEN,
  authorization,
  here,
  openClient,
  socketUrl,
} from "./api.mjs";
import { alone, run } from "./checks.mjs";

const ROLE = "{ viewer { role } }";

/** A bare WebSocket with the messages and the close code that came. */
class Socket {
  #heard = [];
  #waiting = [];

  static async open(protocols = "graphql-transport-ws") {
    const socket = new Socket();
    socket.ws = new WebSocket(socketUrl, protocols);
    socket.ws.on("message", (data) => socket.#take(JSON.parse(String(data))));
    socket.ws.on("close", (code, reason) => socket.#take({ closed: code, reason: String(reason) }));
    await new Promise((opened, failed) => socket.ws.once("open", opened).once("error", failed));
    socket.ws.on("error", () => {});
    return socket;
  }

  static async acknowledged(token = authorization) {
    const socket = await Socket.open();
    socket.say({ type: "connection_init", payload: { authorization: token } });
    assert.deepEqual(await socket.hear(), { type: "connection_ack" });
    return socket;
  }

  #take(message) {
    const next = this.#waiting.shift();
    next ? next(message) : this.#heard.push(message);
  }

  say(message) {
    this.ws.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  subscribe(id, query, variables) {
    this.say({ id, type: "subscribe", payload: { query, variables } });
  }

  /** The next message, or { closed, reason }. */
  hear() {
    const first = this.#heard.shift();
    return first ? Promise.resolve(first) : new Promise((heard) => this.#waiting.push(heard));
  }

  async closedWith(code) {
    for (;;) {
      const message = await this.hear();
      if ("closed" in message) return assert.equal(message.closed, code, message.reason);
    }
  }
}

/** Messages of a bare socket that must close it with a code. */
const closes = (code, ...messages) => async () => {
  const socket = await Socket.open();
  messages.forEach((message) => socket.say(message));
  await socket.closedWith(code);
};

const init = { type: "connection_init", payload: { authorization } };
const subscription = { id: "1", type: "subscribe", payload: { query: CHANGES } };

const invalid = {
  "text that is not JSON": "hello",
  "an array": [],
  "a string": '"hello"',
  "no type": {},
  "an unknown type": { type: "start" },
  "a type that is no string": { type: 1 },
  "subscribe without id": { type: "subscribe", payload: { query: ROLE } },
  "subscribe with an empty id": { id: "", type: "subscribe", payload: { query: ROLE } },
  "subscribe with a number as id": { id: 1, type: "subscribe", payload: { query: ROLE } },
  "subscribe without payload": { id: "1", type: "subscribe" },
  "subscribe with a string as payload": { id: "1", type: "subscribe", payload: ROLE },
  "complete without id": { type: "complete" },
  "ping with a string as payload": { type: "ping", payload: "hello" },
};

const protocol = {
  "the subprotocol is agreed on": async () => {
    const socket = await Socket.open(["other", "graphql-transport-ws"]);
    assert.equal(socket.ws.protocol, "graphql-transport-ws");
  },
  "4406: another subprotocol": async () => {
    // The ws package refuses an answer without a subprotocol, so none is offered.
    const socket = await Socket.open([]);
    await socket.closedWith(4406);
  },
  "4401: subscribe before init": closes(4401, subscription),
  "4401: subscribe right after a ping, before init": closes(4401, { type: "ping" }, subscription),
  "4403: no token": closes(4403, { type: "connection_init" }),
  "4403: a token that nobody issued": closes(4403, {
    type: "connection_init",
    payload: { authorization: "Bearer eyJhbGciOiJub25lIn0.e30." },
  }),
  "4403: the token expires": async () => {
    const socket = await Socket.acknowledged(`Bearer ${ENCOURS_SHORT_TOKEN}`);
    socket.subscribe("1", CHANGES);
    await socket.closedWith(4403);
  },
  "4408: no init in time": async () => {
    const socket = await Socket.open();
    // A ping is no init.
    socket.say({ type: "ping" });
    await socket.closedWith(4408);
  },
  "4409: an id of an operation that runs": closes(4409, init, subscription, subscription),
  "4429: init twice": closes(4429, init, init),
  "4429: init again later": async () => {
    const socket = await Socket.acknowledged();
    socket.say(init);
    await socket.closedWith(4429);
  },
  "4400: a binary message": async () => {
    const socket = await Socket.acknowledged();
    socket.ws.send(Buffer.from(JSON.stringify({ type: "ping" })));
    await socket.closedWith(4400);
  },
  "1009: a message that is too large": async () => {
    const socket = await Socket.acknowledged();
    socket.say({ type: "ping", payload: { text: "a".repeat(300 * 1024) } });
    await socket.closedWith(1009);
  },
  "a ping is answered before the acknowledgement and after": async () => {
    const socket = await Socket.open();
    socket.say({ type: "ping" });
    assert.deepEqual(await socket.hear(), { type: "pong" });
    socket.say(init);
    assert.deepEqual(await socket.hear(), { type: "connection_ack" });
    socket.say({ type: "ping", payload: { id: 7 } });
    assert.deepEqual(await socket.hear(), { type: "pong", payload: { id: 7 } });
  },
  "a pong that nobody asked for is fine": async () => {
    const socket = await Socket.acknowledged();
    socket.say({ type: "pong" });
    socket.say({ type: "pong", payload: { any: "thing" } });
    socket.say({ type: "ping" });
    assert.deepEqual(await socket.hear(), { type: "pong" });
  },
  "a ping frame of WebSocket is answered": async () => {
    const socket = await Socket.acknowledged();
    const pong = new Promise((heard) => socket.ws.once("pong", (data) => heard(String(data))));
    socket.ws.ping("7");
    assert.equal(await pong, "7");
  },
  "a query says next and complete, and frees its id": async () => {
    const socket = await Socket.acknowledged();
    for (const _ of [1, 2]) {
      socket.subscribe("q", ROLE);
      const next = await socket.hear();
      assert.equal(next.type, "next");
      assert.equal(next.id, "q");
      assert.equal(next.payload.data.viewer.role, "ADMIN");
      assert.deepEqual(await socket.hear(), { id: "q", type: "complete" });
    }
  },
  "a query that is not valid is an error without complete": async () => {
    const socket = await Socket.acknowledged();
    socket.subscribe("q", "{ nothing }");
    const error = await socket.hear();
    assert.equal(error.type, "error");
    assert.equal(error.id, "q");
    assert.ok(Array.isArray(error.payload) && error.payload[0].message);
    // The id is free, and nothing follows.
    socket.subscribe("q", ROLE);
    assert.equal((await socket.hear()).type, "next");
  },
  "the server completes what the client does not": alone(async () => {
    const socket = await Socket.acknowledged();
    socket.subscribe("1", CHANGES, { after: await here() });
    socket.subscribe("2", ROLE);
    assert.equal((await socket.hear()).id, "2");
    assert.deepEqual(await socket.hear(), { id: "2", type: "complete" });
    const number = await openClient();
    for (;;) {
      const next = await socket.hear();
      assert.equal(next.id, "1");
      // What was done while an older transaction was under way may be told again.
      if (next.payload.data.changes.client.number === number) break;
    }
  }),
  "the client completes: silence, and the id is free": alone(async () => {
    const socket = await Socket.acknowledged();
    const after = await here();
    socket.subscribe("1", CHANGES, { after });
    socket.say({ id: "1", type: "complete" });
    socket.subscribe("1", ROLE);
    // What had not been completed would tell of this client.
    await openClient();
    assert.equal((await socket.hear()).payload.data.viewer.role, "ADMIN");
    assert.deepEqual(await socket.hear(), { id: "1", type: "complete" });
    socket.say({ type: "ping" });
    assert.deepEqual(await socket.hear(), { type: "pong" });
  }),
  "complete for an id that does not run is ignored": async () => {
    const socket = await Socket.acknowledged();
    socket.say({ id: "nothing", type: "complete" });
    socket.say({ type: "ping" });
    assert.deepEqual(await socket.hear(), { type: "pong" });
  },
  "operations run side by side": async () => {
    const socket = await Socket.acknowledged();
    const ids = ["a", "b", "c", "d"];
    ids.forEach((id) => socket.subscribe(id, ROLE));
    const told = [];
    while (told.length < 2 * ids.length) told.push(await socket.hear());
    for (const id of ids) {
      assert.deepEqual(
        told.filter((message) => message.id === id).map((message) => message.type),
        ["next", "complete"],
      );
    }
  },
};
for (const [name, message] of Object.entries(invalid)) {
  protocol[`4400: ${name}`] = closes(4400, init, message);
}

/** The client that others use. */
const published = {
  "graphql-ws: a query": async () => {
    const client = clientWith(authorization);
    const answers = client.iterate({ query: ROLE });
    assert.equal((await answers.next()).value.data.viewer.role, "ADMIN");
    assert.equal((await answers.next()).done, true);
    await client.dispose();
  },
  "graphql-ws: a subscription, ended by the client": alone(async () => {
    const client = clientWith(authorization);
    const answers = client.iterate({ query: CHANGES, variables: { after: await here() } });
    let next = answers.next();
    const number = await openClient();
    while ((await next).value.data.changes.client.number !== number) next = answers.next();
    await answers.return();
    await client.dispose();
  }),
  "graphql-ws: errors of a document": async () => {
    const client = clientWith(authorization);
    await assert.rejects(
      client.iterate({ query: "{ nothing }" }).next(),
      (errors) => errors[0].extensions.code === "GRAPHQL_VALIDATION_FAILED",
    );
    await client.dispose();
  },
  "graphql-ws: a stranger": async () => {
    const client = clientWith("Bearer nobody");
    await assert.rejects(client.iterate({ query: ROLE }).next(), (event) => event.code === 4403);
  },
  "graphql-ws: pings keep it open": async () => {
    const pongs = new Promise((heard) => {
      const client = clientWith(authorization, {
        lazy: false,
        keepAlive: 50,
        on: { pong: (received) => received && heard(client.dispose()) },
      });
    });
    await pongs;
  },
};

function clientWith(token, more = {}) {
  return createClient({
    url: socketUrl,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    onNonLazyError: () => {},
    connectionParams: { authorization: token },
    ...more,
  });
}

await run({ ...protocol, ...published });
