"""redis-py through a failover. Arguments: the protocol (2 or 3), then the ports of the Sentinels. See main.rs."""

import sys
import time

import redis
from redis.sentinel import MasterNotFoundError, Sentinel

protocol, *ports = (int(word) for word in sys.argv[1:])
addresses = [("127.0.0.1", port) for port in ports]
key = f"redis-py {protocol}"


def say(*words):
    print(*words, flush=True)


library = Sentinel(addresses, sentinel_kwargs={"protocol": protocol, "socket_timeout": 2})
try:
    library.discover_master("nobody")
except MasterNotFoundError:
    say("unknown")

# Its replicas are found the way its users find them, too: for reads.
assert len(library.discover_slaves("mymaster")) == 2
master = library.master_for("mymaster", protocol=protocol, socket_timeout=2)
master.set(key, "before")

events = redis.Redis(port=ports[0], protocol=protocol).pubsub()
events.subscribe("+switch-master")
assert events.get_message(timeout=5)["type"] == "subscribe"
say("ready")

message = events.get_message(timeout=30)
say("switch", message["channel"].decode(), message["data"].decode())

end = time.monotonic() + 20
while True:
    try:
        master.set(key, "after")
        break
    except redis.RedisError as error:
        # The other Sentinels may name the old master for a moment.
        if time.monotonic() > end:
            raise error
        time.sleep(0.02)
say("done")
