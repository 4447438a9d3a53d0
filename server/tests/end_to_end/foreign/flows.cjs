// The NATS client of npm, unchanged: what its users do. Run by nats_foreign.rs, which does what a line on
// standard output asks for.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const { connect, headers, RequestError } = require(`${process.env.RINGBOLT_NODE_MODULES}/@nats-io/transport-node`);
const [url, authUrl, slowUrl] = process.argv.slice(2);
const text = (message) => new TextDecoder().decode(message.data);

// Has the server's side do something, and waits, reading nothing else.
function ask(what) {
  fs.writeSync(1, `${what}\n`);
  const buffer = Buffer.alloc(64);
  let answer = "";
  while (!answer.includes("done")) {
    try {
      answer += buffer.toString("utf8", 0, fs.readSync(0, buffer));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

async function take(subscription, count) {
  const taken = [];
  for await (const message of subscription) {
    taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}

async function publishAndSubscribe() {
  const [one, two] = [await connect({ servers: url }), await connect({ servers: url })];
  const all = two.subscribe("orders.>");
  const some = two.subscribe("orders.*.new");
  await two.flush();
  for (let number = 0; number < 500; number++) one.publish(number % 2 ? "orders.eu.new" : "orders.us", `${number}`);
  assert.deepEqual((await take(all, 500)).map(text), Array.from({ length: 500 }, (_, number) => `${number}`));
  assert.equal((await take(some, 250)).length, 250);
  await one.close();
  await two.close();
}

async function queueGroups() {
  const publisher = await connect({ servers: url });
  const counts = [0, 0, 0];
  const clients = await Promise.all(counts.map(() => connect({ servers: url })));
  for (const [place, client] of clients.entries()) {
    client.subscribe("work", { queue: "workers", callback: () => counts[place]++ });
    await client.flush();
  }
  for (let number = 0; number < 900; number++) publisher.publish("work", "x");
  await publisher.flush();
  const sum = () => counts.reduce((sum, count) => sum + count);
  // A member on another shard than the publisher may get its share a little later.
  while (sum() < 900) await new Promise((resolve) => setTimeout(resolve, 10));
  for (const client of clients) await client.drain();
  assert.equal(sum(), 900);
  assert.ok(Math.min(...counts) > 150, `${counts}`);
  await publisher.close();
}

async function requestsAndHeaders() {
  const [requester, responder] = [await connect({ servers: url }), await connect({ servers: url })];
  responder.subscribe("echo", { callback: (_, message) => message.respond(message.data, { headers: message.headers }) });
  await responder.flush();
  const block = headers();
  block.append("Trace", "one two");
  const reply = await requester.request("echo", "abc", { timeout: 5000, headers: block });
  assert.equal(text(reply), "abc");
  assert.equal(reply.headers.get("Trace"), "one two");
  await assert.rejects(requester.request("nobody", "x", { timeout: 5000 }), (error) => {
    return error instanceof RequestError && error.isNoResponders();
  });
  await requester.close();
  await responder.close();
}

async function limitsAndUnsubscribing() {
  const client = await connect({ servers: url });
  const few = client.subscribe("few", { max: 3 });
  for (let number = 0; number < 10; number++) client.publish("few", "x");
  assert.equal((await take(few, 100)).length, 3);
  const large = client.subscribe("large");
  client.publish("large", new Uint8Array(client.info.max_payload));
  assert.equal((await take(large, 1))[0].data.length, client.info.max_payload);
  assert.throws(() => client.publish("large", new Uint8Array(client.info.max_payload + 1)));
  await client.drain();
}

async function authorization() {
  const client = await connect({ servers: authUrl, user: "ann", pass: "right" });
  await client.flush();
  await assert.rejects(connect({ servers: authUrl, user: "ann", pass: "wrong" }), /authorization violation/i);
  await client.close();
}

async function awaitStatus(client, wanted) {
  for await (const status of client.status()) if (status.type === wanted) return;
}

async function slowConsumer() {
  const client = await connect({ servers: slowUrl });
  client.subscribe("flood");
  await client.flush();
  const cut = awaitStatus(client, "disconnect");
  ask("flood");
  await cut;
  await client.close();
}

async function reconnecting() {
  const client = await connect({ servers: url, reconnectTimeWait: 100, maxReconnectAttempts: -1 });
  const subscription = client.subscribe("survives");
  await client.flush();
  const back = awaitStatus(client, "reconnect");
  ask("restart");
  await back;
  client.publish("survives", "still here");
  assert.equal(text((await take(subscription, 1))[0]), "still here");
  const leaving = awaitStatus(client, "ldm");
  ask("lame duck");
  await leaving;
  await client.close();
}

async function main() {
  const flows = [
    publishAndSubscribe, queueGroups, requestsAndHeaders, limitsAndUnsubscribing, authorization, slowConsumer,
    reconnecting,
  ];
  for (const flow of flows) {
    await flow();
    fs.writeSync(1, `flow ${flow.name}\n`);
  }
  fs.writeSync(1, "passed\n");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
