"""Images per second of two workers on one core each, against one process on one core.

    python tests/benchmarks/workers.py

MLP 784-400-20-400-784 on binary images, in `fit`. Both workers and the process alone are started
anew for each pair, in turn, so that what else the machine does falls on both. Two workers share
one machine here: their messages pass through loopback, not through a network.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

from turns import ratios

PAIRS = 5
BATCHES = (128, 1024)
SIZE = 25_600


def images_per_second(batch_size: int, strategy) -> float:
    """Of an epoch, after one to compile."""
    import feed

    with strategy.scope():
        vae = feed.model(jit_compile=False)
    x = feed.images()
    vae.fit(x[: 8 * batch_size], batch_size=batch_size, verbose=0)
    return SIZE / feed.seconds(lambda: vae.fit(x, batch_size=batch_size, verbose=0))


def work(core: int, addresses: list[str]) -> None:
    """One process: prints its images per second for each batch size."""
    os.sched_setaffinity(0, {core})  # before TensorFlow counts the cores
    import tensorflow as tf

    from keras_vae.workers import Workers

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)  # a message awaited holds one
    alone = len(addresses) < 2
    strategy = tf.distribute.get_strategy() if alone else Workers(tuple(addresses), core).join()
    print(json.dumps([images_per_second(size, strategy) for size in BATCHES]))


def measured(count: int) -> list[float]:
    """Images per second of so many processes together: of the slowest."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    command = [sys.executable, __file__]
    processes = [
        subprocess.Popen([*command, str(core), *addresses], stdout=subprocess.PIPE, text=True)
        for core in range(count)
    ]
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return [min(values) for values in zip(*found, strict=True)]


def main() -> None:
    """Prints a line for each batch size."""
    found: dict[int, list[list[float]]] = {1: [], 2: []}
    for pair in range(PAIRS):
        for count in found:
            found[count].append(measured(count))
            print(
                f"{time.strftime('%H:%M:%S')} pair {pair}, {count}: {found[count][-1]}", flush=True
            )
    for index, batch_size in enumerate(BATCHES):
        one, two = ([values[index] for values in found[count]] for count in found)
        middle, low, high = ratios(one, two)
        print(
            f"batch {batch_size}: one process {statistics.median(one):,.0f} images/s "
            f"({min(one):,.0f} to {max(one):,.0f}), two {statistics.median(two):,.0f} "
            f"({min(two):,.0f} to {max(two):,.0f}): {middle:.2f} times "
            f"({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(int(sys.argv[1]), sys.argv[2:])
    else:
        main()
