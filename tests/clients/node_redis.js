// node-redis through a failover. Arguments: the protocol (2 or 3), then the ports of the Sentinels. See main.rs.
"use strict";
const { createClient, createSentinel } = require("@redis/client");

const RESP = Number(process.argv[2]);
const nodes = process.argv.slice(3).map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const key = `node-redis ${RESP}`;
const say = (...words) => console.log(...words);
// Errors come with rejected promises, too; the library wants somebody to listen all the same.
const quietly = (client) => client.on("error", () => {});
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

async function main() {
  const options = { sentinelRootNodes: nodes, RESP };
  const nobody = quietly(createSentinel({ ...options, name: "nobody", maxCommandRediscovers: 1 }));
  const error = await nobody.connect().then(() => null, (error) => error);
  say(error ? "unknown" : "found");

  const master = quietly(createSentinel({ ...options, name: "mymaster", replicaPoolSize: 1 }));
  await master.connect();
  await master.set(key, "before");

  const events = quietly(createClient({ socket: nodes[0], RESP }));
  await events.connect();
  let told;
  const message = new Promise((resolve) => (told = resolve));
  await events.subscribe("+switch-master", (text, channel) => told([channel, text]));
  say("ready");

  say("switch", ...(await message));
  const end = Date.now() + 20_000;
  for (;;) {
    try {
      await master.set(key, "after");
      break;
    } catch (error) {
      if (Date.now() > end) throw error;
      await pause();
    }
  }
  say("done");
  process.exit(0);
}

main();
