"""`make chaos`: each fault really made, on each durable queue. Nothing accepted may be lost, nothing old be fresh."""
