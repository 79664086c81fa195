// The one thread that waits for all calls of an engine. It sleeps in libmlxforge and tells the
// main thread which calls have something. It ends when its queue is freed.
import { parentPort, workerData } from "node:worker_threads";
import koffi from "koffi";

const { path, queue } = workerData;
const next = koffi
  .load(path)
  .func("int mlxforge_queue_next(void *queue, int64_t timeout_ms, _Out_ uintptr_t *tag)");

/** Most calls told of in one message. */
const batch = 256;
const tag = [0];

/**
 * The tag of a call that has something; 0 when there is none in time, or no queue any more.
 * @param {number} timeoutMs
 */
function take(timeoutMs) {
  tag[0] = 0;
  next(queue, timeoutMs, tag);
  return Number(tag[0]);
}

for (let first = take(-1); first !== 0; first = take(-1)) {
  const tags = [first];
  while (tags.length < batch) {
    const more = take(0);
    if (more === 0) break;
    tags.push(more);
  }
  parentPort?.postMessage(tags);
}
