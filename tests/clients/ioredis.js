// ioredis through a failover. Arguments: the ports of the Sentinels. See main.rs.
"use strict";
const { Redis } = require("ioredis");

const sentinels = process.argv.slice(2).map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const say = (...words) => console.log(...words);
// Errors come with rejected promises, too; the library wants somebody to listen all the same.
const quietly = (client) => client.on("error", () => {});

async function unknown() {
  const options = { sentinels, name: "nobody", lazyConnect: true, sentinelRetryStrategy: () => null };
  const client = quietly(new Redis({ ...options, retryStrategy: () => null }));
  const error = await client.connect().then(() => null, (error) => error);
  say(error ? "unknown" : "found");
  client.disconnect();
}

async function main() {
  await unknown();
  const replica = quietly(new Redis({ sentinels, name: "mymaster", role: "slave" }));
  await replica.ping();
  if (!/role:slave/.test(await replica.info("replication"))) throw new Error("not a replica");
  replica.disconnect();

  // Without the library's own failover detector: when that is told of a switch while the library connects, the library
  // throws where nobody can catch it.
  const options = { sentinels, name: "mymaster", maxRetriesPerRequest: null };
  const master = quietly(new Redis({ ...options, retryStrategy: () => 20, sentinelRetryStrategy: () => 20 }));
  await master.set("ioredis", "before");

  const events = quietly(new Redis(sentinels[0]));
  const message = new Promise((resolve) => events.on("message", (...words) => resolve(words)));
  await events.subscribe("+switch-master");
  say("ready");

  say("switch", ...(await message));
  await master.set("ioredis", "after");
  say("done");
  process.exit(0);
}

main();
