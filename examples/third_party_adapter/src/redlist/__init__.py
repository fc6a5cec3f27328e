"""redlist: a task queue on a plain Redis list. It knows nothing of Rewarm; imagine that somebody else wrote it."""

import json
import threading
import time
import uuid

import redis

TAKE = """
for _, set in ipairs({KEYS[2], KEYS[3]}) do
  for _, message in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', ARGV[1])) do
    redis.call('ZREM', set, message)
    redis.call('RPUSH', KEYS[1], message)
  end
end
local message = redis.call('LPOP', KEYS[1])
if message then redis.call('ZADD', KEYS[3], ARGV[2], message) end
return message
"""


class Redlist:
    """Named handlers, and messages for them. A message that is taken comes back when its lease has run out."""

    def __init__(self, url, name="default", lease=30.0):
        self.client, self.name, self.lease = redis.Redis.from_url(url), name, lease
        self.handlers = {}
        self._take = self.client.register_script(TAKE)

    def keys(self, queue):
        return [f"redlist:{queue}", f"redlist:{queue}:later", f"redlist:{queue}:taken"]

    def push(self, handler, argument, queue=None, delay=0.0):
        waiting, later, _ = self.keys(queue or self.name)
        message_id = uuid.uuid4().hex
        message = json.dumps([message_id, handler, argument])
        if delay > 0:
            self.client.zadd(later, {message: time.time() + delay})
        else:
            self.client.rpush(waiting, message)
        return message_id

    def take(self, queue):
        now = time.time()
        return self._take(keys=self.keys(queue), args=[now, now + self.lease])

    def waiting(self, queue=None):
        return self.client.llen(self.keys(queue or self.name)[0])

    def work(self, queue, stopping):
        """Take and handle messages until `stopping` is set. What a handler raises is printed; the message is done."""
        while not stopping.is_set():
            try:
                message = self.take(queue)
                if message is None:
                    stopping.wait(0.05)
                else:
                    self.handle(queue, message)
            except redis.RedisError as error:
                print("redis:", error, flush=True)
                stopping.wait(0.2)

    def handle(self, queue, message):
        taken, ended = self.keys(queue)[2], threading.Event()

        def beat():
            while not ended.wait(self.lease / 3):
                try:
                    self.client.zadd(taken, {message: time.time() + self.lease}, xx=True)
                except redis.RedisError as error:
                    print("redis:", error, flush=True)

        threading.Thread(target=beat, daemon=True).start()
        try:
            _, handler, argument = json.loads(message)
            self.handlers[handler](argument)
        except Exception as error:
            print(f"failed: {error!r}", flush=True)
        finally:
            ended.set()
        self.client.zrem(taken, message)
